// SPDX-License-Identifier: BSD-2-Clause
//
// What LINT0 makes of the PIC's line: Fixed by edge and by level, and NMI, where the processor runs
// no acknowledge cycle: the line falls when the PIC is polled or masked. And an APIC that software
// has disabled.

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/pic.h"
#include "guests/lib/pit.h"
#include "guests/test-apic/groups.h"

#define VEC_LINT    0x74
#define VEC_LOW     0x51
#define ICR_NMI     0x400u
#define IRQ_PIT     0
#define PIT_TEST_HZ 1000
#define TICKS       10
#define LEVELS      3 // how often the level interrupt comes before its cause is removed
#define PATIENCE_NS (200 * NS_PER_MS)
#define QUIET_NS    (5 * NS_PER_MS)

static bool poll; // the handlers take the PIC's request

static struct {
    uint32_t lint0;
    bool tmr, requested, in_service, refused;
} inside;

static volatile unsigned int nmis;

// LINT0 becomes `lvt`, and then the PIT's output goes to it: once, or in ticks. A tick begins with
// a low, in which the PIC forgets the one before.
static void start(uint32_t lvt, unsigned int mode, bool with_poll)
{
    poll = with_poll;
    nmis = 0;
    record_reset();
    pic_init_auto_eoi();
    apic_write(APIC_LVT_LINT0, lvt);
    pit_set(0, mode, PIT_HZ / PIT_TEST_HZ);
    pic_unmask(IRQ_PIT);
}

static void stop(void)
{
    pic_mask(IRQ_PIT);
    apic_write(APIC_LVT_LINT0, APIC_LVT_MASKED);
    cpu_irq_window();
}

static void on_lint(struct trap_frame *frame)
{
    record_add(frame);
    inside.lint0 = apic_read(APIC_LVT_LINT0);
    inside.tmr = apic_bit(APIC_TMR(0), VEC_LINT);
    if (poll)
        pic_poll(PIC_MASTER);
    if ((inside.lint0 & APIC_LVT_LEVEL) && record.count == LEVELS)
        pic_mask(IRQ_PIT);
    apic_eoi();
}

static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    nmis++;
    if (poll)
        pic_poll(PIC_MASTER);
}

static void expect_pace(const char *name, bool came, uint64_t start_tsc)
{
    uint64_t ns = clock_ns_of_ticks(rdtsc() - start_tsc);
    uint64_t want = TICKS * NS_PER_SECOND / PIT_TEST_HZ;
    check(came && ns + lateness() + NS_PER_SECOND / PIT_TEST_HZ >= want &&
              ns <= want + lateness() + NS_PER_SECOND / PIT_TEST_HZ,
          named(name), "%u interrupts, %u NMIs in %lu ns", record.count, nmis, (unsigned long)ns);
}

static void test_edge(void)
{
    trap_set_handler(VEC_LINT, on_lint);
    start(VEC_LINT, PIT_ONE_SHOT, false);
    wait_for(2, QUIET_NS);
    check(record.count == 1 && !inside.tmr && !(inside.lint0 & APIC_LVT_REMOTE_IRR),
          named("lint0-edge"), "%u interrupts for one edge, TMR %d, LINT0 %x", record.count,
          inside.tmr, (unsigned int)inside.lint0);
    stop();
    uint64_t tsc = rdtsc();
    start(VEC_LINT, PIT_RATE, true);
    bool came = wait_for(TICKS, PATIENCE_NS);
    expect_pace("lint0-edges", came, tsc);
    stop();
    start(VEC_LINT | APIC_LVT_MASKED, PIT_RATE, true);
    wait_for(1, QUIET_NS);
    check(record.count == 0 && !apic_bit(APIC_IRR(0), VEC_LINT), named("lint0-edge-masked"),
          "%u interrupts", record.count);
    stop();
}

static void test_level(void)
{
    start(VEC_LINT | APIC_LVT_LEVEL, PIT_ONE_SHOT, false);
    wait_for(LEVELS, PATIENCE_NS);
    wait_for(LEVELS + 1, QUIET_NS);
    uint32_t after = apic_read(APIC_LVT_LINT0);
    check(record.count == LEVELS && inside.tmr, named("lint0-level"),
          "%u interrupts, expected %d; TMR %d", record.count, LEVELS, inside.tmr);
    check((inside.lint0 & APIC_LVT_REMOTE_IRR) && !(after & APIC_LVT_REMOTE_IRR),
          named("lint0-remote-irr"), "LINT0 %x in the handler, then %x",
          (unsigned int)inside.lint0, (unsigned int)after);
    // Masked while the line is high, it comes when that ends.
    stop();
    start(VEC_LINT | APIC_LVT_LEVEL | APIC_LVT_MASKED, PIT_ONE_SHOT, false);
    wait_for(1, QUIET_NS);
    unsigned int masked = record.count;
    apic_write(APIC_LVT_LINT0, VEC_LINT | APIC_LVT_LEVEL);
    wait_for(LEVELS, PATIENCE_NS);
    check(masked == 0 && record.count == LEVELS, named("lint0-level-unmasked"),
          "%u, then %u interrupts", masked, record.count);
    stop();
    trap_set_handler(VEC_LINT, NULL);
}

