// SPDX-License-Identifier: BSD-2-Clause
// What each of several CPUs is said to have, and what is done about it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "kernel/arch/x86/vuln.h"

static struct mitigations m;
static struct cpu_faults r;

// CPUID leaf 7: EBX has HLE and RTM; EDX has MD_CLEAR, SPEC_CTRL, L1D_FLUSH, ARCH_CAPABILITIES.
#define TSX     (1u << 4 | 1u << 11)
#define UPDATED (1u << 10 | 1u << 26 | 1u << 28 | 1u << 29)

struct cpu {
    struct features f;
    uint32_t siblings;
    bool bus_lock_exits;
};

static const struct cpu bare = { .f.leaf1_eax = 0x50650, .siblings = 1 };
static const struct cpu skylake = { .f.leaf1_eax = 0x50650, .f.leaf7_ebx = TSX,
                                    .f.leaf7_edx = UPDATED, .siblings = 2 };
// RDCL_NO, IBRS_ALL, SKIP_L1DFL, MDS_NO; TSX with TAA
static const struct cpu cascade_lake = { .f.leaf1_eax = 0x50650, .f.leaf7_ebx = TSX,
                                         .f.leaf7_edx = UPDATED, .f.arch_caps = 0x2b,
                                         .siblings = 2 };
// and PSCHANGE_MC_NO, TAA_NO; BHI_CTRL and RRSBA_CTRL; bus-lock exiting
static const struct cpu sapphire_rapids = { .f.leaf1_eax = 0x80670, .f.leaf7_edx = UPDATED,
                                            .f.leaf7_2_edx = 0x14, .f.arch_caps = 0x16b,
                                            .siblings = 1, .bus_lock_exits = true };
static const struct cpu alder_lake_n = { .f.leaf1_eax = 0xb06e0, .f.leaf7_edx = UPDATED,
                                         .f.leaf7_2_edx = 0x14, .f.arch_caps = 0x1000016b,
                                         .siblings = 1 };

enum state { NOT_AFFECTED, MITIGATED, OPEN };

static enum state state_of(enum cpu_fault fault)
{
    return !(r.there >> fault & 1) ? NOT_AFFECTED : r.open >> fault & 1 ? OPEN : MITIGATED;
}

static void decide(const struct cpu *f, const char *assume)
{
    vuln_decide(&f->f, f->siblings, f->bus_lock_exits, assume, &m, &r);
    assert_int_equal(r.open & ~r.there, 0);
    assert_int_equal(r.asked & ~r.there, 0);
    assert_int_equal(r.there >> FAULT_COUNT, 0);
    assert_int_equal(r.retpolines, m.retpolines);
}

static void test_without_registers(void **state)
{
    (void)state;
    decide(&bare, NULL);
    assert_false(m.any || m.ibpb || m.verw || m.l1d_flush || m.spec_ctrl);
    assert_true(m.retpolines && m.itlb_multihit);
    assert_int_equal(state_of(FAULT_mds), OPEN);
    assert_int_equal(state_of(FAULT_l1tf), OPEN);
    assert_int_equal(state_of(FAULT_v2), OPEN);
    assert_int_equal(state_of(FAULT_taa), NOT_AFFECTED);
    assert_int_equal(state_of(FAULT_smt), NOT_AFFECTED);
    assert_int_equal(state_of(FAULT_v1), MITIGATED);
}

static void test_skylake(void **state)
{
    (void)state;
    decide(&skylake, NULL);
    assert_true(m.any && m.ibpb && m.verw && m.l1d_flush && m.retpolines && m.hle_hole);
    assert_int_equal(m.spec_ctrl, 0); // no enhanced IBRS: nothing that may stay on
    assert_int_equal(state_of(FAULT_v2), MITIGATED);
    assert_int_equal(state_of(FAULT_bhi), NOT_AFFECTED);
    assert_int_equal(state_of(FAULT_meltdown), OPEN);
    assert_int_equal(state_of(FAULT_smt), OPEN);
}

// MDS_NO switched VERW off, which TAA needs.
static void test_cascade_lake(void **state)
{
    (void)state;
    decide(&cascade_lake, NULL);
    assert_int_equal(state_of(FAULT_mds), NOT_AFFECTED);
    assert_int_equal(state_of(FAULT_taa), MITIGATED);
    assert_true(m.verw);
    assert_false(m.l1d_flush);
    assert_int_equal(m.spec_ctrl, 1);
    assert_true(m.retpolines); // against BHI, for which it has no control
    assert_true(m.itlb_multihit);
}

