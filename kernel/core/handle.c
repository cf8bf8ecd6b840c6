// SPDX-License-Identifier: BSD-2-Clause
// Handle tables. Written under kernel_lock, read without: an entry is one word.
#include "kernel/core/syscall.h"

static uint64_t entry_for(const struct object *o, uint8_t rights)
{
    return o->id | (uint64_t)rights << 24 | (uint64_t)o->generation << 32;
}

static bool entry_free(uint64_t entry)
{
    return entry == 0 || (entry != HANDLE_RESERVED && !handle_object(entry));
}

static void entry_write(struct process *p, uint64_t slot, uint64_t entry)
{
    __atomic_store_n(&p->handles->entry[slot], entry, __ATOMIC_RELEASE);
}

struct object *handle_any(const struct process *p, uint64_t h, uint8_t *rights)
{
    if (h >= HANDLE_MAX)
        return NULL;
    uint64_t entry = __atomic_load_n(&p->handles->entry[h], __ATOMIC_RELAXED);
    *rights = (uint8_t)(entry >> 24);
    return handle_object(entry);
}

static int find_free(const struct process *p)
{
    for (int slot = 1; slot < HANDLE_MAX; slot++)
        if (entry_free(p->handles->entry[slot]))
            return slot;
    return ERR_FULL;
}

int handle_set(struct process *p, uint64_t slot, struct object *o, uint8_t rights)
{
    if (slot >= HANDLE_MAX)
        return ERR_RANGE;
    if (slot && !entry_free(p->handles->entry[slot]))
        return ERR_BUSY;
    int found = slot ? (int)slot : find_free(p);
    if (found > 0)
        entry_write(p, (uint64_t)found, entry_for(o, rights));
    return found;
}

int handle_reserve(struct process *p)
{
    int slot = find_free(p);
    if (slot > 0)
        entry_write(p, (uint64_t)slot, HANDLE_RESERVED);
    return slot;
}

void handle_fill(struct process *p, uint32_t slot, struct object *o, uint8_t rights)
{
    entry_write(p, slot, entry_for(o, rights));
}

void handle_clear(struct process *p, uint32_t slot) { entry_write(p, slot, 0); }

int64_t handle_give(struct process *to, struct object *o, uint8_t rights)
{
    int slot = handle_set(to, 0, o, rights);
    if (slot < 0) {
        object_retire(o);
        object_free(o);
    }
    return slot;
}

struct copy_args {
    struct process *to;
    struct object *object;
    uint64_t slot;
    uint8_t rights;
};

static enum status decode_copy(struct copy_args *c, uint64_t process, uint64_t h, uint64_t rights)
{
    struct process *self = caller_process();
    enum status status;
    uint8_t have;
    c->to = HANDLE(self, process, OBJ_PROCESS, process, RIGHT_USE, &status);
    if (!c->to)
        return status;
    c->object = handle_any(self, h, &have);
    if (!c->object)
        return ERR_HANDLE;
    if (!(have & RIGHT_COPY))
        return ERR_RIGHTS;
    if (rights & ~(uint64_t)RIGHT_ALL)
        return ERR_RANGE;
    if (rights & ~(uint64_t)have)
        return ERR_RIGHTS;
    c->rights = (uint8_t)rights;
    return OK;
}

SYSCALL(handle_copy)
{
    struct copy_args c;
    spin_lock(&kernel_lock);
    enum status status = decode_copy(&c, a0, a1, a2);
    if (status != OK)
        return unlock_result(status);
    return unlock_result(handle_set(c.to, a3, c.object, c.rights));
}

// The object lives on: it is its owner's until object_destroy.
SYSCALL(handle_close)
{
    struct process *self = caller_process();
    uint8_t rights;
    spin_lock(&kernel_lock);
    if (!handle_any(self, a0, &rights))
        return unlock_result(ERR_HANDLE);
    handle_clear(self, (uint32_t)a0);
    return unlock_result(OK);
}
