// SPDX-License-Identifier: BSD-2-Clause
//
// The MSRs that the VMM keeps for a guest: constants, checked values, #GP for the rest.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "vmm/cpu/msr.h"

static struct msrs m;

static int setup(void **state)
{
    (void)state;
    memset(&m, 0xa5, sizeof(m));
    msrs_init(&m, 2400000000, true, 39, false);
    return 0;
}

static bool reads(uint32_t index)
{
    uint64_t value;
    return msrs_read(&m, index, &value);
}

static uint64_t rd(uint32_t index)
{
    uint64_t value = 0xdeadbeefdeadbeef;
    assert_true(msrs_read(&m, index, &value));
    return value;
}

static bool wr(uint32_t index, uint64_t value) { return msrs_write(&m, index, value); }

static void constants(void **state)
{
    static const struct { uint32_t index; uint64_t value; } expect[] = {
        { 0x17, 0 }, { 0x2a, 0 }, { 0x34, 0 }, { 0xcd, 0 }, { 0x198, 0 }, { 0x19c, 0 },
        { 0x1a2, 0 }, { 0x1db, 0 }, { 0x1de, 0 },
        { 0x3a, 1 }, { 0x8b, 1ull << 32 }, { 0xce, 24 << 8 },
        { 0xfe, 0x508 }, { 0x140, 0 }, { 0x179, 0 }, { 0x17a, 0 }, { 0x1a0, 0x1801 }, { 0x1d9, 0 },
        { 0x2ff, 0xc06 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(expect) / sizeof(expect[0]); i++)
        assert_int_equal(rd(expect[i].index), expect[i].value);
    static const uint32_t refuse[] = { 0x17, 0x2a, 0x34, 0xcd, 0x198, 0x19c, 0x1a2, 0x1db, 0x3a,
                                       0xce, 0xfe, 0x179 };
    for (size_t i = 0; i < sizeof(refuse) / sizeof(refuse[0]); i++)
        assert_int_equal(wr(refuse[i], 0), false);
    assert_int_equal(wr(0x8b, 0), true); // how the revision is asked for
    assert_int_equal(rd(0x8b), 1ull << 32);
    assert_int_equal(wr(0x140, 0), true);
    assert_int_equal(wr(0x140, 1), false);
    assert_int_equal(wr(0x17a, 0), true);
    assert_int_equal(wr(0x17a, 4), false);
    assert_int_equal(wr(0x1d9, 2), true);
    assert_int_equal(wr(0x1d9, 0x40), false);
    assert_int_equal(wr(0x1a0, 0), true);
    assert_int_equal(rd(0x1a0), 0x1800);
}

static void fast_strings_are_the_hosts(void **state)
{
    (void)state;
    msrs_init(&m, 2400000000, false, 39, false);
    assert_int_equal(rd(0x1a0), 0x1800);
    assert_true(wr(0x1a0, 1)); // as the firmware's choice can be changed on a CPU
    assert_int_equal(rd(0x1a0), 0x1801);
}

// Systems for AMD's CPUs read and write these without asking. No other CPU has them.
static void amds_own(void **state)
{
    static const uint32_t index[] = { 0xc0010000, 0xc0010007, 0xc0010010, 0xc0010015,
                                      0xc0010055, 0xc0010114, 0xc0011029 };
    (void)state;
    for (size_t i = 0; i < sizeof(index) / sizeof(index[0]); i++) {
        msrs_init(&m, 2400000000, true, 39, false);
        assert_false(reads(index[i]));
        assert_false(wr(index[i], 0));
        msrs_init(&m, 2400000000, true, 39, true);
        uint64_t value = rd(index[i]);
        assert_true(wr(index[i], ~value));
        assert_int_equal(rd(index[i]), value);
    }
    assert_int_equal(rd(0xc0010114), 0x18);
    assert_int_equal(rd(0xc0011029), 2);
    assert_false(reads(0xc0010016));
}

static void unknown_is_gp(void **state)
{
    // Machine-check banks, performance counters, RAPL, VMX, XSS, MPERF, thermal, LBR, hypervisors'.
    static const uint32_t index[] = {
        0, 0x33, 0xc1, 0xe7, 0xe8, 0xcf, 0x10b, 0x122, 0x17b, 0x186, 0x199, 0x19b, 0x1da,
        0x1df, 0x1ad, 0x210, 0x251, 0x25a, 0x267, 0x26a + 6, 0x345, 0x38f, 0x400, 0x480, 0x48f,
        0x606, 0x611, 0x64e, 0x6df, 0x6e1, 0x770, 0x7ff, 0x900, 0xc80, 0xda0, 0x40000000,
        0x4b564d00, 0xc0000085, 0xc0000104, 0xc0010015, 0xc001102c, 0xffffffff,
        // The kernel's own do not come here.
        0x10, 0x1b, 0x3b, 0x48, 0x49, 0x10a, 0x277, 0x6e0, 0x800, 0xc0000080,
    };
    (void)state;
    for (size_t i = 0; i < sizeof(index) / sizeof(index[0]); i++) {
        assert_int_equal(reads(index[i]), false);
        assert_int_equal(wr(index[i], 0), false);
    }
}

static void mtrrs_are_kept_and_checked(void **state)
{
    static const uint32_t fixed[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c,
                                      0x26d, 0x26e, 0x26f };
    (void)state;
    assert_int_equal(rd(0x250), 0x0606060606060606);
    assert_int_equal(rd(0x258), 0x0606060606060606);
    assert_int_equal(rd(0x259), 0); // video memory
    assert_int_equal(rd(0x268), 0x0505050505050505);
    for (uint32_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        assert_int_equal(wr(fixed[i], 0x0605040100060600 + i % 2), true);
        assert_int_equal(wr(fixed[i], 0x0605040100060602), false);
        assert_int_equal(wr(fixed[i], 0x0705040100060600), false);
        assert_int_equal(rd(fixed[i]), 0x0605040100060600 + i % 2);
    }
    for (uint32_t i = 0x200; i < 0x210; i += 2) {
        assert_int_equal(rd(i), 0);
        assert_int_equal(rd(i + 1), 0); // not valid
        assert_int_equal(wr(i, 0xc0000000 + (i << 12)), true);
        assert_int_equal(wr(i, 0xc0000007), false);
        assert_int_equal(wr(i, 0xc0000100), false);
        assert_int_equal(wr(i, 1ull << 39), false); // wider than the CPU's addresses
        assert_int_equal(wr(i + 1, 0x7fc0000800), true);
        assert_int_equal(wr(i + 1, 0xffc0000800), false);
        assert_int_equal(wr(i + 1, 0x7fc0000801), false);
        assert_int_equal(rd(i), 0xc0000000 + (i << 12));
        assert_int_equal(rd(i + 1), 0x7fc0000800);
    }
    assert_int_equal(wr(0x2ff, 0), true);
    assert_int_equal(wr(0x2ff, 0xc06), true);
    assert_int_equal(wr(0x2ff, 0xc02), false);
    assert_int_equal(wr(0x2ff, 0x1c06), false);
    assert_int_equal(wr(0x2ff, 0xd06), false);
    assert_int_equal(rd(0x2ff), 0xc06);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(constants), TEST(fast_strings_are_the_hosts), TEST(amds_own),
        TEST(unknown_is_gp),
        TEST(mtrrs_are_kept_and_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
