// SPDX-License-Identifier: BSD-2-Clause
// Handle tables. Written under kernel_lock, read without: an entry is one word.
#include "kernel/core/syscall.h"
#include "kernel/lib/bits.h"

static void entry_write(struct process *p, uint64_t slot, uint64_t entry)
{
    bits_set(p->taken, slot);
    __atomic_store_n(&p->handles[slot], entry, __ATOMIC_RELEASE);
}

int handle_find(const struct process *p)
{
    int slot = (int)bits_free(p->taken, ARRAY_SIZE(p->taken));
    return slot ? slot : ERR_FULL;
}

int handle_set(struct process *p, uint64_t slot, struct object *o, uint8_t rights)
{
    if (slot >= HANDLE_MAX)
        return ERR_RANGE;
    slot = arch_index(slot, HANDLE_MAX);
    if (slot && p->handles[slot])
        return ERR_BUSY;
    int found = slot ? (int)slot : handle_find(p);
    if (found > 0)
        handle_fill(p, found, o, rights);
    return found;
}

void handle_fill(struct process *p, int slot, struct object *o, uint8_t rights)
{
    entry_write(p, (uint64_t)slot,
                o->id | (uint64_t)rights << 24 | (uint64_t)o->generation << 32);
}

void handle_reserve(struct process *p, uint64_t slot) { entry_write(p, slot, HANDLE_RESERVED); }

void handle_clear(struct process *p, uint64_t slot)
{
    entry_write(p, slot, 0);
    bits_give_back(p->taken, slot);
}

int handle_give(struct object *o)
{
    int slot = handle_set(caller_process(), 0, o, RIGHT_ALL);
    if (slot < 0)
        object_drop(o);
    return slot;
}

// The bits that a handle may not signal.
static uint64_t withheld_by(const struct process *p, uint64_t h)
{
    h = arch_index(h, HANDLE_MAX);
    return p->handles[h] >> 24 & HANDLE_NARROW ? p->withheld[h] : 0;
}

struct event *handle_event(const struct process *p, uint64_t h, uint64_t bits, enum status *status)
{
    struct event *e = HANDLE(p, h, event, RIGHT_USE, status);
    if (!e || !(bits & withheld_by(p, h)))
        return e;
    *status = ERR_RIGHTS;
    return NULL;
}

SYSCALL_LOCKED_ON(handle_copy, process, RIGHT_USE)
{
    uint8_t have;
    struct object *o = handle_any(caller_process(), a1, &have);
    if (!o)
        return ERR_HANDLE;
    if ((a2 & ~(uint64_t)RIGHT_ALL) || (a4 && o->type != OBJ_EVENT))
        return ERR_RANGE;
    if (!(have & RIGHT_COPY) || (a2 & ~(uint64_t)have))
        return ERR_RIGHTS;
    uint64_t withheld = a4 | withheld_by(caller_process(), a1);
    int slot = handle_set(process, a3, o, (uint8_t)(a2 | (withheld ? HANDLE_NARROW : 0)));
    if (slot > 0)
        process->withheld[slot] = withheld;
    return slot;
}

// The object lives on: it is its owner's until object_destroy.
SYSCALL_LOCKED(handle_close)
{
    struct process *self = caller_process();
    uint64_t h = arch_index(a0, HANDLE_MAX);
    if (a0 >= HANDLE_MAX || !self->handles[h] || self->handles[h] == HANDLE_RESERVED)
        return ERR_HANDLE;
    handle_clear(self, h);
    return OK;
}
