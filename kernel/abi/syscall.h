// SPDX-License-Identifier: BSD-2-Clause
// The system calls: numbers, status codes, rights. With vcpu.h, boot.h and stats.h this is all that
// ring 3 may know of the kernel.
//
// Calling convention (SYSENTER): number in EAX; arguments in RDI, RSI, RDX, RCX, R8, R9; RBX is
// where to return, R12 the stack pointer to return with. Both are below USER_CALLS_END: only their
// lower halves count. Result: RAX is >= 0 (often a handle) or a negative status; RSI is a second
// result where one is named below. RBP is kept, all others, flags and vector registers among them,
// are clobbered.
//
// Every call checks all of its arguments before it changes anything. A call that has much to do
// (zeroing, freeing) works in pieces and can be preempted between them.
#pragma once

#ifndef __ASSEMBLER__
#include <stdint.h>

// A handle is an index into the calling process's table; 0 is never valid.
typedef uint32_t handle_t;

enum status {
    OK = 0,
    ERR_CALL = -1,    // no such system call
    ERR_HANDLE = -2,  // the handle is empty, stale or of another type
    ERR_RIGHTS = -3,  // the handle lacks a right
    ERR_RANGE = -4,   // a number, an alignment or an address is out of range
    ERR_MEMORY = -5,  // no frames left that fit
    ERR_QUOTA = -6,   // the process's quota of memory or of such objects does not allow it
    ERR_BUSY = -7,    // in use, or overlaps what is there
    ERR_TIMEOUT = -8, // event_wait: the deadline passed
    ERR_FULL = -9,    // a table is full: of handles, of objects, of the tags of processes
    ERR_STATE = -10,  // not possible in the object's present state
    ERR_DEAD = -11,   // the object died while the call used it
};
#endif

// name, number
#define SYSCALLS(X)                                                                                \
    X(null, 0)                                                                                     \
    X(log_write, 1)       /* va, len                       -> bytes taken */                       \
    X(handle_copy, 2)     /* process, h, rights, slot|0, withheld -> slot in that process */       \
    X(handle_close, 3)    /* h */                                                                  \
    X(object_destroy, 4)  /* h (RIGHT_CONTROL) */                                                  \
    X(mem_create, 5)      /* bytes, align, flags           -> h; zeroed */                         \
    X(mem_map, 6)         /* process, mem, offset, bytes, va, prot */                              \
    X(mem_unmap, 7)       /* process, va, bytes  (exactly one earlier mapping) */                  \
    X(process_create, 8)  /* quota bytes, event|0, bits at its end, va of process_counts -> h */   \
    X(process_status, 9)  /* process, va of struct process_status */                               \
    X(thread_create, 10)  /* process, sc|0 the caller's, entry, stack pointer, argument -> h */    \
    X(sc_create, 11)      /* system, core, share in 1/1000|0, period in us|0, flags -> h */        \
    X(thread_exit, 12)    /* status, 1: of all (ends the process when it is the last thread) */    \
    X(sc_move, 13)        /* from, to, thread|0: that one, soon, or all there -> how many stay */  \
    X(event_create, 14)   /*                               -> h */                                 \
    X(event_signal, 15)   /* h, bits */                                                            \
    X(event_wait, 16)     /* h, mask, TSC deadline|0       -> RSI = bits taken (and cleared) */    \
    X(timer_create, 17)   /* event, bits                   -> h; goes where the caller goes */     \
    X(timer_arm, 18)      /* h, TSC deadline|0 to disarm */                                        \
    X(irq_bind, 19)       /* irq, event, bits */                                                   \
    X(irq_ack, 20)        /* irq  (unmasks it again) */                                            \
    X(ioports_grant, 21)  /* process, ioports, first, count: these, no others */                   \
    X(vm_create, 22)      /* flags (VM_CATCH_UP, VM_SMP)   -> h */                                 \
    X(vm_map, 23)         /* vm, mem, offset, bytes, gpa, prot */                                  \
    X(vm_unmap, 24)       /* vm, gpa, bytes  (exactly one earlier mapping) */                      \
    X(vm_msi, 25)         /* vm, address, data, level(0|1) -> 1: an earlier one waits still */     \
    X(vcpu_create, 26)    /* vm, apic id, page memory, event|0 -> h; goes where the caller goes */ \
    X(vcpu_run, 27)       /* vcpu, VM_RUN_*                -> enum vm_exit_kind, see vcpu.h */     \
    X(vcpu_intr, 28)      /* vcpu, level (the INTR line from the PIC) */                           \
    X(vcpu_sregs, 29)     /* vcpu, 0 = read into the page, 1 = write from it; 2, 3 = its FPU */   \
    X(system_audit, 30)   /* system                        -> RSI = frames checked */              \
    X(system_stats, 31)   /* system, index, va of struct vcpu_stats -> 1, or 0 past the end */     \
    X(system_log, 32)     /* system, va, len               -> bytes of kernel log */               \
    X(system_info, 33)    /* system, va of struct system_info */                                   \
    X(system_off, 34)     /* system, status 0..2: powers the machine off; or SYSTEM_RESET */
