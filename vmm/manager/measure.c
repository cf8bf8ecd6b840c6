// SPDX-License-Identifier: BSD-2-Clause
// What a null system call costs, for `log = debug`: the one path of `./bulkhead bench` that no
// guest can see. The manager's thread only, before the console sends anything.
#include <stdbool.h>
#include <stdlib.h>
#include "libc/kcall.h"
#include "vmm/manager/manager.h"

#define ROUNDS  10000u
#define WARM_UP 200u

static uint32_t samples[ROUNDS];

// Only the low half: a call is shorter than 2^32 ticks, and joining the halves would be measured.
static inline uint32_t stamp(void)
{
    uint32_t low;
    __asm__ volatile("rdtsc" : "=a"(low) : : "rdx", "memory");
    return low;
}

// As other programs call, whose loader has changed their code (kernel/abi/boot.h).
static inline void call_by_sysenter(void)
{
    int64_t number = SYS_null;
    __asm__ volatile("mov %%rsp, %%r12; lea 1f(%%rip), %%rbx; sysenter; 1:"
                     : "+a"(number)
                     :
                     : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
                       "r14", "r15", "cc", "memory");
}

static void measure(uint32_t rounds, bool sysenter)
{
    for (uint32_t i = 0; i < rounds && sysenter; i++) {
        uint32_t before = stamp();
        call_by_sysenter();
        samples[i] = stamp() - before;
    }
    for (uint32_t i = 0; i < rounds && !sysenter; i++) {
        uint32_t before = stamp();
        kcall_null();
        samples[i] = stamp() - before;
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

void measure_syscall(struct manager *manager)
{
    bool sysenter = manager->boot->call_insn == CALL_SYSENTER;
    measure(WARM_UP, sysenter);
    measure(ROUNDS, sysenter);
    qsort(samples, ROUNDS, sizeof(samples[0]), by_value);
    report(manager, "path=syscall rounds=%u min=%u median=%u max=%u\n", (unsigned)ROUNDS,
           (unsigned)samples[0], (unsigned)samples[ROUNDS / 2], (unsigned)samples[ROUNDS - 1]);
    if (!option_given(manager->boot, "trace")) {
        return;
    }
    report(manager, "trace syscall\n");
    __asm__ volatile("xchg %%bx, %%bx" : : : "memory");
    measure(1, sysenter);
    __asm__ volatile("xchg %%bx, %%bx" : : : "memory");
}
