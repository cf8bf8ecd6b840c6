// SPDX-License-Identifier: BSD-2-Clause
//
// The second half of a task switch: the new task's registers from its TSS, its page tables, and
// what comes before its first instruction, an error code on its stack and the trap of the T flag.
#include "vmm/cpu/task.h"

#define RFLAGS_FIXED   2u
#define RFLAGS_LOADED  0x3F7FD5u
#define DR6_BT         (1u << 15)
#define DR7_LOCAL      0x155u // L0 to L3, LE
#define EVENT_ERROR    (1u << 11)
// Of a page-directory-pointer table's entry, with PAE paging.
#define PDPTE_P        1u
#define PDPTE_DEFINED  0xE19u // beside the address: P, PWT, PCD, and what is left to software

enum { VM86_ACCESS = 0xF3, VM86_LIMIT = 0xFFFF };
// CS cannot be none: conforming code fits to each level and selector.
enum { CODE_UNLOADED = ACCESS_PAGES | ACCESS_BIG | ACCESS_PRESENT | ACCESS_USER | ACCESS_CODE |
                       ACCESS_CONFORMING | ACCESS_WRITE | ACCESS_ACCESSED };

static uint32_t get(const uint8_t *image, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    memcpy(&value, image + offset, size);
    return value;
}

// The upper halves that a TSS of 16 bits has nothing for are ones in general registers, as on CPUs
// that were tried; the manual does not say.
static uint32_t general(const struct tss_layout *l, const uint8_t *image, unsigned index)
{
    uint32_t value = get(image, l->registers + index * l->width, l->width);

    return l->width == 2 ? value | 0xFFFF0000 : value;
}

// Segments of virtual-8086 mode follow from their selectors.
static void load_vm86(const struct task *t)
{
    for (unsigned i = 0; i < TSS_SELECTORS; i++) {
        struct vm_segment *segment = task_segment(t, i);
        *segment = (struct vm_segment){ (uint64_t)segment->selector << 4, VM86_LIMIT,
                                        segment->selector, VM86_ACCESS };
    }
}

// Selectors too. Until they are loaded their segments are none; a fault finds the new task with
// privilege level 3 until there is a stack, so that its handler gets one of the new TSS.
static void load_registers(struct task *t, const uint8_t *image)
{
    const struct tss_layout *l = t->to;
    struct vcpu_sregs *s = t->s;

    s->tr = t->tss;
    s->tr.access |= TYPE_BUSY;
    s->cr0 |= TASK_CR0_TS;
    s->dr7 &= ~(uint64_t)DR7_LOCAL;
    s->rip = get(image, l->registers, l->width);
    s->rflags = get(image, (unsigned)l->registers + l->width, l->width);
    s->rflags = (s->rflags & RFLAGS_LOADED) | RFLAGS_FIXED;
    if (t->source == VM_TASK_CALL || t->source == VM_TASK_GATE)
        s->rflags |= TASK_RFLAGS_NT;
    for (unsigned gpr = 0; gpr < 8; gpr++)
        *(gpr == GPR_RSP ? &s->rsp : &t->vcpu->page->gpr[gpr]) = general(l, image, gpr + 2);
    for (unsigned i = 0; i < TSS_SELECTORS; i++) {
        unsigned at = (unsigned)l->selectors + i * l->width;
        *task_segment(t, i) = (struct vm_segment){
            .selector = i < l->selector_count ? (uint16_t)get(image, at, 2) : 0,
            .access = ACCESS_UNUSABLE,
        };
    }
    s->ldtr = (struct vm_segment){ .selector = (uint16_t)get(image, l->ldt, 2),
                                   .access = ACCESS_UNUSABLE };
    s->cs.limit = UINT32_MAX;
    s->cs.access = CODE_UNLOADED;
    s->ss.access |= 3 << ACCESS_DPL;
    if (s->rflags & TASK_RFLAGS_VM)
        load_vm86(t);
}

// A CPU with PAE paging loads four entries with CR3 and keeps them.
static bool load_pdptes(struct task *t, uint32_t cr3)
{
    const struct guest_ram *ram = &t->vcpu->vmm->ram;
    struct bus *bus = &t->vcpu->vmm->machine.bus;
    uint64_t entry[4];

    for (unsigned i = 0; i < 4; i++) {
        entry[i] = gpa_read(ram, bus, (cr3 & ~31u) + 8 * i, 8);
        if ((entry[i] & PDPTE_P) && (entry[i] & ~(t->vcpu->msrs.address_bits | PDPTE_DEFINED)))
            return task_fault(t, VECTOR_GP, 0);
    }
    memcpy(t->s->pdpte, entry, sizeof(entry));
    return true;
}

static bool load_cr3(struct task *t, const uint8_t *image)
{
    struct vcpu_sregs *s = t->s;
    uint32_t cr3 = get(image, TSS32_CR3, 4);

    if (t->to->width == 2 || !(s->cr0 & TASK_CR0_PG) || cr3 == s->cr3)
        return true;
    if ((s->cr4 & TASK_CR4_PAE) && !load_pdptes(t, cr3))
        return false;
    s->cr3 = t->view.cpu.cr3 = cr3;
    return true;
}

// The error code of the exception that has come through a task gate, as wide as the new TSS.
static bool push_error(struct task *t, uint32_t error)
{
    struct vcpu_sregs *s = t->s;
    struct vmm *vmm = t->vcpu->vmm;
    unsigned size = t->to->width;
    bool big = s->ss.access & ACCESS_BIG;
    uint64_t esp = big ? (uint32_t)(s->rsp - size) : (uint16_t)(s->rsp - size);

    if (!segment_allows(&s->ss, true, esp, size))
        return task_fault(t, VECTOR_SS, 0);
    t->view.cpu.cpl = s->ss.access >> ACCESS_DPL & 3;
    if (gmem_write(&vmm->ram, &vmm->machine.bus, &t->view, (uint32_t)(s->ss.base + esp), size,
                   error, &t->fault) == GMEM_FAULT)
        return false;
    s->rsp = big ? esp : (s->rsp & ~0xFFFFull) | esp;
    return true;
}

bool task_enter(struct task *t)
{
    uint64_t event = t->vcpu->page->exit.task.event;
    uint8_t image[TSS_SIZE];

    task_read(t, &t->image, 0, image, t->to->size); // the old task may have been saved there
    load_registers(t, image);
    if (!load_cr3(t, image) || !task_load_segments(t))
        return false;
    if (t->source == VM_TASK_GATE && (event & EVENT_ERROR) &&
        !push_error(t, (uint32_t)(event >> 32)))
        return false;
    if (t->s->rip > t->s->cs.limit)
        return task_fault(t, VECTOR_GP, 0);
    if (t->to->width == 4 && (get(image, TSS32_TRAP, 2) & 1)) {
        t->s->dr6 |= DR6_BT;
        t->fault = (struct guest_fault){ .vector = VECTOR_DB };
        return false;
    }
    return true;
}
