// SPDX-License-Identifier: BSD-2-Clause
// Address spaces of processes and VMs: mapping records and the shoot-down protocol. All under
// kernel_lock but for what a core does with its own TLB (inline in process.h, and cpu_ipi()).
//
// Unmapping: clear the entries; raise the generation; send CPU_IPI_FLUSH to the cores in the space;
// wait until each has left it or has seen the generation. Only then the record goes, and with it
// the last thing that keeps the frames from being freed and the address from being used again. A
// core that comes in later compares generations before it uses the tables.
#include "kernel/core/syscall.h"

#define GPA_END (1ull << 46)

enum status space_init(struct space *s, uint32_t owner_id, bool is_vm, struct process *payer)
{
    list_init(&s->mappings);
    s->near = &s->mappings;
    s->owner_id = owner_id;
    s->is_vm = is_vm;
    s->payer = payer;
    s->generation = 1; // no core has seen any
    return arch_space_init(s);
}

// The last record with an address in this range, or NULL. *below: the last that begins below the
// range's end, or the list's head. Records are sorted and do not overlap, so no other need be seen;
// from where the last one was, for most are added side by side.
static inline struct mapping *overlaps(struct space *s, uint64_t address, uint64_t bytes,
                                       struct list **below)
{
    struct list *l = s->near;
    while (l != &s->mappings &&
           list_entry(l, struct mapping, in_space)->address >= address + bytes)
        l = l->prev;
    while (l->next != &s->mappings &&
           list_entry(l->next, struct mapping, in_space)->address < address + bytes)
        l = l->next;
    *below = s->near = l;
    struct mapping *m = list_entry(l, struct mapping, in_space);
    return l != &s->mappings && address < m->address + m->bytes ? m : NULL;
}

inline __attribute__((always_inline)) // a VM may wait for a page
struct mapping *space_map(struct space *s, struct memory *m, uint64_t offset, uint64_t bytes,
                          uint64_t address, uint8_t prot, enum status *status)
{
    struct list *below;
    *status = ERR_BUSY;
    if (overlaps(s, address, bytes, &below))
        return NULL;
    *status = ERR_FULL;
    if (s->records == SPACE_RECORDS_MAX || m->records == SPACE_RECORDS_MAX)
        return NULL;
    struct mapping *map = object_to(object_take(OBJ_OF_mapping, s->payer, status), mapping);
    if (!map)
        return NULL;
    map->memory = m;
    map->space = s;
    map->address = address;
    map->offset = offset;
    map->bytes = bytes;
    map->mapped = 0;
    map->prot = prot;
    map->clear = address;
    list_push_front(below, &map->in_space);
    list_push_back(&m->mappings, &map->in_memory);
    s->records++;
    m->records++;
    return map;
}

inline __attribute__((always_inline)) // likewise
enum status mapping_map(struct mapping *m)
{
    m->space->changes++;
    return arch_map(m->space, m->address, HPA(m->memory->base.v + m->offset), m->bytes, m->prot,
                    &m->mapped);
}

bool space_has_core(const struct space *s, uint32_t core)
{
    return __atomic_load_n(&cpus[core]->space, __ATOMIC_SEQ_CST) == s ||
           __atomic_load_n(&cpus[core]->guest_space, __ATOMIC_SEQ_CST) == s;
}

// Tells the other cores that are in the space; true: this core is in it too.
static bool shoot(const struct space *s)
{
    uint32_t me = this_cpu()->id;
    for (uint32_t core = 0; core < cpu_count; core++)
        if (core != me && space_has_core(s, core))
            cpu_request(core, CPU_IPI_FLUSH);
    return space_has_core(s, me);
}

void space_sync(struct space *s, uint32_t core)
{
    uint64_t generation = space_generation(s);
    if (s->seen[core] == generation)
        return;
    arch_space_flush(s);
    __atomic_store_n(&s->seen[core], generation, __ATOMIC_RELEASE); // tells those who wait
}

// Clears a piece of the entries; true: all are cleared, and the cores were told.
static bool clear_piece(struct mapping *m)
{
    m->object.dying = OBJECT_DYING;
    m->space->changes++;
    if (!arch_unmap(m->space, &m->clear, m->address + m->mapped))
        return false;
    __atomic_fetch_add(&m->space->generation, 1, __ATOMIC_SEQ_CST);
    if (shoot(m->space))
        space_sync(m->space, this_cpu()->id);
    return true;
}

// True when no core can hold what was cleared up to `generation` any more.
static bool acknowledged(const struct space *s, uint64_t generation)
{
    for (uint32_t core = 0; core < cpu_count; core++)
        if (space_has_core(s, core) &&
            __atomic_load_n(&s->seen[core], __ATOMIC_ACQUIRE) < generation)
            return false;
    return true;
}

void mapping_free(struct mapping *m)
{
    m->space->changes++;
    m->space->records--;
    m->memory->records--;
    if (m->space->near == &m->in_space)
        m->space->near = m->in_space.prev;
    list_remove(&m->in_space);
    list_remove(&m->in_memory);
    object_drop(&m->object);
}

// w[0]: all entries are cleared; w[1]: the generation to wait for then.
enum op_progress mapping_piece(struct mapping *m, uint64_t w[2])
{
    if (m->space->still)
        return OP_WAIT;
    if (!w[0]) {
        w[0] = clear_piece(m);
        w[1] = m->space->generation;
        return OP_AGAIN;
    }
    if (!acknowledged(m->space, w[1]))
        return OP_WAIT;
    mapping_free(m);
    return OP_DONE;
}

