// SPDX-License-Identifier: BSD-2-Clause
// object_destroy: one operation that takes an object apart with all that hangs on it: a process's
// objects and children, a VM's vCPU. Under kernel_lock where it says so.
//
// Per object: (1) its generation changes, so handles and references are dead; (2) a grace period:
// whoever had looked it up is out of the kernel; (3) what still uses it is told to stop; (4) wait
// until it has; (5) a second grace period, for those who found it through a user; (6) it is taken
// apart. An object in the middle of this is `dying`; one that needs another first goes down to that
// one and comes back by `up`. Waiting always goes downwards, so no two destroyers wait for each
// other, and a destroyer that is killed leaves its chain `abandoned`, to be begun again by the next
// one. The objects of a process go through (1) to (5) in batches, so two grace periods serve a
// whole batch, and are then taken apart one after the other, the newest first.
#include "kernel/core/grace.h"
#include "kernel/core/syscall.h"

#define UNMAP_BATCH 32
#define BATCH       64
#define STOP_PIECE  16 // of a batch, that are told to stop in one go

enum step { STEP_GRACE, STEP_STOP, STEP_GRACE_USERS, STEP_APART };

static void retire(struct object *o, struct object *up)
{
    o->dying = OBJECT_DYING;
    o->up = up;
    if (o->stop == STOP_WANTED)
        o->stop = STOP_NOT; // an answer that comes now is to an earlier destroyer
    object_retire(o);
    if (o->type == OBJ_MEMORY)
        object_as(o, memory)->zeroed = 0;
    audit_leave(o); // nobody finds it any more, nor does the audit
}

// op_state: object: the victim; step; w[0]: grace period; w[1]: how many, from the victim on by
// `up`, go through the steps together; w[2]: how many of them have stopped. Then, of the victim
// alone, ref: the mapping that is being removed; w[2], w[3]: see mapping_piece().
static void begin(struct thread *t, struct object *first, uint64_t count)
{
    t->op_state.object = first;
    t->op_state.ref = (struct ref){ NULL, 0 };
    t->op_state.step = STEP_GRACE;
    t->op_state.w[0] = grace_begin();
    t->op_state.w[1] = count;
    t->op_state.w[2] = 0;
}

// Another destroyer may be at work on the same object: then wait for its end.
static enum op_progress descend(struct thread *t, struct object *o)
{
    if (o->dying == OBJECT_DYING)
        return OP_WAIT;
    retire(o, t->op_state.object);
    begin(t, o, 1);
    return OP_AGAIN;
}

// The newest first: a vCPU before its VM and its page, a part before the whole. As far as no other
// destroyer is at work on them.
static enum op_progress descend_batch(struct thread *t, struct process *p)
{
    struct list *l = p->objects.prev, *end = &p->objects;
    struct object *first = list_entry(l, struct object, owned), *last = NULL;
    uint64_t count = 0;
    if (first->dying == OBJECT_DYING)
        return OP_WAIT;
    for (; l != end && count < BATCH; l = l->prev, count++) {
        struct object *o = list_entry(l, struct object, owned);
        if (o->dying == OBJECT_DYING)
            break;
        retire(o, t->op_state.object);
        if (last)
            last->up = o;
        last = o;
        if (o->type == OBJ_PROCESS || o->type == OBJ_SC)
            end = l->prev; // to have its threads stop is work enough for one batch
    }
    begin(t, first, count);
    return OP_AGAIN;
}

void destroy_abandon(struct thread *t)
{
    for (struct object *o = t->op_state.object; o; o = o->up)
        o->dying = OBJECT_ABANDONED;
}

// The core that its use is on; only that core can change it.
static uint32_t core_of(struct object *o)
{
    const struct thread *home;
    switch (o->type) {
    case OBJ_TIMER:
        home = object_as(o, timer_object)->home;
        return home ? __atomic_load_n(&home->core, __ATOMIC_ACQUIRE) : this_cpu()->id;
    case OBJ_SC:
        return object_as(o, sc)->core;
    default:
        return __atomic_load_n(&object_as(o, vcpu)->core, __ATOMIC_ACQUIRE);
    }
}

