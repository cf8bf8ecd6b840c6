// SPDX-License-Identifier: BSD-2-Clause
// The virtual local APIC: what LINT0 makes of the INTR line ("Local Vector Table", "Handling Local
// Interrupts"), and an APIC that software has disabled ("Local APIC State After It Has Been
// Software Disabled"); the modes of IA32_APIC_BASE.
#include "tests/unit/vlapic.h"

#define LEVEL      0x8000u
#define REMOTE_IRR 0x4000u
#define FIXED      0x000u
#define SMI        0x200u
#define NMI        0x400u
#define INIT       0x500u
#define EXTINT     0x700u

static uint32_t lint0(void) { return vlapic_read(&v, APIC_LVT_LINT0, 0); }

static void set_lint0(uint32_t value)
{
    vlapic_write(&v, APIC_LVT_LINT0, value, 0);
    v.actions = 0;
}

// The line rises; what comes of it.
static void each_delivery_mode(void **state)
{
    static const struct { uint32_t lvt, actions; int vector; bool tmr, remote_irr; } rows[] = {
        { FIXED | 0x55, VLAPIC_ACT_IRR, 0x55, false, false },
        { FIXED | LEVEL | 0x55, VLAPIC_ACT_IRR | VLAPIC_ACT_TMR, 0x55, true, true },
        { NMI | 0x55, VLAPIC_ACT_NMI, -1, false, false },
        { NMI | LEVEL | 0x55, VLAPIC_ACT_NMI, -1, false, false }, // "always edge-sensitive"
        { INIT, VLAPIC_ACT_INIT, -1, false, false },
        { SMI, 0, -1, false, false }, // there is no such mode
        { EXTINT, 0, -1, false, false }, // needs an acknowledge cycle
        { MASKED | FIXED | 0x55, 0, -1, false, false },
        { MASKED | FIXED | LEVEL | 0x55, 0, -1, false, false },
        { MASKED | NMI, 0, -1, false, false },
        { FIXED | 0x0f, 0, -1, false, false },
        { FIXED | LEVEL | 0x0f, 0, -1, false, false },
    };
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
        start(0, 1, 0);
        if (i % 2)
            assert_true(vlapic_wrmsr(&v, MSR_BASE, rdmsr(MSR_BASE) | APIC_BASE_X2APIC, 0));
        if (i % 2)
            assert_true(vlapic_wrmsr(&v, 0x835, rows[i / 2].lvt, 0));
        else
            vlapic_write(&v, APIC_LVT_LINT0, rows[i / 2].lvt, 0);
        v.actions = 0;
        vlapic_lint0(&v, true, true);
        assert_int_equal(taken(), rows[i / 2].actions);
        assert_int_equal(irr_max(&v), rows[i / 2].vector);
        assert_int_equal(page[(APIC_TMR + 0x20) / 4] >> 0x15 & 1, rows[i / 2].tmr);
        assert_int_equal(page[APIC_LVT_LINT0 / 4],
                         rows[i / 2].lvt | (rows[i / 2].remote_irr ? REMOTE_IRR : 0));
        // An illegal vector is told of as one that was received; without the interrupt.
        bool illegal = (rows[i / 2].lvt & (MASKED | 0x7f0)) == 0;
        assert_int_equal(v.errors, illegal ? 0x40 : 0);
    }
}

static void an_edge_comes_once(void **state)
{
    (void)state;
    set_lint0(FIXED | 0x55);
    vlapic_lint0(&v, true, true);
    vlapic_inject(&v, 0x55);
    vlapic_lint0(&v, true, false); // high still
    assert_int_equal(irr_max(&v), -1);
    assert_int_equal(eoi(&v), -1);
    vlapic_lint0(&v, true, false);
    assert_int_equal(irr_max(&v), -1);
    vlapic_lint0(&v, false, true); // a pulse that is over
    assert_int_equal(irr_max(&v), 0x55);
    set_lint0(MASKED | NMI);
    vlapic_lint0(&v, true, true);
    set_lint0(NMI); // what came while it was masked is lost
    vlapic_lint0(&v, true, false);
    assert_int_equal(taken() & VLAPIC_ACT_NMI, 0);
    vlapic_lint0(&v, true, true);
    assert_int_equal(taken(), VLAPIC_ACT_NMI);
}

