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

static struct list free_slots[OBJ_TYPE_COUNT];
static uint32_t ids_end;  // first id never used
static uint32_t live;

// Where in each type's struct the header is.
static const struct { uint32_t bytes, offset; } layouts[OBJ_TYPE_COUNT] = {
#define X(type, noun) { sizeof(struct noun), offsetof(struct noun, object) },
    OBJECTS(X)
#undef X
};

static uint32_t slot_bytes(enum object_type type)
{
    return (uint32_t)align_up(layouts[type].bytes, SLOT_ALIGN);
}

static uint64_t slab_frames(enum object_type type)
{
    return align_up(slot_bytes(type), PAGE_SIZE) / PAGE_SIZE;
}

// What a slot is charged with: its share of its slab, with what is left over there.
static uint64_t slot_costs[OBJ_TYPE_COUNT];

static uint64_t slot_cost(enum object_type type)
{
    uint64_t slab = slab_frames(type) * PAGE_SIZE;
    return slab / (slab / slot_bytes(type));
}

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
    for (unsigned t = 0; t < OBJ_TYPE_COUNT; t++) {
        list_init(&free_slots[t]);
        slot_costs[t] = slot_cost(t);
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
    uint32_t bytes = slot_bytes(type);
    uint64_t frames = slab_frames(type);
    struct hpa run;
    if (!frames_alloc_kernel(frames, FRAME_KERNEL, &run))
        return false;
    char *slab = arch_ptr(run);
    memset(slab, 0, frames * PAGE_SIZE);
    for (uint64_t at = 0; at + bytes <= frames * PAGE_SIZE; at += bytes) {
        struct object *o = (struct object *)(slab + at + layouts[type].offset);
        if (!id_assign(o)) {
            if (at == 0)
                frames_free_kernel(run, frames);
            return at > 0;
        }
        o->type = type;
        o->generation = 1;
        o->dying = OBJECT_FREE;
        list_push_back(&free_slots[type], &o->owned);
    }
    return true;
}

struct object *object_alloc(enum object_type type, struct process *owner, enum status *status)
{
    if (list_empty(&free_slots[type]) && !slab_grow(type)) {
        *status = ids_end == OBJECT_MAX ? ERR_FULL : ERR_MEMORY;
        return NULL;
    }
    *status = ERR_QUOTA;
    if (owner && owner->have[type] >= owner->may[type])
        return NULL;
    if (owner && !process_charge(owner, slot_costs[type]))
        return NULL;
    *status = OK;
    struct object *o = list_entry(free_slots[type].next, struct object, owned);
    list_remove(&o->owned);
    uint32_t id = o->id, generation = o->generation;
    memset((char *)o - layouts[type].offset, 0, layouts[type].bytes);
    o->id = id;
    o->type = type;
    o->owner = owner;
    list_init(&o->owned);
    if (owner)
        owner->have[type]++;
    if (owner && type != OBJ_NONE) // a mapping goes with its space
        list_push_back(&owner->objects, &o->owned);
    __atomic_store_n(&o->generation, generation, __ATOMIC_RELEASE);
    live++;
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
        process_uncharge(o->owner, slot_costs[o->type]);
        o->owner->have[o->type]--;
    }
    o->owner = NULL;
    o->dying = OBJECT_FREE;
    live--;
    if (o->generation < GENERATION_LAST) // else a handle of long ago would fit again: it rests
        list_push_front(&free_slots[o->type], &o->owned);
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
