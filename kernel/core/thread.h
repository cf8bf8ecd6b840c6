// SPDX-License-Identifier: BSD-2-Clause
// Threads, events, timers and the per-core scheduler.
//
// A core's run queue, its threads' states and their timers are touched by that core alone; other
// cores push onto cpu->remote_wake or raise cpu->ipi_requests and send an IPI. The kernel has one
// stack per core and never switches it: a thread is either in ring 3, in its guest, or waiting;
// what is left to do for it in the kernel is its `op`.
//
// Scheduling: a core runs scheduling contexts (sc.h), and a context its ready threads in turn. The
// highest level with a context that is ready and has time runs; within it they take turns. Time is
// charged by TSC at every switch, kernel work on the context's behalf included.
#pragma once
#include "kernel/core/process.h"
#include "kernel/core/sc.h"

enum thread_state {
    THREAD_RUNNABLE, THREAD_BLOCKED, THREAD_MOVING, THREAD_DEAD,
};
// thread->asked
#define THREAD_KILL 1u // it must die at the next chance
#define THREAD_MOVE 2u // it goes to another context, see sc_move
// What it goes on with when it is picked.
enum thread_mode { THREAD_USER, THREAD_GUEST, THREAD_OP };
// Long work of the kernel on a thread's behalf, done piece by piece (op.c).
enum thread_op {
    OP_NONE, OP_REST, OP_MEM_CREATE, OP_DESTROY, OP_MAP, OP_UNMAP, OP_AUDIT, OP_COUNT,
};

struct vcpu;

struct thread {
    struct arch_thread arch;  // first: assembly saves the user registers here
    struct object object;
    struct process *process;
    struct list in_process;
    struct sc *sc;            // its core's; changes with `core`; NULL when it is dead
    struct list in_sc;        // kernel_lock
    struct list queue;        // sc->ready, while it is RUNNABLE, `current` too
    struct list timers, vcpus; // what it made and goes where it goes; kernel_lock
    uint8_t state, mode;
    uint8_t asked;            // atomic: THREAD_KILL, THREAD_MOVE
    uint8_t core;
    uint8_t op;               // enum thread_op
    uint8_t timers_held;      // how many are in `timers`; kernel_lock
    struct vcpu *vcpu;        // mode THREAD_GUEST
    struct thread *peer;      // to which it yields from guest to guest, while its core's `turns`
    uint64_t peer_turns;      // are these
    struct thread *remote_next;
    uint32_t remote_pending;  // atomic: is on a remote_wake list
    struct event *waiting;    // blocked in event_wait
    struct timer wait_timer;
    struct {                  // written before THREAD_MOVE is set, read until it is cleared
        struct sc *sc;
        uint8_t state;        // of the thread while it is THREAD_MOVING
    } move;
    struct {
        struct object *object; // what it works on
        struct ref ref;        // likewise, where it may vanish meanwhile
        int step;
        uint64_t w[8];         // see op.c, destroy.c, audit.c
        int64_t status;        // what its system call gives at the end; 0 at first
        uint64_t value;
    } op_state;
};

struct event {
    struct object object;
    struct spinlock lock;    // guards all below; innermost but for nothing
    uint64_t bits;
    struct thread *waiter;   // one at a time
    uint64_t mask;
    struct ref vcpu;         // signalled: that vCPU returns to its VMM
};

// Is the thread's that has armed it last, which pays for it: goes where that one goes, and is
// nobody's, and not armed, once it is dead.
struct timer_object {
    struct object object;
    struct timer timer;
    struct notice notice;
    struct thread *home;     // whose it is, on its core; NULL: nobody's. kernel_lock
    struct list in_thread;   // likewise
};

struct irq {
    struct object object;
    uint32_t gsi;
    uint8_t bound;
    struct notice notice;
};

struct ioports { struct object object; }; // all of them
#define IOPORTS_ALL 0x10000u
struct system { struct object object; };

#define QUANTUM_US 1000

// How long the kernel goes on without taking an interrupt. Measured is all but the system calls
// that take no lock and end in their caller, and exits of a guest that no interrupt caused: those
// have no loop over anything that grows.
static inline void irqs_off(struct cpu *cpu, uint64_t now)
{
    if (!cpu->irqs_off)
        cpu->irqs_off = now;
}
static inline void irqs_still_off(struct cpu *cpu, uint64_t now)
{
    if (cpu->irqs_off && now - cpu->irqs_off > cpu->irqs_off_longest)
        cpu->irqs_off_longest = now - cpu->irqs_off;
}
static inline void irqs_on(struct cpu *cpu, uint64_t now)
{
    irqs_still_off(cpu, now);
    cpu->irqs_off = 0;
}

