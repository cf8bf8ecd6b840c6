// SPDX-License-Identifier: BSD-2-Clause
//
// PVH images: Xen's note in ELF files of both classes, the start info, and what is refused.
#include "load_file.h"

#define NOTES 0x180u

static unsigned put_note(struct file *f, unsigned at, const char *name, unsigned type,
                         uint64_t value, unsigned bytes)
{
    put(f, at, 4, strlen(name) + 1);
    put(f, at + 4, 4, bytes);
    put(f, at + 8, 4, type);
    for (unsigned i = 0; name[i] != 0; i++)
        put(f, at + 12 + i, 1, (unsigned char)name[i]);
    at += 12 + (((unsigned)strlen(name) + 1 + 3) & ~3u);
    put(f, at, 8, value);
    return at + ((bytes + 3) & ~3u);
}

// A segment of 64 bytes at 2 MB, and a segment of notes, the PVH one behind others.
static void make_elf64(struct file *f)
{
    unsigned at = NOTES;

    memset(f, 0, sizeof(*f));
    put_elf64(f, 0x300, 64, 0x200000, 0x1000);
    at = put_note(f, at, "GNU", 18, 1, 4);
    at = put_note(f, at, "Xen", 6, 0x65757274, 5);
    at = put_note(f, at, "Xen", 18, 0x200010, 8);
    put(f, 56, 2, 2);
    put(f, 120, 4, 4); // PT_NOTE
    put(f, 120 + 8, 8, NOTES);
    put(f, 120 + 32, 8, at - NOTES);
    put(f, 120 + 48, 8, 4);
    put(f, 24, 8, 0xFFFFFFFF81000000); // the header's entry point is for others
    put(f, 0x33F, 1, 0xEE);
}

static void make_elf32(struct file *f)
{
    memset(f, 0, sizeof(*f));
    put(f, 0, 4, 0x464C457F);
    put(f, 4, 1, 1);
    put(f, 5, 1, 1);
    put(f, 16, 2, 2);
    put(f, 18, 2, 3);
    put(f, 28, 4, 52);
    put(f, 42, 2, 32);
    put(f, 44, 2, 2);
    put(f, 52, 4, 4); // PT_NOTE comes first here
    put(f, 56, 4, NOTES);
    put(f, 68, 4, put_note(f, NOTES, "Xen", 18, 0x200010, 4) - NOTES);
    put(f, 84, 4, 1);
    put(f, 88, 4, 0x300);
    put(f, 96, 4, 0x200000);
    put(f, 100, 4, 64);
    put(f, 104, 4, 0x1000);
    put(f, 0x33F, 1, 0xEE);
}

static void check_image(void (*make)(struct file *))
{
    static const uint8_t data[5000] = { 7 };
    struct file file;
    struct fixture f;

    begin(&f, 32);
    make(&file);
    f.load.rsdp = 0xE0000;
    f.load.initrd = (struct load_file){ data, 3, "ramdisk" };
    add_module(&f, data, 5000, "first", "a  b");
    assert_true(load_file(&f, &file, file.length));
    assert_string_equal(f.load.format, "PVH ELF");
    assert_int_equal(f.load.state.sregs.rip, 0x200010);
    assert_true(f.load.pic_masked);
    assert_int_equal(f.load.state.sregs.cr0 & 0x80000001, 1);
    assert_int_equal(f.load.state.sregs.cr4, 0);
    assert_int_equal(f.load.state.sregs.tr.limit, 0x67);
    assert_int_equal(guest_get(&f.ram, 0x20003F, 1), 0xEE);
    uint64_t info = f.load.state.gpr[GPR_RBX], at, usable = 0;
    assert_int_equal(guest_get(&f.ram, info, 4), 0x336EC578);
    assert_int_equal(guest_get(&f.ram, info + 4, 4), 1);
    assert_int_equal(guest_get(&f.ram, info + 12, 4), 2);
    assert_string_equal(text_at(&f.ram, guest_get(&f.ram, info + 24, 8)), "one two");
    assert_int_equal(guest_get(&f.ram, info + 32, 8), 0xE0000);
    at = guest_get(&f.ram, info + 16, 8);
    assert_int_equal(guest_get(&f.ram, guest_get(&f.ram, at, 8), 1), 7);
    assert_int_equal(guest_get(&f.ram, at + 8, 8), 3);
    assert_int_equal(guest_get(&f.ram, at + 16, 8), 0);
    assert_int_equal(guest_get(&f.ram, at, 8), 0x201000); // behind the image
    assert_int_equal(guest_get(&f.ram, at + 32, 8), 0x202000);
    assert_int_equal(guest_get(&f.ram, at + 40, 8), 5000);
    assert_string_equal(text_at(&f.ram, guest_get(&f.ram, at + 48, 8)), "a  b");
    at = guest_get(&f.ram, info + 40, 8);
    for (uint64_t i = guest_get(&f.ram, info + 48, 4); i > 0; i--, at += 24) {
        if (guest_get(&f.ram, at + 16, 4) == 1)
            usable += guest_get(&f.ram, at + 8, 8);
    }
    assert_int_equal(usable, (31 << 20) + RAM_EBDA);
    end(&f);
}

