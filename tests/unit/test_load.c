// SPDX-License-Identifier: BSD-2-Clause
//
// Loaders: good images of each format, and what they leave in memory and registers; then bad ones,
// cut off at every length and with every byte changed, in buffers that end where the file does.
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>

#include "vmm/load/load.h"

struct file {
    uint8_t bytes[16384];
    unsigned length;
};

static void put(struct file *f, unsigned offset, unsigned size, uint64_t value)
{
    memcpy(f->bytes + offset, &value, size);
    if (f->length < offset + size)
        f->length = offset + size;
}

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

static void make_bzimage(struct file *f, unsigned version)
{
    memset(f, 0, sizeof(*f));
    put(f, 0x1F1, 1, 4);
    put(f, 0x1FE, 2, 0xAA55);
    put(f, 0x200, 2, 0x66EB); // the header ends at 0x202 + 0x66
    put(f, 0x202, 4, 0x53726448);
    put(f, 0x206, 2, version);
    put(f, 0x211, 1, 1);
    put(f, 0x22C, 4, 0x7FFFFFFF);
    put(f, 0x230, 4, 0x200000);
    put(f, 0x234, 1, 1);
    put(f, 0x236, 2, version >= 0x20C ? 1 : 0);
    put(f, 0x238, 4, 2047);
    put(f, 0x258, 8, 0x1000000);
    put(f, 0x260, 4, 0x400000);
    put(f, 2560, 4, 0xCAFEBABE); // protected-mode code
    put(f, 2560 + 0x3FC, 4, 0xFEEDF00D);
}

struct fixture {
    struct guest_ram ram;
    struct load load;
    uint8_t *copy;
};

// The file in a buffer of its very size, so that the sanitizer sees each byte too far.
static bool load_file(struct fixture *f, const struct file *file, unsigned length)
{
    f->copy = malloc(length);
    memcpy(f->copy, file->bytes, length);
    f->load.ram = &f->ram;
    f->load.image = (struct load_file){ f->copy, length, "image" };
    if (f->load.cmdline == NULL)
        f->load.cmdline = "one two";
    bool ok = load_image(&f->load);
    if (!ok)
        assert_true(strncmp(f->load.error, "image: ", 7) == 0);
    free(f->copy);
    return ok;
}

static void begin(struct fixture *f, uint64_t megabytes)
{
    memset(f, 0, sizeof(*f));
    guest_ram_new(&f->ram, megabytes << 20);
}

static void end(struct fixture *f)
{
    guest_ram_free(&f->ram);
}

static void expect_error(const struct file *file, uint64_t megabytes, const char *part)
{
    struct fixture f;

    begin(&f, megabytes);
    assert_false(load_file(&f, file, file->length));
    if (strstr(f.load.error, part) == NULL)
        fail_msg("message: %s", f.load.error);
    end(&f);
}

static const char *text_at(const struct guest_ram *ram, uint64_t gpa)
{
    return ram_at(ram, gpa, 64);
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

static void test_linux64(void **state)
{
    static uint8_t initrd[70000];
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 64);
    make_bzimage(&file, 0x20F);
    memset(initrd, 0xC3, sizeof(initrd));
    f.load.initrd = (struct load_file){ initrd, sizeof(initrd), "initrd.img" };
    f.load.rsdp = 0xE0000;
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x1000200);
    assert_int_equal(f.load.state.sregs.cr0 & 0x80000001, 0x80000001);
    assert_int_equal(f.load.state.sregs.efer, 0x500);
    assert_int_equal(guest_get(&f.ram, 0x1000000, 4), 0xCAFEBABE);
    assert_int_equal(guest_get(&f.ram, 0x10003FC, 4), 0xFEEDF00D);
    uint64_t page = f.load.state.gpr[GPR_RSI];
    assert_int_equal(guest_get(&f.ram, page + 0x202, 4), 0x53726448);
    assert_int_equal(guest_get(&f.ram, page + 0x210, 1), 0xFF);
    assert_int_equal(guest_get(&f.ram, page + 0x260, 4), 0x400000);
    assert_int_equal(guest_get(&f.ram, page + 0x268, 4), 0); // behind the header's end
    assert_int_equal(guest_get(&f.ram, page + 0x70, 8), 0xE0000);
    assert_string_equal(text_at(&f.ram, guest_get(&f.ram, page + 0x228, 4)), "one two");
    assert_int_equal(guest_get(&f.ram, page + 0x1E8, 1), 5);
    assert_int_equal(guest_get(&f.ram, page + 0x2D0 + 8, 8), RAM_EBDA);
    uint64_t at = guest_get(&f.ram, page + 0x218, 4);
    assert_int_equal(guest_get(&f.ram, page + 0x21C, 4), sizeof(initrd));
    assert_int_equal(at, ((64 << 20) - sizeof(initrd)) & ~4095ull);
    assert_int_equal(guest_get(&f.ram, at + sizeof(initrd) - 1, 1), 0xC3);
    end(&f);
}

