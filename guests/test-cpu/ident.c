// SPDX-License-Identifier: BSD-2-Clause
//
// CPUID and MSRs: what is shown, what is hidden, what agrees with what. Most of it is promised by
// Bulkhead only and skipped on other machines.

#include <stdbool.h>
#include <stdio.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/pit.h"
#include "guests/test-cpu/groups.h"

#define MEASURE_NS (50 * NS_PER_MS)
#define MEASUREMENTS 3

enum reg { EAX, EBX, ECX, EDX };

struct feature {
    const char *name;
    uint32_t leaf, subleaf;
    enum reg reg;
    uint32_t mask;
};

// Shown: the guest may use them at once.
static const struct feature shown[] = {
    {"cpuid.hypervisor", 0x1, 0, ECX, 1u << 31},
    {"cpuid.x2apic", 0x1, 0, ECX, 1u << 21},
    {"cpuid.tsc-deadline", 0x1, 0, ECX, 1u << 24},
    {"cpuid.xsave", 0x1, 0, ECX, 1u << 26},
    {"cpuid.apic", 0x1, 0, EDX, 1u << 9},
    {"cpuid.arat", 0x6, 0, EAX, 1u << 2},
    {"cpuid.tsc-adjust", 0x7, 0, EBX, 1u << 1},
    {"cpuid.invariant-tsc", 0x80000007, 0, EDX, 1u << 8},
    {"cpuid.long-mode", 0x80000001, 0, EDX, 1u << 29},
    {"cpuid.syscall", 0x80000001, 0, EDX, 1u << 11},
    {"cpuid.nx", 0x80000001, 0, EDX, 1u << 20},
};

// Hidden: behind each is state that a VM does not have.
static const struct feature hidden[] = {
    {"cpuid.no-mwait", 0x1, 0, ECX, 1u << 3},
    {"cpuid.no-vmx", 0x1, 0, ECX, 1u << 5},
    {"cpuid.no-smx", 0x1, 0, ECX, 1u << 6},
    {"cpuid.no-pdcm", 0x1, 0, ECX, 1u << 15},
    {"cpuid.no-hwp", 0x6, 0, EAX, 0x1Fu << 7},
    {"cpuid.no-sgx", 0x7, 0, EBX, 1u << 2},
    {"cpuid.no-rdt", 0x7, 0, EBX, 1u << 12 | 1u << 15},
    {"cpuid.no-pt", 0x7, 0, EBX, 1u << 25},
    {"cpuid.no-perfmon", 0xA, 0, EAX, 0xFFu},
};

static uint32_t feature_value(const struct feature *f)
{
    uint32_t max = cpuid(f->leaf & 0x80000000u, 0).eax;
    if (f->leaf > max)
        return 0;
    struct cpuid_result r = cpuid(f->leaf, f->subleaf);
    uint32_t values[] = {r.eax, r.ebx, r.ecx, r.edx};
    return values[f->reg] & f->mask;
}

