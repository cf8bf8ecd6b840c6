// SPDX-License-Identifier: BSD-2-Clause
//
// Guest-physical memory: what is the VM's own is fresh, and what it does not have reads as all
// ones, takes writes without effect, and cannot be executed.

#include <stdio.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/options.h"
#include "guests/lib/start.h"
#include "guests/lib/window.h"
#include "guests/test-isolation/groups.h"
#include "guests/test-isolation/probe.h"

#define SAMPLE      16    // one page of so many below 4 GB, if sample= says no other number
#define SAMPLE_MAX  4096
#define EDGE        4     // and so many pages at both ends of each hole
#define READ_BACK   8     // one write of so many is followed by a read
#define GB          (1ul << 30)
#define STEP_HIGH   (2ul << 20) // between two pages above 4 GB, with the option `all`
#define WINDOW_PAGE 6
#define MAXPHYADDR  0x80000008u
#define WRITTEN     0x1122334455667788ul

struct sweep {
    struct tally read, write, execute;
    uint64_t pages;
};

static void sweep_check(const struct sweep *sweep, const char *const names[3])
{
    tally_check(&sweep->read, names[0]);
    tally_check(&sweep->write, names[1]);
    tally_check(&sweep->execute, names[2]);
}

// One page where nothing is, at the linear address `at`.
static void sweep_page(struct sweep *sweep, uint64_t gpa, uintptr_t at)
{
    uint64_t value, offset = random_of(gpa) & (PAGE_SIZE - 8);
    int vector = probe_read(at + offset, &value);
    tally_add(&sweep->read, vector == TRAP_NONE && value == ~0ul, "%llx reads %llx, vector %d",
              (unsigned long long)gpa + offset, (unsigned long long)value, vector);
    vector = probe_write(at + offset, WRITTEN);
    if (sweep->pages % READ_BACK == 0)
        probe_read(at + offset, &value);
    tally_add(&sweep->write, vector == TRAP_NONE && value == ~0ul,
              "%llx: vector %d, then reads %llx", (unsigned long long)gpa + offset, vector,
              (unsigned long long)value);
    vector = probe_execute(at + offset);
    tally_add(&sweep->execute, vector == VEC_UD && trap_caught.rip == at + offset,
              "%llx: vector %d, RIP %llx", (unsigned long long)gpa + offset, vector,
              (unsigned long long)trap_caught.rip);
    sweep->pages++;
}

// Not by a pointer: the first word is at address 0, where C has nothing.
static uint64_t ram_read(uintptr_t at)
{
    uint64_t value;
    __asm__ volatile("mov (%1), %0" : "=r"(value) : "r"(at) : "memory");
    return value;
}

// Fresh memory holds nothing of who had it before. (Most of it is zeros; what the loader and this
// guest put there is not a sentry's.)
void test_ram(void)
{
    const struct { uintptr_t start, end; } ram[] = {
        {0, 0xA0000}, {0xB8000, 0xC0000}, {0xE0000, guest_ram_end()}};
    for (unsigned int i = 0; i < sizeof(ram) / sizeof(ram[0]); i++) {
        for (uintptr_t at = ram[i].start; at < ram[i].end; at += sizeof(uint64_t))
            look(ram_read(at));
    }
    look_check("ram.fresh");
}

static void sweep_hole(struct sweep *sweep, struct hole hole)
{
    uint64_t step = PAGE_SIZE;
    if (!option_flag("all"))
        step *= option_number("sample", SAMPLE, 1, SAMPLE_MAX);
    for (uint64_t i = 0; i < EDGE * PAGE_SIZE; i += PAGE_SIZE) {
        sweep_page(sweep, hole.start + i, hole.start + i);
        sweep_page(sweep, hole.end - PAGE_SIZE - i, hole.end - PAGE_SIZE - i);
    }
    for (uint64_t block = hole.start; block < hole.end; block += step) {
        uint64_t gpa = block + (random_of(block) % step & ~(PAGE_SIZE - 1));
        if (gpa < hole.end)
            sweep_page(sweep, gpa, gpa);
    }
}

// What the VMM does not emulate there is this guest's own trouble.
static void check_not_emulated(void)
{
    struct tally tally = {0};
    int vector;

    trap_expect();
    __asm__ volatile(TRY("fldenv (%0)") : : "r"(NOWHERE) : "memory");
    vector = trap_caught.vector;
    tally_add(&tally, vector == VEC_UD, "FLDENV: vector %d", vector);
    trap_expect();
    __asm__ volatile(TRY("fxsave (%0)") : : "r"(NOWHERE) : "memory");
    vector = trap_caught.vector;
    tally_add(&tally, vector == VEC_UD, "FXSAVE: vector %d", vector);
    trap_expect();
    __asm__ volatile(TRY("addps (%0), %%xmm0") : : "r"(NOWHERE) : "memory", "xmm0");
    vector = trap_caught.vector;
    tally_add(&tally, vector == VEC_UD, "ADDPS: vector %d", vector);
    tally_check(&tally, "low.not-emulated");
}

void test_low_holes(void)
{
    static struct sweep sweep;
    struct hole holes[HOLES];
    board_holes(holes);
    for (unsigned int i = 0; i < HOLES; i++)
        sweep_hole(&sweep, holes[i]);
    printf("low: %llu pages\n", (unsigned long long)sweep.pages);
    sweep_check(&sweep, (const char *const[]){"low.read", "low.write", "low.execute"});
    check_not_emulated();
}

static void sweep_high(struct sweep *sweep, uint64_t gpa)
{
    sweep_page(sweep, gpa, window_map(WINDOW_PAGE, gpa | PTE_P | PTE_W));
}

void test_high_holes(void)
{
    static struct sweep sweep;
    bool all = option_flag("all");
    uint64_t end = 1ul << (cpuid(MAXPHYADDR, 0).eax & 0xFF);
    for (uint64_t gpa = 4 * GB; gpa < end; gpa += GB) {
        sweep_high(&sweep, gpa);
        sweep_high(&sweep, gpa + GB - PAGE_SIZE);
        sweep_high(&sweep, gpa + (random_of(gpa) & (GB - PAGE_SIZE)));
        for (uint64_t at = gpa + STEP_HIGH; all && at < gpa + GB; at += STEP_HIGH)
            sweep_high(&sweep, at + (random_of(at) & (STEP_HIGH - PAGE_SIZE)));
    }
    printf("high: %llu pages up to %llx\n", (unsigned long long)sweep.pages,
           (unsigned long long)end);
    sweep_check(&sweep, (const char *const[]){"high.read", "high.write", "high.execute"});

    // One address bit more than there are.
    uint64_t value;
    int vector = probe_read(window_map(WINDOW_PAGE, end | PTE_P | PTE_W), &value);
    uint64_t want = cpu_by_tcg() ? 8 : 9; // QEMU leaves P out
    check(vector == VEC_PF && trap_caught.error == want, "high.beyond", "vector %d, error %llx",
          vector, (unsigned long long)trap_caught.error);
    window_map(WINDOW_PAGE, 0);
}
