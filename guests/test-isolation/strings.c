// SPDX-License-Identifier: BSD-2-Clause
//
// Accesses across the border between RAM and nowhere, in both directions: each byte is that of the
// place where it lies.

#include <stdint.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/start.h"
#include "guests/lib/uart.h"
#include "guests/test-isolation/groups.h"
#include "guests/test-isolation/probe.h"

#define TEXT_RAM     0xB8000ul
#define TEXT_RAM_END 0xC0000ul
#define SPAN         64ul
#define FILL         0x41

static uint8_t buffer[2 * SPAN];

static void rep_movsb(uintptr_t to, uintptr_t from, uint64_t count)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
}

static bool all_are(const volatile uint8_t *bytes, unsigned int count, uint8_t value)
{
    for (unsigned int i = 0; i < count; i++) {
        if (bytes[i] != value)
            return false;
    }
    return true;
}

// RAM lies below `border`, nothing above.
static void cross_up(uintptr_t border, struct tally *t)
{
    volatile uint8_t *ram = (volatile uint8_t *)border - SPAN;
    memset((void *)(border - SPAN), FILL, SPAN);
    memset(buffer, 0, sizeof(buffer));
    rep_movsb((uintptr_t)buffer, border - SPAN, 2 * SPAN);
    tally_add(t, all_are(buffer, SPAN, FILL) && all_are(buffer + SPAN, SPAN, 0xFF),
              "%lx: rep movsb reads %x then %x", border, buffer[SPAN - 1], buffer[SPAN]);
    memset(buffer, 0x17, sizeof(buffer));
    rep_movsb(border - SPAN, (uintptr_t)buffer, 2 * SPAN);
    tally_add(t, all_are(ram, SPAN, 0x17), "%lx: rep movsb writes %x", border, ram[0]);
    uintptr_t to = border - SPAN;
    uint64_t count = 2 * SPAN / 4;
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0x2A2A2A2A) : "memory");
    tally_add(t, all_are(ram, SPAN, 0x2A) && count == 0, "%lx: rep stosl writes %x", border,
              ram[0]);
    outb(UART_SCRATCH, 0x33);
    to = border - SPAN;
    count = 2 * SPAN;
    __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    tally_add(t, all_are(ram, SPAN, 0x33) && count == 0, "%lx: rep insb writes %x", border,
              ram[0]);
    uintptr_t from = border - SPAN;
    count = 2 * SPAN;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    tally_add(t, inb(UART_SCRATCH) == 0xFF && count == 0, "%lx: rep outsb ends with %x", border,
              inb(UART_SCRATCH));
}

// One access of 8 bytes, of which `inside` lie in RAM below the border.
static void cross_word(uintptr_t border, unsigned int inside, struct tally *t)
{
    uint64_t value, want = ~0ul << (8 * inside);
    memset((void *)(border - SPAN), 0, SPAN);
    int vector = probe_read(border - inside, &value);
    tally_add(t, vector == TRAP_NONE && value == want, "%lx-%u: reads %llx, vector %d", border,
              inside, (unsigned long long)value, vector);
    vector = probe_write(border - inside, 0x5555555555555555ul);
    const volatile uint8_t *ram = (const volatile uint8_t *)border - SPAN;
    tally_add(t,
              vector == TRAP_NONE && all_are(ram, SPAN - inside, 0) &&
                  all_are(ram + SPAN - inside, inside, 0x55),
              "%lx-%u: writes %x, vector %d", border, inside, ram[SPAN - 1], vector);
}

// Nothing lies below `border`, RAM above; `outside` bytes of the access are below.
static void cross_word_down(uintptr_t border, unsigned int outside, struct tally *t)
{
    uint64_t value, want = (1ul << (8 * outside)) - 1;
    volatile uint8_t *ram = (volatile uint8_t *)border;
    memset((void *)border, 0, SPAN);
    int vector = probe_read(border - outside, &value);
    tally_add(t, vector == TRAP_NONE && value == want, "%lx-%u: reads %llx, vector %d", border,
              outside, (unsigned long long)value, vector);
    vector = probe_write(border - outside, 0x5555555555555555ul);
    tally_add(t,
              vector == TRAP_NONE && all_are(ram, 8 - outside, 0x55) &&
                  all_are(ram + 8 - outside, SPAN - 8, 0),
              "%lx-%u: writes %x, vector %d", border, outside, ram[0], vector);
}

// An instruction of which the first byte is the last of RAM: what follows is FF.
static void cross_fetch(uintptr_t border, struct tally *t)
{
    *(volatile uint8_t *)(border - 1) = 0x0F;
    int vector = probe_execute(border - 1);
    tally_add(t, vector == VEC_UD && trap_caught.rip == border - 1, "%lx: vector %d, RIP %llx",
              border, vector, (unsigned long long)trap_caught.rip);
    *(volatile uint8_t *)(border - 1) = 0x90;
    vector = probe_execute(border - 1);
    tally_add(t, vector == VEC_UD && trap_caught.rip == border, "%lx: vector %d, RIP %llx",
              border, vector, (unsigned long long)trap_caught.rip);
}

void test_borders(void)
{
    static struct tally repeated, words, fetches;
    const uintptr_t up[] = {TEXT_RAM_END, guest_ram_end()};
    for (unsigned int i = 0; i < 2; i++) {
        cross_up(up[i], &repeated);
        for (unsigned int inside = 1; inside < 8; inside++)
            cross_word(up[i], inside, &words);
        cross_fetch(up[i], &fetches);
    }
    for (unsigned int outside = 1; outside < 8; outside++)
        cross_word_down(TEXT_RAM, outside, &words);
    tally_check(&repeated, "borders.strings");
    tally_check(&words, "borders.words");
    tally_check(&fetches, "borders.fetches");
    look_check("borders.foreign");
}
