// SPDX-License-Identifier: BSD-2-Clause
// Kernel objects, their ids and handles.
//
// An object's memory comes from a slab that never gives it back as anything else, and its
// generation outlives it: a stale pointer with its generation (struct ref, a handle) is always safe
// to test. Ownership: every object belongs to the process that paid for it and dies with it.
// Locking: `kernel_lock` guards the structure (ids, owner lists, handle tables' writers, mappings,
// quotas). Lookups take no lock: a looked-up pointer is good until this core leaves the kernel,
// because freeing waits for a grace period (grace.h).
#pragma once
#include "kernel/abi/syscall.h"
#include "kernel/lib/list.h"
#include "kernel/lib/spinlock.h"
#include "kernel/lib/types.h"

// Type, and the struct it is. Of the first ones processes have counts, in the order of struct
// process_counts.
#define OBJECTS(X)                                                                                 \
    X(NONE, mapping) X(MEMORY, memory) X(PROCESS, process) X(THREAD, thread) X(SC, sc)             \
    X(EVENT, event) X(TIMER, timer_object) X(VM, vm) X(VCPU, vcpu) X(IRQ, irq) X(IOPORTS, ioports) \
    X(SYSTEM, system)

enum object_type {
#define X(type, noun) OBJ_##type, OBJ_OF_##noun = OBJ_##type,
    OBJECTS(X)
#undef X
    OBJ_TYPE_COUNT,
    OBJ_COUNTED = OBJ_VCPU + 1,
};

struct process;

struct object {
    uint32_t id;           // index into the table of objects; also the mark in the frame table
    uint32_t generation;   // of this slot; changes when the object is destroyed
    uint8_t type;          // enum object_type
    uint8_t dying;         // enum object_dying
    uint8_t stop;          // atomic: enum object_stop
    struct process *owner; // its slot's bytes are charged to it
    struct list owned;     // in owner->objects; while free, in the slab's list
    struct object *up;     // while dying: what its destroyer goes on with afterwards
};

// A destroy that has begun is finished by its thread, or, when that was killed, by whoever destroys
// the owner (op.c).
enum object_dying { OBJECT_ALIVE, OBJECT_DYING, OBJECT_ABANDONED, OBJECT_FREE };
// Of what one core alone may touch: that core is to let go of it, and has.
enum object_stop { STOP_NOT, STOP_WANTED, STOP_DONE };

struct ref { struct object *object; uint32_t generation; };
struct notice { struct ref event; uint64_t bits; }; // to be signalled when something happens

#define OBJECT_MAX (1u << 24)      // ids are 24 bits of a handle
#define OBJECT_ID_PAGE 512u        // pointers in a page of the table of ids

extern struct spinlock kernel_lock;

void objects_init(void); // boot core, once
// Makes an object of the type's size, zeroed but for its header, charged to `owner` (NULL: the
// kernel's own). Returns NULL and sets *status to ERR_QUOTA, ERR_MEMORY or ERR_FULL. kernel_lock
// held.
struct object *object_alloc(enum object_type type, struct process *owner, enum status *status);
// The same, only that it is in nobody's list, and all behind the header as those before it left it.
struct object *object_take(enum object_type type, struct process *owner, enum status *status);
// Ends all handles and refs at once; the memory stays until object_free(). kernel_lock held.
void object_retire(struct object *object);
// After the grace period. kernel_lock held.
void object_free(struct object *object);
// Both at once, of an object that nobody has seen yet. kernel_lock held.
void object_drop(struct object *object);
// The live or dying object, or NULL; for walks: ids run from 1 to object_id_end() - 1.
struct object *object_by_id(uint32_t id);
uint32_t object_id_end(void);
uint32_t object_count(void);

// The object, or NULL for NULL, as the struct it is part of.
#define object_to(o, noun)                                                                         \
    ({                                                                                             \
        struct object *object_to_ = (o);                                                           \
        object_to_ ? container_of(object_to_, struct noun, object) : NULL;                         \
    })
#define object_as(o, noun) container_of(o, struct noun, object) // not NULL
// object_alloc() of the struct's type, as that struct.
#define object_new(noun, owner, status)                                                            \
    object_to(object_alloc(OBJ_OF_##noun, owner, status), noun)

static inline struct ref ref_to(struct object *o)
{
    return (struct ref){ o, o ? o->generation : 0 };
}

// The object, or NULL when it has been destroyed since.
static inline struct object *ref_get(struct ref r)
{
    if (!r.object || __atomic_load_n(&r.object->generation, __ATOMIC_ACQUIRE) != r.generation)
        return NULL;
    return r.object;
}

// The table of ids: pages of pointers, made as ids are. Slot 0 is an object that no handle matches.
extern struct object **object_ids[OBJECT_MAX / OBJECT_ID_PAGE];

// An entry of a process's handle table is one word: id 0-23, rights 24-31, generation 32-63. Read
// without a lock, written under kernel_lock. One whose object is gone stays taken until it is
// closed.
#define HANDLE_RESERVED (1ull << 32) // taken, but leads nowhere yet
#define HANDLE_NARROW   0x80u // beside the rights: process->withheld[] counts

// The object, or NULL: empty or stale.
static inline struct object *handle_object(uint64_t entry)
{
    uint32_t id = entry & (OBJECT_MAX - 1);
    struct object *o = object_ids[id / OBJECT_ID_PAGE][id % OBJECT_ID_PAGE];
    return __atomic_load_n(&o->generation, __ATOMIC_ACQUIRE) == entry >> 32 ? o : NULL;
}

// slot 0: as handle_find(). Returns the slot or a negative status. kernel_lock held.
int handle_set(struct process *process, uint64_t slot, struct object *object, uint8_t rights);
// The lowest empty slot, or ERR_FULL. kernel_lock held, as long as the slot is not written.
int handle_find(const struct process *process);
void handle_reserve(struct process *process, uint64_t slot); // until the object is ready
void handle_fill(struct process *process, int slot, struct object *object, uint8_t rights);
// An event for somebody who is to signal `bits` of it. NULL and *status (ERR_HANDLE, ERR_RIGHTS).
// kernel_lock held.
struct event *handle_event(const struct process *process, uint64_t h, uint64_t bits,
                           enum status *status);
void handle_clear(struct process *process, uint64_t slot);
