// SPDX-License-Identifier: BSD-2-Clause
// vCPUs: their calls, and how other cores reach one. Its registers belong to the core it was made
// on; `work`, `pending` and `intr_line` are atomic.
//
// Who raises work sets the bit and then looks for the thread; vcpu_run() sets the thread and then
// looks at the bits; both with full barriers, so one of them sees the other.
#include "kernel/core/syscall.h"

#define APIC_ID_MAX 254

void vcpu_raise(struct vcpu *v, uint32_t work)
{
    uint32_t old = __atomic_fetch_or(&v->work, work, __ATOMIC_SEQ_CST);
    if ((old & work) == work)
        return; // whoever set it has seen to the rest
    struct thread *t = __atomic_load_n(&v->thread, __ATOMIC_SEQ_CST);
    if (t)
        thread_wake(t); // wakes it from HLT, or its IPI makes the guest exit
}

void vcpu_post(struct vcpu *v, uint8_t vector, bool level)
{
    uint64_t bit = 1ull << (vector & 63);
    if (level)
        __atomic_fetch_or(&v->pending_level[vector >> 6], bit, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&v->pending_level[vector >> 6], ~bit, __ATOMIC_RELAXED);
    __atomic_fetch_or(&v->pending[vector >> 6], bit, __ATOMIC_RELEASE);
    vcpu_raise(v, VCPU_WORK_PENDING);
}

void vcpu_halt(struct vcpu *v)
{
    struct thread *t = v->thread;
    if (!__atomic_load_n(&v->work, __ATOMIC_ACQUIRE)) {
        v->halt_since = arch_now();
        thread_block(t);
        sched_run();
    }
    if (this_cpu()->work)
        sched_run();
    arch_resume_guest(v);
}

void vcpu_woken(struct vcpu *v) { v->halt_tsc += arch_now() - v->halt_since; }

void vcpu_return(struct vcpu *v)
{
    struct thread *t = v->thread;
    vcpu_detach(v, t);
    t->mode = THREAD_USER;
    arch_thread_set_result(t, likely(!v->object.dying) ? OK : ERR_DEAD, 0);
    if (unlikely(this_cpu()->work))
        sched_run();
    arch_resume_user(t);
}

uint64_t vcpu_take_event(struct vcpu *v)
{
    uint64_t bits = 0;
    __atomic_fetch_and(&v->work, ~(VCPU_WORK_EVENT | VCPU_WORK_KICK), __ATOMIC_SEQ_CST);
    struct event *e = object_to(ref_get(v->event), event);
    if (e) {
        spin_lock(&e->lock);
        bits = e->bits;
        e->bits = 0;
        spin_unlock(&e->lock);
    }
    return bits;
}

// Is destroyed; on its core, its thread is out. Once, though more than one destroyer may have
// asked.
void vcpu_stop(struct vcpu *v)
{
    timer_arm(&v->apic_timer, 0);
    if (!v->stopped)
        arch_vcpu_free(v);
    v->stopped = 1;
}

void vcpu_release(struct vcpu *v)
{
    v->page_memory->pins--;
    v->vm->vcpus--;
}

struct create_args {
    struct vm *vm;
    struct memory *page;
    struct event *event;
};

static enum status decode_create(struct create_args *c, const uint64_t a[4])
{
    struct process *self = caller_process();
    enum status status;
    c->event = NULL;
    c->vm = HANDLE(self, a[0], OBJ_VM, vm, RIGHT_USE, &status);
    if (!c->vm)
        return status;
    c->page = HANDLE(self, a[2], OBJ_MEMORY, memory, RIGHT_READ | RIGHT_WRITE, &status);
    if (!c->page)
        return status;
    if (a[1] > APIC_ID_MAX || c->page->flags)
        return ERR_RANGE;
    // What the vCPU stands on must not end before it: all three are the caller's.
    if (c->vm->object.owner != self || c->page->object.owner != self || c->vm->vcpus)
        return ERR_STATE;
    if (!a[3])
        return OK;
    c->event = HANDLE(self, a[3], OBJ_EVENT, event, RIGHT_USE | RIGHT_WAIT, &status);
    if (!c->event)
        return status;
    return ref_get(c->event->vcpu) ? ERR_BUSY : OK;
}

