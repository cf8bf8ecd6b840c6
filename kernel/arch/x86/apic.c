// SPDX-License-Identifier: BSD-2-Clause
// The host's local APICs and IOAPICs. A local APIC belongs to its core. IOAPIC registers are
// written at boot and, under io_lock, by irq calls on any core. (82093AA; SDM "Advanced
// Programmable Interrupt Controller".)
//
// A local APIC is in x2APIC mode, and its timer takes a deadline, where the CPU has these. Else its
// registers are in a page, and the timer counts down. Which it is, the boot core settles once; the
// three registers that are written often are so without a look (see apic_choose()).
#include "kernel/arch/x86/paging.h"
#include "kernel/arch/x86/x86.h"

#define LVT_MASKED  0x10000u
#define LVT_NMI     0x400u
#define LVT_TSC_DEADLINE (2u << 17)
#define DIVIDE_BY_1 0xbu

#define REDIR_MASKED (1u << 16)
#define REDIR_LEVEL  (1u << 15)
#define REDIR_LOW    (1u << 13)

#define ICR_DELIVERS 0x1000u

extern uint8_t *const apic_sites[], *const apic_sites_end[]; // kernel.ld

volatile uint32_t *xapic;    // the page of registers; NULL: x2APIC mode
static uint64_t xapic_base;  // where it is
static uint64_t timer_scale; // counts in 2^32 ticks of the TSC, where the timer counts down

static struct spinlock io_lock;
// Of each GSI that has a vector: its IOAPIC, and where its redirection entry's low half is there.
static struct pin { volatile uint32_t *regs; uint32_t low; } pins[VECTOR_GSI_MAX];

static uint32_t apic_read(uint32_t offset)
{
    return xapic ? xapic[offset / 4] : (uint32_t)rdmsr(X2APIC(offset));
}

static void apic_write(uint32_t offset, uint32_t value)
{
    if (xapic)
        xapic[offset / 4] = value;
    else
        wrmsr(X2APIC(offset), value);
}

// WRMSR, with the MSR's number in an instruction right before it. Where there is no such MSR,
// apic_choose() puts a call in place of both: of a function that keeps all registers.
#define WRITE_OFTEN(msr, value, ...)                                                               \
    __asm__ volatile("1: mov %0, %%ecx; wrmsr\n"                                                   \
                     ".pushsection .apic_sites, \"a\"; .quad 1b; .popsection"                      \
                     : : "i"(msr), "a"((uint32_t)(value)), "d"((uint32_t)((value) >> 32))          \
                     __VA_ARGS__ : "rcx", "cc", "memory")
#define KEEPS_REGISTERS __attribute__((no_caller_saved_registers))

KEEPS_REGISTERS static void apic_count_down(uint64_t tsc);
KEEPS_REGISTERS static void xapic_eoi(void) { xapic[APIC_EOI / 4] = 0; }

// An NMI between the two halves sends one too: so each puts the upper half back, and leaves only
// when its own is on its way, or never will be.
static void xapic_icr(uint32_t apic_id, uint32_t command)
{
    uint32_t others = xapic[APIC_ICR2 / 4];
    xapic[APIC_ICR2 / 4] = apic_id << 24;
    xapic[APIC_ICR / 4] = command;
    for (unsigned tries = 1000; tries && (xapic[APIC_ICR / 4] & ICR_DELIVERS); tries--)
        __builtin_ia32_pause();
    xapic[APIC_ICR2 / 4] = others;
}

void apic_choose(void)
{
    ap_apic_base = APIC_BASE_ENABLE | (features.x2apic ? APIC_BASE_X2APIC : 0);
    if (!features.x2apic)
        cpu_patch(apic_icr, OPCODE_JMP, xapic_icr);
    for (uint8_t *const *site = apic_sites; site < apic_sites_end; site++) {
        uint32_t msr;
        __builtin_memcpy(&msr, *site + 1, sizeof(msr));
        bool deadline = msr == MSR_TSC_DEADLINE;
        if (deadline ? features.tsc_deadline : features.x2apic)
            continue;
        cpu_patch(*site, OPCODE_CALL, deadline ? (void *)apic_count_down : (void *)xapic_eoi);
        __builtin_memcpy(*site + 5, "\x66\x90", 2); // a NOP
    }
}

