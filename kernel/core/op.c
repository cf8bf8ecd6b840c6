// SPDX-License-Identifier: BSD-2-Clause
// Long operations: what a system call cannot do in one go becomes the thread's `op`, done piece by
// piece when the scheduler picks the thread. Between pieces interrupts come in and others may run.
// A piece that waits for other cores blocks the thread for a short time, so that nothing spins.
//
// A thread may be killed between any two pieces. What it leaves behind is then consistent, and
// finished by whoever destroys the owner.
#include "kernel/core/syscall.h"

#define POLL_US 20 // how long a waiting operation sleeps

static struct op_result done(int64_t status) { return (struct op_result){ OP_DONE, status, 0 }; }
static struct op_result again(void) { return (struct op_result){ OP_AGAIN, 0, 0 }; }

void op_begin(struct thread *t, enum thread_op op)
{
    t->op = (uint8_t)op;
    t->mode = THREAD_OP;
    t->op_state.step = 0;
    sched_run();
}

// w[0]: the reserved slot.
static struct op_result create_piece(struct thread *t)
{
    struct memory *m = object_to(t->op_state.object, memory);
    if (!memory_zero_piece(m))
        return again();
    spin_lock(&kernel_lock);
    handle_fill(t->process, (uint32_t)t->op_state.w[0], &m->object, RIGHT_ALL);
    spin_unlock(&kernel_lock);
    return done((int64_t)t->op_state.w[0]);
}

// ref: the mapping; w[0]: all entries are cleared; w[1]: the generation to wait for.
static struct op_result unmap_piece(struct thread *t)
{
    struct op_result r = { OP_WAIT, OK, 0 };
    spin_lock(&kernel_lock);
    struct mapping *m = object_to(ref_get(t->op_state.ref), mapping);
    if (!m) { // its space or its memory was destroyed meanwhile
        r.progress = OP_DONE;
    } else if (!t->op_state.w[0]) {
        t->op_state.w[0] = mapping_clear_piece(m);
        t->op_state.w[1] = m->space->generation;
        r.progress = OP_AGAIN;
    } else if (space_acknowledged(m->space, t->op_state.w[1])) {
        mapping_free(m);
        r.progress = OP_DONE;
    }
    spin_unlock(&kernel_lock);
    return r;
}

static struct op_result (*const pieces[OP_COUNT])(struct thread *t) = {
    [OP_MEM_CREATE] = create_piece,
    [OP_DESTROY] = destroy_piece,
    [OP_UNMAP] = unmap_piece,
    [OP_AUDIT] = audit_piece,
};

void op_run(struct thread *t)
{
    struct op_result r = pieces[t->op](t);
    if (r.progress == OP_DONE) {
        t->op = OP_NONE;
        t->mode = THREAD_USER;
        arch_thread_set_result(t, r.status, r.value);
        return;
    }
    if (r.progress == OP_WAIT) {
        thread_block(t);
        timer_arm(&t->wait_timer, arch_now() + arch_tsc_hz() / 1000000 * POLL_US);
        return;
    }
    arch_interrupt_window();
    uint64_t now = arch_now();
    if (now >= this_cpu()->deadline)
        cpu_deadline_passed(now);
}

void op_abandon(struct thread *t)
{
    if (t->op == OP_DESTROY)
        destroy_abandon(t);
    if (t->op == OP_MEM_CREATE)
        handle_clear(t->process, (uint32_t)t->op_state.w[0]);
    t->op = OP_NONE;
}
