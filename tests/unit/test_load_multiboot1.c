// SPDX-License-Identifier: BSD-2-Clause
//
// Multiboot 1 images: what they leave in memory and registers, what they are told, what is refused.
#include "load_file.h"

static void put_multiboot(struct file *f, unsigned offset, uint32_t flags)
{
    put(f, offset, 4, 0x1BADB002);
    put(f, offset + 4, 4, flags);
    put(f, offset + 8, 4, (uint32_t) - (0x1BADB002 + flags));
}

// One segment: 64 bytes from 0x200 of the file, 0x2000 bytes at 2 MB, linked high.
static void make_elf32(struct file *f)
{
    memset(f, 0, sizeof(*f));
    put(f, 0, 4, 0x464C457F);
    put(f, 4, 1, 1);       // class
    put(f, 5, 1, 1);       // little endian
    put(f, 16, 2, 2);      // executable
    put(f, 18, 2, 3);      // 386
    put(f, 24, 4, 0xC0200010); // entry
    put(f, 28, 4, 52);     // program headers
    put(f, 42, 2, 32);
    put(f, 44, 2, 1);
    put(f, 52, 4, 1);      // PT_LOAD
    put(f, 56, 4, 0x200);
    put(f, 60, 4, 0xC0200000);
    put(f, 64, 4, 0x200000);
    put(f, 68, 4, 64);
    put(f, 72, 4, 0x2000);
    put_multiboot(f, 0x100, 3);
    for (unsigned i = 0; i < 64; i++)
        put(f, 0x200 + i, 1, i + 1);
}

static void make_elf64(struct file *f)
{
    memset(f, 0, sizeof(*f));
    put(f, 0, 4, 0x464C457F);
    put(f, 4, 1, 2);
    put(f, 5, 1, 1);
    put(f, 16, 2, 2);
    put(f, 18, 2, 62);
    put(f, 24, 8, 0x200010);
    put(f, 32, 8, 64);
    put(f, 54, 2, 56);
    put(f, 56, 2, 1);
    put(f, 64, 4, 1);
    put(f, 72, 8, 0x200);
    put(f, 80, 8, 0xFFFFFFFF80200000); // linked elsewhere: the entry point is physical
    put(f, 88, 8, 0x200000);
    put(f, 96, 8, 64);
    put(f, 104, 8, 64);
    put_multiboot(f, 0x100, 0);
    put(f, 0x23F, 1, 0xEE);
}

// The header's address fields: the file from offset 0x40 on goes to 1 MB.
static void make_kludge(struct file *f)
{
    memset(f, 0, sizeof(*f));
    put_multiboot(f, 0x80, 1u << 16);
    put(f, 0x8C, 4, 0x100040); // where the header goes
    put(f, 0x90, 4, 0x100000);
    put(f, 0x94, 4, 0x100100);
    put(f, 0x98, 4, 0x100200);
    put(f, 0x9C, 4, 0x100060);
    put(f, 0x300, 4, 0x12345678);
}

static void check_multiboot_info(const struct fixture *f)
{
    uint64_t info = f->load.state.gpr[GPR_RBX];
    uint64_t flags = guest_get(&f->ram, info, 4), at, usable = 0;

    assert_int_equal(f->load.state.gpr[GPR_RAX], 0x2BADB002);
    assert_int_equal(flags & ~8u, 1 | 4 | 64 | 512);
    assert_int_equal(guest_get(&f->ram, info + 4, 4), 639);
    assert_int_equal(guest_get(&f->ram, info + 8, 4), 31 << 10);
    assert_string_equal(text_at(&f->ram, guest_get(&f->ram, info + 16, 4)), "image one two");
    // No GRUB: kernels that know GRUB 2 would take "image" for an option.
    assert_string_equal(text_at(&f->ram, guest_get(&f->ram, info + 64, 4)), "Bulkhead");
    at = guest_get(&f->ram, info + 48, 4);
    for (uint64_t stop = at + guest_get(&f->ram, info + 44, 4); at < stop;
         at += guest_get(&f->ram, at, 4) + 4) {
        if (guest_get(&f->ram, at + 20, 4) == 1)
            usable += guest_get(&f->ram, at + 12, 8);
    }
    assert_int_equal(usable, (31 << 20) + RAM_EBDA);
}

static void test_multiboot_elf32(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_elf32(&file);
    memset(ram_at(&f.ram, 0x200000, 0x2000), 0xAA, 0x2000);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x200010);
    assert_false(f.load.pic_masked); // as a BIOS leaves them
    assert_int_equal(f.load.state.sregs.cr0 & 0x80000001, 1);
    assert_int_equal(f.load.state.sregs.cs.access, 0xC09B);
    assert_int_equal(guest_get(&f.ram, 0x200000, 4), 0x04030201);
    assert_int_equal(guest_get(&f.ram, 0x200040, 8), 0); // the rest is zeroed
    assert_int_equal(guest_get(&f.ram, 0x201FF8, 8), 0);
    check_multiboot_info(&f);
    // The descriptors that the segment registers were loaded from.
    assert_int_equal(guest_get(&f.ram, BOOT_GDT + 0x10, 8), 0x00CF9B000000FFFF);
    assert_int_equal(guest_get(&f.ram, BOOT_GDT + 0x18, 8), 0x00CF93000000FFFF);
    end(&f);
}

