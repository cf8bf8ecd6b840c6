// SPDX-License-Identifier: BSD-2-Clause
// The kernel's system calls, typed: one inline function each, in the order of kernel/abi/syscall.h,
// which describes what they do. Results are >= 0 (a handle where the call makes an object) or a
// negative enum status. Any thread may call them.
#pragma once
#include <stdint.h>
#include "kernel/abi/boot.h"
#include "kernel/abi/cpuid.h"
#include "kernel/abi/stats.h"
#include "kernel/abi/syscall.h"
#include "libc/trap.h"

static inline int64_t kcall2(uint64_t number, uint64_t a, uint64_t b)
{
    uint64_t second;
    return trap2(number, a, b, &second);
}

static inline int64_t kcall3(uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t second;
    return trap3(number, a, b, c, &second);
}

// clang's analyser does not see that the kernel writes to memory whose address it got as a number;
// for it this is a function without a prototype, which may do anything to what it is given.
#ifdef __clang_analyzer__
uint64_t kcall_va();
#else
static inline uint64_t kcall_va(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}
#endif

static inline int64_t kcall_null(void)
{
    return trap0(SYS_null);
}

// -> bytes taken
static inline int64_t kcall_log_write(const void *text, uint64_t len)
{
    return kcall2(SYS_log_write, kcall_va(text), len);
}

// slot 0: any free one. -> the slot in `process`
static inline int64_t kcall_handle_copy(handle_t process, handle_t h, uint32_t rights,
                                        handle_t slot)
{
    return trap6(SYS_handle_copy, process, h, rights, slot, 0, 0);
}

// The same of an event, for somebody who is to signal these bits of it and no others.
static inline int64_t kcall_handle_copy_bits(handle_t process, handle_t event, uint32_t rights,
                                             handle_t slot, uint64_t bits)
{
    return trap6(SYS_handle_copy, process, event, rights, slot, ~bits, 0);
}

static inline int64_t kcall_handle_close(handle_t h)
{
    return trap1(SYS_handle_close, h);
}

static inline int64_t kcall_object_destroy(handle_t h)
{
    return trap1(SYS_object_destroy, h);
}

// bytes: a multiple of PAGE_SIZE; align: PAGE_SIZE, PAGE_2M or PAGE_1G. -> h
static inline int64_t kcall_mem_create(uint64_t bytes, uint64_t align, uint64_t flags)
{
    return kcall3(SYS_mem_create, bytes, align, flags);
}

static inline int64_t kcall_mem_map(handle_t process, handle_t mem, uint64_t offset,
                                    uint64_t bytes, uint64_t va, uint32_t prot)
{
    return trap6(SYS_mem_map, process, mem, offset, bytes, va, prot);
}

static inline int64_t kcall_mem_unmap(handle_t process, uint64_t va, uint64_t bytes)
{
    return kcall3(SYS_mem_unmap, process, va, bytes);
}

// event 0: nobody is told of its end. counts: of the caller's own. -> h
static inline int64_t kcall_process_create(uint64_t quota, handle_t event, uint64_t bits,
                                           const struct process_counts *counts)
{
    return trap6(SYS_process_create, quota, event, bits, kcall_va(counts), 0, 0);
}

static inline int64_t kcall_process_status(handle_t process, struct process_status *status)
{
    return kcall2(SYS_process_status, process, kcall_va(status));
}

// sc 0: the caller's own. -> h
static inline int64_t kcall_thread_create(handle_t process, handle_t sc, uint64_t entry,
                                          uint64_t stack, uint64_t argument)
{
    return trap6(SYS_thread_create, process, sc, entry, stack, argument, 0);
}

// share in 1/1000 of the core, period in microseconds; 0 and 0: best effort. flags: SC_SOFT. -> h
static inline int64_t kcall_sc_create(handle_t system, uint32_t core, uint32_t share,
                                      uint32_t period, uint32_t flags)
{
    return trap6(SYS_sc_create, system, core, share, period, flags, 0);
}

static inline __attribute__((noreturn)) void kcall_thread_exit(int32_t status)
{
    for (;;) {
        kcall2(SYS_thread_exit, (uint64_t)(int64_t)status, 0);
    }
}

// Ends the process, whatever its other threads do.
static inline __attribute__((noreturn)) void kcall_process_exit(int32_t status)
{
    for (;;) {
        kcall2(SYS_thread_exit, (uint64_t)(int64_t)status, 1);
    }
}

// Has the threads of one context go to another, each with its timers and vCPUs, soon. -> how many
// are still there: 0 says that all have left; until then, call again after a while
static inline int64_t kcall_sc_move(handle_t from, handle_t to)
{
    return kcall3(SYS_sc_move, from, to, 0);
}

// The same for one of them. -> 1: it is still there
static inline int64_t kcall_sc_move_thread(handle_t from, handle_t to, handle_t thread)
{
    return kcall3(SYS_sc_move, from, to, thread);
}