// Once, though more than one destroyer may have asked; and not here, if it has moved meanwhile.
static void stop_here(struct object *o)
{
    if (o->stop != STOP_WANTED || core_of(o) != this_cpu()->id)
        return;
    switch (o->type) {
    case OBJ_TIMER:
        timer_leave(object_as(o, timer_object));
        break;
    case OBJ_SC:
        if (!sc_stop(this_cpu(), object_as(o, sc)))
            return;
        break;
    case OBJ_VCPU:
        if (!vcpu_stop(object_as(o, vcpu)))
            return;
        break;
    }
    __atomic_store_n(&o->stop, STOP_DONE, __ATOMIC_RELEASE);
}

void destroy_stop_on_core(struct object *o)
{
    for (unsigned i = 0; i < STOP_PIECE && o; i++, o = o->up)
        stop_here(o);
}

// An object that was stopped stays so, though its destroyer was killed and another begins.
static bool stop_on_its_core(struct object *o)
{
    if (o->stop == STOP_NOT)
        o->stop = STOP_WANTED;
    return cpu_stop(o, core_of(o));
}

// Tells those who use it to stop; true: they have.
static bool stopped(struct object *o)
{
    struct thread *victim;
    switch (o->type) {
    case OBJ_THREAD:
        victim = object_as(o, thread);
        if (__atomic_load_n(&victim->state, __ATOMIC_ACQUIRE) == THREAD_DEAD)
            return !__atomic_load_n(&victim->remote_pending, __ATOMIC_ACQUIRE);
        process_kill_one(victim);
        return false;
    case OBJ_PROCESS:
        process_kill(object_as(o, process));
        return !object_as(o, process)->threads_alive;
    case OBJ_EVENT:
        event_end(object_as(o, event));
        return true;
    case OBJ_VCPU:
        vcpu_raise(object_as(o, vcpu), VCPU_WORK_EVENT);
        return stop_on_its_core(o);
    case OBJ_SC:
        return sc_end(object_as(o, sc)) && stop_on_its_core(o);
    case OBJ_TIMER:
        return stop_on_its_core(o);
    default:
        return true;
    }
}

// Some at a time. The wish is made known of these before a core is asked, so that one request
// serves.
static enum op_progress stop_piece(uint64_t *w, struct object *first)
{
    uint64_t count = min_u64(w[1] - w[2], STOP_PIECE);
    bool all = true;
    for (uint64_t i = 0; i < w[2]; i++)
        first = first->up;
    struct object *o = first;
    for (uint64_t i = 0; i < count; i++, o = o->up)
        if (o->stop == STOP_NOT && o->type == OBJ_TIMER) // a context: once its threads have ended
            o->stop = STOP_WANTED;
    o = first;
    for (uint64_t i = 0; i < count; i++, o = o->up)
        all &= stopped(o);
    if (!all)
        return OP_WAIT;
    w[2] += count;
    return w[2] < w[1] ? OP_AGAIN : OP_DONE;
}

static enum op_progress memory_unmap(struct thread *t, struct memory *m)
{
    struct mapping *map = object_to(ref_get(t->op_state.ref), mapping);
    if (!map) {
        map = list_entry(m->mappings.next, struct mapping, in_memory);
        t->op_state.ref = ref_to(&map->object);
        t->op_state.w[2] = 0;
    }
    return mapping_piece(map, &t->op_state.w[2]) == OP_WAIT ? OP_WAIT : OP_AGAIN;
}

// OP_DONE: nothing is left but the object.
static enum op_progress memory_apart(struct thread *t, struct memory *m)
{
    if (!list_empty(&m->mappings))
        return memory_unmap(t, m);
    if (m->pins)
        return OP_WAIT;
    if (!memory_zero_piece(m))
        return OP_UNLOCKED;
    memory_free(m);
    return OP_DONE;
}

static enum op_progress space_apart(struct space *s)
{
    if (!space_drop(s))
        return OP_WAIT;
    if (list_empty(&s->mappings))
        return arch_space_free(s) ? OP_DONE : OP_AGAIN;
    for (unsigned i = 0; i < UNMAP_BATCH && !list_empty(&s->mappings); i++)
        mapping_free(list_entry(s->mappings.next, struct mapping, in_space));
    return OP_AGAIN;
}

