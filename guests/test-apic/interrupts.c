// SPDX-License-Identifier: BSD-2-Clause
//
// Interrupts that the processor sends itself: shorthands and destinations, IRR and ISR, priorities,
// nesting, EOI, errors.

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/timer.h"
#include "guests/test-apic/groups.h"

#define VEC_LOW     0x51
#define VEC_MIDDLE  0x61
#define VEC_MIDDLE2 0x65 // of the same class
#define VEC_HIGH    0x81
#define VEC_ERROR   0x91
#define ICR_NMI     0x400u
#define ICR_LOGICAL (1u << 11)
#define WAKE_HZ     20

// What a handler saw of the APIC while it ran.
static struct {
    bool in_service, requested;
    uint32_t ppr;
} inside;

static volatile unsigned int nmis;

static void expect_record(const char *name, unsigned int count, uint8_t first)
{
    check(record.count == count && (count == 0 || record.vector[0] == first), named(name),
          "%u interrupts, first 0x%x", record.count, record.count ? record.vector[0] : 0);
}

static void step_once(void)
{
    record_reset();
    apic_self_ipi(VEC_LOW);
    inside.requested = apic_bit(APIC_IRR(0), VEC_LOW);
    cpu_irq_window();
}

static void step_twice(void)
{
    record_reset();
    apic_self_ipi(VEC_LOW);
    apic_self_ipi(VEC_LOW);
    cpu_irq_window();
}

static void step_hlt(void)
{
    record_reset();
    apic_write(APIC_LVT_TIMER, APIC_TIMER_ONE_SHOT | VEC_TIMER); // if it is gone before HLT
    apic_write(APIC_TIMER_INITIAL, (uint32_t)(timer_hz() / WAKE_HZ));
    apic_self_ipi(VEC_LOW);
    cpu_wait_for_irq();
    apic_quiet();
}

static void step_order(void)
{
    record_reset();
    apic_self_ipi(VEC_LOW);
    apic_self_ipi(VEC_HIGH);
    apic_self_ipi(VEC_MIDDLE);
    cpu_irq_window();
    cpu_irq_window();
}

static void test_send(void)
{
    trap_set_handler(VEC_LOW, on_interrupt);
    trap_undisturbed(step_once);
    expect_record("self-ipi", 1, VEC_LOW);
    check(inside.requested && !apic_bit(APIC_IRR(0), VEC_LOW) && !apic_bit(APIC_ISR(0), VEC_LOW),
          named("self-ipi-irr"), "IRR was %d, is %d, ISR %d", inside.requested,
          apic_bit(APIC_IRR(0), VEC_LOW), apic_bit(APIC_ISR(0), VEC_LOW));

    record_reset();
    apic_send(APIC_ICR_SELF | APIC_ICR_ASSERT | VEC_LOW, 0);
    cpu_irq_window();
    expect_record("icr-self", 1, VEC_LOW);
    record_reset();
    apic_send(APIC_ICR_ALL | APIC_ICR_ASSERT | VEC_LOW, 0);
    cpu_irq_window();
    expect_record("icr-all", 1, VEC_LOW);
    record_reset();
    apic_send(APIC_ICR_ALL_BUT_SELF | APIC_ICR_ASSERT | VEC_LOW, 0);
    cpu_irq_window();
    expect_record("icr-others", 0, 0);
    record_reset();
    apic_send(APIC_ICR_ASSERT | VEC_LOW, apic_id());
    cpu_irq_window();
    expect_record("icr-physical", 1, VEC_LOW);
    record_reset();
    uint32_t ldr = apic_read(APIC_LDR);
    apic_send(APIC_ICR_ASSERT | ICR_LOGICAL | VEC_LOW,
              apic_mode() == APIC_MODE_X2APIC ? ldr : ldr >> 24);
    cpu_irq_window();
    expect_record("icr-logical", 1, VEC_LOW);
    check(!(apic_read(APIC_ICR) & APIC_ICR_PENDING), named("icr-idle"), "delivery is pending");

    trap_undisturbed(step_twice);
    expect_record("self-ipi-twice", 1, VEC_LOW);
    trap_undisturbed(step_hlt);
    expect_record("self-ipi-hlt", 1, VEC_LOW);
}

static void test_priority(void)
{
    trap_set_handler(VEC_MIDDLE, on_interrupt);
    trap_set_handler(VEC_HIGH, on_interrupt);
    record_reset();
    apic_write(APIC_TPR, 0x60);
    apic_self_ipi(VEC_MIDDLE);
    cpu_irq_window();
    expect_record("tpr-holds", 0, 0);
    check(apic_bit(APIC_IRR(0), VEC_MIDDLE), named("tpr-holds-irr"), "IRR is clear");
    apic_self_ipi(VEC_HIGH);
    cpu_irq_window();
    expect_record("tpr-lets-higher", 1, VEC_HIGH);
    record_reset();
    cpu_irq_enable();
    apic_write(APIC_TPR, 0x50);
    cpu_irq_window();
    expect_record("tpr-lowered", 1, VEC_MIDDLE);

    record_reset();
    write_cr8(6);
    apic_self_ipi(VEC_MIDDLE);
    cpu_irq_window();
    expect_record("cr8-holds", 0, 0);
    cpu_irq_enable();
    write_cr8(0);
    cpu_irq_window();
    expect_record("cr8-lowered", 1, VEC_MIDDLE);

    trap_undisturbed(step_order);
    check(record.count == 3 && record.vector[0] == VEC_HIGH && record.vector[1] == VEC_MIDDLE &&
              record.vector[2] == VEC_LOW,
          named("order"), "%u interrupts: %x %x %x", record.count, record.vector[0],
          record.vector[1], record.vector[2]);
}