static inline int64_t kcall_event_create(void)
{
    return trap0(SYS_event_create);
}

static inline int64_t kcall_event_signal(handle_t event, uint64_t bits)
{
    return kcall2(SYS_event_signal, event, bits);
}

// Waits until a bit of `mask` is set, or until the TSC reaches `deadline` (0: for ever). Returns OK
// with the bits taken in *bits, or ERR_TIMEOUT with none.
static inline int64_t kcall_event_wait(handle_t event, uint64_t mask, uint64_t deadline,
                                       uint64_t *bits)
{
    uint64_t second;
    int64_t result = trap3(SYS_event_wait, event, mask, deadline, &second);
    *bits = result == OK ? second : 0;
    return result;
}

static inline int64_t kcall_timer_create(handle_t event, uint64_t bits)
{
    return kcall2(SYS_timer_create, event, bits);
}

// deadline in TSC ticks, 0 disarms
static inline int64_t kcall_timer_arm(handle_t timer, uint64_t deadline)
{
    return kcall2(SYS_timer_arm, timer, deadline);
}

static inline int64_t kcall_irq_bind(handle_t irq, handle_t event, uint64_t bits)
{
    return kcall3(SYS_irq_bind, irq, event, bits);
}

static inline int64_t kcall_irq_ack(handle_t irq)
{
    return trap1(SYS_irq_ack, irq);
}

// count 0: none
static inline int64_t kcall_ioports_grant(handle_t process, handle_t ioports, uint32_t first,
                                          uint32_t count)
{
    return trap6(SYS_ioports_grant, process, ioports, first, count, 0, 0);
}

static inline int64_t kcall_vm_create(uint64_t flags)
{
    return trap1(SYS_vm_create, flags);
}

static inline int64_t kcall_vm_map(handle_t vm, handle_t mem, uint64_t offset, uint64_t bytes,
                                   uint64_t gpa, uint32_t prot)
{
    return trap6(SYS_vm_map, vm, mem, offset, bytes, gpa, prot);
}

static inline int64_t kcall_vm_unmap(handle_t vm, uint64_t gpa, uint64_t bytes)
{
    return kcall3(SYS_vm_unmap, vm, gpa, bytes);
}

// level 1: the vector's end of interrupt is reported (VM_EXIT_EOI)
static inline int64_t kcall_vm_msi(handle_t vm, uint64_t address, uint32_t data, uint32_t level)
{
    return trap6(SYS_vm_msi, vm, address, data, level, 0, 0);
}

// page: a memory object of one page, mapped by the caller as struct vcpu_page
static inline int64_t kcall_vcpu_create(handle_t vm, uint32_t apic_id, handle_t page,
                                        handle_t event)
{
    return trap6(SYS_vcpu_create, vm, apic_id, page, event, 0, 0);
}

// The hot path: see kernel/abi/vcpu.h. The calling thread runs no other vCPU. -> enum vm_exit_kind,
// and *word
static inline int64_t kcall_vcpu_run(handle_t vcpu, uint32_t run, uint64_t *word)
{
    return trap2(SYS_vcpu_run | SYSCALL_RUN_ON, vcpu, run, word);
}

static inline int64_t kcall_vcpu_intr(handle_t vcpu, uint32_t level)
{
    return kcall2(SYS_vcpu_intr, vcpu, level);
}

// write 0: into the page's `sregs`; 1: from it
static inline int64_t kcall_vcpu_sregs(handle_t vcpu, uint32_t write)
{
    return kcall2(SYS_vcpu_sregs, vcpu, write);
}

// Likewise its vector registers, and the page's `fpu`
static inline int64_t kcall_vcpu_fpu(handle_t vcpu, uint32_t write)
{
    return kcall2(SYS_vcpu_sregs, vcpu, 2 | write);
}

// *frames: how many were checked
static inline int64_t kcall_system_audit(handle_t system, uint64_t *frames)
{
    return trap3(SYS_system_audit, system, 0, 0, frames);
}

// -> 1, or 0 when `index` is past the last vCPU
static inline int64_t kcall_system_stats(handle_t system, uint64_t index, struct vcpu_stats *stats)
{
    return kcall3(SYS_system_stats, system, index, kcall_va(stats));
}

// -> bytes of the kernel's log, at most len
static inline int64_t kcall_system_log(handle_t system, void *buffer, uint64_t len)
{
    return kcall3(SYS_system_log, system, kcall_va(buffer), len);
}

static inline int64_t kcall_system_info(handle_t system, struct system_info *info)
{
    return kcall2(SYS_system_info, system, kcall_va(info));
}

// status: 0 all VMs powered off, 1 one was killed, 2 panic. Returns only when refused.
static inline int64_t kcall_system_off(handle_t system, uint32_t status)
{
    return kcall2(SYS_system_off, system, status);
}