static void a_level_comes_until_it_falls(void **state)
{
    (void)state;
    set_lint0(FIXED | LEVEL | 0x55);
    for (unsigned i = 0; i < 3; i++) {
        vlapic_lint0(&v, true, i == 0);
        assert_int_equal(irr_max(&v), 0x55);
        vlapic_inject(&v, 0x55);
        vlapic_lint0(&v, true, false); // remote IRR: not before its EOI
        assert_int_equal(irr_max(&v), -1);
        assert_int_equal(lint0(), FIXED | LEVEL | REMOTE_IRR | 0x55);
        set_lint0(FIXED | LEVEL | 0x56); // a read-only bit; the EOI that counts is the old vector's
        assert_int_equal(lint0(), FIXED | LEVEL | REMOTE_IRR | 0x56);
        vlapic_level_ended(&v, 0x56);
        assert_int_equal(lint0(), FIXED | LEVEL | REMOTE_IRR | 0x56);
        set_lint0(FIXED | LEVEL | 0x55);
        assert_int_equal(eoi(&v), 0x55);
        assert_int_equal(lint0(), FIXED | LEVEL | 0x55);
    }
    vlapic_lint0(&v, false, false);
    assert_int_equal(irr_max(&v), -1);
    // Masked, it is still waited for; as an edge it is not any more.
    vlapic_lint0(&v, true, true);
    set_lint0(MASKED | FIXED | LEVEL | 0x55);
    assert_int_equal(lint0(), MASKED | FIXED | LEVEL | REMOTE_IRR | 0x55);
    set_lint0(FIXED | 0x55);
    assert_int_equal(lint0(), FIXED | 0x55);
    set_lint0(FIXED | LEVEL | 0x55);
    assert_int_equal(lint0(), FIXED | LEVEL | 0x55);
}

// Where the CPU keeps the registers, the guest's write has overwritten remote IRR in the page; and
// an EOI comes as an exit.
static void with_the_cpus_help(void **state)
{
    (void)state;
    set_lint0(FIXED | LEVEL | 0x55);
    vlapic_lint0(&v, true, true);
    page[APIC_LVT_LINT0 / 4] = FIXED | LEVEL | 0x55;
    vlapic_written(&v, APIC_LVT_LINT0, 0);
    assert_int_equal(page[APIC_LVT_LINT0 / 4], FIXED | LEVEL | REMOTE_IRR | 0x55);
    page[(APIC_IRR + 0x20) / 4] = 0; // delivered, and ended
    vlapic_level_ended(&v, 0x55);
    assert_int_equal(page[APIC_LVT_LINT0 / 4], FIXED | LEVEL | 0x55);
    vlapic_lint0(&v, true, false);
    assert_int_equal(irr_max(&v), 0x55);
    // Switched off and on it begins anew.
    assert_true(vlapic_wrmsr(&v, MSR_BASE, APIC_BASE_ADDRESS | APIC_BASE_BSP, 0));
    assert_true(vlapic_wrmsr(&v, MSR_BASE, rdmsr(MSR_BASE) | APIC_BASE_ENABLE, 0));
    vlapic_write(&v, APIC_SVR, 0x1ff, 0);
    set_lint0(FIXED | LEVEL | 0x55);
    assert_int_equal(lint0(), FIXED | LEVEL | 0x55);
}