static void bind_event(struct vcpu *v, struct event *e)
{
    v->event = ref_to(&e->object);
    spin_lock(&e->lock);
    e->vcpu = ref_to(&v->object);
    bool signalled = e->bits != 0;
    spin_unlock(&e->lock);
    if (signalled)
        vcpu_raise(v, VCPU_WORK_EVENT);
}

SYSCALL(vcpu_create)
{
    struct process *self = caller_process();
    const uint64_t a[4] = { a0, a1, a2, a3 };
    struct create_args c;
    spin_lock(&kernel_lock);
    enum status status = decode_create(&c, a);
    if (status != OK)
        return unlock_result(status);
    int slot = handle_reserve(self);
    if (slot < 0)
        return unlock_result(slot);
    struct vcpu *v = object_to(object_alloc(OBJ_VCPU, self, &status), vcpu);
    if (!v)
        goto no_object;
    v->vm = c.vm;
    v->core = (uint8_t)this_cpu()->id;
    v->page_memory = c.page;
    v->page = arch_ptr(c.page->base);
    timer_init(&v->apic_timer, TIMER_VLAPIC, v->core);
    status = arch_vcpu_init(v, (uint32_t)a1);
    if (status != OK)
        goto no_arch;
    c.vm->vcpu = v;
    c.vm->vcpus++;
    c.page->pins++;
    if (c.event)
        bind_event(v, c.event);
    handle_fill(self, (uint32_t)slot, &v->object, RIGHT_ALL);
    return unlock_result(slot);
no_arch:
    object_retire(&v->object);
    object_free(&v->object);
no_object:
    handle_clear(self, (uint32_t)slot);
    return unlock_result(status);
}

// The hot path. A vCPU runs on its own core and in its owner's address space, out of one thread.
SYSCALL(vcpu_run)
{
    struct cpu *cpu = this_cpu();
    struct thread *t = cpu->current;
    enum status status;
    struct vcpu *v = HANDLE(t->process, a0, OBJ_VCPU, vcpu, RIGHT_USE, &status);
    if (unlikely(!v))
        return result(status);
    if (unlikely(v->thread))
        return result(ERR_BUSY);
    if (unlikely(v->core != cpu->id || v->object.owner != t->process))
        return result(ERR_STATE);
    __atomic_store_n(&v->thread, t, __ATOMIC_SEQ_CST);
    t->vcpu = v;
    t->mode = THREAD_GUEST;
    v->runner = t;
    if (unlikely(!arch_vcpu_answer(v)))
        vcpu_return(v);
    if (unlikely(cpu->work))
        sched_run();
    arch_resume_guest(v);
}

SYSCALL(vcpu_kick)
{
    enum status status;
    struct vcpu *v = HANDLE(caller_process(), a0, OBJ_VCPU, vcpu, RIGHT_USE, &status);
    if (!v)
        return result(status);
    vcpu_raise(v, VCPU_WORK_KICK);
    return result(OK);
}

SYSCALL(vcpu_intr)
{
    enum status status;
    struct vcpu *v = HANDLE(caller_process(), a0, OBJ_VCPU, vcpu, RIGHT_USE, &status);
    if (!v)
        return result(status);
    if (a1 > 1)
        return result(ERR_RANGE);
    __atomic_store_n(&v->intr_line, (uint8_t)a1, __ATOMIC_SEQ_CST);
    if (a1)
        vcpu_raise(v, VCPU_WORK_INTR);
    else
        __atomic_fetch_and(&v->work, ~VCPU_WORK_INTR, __ATOMIC_SEQ_CST);
    return result(OK);
}

SYSCALL(vcpu_sregs)
{
    struct process *self = caller_process();
    enum status status;
    struct vcpu *v = HANDLE(self, a0, OBJ_VCPU, vcpu, RIGHT_USE, &status);
    if (!v)
        return result(status);
    if (a1 > 1)
        return result(ERR_RANGE);
    if (v->thread || v->core != this_cpu()->id || v->object.owner != self)
        return result(ERR_STATE);
    if (!v->runner)
        v->zeroing = memory_zeroing;
    return result(arch_vcpu_sregs(v, a1));
}
