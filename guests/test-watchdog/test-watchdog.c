// SPDX-License-Identifier: BSD-2-Clause
//
// Test guest: the watchdog of a VM with `watchdog`, as a driver sees it, and the port of panics.
// Option mode=:
//   judge  its registers and both stages, without letting it end the VM; the port's
//   hang   switches it on for stage=MS twice over, feeds it feeds=N times, half a stage apart, with
//          a line each, and then hangs
//   late   never switches it on
//   none   there is none
//   panic  says that it has panicked, after=MS, and goes on for delay=MS
//   crash  likewise that it has, and starts its own kernel for that
// First it prints "watchdog: first run", or "watchdog: it ended the last run".

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/options.h"
#include "guests/lib/power.h"

#define PCI_ADDRESS 0xCF8
#define PCI_DATA    0xCFC
#define SLOTS       32u
#define ID          0x25AB8086u
#define PANIC_PORT  0x505

// Configuration space.
#define COMMAND  0x04
#define BAR      0x10
#define CONFIG   0x60
#define LOCK     0x68
#define ENABLE   0x02
#define NO_END   0x20
#define FAST     0x04

// Memory.
#define PRELOAD_1   0x00
#define PRELOAD_2   0x04
#define STATUS      0x08
#define RELOAD      0x0C
#define RELOAD_NOW  0x100
#define WAS_ENDED   0x200

#define PCI_CLOCK_NS 30ull
#define TICK_NS      (PCI_CLOCK_NS << 15)
#define FAST_TICK_NS (PCI_CLOCK_NS << 5)
#define ELSEWHERE    0xC0001000u
#define NONE         0xFFFFFFFFu

static uint32_t slot = NONE;
static uintptr_t memory;

static void select_register(uint32_t offset)
{
    outl(PCI_ADDRESS, 0x80000000u | slot << 11 | (offset & 0xFC));
}

static uint32_t config_read(uint32_t offset)
{
    select_register(offset);
    return inl(PCI_DATA);
}

static void config_write(uint32_t offset, uint32_t value)
{
    select_register(offset);
    outl(PCI_DATA, value);
}

static bool find(void)
{
    for (slot = 0; slot < SLOTS; slot++) {
        if (config_read(0) == ID) {
            memory = config_read(BAR) & ~0xFu;
            return true;
        }
    }
    return false;
}

static void unlock(void)
{
    *(volatile uint8_t *)(memory + RELOAD) = 0x80;
    *(volatile uint8_t *)(memory + RELOAD) = 0x86;
}

static void preload(uint32_t offset, uint32_t ticks)
{
    unlock();
    mmio_write32(memory + offset, ticks);
}

static void write_reload(uint16_t value)
{
    unlock();
    *(volatile uint16_t *)(memory + RELOAD) = value;
}

static void test_function(void)
{
    check(config_read(8) >> 16 == 0x0880, "function.class", "%x", config_read(8));
    check((config_read(COMMAND) & 2) != 0 && memory != 0, "function.placed", "%x at %lx",
          config_read(COMMAND), memory);
    config_write(COMMAND, 0);
    check(mmio_read32(memory) == NONE, "bar.off", "%x", mmio_read32(memory));
    config_write(BAR, NONE);
    check(config_read(BAR) == 0xFFFFFFF0, "bar.size", "%x", config_read(BAR));
    config_write(BAR, ELSEWHERE);
    config_write(COMMAND, 2);
    check(mmio_read32(memory) == NONE && mmio_read32(ELSEWHERE) == 0xFFFFF, "bar.moved", "%x %x",
          mmio_read32(memory), mmio_read32(ELSEWHERE));
    memory = ELSEWHERE;
}

static void test_registers(void)
{
    mmio_write32(memory + PRELOAD_1, 1);
    check(mmio_read32(memory + PRELOAD_1) == 0xFFFFF, "unlock.needed", "%x",
          mmio_read32(memory + PRELOAD_1));
    preload(PRELOAD_1, 0xFFF12345);
    check(mmio_read32(memory + PRELOAD_1) == 0x12345, "unlock.done", "%x",
          mmio_read32(memory + PRELOAD_1));
    mmio_write32(memory + PRELOAD_1, 1);
    check(mmio_read32(memory + PRELOAD_1) == 0x12345, "unlock.once", "%x",
          mmio_read32(memory + PRELOAD_1));
}

