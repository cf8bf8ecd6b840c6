// SPDX-License-Identifier: BSD-2-Clause
// Kernel objects: one slab per type, ids, generations. Guarded by kernel_lock.
//
// A slot of a slab keeps its type, its place and its id for ever, and its generation only grows: so
// a stale struct ref or handle is tested by reading the slot's generation, whatever became of it.
#include "kernel/core/arch.h"
#include "kernel/lib/string.h"

#define SLOT_ALIGN 64u
#define GENERATION_LAST (UINT32_MAX - 1) // UINT32_MAX is that of the object that no handle names

struct spinlock kernel_lock;
struct object **object_ids[OBJECT_MAX / OBJECT_ID_PAGE];

static uint32_t ids_end;  // first id never used
static uint32_t live;

// The struct's size and where in it the header is; the rest is from these: bytes of a slot, and
// what one is charged with: its share of its slab, with what is left over there.
static struct slab {
    uint32_t bytes, offset, slot, frames;
    uint64_t cost;
    struct list free;
} slabs[OBJ_TYPE_COUNT] = {
#define X(type, noun) { .bytes = sizeof(struct noun), .offset = offsetof(struct noun, object) },
    OBJECTS(X)
#undef X
};

// Gives `object` the next id; false: no memory for the table of ids, or no ids left.
static bool id_assign(struct object *object)
{
    if (ids_end == OBJECT_MAX)
        return false;
    struct object ***page = &object_ids[ids_end / OBJECT_ID_PAGE];
    if (!*page) {
        struct hpa frame;
        if (!frames_alloc_kernel(1, FRAME_KERNEL, &frame))
            return false;
        *page = arch_ptr(frame);
        memset(*page, 0, PAGE_SIZE);
    }
    (*page)[ids_end % OBJECT_ID_PAGE] = object;
    object->id = ids_end++;
    return true;
}

// Id 0 belongs to an object that no handle and no frame names.
void objects_init(void)
{
    static struct object nothing;
    for (struct slab *s = slabs; s < slabs + OBJ_TYPE_COUNT; s++) {
        s->slot = (uint32_t)align_up(s->bytes, SLOT_ALIGN);
        s->frames = (uint32_t)(align_up(s->slot, PAGE_SIZE) / PAGE_SIZE);
        s->cost = s->frames * PAGE_SIZE / (s->frames * PAGE_SIZE / s->slot);
        list_init(&s->free);
    }
    list_init(&vcpus);
    ids_end = 0;
    live = 0;
    nothing = (struct object){ .generation = UINT32_MAX, .dying = OBJECT_FREE };
    if (!id_assign(&nothing))
        panic("no memory for the table of objects");
}

static __attribute__((noinline)) bool slab_grow(enum object_type type)
{
    struct slab *s = &slabs[type];
    struct hpa run;
    if (!frames_alloc_kernel(s->frames, FRAME_KERNEL, &run))
        return false;
    char *slab = arch_ptr(run);
    memset(slab, 0, s->frames * PAGE_SIZE);
    for (uint64_t at = 0; at + s->slot <= s->frames * PAGE_SIZE; at += s->slot) {
        struct object *o = (struct object *)(slab + at + s->offset);
        if (!id_assign(o)) {
            if (at == 0)
                frames_free_kernel(run, s->frames);
            return at > 0;
        }
        o->type = (uint8_t)type;
        o->generation = 1;
        o->dying = OBJECT_FREE;
        list_push_back(&s->free, &o->owned);
    }
    return true;
}

inline __attribute__((always_inline)) // a VM may wait for a page, whose record this is
struct object *object_take(enum object_type type, struct process *owner, enum status *status)
{
    struct slab *s = &slabs[type];
    if (unlikely(list_empty(&s->free)) && !slab_grow(type)) {
        *status = ids_end == OBJECT_MAX ? ERR_FULL : ERR_MEMORY;
        return NULL;
    }
    *status = ERR_QUOTA;
    if (owner && (owner->have[type] >= owner->may[type] || !process_charge(owner, s->cost)))
        return NULL;
    *status = OK;
    if (owner)
        owner->have[type]++;
    live++;
    struct object *o = list_entry(s->free.next, struct object, owned);
    list_remove(&o->owned);
    o->dying = OBJECT_ALIVE;
    o->owner = owner;
    return o;
}

struct object *object_alloc(enum object_type type, struct process *owner, enum status *status)
{
    struct object *o = object_take(type, owner, status);
    if (!o)
        return NULL;
    struct object header = *o;
    memset((char *)o - slabs[type].offset, 0, slabs[type].bytes);
    *o = header;
    list_init(&o->owned);
    if (owner)
        list_push_back(&owner->objects, &o->owned);
    return o;
}

void object_retire(struct object *o)
{
    __atomic_store_n(&o->generation, o->generation + 1, __ATOMIC_RELEASE);
}

void object_free(struct object *o)
{
    ASSERT(o->dying != OBJECT_FREE);
    list_remove(&o->owned);
    if (o->owner) {
        process_uncharge(o->owner, slabs[o->type].cost);
        o->owner->have[o->type]--;
    }
    o->owner = NULL;
    o->up = NULL;
    o->dying = OBJECT_FREE;
    o->stop = STOP_NOT;
    live--;
    if (o->generation < GENERATION_LAST) // else a handle of long ago would fit again: it rests
        list_push_front(&slabs[o->type].free, &o->owned);
}

void object_drop(struct object *o)
{
    object_retire(o);
    object_free(o);
}

struct object *object_by_id(uint32_t id)
{
    if (id >= ids_end)
        return NULL;
    struct object *o = object_ids[id / OBJECT_ID_PAGE][id % OBJECT_ID_PAGE];
    return o->dying == OBJECT_FREE ? NULL : o;
}

uint32_t object_id_end(void) { return ids_end; }
uint32_t object_count(void) { return live; }
