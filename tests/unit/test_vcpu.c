// SPDX-License-Identifier: BSD-2-Clause
// vCPUs in the portable kernel: run, return, halt, and being reached from other cores.
#include "kernel.h"

struct scene {
    struct fake_process p;      // the VMM, on core 1
    int64_t vm, page, event, h; // its handles
    struct vcpu *v;
};

static struct scene make_scene(void)
{
    struct scene s = { .p = fake_spawn(1, 8 * MB, 0) };
    s.vm = CALL(1, vm_create, 0);
    s.page = CALL(1, mem_create, PAGE_SIZE, PAGE_SIZE, MEM_KERNEL);
    s.event = CALL(1, event_create, 0);
    s.h = CALL(1, vcpu_create, s.vm, 3, s.page, s.event);
    assert_true(s.h > 0);
    s.v = object_to(fake_object(s.p.process, s.h), vcpu);
    assert_int_equal(s.v->arch.apic_id, 3);
    // The manager may signal and kick.
    memcpy(&fake_manager->handles[100], &s.p.process->handles[s.event], 8);
    memcpy(&fake_manager->handles[101], &s.p.process->handles[s.h], 8);
    memcpy(&fake_manager->handles[102], &s.p.process->handles[s.vm], 8);
    return s;
}

static void enter(struct scene *s)
{
    assert_true(CALL(1, vcpu_run, s->h) == FAKE_BLOCKED);
    assert_int_equal(fake.state[1], FAKE_GUEST);
    assert_ptr_equal(s->v->thread, s->p.thread);
}

static void test_create_checks(void **state)
{
    (void)state;
    struct scene s = make_scene();
    assert_int_equal(CALL(1, vcpu_create, s.vm, 3, s.page, 0), ERR_STATE); // there is one
    int64_t vm = CALL(1, vm_create, 0);
    assert_int_equal(CALL(1, vm_create, 4), ERR_RANGE);
    assert_int_equal(CALL(1, vcpu_create, vm, 0, s.page, s.event), ERR_BUSY);
    assert_int_equal(CALL(1, vcpu_create, vm, VM_VCPUS, s.page, 0), ERR_RANGE);
    int64_t read_only = CALL(1, handle_copy, HANDLE_SELF, s.page, RIGHT_READ, 0);
    assert_int_equal(CALL(1, vcpu_create, vm, 0, read_only, 0), ERR_RIGHTS);
    // Another's page, or another's VM.
    int64_t mine = CALL(0, mem_create, PAGE_SIZE, PAGE_SIZE, MEM_KERNEL);
    CALL(0, handle_copy, s.p.handle, mine, RIGHT_ALL, 200);
    assert_int_equal(CALL(1, vcpu_create, vm, 0, 200, 0), ERR_STATE);
    assert_int_equal(CALL(0, vcpu_create, 102, 0, mine, 0), ERR_STATE);
}

static void to_vmm(struct vcpu *v) { vcpu_return(v, VM_EXIT_EOI, 5); }

static int64_t run_on(struct scene *s)
{
    return fake_call(1, SYS_vcpu_run | SYSCALL_RUN_ON, (uint64_t)s->h, 0, 0, 0, 0, 0);
}

static void test_short_way_out_and_in(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    fake_exit(1, fake_return_fast);
    assert_int_equal(s.p.thread->arch.status, VM_EXIT_PIO);
    assert_ptr_equal(s.v->thread, s.p.thread); // yet it is not inside:
    assert_int_equal(CALL(1, vcpu_sregs, s.h, 0), OK);
    assert_true(run_on(&s) == FAKE_BLOCKED);
    assert_int_equal(s.v->arch.entries, 2);
    assert_int_equal(CALL(0, event_signal, 100, 2), OK);
    fake_interrupts(1);
    assert_int_equal(s.p.thread->arch.status, VM_EXIT_EVENT);
    // What comes while the VMM works is seen before the guest runs again.
    assert_true(run_on(&s) == FAKE_BLOCKED);
    fake_exit(1, fake_return_fast);
    CALL(0, event_signal, 100, 8);
    assert_int_equal(run_on(&s), VM_EXIT_EVENT);
    assert_int_equal(s.v->page->exit.event.bits, 8);
}

