// SPDX-License-Identifier: BSD-2-Clause
// Memory objects: making them, zeroing in pieces. Guarded by kernel_lock; the frames of an object
// that is being zeroed are nobody else's, so zeroing releases it meanwhile.
#include "kernel/core/syscall.h"

#define MEMORY_MAX (1ull << 46)

uint64_t memory_zeroing;

static struct memory *memory_alloc(struct process *owner, uint64_t bytes, uint8_t flags,
                                   enum status *status)
{
    struct memory *m = object_new(memory, owner, status);
    if (!m)
        return NULL;
    list_init(&m->mappings);
    m->bytes = bytes;
    m->flags = flags;
    return m;
}

struct memory *memory_wrap(struct process *owner, struct hpa base, uint64_t bytes, uint8_t flags,
                           enum status *status)
{
    struct memory *m = memory_alloc(owner, bytes, flags, status);
    if (!m)
        return NULL;
    m->base = base;
    m->zeroed = bytes;
    if (!(flags & MEM_DEVICE))
        frames_set_owner(base, bytes / PAGE_SIZE, m->object.id);
    return m;
}

static bool take_frames(struct memory *m, uint64_t align)
{
    uint64_t frames = m->bytes / PAGE_SIZE;
    if (m->flags & MEM_KERNEL)
        return frames_alloc_kernel(frames, m->object.id, &m->base);
    // Small pages of a big object still lie on 2 MB, for whoever maps it aligned.
    uint64_t fit = m->bytes >= PAGE_2M ? max_u64(align, PAGE_2M) : align;
    return frames_alloc(frames, fit, m->object.id, &m->base) ||
           (fit != align && frames_alloc(frames, align, m->object.id, &m->base));
}

struct memory *memory_make(struct process *owner, uint64_t bytes, uint64_t align, uint8_t flags,
                           enum status *status)
{
    struct memory *m = memory_alloc(owner, bytes, flags, status);
    if (!m)
        return NULL;
    if (!process_charge(owner, bytes)) {
        *status = ERR_QUOTA;
    } else if (take_frames(m, align)) {
        return m;
    } else {
        *status = ERR_MEMORY;
        process_uncharge(owner, bytes);
    }
    object_drop(&m->object);
    return NULL;
}

void memory_free(struct memory *m)
{
    if (m->flags & MEM_KERNEL)
        frames_free_kernel(m->base, m->bytes / PAGE_SIZE);
    else if (!(m->flags & MEM_MODULE))
        frames_free(m->base, m->bytes / PAGE_SIZE);
    if (!(m->flags & MEM_MODULE))
        process_uncharge(m->object.owner, m->bytes);
}

// The frames in the middle of a long run get their owner along with their zeros. Those of a dying
// object are nobody's.
bool memory_zero_piece(struct memory *m)
{
    if (m->zeroed == m->bytes || (m->flags & MEM_DEVICE))
        return true;
    uint64_t bytes = min_u64(m->bytes - m->zeroed, MEM_PIECE), start = arch_now();
    bool module = m->flags & MEM_MODULE;
    uint32_t owner = m->object.dying ? FRAME_KERNEL : m->object.id;
    struct hpa at = HPA(m->base.v + m->zeroed);
    spin_unlock(&kernel_lock);
    frames_set_owner(at, bytes / PAGE_SIZE, module ? FRAME_RESERVED : owner);
    if (!module)
        arch_clear(at, bytes);
    __atomic_fetch_add(&memory_zeroing, arch_now() - start, __ATOMIC_RELAXED);
    m->zeroed += bytes; // its operation is one thread's
    return false;
}

// An operation of the thread, whose handle appears at its end.
SYSCALL(mem_create)
{
    struct thread *t = this_cpu()->current;
    enum status status;
    if (!a0 || a0 > MEMORY_MAX || !is_aligned(a0, PAGE_SIZE) ||
        (a1 != PAGE_SIZE && a1 != PAGE_2M && a1 != PAGE_1G) ||
        (a2 && (a2 != MEM_KERNEL || a0 != PAGE_SIZE || a1 != PAGE_SIZE)))
        return result(ERR_RANGE);
    spin_lock(&kernel_lock);
    int slot = handle_find(t->process);
    if (slot < 0)
        return unlock_result(slot);
    struct memory *m = memory_make(t->process, a0, a1, (uint8_t)a2, &status);
    if (!m)
        return unlock_result(status);
    handle_reserve(t->process, (uint64_t)slot);
    spin_unlock(&kernel_lock);
    t->op_state.object = &m->object;
    t->op_state.w[0] = (uint64_t)slot;
    op_begin(t, OP_MEM_CREATE);
}
