// SPDX-License-Identifier: BSD-2-Clause
//
// MC146818 real-time clock with 114 bytes of NVRAM behind ports 0x70 and 0x71.
//
// Follows the Motorola MC146818A data sheet, sections "Registers" and "Update Cycle". The date is
// computed from the host clock when it is looked at. The century is in byte 0x32, as the FADT says.
// Bit 7 of port 0x70 (NMI mask) is accepted and has no effect: nothing on this board raises NMI.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/board/clock.h"
#include "vmm/board/irq.h"
#include "vmm/dev/ticks.h"

enum {
    RTC_NVRAM_SIZE = 128,
    RTC_CENTURY = 0x32,
};

struct mc146818 {
    uint8_t ram[RTC_NVRAM_SIZE]; // all registers; time is valid in here only while stopped
    uint8_t index;
    int64_t base_sec;     // seconds since 1970-01-01 shown at base_ns
    int64_t base_ns;      // a second boundary in host time (may lie before the clock's origin)
    uint8_t weekday_bias; // days that the guest has moved the weekday ahead of the date
    int64_t synced_ns;    // flags in register C are right up to here
    struct ticks ticks;   // periodic interrupts; each is taken when register C is read
    struct clock *clock;
    struct vtimer timer;
    struct irq_line irq;
};

// `wall_sec` is the date at the clock's present time, in seconds since 1970-01-01 00:00 UTC.
void mc146818_init(struct mc146818 *rtc, struct clock *clock, int64_t wall_sec,
                   struct irq_line irq);

// The RESET pin: interrupts off. Date, alarm and NVRAM have a battery and stay.
void mc146818_reset(struct mc146818 *rtc);

// Claims 0x70-71.
bool mc146818_register(struct mc146818 *rtc, struct bus *bus);

// Set an NVRAM byte (0x0E to 0x7F), as a BIOS does to leave the memory size there.
void mc146818_set_nvram(struct mc146818 *rtc, uint8_t index, uint8_t value);