// Another thread of the VMM takes it over, while the first one is back by the short way.
static void test_short_way_and_two_threads(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    fake_exit(1, fake_return_fast);
    int64_t t = CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
    struct thread *other = object_to(fake_object(s.p.process, t), thread);
    fake_advance(10 * MS);
    assert_ptr_equal(cpus[1]->current, other);
    assert_true(run_on(&s) == FAKE_BLOCKED);
    assert_ptr_equal(s.v->thread, other);
    assert_null(s.p.thread->vcpu);
    fake_advance(10 * MS);
    assert_ptr_equal(cpus[1]->current, s.p.thread);
    assert_int_equal(run_on(&s), ERR_BUSY);
}

// A vCPU that is destroyed is not entered again, wherever its thread was.
static void test_short_way_and_destroyed(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    fake_exit(1, fake_return_fast);
    assert_int_equal(FINISH(0, object_destroy, 101), OK);
    assert_int_equal(run_on(&s), ERR_HANDLE);
    assert_int_equal(fake.state[1], FAKE_USER);
    assert_null(s.p.thread->vcpu);
}

static void test_run_and_exit(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    fake_exit(1, to_vmm);
    assert_int_equal(fake.state[1], FAKE_USER);
    assert_int_equal(s.p.thread->arch.status, VM_EXIT_EOI);
    assert_int_equal(s.p.thread->arch.value, 5);
    assert_null(s.v->thread);
    assert_null(s.p.thread->vcpu);
    assert_int_equal(CALL(1, vcpu_run, s.h, VM_RUN_PAGE << 1), ERR_RANGE);
    fake.answer = VM_EXIT_LAPIC_READ; // the page holds an answer for the VMM
    assert_int_equal(CALL(1, vcpu_run, s.h), VM_EXIT_LAPIC_READ);
    assert_null(s.v->thread);
}

static void test_run_refused(void **state)
{
    (void)state;
    struct scene s = make_scene();
    assert_int_equal(CALL(0, vcpu_run, 101), ERR_STATE); // another core, another process
    assert_int_equal(CALL(1, vcpu_run, s.vm), ERR_HANDLE);
    int64_t weak = CALL(1, handle_copy, HANDLE_SELF, s.h, RIGHT_READ, 0);
    assert_int_equal(CALL(1, vcpu_run, weak), ERR_RIGHTS);
    CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
    enter(&s);
    fake_advance(10 * MS); // the second thread's turn
    assert_int_equal(fake.state[1], FAKE_USER);
    assert_int_equal(CALL(1, vcpu_run, s.h), ERR_BUSY);
    assert_int_equal(CALL(1, vcpu_sregs, s.h, 0), ERR_STATE);
}

static void test_event_ends_run(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    assert_int_equal(CALL(0, event_signal, 100, 6), OK);
    assert_int_equal(fake.state[1], FAKE_GUEST);
    fake_interrupts(1);
    assert_int_equal(fake.state[1], FAKE_USER);
    assert_int_equal(s.p.thread->arch.status, VM_EXIT_EVENT);
    assert_int_equal(s.v->page->exit.event.bits, 6);
    assert_int_equal(object_to(fake_object(s.p.process, s.event), event)->bits, 0);
    // Signalled while the VMM works: the next run comes back at once.
    CALL(0, event_signal, 100, 8);
    fake_interrupts(1);
    assert_int_equal(fake.state[1], FAKE_USER);
    assert_int_equal(CALL(1, vcpu_run, s.h), VM_EXIT_EVENT);
    assert_int_equal(s.v->page->exit.event.bits, 8);
}

static void arm_and_halt(struct vcpu *v)
{
    timer_arm(&v->apic_timer, v->home->sc, fake.now + MS);
    vcpu_halt(v);
}