// What old kernels have for a watchdog: each tick is an NMI, also where interrupts are off.
static void test_nmi(void)
{
    trap_set_handler(VEC_NMI, on_nmi);
    uint64_t tsc = rdtsc();
    start(APIC_LVT_NMI | VEC_LINT, PIT_RATE, true);
    while (nmis < TICKS && clock_ns_of_ticks(rdtsc() - tsc) < PATIENCE_NS)
        cpu_pause();
    expect_pace("lint0-nmi", nmis >= TICKS && record.count == 0, tsc);
    unsigned int before = nmis;
    __asm__ volatile("cli; hlt" ::: "memory");
    check(nmis > before, named("lint0-nmi-hlt"), "%u, then %u NMIs", before, nmis);
    apic_write(APIC_SVR, VEC_SPURIOUS);
    before = nmis;
    apic_write(APIC_LVT_LINT0, APIC_LVT_NMI);
    clock_spin_ns(QUIET_NS);
    check(nmis == before, named("lint0-nmi-disabled"), "%u NMIs by an APIC that is disabled",
          nmis - before);
    apic_quiet();
    stop();
    start(APIC_LVT_NMI, PIT_ONE_SHOT, false); // nobody takes the request
    clock_spin_ns(QUIET_NS);
    check(nmis == 1, named("lint0-nmi-once"), "%u NMIs for one edge", nmis);
    stop();
}

static void on_low(struct trap_frame *frame)
{
    record_add(frame);
    apic_write(APIC_SVR, VEC_SPURIOUS);
    inside.in_service = apic_bit(APIC_ISR(0), VEC_LOW);
    apic_eoi();
}

static void step_pending(void)
{
    record_reset();
    apic_write(APIC_SVR, APIC_SVR_ENABLE | VEC_SPURIOUS);
    apic_self_ipi(VEC_LOW);
    apic_write(APIC_SVR, VEC_SPURIOUS);
    inside.requested = apic_bit(APIC_IRR(0), VEC_LOW);
    cpu_irq_window();
}

static void step_refused(void)
{
    record_reset();
    apic_write(APIC_SVR, VEC_SPURIOUS);
    apic_self_ipi(VEC_LOW);
    apic_send(APIC_ICR_SELF | APIC_ICR_ASSERT | VEC_LOW, 0);
    apic_send(APIC_ICR_ASSERT | VEC_LOW, apic_id());
    inside.refused = !apic_bit(APIC_IRR(0), VEC_LOW);
    apic_write(APIC_SVR, APIC_SVR_ENABLE | VEC_SPURIOUS);
    cpu_irq_window();
}

// "Local APIC State After It Has Been Software Disabled"
static void test_disabled(void)
{
    trap_set_handler(VEC_LOW, on_low);
    trap_undisturbed(step_pending);
    check(inside.requested && record.count == 1, named("disabled-irr"), "IRR %d, %u interrupts",
          inside.requested, record.count);
    check(inside.in_service && !apic_bit(APIC_ISR(0), VEC_LOW), named("disabled-isr"),
          "ISR %d in the handler, %d after the EOI", inside.in_service,
          apic_bit(APIC_ISR(0), VEC_LOW));
    trap_undisturbed(step_refused);
    check(inside.refused && record.count == 0, named("disabled-ipi"), "%u interrupts",
          record.count);
    bool masked = true;
    apic_write(APIC_SVR, VEC_SPURIOUS);
    for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16) {
        apic_write(lvt, VEC_LOW);
        masked = masked && (apic_read(lvt) & APIC_LVT_MASKED);
    }
    apic_write(APIC_SVR, APIC_SVR_ENABLE | VEC_SPURIOUS);
    for (uint32_t lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 16)
        masked = masked && apic_read(lvt) == (APIC_LVT_MASKED | VEC_LOW);
    check(masked, named("disabled-lvt"), "an entry was unmasked, or did not keep its vector");
    apic_write(APIC_SVR, VEC_SPURIOUS);
    nmis = 0;
    apic_send(APIC_ICR_ASSERT | ICR_NMI, apic_id());
    __asm__ volatile("nop; nop" ::: "memory");
    check(nmis == 1, named("disabled-nmi"), "%u NMIs", nmis);
    trap_set_handler(VEC_LOW, NULL);
    apic_quiet();
}

void test_lint(void)
{
    if (!cpu_on_bulkhead()) {
        check_skip(named("lint"), "not on Bulkhead");
        return;
    }
    test_edge();
    test_level();
    test_nmi();
    test_disabled();
    trap_set_handler(VEC_NMI, NULL);
    pic_init();
}

static void on_pic(struct trap_frame *frame)
{
    record_add(frame);
}

// Disabled for good, the APIC is not there: the PIC's line is the processor's own.
void test_no_apic(void)
{
    trap_set_handler(VEC_PIC + IRQ_PIT, on_pic);
    record_reset();
    pic_init_auto_eoi();
    pit_set(0, PIT_RATE, PIT_HZ / PIT_TEST_HZ);
    pic_unmask(IRQ_PIT);
    bool came = wait_for(TICKS, PATIENCE_NS);
    pic_mask(IRQ_PIT);
    cpu_irq_window();
    check(came && record.vector[0] == VEC_PIC + IRQ_PIT, "mode.disabled-extint",
          "%u interrupts, vector %x", record.count, record.vector[0]);
    pic_init();
    trap_set_handler(VEC_PIC + IRQ_PIT, NULL);
}
