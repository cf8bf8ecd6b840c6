// SPDX-License-Identifier: BSD-2-Clause
//
// Interrupts of the board through the I/O APIC: the PIT's edges on GSI 2, and the UART's THRE
// interrupt on GSI 4, by edge and by level, with remote IRR and the EOI's way back.

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/pit.h"
#include "guests/lib/uart.h"
#include "guests/test-apic/groups.h"

#define VEC_PIT     0x72
#define VEC_UART    0x73
#define PIT_TEST_HZ 1000
#define TICKS       10
#define PATIENCE_NS (200 * NS_PER_MS)
#define QUIET_NS    (5 * NS_PER_MS)
#define LEVELS      3 // how often the level interrupt comes before its cause is removed

static struct {
    uint32_t redirection;
    bool tmr, isr;
} inside;

static void test_identity(void)
{
    uint32_t version = ioapic_read(IOAPIC_REG_VERSION);
    check((version & 0xFF) >= 0x11 && (version >> 16 & 0xFF) == 23, named("ioapic-version"), "%x",
          (unsigned int)version);
    for (uint8_t pin = 5; pin < 8; pin++) {
        uint8_t reg = (uint8_t)IOAPIC_REG_REDIR(pin);
        ioapic_write(reg, IOAPIC_MASKED | IOAPIC_LEVEL | 0x40u | pin);
        ioapic_write((uint8_t)(reg + 1), (uint32_t)pin << 24);
    }
    bool kept = true;
    for (uint8_t pin = 5; pin < 8; pin++) {
        uint8_t reg = (uint8_t)IOAPIC_REG_REDIR(pin);
        kept = kept && ioapic_read(reg) == (IOAPIC_MASKED | IOAPIC_LEVEL | 0x40u | pin) &&
               ioapic_read((uint8_t)(reg + 1)) == (uint32_t)pin << 24;
        ioapic_write(reg, IOAPIC_MASKED);
    }
    check(kept, named("ioapic-redirection"), "an entry did not hold what was written");
}

static void test_pit(void)
{
    trap_set_handler(VEC_PIT, on_interrupt);
    record_reset();
    ioapic_route(GSI_PIT, VEC_PIT, (uint8_t)apic_id(), 0);
    pit_set(0, PIT_RATE, PIT_HZ / PIT_TEST_HZ);
    if (check(wait_for(TICKS + 1, PATIENCE_NS), named("pit"), "%u interrupts", record.count)) {
        uint64_t ns = clock_ns_of_ticks(record.tsc[TICKS] - record.tsc[0]);
        uint64_t want = TICKS * NS_PER_SECOND / PIT_TEST_HZ;
        check(ns + lateness() >= want && ns <= want + lateness(), named("pit-time"),
              "%lu ns for %d ticks", (unsigned long)ns, TICKS);
    }
    ioapic_mask(GSI_PIT);
    cpu_irq_window();
    record_reset();
    wait_for(1, QUIET_NS);
    check(record.count == 0, named("pit-masked"), "%u interrupts", record.count);
    check(!apic_bit(APIC_TMR(0), VEC_PIT), named("pit-tmr"), "TMR is set for an edge");
}

static void on_level(struct trap_frame *frame)
{
    record_add(frame);
    inside.redirection = ioapic_read((uint8_t)IOAPIC_REG_REDIR(GSI_COM1));
    inside.tmr = apic_bit(APIC_TMR(0), VEC_UART);
    inside.isr = apic_bit(APIC_ISR(0), VEC_UART);
    if (record.count == LEVELS)
        uart_line_off();
    apic_eoi();
}

static void test_level(void)
{
    trap_set_handler(VEC_UART, on_level);
    record_reset();
    uart_drain();
    ioapic_route(GSI_COM1, VEC_UART, (uint8_t)apic_id(), IOAPIC_LEVEL);
    uart_line_on();
    wait_for(LEVELS, PATIENCE_NS);
    wait_for(LEVELS + 1, QUIET_NS);
    uart_line_off();
    check(record.count == LEVELS, named("level"), "%u interrupts, expected %d", record.count,
          LEVELS);
    check(inside.tmr && inside.isr, named("level-tmr"), "TMR %d, ISR %d", inside.tmr, inside.isr);
    check(inside.redirection & IOAPIC_REMOTE_IRR, named("level-remote-irr"), "%x",
          (unsigned int)inside.redirection);
    uint32_t after = ioapic_read((uint8_t)IOAPIC_REG_REDIR(GSI_COM1));
    check(!(after & IOAPIC_REMOTE_IRR), named("level-eoi"), "remote IRR is still set: %x",
          (unsigned int)after);

    // The line rises while the pin is masked: the interrupt comes when it is unmasked.
    record_reset();
    ioapic_route(GSI_COM1, VEC_UART, (uint8_t)apic_id(), IOAPIC_LEVEL | IOAPIC_MASKED);
    uart_drain();
    uart_line_on();
    wait_for(1, QUIET_NS);
    unsigned int masked = record.count;
    ioapic_route(GSI_COM1, VEC_UART, (uint8_t)apic_id(), IOAPIC_LEVEL);
    wait_for(LEVELS, PATIENCE_NS);
    uart_line_off();
    check(masked == 0 && record.count >= LEVELS, named("level-unmasked"), "%u, then %u interrupts",
          masked, record.count);
    ioapic_mask(GSI_COM1);
}

static void on_edge(struct trap_frame *frame)
{
    record_add(frame);
    inb(UART_IIR);
    apic_eoi();
}

// As an edge the same line gives one interrupt each time it rises.
static void test_edge(void)
{
    trap_set_handler(VEC_UART, on_edge);
    record_reset();
    uart_drain();
    ioapic_route(GSI_COM1, VEC_UART, (uint8_t)apic_id(), 0);
    uart_line_on();
    wait_for(2, QUIET_NS);
    unsigned int first = record.count;
    outb(UART_DATA, '\n');
    wait_for(2, QUIET_NS);
    wait_for(3, QUIET_NS);
    unsigned int second = record.count;
    // Before anything is printed: each byte that leaves is another edge.
    uart_line_off();
    ioapic_mask(GSI_COM1);
    uart_drain();
    check(first == 1 && second == 2, named("edge"), "%u, then %u interrupts", first, second);
}

void test_board(void)
{
    test_identity();
    test_pit();
    if (cpu_on_bulkhead() || cpu_on_tcg())
        test_level();
    else
        check_skip(named("level"), "the I/O APIC of Bochs has no remote IRR");
    test_edge();
    trap_set_handler(VEC_UART, NULL);
}
