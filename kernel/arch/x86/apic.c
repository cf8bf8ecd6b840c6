// SPDX-License-Identifier: BSD-2-Clause
// The host's local APICs (x2APIC mode) and IOAPICs. A local APIC belongs to its core. IOAPIC
// registers are written at boot and, under io_lock, by irq calls on any core. (82093AA; SDM
// "Advanced Programmable Interrupt Controller".)
#include "kernel/arch/x86/x86.h"

#define LVT_MASKED  0x10000u
#define LVT_NMI     0x400u
#define LVT_TSC_DEADLINE (2u << 17)

#define REDIR_MASKED (1u << 16)
#define REDIR_LEVEL  (1u << 15)
#define REDIR_LOW    (1u << 13)

static struct spinlock io_lock;
// Of each GSI that has a vector: its IOAPIC, and where its redirection entry's low half is there.
static struct pin { volatile uint32_t *regs; uint32_t low; } pins[VECTOR_GSI_MAX];

void apic_init_cpu(void)
{
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | (1u << 11));
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | (1u << 10)); // x2APIC
    this_cpu()->arch.apic_id = (uint32_t)rdmsr(X2APIC(APIC_ID));
    wrmsr(X2APIC(APIC_TPR), 0);
    wrmsr(X2APIC(APIC_SVR), 0x100 | VECTOR_SPURIOUS);
    wrmsr(X2APIC(APIC_LVT_LINT0), LVT_MASKED);
    wrmsr(X2APIC(APIC_LVT_LINT1), LVT_NMI);
    wrmsr(X2APIC(APIC_LVT_ERROR), LVT_MASKED);
    wrmsr(X2APIC(APIC_LVT_TIMER), VECTOR_TIMER | LVT_TSC_DEADLINE);
    __asm__ volatile("mfence" : : : "memory"); // SDM: between the LVT and the first deadline
}

void apic_quiet(void)
{
    wrmsr(MSR_TSC_DEADLINE, 0);
    wrmsr(X2APIC(APIC_SVR), VECTOR_SPURIOUS); // switched off by software: all of the LVT is masked
}

void apic_eoi(void) { wrmsr(X2APIC(APIC_EOI), 0); }

void apic_icr(uint32_t apic_id, uint32_t command)
{
    __asm__ volatile("mfence; lfence" : : : "memory"); // x2APIC writes do not order stores
    wrmsr(X2APIC(APIC_ICR), (uint64_t)apic_id << 32 | command);
}

void arch_send_ipi(uint32_t core) { apic_icr(cpus[core]->arch.apic_id, VECTOR_IPI); }

void arch_set_deadline(uint64_t tsc, uint64_t now)
{
    wrmsr(MSR_TSC_DEADLINE, tsc == UINT64_MAX ? 0 : tsc);
    if (this_cpu()->arch.vcpu)
        hvm_set_timer(this_cpu(), now);
}

static const struct pin *pin_of(uint32_t gsi)
{
    return gsi < VECTOR_GSI_MAX && pins[gsi].regs ? &pins[gsi] : NULL;
}

static uint32_t io_read(volatile uint32_t *regs, uint32_t index)
{
    regs[0] = index;
    return regs[4];
}

static void io_write(volatile uint32_t *regs, uint32_t index, uint32_t value)
{
    regs[0] = index;
    regs[4] = value;
}

static void pic_off(void)
{
    // Initialise first, so that a spurious vector is none of the exceptions'.
    static const struct { uint8_t port, master, slave; } words[] = {
        { 0x20, 0x11, 0x11 }, { 0x21, 0x20, 0x28 }, { 0x21, 4, 2 }, { 0x21, 1, 1 },
        { 0x21, 0xff, 0xff },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        out8(words[i].port, words[i].master);
        out8(words[i].port | 0x80, words[i].slave);
    }
}

void apic_init_io(void)
{
    pic_off();
    for (uint32_t i = 0; i < acpi.ioapics; i++) {
        struct pin pin = { paging_map_mmio(HPA(acpi.ioapic[i].address)), 0x10 };
        uint64_t gsi = acpi.ioapic[i].gsi_base, last = gsi + (io_read(pin.regs, 1) >> 16 & 0xff);
        for (; gsi <= last; gsi++, pin.low += 2) {
            io_write(pin.regs, pin.low, REDIR_MASKED);
            if (gsi < VECTOR_GSI_MAX)
                pins[gsi] = pin;
        }
    }
}

// An IOAPIC knows ids of 8 bits, of which the last means all. An interrupt for another core goes to
// one that it can reach, and is handed on from there like any event.
static bool ioapic_reaches(uint32_t core) { return cpus[core]->arch.apic_id < 0xff; }

enum status arch_irq_route(uint32_t gsi, uint32_t core)
{
    const struct pin *pin = pin_of(gsi);
    uint32_t flags = 0;
    if (!pin)
        return ERR_RANGE;
    for (uint32_t i = 0; i < cpu_count && !ioapic_reaches(core); i++)
        core = i;
    if (!ioapic_reaches(core))
        return ERR_RANGE;
    for (uint32_t i = 0; i < 16; i++)
        if (acpi.isa[i].gsi == gsi)
            flags = acpi.isa[i].flags;
    uint32_t low = VECTOR_GSI_BASE + gsi;
    if ((flags & 3) == 3)
        low |= REDIR_LOW;
    if ((flags >> 2 & 3) == 3 || gsi >= 16)
        low |= REDIR_LEVEL;
    spin_lock(&io_lock);
    io_write(pin->regs, pin->low + 1, cpus[core]->arch.apic_id << 24);
    io_write(pin->regs, pin->low, low);
    spin_unlock(&io_lock);
    return OK;
}

// An edge that comes while its pin is masked is lost, so only level-triggered pins are masked; an
// edge cannot storm.
void arch_irq_mask(uint32_t gsi, bool masked)
{
    const struct pin *pin = pin_of(gsi);
    if (!pin)
        return;
    spin_lock(&io_lock);
    uint32_t low = io_read(pin->regs, pin->low);
    if (low & REDIR_LEVEL)
        io_write(pin->regs, pin->low, masked ? low | REDIR_MASKED : low & ~REDIR_MASKED);
    spin_unlock(&io_lock);
}
