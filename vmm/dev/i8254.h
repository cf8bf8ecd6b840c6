// SPDX-License-Identifier: BSD-2-Clause
//
// Intel 8254 programmable interval timer at 1.193182 MHz, and the system control port 0x61.
//
// Follows the Intel 8254 data sheet, sections "Mode Definitions" and "Read Operations". Counts are
// computed from the host clock when they are looked at; only channel 0 needs a timer, for IRQ 0.
// The gates of channels 0 and 1 are tied high; that of channel 2 is bit 0 of port 0x61.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/board/clock.h"
#include "vmm/board/irq.h"
#include "vmm/dev/ticks.h"

#define I8254_HZ 1193182ULL

struct i8254_channel {
    uint8_t mode;   // 0 to 5
    uint8_t access; // 1: low byte, 2: high byte, 3: both
    bool bcd;
    bool gate;
    bool written;      // a count has been written since the control word
    bool loaded;       // the counting element has been loaded since then
    bool running;      // it counts: loaded, and not held by the gate
    bool null_count;   // the last count written is not in the counting element yet
    bool write_high;   // next write is the high byte
    bool read_high;    // next read is the high byte
    uint8_t write_low; // low byte, until the high byte comes
    uint8_t latched;   // bytes of the latched count still to be read
    uint16_t latch;
    bool status_latched;
    uint8_t status;
    int64_t reload;    // count register in ticks, 1 to 65536
    int64_t period;    // what the counting element was loaded with, 1 to 65536
    int64_t start;     // tick at which it was loaded (may lie before the clock's origin)
    int64_t counted;   // channel 0: the periods since then that were ticks already
    int64_t held;      // elapsed ticks when the gate stopped the count
    int64_t change_at; // modes 2 and 3, running, null_count: tick at which `reload` is loaded
};

struct i8254 {
    struct i8254_channel ch[3];
    uint8_t port61; // bits 0 to 3 as written
    bool deaf;      // nobody hears OUT of channel 0: it needs no timer
    bool quiet;     // OUT of channel 0 has been high since reset: that is no edge for the PIC
    struct clock *clock;
    struct vtimer timer;
    struct ticks ticks;  // of channel 0, in modes 2 and 3
    struct irq_line irq; // OUT of channel 0
};

void i8254_init(struct i8254 *pit, struct clock *clock, struct irq_line irq);

// As a BIOS leaves it: channel 0 in mode 3 at 18.2 Hz, channel 1 refreshing, channel 2 quiet.
void i8254_reset(struct i8254 *pit);

// Whether IRQ 0 is cut off: then nothing wakes the VMM for it, and no ticks are owed.
void i8254_cut(struct i8254 *pit, bool cut);

// Claims 0x40-43 and 0x61.
bool i8254_register(struct i8254 *pit, struct bus *bus);
