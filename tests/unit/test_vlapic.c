// SPDX-License-Identifier: BSD-2-Clause
// The virtual local APIC: modes, registers, priorities, IPIs and errors, against the manual.
#include "tests/unit/vlapic.h"

#define BASE_XAPIC   (APIC_BASE_ADDRESS | APIC_BASE_ENABLE)
#define BASE_X2APIC  (BASE_XAPIC | APIC_BASE_X2APIC)

static uint32_t esr(void) // writes and reads
{
    if (vlapic_mode(&v) == VLAPIC_X2APIC) {
        assert_true(vlapic_wrmsr(&v, 0x828, 0, 0));
        return (uint32_t)rdmsr(0x828);
    }
    vlapic_write(&v, APIC_ESR, 0x1234, 0);
    return vlapic_read(&v, APIC_ESR, 0);
}

static void to_x2apic(void)
{
    assert_true(vlapic_wrmsr(&v, MSR_BASE, BASE_X2APIC | APIC_BASE_BSP, 0));
    v.actions = 0;
}

static void starts_as_a_bios_leaves_it(void **state)
{
    (void)state;
    assert_int_equal(rdmsr(MSR_BASE), 0xfee00900);
    assert_int_equal(vlapic_mode(&v), VLAPIC_XAPIC);
    assert_int_equal(vlapic_read(&v, APIC_SVR, 0), 0x10f);
    assert_int_equal(vlapic_read(&v, APIC_LVT_LINT0, 0), 0x700);
    assert_int_equal(vlapic_read(&v, APIC_LVT_LINT1, 0), 0x400);
    assert_int_equal(vlapic_read(&v, APIC_LVT_TIMER, 0), MASKED);
    assert_int_equal(vlapic_read(&v, APIC_VERSION, 0), 0x50014);
    assert_int_equal(vlapic_read(&v, APIC_DFR, 0), 0xffffffff);
    assert_int_equal(irr_max(&v), -1);
    assert_int_equal(isr_max(&v), -1);
    assert_int_equal(vlapic_timer_deadline(&v), 0);
    assert_int_equal(vlapic_lint0_delivery(&v), VLAPIC_EXTINT);
    start(5, 1, 0);
    assert_int_equal(rdmsr(MSR_BASE), 0xfee00800); // not the boot processor
    assert_int_equal(vlapic_read(&v, APIC_ID, 0), 5u << 24);
}

static void mode_changes_only_as_the_manual_allows(void **state)
{
    (void)state;
    uint64_t value;
    assert_false(vlapic_wrmsr(&v, MSR_BASE, 0xfed00800, 0)); // another address
    assert_false(vlapic_wrmsr(&v, MSR_BASE, BASE_XAPIC | 1, 0));
    assert_false(vlapic_wrmsr(&v, MSR_BASE, BASE_XAPIC | 1ull << 40, 0));
    assert_false(vlapic_wrmsr(&v, MSR_BASE, APIC_BASE_ADDRESS | APIC_BASE_X2APIC, 0));
    assert_false(vlapic_rdmsr(&v, 0x802, 0, &value)); // no x2APIC yet
    assert_false(vlapic_wrmsr(&v, 0x80b, 0, 0));
    assert_int_equal(taken(), 0);

    assert_true(vlapic_wrmsr(&v, MSR_BASE, BASE_X2APIC | APIC_BASE_BSP, 0));
    assert_int_equal(taken(), VLAPIC_ACT_MODE);
    assert_int_equal(vlapic_mode(&v), VLAPIC_X2APIC);
    assert_false(vlapic_wrmsr(&v, MSR_BASE, BASE_XAPIC | APIC_BASE_BSP, 0)); // no way back
    assert_int_equal(vlapic_read(&v, APIC_SVR, 0), UINT32_MAX); // no page in this mode
    vlapic_write(&v, APIC_SVR, 0, 0);
    assert_int_equal(rdmsr(0x80f), 0x10f);

    assert_true(vlapic_wrmsr(&v, MSR_BASE, APIC_BASE_ADDRESS | APIC_BASE_BSP, 0));
    assert_int_equal(vlapic_mode(&v), VLAPIC_DISABLED);
    assert_true(taken() & VLAPIC_ACT_MODE);
    assert_int_equal(vlapic_lint0_delivery(&v), VLAPIC_EXTINT); // LINT0 is INTR again
    assert_false(vlapic_accept(&v, 0x40, false));
    assert_false(vlapic_wrmsr(&v, MSR_BASE, BASE_X2APIC, 0));
    assert_true(vlapic_wrmsr(&v, MSR_BASE, BASE_XAPIC, 0));
    assert_int_equal(rdmsr(MSR_BASE), 0xfee00800); // the BSP bit can be written
    assert_true(vlapic_wrmsr(&v, MSR_BASE, BASE_XAPIC | APIC_BASE_BSP, 0));
    assert_int_equal(rdmsr(MSR_BASE), 0xfee00900);
    assert_int_equal(vlapic_read(&v, APIC_SVR, 0), 0xff); // as after power-up
    assert_int_equal(vlapic_read(&v, APIC_LVT_LINT0, 0), MASKED);
    assert_int_equal(vlapic_lint0_delivery(&v), VLAPIC_MASKED);
    assert_int_equal(vlapic_read(&v, APIC_ID, 0), 0);
}