static void test_sapphire_rapids(void **state)
{
    (void)state;
    decide(&sapphire_rapids, NULL);
    assert_false(m.verw || m.l1d_flush || m.retpolines || m.itlb_multihit || m.hle_hole);
    assert_int_equal(m.spec_ctrl, 0x401); // IBRS, BHI_DIS_S
    assert_true(m.ibpb && m.any);
    assert_int_equal(state_of(FAULT_rfds), NOT_AFFECTED);
    assert_int_equal(state_of(FAULT_buslock), MITIGATED);
    assert_int_equal(r.open, 0);
}

static void test_rfds(void **state)
{
    (void)state;
    struct cpu f = alder_lake_n;
    decide(&f, NULL);
    assert_int_equal(state_of(FAULT_mds), NOT_AFFECTED);
    assert_int_equal(state_of(FAULT_rfds), MITIGATED);
    assert_true(m.verw);
    f.f.arch_caps &= ~(1ull << 28); // before the microcode: known by its model
    f.f.leaf7_edx &= ~(1u << 10);
    decide(&f, NULL);
    assert_int_equal(state_of(FAULT_rfds), OPEN);
    f.f.arch_caps |= 1ull << 27;
    decide(&f, NULL);
    assert_int_equal(state_of(FAULT_rfds), NOT_AFFECTED);
}

// The words that Intel gives a meaning have none there.
static void test_amd(void **state)
{
    (void)state;
    struct cpu f = { .f.leaf1_eax = 0xa20f10, .f.leaf7_ebx = TSX, .f.leaf7_edx = UPDATED,
                     .f.amd = true, .f.ext8_ebx = 1u << 12, .siblings = 2 };
    decide(&f, NULL);
    assert_true(m.any && m.ibpb && m.retpolines);
    assert_false(m.verw || m.l1d_flush || m.itlb_multihit || m.hle_hole || m.spec_ctrl);
    assert_int_equal(state_of(FAULT_meltdown), NOT_AFFECTED);
    assert_int_equal(state_of(FAULT_v1), MITIGATED);
    assert_int_equal(state_of(FAULT_v2), MITIGATED);
    assert_int_equal(state_of(FAULT_buslock), OPEN);
    assert_int_equal(state_of(FAULT_smt), OPEN);
    f.f.ext8_ebx = 0;
    decide(&f, NULL);
    assert_false(m.any || m.ibpb);
    assert_int_equal(state_of(FAULT_v2), OPEN);
    f.f.ext21_eax = 1u << 5; // VERW is AMD's word, too, since TSA
    decide(&f, NULL);
    assert_true(m.any && m.verw && !m.ibpb);
    f.f.ext21_eax = ~(1u << 5);
    decide(&f, NULL);
    assert_false(m.any || m.verw);
    decide(&f, "mds"); // VERW does nothing there, and does no harm
    assert_true(m.verw && !m.l1d_flush);
    assert_int_equal(state_of(FAULT_mds), OPEN);
}

// What is asked for is done where it can be; a register that is not there is not written.
static void test_assume(void **state)
{
    (void)state;
    decide(&bare, "mds");
    assert_true(m.verw && m.any && r.asked == 1u << FAULT_mds);
    assert_false(m.ibpb || m.l1d_flush);
    decide(&bare, "l1tf");
    assert_true(m.any && !m.verw && !m.l1d_flush && !m.ibpb);
    decide(&sapphire_rapids, "v2,itlb hle");
    assert_true(m.retpolines && m.itlb_multihit && !m.hle_hole);
    assert_int_equal(m.spec_ctrl, 0x441); // and RRSBA_DIS_S, or retpolines are no help
    decide(&sapphire_rapids, "all");
    assert_true(m.verw && m.l1d_flush && m.hle_hole && m.retpolines);
    assert_int_equal(r.asked, (1u << FAULT_COUNT) - 1);
    decide(&bare, "md,mdsx,,v,al");
    assert_false(m.any);
    decide(&bare, ",mds");
    assert_true(m.verw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_registers), cmocka_unit_test(test_skylake),
        cmocka_unit_test(test_cascade_lake),      cmocka_unit_test(test_sapphire_rapids),
        cmocka_unit_test(test_rfds),              cmocka_unit_test(test_assume),
        cmocka_unit_test(test_amd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
