// SPDX-License-Identifier: BSD-2-Clause
//
// Test guest: what one core must look like from inside (design section "The virtual PC", CPU and
// MSRs). Option only=GROUP runs one group.

#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/options.h"
#include "guests/lib/power.h"
#include "guests/test-cpu/groups.h"

static const struct {
    const char *name;
    void (*run)(void);
} groups[] = {
    {"cpuid", test_cpuid},       {"msrs", test_msrs},   {"registers", test_registers},
    {"segments", test_segments}, {"state", test_state}, {"contexts", test_contexts},
    {"debug", test_debug},       {"traps", test_traps}, {"user", test_user},
    {"modes", test_modes},       {"tasks", test_tasks}, {"corners", test_corners},
};

void expect_vector(const char *name, int vector)
{
    check(trap_caught.vector == vector, name, "vector %d, expected %d", trap_caught.vector, vector);
}

int try_cr0(uint64_t value)
{
    trap_expect();
    __asm__ volatile(TRY("mov %0, %%cr0") : : "r"(value) : "memory");
    return trap_caught.vector;
}

int try_cr4(uint64_t value)
{
    trap_expect();
    __asm__ volatile(TRY("mov %0, %%cr4") : : "r"(value) : "memory");
    return trap_caught.vector;
}

int try_xcr(uint32_t index, uint64_t value)
{
    trap_expect();
    __asm__ volatile(TRY("xsetbv")
                     :
                     : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return trap_caught.vector;
}

uint64_t read_xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0) : "memory");
    return (uint64_t)hi << 32 | lo;
}

int main(void)
{
    const char *only = option("only");
    for (unsigned int i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (only == NULL || strcmp(only, groups[i].name) == 0)
            groups[i].run();
    }
    return check_done();
}
