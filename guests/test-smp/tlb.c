// SPDX-License-Identifier: BSD-2-Clause
//
// TLB shoot-down: the boot processor changes what a page is mapped to and asks the others by IPI to
// drop it from their TLBs. While they do nothing but read there, each must see the new page each
// time. ("Propagation of Paging-Structure Changes to Multiple Processors")

#include <stddef.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/window.h"
#include "guests/test-smp/groups.h"

#define VEC_SHOOT 0x61
#define PAGES     3
#define CR4_PCIDE (1ul << 17)

static uint8_t pages[PAGES][4096] __attribute__((aligned(4096)));
static uintptr_t window;
static void (*drop)(void);
static volatile unsigned int dropped, wanted;
static volatile unsigned int seen[SMP_MAX]; // the round, once its page was seen in it
static volatile unsigned int wrong[SMP_MAX];

static void drop_page(void)
{
    __asm__ volatile("invlpg (%0)" : : "r"(window) : "memory");
}

static void drop_all(void)
{
    write_cr3(read_cr3());
}

static void drop_global(void)
{
    write_cr4(read_cr4() ^ CR4_PGE);
    write_cr4(read_cr4() ^ CR4_PGE);
}

// Single-context INVPCID of the PCID that is loaded.
static void drop_pcid(void)
{
    struct {
        uint64_t pcid, address;
    } descriptor = {read_cr3() & 0xFFF, 0};
    __asm__ volatile("invpcid %0, %1" : : "m"(descriptor), "r"(1ul) : "memory");
}

static void on_shoot(struct trap_frame *frame)
{
    (void)frame;
    drop();
    __atomic_fetch_add(&dropped, 1, __ATOMIC_SEQ_CST);
    apic_eoi();
}

// A read behind the boot processor's word that all have dropped the page finds the new one.
static void read_on(void *argument)
{
    (void)argument;
    unsigned int id = smp_id(), round = 0;
    cpu_irq_enable();
    while (round < rounds) {
        unsigned int now = wanted;
        __asm__ volatile("lfence" ::: "memory");
        unsigned int number = *(const volatile uint8_t *)window;
        if (now != round) {
            wrong[id] += number != now % PAGES;
            round = now;
            seen[id] = round;
        }
        cpu_pause();
    }
}

static bool shoot(unsigned int round)
{
    dropped = 0;
    window_map(0, window_entry(pages[round % PAGES], PTE_W));
    apic_send(APIC_ICR_ASSERT | APIC_ICR_ALL_BUT_SELF | VEC_SHOOT, 0);
    if (!wait_word(&dropped, cpus - 1))
        return false;
    wanted = round;
    for (unsigned int id = 1; id < cpus; id++) {
        if (!wait_word(&seen[id], round))
            return false;
    }
    return true;
}

static void test_shoot(const char *name, void (*how)(void))
{
    drop = how;
    wanted = 0;
    for (unsigned int id = 0; id < cpus; id++)
        seen[id] = wrong[id] = 0;
    window = window_map(0, window_entry(pages[0], PTE_W));
    crew_post(read_on, NULL);
    unsigned int round = 0;
    bool ok = true;
    while (ok && round < rounds)
        ok = shoot(++round);
    wanted = rounds; // and they end
    bool back = crew_wait();
    uint32_t stale = 0;
    for (unsigned int id = 1; id < cpus; id++)
        stale |= wrong[id] != 0 ? 1u << id : 0;
    check(ok && back && stale == 0, name, "up to round %u, back %d, the old page was seen by %x",
          round, back, (unsigned int)stale);
}

// Each has a PCID of its own.
static void pcid_on(void *argument)
{
    (void)argument;
    write_cr4(read_cr4() | CR4_PCIDE);
    write_cr3(read_cr3() | (smp_id() + 1));
}

static void pcid_off(void *argument)
{
    (void)argument;
    write_cr3(read_cr3() & ~0xFFFul);
    write_cr4(read_cr4() & ~CR4_PCIDE);
}

void test_tlb(void)
{
    for (unsigned int page = 0; page < PAGES; page++)
        memset(pages[page], (int)page, sizeof(pages[page]));
    trap_set_handler(VEC_SHOOT, on_shoot);
    test_shoot("tlb.invlpg", drop_page);
    test_shoot("tlb.cr3", drop_all);
    test_shoot("tlb.cr4-pge", drop_global);
    if (!(cpuid(1, 0).ecx & 1u << 17)) {
        check_skip("tlb.pcid", "not in CPUID");
        return;
    }
    crew_call(pcid_on, NULL);
    test_shoot("tlb.pcid-invlpg", drop_page);
    test_shoot("tlb.pcid-cr3", drop_all);
    if (cpuid(7, 0).ebx & 1u << 10)
        test_shoot("tlb.invpcid", drop_pcid);
    crew_call(pcid_off, NULL);
}
