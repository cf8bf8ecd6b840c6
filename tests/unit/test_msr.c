// SPDX-License-Identifier: BSD-2-Clause
// RDMSR and WRMSR of a guest, the kernel's part: checked values, what goes to the CPU, and that the
// rest goes to the VMM.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "kernel/arch/x86/msr_policy.h"
#include "kernel/arch/x86/regs.h"

#define HZ 2400000000ull

static uint32_t page[1024] __attribute__((aligned(4096)));
static struct vlapic vlapic;
static struct cpuid_table table;
static struct msr_state s;

static int setup(void **state)
{
    (void)state;
    table = (struct cpuid_table){ .efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE, .tsc_aux = 1 };
    vlapic_init(&vlapic, page, 0, true, cpuid_timer_ratio(HZ), 0);
    vlapic.actions = 0;
    memset(&s, 0xa5, sizeof(s));
    msr_init(&s, &vlapic, &table);
    return 0;
}

static uint64_t rd(uint32_t index)
{
    uint64_t value = 0xdeadbeefdeadbeef;
    assert_int_equal(msr_read(&s, index, 1000, &value), MSR_DONE);
    return value;
}

static enum msr_result rd_result(uint32_t index)
{
    uint64_t value;
    return msr_read(&s, index, 1000, &value);
}

static enum msr_result wr(uint32_t index, uint64_t value)
{
    return msr_write(&s, index, value, 1000);
}

static void others_are_the_vmms(void **state)
{
    // What the VMM keeps; and machine-check banks, performance counters, RAPL, VMX, XSS, MPERF,
    // thermal, LBR, hypervisors'.
    static const uint32_t index[] = {
        0x17, 0x3a, 0x8b, 0xce, 0xfe, 0x140, 0x179, 0x1a0, 0x1d9, 0x200, 0x20f, 0x250, 0x2ff,
        0, 0x33, 0xc1, 0xe7, 0xe8, 0xcf, 0x10b, 0x122, 0x17b, 0x186, 0x199, 0x19b, 0x1da,
        0x1df, 0x1ad, 0x210, 0x251, 0x25a, 0x267, 0x26a + 6, 0x345, 0x38f, 0x400, 0x480, 0x48f,
        0x606, 0x611, 0x64e, 0x6df, 0x6e1, 0x770, 0x7ff, 0x900, 0xc80, 0xda0, 0x40000000,
        0x4b564d00, 0xc0000085, 0xc0000104, 0xc0010015, 0xc001102c, 0xffffffff,
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(index); i++) {
        assert_int_equal(rd_result(index[i]), MSR_VMM);
        assert_int_equal(wr(index[i], 0), MSR_VMM);
    }
}

static void registers_of_the_cpu(void **state)
{
    (void)state;
    assert_int_equal(wr(0xc0000081, UINT64_MAX), MSR_LOAD);
    assert_int_equal(wr(0xc0000082, 0xffffffff81000000), MSR_LOAD);
    assert_int_equal(wr(0xc0000082, 1ull << 63), MSR_GP);
    assert_int_equal(wr(0xc0000083, 1ull << 47), MSR_GP);
    assert_int_equal(wr(0xc0000083, 0xffff800000000000), MSR_LOAD);
    assert_int_equal(wr(0xc0000083, 0x7fffffffffff), MSR_LOAD);
    assert_int_equal(wr(0xc0000083, 0xfffe800000000000), MSR_GP);
    assert_int_equal(wr(0xc0000084, 0x257fd5), MSR_LOAD);
    assert_int_equal(wr(0xc0000084, 1ull << 32), MSR_GP);
    assert_int_equal(rd(0xc0000081), UINT64_MAX);
    assert_int_equal(rd(0xc0000082), 0xffffffff81000000);
    assert_int_equal(rd(0xc0000083), 0x7fffffffffff);
    assert_int_equal(rd(0xc0000084), 0x257fd5);
    assert_int_equal(rd_result(0xc0000080), MSR_EFER_REG);
    assert_int_equal(wr(0xc0000080, 0xd01), MSR_EFER_REG);
    assert_int_equal(wr(0xc0000080, 0x1d01), MSR_GP); // SVME
    assert_int_equal(wr(0xc0000080, 2), MSR_GP);
}