// Each of the first two is one step: from "off" to x2APIC mode there is no way.
static void switch_on(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE;
    if (features.x2apic) {
        wrmsr(MSR_APIC_BASE, base);
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
        return;
    }
    if (!xapic) {
        xapic_base = base & PTE_ADDRESS;
        xapic = paging_map_mmio(HPA(xapic_base));
    }
    wrmsr(MSR_APIC_BASE, xapic_base | (base & ~PTE_ADDRESS));
}

void apic_init_cpu(void)
{
    switch_on();
    this_cpu()->arch.apic_id = apic_read(APIC_ID) >> (xapic ? 24 : 0);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_SVR, 0x100 | VECTOR_SPURIOUS);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    apic_write(APIC_LVT_LINT1, LVT_NMI);
    apic_write(APIC_LVT_ERROR, LVT_MASKED);
    if (!features.tsc_deadline)
        apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | (features.tsc_deadline ? LVT_TSC_DEADLINE : 0));
    __asm__ volatile("mfence" : : : "memory"); // SDM: between the LVT and the first deadline
}

uint32_t apic_timer_count(void) { return apic_read(APIC_TIMER_CURRENT); }

void apic_calibrate(void)
{
    if (features.tsc_deadline)
        return;
    apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
    struct reading first = clock_reading(0);
    clock_delay_us(10000);
    struct reading last = clock_reading(0);
    apic_write(APIC_TIMER_INITIAL, 0);
    timer_scale = ((uint64_t)(first.value - last.value) << 32) / (last.tsc - first.tsc);
    if (!timer_scale)
        panic("the local APIC's timer does not count");
}

// In place of a write of the TSC deadline; 0: none. What lies far ahead is cut short by a 256th, or
// to what the counter holds, for the rate is known only so well: the rest is counted when that has
// passed, as whoever takes the interrupt finds the deadline still to come.
static void apic_count_down(uint64_t tsc)
{
    uint64_t now = rdtsc(), left = tsc > now ? tsc - now : 0, count = tsc ? 1 : 0;
    count += (uint64_t)((unsigned __int128)left * timer_scale >> 32);
    if (count >> 24)
        count -= count >> 8;
    apic_write(APIC_TIMER_INITIAL, (uint32_t)min_u64(count, UINT32_MAX));
}

void apic_quiet(void)
{
    WRITE_OFTEN(MSR_TSC_DEADLINE, 0ull, , "D"(0ull));
    apic_write(APIC_SVR, VECTOR_SPURIOUS); // switched off by software: all of the LVT is masked
}

void apic_eoi(void) { WRITE_OFTEN(X2APIC(APIC_EOI), 0ull); }

void apic_icr(uint32_t apic_id, uint32_t command)
{
    __asm__ volatile("mfence; lfence" : : : "memory"); // x2APIC writes do not order stores
    wrmsr(X2APIC(APIC_ICR), (uint64_t)apic_id << 32 | command);
}

void arch_send_ipi(uint32_t core) { apic_icr(cpus[core]->arch.apic_id, VECTOR_IPI); }

void arch_kick(uint32_t core, bool posted)
{
    apic_icr(cpus[core]->arch.apic_id, posted ? VECTOR_POSTED : VECTOR_KICK);
}

void arch_set_deadline(uint64_t tsc, uint64_t now)
{
    uint64_t value = tsc == UINT64_MAX ? 0 : tsc;
    WRITE_OFTEN(MSR_TSC_DEADLINE, value, , "D"(value)); // apic_count_down()'s argument, too
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

// Before LINT0 is masked, or an interrupt that the PIC has asked for stays asked for where nobody
// can tell its vector: QEMU then gives ring 3 a #GP at its first instruction.
void apic_pic_off(void)
{
    // Initialise first, so that a spurious vector is none of the exceptions'.
    static const struct { uint8_t port, master, slave; } words[] = {
        { 0x20, 0x11, 0x11 }, { 0x21, 0x20, 0x28 }, { 0x21, 4, 2 }, { 0x21, 1, 1 },
        { 0x21, 0xff, 0xff },
    };
    if (!acpi.pics)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        out8(words[i].port, words[i].master);
        out8(words[i].port | 0x80, words[i].slave);
    }
}

void apic_init_io(void)
{
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
