// SPDX-License-Identifier: BSD-2-Clause
// The isolation audit: walks the page tables of all VMs and processes against the owner table and
// the mapping records, and proves that
//   - a table's frame belongs to that VM or process itself, and a leaf never leads to such a frame;
//   - a leaf leads to a frame of a memory object, by a record of exactly that mapping: so no frame
//     of the kernel or of anybody else, and of two VMs only what was mapped into both on purpose;
//   - a VM has no boot module, and no process but the VM's own has the VM's memory.
// In pieces of bounded length under kernel_lock; a space that changed meanwhile is begun again.
#include "kernel/core/syscall.h"

#define PIECE_ENTRIES 4096
#define ROUNDS_MAX    65 // over one space
#define REPORTS_MAX   8

// op_state.w[]; ref: the process or VM that is being walked, or none yet
enum { ID, CURSOR, CHANGES, ROUNDS, HERE, FAILURES };

struct walk {
    uint64_t *w;
    struct space *space;
    struct object *holder;
    struct mapping *last;  // the record that matched last
    uint64_t entries;      // left in this piece
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
              k->space->is_vm ? "vm" : "process", k->holder->id, why, frame.v, address,
              frames_owner(frame));
}

static struct mapping *record_at(struct walk *k, uint64_t address)
{
    if (k->last && address - k->last->address < k->last->bytes)
        return k->last;
    list_for_each(l, &k->space->mappings) {
        struct mapping *m = list_entry(l, struct mapping, in_space);
        if (k->entries > 1)
            k->entries--; // searching counts as work of this piece
        if (address - m->address < m->bytes)
            return k->last = m;
    }
    return NULL;
}

// Is the memory some VM's? Then only that VM's process may have it as well.
static bool vm_memory_of_others(const struct memory *m, const struct process *p)
{
    bool used = false;
    list_for_each(l, &m->mappings) {
        const struct space *s = list_entry(l, struct mapping, in_memory)->space;
        if (s->is_vm && container_of(s, struct vm, space)->object.owner == p)
            return false;
        used |= s->is_vm;
    }
    return used;
}

// Frames of one owner, mapped in a row by one leaf.
static const char *check_leaf(struct walk *k, struct hpa frame, uint64_t address, uint64_t bytes)
{
    uint32_t owner = frames_owner(frame);
    if (owner == k->space->owner_id)
        return k->space->is_vm && frame.v == object_as(k->holder, vm)->own_page.v &&
               bytes == PAGE_SIZE ? NULL : "a table of its own";
    struct object *o = object_by_id(owner);
    if (!o || o->type != OBJ_MEMORY)
        return "not a memory object's";
    struct mapping *record = record_at(k, address);
    if (!record || address + bytes > record->address + record->bytes)
        return "mapped by no one";
    const struct memory *m = record->memory;
    if (m != object_as(o, memory) ||
        m->base.v + record->offset + (address - record->address) != frame.v)
        return "not what was mapped";
    if (k->space->is_vm)
        return (m->flags & MEM_MODULE) ? "a boot module" : NULL;
    if (vm_memory_of_others(object_as(o, memory), object_as(k->holder, process)))
        return "memory of another's vm";
    return NULL;
}

static void check_item(struct walk *k, const struct audit_item *item)
{
    if (item->table) {
        if (frames_owner(item->frame) != k->space->owner_id)
            fail(k, "a table not its own", item->address, item->frame);
        k->w[HERE]++;
        return;
    }
    for (uint64_t at = 0; at < item->bytes;) {
        struct hpa frame = HPA(item->frame.v + at);
        uint64_t run = frames_run(frame, (item->bytes - at) / PAGE_SIZE);
        const char *why = check_leaf(k, frame, item->address + at, run * PAGE_SIZE);
        if (why)
            fail(k, why, item->address + at, frame);
        k->w[HERE] += run;
        at += run * PAGE_SIZE;
    }
}

// The next process or VM from w[ID] on; NULL: none among the ids of this piece.
static struct object *next_holder(uint64_t *w)
{
    for (unsigned i = 0; i < PIECE_ENTRIES && w[ID] < object_id_end(); i++, w[ID]++) {
        struct object *o = object_by_id((uint32_t)w[ID]);
        if (o && o->dying == OBJECT_ALIVE && (o->type == OBJ_VM || o->type == OBJ_PROCESS))
            return o;
    }
    return NULL;
}

enum op_progress audit_piece(struct thread *t)
{
    uint64_t *w = t->op_state.w;
    struct object *o = ref_get(t->op_state.ref);
    if (!o) { // the first, or the last one was destroyed
        o = next_holder(w);
        if (!o && w[ID] < object_id_end())
            return OP_AGAIN;
        t->op_state.status = w[FAILURES] ? ERR_STATE : OK;
        if (!o)
            return OP_DONE;
        t->op_state.ref = ref_to(o);
        w[CHANGES] = UINT64_MAX; // unlike any
        w[ROUNDS] = 0;
    }
    struct walk k = { w, space_of(o), o, NULL, PIECE_ENTRIES };
    if (w[CHANGES] != k.space->changes) {
        if (++w[ROUNDS] > ROUNDS_MAX) {
            t->op_state.status = ERR_BUSY;
            return OP_DONE;
        }
        w[CURSOR] = 0;
        w[HERE] = 0;
        w[CHANGES] = k.space->changes;
    }
    for (; k.entries; k.entries--) {
        struct audit_item item;
        if (arch_space_next(k.space, &w[CURSOR], &item)) {
            check_item(&k, &item);
            continue;
        }
        t->op_state.value += w[HERE];
        t->op_state.ref = (struct ref){ NULL, 0 };
        w[ID]++;
        break;
    }
    return OP_AGAIN;
}
