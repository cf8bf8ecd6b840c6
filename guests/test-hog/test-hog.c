// SPDX-License-Identifier: BSD-2-Clause
//
// A bad neighbour, to show that it hurts only itself. Option mode=:
//   cli-spin  a loop with interrupts off           spin    a loop with interrupts on
//   cpuid     exits that the kernel handles        out     exits that the VMM handles
//   mmio      exits that the VMM decodes           storm   IPIs and timer interrupts to itself
//   flood     numbered lines without end, or count=N of them and then power-off
//   triple    a triple fault                       hlt     HLT with interrupts off
//   reset     a reset by how=cf9, cf9-word, kbc, port92, output-port, init or jump
// With report=N the modes that loop print "count TOTAL" every N rounds, so that what a VM gets done
// can be seen from outside. Prints "hog MODE" first, so that others know when to look.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/apic.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/layout.h"
#include "guests/lib/options.h"
#include "guests/lib/power.h"
#include "guests/lib/timer.h"
#include "guests/lib/trap.h"
#include "guests/lib/uart.h"

#define RESET_CONTROL 0xCF9
#define KBC_DATA      0x60
#define KBC_COMMAND   0x64
#define PORT_92       0x92
#define RESET_VECTOR  0xFFFF0ul
#define STORM_TICKS   500 // from a timer interrupt to the next deadline
#define VEC_STORM     0x50

// The modes that loop do so many rounds at a time.
static void hog_cli_spin(uint64_t rounds)
{
    if (rounds == UINT64_MAX)
        __asm__ volatile("cli; 1: jmp 1b");
    while (rounds-- > 0)
        __asm__ volatile("" ::: "memory");
}

static void hog_spin(uint64_t rounds)
{
    cpu_irq_enable();
    while (rounds-- > 0)
        __asm__ volatile("" ::: "memory");
}

static void hog_cpuid(uint64_t rounds)
{
    while (rounds-- > 0)
        cpuid(1, 0);
}

static void hog_out(uint64_t rounds)
{
    while (rounds-- > 0)
        outb(UART_SCRATCH, 0x5A);
}

static void hog_mmio(uint64_t rounds)
{
    while (rounds-- > 0)
        mmio_read32(IOAPIC_SELECT);
}

static bool storm_endless;

static void storm_timer(struct trap_frame *frame)
{
    (void)frame;
    if (storm_endless)
        timer_arm(rdtsc() + STORM_TICKS);
    apic_eoi();
}

static void storm_ipi(struct trap_frame *frame)
{
    (void)frame;
    apic_eoi();
}

// When rounds are counted, each has its timer interrupt at once; without end, the timer goes on by
// itself, too, and what a round costs depends on where that hits it.
static void hog_storm(uint64_t rounds)
{
    storm_endless = rounds == UINT64_MAX;
    timer_init();
    trap_set_handler(VEC_TIMER, storm_timer);
    trap_set_handler(VEC_STORM, storm_ipi);
    cpu_irq_enable();
    while (rounds-- > 0) {
        timer_arm(rdtsc());
        apic_self_ipi(VEC_STORM);
        apic_send(APIC_ICR_SELF | APIC_ICR_ASSERT | VEC_STORM, 0);
        apic_send(APIC_ICR_ASSERT | VEC_STORM, 1); // there is no such APIC
    }
    cpu_irq_disable();
}

static void hog_flood(uint64_t rounds)
{
    (void)rounds;
    uint64_t count = option_number("count", 0, 0, UINT64_MAX);
    for (uint64_t line = 1; count == 0 || line <= count; line++)
        printf("flood %llu of a line that is long enough to fill a buffer soon\n",
               (unsigned long long)line);
}

// An IDT without entries: #UD finds no gate, #GP of that finds none, nor does #DF.
static void hog_triple(uint64_t rounds)
{
    (void)rounds;
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) empty = {0, 0};
    __asm__ volatile("lidt %0; ud2" : : "m"(empty) : "memory");
}

static void hog_hlt(uint64_t rounds)
{
    (void)rounds;
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
}

static void reset_by(const char *how)
{
    if (strcmp(how, "cf9") == 0) {
        outb(RESET_CONTROL, 0x02);
        outb(RESET_CONTROL, 0x06);
    } else if (strcmp(how, "cf9-word") == 0) {
        outw(RESET_CONTROL, 0x0006);
    } else if (strcmp(how, "kbc") == 0) {
        outb(KBC_COMMAND, 0xFE);
    } else if (strcmp(how, "port92") == 0) {
        outb(PORT_92, inb(PORT_92) | 1);
    } else if (strcmp(how, "output-port") == 0) {
        outb(KBC_COMMAND, 0xD1);
        outb(KBC_DATA, 0xFE);
    } else if (strcmp(how, "init") == 0) {
        apic_enable(apic_has_x2apic() ? APIC_MODE_X2APIC : APIC_MODE_XAPIC);
        apic_send(APIC_ICR_ASSERT | APIC_ICR_INIT, apic_id());
    } else if (strcmp(how, "jump") == 0) {
        __asm__ volatile("jmp *%0" : : "r"(RESET_VECTOR) : "memory"); // it is the same in all modes
    }
}

static void hog_reset(uint64_t rounds)
{
    const char *how = option("how");
    reset_by(how != NULL ? how : "cf9");
    printf("still here\n");
    hog_hlt(rounds);
}

static const struct {
    const char *name;
    void (*run)(uint64_t rounds);
    bool loops; // returns after the rounds
} modes[] = {
    {"cli-spin", hog_cli_spin, true}, {"spin", hog_spin, true},      {"cpuid", hog_cpuid, true},
    {"out", hog_out, true},           {"mmio", hog_mmio, true},      {"storm", hog_storm, true},
    {"flood", hog_flood, false},      {"triple", hog_triple, false}, {"hlt", hog_hlt, false},
    {"reset", hog_reset, false},
};

int main(void)
{
    const char *mode = option("mode");
    uint64_t report = option_number("report", UINT64_MAX, 1, UINT64_MAX - 1);
    for (unsigned int i = 0; mode != NULL && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(mode, modes[i].name) != 0)
            continue;
        printf("hog %s\n", mode);
        modes[i].run(report);
        for (uint64_t total = report; modes[i].loops; total += report) {
            printf("count %llu\n", (unsigned long long)total);
            modes[i].run(report);
        }
        return 0;
    }
    guest_die("option mode=: want cli-spin, spin, cpuid, out, mmio, storm, flood, triple, hlt or "
              "reset");
}
