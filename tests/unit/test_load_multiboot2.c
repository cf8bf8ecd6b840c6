// SPDX-License-Identifier: BSD-2-Clause
//
// Multiboot 2 images: every tag of the header, where relocatable ones go, the information, and what
// is refused.
#include "load_file.h"

#define HEADER 0x1000u

// The header is open until end_header().
static unsigned begin_header(struct file *f, unsigned at)
{
    put(f, at, 4, 0xE85250D6);
    put(f, at + 4, 4, 0);
    return at + 16;
}

static unsigned put_tag(struct file *f, unsigned at, unsigned type, unsigned flags,
                        const uint32_t *word, unsigned words)
{
    put(f, at, 2, type);
    put(f, at + 2, 2, flags);
    put(f, at + 4, 4, 8 + 4 * words);
    for (unsigned i = 0; i < words; i++)
        put(f, at + 8 + 4 * i, 4, word[i]);
    return at + ((8 + 4 * words + 7) & ~7u);
}

#define TAG(f, at, type, flags, ...) \
    put_tag(f, at, type, flags, (const uint32_t[]){ __VA_ARGS__ }, \
            sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

static void end_header(struct file *f, unsigned header, unsigned at)
{
    unsigned length = put_tag(f, at, 0, 0, NULL, 0) - header;

    put(f, header + 8, 4, length);
    put(f, header + 12, 4, 0u - (0xE85250D6u + length));
}

// An ELF file of 64 bytes in 0x2000 bytes at 2 MB, with one tag.
static void make_elf(struct file *f, unsigned type, unsigned flags, const uint32_t *word,
                     unsigned words)
{
    unsigned at;

    memset(f, 0, sizeof(*f));
    put_elf64(f, 0x200, 64, 0x200000, 0x2000);
    put(f, 0x23F, 1, 0xEE);
    at = begin_header(f, HEADER);
    if (type != 0)
        at = put_tag(f, at, type, flags, word, words);
    end_header(f, HEADER, at);
}

#define ELF(f, type, flags, ...) \
    make_elf(f, type, flags, (const uint32_t[]){ __VA_ARGS__ }, \
             sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

// Not ELF: from offset 0x800 on, 0x900 bytes go to 3 MB, with 0x1000 in memory.
static void make_addresses(struct file *f)
{
    unsigned at;

    memset(f, 0, sizeof(*f));
    at = begin_header(f, HEADER);
    at = TAG(f, at, 2, 0, 0x300800, 0x300000, 0x300900, 0x301000);
    at = TAG(f, at, 3, 0, 0x300040);
    end_header(f, HEADER, at);
    put(f, 0x800, 4, 0x11223344);
    put(f, 0x2000, 4, 0x99);
}

static void make_full(struct file *f)
{
    unsigned at;

    memset(f, 0, sizeof(*f));
    put_elf64(f, 0x200, 64, 0x200000, 0x2000);
    at = begin_header(f, HEADER);
    at = TAG(f, at, 1, 0, 1, 2, 3, 4, 6, 8, 12, 14, 15, 21);
    at = TAG(f, at, 1, 1, 9, 99);
    at = TAG(f, at, 3, 0, 0x200020);
    at = TAG(f, at, 4, 0, 2);
    at = TAG(f, at, 5, 1, 640, 480, 32);
    at = put_tag(f, at, 6, 0, NULL, 0);
    at = put_tag(f, at, 7, 0, NULL, 0);
    at = TAG(f, at, 8, 0, 0x200030);
    at = TAG(f, at, 9, 0, 0x200030);
    at = TAG(f, at, 77, 1, 1);
    end_header(f, HEADER, at);
}

// The tag of that type, or 0. *bytes: its size
static uint64_t find_info(const struct fixture *f, unsigned type, unsigned index, uint64_t *bytes)
{
    uint64_t info = f->load.state.gpr[GPR_RBX], end = info + guest_get(&f->ram, info, 4);

    assert_int_equal(info % 8, 0);
    for (uint64_t at = info + 8; at < end; at += (*bytes + 7) & ~7ull) {
        *bytes = guest_get(&f->ram, at + 4, 4);
        assert_true(*bytes >= 8 && *bytes <= end - at);
        if (guest_get(&f->ram, at, 4) == 0) {
            assert_int_equal(at + 8, end);
            return type == 0 ? at : 0;
        }
        if (guest_get(&f->ram, at, 4) == type && index-- == 0)
            return at + 8;
    }
    fail_msg("no end tag");
    return 0;
}

static void check_info(const struct fixture *f)
{
    uint64_t bytes, at, usable = 0;

    assert_int_equal(f->load.state.gpr[GPR_RAX], 0x36D76289);
    assert_string_equal(text_at(&f->ram, find_info(f, 1, 0, &bytes)), "one two");
    // Kernels that see no GRUB there, of a version that is not 0.something, drop "one".
    const char *loader = text_at(&f->ram, find_info(f, 2, 0, &bytes));
    assert_memory_equal(loader, "GRUB 2", 6);
    assert_non_null(strstr(loader, "Bulkhead"));
    at = find_info(f, 4, 0, &bytes);
    assert_int_equal(guest_get(&f->ram, at, 4), 639);
    assert_int_equal(guest_get(&f->ram, at + 4, 4), 31 << 10);
    at = find_info(f, 6, 0, &bytes);
    assert_int_equal(guest_get(&f->ram, at, 4), 24);
    assert_int_equal((bytes - 16) % 24, 0);
    for (uint64_t i = 8; i < bytes - 8; i += 24) {
        if (guest_get(&f->ram, at + i + 16, 4) == 1)
            usable += guest_get(&f->ram, at + i + 8, 8);
    }
    assert_int_equal(usable, (31 << 20) + RAM_EBDA);
    assert_int_not_equal(find_info(f, 0, 0, &bytes), 0);
    assert_int_equal(find_info(f, 8, 0, &bytes), 0);
}

static void test_elf(void **state)
{
    struct file file;
    struct fixture f;
    uint64_t bytes;
    (void)state;

    begin(&f, 32);
    memset(ram_at(&f.ram, 0x200000, 0x2000), 0xAA, 0x2000);
    ELF(&file, 0, 0, 0);
    assert_true(load_file(&f, &file, file.length));
    assert_string_equal(f.load.format, "multiboot 2");
    assert_int_equal(f.load.state.sregs.rip, 0x200000);
    assert_int_equal(f.load.state.sregs.cr0 & 0x80000001, 1);
    assert_int_equal(f.load.state.sregs.cs.access, 0xC09B);
    assert_int_equal(guest_get(&f.ram, 0x20003F, 1), 0xEE);
    assert_int_equal(guest_get(&f.ram, 0x201FF8, 8), 0);
    check_info(&f);
    assert_int_equal(find_info(&f, 3, 0, &bytes), 0);
    assert_int_equal(find_info(&f, 21, 0, &bytes), 0);
    make_full(&file);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x200020); // the EFI entries are not for us
    check_info(&f);
    end(&f);
}

static void test_addresses(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    memset(ram_at(&f.ram, 0x300000, 0x1000), 0xAA, 0x1000);
    make_addresses(&file);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x300040);
    assert_int_equal(guest_get(&f.ram, 0x300000, 4), 0x11223344);
    assert_int_equal(guest_get(&f.ram, 0x300800, 4), 0xE85250D6);
    assert_int_equal(guest_get(&f.ram, 0x300900, 8), 0);
    check_info(&f);
    put(&file, HEADER + 16 + 12, 4, UINT32_MAX); // from the file's first byte
    put(&file, HEADER + 16 + 8, 4, 0x301000);
    put(&file, HEADER + 16 + 16, 4, 0);          // to its last
    put(&file, HEADER + 16 + 20, 4, 0);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(guest_get(&f.ram, 0x300800, 4), 0x11223344);
    assert_int_equal(guest_get(&f.ram, 0x302000, 1), 0x99);
    end(&f);
}