static void test_halt(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    fake_exit(1, vcpu_halt);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    fake_advance(5 * MS);
    assert_int_equal(CALL(0, vm_msi, 102, 0xfee00000, 0x41, 0), OK);
    fake_interrupts(1);
    assert_int_equal(fake.state[1], FAKE_GUEST);
    assert_int_equal(s.v->pending_edge[1], 1ull << 1);
    assert_int_equal(s.v->halt_tsc, 5 * MS);
    // A bit that is there already keeps it from sleeping.
    vcpu_post(s.v, 0x42, true);
    assert_int_equal(s.v->pending_level[1], 1ull << 2);
    fake_exit(1, vcpu_halt);
    assert_int_equal(fake.state[1], FAKE_GUEST);
    fake_interrupts(1);
    // Its own timer wakes it.
    fake_exit(1, arm_and_halt);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    fake_advance(MS);
    assert_int_equal(fake.state[1], FAKE_GUEST);
}

// What wakes a thread of the VMM comes before the guest that runs on the same context: the guest
// goes on behind it.
static void test_vmm_before_guest(void **state)
{
    (void)state;
    struct scene s = make_scene();
    int64_t e = CALL(1, event_create, 0);
    int64_t h = CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0);
    struct thread *board = object_to(fake_object(s.p.process, h), thread);
    memcpy(&fake_manager->handles[103], &s.p.process->handles[e], 8);
    while (cpus[1]->current != board)
        fake_yield(1);
    assert_true(CALL(1, event_wait, e, 1, 0) == FAKE_BLOCKED);
    assert_ptr_equal(cpus[1]->current, s.p.thread);
    enter(&s);
    assert_int_equal(fake.state[1], FAKE_GUEST);
    CALL(0, event_signal, 103, 1);
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current, board);
    assert_int_equal(fake.state[1], FAKE_USER);
    assert_true(CALL(1, event_wait, e, 1, 0) == FAKE_BLOCKED);
    assert_ptr_equal(cpus[1]->current, s.p.thread);
    assert_int_equal(fake.state[1], FAKE_GUEST);
}

// The bit is set between the last look and the block: the interrupt finds the thread blocked.
static void test_halt_race(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    fake.hold[1] = true;
    fake_exit(1, vcpu_halt);
    assert_int_equal(CALL(0, vcpu_intr, 101, 1), OK);
    assert_int_equal(s.v->intr_line, INTR_HIGH | INTR_ROSE);
    fake.hold[1] = false;
    fake_interrupts(1);
    assert_int_equal(fake.state[1], FAKE_GUEST);
    assert_int_equal(CALL(0, vcpu_intr, 101, 2), ERR_RANGE);
    // Only a rise is one, and it is seen although the line has fallen again.
    s.v->intr_line = INTR_HIGH;
    assert_int_equal(CALL(0, vcpu_intr, 101, 1), OK);
    assert_int_equal(s.v->intr_line, INTR_HIGH);
    assert_int_equal(s.v->work & VCPU_WORK_INTR, 0);
    fake.hold[1] = true;
    assert_int_equal(CALL(0, vcpu_intr, 101, 0), OK);
    assert_int_equal(CALL(0, vcpu_intr, 101, 1), OK);
    assert_int_equal(CALL(0, vcpu_intr, 101, 0), OK);
    assert_int_equal(s.v->intr_line, INTR_ROSE);
    assert_int_equal(s.v->work & VCPU_WORK_INTR, VCPU_WORK_INTR);
}

