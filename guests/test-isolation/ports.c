// SPDX-License-Identifier: BSD-2-Clause
//
// All I/O ports. Ports of this VM's own devices may answer; all else must read as all ones and
// swallow what is written, also where other machines have a way to end themselves or to leave.

#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/pic.h"
#include "guests/lib/uart.h"
#include "guests/test-isolation/groups.h"
#include "guests/test-isolation/probe.h"

#define PORTS       0x10000u
#define POST        0x80
#define DEBUGCON    0xE9
#define PM1_EVENT   0x600
#define PCI_ADDRESS 0xCF8
#define PCI_DATA    0xCFC
#define DOT         0x2E2E2E2Eu

// "The board" in docs/virtual-pc.md.
static const struct {
    uint16_t first, last;
} board[] = {
    {0x20, 0x21},   {0x40, 0x43},   {0x60, 0x61},   {0x64, 0x64},     {0x70, 0x71},
    {0x80, 0x80},   {0x92, 0x92},   {0xA0, 0xA1},   {0xE9, 0xE9},     {0x3C0, 0x3CF},
    {0x3D4, 0x3D5}, {0x3DA, 0x3DA}, {0x3F8, 0x3FF}, {0x4D0, 0x4D1},   {0x505, 0x505},
    {0x600, 0x605}, {0x608, 0x60B}, {0xCF8, 0xCFF},
};

// The VM's own power and reset: 8042 commands, port 92h, ACPI PM1 control, reset control.
static const uint16_t power[] = {0x64, 0x92, 0x604, 0x605, 0xCF9};

enum { CLAIMED = 1, POWER = 2, PRINTS = 4 };
static uint8_t kind[PORTS + 4];

// What is written. The second pulls a reset at an 8042, the third at a reset control register, the
// fourth is S5 on some boards. At the ports that print, a dot.
static const uint32_t patterns[] = {0, 0xFEFEFEFE, 0x06060606, 0x34003400, 0xFFFFFFFF, 0x5A5A5A5A};
#define PATTERNS (sizeof(patterns) / sizeof(patterns[0]))

static void learn_board(void)
{
    for (unsigned int i = 0; i < sizeof(board) / sizeof(board[0]); i++)
        memset(&kind[board[i].first], CLAIMED, board[i].last - board[i].first + 1u);
    for (unsigned int i = 0; i < sizeof(power) / sizeof(power[0]); i++)
        kind[power[i]] |= POWER;
    memset(&kind[UART_BASE], CLAIMED | PRINTS, 8);
    kind[DEBUGCON] |= PRINTS;
}

// The kinds of all bytes that an access of this width touches.
static unsigned int kind_of(uint32_t port, unsigned int width)
{
    unsigned int all = 0;
    for (unsigned int i = 0; i < width; i++)
        all |= kind[port + i];
    return all;
}

static uint32_t port_read(uint16_t port, unsigned int width)
{
    if (width == 1)
        return inb(port);
    return width == 2 ? inw(port) : inl(port);
}

static void port_write(uint16_t port, unsigned int width, uint32_t value)
{
    if (width == 1)
        outb(port, (uint8_t)value);
    else if (width == 2)
        outw(port, (uint16_t)value);
    else
        outl(port, value);
}

// Bytes that nobody claims are all ones, whatever stands beside them.
static void check_read(struct tally *tally, uint32_t port, unsigned int width)
{
    uint32_t value = port_read((uint16_t)port, width), want = 0;
    for (unsigned int i = 0; i < width; i++) {
        // The configuration registers answer as a whole, or as nothing.
        if (!(kind[port + i] & CLAIMED))
            want |= 0xFFu << (8 * i);
    }
    look(value);
    tally_add(tally, (value & want) == want, "port %x, width %u: %x", (unsigned int)port, width,
              (unsigned int)value);
}

static void write_all(uint32_t port, unsigned int width)
{
    unsigned int all = kind_of(port, width);
    if (all & POWER)
        return;
    if (all & PRINTS)
        port_write((uint16_t)port, width, DOT);
    else if (!(all & CLAIMED))
        port_write((uint16_t)port, width, patterns[port % PATTERNS]);
    for (unsigned int i = 0; i < PATTERNS && (all & CLAIMED) && !(all & PRINTS); i++)
        port_write((uint16_t)port, width, patterns[i]);
}

// How other emulators are told to end, and where a machine has its SMIs.
static void test_exits(void)
{
    static const uint16_t places[] = {0xB2, 0xB3, 0xF4, 0x402, 0x501, 0x510, 0x8900, 0xB004};
    for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        for (unsigned int value = 0; value < 256; value++)
            outb(places[i], (uint8_t)value);
        outw(places[i], 0x2000);
        outl(places[i], 0x2000);
    }
    for (const char *at = "Shutdown"; *at != 0; at++)
        outb(0x8900, (uint8_t)*at);
    check(true, "ports.exits", "-");
}

// Writes may have left the board in any state.
static void restore_board(void)
{
    pic_init();
    uart_init();
    outl(PM1_EVENT, 0xFFFF); // clears what is pending, enables nothing
    printf("\n");
}

void test_ports(void)
{
    static struct tally read, again;
    cpu_irq_disable();
    learn_board();
    for (unsigned int width = 1; width <= 4; width *= 2) {
        for (uint32_t port = 0; port < PORTS; port++)
            check_read(&read, port, width);
    }
    for (unsigned int width = 1; width <= 4; width *= 2) {
        for (uint32_t port = 0; port < PORTS; port++)
            write_all(port, width);
    }
    restore_board();
    for (uint32_t port = 0; port < PORTS; port++)
        check_read(&again, port, 4);
    tally_check(&read, "ports.read");
    tally_check(&again, "ports.written");
    test_exits();
    outb(POST, 0xA5);
    check(inb(POST) == 0xA5 && inb(DEBUGCON) == 0xE9, "ports.own", "%x %x", inb(POST),
          inb(DEBUGCON));
    look_check("ports.foreign");
}

// DMA needs a device that does it, and there is none: no ISA controller (its ports are among those
// that nobody claims), and behind the PCI ports nothing but a bridge without a register to write.
void test_config_space(void)
{
    static struct tally functions, fixed;
    for (uint32_t at = 0; at < 0x10000; at++) {
        if ((at & 7) != 0 && at >= 0x100) // further functions on the first bus only
            continue;
        outl(PCI_ADDRESS, 0x80000000u | at << 8);
        uint32_t id = (uint32_t)look(inl(PCI_DATA));
        tally_add(&functions, (id != 0xFFFFFFFF) == (at == 0), "function %x is %x",
                  (unsigned int)at, (unsigned int)id);
    }
    for (uint32_t offset = 4; offset < 256; offset += 4) {
        outl(PCI_ADDRESS, 0x80000000u | offset);
        uint32_t before = inl(PCI_DATA);
        outl(PCI_DATA, 0xFFFFFFFF);
        tally_add(&fixed, inl(PCI_DATA) == before, "register %x: %x became %x",
                  (unsigned int)offset, (unsigned int)before, (unsigned int)inl(PCI_DATA));
    }
    tally_check(&functions, "pci.functions");
    tally_check(&fixed, "pci.fixed");
}