// Sends one of a lower class, one of the same and one of a higher one, and lets them in.
static void on_middle(struct trap_frame *frame)
{
    record_add(frame);
    inside.ppr = apic_read(APIC_PPR);
    apic_self_ipi(VEC_LOW);
    apic_self_ipi(VEC_MIDDLE2);
    apic_self_ipi(VEC_HIGH);
    cpu_irq_enable();
    cpu_irq_window();
    inside.in_service = apic_bit(APIC_ISR(0), VEC_MIDDLE);
    inside.requested = apic_bit(APIC_IRR(0), VEC_LOW) && apic_bit(APIC_IRR(0), VEC_MIDDLE2);
    // An entry of its own marks the end of this handler.
    frame->vector = 0;
    record_add(frame);
    apic_eoi();
}

static void test_nesting(void)
{
    static const uint8_t expected[] = {VEC_MIDDLE, VEC_HIGH, 0, VEC_MIDDLE2, VEC_LOW};
    trap_set_handler(VEC_MIDDLE, on_middle);
    trap_set_handler(VEC_MIDDLE2, on_interrupt);
    record_reset();
    apic_self_ipi(VEC_MIDDLE);
    cpu_irq_window();
    cpu_irq_window();
    bool ok = record.count == sizeof(expected);
    for (unsigned int i = 0; ok && i < sizeof(expected); i++)
        ok = record.vector[i] == expected[i];
    check(ok, named("nesting"), "%u events: %x %x %x %x %x", record.count, record.vector[0],
          record.vector[1], record.vector[2], record.vector[3], record.vector[4]);
    check(inside.in_service && inside.requested, named("nesting-isr"), "ISR %d, IRR %d",
          inside.in_service, inside.requested);
    check(inside.ppr == 0x60 || inside.ppr == VEC_MIDDLE, named("nesting-ppr"), "%x",
          (unsigned int)inside.ppr);
    check(apic_read(APIC_PPR) == 0, named("nesting-end"), "PPR %x",
          (unsigned int)apic_read(APIC_PPR));
    trap_set_handler(VEC_MIDDLE, NULL);
}

static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    nmis++;
}

static void test_nmi(void)
{
    trap_set_handler(VEC_NMI, on_nmi);
    nmis = 0;
    apic_send(APIC_ICR_ASSERT | ICR_NMI, apic_id());
    __asm__ volatile("nop; nop" ::: "memory");
    unsigned int first = nmis;
    apic_send(APIC_ICR_ASSERT | ICR_NMI, apic_id());
    __asm__ volatile("nop; nop" ::: "memory");
    check(first == 1 && nmis == 2, named("nmi"), "%u, then %u", first, nmis);
    trap_set_handler(VEC_NMI, NULL);
}

static void test_errors(void)
{
    if (!cpu_on_bulkhead()) {
        check_skip(named("errors"), "not on Bulkhead");
        return;
    }
    trap_set_handler(VEC_ERROR, on_interrupt);
    apic_write(APIC_LVT_ERROR, VEC_ERROR);
    record_reset();
    apic_send(APIC_ICR_ASSERT | 5, apic_id());
    cpu_irq_window();
    expect_record("error-interrupt", 1, VEC_ERROR);
    apic_write(APIC_ESR, 0);
    uint32_t esr = apic_read(APIC_ESR);
    check(esr & (APIC_ESR_ILLEGAL_SEND | APIC_ESR_ILLEGAL_RECEIVE), named("esr"), "%x",
          (unsigned int)esr);
    apic_write(APIC_ESR, 0);
    check(apic_read(APIC_ESR) == 0, named("esr-cleared"), "%x", (unsigned int)apic_read(APIC_ESR));
    if (apic_mode() == APIC_MODE_XAPIC) { // in x2APIC mode it is #GP
        record_reset();
        uint32_t hole = apic_read(0x040);
        cpu_irq_window();
        expect_record("error-register", 1, VEC_ERROR);
        check(hole == 0 && apic_read(APIC_ESR) == 0, named("esr-not-written"), "%x; the hole %x",
              (unsigned int)apic_read(APIC_ESR), (unsigned int)hole);
        apic_write(APIC_SELF_IPI, 0x51); // there is none in this mode
        apic_write(APIC_ESR, 0);
        check(apic_read(APIC_ESR) == APIC_ESR_ILLEGAL_REGISTER, named("esr-register"), "%x",
              (unsigned int)apic_read(APIC_ESR));
        apic_write(APIC_ESR, 0);
    }
    // An entry of the table whose vector is illegal.
    record_reset();
    apic_write(APIC_LVT_TIMER, APIC_TIMER_ONE_SHOT | 5);
    apic_write(APIC_TIMER_INITIAL, 1);
    wait_for(1, NS_PER_MS);
    expect_record("error-received", 1, VEC_ERROR);
    apic_write(APIC_ESR, 0);
    check(apic_read(APIC_ESR) == APIC_ESR_ILLEGAL_RECEIVE, named("esr-received"), "%x",
          (unsigned int)apic_read(APIC_ESR));
    apic_write(APIC_ESR, 0);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
    apic_write(APIC_LVT_ERROR, APIC_LVT_MASKED);
    record_reset();
    apic_send(APIC_ICR_ASSERT | 5, apic_id());
    cpu_irq_window();
    expect_record("error-masked", 0, 0);
    apic_write(APIC_ESR, 0);
    apic_write(APIC_ESR, 0);
}

void test_interrupts(void)
{
    test_send();
    test_priority();
    test_nesting();
    test_nmi();
    test_errors();
}
