// SPDX-License-Identifier: BSD-2-Clause
//
// Page tables that lie where no memory is, and the page of the local APIC in all its modes and at
// other addresses. All ones are a present entry with reserved bits set, so such a table gives a
// page fault that says so.

#include <stdint.h>
#include <string.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/start.h"
#include "guests/lib/uart.h"
#include "guests/lib/window.h"
#include "guests/test-isolation/groups.h"
#include "guests/test-isolation/probe.h"

#define SLOT       3 // of the PML4
#define BASE       ((uintptr_t)SLOT << 39)
#define MAXPHYADDR 0x80000008u
#define PF_P       1u
#define PF_W       2u
#define PF_RSVD    8u

extern uint64_t boot_pml4[512];

static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[512] __attribute__((aligned(4096)));

// Makes the table of level 1 to 3 (page table, directory, pointer table) lie at `gpa`.
static void set_table(unsigned int level, uint64_t gpa)
{
    const uint64_t rights = PTE_P | PTE_W;
    boot_pml4[SLOT] = (level == 3 ? gpa : (uintptr_t)pdpt) | rights;
    pdpt[0] = (level == 2 ? gpa : (uintptr_t)pd) | rights;
    pd[0] = gpa | rights;
    write_cr3(read_cr3());
}

static bool faulted(int vector)
{
    return vector == VEC_PF && (trap_caught.error & (PF_P | PF_RSVD)) == (PF_P | PF_RSVD) &&
           trap_caught.cr2 - BASE < PAGE_SIZE;
}

static void try_table(struct tally *t, unsigned int level, uint64_t gpa)
{
    uint64_t value;
    set_table(level, gpa);
    int vector = probe_read(BASE + 8, &value);
    tally_add(t, faulted(vector), "level %u at %llx: a read gives vector %d, error %llx", level,
              (unsigned long long)gpa, vector, (unsigned long long)trap_caught.error);
    vector = probe_write(BASE + 8, 0);
    tally_add(t, faulted(vector), "level %u at %llx: a write gives vector %d, error %llx", level,
              (unsigned long long)gpa, vector, (unsigned long long)trap_caught.error);
    vector = probe_execute(BASE + 8);
    tally_add(t, faulted(vector), "level %u at %llx: a jump gives vector %d, error %llx", level,
              (unsigned long long)gpa, vector, (unsigned long long)trap_caught.error);
    uintptr_t to = BASE + 8;
    trap_expect();
    __asm__ volatile(TRY("insb") : "+D"(to) : "d"(UART_SCRATCH) : "memory");
    tally_add(t, faulted(trap_caught.vector) && (trap_caught.error & PF_W),
              "level %u at %llx: INSB gives vector %d, error %llx", level,
              (unsigned long long)gpa, trap_caught.vector,
              (unsigned long long)trap_caught.error);
}

// Where the CPU virtualises the APIC's page, a walk through it is undefined; what comes of it is
// nobody else's.
static void try_lapic_table(struct tally *t, unsigned int level)
{
    uint64_t value;
    set_table(level, LAPIC_PAGE);
    int vector = probe_read(BASE + 8, &value);
    tally_add(t, vector == TRAP_NONE || vector == VEC_PF, "level %u: a read gives vector %d",
              level, vector);
    vector = probe_execute(BASE + 8);
    tally_add(t, vector == VEC_UD || vector == VEC_PF, "level %u: a jump gives vector %d", level,
              vector);
}

void test_tables(void)
{
    static struct tally nowhere, devices, lapic;
    uint64_t top = 1ul << (cpuid(MAXPHYADDR, 0).eax & 0xFF);
    const uint64_t holes[] = {0xA0000, 0xC0000, guest_ram_end(), 0x40000000, NOWHERE,
                              0xFFFFF000, 1ul << 32, top / 2, top - PAGE_SIZE};
    for (unsigned int level = 1; level <= 3; level++) {
        for (unsigned int i = 0; i < sizeof(holes) / sizeof(holes[0]); i++)
            try_table(&nowhere, level, holes[i]);
        try_table(&devices, level, IOAPIC_PAGE);
        try_table(&devices, level, HPET_PAGE);
        try_lapic_table(&lapic, level);
    }
    boot_pml4[SLOT] = 0;
    write_cr3(read_cr3());
    tally_check(&nowhere, "tables.nowhere");
    tally_check(&devices, "tables.device");
    tally_check(&lapic, "tables.lapic");
}

// ---- the local APIC's page ----

static void look_at_page(void)
{
    for (uintptr_t at = LAPIC_PAGE; at < LAPIC_PAGE + PAGE_SIZE; at += 4)
        look((uint64_t)mmio_read32(at));
}

// Elsewhere the APIC cannot go; the attempt leaves it where it is.
static void test_move(void)
{
    static struct tally t;
    uint64_t base = rdmsr(MSR_APIC_BASE);
    uint64_t top = 1ul << (cpuid(MAXPHYADDR, 0).eax & 0xFF);
    const uint64_t places[] = {0, 0x100000, guest_ram_end(), NOWHERE, IOAPIC_PAGE, 1ul << 32,
                               top / 2, top - PAGE_SIZE, top, 1ul << 63};
    for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        int vector = wrmsr_safe(MSR_APIC_BASE, places[i] | (base & (PAGE_SIZE - 1)));
        tally_add(&t, vector == VEC_GP && rdmsr(MSR_APIC_BASE) == base,
                  "to %llx: vector %d, the base is %llx", (unsigned long long)places[i], vector,
                  (unsigned long long)rdmsr(MSR_APIC_BASE));
    }
    tally_check(&t, "lapic.move");
}

void test_apic_page(void)
{
    cpu_irq_disable();
    test_move();
    apic_enable(APIC_MODE_XAPIC);
    look_at_page();
    int vector = probe_execute(LAPIC_PAGE + 0x20);
    check(vector == VEC_UD && trap_caught.rip == LAPIC_PAGE + 0x20, "lapic.execute",
          "vector %d, RIP %llx", vector, (unsigned long long)trap_caught.rip);
    vector = probe_execute(IOAPIC_PAGE);
    check(vector == VEC_UD && trap_caught.rip == IOAPIC_PAGE, "ioapic.execute",
          "vector %d, RIP %llx", vector, (unsigned long long)trap_caught.rip);
    apic_enable(APIC_MODE_DISABLED);
    look_at_page();
    apic_enable(APIC_MODE_X2APIC);
    look_at_page();
    vector = probe_execute(LAPIC_PAGE + 0x20);
    check(vector != TRAP_NONE, "lapic.execute-x2apic", "no fault");
    apic_enable(APIC_MODE_XAPIC);
    look_check("lapic.foreign");
}