// How long the first stage lasts, by its bit of the status.
static uint64_t first_stage_ns(uint32_t config, uint32_t ticks)
{
    config_write(CONFIG, config);
    preload(PRELOAD_1, ticks);
    preload(PRELOAD_2, 0xFFFFF);
    mmio_write32(memory + STATUS, 1);
    uint64_t begin = clock_uptime_ns();
    config_write(LOCK, ENABLE);
    while ((mmio_read32(memory + STATUS) & 1) == 0 && clock_uptime_ns() - begin < NS_PER_SECOND)
        cpu_pause();
    uint64_t took = clock_uptime_ns() - begin;
    config_write(LOCK, 0);
    return took;
}

static bool near(uint64_t ns, uint64_t wanted)
{
    return ns >= wanted && ns < wanted + 20 * NS_PER_MS;
}

static void test_time(void)
{
    uint64_t slow = first_stage_ns(NO_END, 100), fast = first_stage_ns(NO_END | FAST, 100000);

    check(near(slow, 100 * TICK_NS), "stage.slow", "%lu ns", slow);
    check(near(fast, 100000 * FAST_TICK_NS), "stage.fast", "%lu ns", fast);
    config_write(CONFIG, 0);
    preload(PRELOAD_1, 100);
    preload(PRELOAD_2, 100);
    config_write(LOCK, ENABLE);
    for (unsigned int i = 0; i < 6; i++) { // in either stage, longer than it takes without
        clock_spin_ns(i % 2 == 0 ? 50 * NS_PER_MS : 150 * NS_PER_MS);
        write_reload(RELOAD_NOW);
    }
    config_write(LOCK, 0);
    clock_spin_ns(300 * NS_PER_MS);
    check(true, "fed", "-");
}

static int judge(void)
{
    test_function();
    test_registers();
    test_time();
    check(inb(PANIC_PORT) == 3, "panic.port", "%x", inb(PANIC_PORT));
    return check_done();
}

static int hang(void)
{
    uint64_t stage = option_number("stage", 500, 1, 60000) * NS_PER_MS;
    uint64_t feeds = option_number("feeds", 4, 0, 1000);

    config_write(CONFIG, 0);
    preload(PRELOAD_1, (uint32_t)(stage / TICK_NS));
    preload(PRELOAD_2, (uint32_t)(stage / TICK_NS));
    config_write(LOCK, ENABLE);
    for (uint64_t i = 1; i <= feeds; i++) {
        clock_spin_ns(stage / 2);
        write_reload(RELOAD_NOW);
        printf("fed %lu\n", i);
    }
    __asm__ volatile("cli; 1: jmp 1b");
    return 0;
}

static int late(void)
{
    clock_spin_ns(option_number("delay", 60000, 0, 600000) * NS_PER_MS);
    return 0;
}

static int none(void)
{
    check(slot == SLOTS, "none", "it is in slot %u", (unsigned int)slot);
    return check_done();
}

static int panic_with(uint8_t event)
{
    clock_spin_ns(option_number("after", 0, 0, 60000) * NS_PER_MS);
    outb(PANIC_PORT, event);
    clock_spin_ns(option_number("delay", 1000, 0, 60000) * NS_PER_MS);
    printf("goes on\n");
    return 0;
}

static int panic(void) { return panic_with(1); }
static int crash(void) { return panic_with(2); }

static const struct {
    const char *name;
    int (*run)(void);
    bool needs; // a watchdog
} modes[] = {
    {"judge", judge, true}, {"hang", hang, true},    {"late", late, true},
    {"none", none, false},  {"panic", panic, false}, {"crash", crash, false},
};

int main(void)
{
    const char *mode = option("mode");
    bool there = find();

    if (there)
        printf("watchdog: %s\n", (mmio_read32(memory + RELOAD) & WAS_ENDED) != 0
                                     ? "it ended the last run" : "first run");
    for (unsigned int i = 0; mode != NULL && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(mode, modes[i].name) != 0)
            continue;
        if (modes[i].needs && !there)
            guest_die("there is no watchdog");
        return modes[i].run();
    }
    guest_die("option mode=: want judge, hang, late, none, panic or crash");
}