static void test_features(void)
{
    for (unsigned int i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
        check(feature_value(&shown[i]) == shown[i].mask, shown[i].name, "not shown");
    for (unsigned int i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        check(feature_value(&hidden[i]) == 0, hidden[i].name, "shown");
    check(cpuid(0x40000000, 0).eax >= 0x40000000, "cpuid.hypervisor-leaf", "maximum is 0x%x",
          (unsigned int)cpuid(0x40000000, 0).eax);
}

static bool near(uint64_t a, uint64_t b, uint64_t per_mille)
{
    uint64_t difference = a > b ? a - b : b - a;
    return difference * 1000 <= b * per_mille;
}

static void test_frequency(void)
{
    check(cpuid(0, 0).eax >= 0x16, "cpuid.has-16h", "maximum leaf 0x%x",
          (unsigned int)cpuid(0, 0).eax);
    check(clock_crystal_hz() != 0, "cpuid.15h", "no crystal frequency");
    // Whoever else runs on this core can make a measurement longer, never shorter.
    uint64_t least = UINT64_MAX;
    for (unsigned int i = 0; i < MEASUREMENTS; i++) {
        uint64_t start = rdtsc();
        pit_wait_ns(MEASURE_NS);
        uint64_t ticks = rdtsc() - start;
        least = ticks < least ? ticks : least;
    }
    uint64_t measured = least * (NS_PER_SECOND / MEASURE_NS);
    check(near(clock_tsc_hz(), measured, 10), "cpuid.15h-against-pit", "%llu Hz, the PIT says %llu",
          (unsigned long long)clock_tsc_hz(), (unsigned long long)measured);
    uint64_t base_mhz = cpuid(0x16, 0).eax & 0xFFFF;
    uint64_t tsc_mhz = (clock_tsc_hz() + 500000) / 1000000;
    check(near(base_mhz, tsc_mhz, 20), "cpuid.16h", "base %llu MHz, TSC %llu",
          (unsigned long long)base_mhz, (unsigned long long)tsc_mhz);
}

static void test_topology(void)
{
    uint32_t initial_id = cpuid(1, 0).ebx >> 24;
    check(initial_id == cpuid(0xB, 0).edx, "cpuid.b-apic-id", "leaf 1: %u, leaf b: %u",
          (unsigned int)initial_id, (unsigned int)cpuid(0xB, 0).edx);
    struct cpuid_result smt = cpuid(0xB, 0), core = cpuid(0xB, 1), end = cpuid(0xB, 2);
    check((smt.ecx & 0xFFFF) == 0x100 && (core.ecx & 0xFFFF) == 0x201 && (end.ecx >> 8 & 0xFF) == 0,
          "cpuid.b-levels", "ecx %x %x %x", (unsigned int)smt.ecx, (unsigned int)core.ecx,
          (unsigned int)end.ecx);
    check((smt.ebx & 0xFFFF) >= 1 && (core.ebx & 0xFFFF) >= (smt.ebx & 0xFFFF), "cpuid.b-counts",
          "smt %u, core %u", (unsigned int)smt.ebx & 0xFFFF, (unsigned int)core.ebx & 0xFFFF);
    check((smt.eax & 0x1F) <= (core.eax & 0x1F), "cpuid.b-shifts", "smt %u, core %u",
          (unsigned int)smt.eax, (unsigned int)core.eax);

    if (cpu_is_amd()) {
        uint32_t first = cpuid(0x80000005, 0).ecx, second = cpuid(0x80000006, 0).ecx;
        check((first & 0xFF) == 64 && first >> 24 != 0 && (second & 0xFF) == 64 &&
                  second >> 16 != 0,
              "cpuid.caches", "L1 %x, L2 %x", (unsigned int)first, (unsigned int)second);
        return;
    }
    unsigned int caches = 0;
    uint32_t cores = 0;
    bool sane = true;
    for (struct cpuid_result r; caches < 16; caches++) {
        r = cpuid(4, caches);
        if ((r.eax & 0x1F) == 0)
            break;
        uint32_t line = (r.ebx & 0xFFF) + 1, level = r.eax >> 5 & 7;
        sane = sane && (r.eax & 0x1F) <= 3 && level >= 1 && level <= 4 && line == 64;
        cores = (r.eax >> 26) + 1;
        // No cache can be shared by more threads than the package has ids for.
        sane = sane && (r.eax >> 14 & 0xFFF) < 1u << (core.eax & 0x1F);
    }
    check(caches >= 1 && caches < 16 && sane, "cpuid.4", "%u caches", caches);
    check(cores <= 1u << (core.eax & 0x1F), "cpuid.4-cores", "%u cores in %u ids",
          (unsigned int)cores, 1u << (core.eax & 0x1F));
}

// Leaf 0xD must follow XCR0, and the OSXSAVE bit CR4.
static void test_xsave_leaf(void)
{
    uint64_t xcr0 = read_xcr0();
    uint32_t supported = cpuid(0xD, 0).eax;
    check((supported & 3) == 3 && (xcr0 & ~(uint64_t)supported) == 0, "cpuid.d-states",
          "supported %x, XCR0 %x", (unsigned int)supported, (unsigned int)xcr0);
    check(cpuid(0xD, 0).ecx >= cpuid(0xD, 0).ebx, "cpuid.d-sizes", "now %u, most %u",
          (unsigned int)cpuid(0xD, 0).ebx, (unsigned int)cpuid(0xD, 0).ecx);
    try_xcr(0, 3);
    check(cpuid(0xD, 0).ebx == 576, "cpuid.d-size-sse", "%u bytes",
          (unsigned int)cpuid(0xD, 0).ebx);
    if (supported & 4) {
        try_xcr(0, 7);
        check(cpuid(0xD, 0).ebx == 832, "cpuid.d-size-avx", "%u bytes",
              (unsigned int)cpuid(0xD, 0).ebx);
        struct cpuid_result avx = cpuid(0xD, 2);
        check(avx.eax == 256 && avx.ebx == 576, "cpuid.d-avx", "size %u, offset %u",
              (unsigned int)avx.eax, (unsigned int)avx.ebx);
    }
    try_xcr(0, xcr0);
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 & ~CR4_OSXSAVE);
    bool off = !(cpuid(1, 0).ecx & 1u << 27);
    write_cr4(cr4 | CR4_OSXSAVE);
    bool on = cpuid(1, 0).ecx & 1u << 27;
    check(off && on, "cpuid.osxsave", "CR4.OSXSAVE=0: %d, =1: %d", !off, on);
}

void test_cpuid(void)
{
    uint32_t address = cpuid(0x80000008, 0).eax;
    uint32_t linear = address >> 8 & 0xFF;
    check((address & 0xFF) >= 36 && (address & 0xFF) <= 52 && (linear == 48 || linear == 57),
          "cpuid.address-sizes", "%x", (unsigned int)address);
    test_xsave_leaf();
    if (!cpu_on_bulkhead()) {
        check_skip("cpuid.features", "not on Bulkhead");
        return;
    }
    test_features();
    test_frequency();
    test_topology();
}

// ---- MSRs ----

static const struct {
    const char *name;
    uint32_t msr;
} readable[] = {
    {"msr.tsc", 0x10},
    {"msr.platform-id", 0x17},
    {"msr.apic-base", 0x1B},
    {"msr.feature-control", 0x3A},
    {"msr.tsc-adjust", 0x3B},
    {"msr.bios-sign", 0x8B},
    {"msr.platform-info", 0xCE},
    {"msr.mtrr-cap", 0xFE},
    {"msr.misc-features", 0x140},
    {"msr.sysenter-cs", 0x174},
    {"msr.sysenter-esp", 0x175},
    {"msr.sysenter-eip", 0x176},
    {"msr.mcg-cap", 0x179},
    {"msr.misc-enable", 0x1A0},
    {"msr.debugctl", 0x1D9},
    {"msr.mtrr-base0", 0x200},
    {"msr.mtrr-mask0", 0x201},
    {"msr.mtrr-64k", 0x250},
    {"msr.mtrr-16k-8", 0x258},
    {"msr.mtrr-16k-a", 0x259},
    {"msr.mtrr-4k-c0", 0x268},
    {"msr.mtrr-4k-f8", 0x26F},
    {"msr.pat", 0x277},
    {"msr.mtrr-default", 0x2FF},
    {"msr.tsc-deadline", 0x6E0},
    {"msr.efer", 0xC0000080},
    {"msr.star", 0xC0000081},
    {"msr.lstar", 0xC0000082},
    {"msr.cstar", 0xC0000083},
    {"msr.sfmask", 0xC0000084},
    {"msr.fs-base", 0xC0000100},
    {"msr.gs-base", 0xC0000101},
    {"msr.kernel-gs", 0xC0000102},
};

// Not there: VMX, perfmon, RDT, PT, HWP, other hypervisors' and plain holes.
static const uint32_t unknown[] = {
    0x480,      0x48C,      0x345,      0x186,      0x38F,      0xC1,       0xC8D,
    0x570,      0x770,      0x600,      0x9FF,      0x1000,     0x40000000, 0x4B564D00,
    0xBFFFFFFF, 0xC0000000, 0xC0000200, 0xC0010016, 0x12345678, 0xFFFFFFFF,
};

static void test_unknown_msrs(void)
{
    for (unsigned int i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        uint64_t value;
        char name[40];
        snprintf(name, sizeof(name), "msr.read-0x%x", (unsigned int)unknown[i]);
        int vector = rdmsr_safe(unknown[i], &value);
        check(vector == VEC_GP, name, "vector %d, value 0x%llx", vector, (unsigned long long)value);
        snprintf(name, sizeof(name), "msr.write-0x%x", (unsigned int)unknown[i]);
        vector = wrmsr_safe(unknown[i], 0);
        check(vector == VEC_GP, name, "vector %d", vector);
    }
}

// Speculation control, as far as CPUID shows it.
static void test_speculation_msrs(void)
{
    uint32_t edx = cpuid(7, 0).edx;
    uint64_t value;
    int want = edx & 1u << 26 ? TRAP_NONE : VEC_GP;
    check(rdmsr_safe(0x48, &value) == want, "msr.spec-ctrl", "vector %d", trap_caught.vector);
    check(wrmsr_safe(0x49, 1) == want, "msr.pred-cmd", "vector %d", trap_caught.vector);
    check(rdmsr_safe(0x49, &value) == VEC_GP, "msr.pred-cmd-read", "vector %d", trap_caught.vector);
    want = edx & 1u << 29 ? TRAP_NONE : VEC_GP;
    check(rdmsr_safe(0x10A, &value) == want, "msr.arch-capabilities", "vector %d",
          trap_caught.vector);
}

// TSC and TSC_ADJUST move together ("IA32_TSC_ADJUST Support").
static void test_tsc_adjust(void)
{
    const uint64_t step = 1ull << 40;
    uint64_t adjust = rdmsr(0x3B);
    uint64_t before = rdtsc();
    wrmsr(0x3B, adjust + step);
    uint64_t after = rdtsc();
    wrmsr(0x3B, adjust);
    uint64_t back = rdtsc();
    check(after - before >= step && after - before < 2 * step, "msr.tsc-adjust-moves",
          "TSC moved by 0x%llx", (unsigned long long)(after - before));
    check(back - before < step, "msr.tsc-adjust-back", "TSC is off by 0x%llx",
          (unsigned long long)(back - before));
    wrmsr(MSR_TSC, rdtsc() + step);
    uint64_t moved = rdmsr(0x3B) - adjust;
    wrmsr(0x3B, adjust);
    check(moved >= step - 1000000000 && moved <= step + 1000000000, "msr.tsc-write",
          "TSC_ADJUST moved by 0x%llx", (unsigned long long)moved);
}

static void test_msr_values(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    check((base & APIC_BASE_ENABLE) && (base & APIC_BASE_BSP), "msr.apic-base-value", "0x%llx",
          (unsigned long long)base);
    check(wrmsr_safe(MSR_APIC_BASE, base | 1ull << 60) == VEC_GP, "msr.apic-base-reserved",
          "vector %d", trap_caught.vector);
    uint64_t pat = rdmsr(0x277);
    check(wrmsr_safe(0x277, 0x0202020202020202) == VEC_GP, "msr.pat-invalid", "vector %d",
          trap_caught.vector);
    wrmsr(0x277, 0x0001040506070600);
    cpuid(1, 0);
    check(rdmsr(0x277) == 0x0001040506070600, "msr.pat-write", "0x%llx",
          (unsigned long long)rdmsr(0x277));
    wrmsr(0x277, pat);
    check((rdmsr(0x179) & 0xFF) == 0, "msr.mcg-no-banks", "%u banks",
          (unsigned int)rdmsr(0x179) & 0xFF);
    check((rdmsr(0x1A0) & 1u << 18) == 0, "msr.misc-enable-monitor", "MONITOR is enabled");
    check(wrmsr_safe(0x1A0, rdmsr(0x1A0)) == TRAP_NONE, "msr.misc-enable-write", "vector %d",
          trap_caught.vector);
    check((rdmsr(0x3A) & 5) == 1, "msr.feature-control-locked", "0x%llx",
          (unsigned long long)rdmsr(0x3A));
}

void test_msrs(void)
{
    for (unsigned int i = 0; i < sizeof(readable) / sizeof(readable[0]); i++) {
        uint64_t value;
        if (!cpu_on_bulkhead() && !cpu_on_tcg())
            break;
        int vector = rdmsr_safe(readable[i].msr, &value);
        check(vector == TRAP_NONE, readable[i].name, "vector %d", vector);
    }
    if (!cpu_on_bulkhead()) {
        check_skip("msr.values", "not on Bulkhead");
        return;
    }
    test_unknown_msrs();
    test_speculation_msrs();
    test_tsc_adjust();
    test_msr_values();
}
