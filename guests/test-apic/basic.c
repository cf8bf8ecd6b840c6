// SPDX-License-Identifier: BSD-2-Clause
//
// Modes and their transitions, identification, and registers that must or must not be there.

#include <stdbool.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/test-apic/groups.h"

#define CPUID_1_EDX_APIC (1u << 9)

static void expect_base(const char *name, uint64_t value, int vector)
{
    int got = wrmsr_safe(MSR_APIC_BASE, value);
    check(got == vector, name, "vector %d, expected %d", got, vector);
}

// "IA32_APIC_BASE MSR": of its bits, all but BSP, EXTD and EN are reserved or the base, which
// cannot be changed.
static void test_base_bits(uint64_t on)
{
    uint64_t wrong = 0;
    for (unsigned int bit = 0; bit < 64; bit++) {
        uint64_t flag = 1ull << bit;
        if (flag & (APIC_BASE_BSP | APIC_BASE_X2 | APIC_BASE_ENABLE))
            continue;
        if (wrmsr_safe(MSR_APIC_BASE, on ^ flag) != VEC_GP || rdmsr(MSR_APIC_BASE) != on)
            wrong |= flag;
    }
    check(wrong == 0, "base.reserved", "bits %lx", (unsigned long)wrong);
    check(rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP, "base.bsp", "it is not the boot processor");
    wrmsr(MSR_APIC_BASE, on & ~(uint64_t)APIC_BASE_BSP);
    check(rdmsr(MSR_APIC_BASE) == (on & ~(uint64_t)APIC_BASE_BSP) && apic_read(APIC_SVR) == 0xFF,
          "base.bsp-cleared", "%lx", (unsigned long)rdmsr(MSR_APIC_BASE));
    wrmsr(MSR_APIC_BASE, on);
}

// The state diagram of "x2APIC State Transitions", and what a newly enabled APIC holds.
void test_transitions(void)
{
    uint64_t off = APIC_BASE_DEFAULT | APIC_BASE_BSP;
    uint64_t on = off | APIC_BASE_ENABLE, x2 = on | APIC_BASE_X2;

    apic_enable(APIC_MODE_DISABLED);
    check(!(cpuid(1, 0).edx & CPUID_1_EDX_APIC), "mode.disabled-cpuid", "CPUID shows an APIC");
    expect_base("mode.disabled-to-invalid", off | APIC_BASE_X2, VEC_GP);
    test_no_apic();
    apic_enable(APIC_MODE_XAPIC);
    check(cpuid(1, 0).edx & CPUID_1_EDX_APIC, "mode.xapic-cpuid", "CPUID shows no APIC");
    apic_write(APIC_LVT_TIMER, 0x40);
    apic_write(APIC_TPR, 0x30);
    apic_enable(APIC_MODE_DISABLED);
    wrmsr(MSR_APIC_BASE, on);
    check(apic_read(APIC_SVR) == 0xFF && apic_read(APIC_TPR) == 0 &&
              apic_read(APIC_LVT_TIMER) == APIC_LVT_MASKED,
          "mode.enabled-anew", "SVR %x, TPR %x, timer %x", (unsigned int)apic_read(APIC_SVR),
          (unsigned int)apic_read(APIC_TPR), (unsigned int)apic_read(APIC_LVT_TIMER));
    uint64_t value;
    check(rdmsr_safe(X2APIC_MSR(APIC_ID), &value) == VEC_GP, "mode.xapic-no-msrs", "vector %d",
          trap_caught.vector);

    test_base_bits(on);
    expect_base("mode.xapic-to-x2apic", x2, TRAP_NONE);
    expect_base("mode.x2apic-to-xapic", on, VEC_GP);
    expect_base("mode.x2apic-to-invalid", off | APIC_BASE_X2, VEC_GP);
    check(apic_mode() == APIC_MODE_X2APIC, "mode.x2apic-stays", "mode %d", (int)apic_mode());
    expect_base("mode.x2apic-to-disabled", off, TRAP_NONE);
    expect_base("mode.disabled-to-x2apic", x2, VEC_GP);
    apic_enable(APIC_MODE_XAPIC);
}

static void expect_msr_read(const char *name, uint32_t offset, int vector)
{
    uint64_t value;
    int got = rdmsr_safe(X2APIC_MSR(offset), &value);
    check(got == vector, name, "vector %d, expected %d", got, vector);
}

static void expect_msr_write(const char *name, uint32_t offset, uint64_t value, int vector)
{
    int got = wrmsr_safe(X2APIC_MSR(offset), value);
    check(got == vector, name, "vector %d, expected %d", got, vector);
}

// "x2APIC Register Availability" and "Reserved Bit Checking in x2APIC Mode".
static void test_x2apic_registers(void)
{
    uint32_t id = apic_id();
    check(apic_read(APIC_LDR) == ((id & 0xFFFF0) << 12 | 1u << (id & 15)), "x2apic.ldr", "%x",
          (unsigned int)apic_read(APIC_LDR));
    expect_msr_read("x2apic.read-dfr", APIC_DFR, VEC_GP);
    expect_msr_read("x2apic.read-icr-high", APIC_ICR_HIGH, VEC_GP);
    expect_msr_read("x2apic.read-eoi", APIC_EOI, VEC_GP);
    expect_msr_read("x2apic.read-self-ipi", APIC_SELF_IPI, VEC_GP);
    expect_msr_read("x2apic.read-hole", 0x040, VEC_GP);
    expect_msr_read("x2apic.read-last", 0xFF0, VEC_GP);
    expect_msr_read("x2apic.read-ppr", APIC_PPR, TRAP_NONE);
    expect_msr_write("x2apic.write-id", APIC_ID, 0, VEC_GP);
    expect_msr_write("x2apic.write-ppr", APIC_PPR, 0, VEC_GP);
    expect_msr_write("x2apic.write-ldr", APIC_LDR, 1, VEC_GP);
    expect_msr_write("x2apic.write-isr", APIC_ISR(0), 0, VEC_GP);
    expect_msr_write("x2apic.eoi-not-0", APIC_EOI, 1, VEC_GP);
    expect_msr_write("x2apic.tpr-reserved", APIC_TPR, 0x100, VEC_GP);
    expect_msr_write("x2apic.tpr-high-half", APIC_TPR, 1ull << 32, VEC_GP);
    expect_msr_write("x2apic.svr-reserved", APIC_SVR, 1ull << 31, VEC_GP);
    expect_msr_write("x2apic.esr-not-0", APIC_ESR, 1, VEC_GP);
    check(apic_read(APIC_TPR) == 0, "x2apic.tpr-unchanged", "%x",
          (unsigned int)apic_read(APIC_TPR));
}

