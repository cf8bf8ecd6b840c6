// SPDX-License-Identifier: BSD-2-Clause
//
// Test guest: the two 8259s through LINT0 as ExtINT, as a BIOS leaves it. PIT and UART interrupts,
// masks, IF, priorities, spurious vectors, HLT, and the RTC on the slave. Then each chip by itself:
// commands.c, modes.c, clock.c.

#include <stddef.h>
#include <stdio.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/pic.h"
#include "guests/lib/pit.h"
#include "guests/lib/trap.h"
#include "guests/lib/uart.h"
#include "guests/test-pic/groups.h"
#include "guests/test-pic/rtc.h"

#define IRQ_PIT      0
#define IRQ_COM1     4
#define IRQ_SPURIOUS 7
#define IRQ_RTC      8
#define PIT_TEST_HZ  1000
#define TICKS        10
#define PATIENCE_NS  (200 * NS_PER_MS)
#define QUIET_NS     (5 * NS_PER_MS)
#define RECORD_MAX   64

static volatile unsigned int count;
static uint8_t vectors[RECORD_MAX];
static uint64_t times[RECORD_MAX];
static uint16_t isr_inside;
static bool keep_line; // the UART's handler leaves the cause alone

static void note(const struct trap_frame *frame)
{
    if (count < RECORD_MAX) {
        vectors[count] = (uint8_t)frame->vector;
        times[count] = rdtsc();
        count = count + 1;
    }
}

static void on_irq(struct trap_frame *frame)
{
    note(frame);
    isr_inside = pic_isr();
    unsigned int irq = (unsigned int)frame->vector - VEC_PIC;
    if (irq == IRQ_COM1 && !keep_line)
        inb(UART_IIR);
    if (irq == IRQ_RTC)
        rtc_read(RTC_C);
    pic_eoi(irq);
}

static void on_spurious(struct trap_frame *frame)
{
    note(frame);
    isr_inside = pic_isr();
}

static bool wait_for(unsigned int wanted, uint64_t ns)
{
    return clock_wait_count(&count, wanted, ns);
}

static void reset(void)
{
    pic_init();
    count = 0;
}

static void test_start(void)
{
    if (!cpu_on_bulkhead()) {
        check_skip("start", "not on Bulkhead");
        return;
    }
    check(apic_mode() == APIC_MODE_XAPIC, "start.apic", "mode %d", (int)apic_mode());
    check(apic_read(APIC_SVR) == 0x10F, "start.svr", "%x", (unsigned int)apic_read(APIC_SVR));
    check((apic_read(APIC_LVT_LINT0) & 0x107FF & ~0xFFu) == APIC_LVT_EXTINT, "start.lint0", "%x",
          (unsigned int)apic_read(APIC_LVT_LINT0));
    check((apic_read(APIC_LVT_LINT1) & 0x107FF & ~0xFFu) == APIC_LVT_NMI, "start.lint1", "%x",
          (unsigned int)apic_read(APIC_LVT_LINT1));
}

static void test_pit(void)
{
    reset();
    pic_unmask(IRQ_PIT);
    pit_set(0, PIT_RATE, PIT_HZ / PIT_TEST_HZ);
    clock_spin_ns(QUIET_NS);
    unsigned int masked = count;
    uint16_t irr = pic_irr();
    check(masked == 0 && (irr & 1u << IRQ_PIT), "pit.if-off", "%u interrupts, IRR %x", masked, irr);
    if (check(wait_for(TICKS + 1, PATIENCE_NS), "pit.if-on", "%u interrupts", count)) {
        // The first one was due long before; the others come at the PIT's pace.
        uint64_t ns = clock_ns_of_ticks(times[TICKS] - times[1]);
        uint64_t want = (TICKS - 1) * NS_PER_SECOND / PIT_TEST_HZ;
        uint64_t late = cpu_by_tcg() ? 50 * NS_PER_MS : NS_PER_MS;
        check(ns + late >= want && ns <= want + late, "pit.time", "%lu ns instead of %lu",
              (unsigned long)ns, (unsigned long)want);
    }
    check(vectors[0] == VEC_PIC + IRQ_PIT && isr_inside == 1u << IRQ_PIT, "pit.in-service",
          "vector %x, ISR %x", vectors[0], isr_inside);
    check(pic_isr() == 0, "pit.eoi", "ISR %x", pic_isr());

    count = 0;
    cpu_wait_for_irq();
    check(count == 1, "pit.hlt", "%u interrupts", count);
    count = 0;
    for (unsigned int i = 0; i < TICKS; i++)
        cpu_wait_for_irq();
    check(count == TICKS, "pit.hlt-many", "%u interrupts in %d sleeps", count, TICKS);

    pic_mask(IRQ_PIT);
    cpu_irq_window();
    count = 0;
    wait_for(1, QUIET_NS);
    check(count == 0 && (pic_imr() & 1u << IRQ_PIT), "pit.masked", "%u interrupts, IMR %x", count,
          pic_imr());
}

