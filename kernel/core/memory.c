// SPDX-License-Identifier: BSD-2-Clause
// Memory objects: making them, zeroing in pieces, slices; mem_map, mem_unmap. Guarded by
// kernel_lock; the frames of an object that is being zeroed are nobody else's, so zeroing takes no
// lock.
#include "kernel/core/syscall.h"

#define MEMORY_MAX (1ull << 46)

uint64_t memory_zeroing;

static struct memory *memory_alloc(struct process *owner, uint64_t bytes, uint8_t flags,
                                   enum status *status)
{
    struct memory *m = object_to(object_alloc(OBJ_MEMORY, owner, status), memory);
    if (!m)
        return NULL;
    list_init(&m->slices);
    list_init(&m->in_parent);
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
    frames_set_owner(base, bytes / PAGE_SIZE, m->object.id);
    return m;
}

struct memory *memory_make(struct process *owner, uint64_t bytes, uint64_t align,
                           enum status *status)
{
    struct memory *m = memory_alloc(owner, bytes, 0, status);
    if (!m)
        return NULL;
    *status = ERR_QUOTA;
    if (!process_charge(owner, bytes))
        goto fail;
    *status = ERR_MEMORY;
    // Small pages of a big object still lie on 2 MB, for whoever maps it aligned.
    uint64_t fit = bytes >= PAGE_2M ? max_u64(align, PAGE_2M) : align;
    if (frames_alloc(bytes / PAGE_SIZE, fit, m->object.id, &m->base) ||
        (fit != align && frames_alloc(bytes / PAGE_SIZE, align, m->object.id, &m->base))) {
        *status = OK;
        return m;
    }
    process_uncharge(owner, bytes);
fail:
    object_retire(&m->object);
    object_free(&m->object);
    return NULL;
}

bool memory_zero_piece(struct memory *m)
{
    uint64_t bytes = min_u64(m->bytes - m->zeroed, MEM_PIECE), start = arch_now();
    arch_zero(arch_ptr(HPA(m->base.v + m->zeroed)), bytes);
    m->zeroed += bytes;
    __atomic_fetch_add(&memory_zeroing, arch_now() - start, __ATOMIC_RELAXED);
    return m->zeroed == m->bytes;
}

static enum status decode_create(uint64_t bytes, uint64_t align, uint64_t flags)
{
    if (!bytes || bytes > MEMORY_MAX || !is_aligned(bytes, PAGE_SIZE) || flags)
        return ERR_RANGE;
    if (align != PAGE_SIZE && align != PAGE_2M && align != PAGE_1G)
        return ERR_RANGE;
    return OK;
}

// One piece is zeroed here; what is bigger becomes an operation of the thread, whose handle appears
// at its end.
SYSCALL(mem_create)
{
    struct thread *t = this_cpu()->current;
    enum status status = decode_create(a0, a1, a2);
    if (status != OK)
        return result(status);
    spin_lock(&kernel_lock);
    int slot = handle_reserve(t->process);
    if (slot < 0)
        return unlock_result(slot);
    struct memory *m = memory_make(t->process, a0, a1, &status);
    if (!m) {
        handle_clear(t->process, (uint32_t)slot);
        return unlock_result(status);
    }
    spin_unlock(&kernel_lock);
    if (!memory_zero_piece(m)) {
        t->op_state.object = &m->object;
        t->op_state.w[0] = (uint64_t)slot;
        op_begin(t, OP_MEM_CREATE);
    }
    spin_lock(&kernel_lock);
    handle_fill(t->process, (uint32_t)slot, &m->object, RIGHT_ALL);
    return unlock_result(slot);
}

static enum status decode_part(const struct memory *m, uint64_t offset, uint64_t bytes)
{
    if (!bytes || !is_aligned(offset | bytes, PAGE_SIZE))
        return ERR_RANGE;
    return offset < m->bytes && bytes <= m->bytes - offset ? OK : ERR_RANGE;
}

// The part has the rights of the whole, so that a read-only handle does not become more.
SYSCALL(mem_slice)
{
    struct process *self = caller_process();
    enum status status;
    uint8_t rights;
    spin_lock(&kernel_lock);
    struct memory *m = HANDLE(self, a0, OBJ_MEMORY, memory, RIGHT_USE, &status);
    if (!m)
        return unlock_result(status);
    status = decode_part(m, a1, a2);
    if (status != OK)
        return unlock_result(status);
    handle_any(self, a0, &rights);
    struct memory *s = memory_alloc(self, a2, m->flags | MEM_SLICE, &status);
    if (!s)
        return unlock_result(status);
    s->base = HPA(m->base.v + a1);
    s->zeroed = a2;
    int64_t slot = handle_give(self, &s->object, rights);
    if (slot > 0) {
        s->parent = m;
        list_push_back(&m->slices, &s->in_parent);
    }
    return unlock_result(slot);
}

static uint8_t rights_for(uint64_t prot)
{
    return ((prot & PROT_READ) ? RIGHT_READ : 0) | ((prot & PROT_WRITE) ? RIGHT_WRITE : 0) |
           ((prot & PROT_EXEC) ? RIGHT_EXEC : 0);
}

enum status map_decode(struct map_args *m, uint64_t h, uint64_t offset, uint64_t bytes,
                       uint64_t prot)
{
    enum status status;
    if (!(prot & PROT_READ) || prot > (PROT_READ | PROT_WRITE | PROT_EXEC))
        return ERR_RANGE;
    m->memory = HANDLE(caller_process(), h, OBJ_MEMORY, memory, rights_for(prot), &status);
    if (!m->memory)
        return status;
    m->offset = offset;
    m->bytes = bytes;
    m->prot = (uint8_t)prot;
    return decode_part(m->memory, offset, bytes);
}

static enum status decode_map(struct process **p, struct map_args *m, const uint64_t a[6])
{
    enum status status;
    *p = HANDLE(caller_process(), a[0], OBJ_PROCESS, process, RIGHT_USE, &status);
    if (!*p)
        return status;
    status = map_decode(m, a[1], a[2], a[3], a[5]);
    if (status != OK)
        return status;
    if ((m->prot & PROT_WRITE) && (m->prot & PROT_EXEC))
        return ERR_RANGE;
    if (a[4] < USER_START || a[4] >= USER_END || !is_aligned(a[4], PAGE_SIZE))
        return ERR_RANGE;
    return m->bytes <= USER_END - a[4] ? OK : ERR_RANGE;
}

SYSCALL(mem_map)
{
    const uint64_t a[6] = { a0, a1, a2, a3, a4, a5 };
    struct process *p;
    struct map_args m;
    spin_lock(&kernel_lock);
    enum status status = decode_map(&p, &m, a);
    if (status == OK)
        status = space_map(&p->space, m.memory, m.offset, m.bytes, a4, m.prot);
    return unlock_result(status);
}

SYSCALL(mem_unmap)
{
    enum status status;
    spin_lock(&kernel_lock);
    struct process *p = HANDLE(caller_process(), a0, OBJ_PROCESS, process, RIGHT_USE, &status);
    if (!p)
        return unlock_result(status);
    return space_unmap_call(&p->space, a1, a2);
}
