// SPDX-License-Identifier: BSD-2-Clause
//
// Control registers, XCR0, EFER, segment bases, and instructions that exit or must not exist.

#include <stdbool.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/hypercall.h"
#include "guests/test-cpu/groups.h"

#define SCRATCH       0x7F00 // low memory is free once the loader's information has been read
#define CR4_TSD       (1ul << 2)
#define CR4_PCE       (1ul << 8)
#define CR4_UMIP      (1ul << 11)
#define CR4_FSGSBASE  (1ul << 16)
#define CR4_SMEP      (1ul << 20)
#define CR4_SMAP      (1ul << 21)
#define EFER_SCE      (1ul << 0)
#define EFER_LME      (1ul << 8)
#define EFER_LMA      (1ul << 10)
#define EFER_NXE      (1ul << 11)
#define NON_CANONICAL 0x8000000000000000ul

static void expect_cr0(const char *name, uint64_t value, int vector)
{
    uint64_t old = read_cr0();
    int got = try_cr0(value);
    if (got == TRAP_NONE)
        write_cr0(old);
    check(got == vector, name, "vector %d, expected %d", got, vector);
}

static void expect_cr0_sticks(const char *name, uint64_t value)
{
    uint64_t old = read_cr0();
    int vector = try_cr0(value);
    uint64_t seen = read_cr0();
    uint64_t again = cpuid(1, 0).eax != 0 ? read_cr0() : 0;
    write_cr0(old);
    check(vector == TRAP_NONE && seen == value && again == value, name,
          "vector %d, wrote %lx, read %lx, %lx", vector, value, seen, again);
}

static void test_cr0(void)
{
    uint64_t cr0 = read_cr0();
    check((cr0 & (CR0_PE | CR0_NE | CR0_WP | CR0_PG)) == (CR0_PE | CR0_NE | CR0_WP | CR0_PG),
          "cr0.read", "%lx", cr0);
    expect_cr0_sticks("cr0.ts", cr0 | CR0_TS);
    expect_cr0_sticks("cr0.am", cr0 ^ CR0_AM);
    expect_cr0_sticks("cr0.mp", cr0 ^ CR0_MP);
    expect_cr0_sticks("cr0.cd", (cr0 | CR0_CD) & ~CR0_NW);
    expect_cr0_sticks("cr0.cd-nw", cr0 | CR0_CD | CR0_NW);
    expect_cr0_sticks("cr0.cd-off", cr0 & ~(CR0_CD | CR0_NW));
    if (cpu_by_tcg()) {
        check_skip("cr0.reserved", "QEMU does not check");
        return;
    }
    expect_cr0("cr0.nw-without-cd", (cr0 | CR0_NW) & ~CR0_CD, VEC_GP);
    expect_cr0("cr0.pg-without-pe", cr0 & ~CR0_PE, VEC_GP);
    expect_cr0("cr0.high-bits", cr0 | 1ul << 32, VEC_GP);
    expect_cr0("cr0.pg-off", (cr0 & ~CR0_PG) ^ CR0_NE, VEC_GP); // in 64-bit code
    check(read_cr0() == cr0, "cr0.unchanged", "%lx, was %lx", read_cr0(), cr0);
}

// TS and EM act on FPU instructions, and CLTS and LMSW work.
static void test_fpu_traps(void)
{
    uint64_t cr0 = read_cr0();
    write_cr0(cr0 | CR0_TS);
    trap_expect();
    __asm__ volatile(TRY("movaps %%xmm0, %%xmm0")::: "memory");
    int sse = trap_caught.vector;
    trap_expect();
    __asm__ volatile(TRY("fnop")::: "memory");
    int x87 = trap_caught.vector;
    __asm__ volatile("clts" ::: "memory");
    uint64_t cleared = read_cr0();
    write_cr0(cr0 | CR0_EM);
    trap_expect();
    __asm__ volatile(TRY("movaps %%xmm0, %%xmm0")::: "memory");
    int emulated = trap_caught.vector;
    write_cr0(cr0);
    check(sse == VEC_NM && x87 == VEC_NM, "cr0.ts-nm", "SSE %d, x87 %d", sse, x87);
    check(!(cleared & CR0_TS), "cr0.clts", "TS is still set");
    check(emulated == VEC_UD, "cr0.em-ud", "vector %d", emulated);

    uint16_t word = (uint16_t)(cr0 | CR0_TS);
    __asm__ volatile("lmsw %0" : : "r"(word) : "memory");
    uint64_t after = read_cr0();
    uint64_t stored;
    __asm__ volatile("smsw %0" : "=r"(stored)::"memory");
    write_cr0(cr0);
    check(after == (cr0 | CR0_TS), "cr0.lmsw", "%lx", after);
    check((stored & 0xFFFF) == (after & 0xFFFF), "cr0.smsw", "%lx", stored);
}

