// SPDX-License-Identifier: BSD-2-Clause
// What the tests of moving share: a VMM on core 1 with a vCPU and a timer, and the manager on core
// 0, which sends it to other cores.
#pragma once
#include "kernel.h"

struct scene {
    struct fake_process p;
    int64_t vm, page, event, timer, h; // the VMM's handles
    struct vcpu *v;
};
#define MANAGER_EVENT 100 // the manager's handles of the VMM's event and VM
#define MANAGER_VM    102

static int64_t home[4]; // a best-effort context on each core

static inline struct scene make_scene(int64_t sc)
{
    for (uint32_t core = 0; core < 4; core++)
        home[core] = fake_sc(core, 0, 0);
    struct scene s = { .p = fake_spawn(1, 8 * MB, sc ? sc : home[1]) };
    s.vm = CALL(1, vm_create, 0);
    s.page = CALL(1, mem_create, PAGE_SIZE, PAGE_SIZE, MEM_KERNEL);
    s.event = CALL(1, event_create, 0);
    s.timer = CALL(1, timer_create, s.event, 1);
    s.h = CALL(1, vcpu_create, s.vm, 0, s.page, s.event);
    assert_true(s.h > 0);
    s.v = object_to(fake_object(s.p.process, s.h), vcpu);
    memcpy(&fake_manager->handles[MANAGER_EVENT], &s.p.process->handles[s.event], 8);
    memcpy(&fake_manager->handles[MANAGER_VM], &s.p.process->handles[s.vm], 8);
    return s;
}

static inline struct scene best_effort(void) { return make_scene(0); }

// From the context that it is on.
static inline int64_t ask(struct scene *s, uint32_t core)
{
    int64_t from = s->p.thread->core == 1 && (int64_t)s->p.sc != home[1] ? (int64_t)s->p.sc
                                                                       : home[s->p.thread->core];
    if (s->p.thread->asked || s->p.thread->core == core)
        return ERR_BUSY;
    return CALL(0, sc_move, from, home[core]) == 1 ? OK : ERR_STATE;
}

static inline void move(struct scene *s, uint32_t from, uint32_t to)
{
    uint32_t left = s->v->arch.left;
    assert_int_equal(ask(s, to), OK);
    fake_interrupts(from);
    assert_ptr_not_equal(cpus[from]->current, s->p.thread);
    assert_int_equal(s->p.thread->state, THREAD_MOVING);
    assert_int_equal(s->v->arch.left, left + 1); // on the old core: the fake looks
    fake_interrupts(to);
    assert_int_equal(s->p.thread->core, to);
    assert_int_equal(s->v->core, to);
    assert_int_equal(s->p.thread->asked, 0);
}