static void test_xapic_registers(void)
{
    apic_write(APIC_LDR, 0x01000000);
    apic_write(APIC_DFR, 0xFFFFFFFF);
    check(apic_read(APIC_LDR) == 0x01000000 && apic_read(APIC_DFR) == 0xFFFFFFFF, "xapic.logical",
          "LDR %x, DFR %x", (unsigned int)apic_read(APIC_LDR), (unsigned int)apic_read(APIC_DFR));
    apic_write(APIC_ICR_HIGH, 0x05000000);
    check(apic_read(APIC_ICR_HIGH) == 0x05000000, "xapic.icr-high", "%x",
          (unsigned int)apic_read(APIC_ICR_HIGH));
}

static void test_priority_registers(void)
{
    apic_write(APIC_TPR, 0x50);
    check(apic_read(APIC_TPR) == 0x50 && apic_read(APIC_PPR) == 0x50 && read_cr8() == 5,
          named("tpr"), "TPR %x, PPR %x, CR8 %lx", (unsigned int)apic_read(APIC_TPR),
          (unsigned int)apic_read(APIC_PPR), read_cr8());
    write_cr8(7);
    check(apic_read(APIC_TPR) == 0x70 && read_cr8() == 7, named("cr8"), "TPR %x, CR8 %lx",
          (unsigned int)apic_read(APIC_TPR), read_cr8());
    write_cr8(0);
    check(apic_read(APIC_PPR) == 0, named("ppr-idle"), "%x", (unsigned int)apic_read(APIC_PPR));
    trap_expect();
    __asm__ volatile(TRY("mov %0, %%cr8") : : "r"(16ul) : "memory");
    if (cpu_by_tcg())
        check_skip(named("cr8-reserved"), "QEMU does not check");
    else
        check(trap_caught.vector == VEC_GP, named("cr8-reserved"), "vector %d", trap_caught.vector);
    apic_write(APIC_TPR, 0);
}

// Without the right to suppress EOI broadcasts there is no such bit.
static void test_no_suppression(enum apic_mode mode)
{
    uint32_t svr = APIC_SVR_ENABLE | VEC_SPURIOUS;
    if (apic_read(APIC_VERSION) & APIC_VERSION_NO_BROADCAST) {
        check_skip(named("svr-broadcast"), "this APIC can suppress them");
        return;
    }
    if (mode == APIC_MODE_X2APIC) {
        expect_msr_write(named("svr-broadcast"), APIC_SVR, svr | APIC_SVR_NO_EOI_BROADCAST, VEC_GP);
        return;
    }
    apic_write(APIC_SVR, svr | APIC_SVR_NO_EOI_BROADCAST);
    check(apic_read(APIC_SVR) == svr, named("svr-broadcast"), "%x",
          (unsigned int)apic_read(APIC_SVR));
}

// With the APIC disabled by SVR every LVT stays masked.
static void test_software_disable(void)
{
    apic_write(APIC_LVT_TIMER, 0x45);
    bool unmasked = !(apic_read(APIC_LVT_TIMER) & APIC_LVT_MASKED);
    apic_write(APIC_SVR, VEC_SPURIOUS);
    bool masked = apic_read(APIC_LVT_TIMER) & APIC_LVT_MASKED;
    apic_write(APIC_LVT_TIMER, 0x46);
    bool stays = apic_read(APIC_LVT_TIMER) & APIC_LVT_MASKED;
    apic_quiet();
    check(unmasked && (cpu_on_tcg() || (masked && stays)), named("software-disable"),
          "unmasked %d, masked by SVR %d, stays masked %d", unmasked, masked, stays);
}

void test_basic(enum apic_mode mode)
{
    check(apic_mode() == mode, named("mode"), "APIC_BASE says %d", (int)apic_mode());
    check(apic_id() == cpuid(1, 0).ebx >> 24, named("id"), "%u, CPUID says %u",
          (unsigned int)apic_id(), (unsigned int)cpuid(1, 0).ebx >> 24);
    uint32_t version = apic_read(APIC_VERSION);
    check((version & 0xFF) >= 0x10 && (version & 0xFF) <= 0x15 && (version >> 16 & 0xFF) >= 3,
          named("version"), "%x", (unsigned int)version);
    apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xEF);
    check(apic_read(APIC_SVR) == (APIC_SVR_ENABLE | 0xEF), named("svr"), "%x",
          (unsigned int)apic_read(APIC_SVR));
    apic_quiet();
    if (cpu_on_bulkhead())
        test_no_suppression(mode);
    if (mode == APIC_MODE_X2APIC)
        test_x2apic_registers();
    else
        test_xapic_registers();
    test_priority_registers();
    test_software_disable();
}
