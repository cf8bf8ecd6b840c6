// SPDX-License-Identifier: BSD-2-Clause
//
// The processor states that boot protocols ask for, as tables, and what they refer to in memory:
// a descriptor table and the identity map. Runs on the VMM's only thread.
#include "vmm/load/load.h"

#include <string.h>

// Selectors as the Linux boot protocol names them: __BOOT_CS and __BOOT_DS.
enum { BOOT_CS = 0x10, BOOT_DS = 0x18, BOOT_TSS = 0x20 };
enum { GDT_COUNT = 6, GDT_BYTES = GDT_COUNT * 8, TSS_BYTES = 0x68 };
#define BOOT_TSS_BASE (BOOT_GDT + 0x100)

#define CODE32 { .base = 0, .limit = 0xFFFFFFFF, .selector = BOOT_CS, .access = 0xC09B }
#define CODE64 { .base = 0, .limit = 0xFFFFFFFF, .selector = BOOT_CS, .access = 0xA09B }
#define DATA   { .base = 0, .limit = 0xFFFFFFFF, .selector = BOOT_DS, .access = 0xC093 }
#define NO_LDT { .base = 0, .limit = 0, .selector = 0, .access = 0x0182 }
#define TASK   { .base = BOOT_TSS_BASE, .limit = TSS_BYTES - 1, .selector = BOOT_TSS, \
                 .access = 0x008B }

#define CR0_PE   0x1ull
#define CR0_ET   0x10ull
#define CR0_PG   0x80000000ull
#define CR4_PAE  0x20ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull

// Protected mode, flat segments, no paging, interrupts off: multiboot's "Machine state" and the
// 32-bit boot protocol of Linux.
static const struct vcpu_sregs flat32_state = {
    .rflags = 2, .rsp = BOOT_STACK_END,
    .cr0 = CR0_PE | CR0_ET, .dr7 = 0x400,
    .cs = CODE32, .ss = DATA, .ds = DATA, .es = DATA, .fs = DATA, .gs = DATA,
    .ldtr = NO_LDT, .tr = TASK,
    .gdtr_base = BOOT_GDT, .gdtr_limit = GDT_BYTES - 1,
    .idtr_base = 0, .idtr_limit = 0,
};

// Long mode, the first 4 GB mapped one to one, interrupts off: "64-bit Boot Protocol" of Linux.
static const struct vcpu_sregs long64_state = {
    .rflags = 2, .rsp = BOOT_STACK_END,
    .cr0 = CR0_PE | CR0_ET | CR0_PG, .cr3 = BOOT_PAGES, .cr4 = CR4_PAE,
    .efer = EFER_LME | EFER_LMA, .dr7 = 0x400,
    .cs = CODE64, .ss = DATA, .ds = DATA, .es = DATA, .fs = DATA, .gs = DATA,
    .ldtr = NO_LDT, .tr = TASK,
    .gdtr_base = BOOT_GDT, .gdtr_limit = GDT_BYTES - 1,
    .idtr_base = 0, .idtr_limit = 0,
};

static uint64_t descriptor(const struct vm_segment *s)
{
    uint64_t limit = s->access & 0x8000 ? s->limit >> 12 : s->limit;

    return (limit & 0xFFFF) | (s->base & 0xFFFFFF) << 16 | (uint64_t)(s->access & 0xFF) << 40 |
           (limit >> 16 & 0xF) << 48 | (uint64_t)(s->access >> 12 & 0xF) << 52 |
           (s->base >> 24 & 0xFF) << 56;
}

static bool write_gdt(const struct load *load, const struct vcpu_sregs *s)
{
    uint64_t gdt[GDT_COUNT] = {
        [BOOT_CS / 8] = descriptor(&s->cs),
        [BOOT_DS / 8] = descriptor(&s->ds),
        // Two entries in long mode; the upper half of the base is 0.
        [BOOT_TSS / 8] = descriptor(&s->tr),
    };

    return ram_zero(load->ram, BOOT_TSS_BASE, TSS_BYTES) &&
           ram_write(load->ram, BOOT_GDT, gdt, sizeof(gdt));
}

// One table at the top, one below it, and four with 2 MB pages.
static bool write_identity_map(const struct load *load)
{
    enum { PRESENT = 3, LARGE = 0x83 };
    uint64_t *table = ram_at(load->ram, BOOT_PAGES, 6 * PAGE_SIZE);

    if (table == NULL)
        return false;
    memset(table, 0, 6 * PAGE_SIZE);
    table[0] = (BOOT_PAGES + PAGE_SIZE) | PRESENT;
    for (unsigned i = 0; i < 4; i++)
        table[512 + i] = (BOOT_PAGES + (2ull + i) * PAGE_SIZE) | PRESENT;
    for (uint64_t i = 0; i < 4ul * 512; i++)
        table[1024 + i] = i * PAGE_2M | LARGE;
    return true;
}

bool load_state_flat32(struct load *load)
{
    memset(&load->state, 0, sizeof(load->state));
    load->state.sregs = flat32_state;
    return write_gdt(load, &load->state.sregs);
}

bool load_state_long64(struct load *load)
{
    memset(&load->state, 0, sizeof(load->state));
    load->state.sregs = long64_state;
    return write_gdt(load, &load->state.sregs) && write_identity_map(load);
}
