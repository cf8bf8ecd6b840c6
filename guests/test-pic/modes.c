// SPDX-License-Identifier: BSD-2-Clause
//
// The 8254's modes on channel 2, whose gate and output port 0x61 has: by the read-back command's
// status and counts.

#include <stdbool.h>
#include <stdint.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/pit.h"
#include "guests/test-pic/groups.h"

#define CHANNEL2   0x42
#define CONTROL    0x43
#define SYSTEM     0x61
#define GATE       0x01
#define OUT        0x20 // in port 0x61
#define STATUS_OUT 0x80
#define NULL_COUNT 0x40
#define SELECT2    0x80
#define LATCH2     0x80
#define BOTH       0x30
#define BCD        0x01
#define READ_BACK2 0xC8 // count and status of channel 2
#define STATUS2    0xE8
#define COUNT      6000 // 5 ms
#define COUNT_NS   (COUNT * NS_PER_SECOND / PIT_HZ)

static void gate(bool high)
{
    outb(SYSTEM, (uint8_t)((inb(SYSTEM) & 0x0C) | (high ? GATE : 0)));
}

static void set(unsigned int mode, uint16_t count)
{
    outb(CONTROL, (uint8_t)(SELECT2 | BOTH | mode << 1));
    outb(CHANNEL2, (uint8_t)count);
    outb(CHANNEL2, (uint8_t)(count >> 8));
}

static uint16_t both(void)
{
    uint8_t low = inb(CHANNEL2);
    return (uint16_t)(low | inb(CHANNEL2) << 8);
}

static uint8_t status(void)
{
    outb(CONTROL, STATUS2);
    return inb(CHANNEL2);
}

static uint16_t count(void)
{
    outb(CONTROL, LATCH2);
    return both();
}

static bool out(void)
{
    return (inb(SYSTEM) & OUT) != 0;
}

static void wait(uint64_t ns)
{
    clock_spin_ns(ns + NS_PER_MS);
}

// Mode 0: low until the count is over, and a low gate holds the count.
static void test_terminal_count(void)
{
    gate(true);
    set(0, COUNT);
    bool low = !out();
    gate(false);
    uint16_t held = count();
    wait(COUNT_NS);
    uint16_t still = count();
    bool waits = !out();
    gate(true);
    wait(COUNT_NS);
    check(low && waits && out(), "mode-0", "OUT %d, %d, %d", !low, !waits, out());
    check(held <= COUNT && held == still, "mode-0.gate", "%u, %u", held, still);
    // The first byte of a new count stops it.
    set(0, COUNT);
    outb(CHANNEL2, 0x34);
    wait(COUNT_NS);
    bool stopped = !out();
    outb(CHANNEL2, 0);
    wait(0);
    check(stopped && out(), "mode-0.half", "OUT %d, %d", !stopped, out());
}

// Modes 1 and 5 begin with a rising gate, and anew with the next.
static void test_triggered(void)
{
    gate(false);
    set(1, COUNT);
    bool idle = out();
    wait(COUNT_NS);
    gate(true);
    bool low = !out();
    clock_spin_ns(COUNT_NS / 2);
    gate(false);
    gate(true);
    clock_spin_ns(COUNT_NS * 3 / 4);
    bool again = !out();
    wait(COUNT_NS);
    check(idle && low && out(), "mode-1", "OUT %d, %d, %d", idle, !low, out());
    if (!cpu_by_tcg())
        check(again, "mode-1.again", "the second trigger did nothing");
    gate(false);
    set(5, COUNT);
    uint8_t before = status();
    wait(COUNT_NS);
    gate(true);
    clock_spin_ns(NS_PER_MS);
    uint8_t counting = status();
    check((before & NULL_COUNT) && !(counting & NULL_COUNT) && (counting & STATUS_OUT), "mode-5",
          "%x, then %x", before, counting);
}

// Modes 2 and 3 go on for ever; a low gate stops them, with OUT high.
static void test_periodic(void)
{
    for (unsigned int mode = 2; mode <= 3; mode++) {
        unsigned int lows = 0, highs = 0;
        gate(true);
        set(mode, COUNT);
        for (uint64_t end = clock_uptime_ns() + 4 * COUNT_NS; clock_uptime_ns() < end;) {
            if (out())
                highs++;
            else
                lows++;
        }
        gate(false);
        uint16_t held = count();
        wait(0);
        uint16_t still = count();
        check(highs > 0 && (mode == 2 || (lows > highs / 3 && highs > lows / 3)),
              mode == 2 ? "mode-2" : "mode-3", "%u high, %u low", highs, lows);
        check(out() && held == still && held <= COUNT, mode == 2 ? "mode-2.gate" : "mode-3.gate",
              "OUT %d, %u, %u", out(), held, still);
    }
    gate(true);
    set(3, COUNT);
    uint16_t first = count();
    check((first & 1) == 0, "mode-3.even", "%u", first);
}

// Mode 4: OUT is low for one tick, which nobody sees; the count goes on behind it.
static void test_strobe(void)
{
    gate(true);
    set(4, COUNT);
    bool before = out();
    wait(COUNT_NS);
    uint16_t after = count();
    check(before && out() && after > COUNT, "mode-4", "OUT %d, %d, count %u", before, out(), after);
}

// The read-back command: status first, then the count of that moment; the first latch holds.
static void test_read_back(void)
{
    gate(true);
    set(2, COUNT);
    outb(CONTROL, READ_BACK2);
    outb(CONTROL, LATCH2);
    wait(0);
    uint8_t said = inb(CHANNEL2);
    uint16_t latched = both();
    check((said & 0x3F) == (BOTH | 2 << 1), "read-back.status", "%x", said);
    check(latched <= COUNT && latched > COUNT - 1200, "read-back.count", "%u", latched);
    outb(CONTROL, SELECT2 | BOTH | 2 << 1);
    uint8_t unloaded = status();
    check((unloaded & NULL_COUNT) != 0, "read-back.null", "%x", unloaded);
    outb(CONTROL, SELECT2 | 0x10 | 0 << 1 | BCD); // low byte alone, in decimal
    gate(false);
    outb(CHANNEL2, 0x42);
    uint8_t low = inb(CHANNEL2), decimal = status();
    check(low == 0x42 && (decimal & 0x3F) == (0x10 | BCD), "bcd", "%x, status %x", low, decimal);
    gate(true);
    wait(0); // 42 and no more: it has gone through 0 to 9999 and down
    gate(false);
    low = inb(CHANNEL2);
    check((low & 0xF) <= 9 && low >> 4 <= 9 && out(), "bcd.counts", "%x", low);
}

void test_pit_modes(void)
{
    test_terminal_count();
    test_triggered();
    test_periodic();
    test_strobe();
    test_read_back();
    gate(false);
    set(3, 0);
}