static void test_modules_and_rsdp(void **state)
{
    static const uint8_t data[5000] = { 7 };
    struct file file;
    struct fixture f;
    uint64_t bytes, at;
    (void)state;

    begin(&f, 32);
    ELF(&file, 6, 0, 0);
    f.load.rsdp = 0xE0000;
    guest_put(&f.ram, 0xE0000, 8, 0x2052545020445352); // "RSD PTR "
    guest_put(&f.ram, 0xE0020, 4, 0x12345678);
    f.load.initrd = (struct load_file){ data, 3, "ramdisk" };
    add_module(&f, data, 5000, "first", "a  b");
    assert_true(load_file(&f, &file, file.length));
    at = find_info(&f, 3, 0, &bytes);
    assert_int_equal(guest_get(&f.ram, at, 4) + 3, guest_get(&f.ram, at + 4, 4));
    assert_string_equal(text_at(&f.ram, at + 8), "");
    at = find_info(&f, 3, 1, &bytes);
    assert_int_equal(guest_get(&f.ram, at, 4), 0x203000); // behind the first, behind the image
    assert_int_equal(guest_get(&f.ram, at, 4) + 5000, guest_get(&f.ram, at + 4, 4));
    assert_string_equal(text_at(&f.ram, at + 8), "a  b");
    assert_int_equal(find_info(&f, 3, 2, &bytes), 0);
    assert_memory_equal(text_at(&f.ram, find_info(&f, 14, 0, &bytes)), "RSD PTR ", 8);
    assert_int_equal(bytes, 8 + 20);
    at = find_info(&f, 15, 0, &bytes);
    assert_int_equal(bytes, 8 + 36);
    assert_int_equal(guest_get(&f.ram, at + 32, 4), 0x12345678);
    end(&f);
}

