// SPDX-License-Identifier: BSD-2-Clause
// What the portable kernel keeps per core. Everything in here belongs to its own core and is
// touched there with interrupts off; the exceptions are atomic and marked so.
#pragma once
#include "arch_types.h" // struct arch_cpu, arch_thread, arch_space, arch_vcpu
#include "kernel/abi/syscall.h"
#include "kernel/lib/list.h"
#include "kernel/lib/types.h"

#define CPU_MAX 64

// Levels of a core's run queue: of best effort, and of shares by their period. The higher first.
enum { LEVEL_BEST_EFFORT, LEVEL_10MS, LEVEL_2MS, LEVEL_1MS, LEVEL_COUNT };

// cpu->work: looked at on every way out of the kernel.
#define CPU_WORK_RESCHED 1u // another thread should run

// cpu->ipi_requests
#define CPU_IPI_FLUSH 2u // compare generations of the spaces this core is in; leave dead ones
#define CPU_IPI_STOP  4u // see stop_request

struct thread;
struct sc;
struct timer;
struct space;
struct object;

struct cpu {
    struct arch_cpu arch;      // first: assembly uses its offsets
    struct thread *current;    // NULL while idle
    struct sc *sc;             // that of `current`, which is charged; NULL while idle
    uint32_t id;               // 0 is the boot core
    uint32_t work;             // CPU_WORK_*
    uint64_t deadline;         // TSC: first of alarms, `sc`'s timers, quantum and refill; every
                               // exit compares it
    uint64_t armed;            // TSC the hardware timer is set to; never later than `deadline`
    uint64_t switch_tsc;       // when `sc` was last charged
    int64_t quantum_left;      // of `sc`, at switch_tsc
    uint64_t turns;            // grows with whatever may make a `peer` of threads wrong
    uint64_t idle_tsc;         // total

    struct sc *queue[LEVEL_COUNT]; // the first in turn, in a ring; the one that runs is its level's
    uint64_t quantum;          // TSC ticks
    struct timer *alarms;      // the first of the heap of its contexts'

    struct thread *remote_wake; // atomic: pushed by other cores, linked by thread->remote_next
    struct thread *woken;       // taken from there, and not looked at yet
    uint32_t ipi_requests;      // atomic: CPU_IPI_*
    uint64_t irqs_off;          // TSC since when, if that is being measured; else 0
    uint64_t irqs_off_longest;  // ticks, of all that was measured
    uint64_t grace_seen;        // atomic: the number when it last held no pointer; see grace.h
    uint64_t grace_asked;       // atomic: TSC of the last interrupt that asked it for a note
    uint32_t outside;           // atomic, written by the core: it is halted
    // Atomic: the address space that is loaded, and the VM's tables that were used last: this core
    // is in both. The arch sets them, by space_enter().
    struct space *space;
    struct space *guest_space;
    struct object *stop_request; // atomic: end this object's use of this core (see op.c)
    uint8_t time_apart;          // its arch_now() is not core 0's: nothing moves to or from it
    uint32_t promised;           // sum of its contexts' shares, in 1/1000; kernel_lock
};

extern struct cpu *cpus[CPU_MAX];
extern uint32_t cpu_count;