// Write protection for the supervisor follows CR0.WP at once.
static void test_write_protect(void)
{
    static uint8_t page[4096] __attribute__((aligned(4096)));
    uintptr_t address = window_map(0, window_entry(page, 0));
    uint64_t cr0 = read_cr0();
    trap_expect();
    __asm__ volatile(TRY("movb $1, (%0)") : : "r"(address) : "memory");
    check(trap_caught.vector == VEC_PF && trap_caught.error == 3 && trap_caught.cr2 == address,
          "cr0.wp-on", "vector %d, error %lx, CR2 %lx", trap_caught.vector, trap_caught.error,
          trap_caught.cr2);
    write_cr0(cr0 & ~CR0_WP);
    trap_expect();
    __asm__ volatile(TRY("movb $2, (%0)") : : "r"(address) : "memory");
    write_cr0(cr0);
    check(trap_caught.vector == TRAP_NONE && page[0] == 2, "cr0.wp-off", "vector %d",
          trap_caught.vector);
    window_map(0, 0);
}

static void expect_cr4_sticks(const char *name, uint64_t bit, bool there)
{
    uint64_t old = read_cr4();
    if (!there) {
        check_skip(name, "not in CPUID");
        return;
    }
    int vector = try_cr4(old ^ bit);
    uint64_t seen = read_cr4();
    cpuid(1, 0);
    uint64_t again = read_cr4();
    write_cr4(old);
    if (bit == CR4_MCE && cpu_by_tcg() && seen == (old | bit)) {
        check_skip(name, "QEMU 10 does not exit for a read of CR4");
        return;
    }
    check(vector == TRAP_NONE && seen == (old ^ bit) && again == seen && read_cr4() == old, name,
          "vector %d, wrote %lx, read %lx, %lx", vector, old ^ bit, seen, again);
}

static void expect_cr4(const char *name, uint64_t value, int vector)
{
    uint64_t old = read_cr4();
    int got = try_cr4(value);
    if (got == TRAP_NONE)
        write_cr4(old);
    check(got == vector && read_cr4() == old, name, "vector %d, CR4 %lx", got, read_cr4());
}

static void test_cr4(void)
{
    uint64_t cr4 = read_cr4();
    struct cpuid_result leaf1 = cpuid(1, 0), leaf7 = cpuid(7, 0);
    expect_cr4_sticks("cr4.de", CR4_DE, leaf1.edx & 1u << 2);
    expect_cr4_sticks("cr4.mce", CR4_MCE, leaf1.edx & 1u << 7);
    expect_cr4_sticks("cr4.pge", CR4_PGE, leaf1.edx & 1u << 13);
    expect_cr4_sticks("cr4.tsd", CR4_TSD, true);
    expect_cr4_sticks("cr4.pce", CR4_PCE, true);
    expect_cr4_sticks("cr4.osxsave", CR4_OSXSAVE, leaf1.ecx & 1u << 26);
    expect_cr4_sticks("cr4.umip", CR4_UMIP, leaf7.ecx & 1u << 2);
    expect_cr4_sticks("cr4.fsgsbase", CR4_FSGSBASE, leaf7.ebx & 1u << 0);
    expect_cr4_sticks("cr4.smep", CR4_SMEP, leaf7.ebx & 1u << 7);
    expect_cr4_sticks("cr4.smap", CR4_SMAP, leaf7.ebx & 1u << 20);
    if (cpu_by_tcg()) {
        check_skip("cr4.reserved", "QEMU does not check");
        return;
    }
    expect_cr4("cr4.bit-63", cr4 | 1ul << 63, VEC_GP);
    expect_cr4("cr4.bit-31", cr4 | 1ul << 31, VEC_GP);
    expect_cr4("cr4.pae-off", cr4 & ~CR4_PAE, VEC_GP);
    if (cpu_on_bulkhead())
        expect_cr4("cr4.vmxe", cr4 | CR4_VMXE, VEC_GP);
}