static void test_linux64_identity_map(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 64);
    make_bzimage(&file, 0x20F);
    assert_true(load_file(&f, &file, file.length));
    const struct vcpu_sregs *s = &f.load.state.sregs;
    for (uint64_t gva = 0; gva < 4ull << 30; gva += 0x1FF000) {
        uint64_t pml4e = guest_get(&f.ram, s->cr3 + (gva >> 39) * 8, 8);
        uint64_t pdpte = guest_get(&f.ram, (pml4e & ~0xFFFull) + (gva >> 30) * 8, 8);
        uint64_t pde = guest_get(&f.ram, (pdpte & ~0xFFFull) + (gva >> 21 & 511) * 8, 8);
        assert_int_equal(pde, (gva & ~0x1FFFFFull) | 0x83);
    }
    end(&f);
}

static void test_linux_moves_down(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 16); // the preferred address is just behind this RAM
    make_bzimage(&file, 0x20F);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x200200);
    end(&f);
    expect_error(&file, 4, "the kernel needs 4096 KB of memory at 0x200000");
}

static void test_linux32(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_bzimage(&file, 0x207); // no 64-bit entry; pref_address and init_size are not fields yet
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x100000);
    assert_int_equal(f.load.state.sregs.cr0 & 0x80000001, 1);
    assert_int_equal(f.load.state.gpr[GPR_RSI], BOOT_PARAMS);
    assert_int_equal(f.load.state.gpr[GPR_RBX], 0);
    end(&f);
    make_bzimage(&file, 0x204);
    expect_error(&file, 32, "protocol 2.04");
    make_bzimage(&file, 0x20F);
    put(&file, 0x211, 1, 0);
    expect_error(&file, 32, "zImage");
    make_bzimage(&file, 0x20F);
    put(&file, 0x1F1, 1, 255);
    expect_error(&file, 32, "setup sectors");
    put(&file, 0x1F1, 1, 4);
    put(&file, 0x230, 4, 3);
    expect_error(&file, 16, "kernel alignment");
}

static void test_refused_images(void **state)
{
    struct file file;
    (void)state;

    memset(&file, 0, sizeof(file));
    file.length = 10000;
    expect_error(&file, 32, "unknown image format;");
    put(&file, 0x20, 4, 0xE85250D6);
    put(&file, 0x28, 4, 24);
    put(&file, 0x2C, 4, (uint32_t) - (0xE85250D6 + 24));
    expect_error(&file, 32, "multiboot 2 only");
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
    put_multiboot(&file, 0x100, 0x10);
    expect_error(&file, 32, "requires features");
    make_kludge(&file);
    put(&file, 0x90, 4, 0x100050);
    expect_error(&file, 32, "does not fit header address");
    make_elf32(&file);
    put(&file, 0, 4, 0);
    expect_error(&file, 32, "not ELF");
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
    make_bzimage(&file, 0x20F);
    assert_false(load_file(&f, &file, file.length)); // its header says 2047
    cmdline[2047] = 0;
    assert_true(load_file(&f, &file, file.length));
    free(initrd);
    end(&f);
}

// Whatever the bytes are: an answer, and no access outside the file or the guest's memory.
static void abuse(void (*make)(struct file *), unsigned interesting)
{
    struct file file;
    struct fixture f;

    begin(&f, 32);
    make(&file);
    for (unsigned length = 1; length < file.length; length += length < interesting ? 1 : 97)
        load_file(&f, &file, length);
    for (unsigned i = 0; i < interesting; i++) {
        static const uint8_t value[] = { 0x00, 0x7F, 0x80, 0xFF };
        for (unsigned v = 0; v < sizeof(value); v++) {
            uint8_t old = file.bytes[i];
            file.bytes[i] = value[v];
            load_file(&f, &file, file.length);
            file.bytes[i] = old;
        }
    }
    end(&f);
}

static void make_bzimage64(struct file *f)
{
    make_bzimage(f, 0x20F);
}

static void test_abuse(void **state)
{
    (void)state;
    abuse(make_elf32, 0x110);
    abuse(make_elf64, 0x110);
    abuse(make_kludge, 0xA0);
    abuse(make_bzimage64, 0x270);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multiboot_elf32),
        cmocka_unit_test(test_multiboot_elf64_and_kludge),
        cmocka_unit_test(test_multiboot_module),
        cmocka_unit_test(test_linux64),
        cmocka_unit_test(test_linux64_identity_map),
        cmocka_unit_test(test_linux_moves_down),
        cmocka_unit_test(test_linux32),
        cmocka_unit_test(test_refused_images),
        cmocka_unit_test(test_initrd_and_cmdline_too_long),
        cmocka_unit_test(test_abuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
