// SPDX-License-Identifier: BSD-2-Clause
// vCPUs: their calls, and how other cores reach one. Its registers belong to the core that it is on
// (`core`, which changes with its thread's, see thread_leave()); `work`, the pending vectors and
// `intr_line` are atomic.
//
// Who raises work sets the bit and then looks for the thread; vcpu_run() sets the thread and then
// looks at the bits; both with full barriers, so one of them sees the other.
#include "kernel/core/syscall.h"

struct list vcpus;

static void raise(struct vcpu *v, uint32_t work, bool posted)
{
    uint32_t old = __atomic_fetch_or(&v->work, work, __ATOMIC_SEQ_CST);
    if ((old & work) == work && !posted)
        return; // whoever set it has seen to the rest
    struct thread *t = __atomic_load_n(&v->thread, __ATOMIC_SEQ_CST);
    if (!t)
        return;
    uint32_t core = __atomic_load_n(&t->core, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&t->state, __ATOMIC_SEQ_CST) == THREAD_RUNNABLE && core != this_cpu()->id)
        arch_kick(core, posted);
    else
        thread_wake(t);
}

void vcpu_raise(struct vcpu *v, uint32_t work) { raise(v, work, false); }

bool vcpu_post(struct vcpu *v, uint8_t vector, bool level)
{
    bool edge = !level && vector >= 16;
    uint64_t *words = edge ? v->pending_edge : v->pending_level, bit = 1ull << (vector & 63);
    uint64_t old = __atomic_fetch_or(&words[vector >> 6], bit, __ATOMIC_SEQ_CST);
    if (!edge)
        raise(v, VCPU_WORK_PENDING, false);
    else if (!__atomic_exchange_n(&v->posted, 1, __ATOMIC_SEQ_CST))
        raise(v, VCPU_WORK_POSTED, true);
    return old & bit;
}

// Others look at its state, and only kick a thread that does not wait: so it waits first.
void vcpu_halt(struct vcpu *v)
{
    struct thread *t = v->thread;
    (void)__atomic_exchange_n(&t->state, THREAD_BLOCKED, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&v->work, __ATOMIC_ACQUIRE)) {
        v->halt_since = arch_now();
        sched_run();
    }
    t->state = THREAD_RUNNABLE;
    if (this_cpu()->work)
        sched_run();
    arch_resume_guest(v);
}

void vcpu_woken(struct vcpu *v, uint64_t now) { v->halt_tsc += now - v->halt_since; }

void vcpu_detach(struct vcpu *v)
{
    v->thread->vcpu = NULL;
    __atomic_store_n(&v->thread, NULL, __ATOMIC_RELEASE);
    arch_vcpu_detached();
}

void vcpu_return(struct vcpu *v, int64_t kind, uint64_t word)
{
    struct thread *t = v->thread;
    vcpu_detach(v);
    t->mode = THREAD_USER;
    arch_thread_set_result(t, likely(!v->object.dying) ? kind : ERR_DEAD, word);
    if (unlikely(this_cpu()->work))
        sched_run();
    arch_resume_user(t);
}

uint64_t vcpu_take_event(struct vcpu *v)
{
    uint64_t bits = 0;
    __atomic_fetch_and(&v->work, ~VCPU_WORK_EVENT, __ATOMIC_SEQ_CST);
    struct event *e = object_to(ref_get(v->event), event);
    if (e) {
        spin_lock(&e->lock);
        bits = e->bits;
        e->bits = 0;
        spin_unlock(&e->lock);
    }
    return bits;
}

static bool inside(const struct vcpu *v) { return v->thread && v->thread->mode == THREAD_GUEST; }

// Its memory stays: others may still look at it.
bool vcpu_stop(struct vcpu *v)
{
    if (inside(v))
        return false;
    if (v->thread)
        vcpu_detach(v);
    timer_disarm(&v->apic_timer);
    arch_vcpu_leave(v);
    return true;
}

// On the core that both are on.
void vcpu_go_with(struct vcpu *v, struct thread *t)
{
    list_remove(&v->in_thread);
    if (v->home)
        v->run_before += sc_run_tsc(v->home->sc, arch_now());
    v->home = t;
    timer_arm(&v->apic_timer, t ? t->sc : NULL, v->apic_timer.deadline);
    if (!t)
        return;
    v->run_before -= sc_run_tsc(t->sc, arch_now());
    list_push_back(&t->vcpus, &v->in_thread);
}

