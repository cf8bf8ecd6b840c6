// SPDX-License-Identifier: BSD-2-Clause
//
// A bad neighbour, to show that it hurts only itself. Option mode=:
//   cli-spin  a loop with interrupts off           cpuid   exits that the kernel handles
//   out       exits that the VMM handles           mmio    exits that the VMM decodes
//   flood     numbered lines without end, or count=N of them and then power-off
//   triple    a triple fault                       hlt     HLT with interrupts off
//   reset     a reset by port 0xCF9
// Prints "hog MODE" first, so that others know when to look.

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/options.h"
#include "guests/lib/power.h"
#include "guests/lib/uart.h"

#define RESET_CONTROL 0xCF9

static void hog_cli_spin(void)
{
    for (;;)
        __asm__ volatile("" ::: "memory");
}

static void hog_cpuid(void)
{
    for (;;)
        cpuid(1, 0);
}

static void hog_out(void)
{
    for (;;)
        outb(UART_SCRATCH, 0x5A);
}

static void hog_mmio(void)
{
    for (;;)
        mmio_read32(IOAPIC_SELECT);
}

static void hog_flood(void)
{
    uint64_t count = option_number("count", 0, 0, UINT64_MAX);
    for (uint64_t line = 1; count == 0 || line <= count; line++)
        printf("flood %llu of a line that is long enough to fill a buffer soon\n",
               (unsigned long long)line);
}

// An IDT without entries: #UD finds no gate, #GP of that finds none, nor does #DF.
static void hog_triple(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) empty = {0, 0};
    __asm__ volatile("lidt %0; ud2" : : "m"(empty) : "memory");
}

static void hog_hlt(void)
{
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
}

static void hog_reset(void)
{
    outb(RESET_CONTROL, 0x02);
    outb(RESET_CONTROL, 0x06);
    hog_hlt();
}

static const struct {
    const char *name;
    void (*run)(void);
} modes[] = {
    {"cli-spin", hog_cli_spin}, {"cpuid", hog_cpuid},   {"out", hog_out}, {"mmio", hog_mmio},
    {"flood", hog_flood},       {"triple", hog_triple}, {"hlt", hog_hlt},
    {"reset", hog_reset},
};

int main(void)
{
    const char *mode = option("mode");
    for (unsigned int i = 0; mode != NULL && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(mode, modes[i].name) != 0)
            continue;
        printf("hog %s\n", mode);
        modes[i].run();
        return 0;
    }
    guest_die("option mode=: want cli-spin, cpuid, out, mmio, flood, triple, hlt or reset");
}