bool space_drop(struct space *s)
{
    __atomic_store_n(&s->dead, 1, __ATOMIC_SEQ_CST);
    if (shoot(s))
        cpu_leave_dead();
    return acknowledged(s, UINT64_MAX);
}

static void leave_if_dead(struct space **in)
{
    struct space *s = *in;
    if (!s || !__atomic_load_n(&s->dead, __ATOMIC_SEQ_CST))
        return;
    arch_space_flush(s);
    if (!s->is_vm)
        arch_space_none();
    __atomic_store_n(in, NULL, __ATOMIC_SEQ_CST);
}

// This core leaves the spaces that are being destroyed. Its TLB is flushed first: once it is out,
// the tables and frames may be used again.
void cpu_leave_dead(void)
{
    leave_if_dead(&this_cpu()->space);
    leave_if_dead(&this_cpu()->guest_space);
}

_Static_assert(PROT_READ == RIGHT_READ && PROT_WRITE == RIGHT_WRITE && PROT_EXEC == RIGHT_EXEC,
               "a mapping needs these rights");

// Where one piece maps all, the call ends here. Else the rest is an operation; so is what a map
// that fails must take back, for a core may have used what was mapped already.
static struct syscall_result map_call(struct space *s, uint64_t h, uint64_t offset,
                                      uint64_t bytes, uint64_t address, uint64_t prot)
{
    uint64_t start = s->is_vm ? 0 : USER_START, end = s->is_vm ? GPA_END : USER_END;
    enum status status;
    if (!(prot & PROT_READ) || prot > (PROT_READ | PROT_WRITE | PROT_EXEC))
        return unlock_result(ERR_RANGE);
    struct memory *memory = HANDLE(caller_process(), h, memory, (uint8_t)prot, &status);
    if (!memory)
        return unlock_result(status);
    if (!bytes || !is_aligned(offset | bytes | address, PAGE_SIZE) ||
        offset >= memory->bytes || bytes > memory->bytes - offset ||
        address < start || address >= end || bytes > end - address ||
        (!s->is_vm && (prot & PROT_WRITE) && (prot & PROT_EXEC)))
        return unlock_result(ERR_RANGE);
    if (s->is_vm) {
        if (memory->flags & MEM_MODULE)
            return unlock_result(ERR_RIGHTS); // a guest never sees a module itself
    } else if (memory->flags & MEM_DEVICE) {
        prot |= PROT_DEVICE;
        log_taken(caller_process()); // the only device there is, is the screen
    }
    struct mapping *m = space_map(s, memory, offset, bytes, address, (uint8_t)prot, &status);
    if (unlikely(!m))
        return unlock_result(status);
    if (likely(!s->still && mapping_map(m) == OK && m->mapped == bytes))
        return unlock_result(OK);
    struct thread *t = this_cpu()->current;
    t->op_state.ref = ref_to(&m->object);
    t->op_state.w[0] = 0;
    spin_unlock(&kernel_lock);
    op_begin(t, OP_MAP); // a piece that failed fails there again
}

// As an operation. ref: the mapping, until it, its space or its memory is taken away; status: OK,
// or why what was mapped is taken back; w: see mapping_piece().
enum op_progress map_piece(struct thread *t)
{
    struct mapping *m = object_to(ref_get(t->op_state.ref), mapping);
    if (t->op_state.status != OK)
        return m ? mapping_piece(m, t->op_state.w) : OP_DONE;
    if (m && m->space->still)
        return OP_WAIT;
    t->op_state.status = m && !m->object.dying ? mapping_map(m) : ERR_DEAD;
    if (!m || m->object.dying)
        return OP_DONE;
    return t->op_state.status == OK && m->mapped == m->bytes ? OP_DONE : OP_AGAIN;
}

// Where all is acknowledged at once, as with one core, the call ends here.
static struct syscall_result unmap_call(struct space *s, uint64_t address, uint64_t bytes)
{
    struct thread *t = this_cpu()->current;
    struct list *below;
    struct mapping *m = overlaps(s, address, bytes, &below);
    if (!m || m->address != address || m->bytes != bytes)
        return unlock_result(ERR_RANGE);
    if (m->object.dying)
        return unlock_result(ERR_BUSY);
    uint64_t *w = t->op_state.w;
    w[0] = 0;
    (void)mapping_piece(m, w);
    if (w[0] && mapping_piece(m, w) == OP_DONE)
        return unlock_result(OK);
    t->op_state.ref = ref_to(&m->object);
    spin_unlock(&kernel_lock);
    op_begin(t, OP_UNMAP);
}

// What is done to an address space, which a process and a VM have.
#define SPACE_CALL(name, noun, does, ...)                                                          \
    SYSCALL(name)                                                                                  \
    {                                                                                              \
        enum status status;                                                                        \
        spin_lock(&kernel_lock);                                                                   \
        struct noun *o = HANDLE(caller_process(), a0, noun, RIGHT_USE, &status);                   \
        return o ? does(&o->space, __VA_ARGS__) : unlock_result(status);                           \
    }
SPACE_CALL(mem_map, process, map_call, a1, a2, a3, a4, a5)
SPACE_CALL(mem_unmap, process, unmap_call, a1, a2)
SPACE_CALL(vm_map, vm, map_call, a1, a2, a3, a4, a5)
SPACE_CALL(vm_unmap, vm, unmap_call, a1, a2)
