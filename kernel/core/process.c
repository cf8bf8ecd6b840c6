// SPDX-License-Identifier: BSD-2-Clause
// Processes: quotas, creation, their end, and copying to and from their memory. Guarded by
// kernel_lock.
#include "kernel/core/syscall.h"
#include "kernel/lib/string.h"

#define QUOTA_MIN (64ull << 10)
#define QUOTA_MAX (1ull << 46)

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

struct process *process_make(struct process *parent, uint64_t quota, enum status *status)
{
    struct process *p = object_new(process, parent, status);
    if (!p)
        return NULL;
    list_init(&p->objects);
    list_init(&p->threads);
    p->parent = parent;
    p->quota = quota;
    bool charged = !parent || process_charge(parent, quota);
    *status = charged ? space_init(&p->space, p->object.id, false, p) : ERR_QUOTA;
    if (*status == OK) {
        handle_fill(p, HANDLE_SELF, &p->object, RIGHT_READ | RIGHT_USE);
        return p;
    }
    if (charged && parent)
        process_uncharge(parent, quota);
    object_drop(&p->object);
    return NULL;
}

void process_kill(struct process *p)
{
    list_for_each(l, &p->threads)
        thread_kill(list_entry(l, struct thread, in_process));
}

struct event *process_ended(struct process *p)
{
    if (p->status.end == PROCESS_ALIVE)
        p->status.end = PROCESS_KILLED;
    if (p->has_ports)
        log_detach(false);
    return object_to(ref_get(p->end_event), event);
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
    enum status status = OK;
    if (a0 < QUOTA_MIN || a0 > QUOTA_MAX)
        return ERR_RANGE;
    struct event *event = a1 ? HANDLE(self, a1, event, RIGHT_USE, &status) : NULL;
    if (a1 && !event)
        return status;
    int slot = handle_find(self);
    if (slot < 0)
        return slot;
    struct process *p = process_make(self, align_down(a0, PAGE_SIZE), &status);
    if (!p)
        return status;
    if (event) {
        p->end_event = ref_to(&event->object);
        p->end_bits = a2;
    }
    handle_fill(self, slot, &p->object, RIGHT_ALL);
    return slot;
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
