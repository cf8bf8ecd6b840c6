// SPDX-License-Identifier: BSD-2-Clause
//
// A task switch up to its commit: what the exit says of it, the checks of the new TSS, what must be
// reachable, and then the old task's state, back link and busy bits. Faults are the old task's.
#include "libc/kcall.h"
#include "vmm/cpu/task.h"

// struct vm_exit_task's event.
enum { EVENT_NMI = 2, EVENT_RAISED = 3, EVENT_INT = 4, EVENT_INT1 = 5, EVENT_INT3 = 6 };
#define EVENT_TYPE(event) ((unsigned)((event) >> 8 & 7))
#define ERROR_IDT 2u // of an error code: it is a vector that it names

static const struct tss_layout tss16 = { 2, 0x2C, 0x0E, 0x22, 4, 0x2A };
static const struct tss_layout tss32 = { 4, TSS_SIZE, 0x20, 0x48, TSS_SELECTORS, 0x60 };

// Faults, which have RF set in the flags that are saved, so that a breakpoint on the instruction
// does not come again when it is restarted ("Resume Flag").
static bool is_fault(uint8_t vector)
{
    const uint32_t faults = 1u << 0 | 7u << 5 | 0x1Fu << 10 | 3u << 16 | 7u << 19;

    return vector < 32 && (faults >> vector & 1) != 0;
}

static void look_at_event(struct task *t, uint64_t event)
{
    unsigned type = EVENT_TYPE(event);
    uint8_t vector = (uint8_t)event;
    // INT3 and INTO, whatever the CPU calls them.
    bool trap = type == EVENT_RAISED && (vector == VECTOR_BP || vector == VECTOR_OF);

    t->software = type == EVENT_INT || type == EVENT_INT1 || type == EVENT_INT3 || trap;
    t->external = type != EVENT_INT && type != EVENT_INT3 && !trap;
    if (type == EVENT_RAISED && is_fault(vector))
        t->s->rflags |= TASK_RFLAGS_RF;
}

static void task_init(struct task *t, struct vcpu *vcpu)
{
    const struct vm_exit *exit = &vcpu->page->exit;

    *t = (struct task){ .vcpu = vcpu, .s = &vcpu->page->sregs, .view = *exit };
    t->source = exit->task.source;
    t->software = true;
    if (t->source == VM_TASK_GATE)
        look_at_event(t, exit->task.event);
    t->view.cpu.cpl = 0;
    t->view.rflags &= ~TASK_RFLAGS_AC;
    t->from = t->s->tr.access & 8 ? &tss32 : &tss16;
}

// Where the old task goes on.
static bool find_rip(struct task *t)
{
    unsigned length = t->vcpu->page->exit.task.length;
    const struct insn *insn;

    if (!t->software)
        return true;
    if (length == 0) {
        if (!exit_insn(t->vcpu, &insn, &t->fault))
            return false;
        length = insn->length;
    }
    t->s->rip = (uint32_t)(t->s->rip + length);
    return true;
}

// INT n, INT3 and INTO need the gate's privilege level. All that follows a CALL or JMP to a gate or
// a TSS, the CPU has checked before it left the switch to us.
static bool check_gate(struct task *t)
{
    uint32_t offset = 8u * (uint8_t)t->vcpu->page->exit.task.event; // of its gate
    struct task_span span;
    uint8_t access;

    if (t->source != VM_TASK_GATE || t->external)
        return true;
    if (!task_reach(t, t->s->idtr_base + offset + DESCRIPTOR_ACCESS, 1, WALK_READ, &span))
        return false;
    task_read(t, &span, 0, &access, 1);
    return (access >> ACCESS_DPL & 3) >= t->vcpu->page->exit.cpu.cpl ||
           task_fault(t, VECTOR_GP, offset | ERROR_IDT);
}

