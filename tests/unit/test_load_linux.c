// SPDX-License-Identifier: BSD-2-Clause
//
// Linux bzImages: the zero page, both entries, where the kernel goes, what is refused.
#include "load_file.h"

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

static void make_bzimage64(struct file *f)
{
    make_bzimage(f, 0x20F);
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

// A kernel that is loaded lower than it likes moves itself up before it unpacks itself.
static void test_memory_to_unpack(void **state)
{
    static const uint8_t initrd[5000];
    struct file file;
    struct fixture f;
    (void)state;

    make_bzimage(&file, 0x20F); // 4 MB at 16 MB
    expect_error(&file, 16, "the kernel needs 4096 KB of memory at 0x1000000 to unpack itself; "
                 "give the VM at least 20480K");
    expect_error(&file, 19, "at least 20480K");
    begin(&f, 20);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x1000200);
    f.load.initrd = (struct load_file){ initrd, sizeof(initrd), "ramdisk" };
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "no room for the initrd 'ramdisk' (5000 bytes) behind the "
                           "image, which ends at 0x1400000; give the VM at least 20488K"));
    end(&f);
    // The image itself may be what is larger.
    put(&file, 0x258, 8, 0x200000);
    put(&file, 0x260, 4, 0x1000);
    put(&file, 39999, 1, 1);
    begin(&f, 20);
    f.load.initrd = (struct load_file){ initrd, sizeof(initrd), "ramdisk" };
    put(&file, 0x22C, 4, 0x20BFFF); // the last byte that an initrd may have
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(guest_get(&f.ram, BOOT_PARAMS + 0x218, 4), 0x20A000);
    put(&file, 0x22C, 4, 0x20B000);
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "between the image, which ends at 0x20a000, and 0x20b001, "
                           "below which the image wants it"));
    end(&f);
    put(&file, 0x258, 8, 0xBFF00000);
    put(&file, 0x260, 4, 0x100001);
    expect_error(&file, 4096, "they do not end below 3 GB");
    put(&file, 0x258, 8, UINT64_MAX);
    expect_error(&file, 4096, "they do not end below 3 GB");
    // Without such a wish it stays at 1 MB, or moves up to its alignment.
    make_bzimage(&file, 0x20F);
    put(&file, 0x258, 8, 0);
    put(&file, 0x230, 4, 0x800000);
    expect_error(&file, 11, "4096 KB of memory at 0x800000 to unpack itself; give the VM at least "
                 "12288K");
    begin(&f, 12);
    assert_true(load_file(&f, &file, file.length));
    assert_int_equal(f.load.state.sregs.rip, 0x100200);
    end(&f);
    put(&file, 0x234, 1, 0);
    expect_error(&file, 4, "at least 5120K");
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
    put(&file, 0x258, 8, 0);
    expect_error(&file, 16, "kernel alignment 0x3 (offset 0x230) is no power of two");
}

static void test_forced_entry32(void **state)
{
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_bzimage(&file, 0x20F); // has both
    f.load.entry32 = true;
    assert_true(load_file(&f, &file, file.length));
    assert_string_equal(f.load.format, "Linux, 32-bit entry");
    assert_int_equal(f.load.state.sregs.rip, 0x1000000);
    assert_int_equal(f.load.state.sregs.cr0 & 0x80000001, 1);
    assert_int_equal(f.load.state.sregs.efer, 0);
    assert_int_equal(f.load.state.gpr[GPR_RSI], BOOT_PARAMS);
    f.load.entry32 = false;
    put(&file, 0x236, 2, 0); // has not the other
    assert_true(load_file(&f, &file, file.length));
    assert_string_equal(f.load.format, "Linux, 32-bit entry");
    end(&f);
}

static void test_no_modules(void **state)
{
    static const uint8_t data[16];
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 64);
    make_bzimage(&file, 0x20F);
    add_module(&f, data, sizeof(data), "more", "");
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "takes no modules ('more'), only an initrd"));
    end(&f);
}

static void test_cmdline_too_long(void **state)
{
    static char cmdline[3000];
    struct file file;
    struct fixture f;
    (void)state;

    begin(&f, 32);
    make_bzimage(&file, 0x20F); // its header says 2047
    memset(cmdline, 'x', 2048);
    f.load.cmdline = cmdline;
    assert_false(load_file(&f, &file, file.length));
    assert_non_null(strstr(f.load.error, "command line of 2048 bytes is longer than the 2047"));
    cmdline[2047] = 0;
    assert_true(load_file(&f, &file, file.length));
    end(&f);
}

static void test_abuse(void **state)
{
    (void)state;
    abuse(make_bzimage64, 0x270);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linux64),
        cmocka_unit_test(test_linux64_identity_map),
        cmocka_unit_test(test_memory_to_unpack),
        cmocka_unit_test(test_linux32),
        cmocka_unit_test(test_forced_entry32),
        cmocka_unit_test(test_no_modules),
        cmocka_unit_test(test_cmdline_too_long),
        cmocka_unit_test(test_abuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