static void test_msi(void **state)
{
    (void)state;
    struct scene s = make_scene();
    assert_int_equal(CALL(1, vm_msi, s.vm, 0xfee00000, 1ull << 32, 0), ERR_RANGE);
    assert_int_equal(CALL(1, vm_msi, s.vm, 0xfee00000, 0x30, 2), ERR_RANGE);
    assert_int_equal(CALL(1, vm_msi, s.vm, 0, 0x30, 0), ERR_RANGE);
    assert_int_equal(CALL(1, vm_msi, s.vm, 0xfee00000, 0x30, 1), OK);
    assert_int_equal(s.v->pending_level[0], 1ull << 0x30);
    assert_int_equal(s.v->pending_edge[0], 0);
    // A request of another kind for the same vector takes nothing away from the first.
    assert_int_equal(CALL(1, vm_msi, s.vm, 0xfee00000, 0x30, 0), OK);
    assert_int_equal(s.v->pending_level[0], 1ull << 0x30);
    assert_int_equal(s.v->pending_edge[0], 1ull << 0x30);
    // One of its own kind becomes one with it, and that is said.
    assert_int_equal(CALL(1, vm_msi, s.vm, 0xfee00000, 0x30, 0), 1);
    assert_int_equal(CALL(1, vm_msi, s.vm, 0xfee00000, 0x31, 0), OK);
}

// A guest that runs is kicked, once for all edges until it has looked; what it cannot take by
// itself is a kick of its own. One that halts is woken, one on the same core too.
static void test_kick(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    assert_int_equal(CALL(0, vm_msi, 102, 0xfee00000, 0x30, 0), OK);
    assert_int_equal(CALL(0, vm_msi, 102, 0xfee00000, 0x31, 0), OK);
    assert_int_equal(cpus[1]->arch.kicks, 1);
    assert_int_equal(CALL(0, vm_msi, 102, 0xfee00000, 0x32, 1), OK);
    assert_int_equal(cpus[1]->arch.kicks, 2);
    vcpu_post(s.v, 0xf, false);
    assert_int_equal(s.v->pending_level[0] & 0x8000, 0x8000);
    assert_int_equal(s.v->pending_edge[0] & 0x8000, 0);
    assert_int_equal(cpus[1]->arch.ipis, 0);
    // The CPU has taken the edges by itself: the next is told again, whatever `work` says.
    s.v->posted = 0;
    assert_true(s.v->work & VCPU_WORK_POSTED);
    assert_int_equal(CALL(0, vm_msi, 102, 0xfee00000, 0x33, 0), OK);
    assert_int_equal(cpus[1]->arch.kicks, 3);
    fake_interrupts(1);
    assert_int_equal(s.v->work | s.v->posted, 0);
    fake_exit(1, vcpu_halt);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    assert_int_equal(CALL(0, vm_msi, 102, 0xfee00000, 0x34, 0), OK);
    assert_int_equal(cpus[1]->arch.kicks, 0);
    assert_int_equal(cpus[1]->arch.ipis, 1);
    fake_interrupts(1);
    assert_int_equal(fake.state[1], FAKE_GUEST);
}

static void test_destroy_in_guest(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    assert_int_equal(FINISH(0, object_destroy, 101), OK);
    assert_int_equal(s.p.thread->arch.status, ERR_DEAD);
    assert_int_equal(fake.state[1], FAKE_USER);
    assert_int_equal(s.v->arch.live, 0);
    assert_int_equal(CALL(1, vcpu_run, s.h), ERR_HANDLE);
    assert_int_equal(FINISH(0, object_destroy, 102), OK);
    assert_null(cpus[1]->guest_space);
    assert_int_equal(FINISH(1, object_destroy, s.page), OK); // nothing pins it any more
}

// Whoever destroyed the vCPU was killed half-way: the VM's destroyer goes on with it.
static void test_abandoned_vcpu(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct fake_process q = fake_spawn(2, 8 * MB, 0);
    memcpy(&q.process->handles[101], &fake_manager->handles[101], 8);
    fake_spawn(3, 1 * MB, 0);
    fake.hold[3] = true; // the grace period does not end
    assert_true(CALL(2, object_destroy, 101) == FAKE_BLOCKED);
    fake_kill(q.thread_h);
    fake_interrupts(2);
    assert_int_equal(s.v->object.dying, OBJECT_ABANDONED);
    fake.hold[3] = false;
    assert_int_equal(CALL(1, vm_msi, s.vm, 0xfee00000, 0x40, 0), OK); // is lost
    assert_int_equal(s.v->pending_edge[1], 0);
    assert_int_equal(FINISH(0, object_destroy, 102), OK);
    assert_int_equal(s.v->object.dying, OBJECT_FREE);
}

