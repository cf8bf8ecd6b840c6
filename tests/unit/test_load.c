// SPDX-License-Identifier: BSD-2-Clause
//
// How the loaders tell formats apart, and flat binaries, which have none.
#include "load_file.h"

static void put_multiboot1(struct file *f, unsigned at, uint32_t flags)
{
    put(f, at, 4, 0x1BADB002);
    put(f, at + 4, 4, flags);
    put(f, at + 8, 4, 0u - (0x1BADB002u + flags));
}

static void put_multiboot2(struct file *f, unsigned at)
{
    put(f, at, 4, 0xE85250D6);
    put(f, at + 4, 4, 0);
    put(f, at + 8, 4, 24);
    put(f, at + 12, 4, 0u - (0xE85250D6u + 24));
    put(f, at + 16, 8, 8ull << 32);
}

static void make_flat(struct file *f)
{
    memset(f, 0, sizeof(*f));
    for (unsigned i = 0; i < 5000; i++)
        put(f, i, 1, i * 7 + 1);
}

static void test_unknown(void **state)
{
    struct file file;
    (void)state;

    make_flat(&file);
    static const char *const name[] = {
        "no Linux bzImage", "multiboot 2 (0xE85250D6", "multiboot 1 image", "no PVH ELF",
        "a flat binary needs load = ADDRESS",
    };
    for (unsigned i = 0; i < sizeof(name) / sizeof(name[0]); i++)
        expect_error(&file, 32, name[i]);
    put_elf64(&file, 0x200, 64, 0x200000, 64);
    expect_error(&file, 32, "unknown image format");
}

static void test_precedence(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    memset(&file, 0, sizeof(file));
    file.length = 20000;
    put_elf64(&file, 0x1000, 64, 0x200000, 64);
    put_multiboot1(&file, 0x400, 0);
    begin(&f, 32);
    assert_true(load_file(&f, &file, file.length));
    assert_string_equal(f.load.format, "multiboot 1");
    put_multiboot2(&file, 0x800);
    assert_true(load_file(&f, &file, file.length));
    assert_string_equal(f.load.format, "multiboot 2");
    end(&f);
}

static bool load_flat_at(struct fixture *f, const struct file *file, uint64_t gpa)
{
    f->load.flat = true;
    f->load.flat_gpa = gpa;
    return load_file(f, file, file->length);
}

static void test_flat(void **state)
{
    static const uint64_t places[] = { 0, 0x7C00, 0x90000 - 5000, 0x100000, (32 << 20) - 5000 };
    struct file file;
    struct fixture f;
    (void)state;

    make_flat(&file);
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        begin(&f, 32);
        assert_true(load_flat_at(&f, &file, places[i]));
        assert_string_equal(f.load.format, "flat binary");
        const struct vcpu_sregs *s = &f.load.state.sregs;
        assert_int_equal(s->rip, places[i]);
        assert_int_equal(s->cr0 & 0x80000001, 1);
        assert_int_equal(s->cs.access, 0xC09B);
        assert_memory_equal(ram_at(&f.ram, places[i], 5000), file.bytes, 5000);
        uint64_t info = f.load.state.gpr[GPR_RBX];
        assert_int_equal(f.load.state.gpr[GPR_RAX], 0x2BADB002);
        assert_int_equal(guest_get(&f.ram, info + 8, 4), 31 << 10);
        assert_string_equal(text_at(&f.ram, guest_get(&f.ram, info + 16, 4)), "image one two");
        end(&f);
    }
}

static void expect_flat_error(struct fixture *f, const struct file *file, uint64_t gpa,
                              const char *part)
{
    assert_false(load_flat_at(f, file, gpa));
    if (strstr(f->load.error, part) == NULL)
        fail_msg("message: %s", f->load.error);
}

static void test_flat_refused(void **state)
{
    static const uint8_t data[16];
    struct file file;
    struct fixture f;
    (void)state;

    make_flat(&file);
    begin(&f, 32);
    expect_flat_error(&f, &file, 0x90000 - 4999, "5000 bytes at address 0x8ec79 do not fit");
    expect_flat_error(&f, &file, 0xB8000, "do not fit");
    expect_flat_error(&f, &file, (32 << 20) - 4999, "do not fit");
    expect_flat_error(&f, &file, UINT64_MAX - 100, "do not fit");
    f.load.initrd = (struct load_file){ data, sizeof(data), "initrd" };
    expect_flat_error(&f, &file, 0x100000, "takes no initrd");
    add_module(&f, data, sizeof(data), "more", "");
    expect_flat_error(&f, &file, 0x100000, "takes no modules ('more')");
    f.load.modules = 0;
    f.load.initrd.data = NULL;
    put_multiboot2(&file, 0x800);
    expect_flat_error(&f, &file, 0x100000,
                      "load = 0x100000 is for a flat binary, and this is multiboot 2");
    make_flat(&file);
    put_elf64(&file, 0x200, 64, 0x200000, 64);
    expect_flat_error(&f, &file, 0x100000, "and this is ELF");
    end(&f);
}

static void test_entry32_refused(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    make_flat(&file);
    begin(&f, 32);
    f.load.entry32 = true;
    expect_flat_error(&f, &file, 0x100000,
                      "entry = 32 is for a Linux bzImage, and this is a flat binary");
    f.load.flat = false;
    put_multiboot2(&file, 0x800);
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error,
                           "entry = 32 is for a Linux bzImage, and this is multiboot 2"));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_flat),
        cmocka_unit_test(test_flat_refused),
        cmocka_unit_test(test_entry32_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
