// SPDX-License-Identifier: BSD-2-Clause
//
// The 8259's operation command words, by its poll command: priorities and their rotation, special
// mask mode, automatic end of interrupt, level triggered pins, the cascade.

#include <stdbool.h>
#include <stdint.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/pic.h"
#include "guests/lib/pit.h"
#include "guests/lib/uart.h"
#include "guests/test-pic/groups.h"
#include "guests/test-pic/rtc.h"

#define ELCR           0x4D0
#define SMM_SET        0x68
#define SMM_CLEAR      0x48
#define EOI            0x20
#define EOI_ROTATE     0xA0
#define LOWEST(pin)    (0xC0 | (pin))
#define ROTATE_AEOI    0x80
#define ROTATE_AEOI_NO 0x00
#define ICW4_AEOI      0x03

#define IRQ_PIT  0
#define IRQ_COM1 4
#define IRQ_RTC  8
#define FOUND    0x80 // in the answer to a poll: there is a request, of the pin in bits 2:0
#define TICK_NS  NS_PER_MS

static void pit_comes(void)
{
    pit_set(0, PIT_ONE_SHOT, PIT_HZ / 2000);
    clock_spin_ns(TICK_NS);
}

// IRQ 0 and IRQ 4 both wait.
static void both_come(void)
{
    uart_drain();
    uart_line_on();
    pit_comes();
}

static void start(void)
{
    uart_line_off();
    pic_init();
    pic_unmask(IRQ_PIT);
    pic_unmask(IRQ_COM1);
}

static void test_poll(void)
{
    start();
    both_come();
    uint8_t first = pic_poll(PIC_MASTER);
    uint16_t isr = pic_isr();
    uint8_t held = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, EOI);
    uint8_t second = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, EOI);
    uint8_t none = pic_poll(PIC_MASTER);
    uart_line_off();
    check(first == (FOUND | IRQ_PIT) && second == (FOUND | IRQ_COM1), "poll", "%x, then %x", first,
          second);
    check(isr == 1 && !(held & FOUND) && !(none & FOUND), "poll.none", "ISR %x, then %x, %x", isr,
          held, none);
}

static void test_rotation(void)
{
    start();
    outb(PIC_MASTER, LOWEST(3)); // so 4 is the highest
    both_come();
    uint8_t first = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, EOI_ROTATE); // and now the lowest
    uart_line_off();
    both_come();
    uint8_t second = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, EOI);
    uint8_t third = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, EOI);
    uart_line_off();
    check(first == (FOUND | IRQ_COM1), "rotate.specific", "%x", first);
    check(second == (FOUND | IRQ_PIT) && third == (FOUND | IRQ_COM1), "rotate.eoi", "%x, then %x",
          second, third);
}

static void test_special_mask(void)
{
    start();
    pit_comes();
    uint8_t pit = pic_poll(PIC_MASTER);
    uart_drain();
    uart_line_on();
    uint8_t held = pic_poll(PIC_MASTER);
    pic_mask(IRQ_PIT);
    uint8_t masked = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, SMM_SET);
    uint8_t special = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, EOI); // of IRQ 4: a masked one is not ended
    uint16_t left = pic_isr();
    outb(PIC_MASTER, SMM_CLEAR);
    outb(PIC_MASTER, EOI);
    uart_line_off();
    check(pit == (FOUND | IRQ_PIT) && !(held & FOUND) && !(masked & FOUND), "special-mask.off",
          "%x, %x, %x", pit, held, masked);
    check(special == (FOUND | IRQ_COM1) && left == 1 && pic_isr() == 0, "special-mask.on",
          "%x, ISR %x, then %x", special, left, pic_isr());
}

static void test_auto_eoi(void)
{
    start();
    outb(PIC_MASTER, 0x11);
    outb(PIC_MASTER + 1, 0x20);
    outb(PIC_MASTER + 1, 1 << 2);
    outb(PIC_MASTER + 1, ICW4_AEOI);
    both_come();
    uint8_t first = pic_poll(PIC_MASTER);
    uint16_t isr = pic_isr();
    uint8_t second = pic_poll(PIC_MASTER);
    check(first == (FOUND | IRQ_PIT) && second == (FOUND | IRQ_COM1) && isr == 0, "aeoi",
          "%x, ISR %x, %x", first, isr, second);

    // In rotation, one that has been served comes behind the others.
    uart_line_off();
    outb(PIC_MASTER, ROTATE_AEOI);
    pit_comes();
    first = pic_poll(PIC_MASTER);
    both_come();
    second = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, ROTATE_AEOI_NO);
    uart_line_off();
    check(first == (FOUND | IRQ_PIT) && second == (FOUND | IRQ_COM1), "aeoi.rotate", "%x, %x",
          first, second);
}

// A level asks again until its cause is gone; an edge once.
static void test_level(void)
{
    uint8_t elcr = inb(ELCR);
    start();
    outb(ELCR, elcr | 1 << IRQ_COM1);
    uart_drain();
    uart_line_on();
    uint8_t first = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, EOI);
    uint8_t again = pic_poll(PIC_MASTER);
    outb(PIC_MASTER, EOI);
    uart_line_off();
    uint8_t gone = pic_poll(PIC_MASTER);
    uint8_t kept = inb(ELCR);
    outb(ELCR, elcr);
    check(first == (FOUND | IRQ_COM1) && again == first && !(gone & FOUND), "level", "%x, %x, %x",
          first, again, gone);
    check(kept == (elcr | 1 << IRQ_COM1), "level.elcr", "%x", kept);
}

static void test_cascade(void)
{
    start();
    pic_unmask(IRQ_RTC);
    rtc_write(RTC_A, 0x26); // 1024 Hz
    rtc_write(RTC_B, RTC_24H | RTC_PIE);
    rtc_read(RTC_C);
    clock_spin_ns(2 * TICK_NS);
    uint8_t master = pic_poll(PIC_MASTER), slave = pic_poll(PIC_SLAVE);
    uint16_t isr = pic_isr();
    rtc_write(RTC_B, RTC_24H);
    rtc_read(RTC_C);
    pic_eoi(IRQ_RTC);
    check(master == (FOUND | 2) && slave == FOUND && isr == (1u << IRQ_RTC | 1u << 2), "cascade",
          "%x, %x, ISR %x", master, slave, isr);
    check(pic_isr() == 0, "cascade.eoi", "ISR %x", pic_isr());
}

void test_commands(void)
{
    test_poll();
    test_rotation();
    test_special_mask();
    test_auto_eoi();
    test_level();
    test_cascade();
    pic_init();
}
