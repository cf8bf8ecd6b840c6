// SPDX-License-Identifier: BSD-2-Clause
// Long operations: what a system call cannot do in one go becomes the thread's `op`, done piece by
// piece when the scheduler picks the thread. Between pieces interrupts come in and others may run.
// A piece that waits for other cores blocks the thread for a short time, so that nothing spins.
//
// A thread may be killed between any two pieces. What it leaves behind is then consistent, and
// finished by whoever destroys the owner.
#include "kernel/core/syscall.h"

#define POLL_US 20 // how long a waiting operation sleeps

void op_begin(struct thread *t, enum thread_op op)
{
    t->op = (uint8_t)op;
    t->mode = THREAD_OP;
    t->op_state.step = 0;
    t->op_state.status = OK;
    t->op_state.value = 0;
    sched_run();
}

// w[0]: the reserved slot.
static enum op_progress create_piece(struct thread *t)
{
    struct memory *m = object_to(t->op_state.object, memory);
    if (!memory_zero_piece(m))
        return OP_UNLOCKED;
    handle_fill(t->process, (int)t->op_state.w[0], &m->object, RIGHT_ALL);
    t->op_state.status = (int64_t)t->op_state.w[0];
    return OP_DONE;
}

// ref: the mapping, until its space or its memory is destroyed; w: see mapping_piece().
static enum op_progress unmap_piece(struct thread *t)
{
    struct mapping *m = object_to(ref_get(t->op_state.ref), mapping);
    return m ? mapping_piece(m, t->op_state.w) : OP_DONE;
}

static enum op_progress (*const pieces[OP_COUNT])(struct thread *t) = {
    [OP_REST] = rest_piece,
    [OP_MEM_CREATE] = create_piece,
    [OP_DESTROY] = destroy_piece,
    [OP_MAP] = map_piece,
    [OP_UNMAP] = unmap_piece,
    [OP_AUDIT] = audit_piece,
};

void op_run(struct thread *t)
{
    spin_lock(&kernel_lock);
    enum op_progress progress = pieces[t->op](t);
    if (progress != OP_UNLOCKED)
        spin_unlock(&kernel_lock);
    if (progress == OP_DONE) {
        t->op = OP_NONE;
        t->mode = THREAD_USER;
        arch_thread_set_result(t, t->op_state.status, t->op_state.value);
        return;
    }
    if (progress == OP_WAIT) {
        t->state = THREAD_BLOCKED;
        timer_arm(&t->wait_timer, t->sc, arch_now() + us_to_tsc(POLL_US));
        return;
    }
    sched_window(this_cpu());
}

void op_abandon(struct thread *t)
{
    if (t->op == OP_DESTROY)
        destroy_abandon(t);
    if (t->op == OP_MEM_CREATE)
        handle_clear(t->process, t->op_state.w[0]);
    if (t->op == OP_AUDIT)
        audit_abandon(t);
    t->op = OP_NONE;
}
