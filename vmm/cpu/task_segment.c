// SPDX-License-Identifier: BSD-2-Clause
//
// The new task's LDTR and segment registers: their descriptors, with all the checks that a task
// switch makes of them. What is wrong is a fault of the new task, with the selector in its error
// code.
#include "vmm/cpu/task.h"

static unsigned dpl(const struct vm_segment *segment)
{
    return segment->access >> ACCESS_DPL & 3;
}

// A descriptor of code or data, with its accessed bit set.
static bool mark_accessed(struct task *t, uint64_t gva, struct vm_segment *segment)
{
    struct task_span span;

    if (segment->access & ACCESS_ACCESSED)
        return true;
    if (!task_reach(t, gva + DESCRIPTOR_ACCESS, 1, WALK_WRITE, &span))
        return false;
    task_bit(t, span.gpa[0], ACCESS_ACCESSED, true);
    segment->access |= ACCESS_ACCESSED;
    return true;
}

static bool load_ldtr(struct task *t)
{
    struct vm_segment ldt;
    uint16_t selector = t->s->ldtr.selector;
    uint64_t gva;
    bool there = false;

    if ((selector & 0xFFFC) == 0)
        return true;
    if (!(selector & 4) && !task_descriptor(t, selector, &there, &gva, &ldt))
        return false;
    if (!there || (ldt.access & ACCESS_TYPE) != TYPE_LDT || !(ldt.access & ACCESS_PRESENT))
        return task_fault_at(t, VECTOR_TS, selector);
    t->s->ldtr = ldt;
    return true;
}

// For all but LDTR: in its table, and no system segment.
static bool find(struct task *t, uint16_t selector, uint64_t *gva, struct vm_segment *segment)
{
    bool there = false;

    if ((selector & 0xFFFC) != 0 && !task_descriptor(t, selector, &there, gva, segment))
        return false;
    return (there && (segment->access & ACCESS_USER)) ||
           task_fault_at(t, VECTOR_TS, selector);
}

static bool load_ss(struct task *t)
{
    uint16_t selector = t->s->ss.selector;
    unsigned cpl = t->s->cs.selector & 3;
    struct vm_segment ss;
    uint64_t gva;

    if (!find(t, selector, &gva, &ss))
        return false;
    if ((ss.access & (ACCESS_CODE | ACCESS_WRITE)) != ACCESS_WRITE)
        return task_fault_at(t, VECTOR_TS, selector);
    if (!(ss.access & ACCESS_PRESENT))
        return task_fault_at(t, VECTOR_SS, selector);
    if (dpl(&ss) != cpl || dpl(&ss) != (selector & 3u))
        return task_fault_at(t, VECTOR_TS, selector);
    if (!mark_accessed(t, gva, &ss))
        return false;
    t->s->ss = ss;
    return true;
}

static bool load_cs(struct task *t)
{
    uint16_t selector = t->s->cs.selector;
    unsigned rpl = selector & 3;
    struct vm_segment cs;
    uint64_t gva;

    if (!find(t, selector, &gva, &cs))
        return false;
    bool conforming = cs.access & ACCESS_CONFORMING;
    if (!(cs.access & ACCESS_CODE) || (conforming ? dpl(&cs) > rpl : dpl(&cs) != rpl))
        return task_fault_at(t, VECTOR_TS, selector);
    if (!(cs.access & ACCESS_PRESENT))
        return task_fault_at(t, VECTOR_NP, selector);
    if (!mark_accessed(t, gva, &cs))
        return false;
    t->s->cs = cs;
    return true;
}

static bool load_data(struct task *t, struct vm_segment *to)
{
    uint16_t selector = to->selector;
    unsigned cpl = t->s->cs.selector & 3, rpl = selector & 3;
    struct vm_segment data;
    uint64_t gva;

    if ((selector & 0xFFFC) == 0)
        return true;
    if (!find(t, selector, &gva, &data))
        return false;
    bool code = data.access & ACCESS_CODE;
    if (code && !(data.access & ACCESS_WRITE)) // of code: readable
        return task_fault_at(t, VECTOR_TS, selector);
    if (!(code && (data.access & ACCESS_CONFORMING)) && (dpl(&data) < cpl || dpl(&data) < rpl))
        return task_fault_at(t, VECTOR_TS, selector);
    if (!(data.access & ACCESS_PRESENT))
        return task_fault_at(t, VECTOR_NP, selector);
    if (!mark_accessed(t, gva, &data))
        return false;
    *to = data;
    return true;
}

bool task_load_segments(struct task *t)
{
    struct vcpu_sregs *s = t->s;

    if (!load_ldtr(t))
        return false;
    if (s->rflags & TASK_RFLAGS_VM) // they have no descriptors
        return true;
    return load_ss(t) && load_cs(t) && load_data(t, &s->ds) && load_data(t, &s->es) &&
           load_data(t, &s->fs) && load_data(t, &s->gs);
}
