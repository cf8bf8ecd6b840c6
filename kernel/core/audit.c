// SPDX-License-Identifier: BSD-2-Clause
// The isolation audit: walks the page tables of all VMs and processes against the owner table and
// the mapping records, and proves that
//   - a table's frame belongs to that VM or process itself, and a leaf never leads to such a frame;
//   - a leaf leads to a frame of a memory object, or of a device, by a record of exactly that
//     mapping: so no frame of the kernel or of anybody else, and of two VMs only what was mapped
//     into both on purpose;
//   - a VM has no boot module, and no process but the VM's own has the VM's memory;
//   - the kernel's own map leads to no frame of a memory object but those made with MEM_KERNEL.
// In pieces of bounded length under kernel_lock; a space that changed meanwhile is begun again. One
// that changes again and again must wait with that, so the audit comes to its end.
#include "kernel/core/syscall.h"

// What one piece and its steps cost, in instructions, roughly.
#define PIECE       2000
#define COST_ENTRY  150
#define COST_EMPTY  8 // an entry passed over
#define COST_RECORD 8 // one of a list looked at
#define COST_FRAME  4
#define FRAMES_STEP 256u
#define IDS_PIECE   128
#define ROUNDS_MAX  16 // over one space that goes on changing
#define REPORTS_MAX   8

// op_state.w[]; ref: the process or VM that is being walked, or none yet
// PART: bytes of the entry at CURSOR that are checked. ID 0 is the kernel's own map.
enum { ID, CURSOR, CHANGES, ROUNDS, HERE, FAILURES, PART };

struct walk {
    uint64_t *w;
    struct space *space;   // NULL: the kernel's map
    struct object *holder;
    struct mapping *last;  // the record that matched last
    int64_t left;          // of PIECE
};

static struct space *space_of(struct object *o)
{
    return o->type == OBJ_VM ? &object_as(o, vm)->space : &object_as(o, process)->space;
}

static void fail(struct walk *k, const char *why, uint64_t address, struct hpa frame)
{
    if (k->w[FAILURES]++ >= REPORTS_MAX)
        return;
    log_print("audit: %s %u: %s: frame 0x%lx at 0x%lx, owner %u\n",
              !k->space ? "kernel" : k->space->is_vm ? "vm" : "process",
              k->holder ? k->holder->id : 0, why, frame.v, address, frames_owner(frame));
}

static struct mapping *record_at(struct walk *k, uint64_t address)
{
    if (k->last && address - k->last->address < k->last->bytes)
        return k->last;
    list_for_each(l, &k->space->mappings) {
        struct mapping *m = list_entry(l, struct mapping, in_space);
        k->left -= COST_RECORD;
        if (address - m->address < m->bytes)
            return k->last = m;
    }
    return NULL;
}

// Is the memory some VM's? Then only that VM's process may have it as well.
static bool vm_memory_of_others(struct walk *k, const struct memory *m, const struct process *p)
{
    bool used = false;
    list_for_each(l, &m->mappings) {
        k->left -= COST_RECORD;
        const struct space *s = list_entry(l, struct mapping, in_memory)->space;
        if (s->is_vm && container_of(s, struct vm, space)->object.owner == p)
            return false;
        used |= s->is_vm;
    }
    return used;
}

static const char *check_kernel(uint32_t owner)
{
    struct object *o = object_by_id(owner);
    bool memory = o && o->type == OBJ_MEMORY;
    return owner == FRAME_FREE || (memory && !(object_as(o, memory)->flags & MEM_KERNEL))
               ? "memory that is not the kernel's" : NULL;
}

// Frames of one owner, mapped in a row by one leaf.
static const char *check_leaf(struct walk *k, struct hpa frame, uint64_t address, uint64_t bytes)
{
    uint32_t owner = frames_owner(frame);
    if (!k->space)
        return check_kernel(owner);
    if (owner == k->space->owner_id)
        return "a table of its own";
    struct object *o = object_by_id(owner);
    struct mapping *record = record_at(k, address);
    const struct memory *m = record ? record->memory : NULL;
    bool device = m && (m->flags & MEM_DEVICE) && owner == FRAME_RESERVED;
    if (!device && (!o || o->type != OBJ_MEMORY))
        return "not a memory object's";
    if (!record || address + bytes > record->address + record->bytes)
        return "mapped by no one";
    if ((!device && m != object_as(o, memory)) ||
        m->base.v + record->offset + (address - record->address) != frame.v)
        return "not what was mapped";
    if (k->space->is_vm)
        return (m->flags & MEM_MODULE) ? "a boot module" : NULL;
    if (vm_memory_of_others(k, m, object_as(k->holder, process)))
        return "memory of another's vm";
    return NULL;
}