static void xapic_to_x2apic_keeps_state(void **state)
{
    (void)state;
    start(0x23, 1, 0);
    vlapic_write(&v, APIC_ICR2, 0x55000000, 0);
    vlapic_write(&v, APIC_TPR, 0x20, 0);
    assert_true(vlapic_accept(&v, 0x45, false));
    assert_true(vlapic_wrmsr(&v, MSR_BASE, BASE_X2APIC, 0));
    assert_int_equal(rdmsr(0x802), 0x23);
    assert_int_equal(rdmsr(0x80d), 2u << 16 | 1u << 3);
    assert_int_equal(rdmsr(0x808), 0x20);
    assert_int_equal(rdmsr(0x822), 1u << 5);
    assert_int_equal(rdmsr(0x830), 0);
    assert_int_equal(vlapic_highest(&v), 0x45);
}

static void priorities_nest(void **state)
{
    (void)state;
    assert_true(vlapic_accept(&v, 0x31, false));
    assert_true(vlapic_accept(&v, 0x52, false));
    assert_int_equal(taken(), VLAPIC_ACT_IRR);
    assert_int_equal(vlapic_highest(&v), 0x52);
    vlapic_inject(&v, 0x52);
    assert_int_equal(page[APIC_PPR / 4], 0x50);
    assert_int_equal(vlapic_highest(&v), -1); // 0x31 waits
    assert_true(vlapic_accept(&v, 0x5f, false));
    assert_int_equal(vlapic_highest(&v), -1); // of the same class
    assert_true(vlapic_accept(&v, 0xff, false));
    assert_int_equal(vlapic_highest(&v), 0xff);
    vlapic_inject(&v, 0xff);
    assert_int_equal(isr_max(&v), 0xff);
    assert_int_equal(irr_max(&v), 0x5f);
    assert_int_equal(eoi(&v), -1); // edge
    assert_int_equal(isr_max(&v), 0x52);
    assert_int_equal(eoi(&v), -1);
    assert_int_equal(vlapic_highest(&v), 0x5f);
    vlapic_inject(&v, 0x5f);
    vlapic_write(&v, APIC_EOI, 0, 0);
    assert_int_equal(taken(), VLAPIC_ACT_IRR);
    assert_int_equal(vlapic_highest(&v), 0x31);
    vlapic_inject(&v, 0x31);
    assert_int_equal(eoi(&v), -1);
    assert_int_equal(eoi(&v), -1); // nothing in service
}

// Only an interrupt that waits makes work of an EOI.
static void eoi_with_nothing_waiting(void **state)
{
    (void)state;
    for (unsigned vector = 16; vector < 256; vector++) {
        vlapic_inject(&v, (uint8_t)vector);
        assert_int_equal(isr_max(&v), vector);
        assert_true(vector % 2 || vlapic_accept(&v, 0x10, false));
        (void)taken();
        vlapic_written(&v, APIC_EOI, 0);
        assert_int_equal(taken(), vector % 2 ? 0 : VLAPIC_ACT_IRR);
        page[APIC_IRR / 4] = 0;
    }
}

