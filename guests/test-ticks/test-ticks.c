// SPDX-License-Identifier: BSD-2-Clause
//
// A guest that tells the time by counting ticks, and computes meanwhile: prints "ticks N" whenever
// those of a second have come. Option source=:
//   pit     the PIT at 1000 Hz through the PIC (default)    ioapic  the same through the IOAPIC
//   rtc     the RTC's periodic interrupt at 1024 Hz         apic    the local APIC's timer, 1000 Hz
//   hpet    the HPET's timer 0 at 1000 Hz, level triggered, through the IOAPIC

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/apic.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/layout.h"
#include "guests/lib/options.h"
#include "guests/lib/pic.h"
#include "guests/lib/pit.h"
#include "guests/lib/power.h"
#include "guests/lib/timer.h"
#include "guests/lib/trap.h"

#define IRQ_PIT     0
#define IRQ_CASCADE 2
#define IRQ_RTC     8
#define HZ          1000u
#define RTC_HZ      1024u
#define VEC_TICK    0x40

// Timer 0, periodic, level triggered at pin 20; what is written with SET_VALUE is its period, too.
#define HPET           0xFED00000ul
#define HPET_FS        (HPET + 0x04)
#define HPET_CONFIG    (HPET + 0x10)
#define HPET_STATUS    (HPET + 0x20)
#define HPET_TIMER     (HPET + 0x100)
#define HPET_COMPARE   (HPET + 0x108)
#define HPET_PIN       20
#define HPET_RUN       1u
#define HPET_PERIODIC  (HPET_PIN << 9 | 0x4Eu)
#define HPET_32_BITS   0x100u
#define FS_PER_SECOND  1000000000000000ull

#define RTC_INDEX 0x70
#define RTC_DATA  0x71
#define RTC_A     0x0A
#define RTC_B     0x0B
#define RTC_C     0x0C
#define RTC_RATE  0x26 // 32.768 kHz, 1024 Hz
#define RTC_PIE   0x42 // and hours to 24

static volatile unsigned int ticks; // the handler's

static void rtc_write(uint8_t index, uint8_t value)
{
    outb(RTC_INDEX, index);
    outb(RTC_DATA, value);
}

static void on_pic(struct trap_frame *frame)
{
    unsigned int irq = (unsigned int)frame->vector - VEC_PIC;

    if (irq == IRQ_RTC) {
        outb(RTC_INDEX, RTC_C);
        inb(RTC_DATA);
    }
    ticks++;
    pic_eoi(irq);
}

static void on_apic(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    apic_eoi();
}

static void on_hpet(struct trap_frame *frame)
{
    mmio_write32(HPET_STATUS, 1);
    on_apic(frame);
}

static void start_pit(void)
{
    trap_set_handler(VEC_PIC + IRQ_PIT, on_pic);
    pic_init();
    pic_unmask(IRQ_PIT);
    pit_set(0, PIT_RATE, PIT_HZ / HZ);
}

static void start_ioapic(void)
{
    pic_init();
    apic_enable(APIC_MODE_XAPIC);
    ioapic_route(GSI_PIT, VEC_TICK, (uint8_t)apic_id(), 0);
    pit_set(0, PIT_RATE, PIT_HZ / HZ);
}

static void start_hpet(void)
{
    trap_set_handler(VEC_TICK, on_hpet);
    pic_init();
    apic_enable(APIC_MODE_XAPIC);
    ioapic_route(HPET_PIN, VEC_TICK, (uint8_t)apic_id(), IOAPIC_LEVEL);
    mmio_write32(HPET_TIMER, HPET_PERIODIC | HPET_32_BITS);
    mmio_write32(HPET_COMPARE, (uint32_t)(FS_PER_SECOND / HZ / mmio_read32(HPET_FS)));
    mmio_write32(HPET_CONFIG, HPET_RUN);
}

static void start_rtc(void)
{
    trap_set_handler(VEC_PIC + IRQ_RTC, on_pic);
    pic_init();
    pic_unmask(IRQ_CASCADE);
    pic_unmask(IRQ_RTC);
    rtc_write(RTC_A, RTC_RATE);
    rtc_write(RTC_B, RTC_PIE);
}

static void start_apic(void)
{
    uint64_t hz = timer_hz();

    apic_write(APIC_LVT_TIMER, APIC_TIMER_PERIODIC | VEC_TICK);
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    apic_write(APIC_TIMER_INITIAL, (uint32_t)(hz / HZ));
}

static const struct {
    const char *name;
    void (*start)(void);
    unsigned int hz;
} sources[] = {
    {"pit", start_pit, HZ},
    {"ioapic", start_ioapic, HZ},
    {"rtc", start_rtc, RTC_HZ},
    {"apic", start_apic, HZ},
    {"hpet", start_hpet, HZ},
};

int main(void)
{
    const char *name = option("source");
    size_t at = 0;

    while (name != NULL && at < sizeof(sources) / sizeof(sources[0]) &&
           strcmp(name, sources[at].name) != 0)
        at++;
    if (at == sizeof(sources) / sizeof(sources[0]))
        guest_die("source is pit, ioapic, rtc, apic or hpet");
    trap_set_handler(VEC_TICK, on_apic);
    sources[at].start();
    cpu_irq_enable();
    for (unsigned int next = sources[at].hz;; next += sources[at].hz) {
        while (ticks < next)
            __asm__ volatile("" ::: "memory");
        printf("ticks %u\n", next);
    }
}