static void test_image(void **state)
{
    (void)state;
    check_image(make_elf64);
    check_image(make_elf32);
}

// Notes from `at`, the last one the entry point. -> their bytes
static unsigned put_notes(struct file *f, unsigned at, unsigned pad)
{
    static const struct { const char *name; unsigned type, bytes; uint64_t value; } notes[] = {
        { "GNU", 3, 12, 1 }, { "GNU", 5, 16, 2 }, { "Xen", 6, 5, 3 }, { "Xen", 18, 4, 0x200010 },
    };
    unsigned start = at;

    for (unsigned i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
        put(f, at, 4, 4);
        put(f, at + 4, 4, notes[i].bytes);
        put(f, at + 8, 4, notes[i].type);
        memcpy(f->bytes + at + 12, notes[i].name, 4);
        put(f, at + 16, 8, notes[i].value);
        put(f, at + 24, 8, 0);
        at += 16 + ((notes[i].bytes + pad - 1) & ~(pad - 1));
    }
    return at - start;
}

// Notes are padded to 4 or to 8, whatever the segment's alignment says that one would expect.
static void test_layouts_of_notes(void **state)
{
    static const struct { unsigned align, pad, at; } layout[] = {
        { 0, 4, 0x400 }, { 1, 4, 0x401 }, { 4, 4, 0x400 }, { 8, 8, 0x400 }, { 8, 4, 0x400 },
        { 8, 4, 0x404 }, { 8, 8, 0x404 }, { 16, 4, 0x400 },
    };
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    for (unsigned i = 0; i < sizeof(layout) / sizeof(layout[0]); i++) {
        make_elf64(&file);
        put(&file, 120 + 8, 8, layout[i].at);
        put(&file, 120 + 32, 8, put_notes(&file, layout[i].at, layout[i].pad));
        put(&file, 120 + 48, 8, layout[i].align);
        if (!load_file(&f, &file, file.length))
            fail_msg("layout %u: %s", i, f.load.error);
        assert_int_equal(f.load.state.sregs.rip, 0x200010);
    }
    // In the third of three segments of notes.
    make_elf64(&file);
    put(&file, 56, 2, 4);
    memmove(file.bytes + 0x600, file.bytes + NOTES, 0x100);
    memcpy(file.bytes + 232, file.bytes + 120, 56);
    put(&file, 232 + 8, 8, 0x600);
    for (unsigned i = 0; i < 2; i++) {
        put(&file, 120 + 56 * i, 4, 4);
        put(&file, 120 + 56 * i + 8, 8, 0x800);
        put(&file, 120 + 56 * i + 32, 8, 12 + 4 + 20);
        put(&file, 120 + 56 * i + 48, 8, i == 0 ? 8 : 4);
    }
    put_note(&file, 0x800, "GNU", 3, 0, 20);
    put(&file, 0x900, 8, 0);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x200010);
    end(&f);
}

static void test_nothing_to_tell(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_elf64(&file);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(guest_get(&f.ram, f.load.state.gpr[GPR_RBX] + 12, 4), 0);
    assert_int_equal(guest_get(&f.ram, f.load.state.gpr[GPR_RBX] + 16, 8), 0);
    end(&f);
}

static void test_refused(void **state)
{
    struct file file;
    (void)state;

    make_elf32(&file);
    put(&file, NOTES + 16, 4, 0x201000);
    expect_error(&file, 32, "entry point 0x201000 (note at offset 400) lies in no segment");
    make_elf32(&file);
    put(&file, NOTES + 4, 4, 3);
    expect_error(&file, 32, "the PVH note at offset 400 has 3 bytes; an entry point has 4 or 8");
    make_elf32(&file);
    put(&file, NOTES + 4, 4, UINT32_MAX); // runs out of its segment
    expect_error(&file, 32, "unknown image format");
    make_elf32(&file);
    put(&file, NOTES, 4, UINT32_MAX);
    expect_error(&file, 32, "unknown image format");
    make_elf32(&file);
    put(&file, 42, 2, 31); // program headers that overlap
    expect_error(&file, 32, "unknown image format");
    make_elf32(&file);
    put(&file, 56, 4, 0x10000); // notes behind the end
    expect_error(&file, 32, "unknown image format");
    make_elf32(&file);
    put(&file, 96, 4, 0x9F000);
    expect_error(&file, 32, "do not fit");
    make_elf64(&file);
    put(&file, 88, 8, 1ull << 32); // above 4 GB, in a VM that has that
    put(&file, NOTES + 20 + 24 + 16, 8, 1ull << 32);
    expect_error(&file, 4096, "in no segment below 4 GB");
}

static void test_abuse(void **state)
{
    (void)state;
    abuse(make_elf64, 0x200);
    abuse(make_elf32, 0x1A0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_layouts_of_notes),
        cmocka_unit_test(test_nothing_to_tell),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_abuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
