// SPDX-License-Identifier: BSD-2-Clause
//
// MMIO instructions in awkward places: code that changes under a decoder's cache, an instruction
// that crosses into a page which is no neighbour in physical memory, and one register access by two
// linear addresses.

#include <stdint.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/window.h"
#include "guests/test-mmio/groups.h"

#define CODE_PAGE   2
#define DEVICE_PAGE 4
#define PCD_PWT     0x18

// Calls code with RDI = address; returns RAX and, by pointer, RDX.
static uint32_t call(const void *code, uintptr_t address, uint32_t *edx)
{
    uint64_t a = 0, d = 0;
    __asm__ volatile("call *%2" : "+a"(a), "+d"(d) : "r"(code), "D"(address) : "memory");
    *edx = (uint32_t)d;
    return (uint32_t)a;
}

static const uint8_t load_eax[] = {0x8B, 0x07, 0xC3};                // mov (%rdi),%eax; ret
static const uint8_t load_edx[] = {0x8B, 0x17, 0xC3};                // mov (%rdi),%edx; ret
static const uint8_t load_far[] = {0x8B, 0x87, 0x10, 0, 0, 0, 0xC3}; // mov 16(%rdi),%eax; ret

void test_decode(void)
{
    static uint8_t pages[3][4096] __attribute__((aligned(4096)));
    uint8_t *code = (uint8_t *)window_map(CODE_PAGE, window_entry(pages[0], PTE_W));
    window_map(CODE_PAGE + 1, window_entry(pages[2], PTE_W));
    uint32_t version = ioapic_read(IOAPIC_REG_VERSION), edx, eax;

    memcpy(code, load_eax, sizeof(load_eax));
    eax = call(code, IOAPIC_WINDOW, &edx);
    check(eax == version && edx == 0, "decode.first", "EAX %x, EDX %x", (unsigned int)eax,
          (unsigned int)edx);
    memcpy(code, load_edx, sizeof(load_edx));
    eax = call(code, IOAPIC_WINDOW, &edx);
    check(eax == 0 && edx == version, "decode.changed-code", "EAX %x, EDX %x", (unsigned int)eax,
          (unsigned int)edx);

    // The same linear address, other page, other instruction.
    memcpy(pages[1], load_eax, sizeof(load_eax));
    window_map(CODE_PAGE, window_entry(pages[1], PTE_W));
    eax = call(code, IOAPIC_WINDOW, &edx);
    check(eax == version && edx == 0, "decode.changed-page", "EAX %x, EDX %x", (unsigned int)eax,
          (unsigned int)edx);

    for (unsigned int before = 1; before < 6; before++) {
        uint8_t *at = code + 4096 - before;
        memcpy(at, load_far, sizeof(load_far));
        eax = call(at, IOAPIC_SELECT, &edx);
        if (eax != version)
            break;
    }
    check(eax == version, "decode.page-border", "EAX %x", (unsigned int)eax);

    uintptr_t device = window_map(DEVICE_PAGE, IOAPIC_BASE | PTE_P | PTE_W | PCD_PWT);
    check(mmio_read32(device + 0x10) == version, "decode.second-mapping", "%x",
          (unsigned int)mmio_read32(device + 0x10));
    window_map(DEVICE_PAGE, 0);
    window_map(CODE_PAGE, 0);
    window_map(CODE_PAGE + 1, 0);
}
