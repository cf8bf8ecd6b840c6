// SPDX-License-Identifier: BSD-2-Clause
// Grace periods, the waiter's side; see grace.h.
#include "kernel/core/grace.h"
#include "kernel/core/arch.h"

uint64_t grace_number;

uint64_t grace_begin(void) { return __atomic_add_fetch(&grace_number, 1, __ATOMIC_SEQ_CST); }

// Whoever of several changes the time sends the interrupt.
static void ask(struct cpu *cpu)
{
    uint64_t now = arch_now(), last = __atomic_load_n(&cpu->grace_asked, __ATOMIC_RELAXED);
    if (now - last >= us_to_tsc(GRACE_IPI_US) &&
        __atomic_compare_exchange_n(&cpu->grace_asked, &last, now, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_RELAXED))
        arch_send_ipi(cpu->id);
}

bool grace_over(uint64_t number)
{
    bool over = true;
    for (uint32_t core = 0; core < cpu_count; core++) {
        struct cpu *cpu = cpus[core];
        if (cpu == this_cpu() || __atomic_load_n(&cpu->grace_seen, __ATOMIC_ACQUIRE) >= number ||
            __atomic_load_n(&cpu->outside, __ATOMIC_SEQ_CST))
            continue;
        ask(cpu);
        over = false;
    }
    return over;
}