static void test_uart(void)
{
    reset();
    uart_drain();
    pic_unmask(IRQ_COM1);
    uart_line_on();
    wait_for(2, QUIET_NS);
    unsigned int first = count;
    outb(UART_DATA, '\n');
    wait_for(2, QUIET_NS);
    wait_for(3, QUIET_NS);
    unsigned int second = count;
    uart_line_off();
    uart_drain();
    check(first == 1 && second == 2 && vectors[0] == VEC_PIC + IRQ_COM1, "uart.thre",
          "%u, then %u interrupts, vector %x", first, second, vectors[0]);

    // While the handler does not look, the line stays up, and an edge-triggered PIC stays quiet.
    count = 0;
    keep_line = true;
    uart_drain();
    uart_line_on();
    wait_for(2, QUIET_NS);
    unsigned int held = count;
    keep_line = false;
    uart_line_off();
    check(held == 1, "uart.edge", "%u interrupts for one edge", held);
}

// IRQ 0 comes before IRQ 4 when both wait, whichever rose first.
static void test_priority(void)
{
    reset();
    uart_drain();
    pic_unmask(IRQ_COM1);
    uart_line_on();
    pit_set(0, PIT_ONE_SHOT, PIT_HZ / PIT_TEST_HZ);
    pic_unmask(IRQ_PIT);
    clock_spin_ns(2 * NS_PER_MS);
    cpu_irq_window();
    uart_line_off();
    pic_mask(IRQ_PIT);
    check(count == 2 && vectors[0] == VEC_PIC + IRQ_PIT && vectors[1] == VEC_PIC + IRQ_COM1,
          "priority", "%u interrupts, %x %x", count, vectors[0], vectors[1]);
}

// A request that is gone when the processor asks for it becomes IRQ 7, with nothing in service. The
// PIC has raised INTR; its cause is masked before IF lets the processor see it. A PIC may also
// take INTR back in time, and then nothing comes.
static void test_spurious(void)
{
    reset();
    trap_set_handler(VEC_PIC + IRQ_SPURIOUS, on_spurious);
    uart_drain();
    pic_unmask(IRQ_COM1);
    uart_line_on();
    pic_mask(IRQ_COM1);
    cpu_irq_window();
    unsigned int seen = count;
    uart_line_off();
    check(seen == 0 || (seen == 1 && vectors[0] == VEC_PIC + IRQ_SPURIOUS && isr_inside == 0),
          "spurious", "%u interrupts, vector %x, ISR %x", seen, vectors[0], isr_inside);
    check(pic_isr() == 0, "spurious.in-service", "ISR %x", pic_isr());
}

static void test_rtc(void)
{
    reset();
    rtc_write(RTC_A, 0x26); // 1024 Hz
    uint8_t b = rtc_read(RTC_B);
    rtc_write(RTC_B, b | RTC_PIE);
    rtc_read(RTC_C);
    pic_unmask(IRQ_RTC);
    bool came = wait_for(4, PATIENCE_NS);
    rtc_write(RTC_B, b);
    pic_mask(IRQ_RTC);
    check(came && vectors[0] == VEC_PIC + IRQ_RTC, "rtc.periodic", "%u interrupts, vector %x",
          count, vectors[0]);
    check((isr_inside & 1u << IRQ_RTC) && (isr_inside & 1u << 2), "rtc.cascade", "ISR %x",
          isr_inside);
}

// With LINT0 masked no request of the PIC reaches the processor; unmasked, the waiting one does.
static void test_lint0(void)
{
    reset();
    uint32_t lint0 = apic_read(APIC_LVT_LINT0);
    apic_write(APIC_LVT_LINT0, lint0 | APIC_LVT_MASKED);
    pic_unmask(IRQ_PIT);
    pit_set(0, PIT_RATE, PIT_HZ / PIT_TEST_HZ);
    wait_for(1, QUIET_NS);
    unsigned int masked = count;
    apic_write(APIC_LVT_LINT0, lint0 & ~APIC_LVT_MASKED);
    wait_for(1, QUIET_NS);
    pic_mask(IRQ_PIT);
    check(masked == 0 && count >= 1, "lint0.masked", "%u masked, then %u", masked, count);
}

int main(void)
{
    test_start();
    // QEMU's own loader leaves the APIC as on the board; what others leave is made so here.
    apic_enable(APIC_MODE_XAPIC);
    apic_write(APIC_LVT_LINT0, APIC_LVT_EXTINT);
    trap_set_handler(VEC_PIC + IRQ_PIT, on_irq);
    trap_set_handler(VEC_PIC + IRQ_COM1, on_irq);
    trap_set_handler(VEC_PIC + IRQ_RTC, on_irq);
    test_pit();
    test_uart();
    test_spurious();
    test_rtc();
    if (cpu_on_bulkhead() || cpu_on_tcg()) {
        test_priority();
        test_lint0();
    } else {
        check_skip("priority", "Bochs keeps the first request, and wires the PIC past LINT0");
    }
    test_commands();
    test_pit_modes();
    test_rtc_clock();
    return check_done();
}
