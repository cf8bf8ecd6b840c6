// SPDX-License-Identifier: BSD-2-Clause
//
// The local APIC. State: which of its two faces is in use, kept so that an access does not have to
// read APIC_BASE first. One for all processors: they are all in the same mode when they use it.

#include "guests/lib/apic.h"

#include "guests/lib/cpu.h"
#include "guests/lib/layout.h"

#define CPUID_1_ECX_X2APIC (1u << 21)

static bool x2apic;

bool apic_has_x2apic(void)
{
    return cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC;
}

enum apic_mode apic_mode(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    if (!(base & APIC_BASE_ENABLE))
        return APIC_MODE_DISABLED;
    return base & APIC_BASE_X2 ? APIC_MODE_X2APIC : APIC_MODE_XAPIC;
}

void apic_enable(enum apic_mode mode)
{
    uint64_t base = rdmsr(MSR_APIC_BASE) & ~(uint64_t)(APIC_BASE_ENABLE | APIC_BASE_X2);
    enum apic_mode present = apic_mode();

    if (present == APIC_MODE_X2APIC && mode != present)
        wrmsr(MSR_APIC_BASE, base);
    if (mode == APIC_MODE_DISABLED) {
        wrmsr(MSR_APIC_BASE, base);
        return;
    }
    if (present != APIC_MODE_X2APIC || mode != present)
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
    if (mode == APIC_MODE_X2APIC)
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE | APIC_BASE_X2);
    x2apic = mode == APIC_MODE_X2APIC;
    apic_write(APIC_SVR, APIC_SVR_ENABLE | VEC_SPURIOUS);
}

uint32_t apic_read(uint32_t offset)
{
    if (x2apic)
        return (uint32_t)rdmsr(X2APIC_MSR(offset));
    return mmio_read32(APIC_BASE_DEFAULT + offset);
}

void apic_write(uint32_t offset, uint32_t value)
{
    if (x2apic)
        wrmsr(X2APIC_MSR(offset), value);
    else
        mmio_write32(APIC_BASE_DEFAULT + offset, value);
}

void apic_send(uint32_t low, uint32_t apic_id)
{
    if (x2apic) {
        wrmsr(X2APIC_MSR(APIC_ICR), (uint64_t)apic_id << 32 | low);
        return;
    }
    while (apic_read(APIC_ICR) & APIC_ICR_PENDING)
        cpu_pause();
    apic_write(APIC_ICR_HIGH, apic_id << 24);
    apic_write(APIC_ICR, low);
}

void apic_self_ipi(uint8_t vector)
{
    if (x2apic)
        apic_write(APIC_SELF_IPI, vector);
    else
        apic_send(APIC_ICR_SELF | APIC_ICR_ASSERT | vector, 0);
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

uint32_t apic_id(void)
{
    uint32_t id = apic_read(APIC_ID);
    return x2apic ? id : id >> 24;
}

bool apic_bit(uint32_t first_register, uint8_t vector)
{
    return apic_read(first_register + 16u * (vector / 32)) >> (vector % 32) & 1;
}
