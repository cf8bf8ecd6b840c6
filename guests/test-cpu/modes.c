// SPDX-License-Identifier: BSD-2-Clause
//
// Address translation as the guest changes it (INVLPG, CR3, PCID), and the modes below 64-bit:
// PAE, 4 MB pages, real mode.

#include "guests/test-cpu/modes.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/test-cpu/groups.h"

#define WINDOW_PAGE 5
#define CR4_PCIDE   (1ul << 17)
#define PDE_4MB     0x83u // present, writable, large
#define PDE_DEVICE  0x18u // uncached

struct mode_result mode_result;
uint32_t mode_word;
uint64_t mode_pae_pdpt[4] __attribute__((aligned(32)));
uint32_t mode_pse_directory[1024] __attribute__((aligned(4096)));

extern uint64_t boot_pml4[512];

static uint8_t page_a[4096] __attribute__((aligned(4096))) = {0xAA};
static uint8_t page_b[4096] __attribute__((aligned(4096))) = {0xBB};

static uint8_t read_byte(uintptr_t address)
{
    return *(volatile uint8_t *)address;
}

// A second tree of tables that differs from the first in the window only.
static uint64_t other_tables(void)
{
    static uint64_t pml4[512] __attribute__((aligned(4096)));
    static uint64_t pdpt[512] __attribute__((aligned(4096)));
    static uint64_t pd[512] __attribute__((aligned(4096)));
    static uint64_t pt[512] __attribute__((aligned(4096)));
    memcpy(pml4, boot_pml4, sizeof(pml4));
    pml4[1] = (uintptr_t)pdpt | PTE_P | PTE_W;
    pdpt[0] = (uintptr_t)pd | PTE_P | PTE_W;
    pd[0] = (uintptr_t)pt | PTE_P | PTE_W;
    pt[WINDOW_PAGE] = window_entry(page_b, PTE_W);
    return (uintptr_t)pml4;
}

static void test_translation(void)
{
    uintptr_t address = window_map(WINDOW_PAGE, window_entry(page_a, PTE_W));
    uint8_t first = read_byte(address);
    window_map(WINDOW_PAGE, window_entry(page_b, PTE_W));
    uint8_t second = read_byte(address);
    check(first == 0xAA && second == 0xBB, "paging.invlpg", "%x, then %x", first, second);

    window_map(WINDOW_PAGE, window_entry(page_a, PTE_W));
    uint64_t cr3 = read_cr3(), other = other_tables();
    bool ok = true;
    for (unsigned int i = 0; i < 100; i++) {
        write_cr3(other);
        ok = ok && read_byte(address) == 0xBB && read_cr3() == other;
        cpuid(1, 0);
        write_cr3(cr3);
        outb(PORT_NOBODY, 0);
        ok = ok && read_byte(address) == 0xAA && read_cr3() == cr3;
    }
    check(ok, "paging.cr3", "a page of the other tables was seen");

    if (!(cpuid(1, 0).ecx & 1u << 17)) {
        check_skip("paging.pcid", "not in CPUID");
    } else {
        uint64_t cr4 = read_cr4();
        write_cr4(cr4 | CR4_PCIDE);
        write_cr3(other | 1);
        uint8_t there = read_byte(address);
        write_cr3(cr3);
        uint8_t back = read_byte(address);
        write_cr4(cr4);
        check(there == 0xBB && back == 0xAA, "paging.pcid", "%x, back %x", there, back);
    }
    window_map(WINDOW_PAGE, 0);
}

static void check_paged(const char *name, const char *alias_name)
{
    check(mode_result.cpuid == cpuid(0, 0).eax &&
              mode_result.mmio == ioapic_read(IOAPIC_REG_VERSION),
          name, "CPUID gave %x, the I/O APIC's version %x", (unsigned int)mode_result.cpuid,
          (unsigned int)mode_result.mmio);
    check(mode_result.alias == mode_word, alias_name, "%x, expected %x",
          (unsigned int)mode_result.alias, (unsigned int)mode_word);
}

static void test_paged_modes(void)
{
    // The page directories of 64-bit mode serve PAE as well.
    const uint64_t *pdpt = (const uint64_t *)(boot_pml4[0] & ~0xFFFul);
    for (unsigned int i = 0; i < 4; i++)
        mode_pae_pdpt[i] = (pdpt[i] & ~0xFFFul) | PTE_P;
    mode_word = 0x50414550;
    mode_excursion(mode_pae);
    check_paged("mode.pae", "mode.pae-pdpte-reload");

    memset(&mode_result, 0, sizeof(mode_result));
    for (unsigned int i = 0; i < 1024; i++)
        mode_pse_directory[i] = (uint32_t)i << 22 | PDE_4MB | (i >= 768 ? PDE_DEVICE : 0);
    mode_word = 0x50534550;
    mode_excursion(mode_pse);
    check_paged("mode.pse", "mode.pse-invlpg");
    if (cpu_on_bulkhead())
        check(mode_result.port == 0xFFFFFFFF, "mode.pse-in", "%x", (unsigned int)mode_result.port);
}

static void test_real_mode(void)
{
    // Low memory is no object of C: the compiler must not reason about it.
    volatile uint32_t *result = (volatile uint32_t *)(uintptr_t)REAL_RESULT;
    volatile uint8_t *code = (volatile uint8_t *)(uintptr_t)REAL_BASE;
    for (size_t i = 0; i < (size_t)(real_end - real_start); i++)
        code[i] = real_start[i];
    for (unsigned int i = 0; i < REAL_WORDS; i++)
        result[i] = 0;
    mode_excursion(mode_real);
    check(result[REAL_INTERRUPT] == REAL_MAGIC, "real.int", "%x",
          (unsigned int)result[REAL_INTERRUPT]);
    check(result[REAL_CPUID] == cpuid(0, 0).eax, "real.cpuid", "%x",
          (unsigned int)result[REAL_CPUID]);
    check((result[REAL_CR0] & (CR0_PE | CR0_PG)) == 0, "real.cr0", "%x",
          (unsigned int)result[REAL_CR0]);
    if (!cpu_on_bulkhead())
        return;
    check(result[REAL_PORT] == 0xFFFFFFFF, "real.in", "%x", (unsigned int)result[REAL_PORT]);
    check(result[REAL_TEXT_RAM] == TEXT_MAGIC, "real.text-ram", "%x",
          (unsigned int)result[REAL_TEXT_RAM]);
}

void test_modes(void)
{
    test_translation();
    test_paged_modes();
    test_real_mode();
}
