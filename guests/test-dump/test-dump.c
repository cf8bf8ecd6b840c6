// SPDX-License-Identifier: BSD-2-Clause
//
// A guest whose registers are known, to be looked at from outside. Option mode=:
//   die       a triple fault. Prints "die at RIP" first
//   loop      count=N rounds of a loop with all registers full; after each "round I kept", or
//             "CHANGED". Prints "loop from START to END" first
//   smp       vCPU 1 runs in a loop, 2 is in HLT with interrupts off, others wait for a start-up
//             IPI; then as `loop`, and at the end as `die`
//   together  all other vCPUs triple fault at once, and so does this one
//   hlt       HLT with interrupts off
// size=N: iterations in a round.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/apic.h"
#include "guests/lib/options.h"
#include "guests/lib/power.h"
#include "guests/test-dump/known.h"

#define ICR_STARTUP (6u << 8)
#define PAGE_BITS   12

// Real-mode code of other vCPUs: each in a page of its own.
static const struct code {
    uint8_t page, length, bytes[8];
} spins = {8, 2, {0xEB, 0xFE}},                    // 1: jmp 1b
    halts = {9, 4, {0xFA, 0xF4, 0xEB, 0xFD}},      // cli; 1: hlt; jmp 1b
    dies = {10, 7, {0x0F, 0x01, 0x1E, 0x00, 0xA8, 0x0F, 0x0B}}; // lidt 0xa800 (zeroes); ud2

static void send_start(const struct code *code, uint32_t shorthand, uint32_t id)
{
    volatile uintptr_t at = (uintptr_t)code->page << PAGE_BITS;

    memcpy((void *)at, code->bytes, code->length);
    apic_send(APIC_ICR_ASSERT | APIC_ICR_INIT | shorthand, id);
    apic_send(APIC_ICR_ASSERT | ICR_STARTUP | shorthand | code->page, id);
}

static void loop(void)
{
    uint64_t count = option_number("count", 5, 1, UINT32_MAX);
    uint64_t size = option_number("size", 10000000, 1, UINT64_MAX);

    printf("loop from %lx to %lx\n", (unsigned long)known_loop_start,
           (unsigned long)known_loop_end);
    for (uint64_t round = 1; round <= count; round++)
        printf("round %llu %s\n", (unsigned long long)round,
               known_loop(size) ? "kept" : "CHANGED");
}

static void die(void)
{
    printf("die at %lx\n", (unsigned long)known_die_here);
    known_die();
}

int main(void)
{
    const char *mode = option("mode");

    if (mode != NULL && strcmp(mode, "loop") == 0) {
        loop();
        return 0;
    }
    if (mode != NULL && strcmp(mode, "hlt") == 0) {
        printf("halts\n");
        __asm__ volatile("cli; 1: hlt; jmp 1b" ::: "memory");
    }
    if (mode != NULL && strcmp(mode, "smp") == 0) {
        send_start(&spins, 0, 1);
        send_start(&halts, 0, 2);
        loop();
    }
    if (mode != NULL && strcmp(mode, "together") == 0)
        send_start(&dies, APIC_ICR_ALL_BUT_SELF, 0);
    die();
}