static __attribute__((noinline)) void go_with(struct vcpu *v, struct thread *t)
{
    spin_lock(&kernel_lock);
    vcpu_go_with(v, t);
    spin_unlock(&kernel_lock);
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

SYSCALL_LOCKED_ON(vcpu_create, vm, RIGHT_USE)
{
    struct process *self = caller_process();
    enum status status = OK;
    struct memory *page = HANDLE(self, a2, memory, RIGHT_READ | RIGHT_WRITE, &status);
    if (!page)
        return status;
    if (a1 >= VM_VCPUS || page->flags != MEM_KERNEL)
        return ERR_RANGE;
    // What the vCPU stands on must not end before it: all three are the caller's.
    if (vm->object.owner != self || page->object.owner != self || vm->vcpu[a1].object)
        return ERR_STATE;
    struct event *event = a3 ? HANDLE(self, a3, event, RIGHT_USE | RIGHT_WAIT, &status) : NULL;
    if (a3 && !event)
        return status;
    if (event && ref_get(event->vcpu))
        return ERR_BUSY;
    if (handle_find(self) < 0)
        return ERR_FULL;
    struct vcpu *v = object_new(vcpu, self, &status);
    if (!v)
        return status;
    v->vm = vm;
    v->core = (uint8_t)this_cpu()->id;
    v->page_memory = page;
    v->page = arch_ptr(page->base);
    v->apic_timer.kind = TIMER_VLAPIC;
    status = arch_vcpu_init(v, (uint32_t)a1);
    if (status != OK) {
        object_drop(&v->object);
        return status;
    }
    list_push_back(&vcpus, &v->all);
    list_init(&v->in_thread);
    vcpu_go_with(v, this_cpu()->current);
    vm->vcpu[a1] = ref_to(&v->object);
    vm->vcpus_end = max_u64(vm->vcpus_end, a1 + 1) & 0xff;
    page->pins++;
    if (event)
        bind_event(v, event);
    return handle_give(&v->object);
}

// A vCPU runs on its own core and in its owner's address space, out of one thread.
SYSCALL(vcpu_run)
{
    struct cpu *cpu = this_cpu();
    struct thread *t = cpu->current;
    enum status status;
    struct vcpu *v = HANDLE(t->process, a0, vcpu, RIGHT_USE, &status);
    if (unlikely(!v))
        return result(status);
    if (unlikely(v->core != cpu->id || v->object.owner != t->process))
        return result(ERR_STATE);
    if (unlikely(inside(v)))
        return result(ERR_BUSY);
    if (a1 > VM_RUN_ALL)
        return result(ERR_RANGE);
    if (v->thread)
        vcpu_detach(v);
    if (t->vcpu)
        vcpu_detach(t->vcpu);
    __atomic_store_n(&v->thread, t, __ATOMIC_SEQ_CST);
    t->vcpu = v;
    t->mode = THREAD_GUEST;
    if (unlikely(v->home != t))
        go_with(v, t);
    int64_t kind = arch_vcpu_answer(v, a1);
    if (unlikely(kind))
        vcpu_return(v, kind, 0);
    if (unlikely(cpu->work))
        sched_run();
    arch_resume_guest(v);
}

SYSCALL_ON(vcpu_intr, vcpu, RIGHT_USE)
{
    if (a1 > 1)
        return ERR_RANGE;
    if (!a1) {
        __atomic_fetch_and(&vcpu->intr_line, (uint8_t)~INTR_HIGH, __ATOMIC_SEQ_CST);
    } else if (!(__atomic_fetch_or(&vcpu->intr_line, INTR_HIGH, __ATOMIC_SEQ_CST) & INTR_HIGH)) {
        __atomic_fetch_or(&vcpu->intr_line, INTR_ROSE, __ATOMIC_SEQ_CST);
        vcpu_raise(vcpu, VCPU_WORK_INTR);
    }
    return OK;
}

SYSCALL_ON(vcpu_sregs, vcpu, RIGHT_USE)
{
    if (a1 > 3)
        return ERR_RANGE;
    if (inside(vcpu) || vcpu->core != this_cpu()->id || vcpu->object.owner != caller_process())
        return ERR_STATE;
    return a1 & 2 ? arch_vcpu_fpu(vcpu, a1 & 1) : arch_vcpu_sregs(vcpu, a1);
}