static void test_multiboot_elf64_and_kludge(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_elf64(&file);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x200010);
    assert_int_equal(guest_get(&f.ram, 0x20003F, 1), 0xEE);
    put(&file, 16, 2, 3); // position-independent
    memset(ram_at(&f.ram, 0x200000, 64), 0xAA, 64);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x200010);
    assert_int_equal(guest_get(&f.ram, 0x20003F, 1), 0xEE);
    make_kludge(&file);
    put(&file, 0x140, 4, 0x99);
    memset(ram_at(&f.ram, 0x100000, 0x200), 0xAA, 0x200);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x100060);
    assert_int_equal(guest_get(&f.ram, 0x100040, 4), 0x1BADB002);
    assert_int_equal(guest_get(&f.ram, 0x100100, 8), 0); // behind the load end: bss
    check_multiboot_info(&f);
    end(&f);
}

static void test_multiboot_module(void **state)
{
    static uint8_t initrd[5000];
    struct file file;
    struct fixture f;
    (void)state;

    memset(initrd, 0x3C, sizeof(initrd));
    begin(&f, 32);
    make_elf32(&file);
    f.load.initrd = (struct load_file){ initrd, sizeof(initrd), "ramdisk" };
    assert_true(load_file(&f, &file, file.length));
    uint64_t info = f.load.state.gpr[GPR_RBX], module;
    assert_int_equal(guest_get(&f.ram, info, 4) & 8, 8);
    assert_int_equal(guest_get(&f.ram, info + 20, 4), 1);
    module = guest_get(&f.ram, info + 24, 4);
    uint64_t start = guest_get(&f.ram, module, 4);
    assert_int_equal(start % 4096, 0);
    assert_int_equal(guest_get(&f.ram, module + 4, 4) - start, sizeof(initrd));
    assert_memory_equal(ram_at(&f.ram, start, sizeof(initrd)), initrd, sizeof(initrd));
    assert_string_equal(text_at(&f.ram, guest_get(&f.ram, module + 8, 4)), "ramdisk");
    end(&f);
}

static void test_several_modules(void **state)
{
    static const uint8_t data[5000] = { 1, 2, 3 };
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_elf32(&file);
    f.load.initrd = (struct load_file){ data, 3, "ramdisk" };
    add_module(&f, data, 5000, "first", "a  b");
    add_module(&f, data, 4096, "second", "");
    assert_true(load_file(&f, &file, file.length));
    uint64_t info = f.load.state.gpr[GPR_RBX], at = guest_get(&f.ram, info + 24, 4), last = 0;
    static const char *const text[] = { "ramdisk", "first a  b", "second" };
    static const unsigned bytes[] = { 3, 5000, 4096 };
    assert_int_equal(guest_get(&f.ram, info + 20, 4), 3);
    for (unsigned i = 0; i < 3; i++, at += 16) {
        uint64_t start = guest_get(&f.ram, at, 4);
        assert_int_equal(start % 4096, 0);
        // Right behind the image, which ends at 0x202000, each on the next page.
        assert_int_equal(start, i == 0 ? 0x202000 : (last + 4095) & ~4095ull);
        last = guest_get(&f.ram, at + 4, 4);
        assert_int_equal(last - start, bytes[i]);
        assert_int_equal(guest_get(&f.ram, start, 1), 1);
        assert_string_equal(text_at(&f.ram, guest_get(&f.ram, at + 8, 4)), text[i]);
    }
    assert_int_equal(last, 0x202000 + 4096 + 8192 + 4096);
    // Not all of them find room between the image and the end.
    f.load.module[1].file.bytes = 30 << 20;
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "no room for the module 'second' (31457280 bytes) behind "
                           "the image, which ends at 0x202000; give the VM at least 32788K"));
    f.load.module[1].file.bytes = 3ull << 30;
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "ends at 0x202000; they must lie below 3 GB"));
    end(&f);
}

// Nothing of it is above 1 MB, or something above 4 GB: modules lie from 1 MB up, and below 3 GB.
static void test_module_of_odd_image(void **state)
{
    static const uint8_t data[5000] = { 1, 2, 3 };
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 4096);
    make_elf64(&file);
    put(&file, 24, 8, 0x7C00);
    put(&file, 88, 8, 0x7C00); // where boot sectors go
    put(&file, 56, 2, 2);
    put(&file, 120, 4, 1);
    put(&file, 128, 8, 0x200);
    put(&file, 136, 8, 1ull << 32);
    put(&file, 144, 8, 1ull << 32);
    put(&file, 152, 8, 8);
    put(&file, 160, 8, 8);
    put_multiboot(&file, 0x110, 0);
    put(&file, 0x200, 8, 0x1122334455667788);
    add_module(&f, data, sizeof(data), "first", "");
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x7C00);
    assert_int_equal(guest_get(&f.ram, 0x7C00, 8), 0x1122334455667788);
    assert_int_equal(guest_get(&f.ram, 1ull << 32, 8), 0x1122334455667788);
    uint64_t info = f.load.state.gpr[GPR_RBX], at = guest_get(&f.ram, info + 24, 4);
    assert_int_equal(guest_get(&f.ram, at, 4), 0x100000);
    end(&f);
}