// Where the image of 0x2000 bytes goes that is linked for 2 MB, in 32 MB of memory.
static void expect_base(uint32_t min, uint32_t max, uint32_t align, uint32_t preference,
                        uint64_t base)
{
    struct file file;
    struct fixture f;
    uint64_t bytes;

    begin(&f, 32);
    ELF(&file, 10, 0, min, max, align, preference);
    if (!load_file(&f, &file, file.length))
        fail_msg("message: %s", f.load.error);
    assert_int_equal(f.load.state.sregs.rip, base);
    assert_int_equal(guest_get(&f.ram, base + 0x3F, 1), 0xEE);
    assert_int_equal(guest_get(&f.ram, find_info(&f, 21, 0, &bytes), 4), base);
    end(&f);
}

static void test_relocatable(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    expect_base(0, UINT32_MAX, 4096, 0, 0x200000);
    expect_base(0, UINT32_MAX, 4096, 1, 0);
    expect_base(0x1001, UINT32_MAX, 4096, 1, 0x2000);
    expect_base(0x8F000, UINT32_MAX, 4096, 1, 0x100000); // not over the boot area
    expect_base(0, UINT32_MAX, 4096, 2, (32 << 20) - 0x2000);
    expect_base(0, 0x500000, 0x100000, 2, 0x400000);
    expect_base(0x300000, UINT32_MAX, 1, 0, 0x300000);
    expect_base(0, UINT32_MAX, 0x400000, 0, 0);
    ELF(&file, 10, 0, 0x300000, 0x301FFF, 1, 0);
    expect_error(&file, 32, "no place for the 8192 bytes");
    ELF(&file, 10, 0, 0x2000000, UINT32_MAX, 1, 2);
    expect_error(&file, 32, "between 0x2000000 and 0xffffffff");
    ELF(&file, 10, 0, 0, UINT32_MAX, 0x80000000, 2);
    expect_base(0, UINT32_MAX, 0x80000000, 2, 0);
    ELF(&file, 10, 0, 0, UINT32_MAX, 0, 0);
    expect_error(&file, 32, "relocatable tag at offset 4112 asks for alignment 0x0");
    ELF(&file, 10, 0, 0, UINT32_MAX, 12, 0);
    expect_error(&file, 32, "no power of two");
    // With address fields, and its entry moves with it.
    memset(&file, 0, sizeof(file));
    unsigned at = begin_header(&file, HEADER);
    at = TAG(&file, at, 10, 0, 0x600000, 0x700000, 0x1000, 2);
    at = TAG(&file, at, 2, 0, 0x301000, UINT32_MAX, 0, 0x304000);
    at = TAG(&file, at, 3, 0, 0x300040);
    end_header(&file, HEADER, at);
    begin(&f, 32);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x700000 - 0x4000 + 0x40);
    assert_int_equal(guest_get(&f.ram, 0x700000 - 0x3000, 4), 0xE85250D6);
    end(&f);
}

// "Highest" leaves room for the modules, which lie behind the image; so does any other place.
static void test_relocatable_with_modules(void **state)
{
    static const uint8_t data[5000] = { 7 };
    struct file file;
    struct fixture f;
    uint64_t bytes, at;
    (void)state;

    begin(&f, 32);
    f.load.initrd = (struct load_file){ data, 3, "ramdisk" };
    add_module(&f, data, 5000, "first", "a  b");
    ELF(&file, 10, 0, 0, UINT32_MAX, 4096, 2);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, (32 << 20) - 0x2000 - 4096 - 8192);
    at = find_info(&f, 3, 0, &bytes);
    assert_int_equal(guest_get(&f.ram, at, 4), (32 << 20) - 4096 - 8192);
    at = find_info(&f, 3, 1, &bytes);
    assert_int_equal(guest_get(&f.ram, at, 4), (32 << 20) - 8192);
    // Its own limit is lower than that of the modules, which is none of theirs.
    ELF(&file, 10, 0, 0, 0x500000, 0x100000, 2);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x400000);
    at = find_info(&f, 3, 1, &bytes);
    assert_int_equal(guest_get(&f.ram, at, 4), 0x403000);
    // Linked for the end of memory: moved, and refused if it may not move far enough.
    ELF(&file, 10, 0, 0, UINT32_MAX, 4096, 0);
    put(&file, 88, 8, (32 << 20) - 0x2000);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0);
    ELF(&file, 10, 0, (32 << 20) - 0x4000, UINT32_MAX, 4096, 2);
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "with room for its modules behind it"));
    f.load.module[0].file.bytes = 64 << 20;
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "with room for its modules behind it"));
    end(&f);
}