static void tpr_holds_back(void **state)
{
    (void)state;
    assert_int_equal(vlapic_tpr_threshold(&v), 0);
    assert_true(vlapic_accept(&v, 0x41, false));
    assert_int_equal(vlapic_tpr_threshold(&v), 0); // deliverable: nothing to wait for
    vlapic_write(&v, APIC_TPR, 0x4f, 0);
    assert_int_equal(vlapic_read(&v, APIC_PPR, 0), 0x4f);
    assert_int_equal(vlapic_highest(&v), -1);
    assert_int_equal(vlapic_tpr_threshold(&v), 4);
    vlapic_write(&v, APIC_TPR, 0xffffff90, 0);
    assert_int_equal(vlapic_read(&v, APIC_TPR, 0), 0x90);
    assert_int_equal(vlapic_tpr_threshold(&v), 4);
    page[APIC_TPR / 4] = 0x3f; // as the TPR shadow does it
    assert_int_equal(vlapic_highest(&v), 0x41);
    vlapic_inject(&v, 0x41);
    assert_int_equal(vlapic_ppr(&v), 0x40);
    page[APIC_TPR / 4] = 0x45;
    assert_int_equal(vlapic_ppr(&v), 0x45); // equal classes: TPR's
}

static void level_eoi_is_reported(void **state)
{
    uint64_t bitmap[4];
    (void)state;
    assert_true(vlapic_accept(&v, 0x61, true));
    assert_int_equal(taken(), VLAPIC_ACT_IRR | VLAPIC_ACT_TMR);
    assert_true(vlapic_accept(&v, 0xc3, true));
    vlapic_eoi_exit_bitmap(&v, bitmap);
    assert_false(bitmap[0] | bitmap[2]);
    assert_int_equal(bitmap[1], 1ull << 0x21);
    assert_int_equal(bitmap[3], 1ull << 3);
    vlapic_inject(&v, 0xc3);
    (void)taken();
    vlapic_write(&v, APIC_EOI, 7, 0);
    assert_int_equal(taken(), VLAPIC_ACT_IRR | VLAPIC_ACT_EOI); // 0x61 waits
    assert_int_equal(v.eoi_vector, 0xc3);
    assert_int_equal(vlapic_read(&v, APIC_EOI, 0), 0);
    vlapic_inject(&v, 0x61);
    assert_int_equal(eoi(&v), 0x61);
    (void)taken();
    assert_true(vlapic_accept(&v, 0x61, false)); // edge from now on
    assert_int_equal(taken(), VLAPIC_ACT_IRR | VLAPIC_ACT_TMR);
    vlapic_inject(&v, 0x61);
    assert_int_equal(eoi(&v), -1);
}

static void software_disable_masks_the_table(void **state)
{
    (void)state;
    assert_true(vlapic_accept(&v, 0x70, false));
    vlapic_write(&v, APIC_LVT_ERROR, 0xfe, 0);
    vlapic_write(&v, APIC_SVR, 0x0ff, 0);
    for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16)
        assert_true(vlapic_read(&v, lvt, 0) & MASKED);
    assert_int_equal(vlapic_lint0_delivery(&v), VLAPIC_MASKED);
    assert_false(vlapic_accept(&v, 0x71, false));
    assert_int_equal(vlapic_highest(&v), 0x70); // what was pending is still delivered
    vlapic_write(&v, APIC_LVT_LINT0, 0x700, 0);
    assert_int_equal(vlapic_read(&v, APIC_LVT_LINT0, 0), MASKED | 0x700);
    vlapic_write(&v, APIC_SVR, 0x1ff, 0);
    assert_true(vlapic_read(&v, APIC_LVT_LINT0, 0) & MASKED); // until it is written
    vlapic_write(&v, APIC_LVT_LINT0, 0x700, 0);
    assert_int_equal(vlapic_lint0_delivery(&v), VLAPIC_EXTINT);
    vlapic_write(&v, APIC_LVT_LINT0, 0x31, 0); // without an acknowledge cycle
    assert_int_equal(vlapic_lint0_delivery(&v), VLAPIC_FIXED);
}