static void test_xcr0(void)
{
    uint64_t xcr0 = read_xcr0();
    uint64_t supported = cpuid(0xD, 0).eax | (uint64_t)cpuid(0xD, 0).edx << 32;
    check(try_xcr(0, 1) == TRAP_NONE && read_xcr0() == 1, "xcr0.x87", "vector %d, XCR0 %lx",
          trap_caught.vector, read_xcr0());
    check(try_xcr(0, 3) == TRAP_NONE && read_xcr0() == 3, "xcr0.sse", "vector %d, XCR0 %lx",
          trap_caught.vector, read_xcr0());
    check(try_xcr(0, 0) == VEC_GP, "xcr0.no-x87", "vector %d", trap_caught.vector);
    check(try_xcr(1, 1) == VEC_GP, "xcr0.index-1", "vector %d", trap_caught.vector);
    check(try_xcr(0, 3 | (1ul << 62 & ~supported)) == VEC_GP, "xcr0.unknown-state", "vector %d",
          trap_caught.vector);
    if (cpu_by_tcg())
        check_skip("xcr0.avx-without-sse", "QEMU does not check");
    else
        check(try_xcr(0, 5) == VEC_GP, "xcr0.avx-without-sse", "vector %d", trap_caught.vector);
    check(read_xcr0() == 3, "xcr0.unchanged", "XCR0 %lx", read_xcr0());
    try_xcr(0, xcr0);
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 & ~CR4_OSXSAVE);
    check(try_xcr(0, xcr0) == VEC_UD, "xcr0.osxsave-off", "vector %d", trap_caught.vector);
    write_cr4(cr4);
}

static void test_efer(void)
{
    uint64_t efer = rdmsr(MSR_EFER);
    check((efer & (EFER_LME | EFER_LMA)) == (EFER_LME | EFER_LMA), "efer.read", "%lx", efer);
    wrmsr(MSR_EFER, efer ^ EFER_NXE);
    uint64_t nxe = rdmsr(MSR_EFER);
    wrmsr(MSR_EFER, efer ^ EFER_SCE);
    uint64_t sce = rdmsr(MSR_EFER);
    wrmsr(MSR_EFER, efer);
    check(nxe == (efer ^ EFER_NXE) && sce == (efer ^ EFER_SCE), "efer.write", "%lx %lx", nxe, sce);
    if (cpu_by_tcg()) {
        check_skip("efer.reserved", "QEMU does not check");
        return;
    }
    check(wrmsr_safe(MSR_EFER, efer | 1ul << 1) == VEC_GP, "efer.bit-1", "vector %d",
          trap_caught.vector);
    check(wrmsr_safe(MSR_EFER, efer | 1ul << 40) == VEC_GP, "efer.bit-40", "vector %d",
          trap_caught.vector);
    check(wrmsr_safe(MSR_EFER, efer & ~EFER_LME) == VEC_GP, "efer.lme-off", "vector %d",
          trap_caught.vector);
    check(rdmsr(MSR_EFER) == efer, "efer.unchanged", "%lx", rdmsr(MSR_EFER));
}

void test_registers(void)
{
    test_cr0();
    test_fpu_traps();
    test_write_protect();
    test_cr4();
    test_xcr0();
    test_efer();
}

// ---- segment bases and instructions ----

static void test_bases(void)
{
    static uint64_t at_fs = 0xF5F5, at_gs = 0x6565, at_kernel_gs = 0x6B65;
    uint64_t fs, gs, swapped, back;
    wrmsr(MSR_FS_BASE, (uintptr_t)&at_fs);
    wrmsr(MSR_GS_BASE, (uintptr_t)&at_gs);
    wrmsr(MSR_KERNEL_GS_BASE, (uintptr_t)&at_kernel_gs);
    cpuid(1, 0);
    outb(PORT_NOBODY, 0);
    __asm__ volatile("mov %%fs:0, %0\n mov %%gs:0, %1\n swapgs\n mov %%gs:0, %2\n"
                     "swapgs\n mov %%gs:0, %3"
                     : "=&r"(fs), "=&r"(gs), "=&r"(swapped), "=&r"(back)::"memory");
    check(fs == 0xF5F5 && gs == 0x6565, "base.fs-gs", "fs %lx, gs %lx", fs, gs);
    check(swapped == 0x6B65 && back == 0x6565, "base.swapgs", "%lx, back %lx", swapped, back);
    check(rdmsr(MSR_KERNEL_GS_BASE) == (uintptr_t)&at_kernel_gs, "base.kernel-gs", "%lx",
          rdmsr(MSR_KERNEL_GS_BASE));
    if (cpu_by_tcg()) {
        check_skip("base.non-canonical", "QEMU does not check");
    } else {
        check(wrmsr_safe(MSR_FS_BASE, NON_CANONICAL) == VEC_GP, "base.non-canonical", "vector %d",
              trap_caught.vector);
        check(wrmsr_safe(MSR_LSTAR, NON_CANONICAL) == VEC_GP, "msr.lstar-non-canonical",
              "vector %d", trap_caught.vector);
    }
    uint64_t star = rdmsr(MSR_STAR);
    wrmsr(MSR_STAR, 0x0018000800000000);
    wrmsr(MSR_SFMASK, 0x47700);
    outb(PORT_NOBODY, 0);
    check(rdmsr(MSR_STAR) == 0x0018000800000000 && rdmsr(MSR_SFMASK) == 0x47700, "msr.star",
          "%lx %lx", rdmsr(MSR_STAR), rdmsr(MSR_SFMASK));
    wrmsr(MSR_STAR, star);
}