#define SYSCALL_COUNT 35
#define SYSCALL_SLOTS 64 // of a number the other bits do not count, but for
// this one, beside SYS_vcpu_run: the caller's vCPU is entered at once, where nothing has changed
// since it returned. It is the one that is named, or this bit is not to be set.
#define SYSCALL_RUN_ON 0x80000000

#ifndef __ASSEMBLER__
enum syscall_number {
#define X(name, number) SYS_##name = number,
    SYSCALLS(X)
#undef X
};
#endif

// Rights on a handle; handle_copy can only take some away.
#define RIGHT_READ    0x01 // memory: map readable; others: look at it
#define RIGHT_WRITE   0x02 // memory: map writable
#define RIGHT_EXEC    0x04 // memory: map executable
#define RIGHT_USE     0x08 // signal, arm, run, map into, create threads in, ...
#define RIGHT_WAIT    0x10 // event: wait
#define RIGHT_CONTROL 0x20 // destroy, start, set scheduling
#define RIGHT_COPY    0x40 // give it to another process
#define RIGHT_ALL     0x7f

// mem_map and vm_map. PROT_WRITE with PROT_EXEC is refused for processes. A device mapping
// (uncached) is for memory objects of device frames only.
#define PROT_READ  1
#define PROT_WRITE 2
#define PROT_EXEC  4

// vm_create: missed periods of its local APICs' timers come later, those of a second at most; it
// has more than one vCPU, of which one may wait for another
#define VM_CATCH_UP 1
#define VM_SMP      2
#define VM_VCPUS    16 // at most: their APIC ids are below
// mem_create: flags, and the alignments it takes.
#define MEM_KERNEL 1 // one page that the kernel itself reaches: a vCPU's
#define PAGE_SIZE 4096ull
#define PAGE_2M   (1ull << 21)
#define PAGE_1G   (1ull << 30)

// Process address space: user addresses are below USER_END.
#define USER_START 0x10000ull
#define USER_END   0x7ffffffff000ull
#define USER_CALLS_END 0x100000000ull // of code that makes system calls, and of the stacks there

// Fixed slots of a new process's table: its own process object is put there by the kernel.
#define HANDLE_SELF 1
#define HANDLE_MAX  512

// system_off: in place of a status.
#define SYSTEM_RESET 3

// So many timers may be a thread's.
#define THREAD_TIMERS 32

// sc_create: when its share is used up, it goes on as best effort.
#define SC_SOFT 1

// Of an event, a handle also says which of its bits may be signalled through it: all, but for those
// that handle_copy withheld from this copy or from what it was copied from.

#ifndef __ASSEMBLER__
// How many objects of each kind a process may have at a time. process_create() takes what it gives
// from its caller's, and at the new process's end the caller has it again.
struct process_counts {
    uint32_t mappings; // in its own space, and in those of its VMs
    uint32_t memories, processes, threads, contexts, events, timers, vms, vcpus;
};

enum process_end { PROCESS_ALIVE, PROCESS_EXITED, PROCESS_FAULT, PROCESS_KILLED };

struct process_status {
    uint32_t end;     // enum process_end
    int32_t status;   // argument of thread_exit, or the exception vector
    uint64_t rip;     // of the fault
    uint64_t address; // CR2 of a page fault
    uint64_t error;   // error code of the exception
    uint32_t id;      // as in struct vcpu_stats
    uint32_t threads; // alive
    uint64_t quota;   // bytes
    uint64_t used;    // bytes charged now
};
#endif
