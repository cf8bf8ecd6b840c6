// SPDX-License-Identifier: BSD-2-Clause
//
// The IDT of a guest and what happens on each vector. Owns the IDT and the table of handlers, which
// are all processors', and the boot processor's TSS and interrupt stacks. There is no lock:
// handlers run with interrupts off, and are set while no processor takes that vector.

#include "guests/lib/trap.h"

#include <stddef.h>
#include <string.h>

#include "guests/lib/cpu.h"
#include "guests/lib/pic.h"
#include "guests/lib/power.h"

#define ENTRY_SIZE     16
#define IST_TRAPS      1    // every ordinary vector
#define IST_FATAL      2    // #DF and NMI: the first stack may be the reason
#define GATE_INTERRUPT 0x8E // present, ring 0, 64-bit interrupt gate
#define GATE_DPL3      0x60
#define TSS_AVAILABLE  0x89
#define MAX_TRIES      10

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct fixup {
    uint64_t fault, next;
};

_Static_assert(sizeof(struct gate) == 16, "IDT gate of 64-bit mode");

extern uint8_t trap_entries[];
extern uint64_t boot_gdt[];
extern const struct fixup extable_start[], extable_end[];

void trap_dispatch(struct trap_frame *frame);

struct trap_caught trap_caught;
uint8_t trap_stack[TRAP_STACK_SIZE] __attribute__((aligned(16)));

static uint8_t fatal_stack[TRAP_STACK_SIZE] __attribute__((aligned(16)));
static struct gate idt[256] __attribute__((aligned(16)));
static struct tss64 boot_tss;
static trap_handler *handlers[256];
static bool against_if; // an interrupt, by vector, came upon code that had them off

static void gate_set(uint8_t vector, const void *code, uint8_t ist)
{
    uintptr_t address = (uintptr_t)code;
    idt[vector] = (struct gate){
        .offset_low = (uint16_t)address,
        .selector = SEL_CODE64,
        .ist = ist,
        .type = GATE_INTERRUPT,
        .offset_middle = (uint16_t)(address >> 16),
        .offset_high = (uint32_t)(address >> 32),
    };
}

static void gate_set_default(uint8_t vector)
{
    bool fatal = vector == VEC_DF || vector == VEC_NMI;
    gate_set(vector, trap_entries + (size_t)vector * ENTRY_SIZE, fatal ? IST_FATAL : IST_TRAPS);
}

// Spurious interrupts of the APIC and of the two PICs need no EOI (the slave's needs one at the
// master, because only the slave's request had gone).
static void trap_spurious(struct trap_frame *frame)
{
    if (frame->vector == VEC_PIC + 15)
        pic_eoi_master();
}

// Each stack by the address behind it.
static void load_tables(uint64_t *gdt, struct tss64 *tss, uint8_t *traps, uint8_t *fatal)
{
    tss->rsp[0] = (uintptr_t)traps;
    tss->ist[IST_TRAPS - 1] = (uintptr_t)traps;
    tss->ist[IST_FATAL - 1] = (uintptr_t)fatal;
    tss->io_map_base = sizeof(*tss);
    uint64_t base = (uintptr_t)tss;
    gdt[SEL_TSS / 8] = (sizeof(*tss) - 1) | (base & 0xFFFFFF) << 16 |
                       (uint64_t)TSS_AVAILABLE << 40 | (base >> 24 & 0xFF) << 56;
    gdt[SEL_TSS / 8 + 1] = base >> 32;

    struct table_pointer pointer = {sizeof(idt) - 1, (uintptr_t)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer) : "memory");
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
}

void trap_init(void)
{
    for (unsigned int vector = 0; vector < 256; vector++)
        gate_set_default((uint8_t)vector);
    trap_set_handler(VEC_SPURIOUS, trap_spurious);
    trap_set_handler(VEC_PIC + 7, trap_spurious);
    trap_set_handler(VEC_PIC + 15, trap_spurious);
    load_tables(boot_gdt, &boot_tss, trap_stack + sizeof(trap_stack),
                fatal_stack + sizeof(fatal_stack));
}

void trap_init_ap(struct trap_ap *ap)
{
    memcpy(ap->gdt, boot_gdt, sizeof(ap->gdt));
    struct table_pointer pointer = {sizeof(ap->gdt) - 1, (uintptr_t)ap->gdt};
    __asm__ volatile("lgdt %0" : : "m"(pointer) : "memory");
    load_tables(ap->gdt, &ap->tss, ap->traps + sizeof(ap->traps), ap->fatal + sizeof(ap->fatal));
}

void trap_set_handler(uint8_t vector, trap_handler *handler)
{
    handlers[vector] = handler;
    gate_set_default(vector);
}

void trap_set_raw(uint8_t vector, const void *code)
{
    gate_set(vector, code, 0);
}

void trap_allow_user(uint8_t vector)
{
    idt[vector].type |= GATE_DPL3;
}

bool trap_undisturbed(void (*step)(void))
{
    for (unsigned int tries = 0; tries < MAX_TRIES; tries++) {
        against_if = false;
        step();
        if (!against_if)
            return true;
    }
    return false;
}

bool trap_fix_up(struct trap_frame *frame)
{
    for (const struct fixup *entry = extable_start; entry < extable_end; entry++) {
        if (entry->fault != frame->rip)
            continue;
        trap_caught.vector = (int)frame->vector;
        trap_caught.error = frame->error;
        trap_caught.rip = frame->rip;
        trap_caught.cr2 = frame->vector == VEC_PF ? read_cr2() : 0;
        frame->rip = entry->next;
        return true;
    }
    return false;
}

// Called by trap.S with interrupts off.
void trap_dispatch(struct trap_frame *frame)
{
    trap_handler *handler = handlers[frame->vector & 0xFF];
    if (frame->vector >= 32 && !(frame->rflags & RFLAGS_IF))
        against_if = true;
    if (handler != NULL) {
        handler(frame);
        return;
    }
    if (frame->vector < 32 && trap_fix_up(frame))
        return;
    guest_die_by_trap(frame, read_cr2());
}

int rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint32_t lo = 0, hi = 0;
    trap_expect();
    __asm__ volatile(TRY("rdmsr") : "+a"(lo), "+d"(hi) : "c"(msr) : "memory");
    bool ok = trap_caught.vector == TRAP_NONE;
    *value = ok ? (uint64_t)hi << 32 | lo : 0;
    return trap_caught.vector;
}

int wrmsr_safe(uint32_t msr, uint64_t value)
{
    trap_expect();
    __asm__ volatile(TRY("wrmsr")
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return trap_caught.vector;
}