static void software_disabled(void **state)
{
    (void)state;
    assert_true(vlapic_accept(&v, 0x41, true));
    assert_true(vlapic_accept(&v, 0x72, false));
    vlapic_inject(&v, 0x72);
    assert_true(vlapic_accept(&v, 0x83, false));
    vlapic_write(&v, APIC_LVT_TIMER, 0x90, 0);
    vlapic_write(&v, APIC_TIMER_DIVIDE, 0xb, 0);
    vlapic_write(&v, APIC_TIMER_INITIAL, 1000, 0);
    (void)taken();
    vlapic_write(&v, APIC_SVR, 0xff, 0);
    assert_true(taken() & VLAPIC_ACT_MODE); // the CPU must not take self-IPIs for it
    assert_false(vlapic_listens(&v));
    // No entry of the table can be unmasked, so nothing comes by it.
    for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16) {
        vlapic_write(&v, lvt, NMI, 0);
        assert_true(vlapic_read(&v, lvt, 0) & MASKED);
    }
    v.actions = 0;
    vlapic_lint0(&v, true, true);
    vlapic_timer_fired(&v, 2000);
    vlapic_write(&v, APIC_ICR, 0x4000f, 0); // an error
    assert_int_equal(taken(), 0);
    // What is pending and in service stays, with its priorities and EOIs.
    assert_int_equal(isr_max(&v), 0x72);
    assert_int_equal(irr_max(&v), 0x83);
    assert_int_equal(vlapic_read(&v, APIC_PPR, 0), 0x70);
    assert_int_equal(vlapic_highest(&v), 0x83);
    vlapic_inject(&v, 0x83);
    assert_int_equal(eoi(&v), -1);
    assert_int_equal(eoi(&v), -1);
    assert_int_equal(vlapic_highest(&v), 0x41);
    vlapic_inject(&v, 0x41);
    assert_int_equal(eoi(&v), 0x41);
    // Nothing new by a vector, neither by a message nor by an IPI; NMI and INIT are.
    v.actions = 0;
    assert_false(vlapic_accept(&v, 0x44, false));
    vlapic_write(&v, APIC_ICR, 0x40044, 0);
    assert_int_equal(irr_max(&v), -1);
    assert_int_equal(taken(), 0);
    vlapic_write(&v, APIC_ICR, 0x4400, 0);
    assert_int_equal(taken() & ~VLAPIC_ACT_IPI, VLAPIC_ACT_NMI);
    vlapic_write(&v, APIC_ICR, 0x4500, 0);
    assert_int_equal(taken() & ~VLAPIC_ACT_IPI, VLAPIC_ACT_INIT);
    assert_true(vlapic_match_dest(&v, 0, false, true)); // messages: NMI is vm_msi's
    // Enabled again, the table stays masked until it is written.
    vlapic_write(&v, APIC_SVR, 0x1ff, 0);
    assert_true((taken() & VLAPIC_ACT_MODE) && vlapic_listens(&v));
    assert_int_equal(lint0(), MASKED | NMI);
    set_lint0(NMI);
    vlapic_lint0(&v, true, true);
    assert_int_equal(taken(), VLAPIC_ACT_NMI);
}

// "Local x2APIC State Transitions with IA32_APIC_BASE, INIT, and Reset": EN and EXTD are bits 0 and
// 1 of each state. What is refused changes nothing.
static void each_transition(void **state)
{
    static const bool allowed[4][4] = { // from, to
        [0] = { [0] = true, [1] = true },
        [1] = { [0] = true, [1] = true, [3] = true },
        [3] = { [0] = true, [3] = true },
    };
    static const uint64_t way[4] = { 0, APIC_BASE_ENABLE, APIC_BASE_X2APIC,
                                     APIC_BASE_ENABLE | APIC_BASE_X2APIC };
    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        unsigned from = i / 4, to = i % 4;
        if (from == 2)
            continue; // nothing leads there
        start(0, 1, 0);
        if (from == 3)
            assert_true(vlapic_wrmsr(&v, MSR_BASE, rdmsr(MSR_BASE) | APIC_BASE_X2APIC, 0));
        if (from == 0)
            assert_true(vlapic_wrmsr(&v, MSR_BASE, APIC_BASE_ADDRESS | APIC_BASE_BSP, 0));
        v.actions = 0;
        uint64_t before = rdmsr(MSR_BASE), value = APIC_BASE_ADDRESS | APIC_BASE_BSP | way[to];
        assert_int_equal(vlapic_wrmsr(&v, MSR_BASE, value, 0), allowed[from][to]);
        assert_int_equal(rdmsr(MSR_BASE), allowed[from][to] ? value : before);
        assert_int_equal(!!(taken() & VLAPIC_ACT_MODE), allowed[from][to] && from != to);
    }
    // Reserved bits, and another base, in every bit there is ("IA32_APIC_BASE MSR").
    for (unsigned bit = 0; bit < 64; bit++) {
        start(0, 1, 0);
        uint64_t value = rdmsr(MSR_BASE) ^ 1ull << bit;
        bool fine = bit == 8 || bit == 10 || bit == 11;
        assert_int_equal(vlapic_wrmsr(&v, MSR_BASE, value, 0), fine);
    }
}

#define TEST(f) cmocka_unit_test_setup(f, setup)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_delivery_mode), TEST(an_edge_comes_once), TEST(a_level_comes_until_it_falls),
        TEST(with_the_cpus_help), TEST(software_disabled),
        TEST(each_transition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
