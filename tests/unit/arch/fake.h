// SPDX-License-Identifier: BSD-2-Clause
// The fake architecture: the portable kernel under host tests. Its cores are simulated one after
// the other in one host thread, and time stands still unless a test moves it.
//
// Where the kernel would go to ring 3, into a guest or to sleep, the fake comes back to the test
// that let it in. Inter-processor interrupts wait until the core is given to run them, so a test
// can look at every moment between. Page-table entries are rotated by a number of bits that depends
// on the level, so one read at the wrong level makes no sense. hardware.h is what the cores have
// loaded and remember.
#pragma once
#include "kernel/core/arch.h"

enum fake_state { FAKE_KERNEL, FAKE_IDLE, FAKE_USER, FAKE_GUEST, FAKE_OFF, FAKE_PANIC };

struct fake {
    uint64_t now;              // TSC
    uint64_t tsc_hz;           // 1 GHz, if the test does not say otherwise
    uint64_t look;             // ticks that each look at it takes
    uint32_t core;             // the one that runs
    enum fake_state state[CPU_MAX];
    bool hold[CPU_MAX];        // this core takes no interrupts
    uint32_t aside;            // the test itself looks at something by a function of the kernel
    bool no_flush;             // arch_space_flush() is lost: what a kernel without it would do
    uint64_t deadline[CPU_MAX];
    uint32_t deadline_writes[CPU_MAX];
    uint32_t switches;         // arch_switch_to()
    uint32_t flushes;
    uint32_t windows;          // interrupt windows
    uint32_t msis;
    bool irq_masked[IRQ_MAX];
    int off_status;
    void (*map_hook)(struct space *s, uint64_t address); // before each entry is written
    int64_t answer;            // of arch_vcpu_answer()
    char log[4096];
    size_t log_bytes;
    uint16_t log_port;
};
extern struct fake fake;

// A machine with that many cores and that much memory, none of it used; a manager with all of it as
// quota, whose thread runs on core 0. Frees what the test before had.
void fake_start(uint32_t cores, uint32_t megabytes);
void fake_stop(void);
// core_start() on core 0 instead of that manager: only memory and cores are as fake_start() left
// them.
void fake_boot(const struct boot_facts *facts);
extern struct process *fake_manager;
extern struct thread *fake_thread; // its thread

#define FAKE_BLOCKED INT64_MIN // the call did not come back to its thread yet
// A system call of the core's current thread, which must be in ring 3.
int64_t fake_call(uint32_t core, uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2,
                  uint64_t a3, uint64_t a4, uint64_t a5);
#define CALL(core, name, ...) CALL_(core, SYS_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(core, number, a, b, c, d, e, f, ...) fake_call(core, number, a, b, c, d, e, f)
// Its guest, or whatever runs, goes to the end of its priority's queue. As fake_call().
int64_t fake_yield(uint32_t core);
// sched_give_way() of the thread that runs there.
void fake_give_way(uint32_t core);
// A system call, and then all that it starts: until no thread is inside a long operation.
int64_t fake_finish(uint32_t core, uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t a3, uint64_t a4, uint64_t a5);
#define FINISH(core, name, ...) FINISH_(core, SYS_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define FINISH_(core, number, a, b, c, d, e, f, ...) fake_finish(core, number, a, b, c, d, e, f)

// The thread of which the manager has this handle is told to die, by core 0.
void fake_kill(uint64_t h);
// Lets the core take what is pending: interrupts of others, and its timer if that is due.
void fake_interrupts(uint32_t core);
// All cores take their interrupts, and time passes, until no long operation is left. False: it
// hangs.
bool fake_settle(void);
// Time passes; timers that come due are taken on their cores.
void fake_advance(uint64_t ticks);
// A guest that runs on this core exits; the kernel does `handler` for it.
void fake_exit(uint32_t core, void (*handler)(struct vcpu *v));
// A handler of an exit: the guest gives way to the next one, if that is in its guest too.
void fake_exit_yield(struct vcpu *v);
// One that returns to the VMM by the short way; and a vcpu_run() that looks for the short way back
// has the number SYS_vcpu_run | SYSCALL_RUN_ON.
void fake_return_fast(struct vcpu *v);
void fake_run_on(void);
// The current thread of the core faults.
void fake_fault(uint32_t core, uint8_t vector);

// Any frame's bytes, for the tests; the kernel reaches its own by arch_ptr(), and no others.
void *fake_ptr(struct hpa a);

// The core accesses memory through a space that is loaded, as the hardware would: by its TLB, else
// by the tables. False: fault.
bool fake_access(uint32_t core, struct space *s, uint64_t address, uint8_t prot, struct hpa *out);

// Runs that on a core, in the kernel. True: it panicked; fake.log says why.
bool fake_refuses(uint32_t core, void (*code)(void *), void *argument);

// For arch.c: the ways out of the kernel.
NORETURN void fake_leave(enum fake_state state);
NORETURN void fake_back_to_user(void);
NORETURN void fake_back_to_guest(struct vcpu *v);

// Makes a scheduling context; its handle is a slot of the manager's table.
int64_t fake_sc(uint32_t core, uint32_t share, uint32_t period_us);
// Makes a process with a thread on that context, or on one of its own, best effort, for 0. Its
// handles are slots of the manager's table.
struct fake_process {
    struct process *process;
    struct thread *thread;
    uint64_t handle, thread_h, sc;
};
struct fake_process fake_spawn(uint32_t core, uint64_t quota, int64_t sc);
// What the thread's context has run.
static inline uint64_t thread_run_tsc(const struct thread *t, uint64_t now)
{
    return sc_run_tsc(t->sc, now);
}
// More of each kind of objects than tests need, of its parent's.
void fake_grant(struct process *p);
// The object behind a handle of that process.
struct object *fake_object(struct process *p, int64_t h);
// The scheduling context behind a handle of the manager's.
static inline struct sc *sc_of(int64_t h) { return object_to(fake_object(fake_manager, h), sc); }