// CR2 is the guest's own across exits to the kernel and to the VMM.
static void test_cr2(void)
{
    const uint64_t value = 0x1122334455667788;
    __asm__ volatile("mov %0, %%cr2" : : "r"(value) : "memory");
    cpuid(1, 0);
    outb(PORT_NOBODY, 0);
    check(read_cr2() == value, "cr2.kept", "%lx", read_cr2());
}

// In 32-bit code the number is in EAX, whatever the upper half of RAX holds.
static void test_hypercall_32(void)
{
    for (uint64_t number = HYPERCALL_NULL; number <= HYPERCALL_YIELD + 1; number++) {
        uint64_t result = number | 0xDEADBEEF00000000ul;
        __asm__ volatile("pushq %1\n pushq $1f\n lretq\n"
                         ".code32\n1: " HYPERCALL " ljmp %2, $2f\n .code64\n2:"
                         : "+a"(result)
                         : "i"(SEL_CODE32), "i"(SEL_CODE64)
                         : "memory");
        uint32_t expected = number <= HYPERCALL_YIELD ? 0 : ~0u;
        check((uint32_t)result == expected, "insn.hypercall-32", "call %u: %x",
              (unsigned int)number, (unsigned int)result);
    }
}

// INSB in 32-bit code. The port's exit comes before the CPU has looked at the segment.
static int insb_32(uint16_t selector, uint32_t offset)
{
    uint64_t at = offset;
    trap_expect();
    __asm__ volatile("mov %w1, %%es\n pushq %3\n pushq $1f\n lretq\n"
                     ".code32\n1: " TRY("insb") "ljmp %4, $2f\n .code64\n2: mov %w5, %%es"
                     : "+D"(at)
                     : "r"(selector), "d"(PORT_NOBODY), "i"(SEL_CODE32), "i"(SEL_CODE64),
                       "r"(SEL_DATA)
                     : "memory");
    return trap_caught.vector;
}

static void test_string_segments(void)
{
    check(insb_32(SEL_DATA16, SCRATCH) == TRAP_NONE, "insn.insb", "vector %d", trap_caught.vector);
    insb_32(SEL_DATA16, 0x10000);
    expect_vector("insn.insb-limit", VEC_GP);
    insb_32(SEL_CODE32, SCRATCH);
    expect_vector("insn.insb-type", VEC_GP);
}

static void test_instructions(void)
{
    __asm__ volatile("wbinvd" ::: "memory");
    check(true, "insn.wbinvd", "-");
    if (cpuid(0x80000001, 0).edx & 1u << 27) {
        uint32_t aux;
        wrmsr(0xC0000103, 0x1234);
        __asm__ volatile("rdtscp" : "=c"(aux)::"eax", "edx", "memory");
        check(aux == 0x1234, "insn.rdtscp", "TSC_AUX %x", (unsigned int)aux);
    }
    if (cpu_by_tcg())
        check_skip("insn.insb", "QEMU looks at no type");
    else
        test_string_segments();
    if (!cpu_on_bulkhead()) {
        check_skip("insn.hypercall", "not on Bulkhead");
        return;
    }
    check(hypercall(HYPERCALL_NULL) == 0, "insn.hypercall-null", "result is not 0");
    check(hypercall(HYPERCALL_YIELD) == 0, "insn.hypercall-yield", "result is not 0");
    test_hypercall_32();
    trap_expect();
    __asm__ volatile(TRY("monitor") : : "a"(0), "c"(0), "d"(0) : "memory");
    expect_vector("insn.monitor", VEC_UD);
    trap_expect();
    __asm__ volatile(TRY("mwait") : : "a"(0), "c"(0) : "memory");
    expect_vector("insn.mwait", VEC_UD);
    uint64_t region = 0;
    trap_expect();
    __asm__ volatile(TRY("vmxon %0") : : "m"(region) : "memory");
    expect_vector("insn.vmxon", VEC_UD);
    trap_expect();
    __asm__ volatile(TRY("vmread %0, %0") : "+r"(region)::"memory");
    expect_vector("insn.vmread", VEC_UD);
    uint32_t low = 0, high = 0;
    trap_expect();
    __asm__ volatile(TRY("rdpmc") : "+a"(low), "+d"(high) : "c"(0x1234) : "memory");
    expect_vector("insn.rdpmc", VEC_GP);
}

void test_segments(void)
{
    test_bases();
    test_cr2();
    test_instructions();
}