// True: all of it.
static bool check_item(struct walk *k, const struct audit_item *item)
{
    if (item->table) {
        uint32_t owner = k->space ? k->space->owner_id : FRAME_KERNEL;
        if (frames_owner(item->frame) != owner)
            fail(k, "a table not its own", item->address, item->frame);
        k->w[HERE] += k->space != NULL;
        return true;
    }
    while (k->w[PART] < item->bytes) {
        uint64_t at = k->w[PART], most = min_u64((item->bytes - at) / PAGE_SIZE, FRAMES_STEP);
        struct hpa frame = HPA(item->frame.v + at);
        if (k->left <= 0)
            return false;
        uint64_t run = frames_run(frame, most);
        k->left -= (int64_t)run * COST_FRAME + COST_ENTRY;
        const char *why = check_leaf(k, frame, item->address + at, run * PAGE_SIZE);
        if (why)
            fail(k, why, item->address + at, frame);
        k->w[HERE] += k->space ? run : 0;
        k->w[PART] = at + run * PAGE_SIZE;
    }
    k->w[PART] = 0;
    return true;
}

// The next process or VM from w[ID] on; NULL: none among the ids of this piece.
static struct object *next_holder(uint64_t *w)
{
    for (unsigned i = 0; i < IDS_PIECE && w[ID] < object_id_end(); i++, w[ID]++) {
        struct object *o = object_by_id((uint32_t)w[ID]);
        if (o && o->dying == OBJECT_ALIVE && (o->type == OBJ_VM || o->type == OBJ_PROCESS))
            return o;
    }
    return NULL;
}

// Finds the next space to walk, which is a piece of its own, or begins it again; false: `*progress`
// is the end of this piece.
static bool choose(struct thread *t, struct walk *k, enum op_progress *progress)
{
    uint64_t *w = k->w;
    k->holder = ref_get(t->op_state.ref);
    if (!k->holder) { // the first, or the last one was destroyed
        k->holder = next_holder(w);
        *progress = k->holder || w[ID] < object_id_end() ? OP_AGAIN : OP_DONE;
        t->op_state.status = w[FAILURES] ? ERR_STATE : OK;
        t->op_state.ref = ref_to(k->holder);
        w[CHANGES] = UINT64_MAX; // unlike any
        w[ROUNDS] = 0;
        return false;
    }
    k->space = space_of(k->holder);
    if (w[CHANGES] != k->space->changes) {
        k->space->still = ++w[ROUNDS] > ROUNDS_MAX;
        w[CURSOR] = w[PART] = w[HERE] = 0;
        w[CHANGES] = k->space->changes;
    }
    return true;
}

enum op_progress audit_piece(struct thread *t)
{
    struct walk k = { .w = t->op_state.w, .left = PIECE };
    enum op_progress progress = OP_AGAIN;
    if (k.w[ID] && !choose(t, &k, &progress))
        return progress;
    while (k.left > 0) {
        struct audit_item item;
        uint64_t before = k.w[CURSOR];
        if (k.space ? arch_space_next(k.space, &k.w[CURSOR], &item)
                    : arch_kernel_next(&k.w[CURSOR], &item)) {
            if (!check_item(&k, &item))
                k.w[CURSOR] = before;
            k.left -= COST_ENTRY + (int64_t)item.empty * COST_EMPTY;
            continue;
        }
        if (k.space)
            k.space->still = 0;
        t->op_state.value += k.w[HERE];
        t->op_state.ref = (struct ref){ NULL, 0 };
        k.w[CURSOR] = 0;
        k.w[ID]++;
        break;
    }
    return OP_AGAIN;
}

void audit_leave(struct object *o)
{
    if (o && (o->type == OBJ_VM || o->type == OBJ_PROCESS))
        space_of(o)->still = 0;
}

void audit_abandon(struct thread *t) { audit_leave(ref_get(t->op_state.ref)); }
