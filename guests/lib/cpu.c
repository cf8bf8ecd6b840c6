// SPDX-License-Identifier: BSD-2-Clause
//
// What a guest asks of its CPU once: whether this is Bulkhead, and the extended FPU state.
// No state of its own; runs on the guest's only processor.

#include "guests/lib/cpu.h"

#include <string.h>

#include "guests/lib/options.h"

#define CPUID_1_ECX_XSAVE      (1u << 26)
#define CPUID_1_ECX_HYPERVISOR (1u << 31)
#define CPUID_HYPERVISOR       0x40000000u
#define XCR0_X87_SSE_AVX       7u

static bool hypervisor_is(const char *signature)
{
    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR))
        return false;
    struct cpuid_result r = cpuid(CPUID_HYPERVISOR, 0);
    char found[12];
    memcpy(found + 0, &r.ebx, 4);
    memcpy(found + 4, &r.ecx, 4);
    memcpy(found + 8, &r.edx, 4);
    return memcmp(found, signature, sizeof(found)) == 0;
}

bool cpu_is_amd(void)
{
    struct cpuid_result r = cpuid(0, 0);
    return r.ebx == 0x68747541 || r.ebx == 0x6f677948; // "Auth", "Hygo"
}

bool cpu_on_bulkhead(void)
{
    return hypervisor_is("BulkheadHV  ");
}

bool cpu_on_tcg(void)
{
    return hypervisor_is("TCGTCGTCGTCG");
}

bool cpu_by_tcg(void)
{
    return cpu_on_tcg() || option_flag("tcg");
}

void cpu_fpu_init(void)
{
    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE))
        return;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    uint32_t states = cpuid(0xD, 0).eax & XCR0_X87_SSE_AVX;
    __asm__ volatile("xsetbv" : : "c"(0), "a"(states), "d"(0) : "memory");
}
