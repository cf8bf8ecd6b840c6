// SPDX-License-Identifier: BSD-2-Clause
// Processes: quotas, creation, their end, and copying to and from their memory. Guarded by
// kernel_lock.
#include "kernel/core/syscall.h"
#include "kernel/lib/string.h"

#define QUOTA_MIN (64ull << 10)
#define QUOTA_MAX (1ull << 46)
#define KILL_MAX  16

bool process_charge(struct process *p, uint64_t bytes)
{
    if (bytes > p->quota - p->used)
        return false;
    p->used += bytes;
    return true;
}

void process_uncharge(struct process *p, uint64_t bytes)
{
    ASSERT(p->used >= bytes);
    p->used -= bytes;
}

_Static_assert(sizeof(struct process_counts) == OBJ_COUNTED * sizeof(uint32_t) &&
               offsetof(struct process_counts, vcpus) == OBJ_VCPU * sizeof(uint32_t) &&
               offsetof(struct process_counts, threads) == OBJ_THREAD * sizeof(uint32_t),
               "counts are in the order of types");

// Memory and counts that a child may use, of its parent's.
static bool give(struct process *from, struct process *to, uint64_t quota,
                 const struct process_counts *c)
{
    const uint32_t *counts = &c->mappings;
    for (unsigned i = 0; i < OBJ_COUNTED; i++)
        if (counts[i] > from->may[i] - from->have[i])
            return false;
    if (!process_charge(from, quota))
        return false;
    for (unsigned i = 0; i < OBJ_COUNTED; i++) {
        from->have[i] += counts[i];
        to->may[i] = counts[i];
    }
    return true;
}

void process_give_back(struct process *p)
{
    process_uncharge(p->parent, p->quota);
    for (unsigned i = 0; i < OBJ_COUNTED; i++)
        p->parent->have[i] -= p->may[i];
}

struct process *process_make(struct process *parent, uint64_t quota,
                             const struct process_counts *counts, enum status *status)
{
    struct process *p = object_new(process, parent, status);
    if (!p)
        return NULL;
    list_init(&p->objects);
    list_init(&p->threads);
    p->taken[0] = 1;
    p->parent = parent;
    p->depth = parent ? parent->depth + 1 : 0;
    bool given = !parent || give(parent, p, quota, counts);
    p->quota = given ? quota : 0;
    for (unsigned i = 0; !parent && i < OBJ_TYPE_COUNT; i++)
        p->may[i] = OBJECT_MAX; // the first process has all there is
    *status = given ? space_init(&p->space, p->object.id, false, p) : ERR_QUOTA;
    if (*status == OK) {
        handle_fill(p, HANDLE_SELF, &p->object, RIGHT_READ | RIGHT_USE);
        return p;
    }
    if (given && parent)
        process_give_back(p);
    object_drop(&p->object);
    return NULL;
}

// Those who were told to die stand behind the others.
void process_kill_one(struct thread *t)
{
    list_remove(&t->in_process);
    list_push_back(&t->process->threads, &t->in_process);
    __atomic_fetch_or(&t->asked, THREAD_KILL, __ATOMIC_SEQ_CST);
    thread_push(t);
}

// Some at a time; each that ends goes on with it.
void process_kill(struct process *p)
{
    for (unsigned i = 0; i < KILL_MAX && !list_empty(&p->threads); i++) {
        struct thread *t = list_entry(p->threads.next, struct thread, in_process);
        if (t->asked & THREAD_KILL)
            break;
        process_kill_one(t);
    }
}

struct notice process_ended(struct process *p)
{
    if (p->status.end == PROCESS_ALIVE)
        p->status.end = PROCESS_KILLED;
    if (p->has_log)
        log_detach(false);
    return p->end;
}

static bool copy_user(struct process *p, char *kernel, uint64_t va, size_t bytes, bool to_user)
{
    uint8_t need = to_user ? PROT_WRITE : PROT_READ, prot;
    struct hpa hpa;
    uint64_t left;
    if (va < USER_START || va >= USER_END || bytes > USER_END - va)
        return false;
    while (bytes) {
        if (!arch_walk(&p->space, va, &hpa, &prot, &left) || !(prot & need))
            return false;
        size_t part = min_u64(left, bytes);
        if (to_user)
            arch_write(hpa, kernel, part);
        else
            arch_read(kernel, hpa, part);
        kernel += part;
        va += part;
        bytes -= part;
    }
    return true;
}

bool copy_from_user(struct process *p, void *to, uint64_t va, size_t bytes)
{
    return copy_user(p, to, va, bytes, false);
}

bool copy_to_user(struct process *p, uint64_t va, const void *from, size_t bytes)
{
    return copy_user(p, (char *)(uintptr_t)from, va, bytes, true);
}

SYSCALL_LOCKED(process_create)
{
    struct process *self = caller_process();
    struct process_counts counts = { 0 };
    enum status status = OK;
    if (a0 < QUOTA_MIN || a0 > QUOTA_MAX ||
        (a3 && !copy_from_user(self, &counts, a3, sizeof(counts))))
        return ERR_RANGE;
    struct event *event = a1 ? handle_event(self, a1, a2, &status) : NULL;
    if (a1 && !event)
        return status;
    if (self->depth == PROCESS_LEVELS_MAX)
        return ERR_STATE;
    if (handle_find(self) < 0)
        return ERR_FULL;
    struct process *p = process_make(self, align_down(a0, PAGE_SIZE), &counts, &status);
    if (!p)
        return status;
    if (event)
        p->end = (struct notice){ ref_to(&event->object), a2 };
    return handle_give(&p->object);
}

SYSCALL_LOCKED_ON(process_status, process, RIGHT_READ)
{
    struct process_status s = process->status;
    s.id = process->object.id;
    s.threads = process->threads_alive;
    s.quota = process->quota;
    s.used = process->used;
    if (s.threads)
        s.end = PROCESS_ALIVE; // until the last thread is gone
    return copy_to_user(caller_process(), a1, &s, sizeof(s)) ? OK : ERR_RANGE;
}
