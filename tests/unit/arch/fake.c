// SPDX-License-Identifier: BSD-2-Clause
// The fake architecture's cores, interrupts and time (see fake.h). One host thread.
#include "tests/unit/arch/fake.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include "kernel/core/grace.h"
#include "kernel/core/syscall.h"
#include "kernel/lib/string.h"
#include "tests/unit/arch/hardware.h"
#include "tests/unit/fake_x86/kernel/arch/x86/x86.h"
#include "tests/unit/arch/ram.h"

#define RAM_BASE    0x200000ull // hpa of the first frame; none is at 0
#define SETTLE_TURN 25000       // ticks
#define SETTLE_MAX  20000

struct fake fake;
struct cpu *cpus[CPU_MAX];
uint32_t cpu_count;
struct process *fake_manager;
struct thread *fake_thread;

static struct cpu cpu_memory[CPU_MAX];
static struct ram ram;
static uint64_t ram_frames;
static jmp_buf *way_out[CPU_MAX]; // of each core: back to whoever let the kernel in

struct cpu *this_cpu(void) { return &cpu_memory[fake.core]; }

void *fake_ptr(struct hpa a) { return ram.all + (a.v - RAM_BASE); }
void *arch_ptr(struct hpa a) { return ram.kernel + (a.v - RAM_BASE); }

void arch_own(struct hpa base, uint64_t frames)
{
    ram_allow(&ram, base.v - RAM_BASE, frames * PAGE_SIZE);
}

bool arch_kernel_next(uint64_t *cursor, struct audit_item *item)
{
    for (uint64_t at = *cursor; at < ram.bytes; at += PAGE_SIZE) {
        if (!ram_allowed(&ram, at))
            continue;
        *item = (struct audit_item){ HPA(RAM_BASE + at), PAGE_SIZE, false, RAM_BASE + at,
                                      0 };
        *cursor = at + PAGE_SIZE;
        return true;
    }
    return false;
}

void arch_clear(struct hpa base, uint64_t bytes)
{
    memset(fake_ptr(base), 0, bytes);
    fake.now += bytes / 8;
}
void arch_read(void *to, struct hpa from, uint64_t bytes) { memcpy(to, fake_ptr(from), bytes); }
void arch_write(struct hpa to, const void *from, uint64_t bytes)
{
    memcpy(fake_ptr(to), from, bytes);
}

// Between two instructions of the core that runs, all cores' translations are looked at.
void fake_leave(enum fake_state state)
{
    fake.state[fake.core] = state;
    if (state != FAKE_PANIC && state != FAKE_OFF) {
        hw_turn();
        if (!fake.no_flush)
            hw_check();
    }
    longjmp(*way_out[fake.core], 1);
}

// Runs kernel code on a core until it ends or leaves the kernel; true: it came to its end.
static bool enter(uint32_t core, void (*code)(void *), void *argument)
{
    jmp_buf here, *outer = way_out[core];
    uint32_t core_before = fake.core;
    bool ended = false;
    if (setjmp(here) == 0) {
        way_out[core] = &here;
        fake.core = core;
        if (fake.state[core] == FAKE_GUEST)
            hw_vm_exit(core);
        fake.state[core] = FAKE_KERNEL;
        code(argument);
        ended = true;
    }
    way_out[core] = outer;
    fake.core = core_before;
    return ended;
}

void arch_stop_others(void) {}

void arch_panic_halt(void)
{
    if (!way_out[fake.core]) {
        fprintf(stderr, "%s\n", fake.log);
        abort();
    }
    fake_leave(FAKE_PANIC);
}

static void check_alive(uint32_t core)
{
    if (fake.state[core] != FAKE_PANIC)
        return;
    fprintf(stderr, "%s\n", fake.log);
    abort();
}

static void run_scheduler(void *unused)
{
    (void)unused;
    sched_run();
}

struct call { uint64_t number, a[6]; };