static void pat_is_checked(void **state)
{
    (void)state;
    assert_int_equal(wr(0x277, 0x0407050600070106), MSR_LOAD);
    assert_int_equal(rd(0x277), 0x0407050600070106);
    assert_int_equal(wr(0x277, 0x0407050600070102), MSR_GP);
    assert_int_equal(wr(0x277, 0x0307050600070106), MSR_GP);
    assert_int_equal(wr(0x277, 0x0807050600070106), MSR_GP);
    assert_int_equal(wr(0x277, 0x0407050600f70106), MSR_GP);
    assert_int_equal(s.pat, 0x0407050600070106);
}

static void tsc_and_its_adjustment(void **state)
{
    (void)state;
    assert_int_equal(rd(0x10), 1000);
    assert_int_equal(wr(0x10, 0), MSR_LOAD);
    assert_int_equal(vlapic.tsc_offset, -(uint64_t)1000);
    assert_true(vlapic.actions & VLAPIC_ACT_TIMER);
    assert_int_equal(rd(0x10), 0);
    assert_int_equal(rd(0x3b), -(uint64_t)1000);
    assert_int_equal(wr(0x3b, 500), MSR_LOAD);
    assert_int_equal(rd(0x3b), 500);
    assert_int_equal(rd(0x10), 1500);
    assert_int_equal(wr(0x3b, 0), MSR_LOAD);
    assert_int_equal(rd(0x10), 1000);
}

static void apic_is_reached(void **state)
{
    uint64_t value;
    (void)state;
    assert_int_equal(msr_read(&s, 0x1b, 0, &value), MSR_DONE);
    assert_int_equal(value, 0xfee00900);
    assert_int_equal(wr(0x80b, 0), MSR_GP); // not x2APIC yet
    assert_int_equal(wr(0x1b, 0xfee00d00), MSR_DONE);
    assert_int_equal(vlapic.actions, VLAPIC_ACT_MODE);
    assert_int_equal(wr(0x80b, 0), MSR_DONE);
    assert_int_equal(wr(0x8ff, 0), MSR_GP);
    assert_int_equal(wr(0x832, 0x400ec), MSR_DONE);
    assert_int_equal(wr(0x6e0, 5000), MSR_DONE);
    assert_int_equal(vlapic_timer_deadline(&vlapic), 5000);
    assert_int_equal(msr_read(&s, 0x6e0, 1000, &value), MSR_DONE);
    assert_int_equal(value, 5000);
    assert_int_equal(wr(0x1b, 0xfee00900), MSR_GP);
}

static void no_speculation_control(void **state)
{
    (void)state;
    assert_int_equal(rd_result(0x48), MSR_VMM); // which refuses them
    assert_int_equal(wr(0x48, 0), MSR_VMM);
    assert_int_equal(wr(0x49, 1), MSR_VMM);
    assert_int_equal(rd_result(0x10a), MSR_VMM);
    assert_int_equal(wr(0x10a, 0), MSR_VMM);
}

static void tsc_aux_as_cpuid_says(void **state)
{
    (void)state;
    assert_int_equal(rd(0xc0000103), 0);
    assert_int_equal(wr(0xc0000103, 0x1234), MSR_LOAD);
    assert_int_equal(wr(0xc0000103, 1ull << 32), MSR_GP);
    assert_int_equal(rd(0xc0000103), 0x1234);
    table.tsc_aux = 0;
    assert_int_equal(rd_result(0xc0000103), MSR_GP);
    assert_int_equal(wr(0xc0000103, 0), MSR_GP);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(others_are_the_vmms), TEST(registers_of_the_cpu), TEST(pat_is_checked),
        TEST(tsc_and_its_adjustment), TEST(apic_is_reached),
        TEST(no_speculation_control), TEST(tsc_aux_as_cpuid_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