// Is it on a context of the system, as the soft ones are? Any core; it may be dying.
static inline bool thread_is_of_system(const struct thread *t)
{
    const struct sc *s = __atomic_load_n(&t->sc, __ATOMIC_RELAXED);
    return s && s->soft;
}

// sched.c
void sched_init_cpu(struct cpu *cpu);
NORETURN void sched_run(void);          // picks, switches and resumes a thread, or idles
void sched_window(struct cpu *cpu);     // lets interrupts in; the caller holds nothing
void thread_wake(struct thread *t);     // from any core: makes it runnable on its own
// Current goes to the end of its context's queue, and the next there has the rest of the quantum.
void sched_give_way(void);
// Current goes to the end of its queue; CPU_WORK_RESCHED is set if another may run.
void sched_yield_current(void);
// Runs due timers, quantum, refill; sets the next deadline.
void cpu_deadline_passed(uint64_t now);
void cpu_ipi(void);                     // in the IPI's handler, on every core
void sched_ready(struct cpu *cpu, struct thread *t); // t waits no longer
// These ticks of an interrupt's work are not for the context that it came upon.
void sched_not_charged(struct cpu *cpu, uint64_t ticks);
// cpu.c
void cpu_request(uint32_t core, uint32_t request); // CPU_IPI_*, of another core
// Has destroy_stop_on_core(o) run on the core where o is now; true when it is done. kernel_lock
// held.
bool cpu_stop(struct object *o, uint32_t core);
void cpu_drain(struct cpu *cpu);        // wakes what others pushed onto remote_wake
void thread_push(struct thread *t);     // has its core look at it in cpu_drain()
void thread_push_again(struct thread *t); // it left the core on whose list it was found
void thread_check(struct cpu *cpu, struct thread *t); // on its core: wakes it if it is ready
void sched_refresh_deadline(struct cpu *cpu, uint64_t now); // after a change
// event.c / timer.c / irq.c
// Any core, interrupts off. True: it woke a thread of the system.
bool event_signal(struct event *e, uint64_t bits);
void event_notice(const struct notice *n); // likewise, if that event still is
void event_leave(struct thread *t, enum status status); // any core: it waits no longer
void event_end(struct event *e);        // is destroyed: its waiter gets ERR_DEAD
// On its core. s: this core's; NULL: it rests, and its deadline stays. 0 disarms.
void timer_arm(struct timer *t, struct sc *s, uint64_t deadline);
static inline void timer_disarm(struct timer *t) { timer_arm(t, NULL, 0); }
void timer_leave(struct timer_object *o); // its thread, if any, on its core. kernel_lock held
void heap_insert(struct timer **heap, struct timer *t);
void heap_remove(struct timer **heap, struct timer *t);
struct timer *heap_pop(struct timer **heap);        // the first, which is not armed then
void irq_fired(uint32_t gsi);                       // arch: a host interrupt came (and was masked)
struct irq *irq_make(struct process *owner, uint32_t gsi, enum status *status);
#define IRQ_MAX 256
// op.c: long work. op_begin: from a system call,
// whose caller then gets what the last piece says.
NORETURN void op_begin(struct thread *t, enum thread_op op);
void op_run(struct thread *t);          // one piece, from sched_run()
void op_abandon(struct thread *t);      // t dies; kernel_lock held
// What a piece says: call again, call again after a while (it waits for other cores), or the end.
// Pieces run with kernel_lock held.
// UNLOCKED: again, and kernel_lock has been released: the next piece waits for it anew, with
// interrupts let in between.
enum op_progress { OP_AGAIN, OP_UNLOCKED, OP_WAIT, OP_DONE };
enum op_progress destroy_piece(struct thread *t); // destroy.c
enum op_progress rest_piece(struct thread *t);    // event.c
enum op_progress map_piece(struct thread *t);     // space.c
enum op_progress mapping_piece(struct mapping *m, uint64_t w[2]); // space.c: ends it
void destroy_abandon(struct thread *t);
// On the core that o's use is on, or was on. Of o and of those that are destroyed with it.
// kernel_lock held.
void destroy_stop_on_core(struct object *o);
enum op_progress audit_piece(struct thread *t);   // audit.c
void audit_abandon(struct thread *t);
void audit_leave(struct object *o); // a VM or process, or nothing: its maps wait for no audit
// thread end: current ends with `status`; never returns
struct thread *thread_make(struct process *p, struct sc *sc,
                           enum status *status); // kernel_lock held
// all: and the other threads of its process
NORETURN void thread_exit_current(enum process_end end, const struct process_status *why,
                                  bool all);
