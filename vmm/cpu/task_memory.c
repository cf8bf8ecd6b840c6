// SPDX-License-Identifier: BSD-2-Clause
//
// Guest memory as a CPU accesses it by itself in a task switch: TSSs and descriptors, by linear
// address, with supervisor's rights. Translated first and accessed later, so that no fault comes
// when a part is written already.
#include "vmm/cpu/task.h"

static uint64_t span_gpa(const struct task_span *span, unsigned offset)
{
    return offset < span->first ? span->gpa[0] + offset : span->gpa[1] + (offset - span->first);
}

bool task_reach(struct task *t, uint64_t gva, unsigned size, enum walk_access access,
                struct task_span *span)
{
    const struct guest_ram *ram = &t->vcpu->vmm->ram;
    uint64_t room = PAGE_SIZE - (gva & (PAGE_SIZE - 1));

    span->first = size < room ? size : (unsigned)room;
    span->gpa[1] = 0;
    if (!walk(ram, &t->view, (uint32_t)gva, access, &span->gpa[0], &t->fault))
        return false;
    return span->first == size ||
           walk(ram, &t->view, (uint32_t)(gva + room), access, &span->gpa[1], &t->fault);
}

void task_read(const struct task *t, const struct task_span *span, unsigned offset, void *to,
               unsigned size)
{
    struct vmm *vmm = t->vcpu->vmm;
    uint8_t *bytes = to;

    for (unsigned i = 0; i < size; i++)
        bytes[i] = (uint8_t)gpa_read(&vmm->ram, &vmm->machine.bus, span_gpa(span, offset + i), 1);
}

// What lies in a device that is busy is lost: a TSS there makes no sense.
void task_write(const struct task *t, const struct task_span *span, unsigned offset,
                const void *from, unsigned size)
{
    struct vmm *vmm = t->vcpu->vmm;
    const uint8_t *bytes = from;

    for (unsigned i = 0; i < size; i++)
        (void)gpa_write(&vmm->ram, &vmm->machine.bus, span_gpa(span, offset + i), 1, bytes[i]);
}

static void unpack(uint16_t selector, uint64_t raw, struct vm_segment *segment)
{
    uint32_t limit = (uint32_t)((raw & 0xFFFF) | (raw >> 32 & 0xF0000));

    segment->selector = selector;
    segment->base = (raw >> 16 & 0xFFFFFF) | (raw >> 32 & 0xFF000000);
    segment->access = (uint16_t)((raw >> 40 & 0xFF) | (raw >> 40 & 0xF000));
    segment->limit = segment->access & ACCESS_PAGES ? limit << 12 | 0xFFF : limit;
}

bool task_descriptor(struct task *t, uint16_t selector, bool *there, uint64_t *gva,
                     struct vm_segment *segment)
{
    const struct vcpu_sregs *s = t->s;
    bool local = selector & 4;
    uint64_t base = local ? s->ldtr.base : s->gdtr_base, raw;
    uint32_t limit = local ? s->ldtr.limit : s->gdtr_limit;
    struct task_span span;

    *there = (selector | 7u) <= limit && !(local && (s->ldtr.access & ACCESS_UNUSABLE));
    if (!*there)
        return true;
    *gva = (uint32_t)(base + (selector & ~7u));
    if (!task_reach(t, *gva, sizeof(raw), WALK_READ, &span))
        return false;
    task_read(t, &span, 0, &raw, sizeof(raw));
    unpack(selector, raw, segment);
    return true;
}

void task_bit(const struct task *t, uint64_t gpa, uint8_t bit, bool set)
{
    const struct guest_ram *ram = &t->vcpu->vmm->ram;
    struct bus *bus = &t->vcpu->vmm->machine.bus;
    uint8_t *at = ram_at(ram, gpa, 1);

    if (at == NULL) {
        uint64_t old = gpa_read(ram, bus, gpa, 1);
        (void)gpa_write(ram, bus, gpa, 1, set ? old | bit : old & ~(uint64_t)bit);
    } else if (set) {
        __atomic_fetch_or(at, bit, __ATOMIC_SEQ_CST);
    } else {
        __atomic_fetch_and(at, (uint8_t)~bit, __ATOMIC_SEQ_CST);
    }
}