static enum op_progress process_apart(struct thread *t, struct process *p)
{
    if (!list_empty(&p->objects))
        return descend_batch(t, p);
    enum op_progress progress = space_apart(&p->space);
    if (progress == OP_DONE && p->parent)
        process_give_back(p);
    return progress;
}

static struct ref *vcpu_slot(const struct vcpu *v)
{
    struct ref *slot = v->vm->vcpu;
    while (slot->object != &v->object)
        slot++;
    return slot;
}

static enum op_progress take_apart(struct thread *t, struct object *o)
{
    switch (o->type) {
    case OBJ_MEMORY:
        return memory_apart(t, object_as(o, memory));
    case OBJ_PROCESS:
        return process_apart(t, object_as(o, process));
    case OBJ_VM:
        for (unsigned i = 0; i < VM_VCPUS; i++)
            if (object_as(o, vm)->vcpu[i].object)
                return descend(t, object_as(o, vm)->vcpu[i].object);
        return space_apart(&object_as(o, vm)->space);
    case OBJ_VCPU:
        vcpu_go_with(object_as(o, vcpu), NULL);
        arch_vcpu_free(object_as(o, vcpu));
        list_remove(&object_as(o, vcpu)->all);
        object_as(o, vcpu)->page_memory->pins--;
        *vcpu_slot(object_as(o, vcpu)) = (struct ref){ NULL, 0 };
        return OP_DONE;
    case OBJ_SC:
        cpus[object_as(o, sc)->core]->promised -= object_as(o, sc)->share;
        return OP_DONE;
    case OBJ_THREAD:
        if (__atomic_load_n(&object_as(o, thread)->remote_pending, __ATOMIC_ACQUIRE)) {
            begin(t, o, 1); // somebody tried to wake it while it died
            return OP_WAIT;
        }
        list_remove(&object_as(o, thread)->in_process);
        return OP_DONE;
    default:
        return OP_DONE;
    }
}

enum op_progress destroy_piece(struct thread *t)
{
    struct object *o = t->op_state.object, *up = o->up;
    enum op_progress progress;
    switch (t->op_state.step) {
    case STEP_STOP:
        progress = stop_piece(t->op_state.w, o);
        if (progress != OP_DONE)
            return progress;
        t->op_state.w[0] = grace_begin();
        break;
    case STEP_APART:
        progress = take_apart(t, o);
        if (progress != OP_DONE)
            return progress;
        object_free(o);
        t->op_state.object = up; // it waits in its own STEP_APART
        return up ? OP_AGAIN : OP_DONE;
    default:
        if (!grace_over(t->op_state.w[0]))
            return OP_WAIT;
        break;
    }
    t->op_state.step++;
    return OP_AGAIN;
}

// A process is ended by those above it only: else two could wait for each other.
static bool is_below(const struct process *p, const struct process *above)
{
    for (p = p->parent; p; p = p->parent)
        if (p == above)
            return true;
    return false;
}

// May t destroy it?
static enum status check(const struct thread *t, const struct object *o)
{
    switch (o->type) {
    case OBJ_PROCESS:
        return is_below(object_as(o, process), t->process) ? OK : ERR_STATE;
    case OBJ_THREAD:
        return object_as(o, thread) == t ? ERR_STATE : OK;
    case OBJ_MEMORY:
        return object_as(o, memory)->pins ? ERR_BUSY : OK;
    case OBJ_SC:
        return object_as(o, sc)->users ? ERR_BUSY : OK;
    case OBJ_IRQ:
    case OBJ_IOPORTS:
    case OBJ_SYSTEM:
        return ERR_STATE; // the kernel's own
    default:
        return OK;
    }
}

SYSCALL(object_destroy)
{
    struct thread *t = this_cpu()->current;
    uint8_t rights;
    spin_lock(&kernel_lock);
    struct object *o = handle_any(t->process, a0, &rights);
    if (!o)
        return unlock_result(ERR_HANDLE);
    enum status status = (rights & RIGHT_CONTROL) ? check(t, o) : ERR_RIGHTS;
    if (status != OK)
        return unlock_result(status);
    handle_clear(t->process, a0);
    retire(o, NULL);
    begin(t, o, 1);
    spin_unlock(&kernel_lock);
    op_begin(t, OP_DESTROY);
}
