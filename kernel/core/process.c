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

static bool table_make(struct process *p)
{
    struct hpa frame;
    if (!process_charge(p, PAGE_SIZE))
        return false;
    if (!frames_alloc(1, PAGE_SIZE, p->object.id, &frame)) {
        process_uncharge(p, PAGE_SIZE);
        return false;
    }
    p->handles = arch_ptr(frame);
    arch_zero(p->handles, PAGE_SIZE);
    return true;
}

static void table_free(struct process *p)
{
    uint64_t base = (uintptr_t)arch_ptr(HPA(0));
    frames_free(HPA((uintptr_t)p->handles - base), 1);
    process_uncharge(p, PAGE_SIZE);
    p->handles = NULL;
}

struct process *process_make(struct process *parent, uint64_t quota, enum status *status)
{
    struct process *p = object_to(object_alloc(OBJ_PROCESS, parent, status), process);
    if (!p)
        return NULL;
    list_init(&p->objects);
    list_init(&p->threads);
    p->parent = parent;
    p->quota = quota;
    p->status.id = p->object.id;
    *status = ERR_QUOTA;
    if (parent && !process_charge(parent, quota))
        goto no_quota;
    *status = ERR_MEMORY;
    if (!table_make(p))
        goto no_table;
    if (!space_init(&p->space, p->object.id, false, p))
        goto no_space;
    handle_fill(p, HANDLE_SELF, &p->object, RIGHT_READ | RIGHT_USE);
    *status = OK;
    return p;
no_space:
    table_free(p);
no_table:
    if (parent)
        process_uncharge(parent, quota);
no_quota:
    object_retire(&p->object);
    object_free(&p->object);
    return NULL;
}

// What is left when its threads, objects and mappings are gone.
void process_unmake(struct process *p)
{
    arch_space_free(&p->space);
    table_free(p);
    if (p->parent)
        process_uncharge(p->parent, p->quota);
}

struct event *process_ended(struct process *p)
{
    if (p->status.end == PROCESS_ALIVE)
        p->status.end = PROCESS_KILLED;
    if (p->has_ports)
        log_attach();
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
        char *user = arch_ptr(hpa);
        memcpy(to_user ? user : kernel, to_user ? kernel : user, part);
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

static enum status decode_create(struct event **event, uint64_t quota, uint64_t h)
{
    enum status status;
    *event = NULL;
    if (quota < QUOTA_MIN || quota > QUOTA_MAX)
        return ERR_RANGE;
    if (!h)
        return OK;
    *event = HANDLE(caller_process(), h, OBJ_EVENT, event, RIGHT_USE, &status);
    return *event ? OK : status;
}

SYSCALL(process_create)
{
    struct process *self = caller_process();
    struct event *event;
    spin_lock(&kernel_lock);
    enum status status = decode_create(&event, a0, a1);
    if (status != OK)
        return unlock_result(status);
    int slot = handle_reserve(self);
    if (slot < 0)
        return unlock_result(slot);
    struct process *p = process_make(self, align_down(a0, PAGE_SIZE), &status);
    if (!p) {
        handle_clear(self, (uint32_t)slot);
        return unlock_result(status);
    }
    if (event) {
        p->end_event = ref_to(&event->object);
        p->end_bits = a2;
    }
    handle_fill(self, (uint32_t)slot, &p->object, RIGHT_ALL);
    return unlock_result(slot);
}

SYSCALL(process_status)
{
    struct process *self = caller_process();
    struct process_status s;
    enum status status;
    spin_lock(&kernel_lock);
    struct process *p = HANDLE(self, a0, OBJ_PROCESS, process, RIGHT_READ, &status);
    if (!p)
        return unlock_result(status);
    s = p->status;
    s.threads = p->threads_alive;
    s.quota = p->quota;
    s.used = p->used;
    if (s.threads)
        s.end = PROCESS_ALIVE; // until the last thread is gone
    spin_unlock(&kernel_lock);
    return result(copy_to_user(self, a1, &s, sizeof(s)) ? OK : ERR_RANGE);
}