static void registers_keep_only_their_bits(void **state)
{
    static const struct { uint32_t offset, value; } expect[] = {
        { APIC_ID, 0 },                 { APIC_VERSION, 0x50014 },    { APIC_TPR, 0xff },
        { APIC_LDR, 0xff000000 },       { APIC_DFR, 0xffffffff },     { APIC_SVR, 0x3ff },
        { APIC_ICR2, 0xff000000 },      { APIC_LVT_TIMER, 0x700ff },  { APIC_LVT_PERF, 0x107ff },
        { APIC_LVT_THERMAL, 0x107ff },  { APIC_LVT_LINT0, 0x1a7ff },  { APIC_LVT_ERROR, 0x100ff },
        { APIC_TIMER_INITIAL, 0xffffffff }, { APIC_TIMER_DIVIDE, 0xb }, { APIC_ISR + 0x30, 0 },
        { APIC_TIMER_CURRENT, 0xffffffff }, { APIC_IRR, 0 },          { APIC_TMR + 0x70, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(expect); i++) {
        vlapic_write(&v, expect[i].offset, 0xffffffff, 0);
        assert_int_equal(vlapic_read(&v, expect[i].offset, 0), expect[i].value);
    }
    assert_int_equal(esr(), 0);
    static const uint32_t nothing[] = { 0, 0x10, 0x24, 0x90, 0xc0, 0x2f0, 0x3f0, 0x400, 0xff0,
                                        0x1000, 0xfff0, 0xffffffff, 0x10000080 };
    for (size_t i = 0; i < ARRAY_SIZE(nothing); i++) {
        assert_int_equal(vlapic_read(&v, nothing[i], 0), 0);
        assert_int_equal(esr(), 0x80);
        vlapic_write(&v, nothing[i], 0xffffffff, 0);
        assert_int_equal(esr(), 0x80);
    }
}

static void hardware_stored_values_are_put_right(void **state)
{
    (void)state;
    page[APIC_ID / 4] = 0x77000000;
    vlapic_written(&v, APIC_ID, 0);
    assert_int_equal(page[APIC_ID / 4], 0);
    page[APIC_SVR / 4] = 0xfffff0ff;
    vlapic_written(&v, APIC_SVR, 0);
    assert_int_equal(page[APIC_SVR / 4], 0xff);
    assert_true(page[APIC_LVT_LINT0 / 4] & MASKED);
    page[APIC_SVR / 4] = 0x1ff;
    vlapic_written(&v, APIC_SVR, 0);
    page[APIC_DFR / 4] = 0;
    vlapic_written(&v, APIC_DFR, 0);
    assert_int_equal(page[APIC_DFR / 4], 0x0fffffff);
    page[APIC_ICR / 4] = 0x00045041; // self, with the delivery status
    vlapic_written(&v, APIC_ICR, 0);
    assert_int_equal(page[APIC_ICR / 4], 0x00044041);
    assert_int_equal(vlapic_highest(&v), 0x41);
    page[APIC_LVT_TIMER / 4] = 0xffff0050;
    vlapic_written(&v, APIC_LVT_TIMER, 0);
    assert_int_equal(v.lvt_timer, 0x70050);
    vlapic_inject(&v, 0x41);
    page[APIC_EOI / 4] = 9;
    vlapic_written(&v, APIC_EOI, 0);
    assert_int_equal(isr_max(&v), -1);
    vlapic_written(&v, 0x3f4, 0);
    vlapic_written(&v, 0xfffff000, 0); // harmless
    to_x2apic();
    page[APIC_SELF_IPI / 4] = 3;
    vlapic_written(&v, APIC_SELF_IPI, 0);
    assert_int_equal(esr(), 0x20);
}

static void icr_to_oneself(void **state)
{
    (void)state;
    start(3, 1, 0);
    vlapic_write(&v, APIC_ICR, 0x00040041, 0); // shorthand self
    vlapic_write(&v, APIC_ICR, 0x00080052, 0); // all
    vlapic_write(&v, APIC_ICR, 0x000c0063, 0); // all but self
    assert_int_equal(irr_max(&v), 0x52);
    vlapic_write(&v, APIC_ICR2, 3u << 24, 0);
    vlapic_write(&v, APIC_ICR, 0x00000074, 0); // physical
    assert_int_equal(irr_max(&v), 0x74);
    vlapic_write(&v, APIC_ICR2, 4u << 24, 0);
    vlapic_write(&v, APIC_ICR, 0x00000085, 0); // somebody else
    assert_int_equal(irr_max(&v), 0x74);
    vlapic_write(&v, APIC_ICR2, 0xffu << 24, 0);
    vlapic_write(&v, APIC_ICR, 0x00000086, 0); // broadcast
    assert_int_equal(irr_max(&v), 0x86);
    vlapic_write(&v, APIC_LDR, 0x08000000, 0);
    vlapic_write(&v, APIC_ICR2, 0x0cu << 24, 0);
    vlapic_write(&v, APIC_ICR, 0x00000897, 0); // logical flat
    assert_int_equal(irr_max(&v), 0x97);
    vlapic_write(&v, APIC_ICR2, 0x07u << 24, 0);
    vlapic_write(&v, APIC_ICR, 0x000008a8, 0);
    assert_int_equal(irr_max(&v), 0x97);
    assert_int_equal(taken(), VLAPIC_ACT_IRR | VLAPIC_ACT_IPI);
    vlapic_write(&v, APIC_ICR, 0x00044141, 0); // shorthand self
    assert_int_equal(taken(), VLAPIC_ACT_IRR);
    vlapic_write(&v, APIC_ICR2, 3u << 24, 0);
    vlapic_write(&v, APIC_ICR, 0x00000400, 0); // NMI, vector 0 is nobody's business
    assert_int_equal(taken(), VLAPIC_ACT_NMI | VLAPIC_ACT_IPI);
    vlapic_write(&v, APIC_ICR, 0x00008500, 0); // INIT de-assert
    assert_int_equal(taken(), 0);
    vlapic_write(&v, APIC_ICR, 0x000c4500, 0); // INIT to all others
    assert_int_equal(taken(), VLAPIC_ACT_IPI);
    assert_int_equal(v.ipi.icr, 0xc4500);
    assert_int_equal(esr(), 0);
    vlapic_write(&v, APIC_ICR, 0x00004500, 0); // INIT to itself, by its id
    assert_int_equal(taken(), VLAPIC_ACT_INIT | VLAPIC_ACT_IPI);
    assert_int_equal(v.ipi.dest, 3);
    assert_int_equal(esr(), 0);
    assert_int_equal(vlapic_read(&v, APIC_ICR, 0), 0x4500);
    vlapic_write(&v, APIC_ICR, 0x00044500, 0); // by a shorthand that INIT does not have
    assert_int_equal(taken() & VLAPIC_ACT_INIT, 0);
    assert_int_equal(esr(), 0x04);
}

// Who gets it is settled among all, so the sender's own does not take it at once.
static void icr_of_lowest_priority(void **state)
{
    struct vlapic other;
    static uint32_t other_page[1024];
    (void)state;
    start(3, 1, 0);
    vlapic_write(&v, APIC_ICR2, 0xffu << 24, 0);
    vlapic_write(&v, APIC_ICR, 0x00004186, 0);
    assert_int_equal(irr_max(&v), -1);
    assert_int_equal(taken(), VLAPIC_ACT_IPI);
    assert_int_equal(v.ipi.icr, 0x4186);
    assert_int_equal(v.ipi.dest, 0xff);
    vlapic_init(&other, other_page, 4, false, 1, 0);
    assert_false(vlapic_bids_lower(&other, &v) || vlapic_bids_lower(&v, &other)); // equals
    page[APIC_TPR / 4] = 0x20; // by MOV CR8, of which nobody hears
    assert_true(vlapic_bids_lower(&other, &v));
    other_page[APIC_ISR / 4 + 8] = 2; // vector 0x41 is in service
    assert_true(vlapic_bids_lower(&v, &other));
    other_page[APIC_ISR / 4 + 8] = 0;
    vlapic_write(&other, APIC_SVR, 0xff, 0); // software-disabled
    assert_false(vlapic_bids_lower(&other, &v));
    assert_true(vlapic_bids_lower(&v, &other));
}

// "Local APIC State After It Receives an INIT Reset"
static void init_keeps_its_mode(void **state)
{
    (void)state;
    start(0x12, 1, 0);
    vlapic_write(&v, APIC_TPR, 0x20, 0);
    assert_true(vlapic_accept(&v, 0x41, false));
    vlapic_init_ipi(&v);
    assert_int_equal(vlapic_mode(&v), VLAPIC_XAPIC);
    assert_int_equal(vlapic_read(&v, APIC_ID, 0), 0x12000000);
    assert_int_equal(vlapic_read(&v, APIC_TPR, 0), 0);
    assert_int_equal(vlapic_read(&v, APIC_SVR, 0), 0xff);
    assert_int_equal(vlapic_read(&v, APIC_LVT_LINT0, 0), 0x10000);
    assert_int_equal(vlapic_read(&v, APIC_DFR, 0), 0xffffffff);
    assert_int_equal(irr_max(&v), -1);
    to_x2apic();
    vlapic_init_ipi(&v);
    assert_int_equal(vlapic_mode(&v), VLAPIC_X2APIC);
    assert_int_equal(rdmsr(0x802), 0x12);
    assert_int_equal(rdmsr(0x80d), 0x10004);
}

static void errors_are_latched_and_interrupt_once(void **state)
{
    (void)state;
    vlapic_write(&v, APIC_LVT_ERROR, 0xfe, 0);
    vlapic_write(&v, APIC_ICR, 0x0004000f, 0); // illegal vector sent
    assert_int_equal(irr_max(&v), 0xfe);
    assert_int_equal(vlapic_read(&v, APIC_ESR, 0), 0); // not before it is written
    vlapic_inject(&v, 0xfe);
    assert_false(vlapic_accept(&v, 15, false));
    assert_int_equal(irr_max(&v), -1); // the second does not interrupt
    assert_int_equal(esr(), 0x60);
    assert_int_equal(vlapic_read(&v, APIC_ESR, 0), 0x60);
    assert_int_equal(esr(), 0);
    assert_false(vlapic_accept(&v, 0, true));
    assert_int_equal(irr_max(&v), 0xfe); // armed again
    vlapic_inject(&v, 0xfe);
    (void)esr();
    vlapic_write(&v, APIC_LVT_ERROR, 0x03, 0); // the error entry is illegal itself
    (void)vlapic_read(&v, 0x400, 0);
    assert_int_equal(esr(), 0xc0);
    assert_int_equal(irr_max(&v), -1);
}

static void x2apic_registers(void **state)
{
    uint64_t value;
    (void)state;
    to_x2apic();
    static const uint32_t refuse_read[] = { 0x800, 0x80b, 0x80e, 0x809, 0x80c, 0x82f, 0x831, 0x83f,
                                            0x840, 0x8ff, 0x83a };
    for (size_t i = 0; i < ARRAY_SIZE(refuse_read); i++)
        assert_false(vlapic_rdmsr(&v, refuse_read[i], 0, &value));
    static const struct { uint32_t index; uint64_t value; } refuse_write[] = {
        { 0x802, 0 }, { 0x803, 0 }, { 0x808, 0x100 }, { 0x808, 1ull << 32 }, { 0x80a, 0 },
        { 0x80b, 1 }, { 0x80d, 0 }, { 0x80e, 0 }, { 0x80f, 0x1000 }, { 0x810, 0 }, { 0x828, 1 },
        { 0x82f, 0 }, { 0x830, 0x2000 }, { 0x830, 1u << 20 }, { 0x831, 0 }, { 0x832, 0x80000 },
        { 0x835, 0x20000 }, { 0x837, 0x400 }, { 0x838, 1ull << 32 }, { 0x839, 0 }, { 0x83e, 4 },
        { 0x83f, 0x100 }, { 0x8ff, 0 }, { 0x83c, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(refuse_write); i++)
        assert_false(vlapic_wrmsr(&v, refuse_write[i].index, refuse_write[i].value, 0));
    assert_int_equal(taken(), 0);
    assert_true(vlapic_wrmsr(&v, 0x80f, 0x1ff, 0));
    assert_true(vlapic_wrmsr(&v, 0x835, 0x5700, 0)); // read-only status bits are ignored
    assert_int_equal(rdmsr(0x835), 0x700);
    assert_true(vlapic_wrmsr(&v, 0x83f, 0x55, 0));
    assert_int_equal(vlapic_highest(&v), 0x55);
    vlapic_inject(&v, 0x55);
    assert_int_equal(rdmsr(0x80a), 0x50);
    assert_int_equal(rdmsr(0x812), 1u << 0x15);
    assert_true(vlapic_wrmsr(&v, 0x80b, 0, 0));
    assert_int_equal(rdmsr(0x80a), 0);
    assert_true(vlapic_wrmsr(&v, 0x83f, 5, 0));
    assert_int_equal(esr(), 0x20);
}

static void x2apic_icr(void **state)
{
    (void)state;
    start(0x23, 1, 0);
    to_x2apic();
    assert_true(vlapic_wrmsr(&v, 0x830, 0x2300001041ull, 0));
    assert_int_equal(rdmsr(0x830), 0x2300000041ull);
    assert_int_equal(page[APIC_ICR / 4 + 1], 0x23);
    assert_int_equal(irr_max(&v), 0x41);
    assert_true(vlapic_wrmsr(&v, 0x830, 0xff00000052ull, 0)); // no broadcast in 32 bits
    assert_int_equal(irr_max(&v), 0x41);
    assert_true(vlapic_wrmsr(&v, 0x830, 0xffffffff00000052ull, 0));
    assert_int_equal(irr_max(&v), 0x52);
    assert_true(vlapic_wrmsr(&v, 0x830, 0x0002000800000863ull, 0)); // cluster 2, bit 3
    assert_int_equal(irr_max(&v), 0x63);
    assert_true(vlapic_wrmsr(&v, 0x830, 0x0001000800000874ull, 0));
    assert_true(vlapic_wrmsr(&v, 0x830, 0x0002000400000874ull, 0));
    assert_int_equal(irr_max(&v), 0x63);
}

static void destinations(void **state)
{
    (void)state;
    start(6, 1, 0);
    assert_true(vlapic_match_dest(&v, 6, false, true));
    assert_false(vlapic_match_dest(&v, 7, false, true));
    assert_true(vlapic_match_dest(&v, 0xff, false, true));
    assert_false(vlapic_match_dest(&v, 1, true, true)); // LDR is 0
    vlapic_write(&v, APIC_LDR, 0x24000000, 0);
    assert_true(vlapic_match_dest(&v, 0x20, true, true));
    vlapic_write(&v, APIC_DFR, 0, 0); // cluster 2, member 4
    assert_false(vlapic_match_dest(&v, 0x20, true, true));
    assert_true(vlapic_match_dest(&v, 0x2c, true, true));
    assert_false(vlapic_match_dest(&v, 0x34, true, true));
    vlapic_write(&v, APIC_DFR, 0x50000000, 0); // no such model
    assert_false(vlapic_match_dest(&v, 0x2c, true, true));
    to_x2apic();
    assert_true(vlapic_match_dest(&v, 0xff, false, true));
    assert_false(vlapic_match_dest(&v, 0xff, false, false));
    assert_true(vlapic_match_dest(&v, 0x40, true, true)); // cluster 0, bit 6
    assert_false(vlapic_match_dest(&v, 0x10040, true, false));
    assert_true(vlapic_wrmsr(&v, MSR_BASE, APIC_BASE_ADDRESS, 0));
    assert_false(vlapic_match_dest(&v, 0xff, false, true));
}

static void reset_stops_everything(void **state)
{
    (void)state;
    to_x2apic();
    assert_true(vlapic_wrmsr(&v, 0x832, 0x20041, 0));
    assert_true(vlapic_wrmsr(&v, 0x838, 1000, 0));
    assert_true(vlapic_accept(&v, 0x99, true));
    vlapic_reset(&v);
    assert_int_equal(vlapic_mode(&v), VLAPIC_XAPIC);
    assert_int_equal(rdmsr(MSR_BASE), 0xfee00900);
    assert_int_equal(vlapic_timer_deadline(&v), 0);
    assert_int_equal(irr_max(&v), -1);
    assert_true(taken() & VLAPIC_ACT_MODE);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(starts_as_a_bios_leaves_it),
        TEST(mode_changes_only_as_the_manual_allows), TEST(xapic_to_x2apic_keeps_state),
        TEST(priorities_nest), TEST(eoi_with_nothing_waiting),
        TEST(tpr_holds_back),
        TEST(level_eoi_is_reported),
        TEST(software_disable_masks_the_table),
        TEST(registers_keep_only_their_bits),
        TEST(hardware_stored_values_are_put_right),
        TEST(icr_to_oneself),
        TEST(icr_of_lowest_priority),
        TEST(init_keeps_its_mode),
        TEST(errors_are_latched_and_interrupt_once),
        TEST(x2apic_registers),
        TEST(x2apic_icr),
        TEST(destinations),
        TEST(reset_stops_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