// Address fields without ends: to the end of the file, no bss; and one of several MB.
static void test_address_fields(void **state)
{
    static const uint8_t data[16] = { 9 };
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_kludge(&file);
    put(&file, 0x94, 4, 0);
    put(&file, 0x98, 4, 0);
    memset(ram_at(&f.ram, 0x100000, 16 << 20), 0xAA, 16 << 20);
    add_module(&f, data, sizeof(data), "first", "");
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x100060);
    assert_int_equal(guest_get(&f.ram, 0x1002C0, 4), 0x12345678); // the file's last bytes
    assert_int_equal(guest_get(&f.ram, 0x1002C4, 1), 0xAA);
    uint64_t info = f.load.state.gpr[GPR_RBX];
    assert_int_equal(guest_get(&f.ram, guest_get(&f.ram, info + 24, 4), 4), 0x101000);
    put(&file, 0x98, 4, 0x100000 + (9 << 20) + 1);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(guest_get(&f.ram, 0x1002C4, 8), 0);
    assert_int_equal(guest_get(&f.ram, 0x100000 + (9 << 20) - 7, 8), 0);
    assert_int_equal(guest_get(&f.ram, guest_get(&f.ram, info + 24, 4), 4), 0xA01000);
    end(&f);
}

static void test_module_texts_too_long(void **state)
{
    static const uint8_t data[4096];
    static char text[2000];
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_elf32(&file);
    memset(text, 'x', sizeof(text) - 1);
    for (unsigned i = 0; i < LOAD_MODULE_MAX; i++)
        add_module(&f, data, sizeof(data), "m", text);
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "more boot information than the 20480 bytes"));
    f.load.modules = 9;
    assert_true(load_file(&f, &file, file.length));
    end(&f);
}

static void test_initrd_and_cmdline_too_long(void **state)
{
    static char cmdline[5000];
    uint8_t *initrd = calloc(1, 31 << 20);
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_elf32(&file);
    f.load.initrd = (struct load_file){ initrd, 31 << 20, "ramdisk" };
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "no room for the initrd 'ramdisk'"));
    f.load.initrd.data = NULL;
    memset(cmdline, 'x', sizeof(cmdline) - 1);
    f.load.cmdline = cmdline;
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "command line"));
    cmdline[2048] = 0;
    assert_true(load_file(&f, &file, file.length));
    free(initrd);
    end(&f);
}

static void test_refused(void **state)
{
    struct file file;
    (void)state;

    make_elf32(&file);
    put(&file, 64, 4, 0x9F000); // over the boot area
    expect_error(&file, 32, "do not fit");
    put(&file, 64, 4, 0xE0000); // over the firmware's tables
    expect_error(&file, 32, "do not fit");
    put(&file, 64, 4, 0x1FFF000); // over the end
    expect_error(&file, 32, "do not fit");
    make_elf32(&file);
    put(&file, 68, 4, 0x10000);
    expect_error(&file, 32, "run past the end");
    make_elf32(&file);
    put(&file, 72, 4, 63);
    expect_error(&file, 32, "less than");
    make_elf32(&file);
    put(&file, 24, 4, 0x50000000);
    expect_error(&file, 32, "in no segment");
    make_elf32(&file);
    put(&file, 18, 2, 40);
    expect_error(&file, 32, "not x86");
    make_elf32(&file);
    put(&file, 16, 2, 1); // not linked yet
    expect_error(&file, 32, "not a little-endian executable (data 1 at offset 5, type 1 at");
    make_elf32(&file);
    put_multiboot(&file, 0x100, 0x10);
    expect_error(&file, 32, "requires features");
    make_kludge(&file);
    put(&file, 0x90, 4, 0x100050);
    expect_error(&file, 32, "does not fit header address");
    make_elf32(&file);
    put(&file, 0, 4, 0); // no address fields either
    expect_error(&file, 32, "unknown image format");
}

static void test_abuse(void **state)
{
    (void)state;
    abuse(make_elf32, 0x110);
    abuse(make_elf64, 0x110);
    abuse(make_kludge, 0xA0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multiboot_elf32),
        cmocka_unit_test(test_multiboot_elf64_and_kludge),
        cmocka_unit_test(test_multiboot_module),
        cmocka_unit_test(test_several_modules),
        cmocka_unit_test(test_module_of_odd_image),
        cmocka_unit_test(test_address_fields),
        cmocka_unit_test(test_module_texts_too_long),
        cmocka_unit_test(test_initrd_and_cmdline_too_long),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_abuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