static void test_destroy_halted_vm(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    fake_exit(1, vcpu_halt);
    assert_int_equal(FINISH(0, object_destroy, 102), OK); // takes its vCPU along
    assert_int_equal(s.p.thread->arch.status, ERR_DEAD);
    assert_null(fake_object(s.p.process, s.h));
}

static void test_kill_in_guest(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    fake_kill(s.p.thread_h);
    fake_interrupts(1);
    assert_null(s.v->thread);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    assert_int_equal(s.p.process->status.end, PROCESS_KILLED);
}

// Another core wakes it between its blocking and the scheduler's turn: it goes on, and stands
// in its queue once.
static void block_and_wake(struct vcpu *v)
{
    v->thread->state = THREAD_BLOCKED;
    v->work |= VCPU_WORK_PENDING;
    thread_check(this_cpu(), v->thread);
    v->work = 0;
    sched_run();
}

static void test_woken_on_the_way(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enter(&s);
    fake_exit(1, block_and_wake);
    assert_int_equal(fake.state[1], FAKE_GUEST);
    assert_ptr_equal(cpus[1]->current, s.p.thread);
    assert_ptr_equal(s.p.thread->sc->ready.next, &s.p.thread->queue); // once
    assert_ptr_equal(s.p.thread->queue.next, &s.p.thread->sc->ready);
    fake_advance(10 * QUANTUM_US * 1000ull);
    assert_true(cpus[1]->deadline > fake.now);
}

static void test_stats(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct vcpu_stats *stats = user_page(0);
    enter(&s);
    fake_advance(3 * MS);
    CALL(0, event_signal, 100, 2);
    fake_interrupts(1);
    fake_advance(MS);
    fake_yield(1);
    assert_int_equal(CALL(0, system_stats, BOOT_HANDLE_SYSTEM, 0, USER_PAGE), 1);
    assert_int_equal(stats->process, s.p.process->object.id);
    assert_int_equal(stats->core, 1);
    assert_int_equal(stats->exits[0], 1);
    assert_int_equal(CALL(0, system_stats, BOOT_HANDLE_SYSTEM, 1, USER_PAGE), 0);
    assert_int_equal(CALL(0, system_stats, BOOT_HANDLE_SYSTEM, 0, 0x666000), ERR_RANGE);
    // It runs on, on the other core, and nothing has charged it meanwhile.
    uint64_t before = stats->run_tsc, then = stats->now;
    int64_t ran = s.p.thread->sc->ran;
    fake.now += 2 * MS;
    assert_int_equal(CALL(0, system_stats, BOOT_HANDLE_SYSTEM, 0, USER_PAGE), 1);
    assert_int_equal(stats->run_tsc - before, 2 * MS);
    assert_int_equal(stats->now - then, 2 * MS);
    assert_int_equal(s.p.thread->sc->ran, ran);
    assert_int_equal(CALL(1, vcpu_sregs, s.h, 0), OK);
    assert_int_equal(s.v->page->sregs.rip, 0xfff0);
    assert_int_equal(CALL(1, vcpu_sregs, s.h, 2), OK);
    assert_int_equal(s.v->page->fpu[0], 0x7f);
    assert_int_equal(CALL(1, vcpu_sregs, s.h, 4), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON2(test_create_checks), ON2(test_run_and_exit), ON2(test_run_refused),
        ON2(test_short_way_out_and_in), ON2(test_short_way_and_two_threads),
        ON2(test_short_way_and_destroyed),
        ON2(test_event_ends_run), ON2(test_halt), ON2(test_vmm_before_guest),
        ON2(test_halt_race), ON2(test_msi), ON2(test_kick),

        ON2(test_destroy_in_guest), ON2(test_destroy_halted_vm), ON4(test_abandoned_vcpu),
        ON2(test_kill_in_guest), ON2(test_woken_on_the_way), ON2(test_stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