// In the order of the manual's table. *gva: the new TSS' descriptor.
static bool check_tss(struct task *t, uint64_t *gva)
{
    uint16_t selector = t->vcpu->page->exit.task.selector;
    bool back = t->source == VM_TASK_IRET, there;
    uint8_t vector = back ? VECTOR_TS : VECTOR_GP;

    if (selector & 4)
        return task_fault_at(t, vector, selector);
    if (!task_descriptor(t, selector, &there, gva, &t->tss))
        return false;
    unsigned type = there ? t->tss.access & ACCESS_TYPE & ~TYPE_BUSY : 0;
    if (type != TYPE_TSS16 && type != TYPE_TSS32)
        return task_fault_at(t, vector, selector);
    if (!(t->tss.access & ACCESS_PRESENT))
        return task_fault_at(t, VECTOR_NP, selector);
    if (((t->tss.access & TYPE_BUSY) != 0) != back)
        return task_fault_at(t, vector, selector);
    t->to = type == TYPE_TSS32 ? &tss32 : &tss16;
    if (t->tss.limit < t->to->size - 1u)
        return task_fault_at(t, VECTOR_TS, selector);
    return true;
}

static unsigned dynamic_size(const struct tss_layout *l)
{
    return (unsigned)l->selectors + (unsigned)l->selector_count * l->width - l->registers;
}

// All that will be accessed before the commit, so that nothing can go wrong then.
static bool reach_all(struct task *t, uint64_t descriptor)
{
    bool nested = t->source == VM_TASK_CALL || t->source == VM_TASK_GATE;
    const struct vm_segment *old = &t->s->tr;
    struct task_span span;

    if (old->limit < t->from->registers + dynamic_size(t->from) - 1)
        return task_fault_at(t, VECTOR_TS, old->selector);
    if (!task_reach(t, t->tss.base, t->to->size, WALK_READ, &t->image) ||
        (nested && !task_reach(t, t->tss.base, 2, WALK_WRITE, &span)) ||
        !task_reach(t, old->base + t->from->registers, dynamic_size(t->from), WALK_WRITE,
                    &t->saved))
        return false;
    if (t->source != VM_TASK_IRET) {
        if (!task_reach(t, descriptor + DESCRIPTOR_ACCESS, 1, WALK_WRITE, &span))
            return false;
        t->new_busy = span.gpa[0];
    }
    if (!nested) {
        uint64_t at = t->s->gdtr_base + (old->selector & ~7u);
        if (!task_reach(t, at + DESCRIPTOR_ACCESS, 1, WALK_WRITE, &span))
            return false;
        t->old_busy = span.gpa[0];
    }
    return true;
}

static void save_registers(const struct task *t)
{
    const struct tss_layout *l = t->from;
    const struct vcpu_sregs *s = t->s;
    uint64_t flags = s->rflags & ~(t->source == VM_TASK_IRET ? TASK_RFLAGS_NT : 0);

    for (unsigned i = 0; i < TSS_REGISTERS; i++) {
        unsigned gpr = i - 2;
        uint64_t value = i == 0 ? s->rip : flags;
        if (i >= 2)
            value = gpr == GPR_RSP ? s->rsp : t->vcpu->page->gpr[gpr];
        task_write(t, &t->saved, i * l->width, &value, l->width);
    }
    for (unsigned i = 0; i < l->selector_count; i++)
        task_write(t, &t->saved, (unsigned)l->selectors - l->registers + i * l->width,
                   &task_segment(t, i)->selector, 2);
}

static void leave(const struct task *t)
{
    save_registers(t);
    if (t->source == VM_TASK_CALL || t->source == VM_TASK_GATE)
        task_write(t, &t->image, 0, &t->s->tr.selector, 2); // the back link
    else
        task_bit(t, t->old_busy, TYPE_BUSY, false);
    if (t->source != VM_TASK_IRET)
        task_bit(t, t->new_busy, TYPE_BUSY, true);
}

int exit_task(struct vcpu *vcpu)
{
    uint64_t descriptor = 0;
    struct task t;
    int run = VM_RUN_PAGE;

    if (kcall_vcpu_sregs(vcpu->handle, 0) != OK)
        return exit_kill(vcpu, "its registers could not be read");
    task_init(&t, vcpu);
    if (!find_rip(&t) || !check_gate(&t) || !check_tss(&t, &descriptor) ||
        !reach_all(&t, descriptor))
        return exit_fault(vcpu, &t.fault);
    leave(&t);
    if (!task_enter(&t))
        run = exit_fault(vcpu, &t.fault);
    if (kcall_vcpu_sregs(vcpu->handle, 1) != OK)
        return exit_kill(vcpu, "its registers could not be written");
    vcpu->page->entry.flags |= VM_ENTRY_TASK;
    return run;
}