static void do_call(void *argument)
{
    const struct call *c = argument;
    struct thread *t = this_cpu()->current;
    if (c->number & SYSCALL_RUN_ON)
        fake_run_on();
    syscall_fn *f = syscall_table[c->number & (SYSCALL_SLOTS - 1)];
    struct syscall_result r = f(c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
    arch_thread_set_result(t, r.status, r.value);
    if (this_cpu()->work)
        sched_run();
    arch_resume_user(t);
}

int64_t fake_call(uint32_t core, uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2,
                  uint64_t a3, uint64_t a4, uint64_t a5)
{
    struct call c = { number, { a0, a1, a2, a3, a4, a5 } };
    struct thread *t = cpus[core]->current;
    if (!t || fake.state[core] != FAKE_USER || t->mode != THREAD_USER)
        panic("core %u is not in ring 3", core);
    enter(core, do_call, &c);
    check_alive(core);
    bool back = cpus[core]->current == t && fake.state[core] == FAKE_USER;
    return back ? t->arch.status : FAKE_BLOCKED;
}

static void do_kill(void *thread)
{
    spin_lock(&kernel_lock);
    process_kill_one(thread);
    spin_unlock(&kernel_lock);
    if (this_cpu()->work)
        sched_run();
    arch_resume_user(this_cpu()->current);
}

void fake_kill(uint64_t h)
{
    enter(0, do_kill, object_to(fake_object(fake_manager, (int64_t)h), thread));
    check_alive(0);
}

static void do_yield(void *unused)
{
    (void)unused;
    arch_thread_set_result(this_cpu()->current, OK, 0);
    sched_yield_current();
    sched_run();
}

int64_t fake_yield(uint32_t core)
{
    struct thread *t = cpus[core]->current;
    enter(core, do_yield, NULL);
    check_alive(core);
    return cpus[core]->current == t ? OK : FAKE_BLOCKED;
}

static void do_give_way(void *unused)
{
    (void)unused;
    sched_give_way();
    sched_run();
}

void fake_give_way(uint32_t core)
{
    enter(core, do_give_way, NULL);
    check_alive(core);
}

int64_t fake_finish(uint32_t core, uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t a3, uint64_t a4, uint64_t a5)
{
    struct thread *t = cpus[core]->current;
    fake_call(core, number, a0, a1, a2, a3, a4, a5);
    if (!fake_settle())
        panic("the operation does not end");
    return t->arch.status;
}

struct pending { enum fake_state from; uint32_t ipis, kicks; bool timer; };

static void do_interrupts(void *argument)
{
    const struct pending *p = argument;
    struct cpu *cpu = this_cpu();
    grace_awake(cpu);
    if (p->ipis)
        cpu_ipi();
    if (p->timer) {
        cpu->armed = UINT64_MAX;
        cpu_deadline_passed(fake.now);
    }
    if (cpu->work)
        sched_run();
    if (p->from == FAKE_IDLE) {
        grace_idle(cpu);
        arch_idle();
    }
    if (p->from == FAKE_USER)
        fake_back_to_user();
    if (cpu->current->vcpu->work)
        arch_resume_guest(cpu->current->vcpu);
    fake_back_to_guest(cpu->current->vcpu);
}

void fake_interrupts(uint32_t core)
{
    struct cpu *cpu = cpus[core];
    struct pending p = { fake.state[core], cpu->arch.ipis, cpu->arch.kicks,
                         fake.deadline[core] <= fake.now };
    if (fake.hold[core] || (!p.ipis && !p.kicks && !p.timer))
        return;
    cpu->arch.ipis = cpu->arch.kicks = 0;
    if (p.timer)
        fake.deadline[core] = UINT64_MAX; // the hardware fires once
    enter(core, do_interrupts, &p);
    check_alive(core);
}

static bool busy(void)
{
    for (uint32_t i = 0; i < cpu_count; i++)
        if ((cpus[i]->arch.ipis || cpus[i]->arch.kicks) && !fake.hold[i])
            return true;
    for (uint32_t id = 1; id < object_id_end(); id++) {
        struct object *o = object_by_id(id);
        if (o && o->type == OBJ_THREAD && object_to(o, thread)->op != OP_NONE)
            return true;
    }
    return false;
}

bool fake_settle(void)
{
    for (unsigned turn = 0; turn < SETTLE_MAX; turn++) {
        for (uint32_t i = 0; i < cpu_count; i++)
            fake_interrupts(i);
        if (!busy())
            return true;
        fake.now += SETTLE_TURN;
    }
    return false;
}

void fake_advance(uint64_t ticks)
{
    fake.now += ticks;
    for (uint32_t i = 0; i < cpu_count; i++)
        fake_interrupts(i);
}

struct guest_exit { void (*handler)(struct vcpu *v); };

static void do_exit(void *argument)
{
    const struct guest_exit *e = argument;
    struct cpu *cpu = this_cpu();
    struct vcpu *v = cpu->current->vcpu;
    e->handler(v);
    if (fake.now >= cpu->deadline)
        cpu_deadline_passed(fake.now);
    if (cpu->work)
        sched_run();
    if (v->work)
        arch_resume_guest(v);
    fake_back_to_guest(v);
}

void fake_exit(uint32_t core, void (*handler)(struct vcpu *v))
{
    struct guest_exit e = { handler };
    if (fake.state[core] != FAKE_GUEST)
        panic("core %u runs no guest", core);
    enter(core, do_exit, &e);
    check_alive(core);
}

static void do_fault(void *argument)
{
    struct process_status why = { .status = *(uint8_t *)argument, .rip = 0x1234 };
    thread_exit_current(PROCESS_FAULT, &why, true);
}

void fake_fault(uint32_t core, uint8_t vector)
{
    enter(core, do_fault, &vector);
    check_alive(core);
}

bool fake_access(uint32_t core, struct space *s, uint64_t address, uint8_t prot, struct hpa *out)
{
    if ((s->is_vm ? hw[core].ept : hw[core].cr3) != s->arch.root.v)
        panic("core %u accesses a space that is not loaded", core);
    return hw_access(core, s->is_vm, address, prot, out);
}

bool fake_refuses(uint32_t core, void (*code)(void *), void *argument)
{
    enum fake_state before = fake.state[core];
    fake.log_bytes = 0;
    enter(core, code, argument);
    bool refused = fake.state[core] == FAKE_PANIC;
    fake.state[core] = before;
    return refused;
}

void fake_stop(void) { ram_close(&ram); }

static void start_memory(uint32_t megabytes)
{
    ram_frames = (RAM_BASE + ((uint64_t)megabytes << 20)) / PAGE_SIZE;
    ram_make(&ram, (size_t)megabytes << 20);
    uint64_t table = align_up(ram_frames * sizeof(struct frame), PAGE_SIZE);
    arch_own(HPA(RAM_BASE), table / PAGE_SIZE);
    frames_init(HPA(RAM_BASE), ram_frames);
    frames_add(HPA(RAM_BASE + table), ram_frames - (RAM_BASE + table) / PAGE_SIZE);
}

static void make_manager(void *unused)
{
    enum status status;
    (void)unused;
    fake_manager = process_make(NULL, frames_count_free() * PAGE_SIZE, NULL, &status);
    struct sc *sc = sc_make(fake_manager, 0, 0, 0, &status);
    sc->soft = 1;
    fake_thread = thread_make(fake_manager, sc, &status);
    handle_set(fake_manager, BOOT_HANDLE_SYSTEM,
               object_alloc(OBJ_SYSTEM, fake_manager, &status), RIGHT_ALL);
    thread_wake(fake_thread);
    sched_run();
}

static void log_reset(void)
{
    char unread[256];
    log_detach(false);
    while (log_read(unread, sizeof(unread)))
        continue;
}

void fake_start(uint32_t cores, uint32_t megabytes)
{
    fake_stop();
    memset(&fake, 0, sizeof(fake));
    fake.tsc_hz = 1000000000;
    hw_options = (struct hw_options){ .pcids = getenv("FAKE_PCIDS"), .fills = 1, .seed = 1 };
    hw_reset();
    cr3_kernel = HW_KERNEL_ROOT | (hw_options.pcids ? HW_CR3_KEEP : 0);
    memset(cpu_memory, 0, sizeof(cpu_memory));
    memset(&kernel_lock, 0, sizeof(kernel_lock));
    memset(object_ids, 0, sizeof(object_ids));
    memset(way_out, 0, sizeof(way_out));
    fake.now = 1000000;
    cpu_count = cores;
    start_memory(megabytes);
    log_reset();
    objects_init();
    for (uint32_t i = 0; i < cores; i++) {
        cpus[i] = &cpu_memory[i];
        cpus[i]->id = i;
        fake.deadline[i] = UINT64_MAX;
        fake.core = i;
        sched_init_cpu(cpus[i]);
        enter(i, run_scheduler, NULL);
    }
    fake.core = 0;
    enter(0, make_manager, NULL);
    check_alive(0);
}

static void do_boot(void *facts) { core_start(facts); }

void fake_boot(const struct boot_facts *facts)
{
    struct boot_facts copy = *facts;
    struct cpu *cpu = cpus[0];
    cpu->space = NULL;
    cpu->sc = NULL; // and none waits, as in memory that is zero
    cpu->alarms = NULL;
    memset(cpu->queue, 0, sizeof(cpu->queue));
    sched_init_cpu(cpu);
    fake_manager = NULL;
    enter(0, do_boot, &copy);
}

struct object *fake_object(struct process *p, int64_t h)
{
    uint8_t rights;
    return h > 0 ? handle_any(p, (uint64_t)h, &rights) : NULL;
}

// What the manager would give it, and more: each test has its own needs.
void fake_grant(struct process *p)
{
    for (unsigned i = 0; i < OBJ_COUNTED; i++) {
        uint32_t left = p->parent->may[i] - p->parent->have[i];
        uint32_t some = (uint32_t)min_u64(left / 2, 1u << 13);
        p->parent->have[i] += some;
        p->may[i] += some;
    }
}

int64_t fake_sc(uint32_t core, uint32_t share, uint32_t period_us)
{
    return CALL(0, sc_create, BOOT_HANDLE_SYSTEM, core, share, period_us, 0);
}

struct fake_process fake_spawn(uint32_t core, uint64_t quota, int64_t sc)
{
    struct fake_process f = { .sc = (uint64_t)(sc ? sc : fake_sc(core, 0, 0)) };
    f.handle = (uint64_t)CALL(0, process_create, quota);
    f.process = object_to(fake_object(fake_manager, (int64_t)f.handle), process);
    fake_grant(f.process);
    f.thread_h = (uint64_t)CALL(0, thread_create, f.handle, f.sc, 0x400000, 0x800000, 7);
    f.thread = object_to(fake_object(fake_manager, (int64_t)f.thread_h), thread);
    if (!f.thread || f.thread->core != core)
        panic("cannot spawn a process: %s", fake.log);
    fake_interrupts(core);
    return f;
}