static void test_refused_tags(void **state)
{
    struct file file;
    (void)state;

    ELF(&file, 1, 0, 1, 9);
    expect_error(&file, 32, "offset 4112 requires information of type 9");
    ELF(&file, 1, 0, 22);
    expect_error(&file, 32, "requires information of type 22");
    ELF(&file, 4, 0, 3);
    expect_error(&file, 32, "console tag at offset 4112 requires a screen");
    ELF(&file, 5, 0, 0, 0, 0);
    expect_error(&file, 32, "framebuffer tag at offset 4112 requires a screen");
    ELF(&file, 11, 0, 0);
    expect_error(&file, 32, "tag at offset 4112 is required, and its type 11 is not known");
    ELF(&file, 2, 0, 0x300800);
    expect_error(&file, 32, "tag of type 2 at offset 4112 is cut off");
    ELF(&file, 3, 0, 0x10);
    put(&file, HEADER + 20, 4, 0x1000);
    expect_error(&file, 32, "has 4096 bytes, and the header ends at offset 4136");
    put(&file, HEADER + 20, 4, 7);
    expect_error(&file, 32, "has 7 bytes");
    ELF(&file, 3, 0, 0x10);
    put(&file, HEADER + 32, 2, 6); // where the end tag was
    expect_error(&file, 32, "has no end tag");
    make_addresses(&file);
    put(&file, HEADER + 40, 2, 6);
    expect_error(&file, 32, "but no entry address tag");
    ELF(&file, 0, 0, 0);
    put(&file, 0, 4, 0);
    expect_error(&file, 32, "no address tag, and the image is not ELF");
    ELF(&file, 0, 0, 0);
    put(&file, 88, 8, UINT64_MAX - 0x1000);
    expect_error(&file, 32, "ends beyond the highest address");
}

static void test_header_search(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    for (unsigned at = 0x300; at < 0x310; at += 4) {
        memset(&file, 0, sizeof(file));
        put_elf64(&file, 0x200, 64, 0x200000, 64);
        end_header(&file, at, begin_header(&file, at));
        assert_int_equal(load_file(&f, &file, file.length), at % 8 == 0);
    }
    // All of it lies in the first 32 KB.
    memset(&file, 0, sizeof(file));
    put_elf64(&file, 0x200, 64, 0x200000, 64);
    end_header(&file, 32768 - 24, begin_header(&file, 32768 - 24));
    assert_true(load_file(&f, &file, file.length));
    put_elf64(&file, 0x200, 64, 0x200000, 64);
    end(&f);
    memset(&file, 0, sizeof(file));
    put_elf64(&file, 0x200, 64, 0x200000, 64);
    end_header(&file, 32768 - 16, begin_header(&file, 32768 - 16));
    expect_error(&file, 32, "does not end in the first 32768 bytes");
    ELF(&file, 0, 0, 0);
    put(&file, HEADER + 4, 4, 4); // a MIPS
    put(&file, HEADER + 12, 4, 0u - (0xE85250D6u + 4 + 24));
    expect_error(&file, 32, "unknown image format");
}

static void make_relocatable(struct file *f)
{
    ELF(f, 10, 0, 0x300000, UINT32_MAX, 4096, 1);
}

static void test_abuse(void **state)
{
    (void)state;
    abuse(make_addresses, 0x10);
    abuse(make_full, 0x80);
    abuse(make_relocatable, 0x80);
}

// The header's own bytes, with the checksum made right again.
static void test_abuse_of_tags(void **state)
{
    static void (*const make[])(struct file *) = { make_addresses, make_full, make_relocatable };
    static const uint8_t value[] = { 0x00, 0x01, 0x7F, 0x80, 0xFF };
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    for (unsigned m = 0; m < 3; m++) {
        make[m](&file);
        uint32_t length = (uint32_t)file.bytes[HEADER + 8] | (uint32_t)file.bytes[HEADER + 9] << 8;
        for (unsigned i = 8; i < length; i++) {
            uint8_t old = file.bytes[HEADER + i];
            for (unsigned v = 0; v < sizeof(value); v++) {
                uint32_t now;
                file.bytes[HEADER + i] = value[v];
                memcpy(&now, file.bytes + HEADER + 8, 4);
                put(&file, HEADER + 12, 4, 0u - (0xE85250D6u + now));
                load_file(&f, &file, file.length);
            }
            file.bytes[HEADER + i] = old;
        }
    }
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elf),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_modules_and_rsdp),
        cmocka_unit_test(test_relocatable),
        cmocka_unit_test(test_relocatable_with_modules),
        cmocka_unit_test(test_refused_tags),
        cmocka_unit_test(test_header_search),
        cmocka_unit_test(test_abuse),
        cmocka_unit_test(test_abuse_of_tags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
