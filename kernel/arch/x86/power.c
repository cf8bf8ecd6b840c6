// SPDX-License-Identifier: BSD-2-Clause
// The end of the machine: power-off and reset by ACPI, an emulator's exit with a status, the panic.
// All that is needed of the tables was read at boot. Whoever gets here has no lock and takes
// none, and is alone: the other cores have halted.
#include "kernel/arch/x86/x86.h"

#define ICR_NMI 0x400u

// Added to the status, so that no failure of an emulator can be taken for one of ours: QEMU itself
// ends with what a status of 0 would give.
#define STATUS_SAID 0x10u
#define STATUS_PANIC 2

#define PM1_SCI_EN 1
#define PM1_SLP_EN (1 << 13)
#define PM1_SLEEP  (PM1_SLP_EN | 7 << 10) // and what kind of sleep
#define SLEEP_EN   0x20                   // of the sleep control register
#define RESET_CONTROL 0xcf9               // of Intel's chipsets and all that are like them
#define RESET_SYSTEM  2
#define RESET_NOW     4

// Bochs ends at the word "Shutdown" on port 0x8900, its log shows EBX; QEMU's isa-debug-exit is at
// 0xf4.
static void emulator_exit(uint8_t status)
{
    static const char word[] = "Shutdown";
    out8(0xf4, status);
    for (unsigned i = 0; i < sizeof(word) - 1; i++)
        __asm__ volatile("outb %0, %w1" : : "a"(word[i]), "d"(0x8900), "b"((uint64_t)status));
}

static uint32_t stopper; // atomic: number, plus one, of the core that stops the machine; 0: none

bool power_stops_me(void)
{
    uint32_t who = __atomic_load_n(&stopper, __ATOMIC_SEQ_CST);
    return who && who != this_cpu()->id + 1;
}

// Of cores that panic together the first goes on. Before there are cores it is alone.
void arch_stop_others(void)
{
    uint32_t none = 0;
    if (!cpu_count)
        return;
    __atomic_compare_exchange_n(&stopper, &none, this_cpu()->id + 1, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    if (power_stops_me())
        halt_for_good();
    for (uint32_t i = 0; i < cpu_count && !none; i++)
        if (cpus[i] != this_cpu())
            apic_icr(cpus[i]->arch.apic_id, ICR_NMI); // see trap_paranoid_c
}

// For so long, or until ACPI mode is on by that PM1 (0: none). At 3 GHz as long as nobody knows.
static void wait(uint64_t ms, uint16_t pm1)
{
    uint64_t start = rdtsc(), ticks = (clock_tsc_hz ? clock_tsc_hz : 3000000000) / 1000 * ms;
    while (rdtsc() - start < ticks && !(pm1 && (in16(pm1) & PM1_SCI_EN)))
        __builtin_ia32_pause();
}

static volatile uint8_t *sleep_memory, *reset_memory; // the registers that are, mapped

static volatile uint8_t *map_register(const struct gas *r)
{
    bool sane = r->space == GAS_MEMORY && frames_owner(HPA(r->address)) == FRAME_RESERVED;
    return sane && r->address ? paging_map_mmio(HPA(r->address)) : NULL;
}

void power_init(void)
{
    sleep_memory = map_register(&acpi.fadt.sleep_control);
    reset_memory = map_register(&acpi.fadt.reset);
}

static void register_write(const struct gas *r, volatile uint8_t *memory, uint8_t value)
{
    if (r->space == GAS_PORT)
        out8((uint16_t)r->address, value);
    else if (memory)
        *memory = value;
    else if (r->space == GAS_MEMORY && r->address && r->address >> 32 == 0 && !cr3_kernel)
        *(volatile uint8_t *)arch_ptr(HPA(r->address)) = value; // by the boot page tables
}

// Comes back if the machine is still on.
static void power_off(const struct fadt *f)
{
    const uint16_t pm1[2] = { acpi_port(f->x_pm1_cnt[0], f->pm1_cnt[0]),
                              acpi_port(f->x_pm1_cnt[1], f->pm1_cnt[1]) };
    bool reduced = f->flags & FADT_HW_REDUCED;
    if (!acpi.sleeps)
        return;
    if (reduced)
        register_write(&f->sleep_control, sleep_memory,
                       (uint8_t)(acpi.sleep_type[0] << 2 | SLEEP_EN));
    // Until the firmware has handed PM1 over, sleeping is its own business. It may take its time.
    if (!reduced && pm1[0] && f->smi_cmd && !(in16(pm1[0]) & PM1_SCI_EN)) {
        out8((uint16_t)f->smi_cmd, f->acpi_enable);
        wait(1000, pm1[0]);
    }
    // First in both halves what kind of sleep it is, then: sleep. Other bits stay as they are.
    for (unsigned i = 0; i < 4 && !reduced; i++)
        if (pm1[i & 1])
            out16(pm1[i & 1], (uint16_t)((in16(pm1[i & 1]) & ~PM1_SLEEP) |
                                         acpi.sleep_type[i & 1] << 10 | (i < 2 ? 0 : PM1_SLP_EN)));
    wait(1000, 0);
}

static void reset(const struct fadt *f)
{
    if (f->flags & FADT_RESET_REG)
        register_write(&f->reset, reset_memory, f->reset_value);
    wait(10, 0);
    if (!(f->flags & FADT_HW_REDUCED)) {
        out8(RESET_CONTROL, RESET_SYSTEM);
        out8(RESET_CONTROL, RESET_SYSTEM | RESET_NOW);
    }
    wait(1000, 0);
}

// A panic's text is to be read, unless somebody said what comes then.
void arch_off(int status)
{
    static const char text[] = "\nbulkhead: all is stopped; the machine can be switched off.\n";
    bool panicked = status == STATUS_PANIC;
    arch_stop_others();
    if (acpi.emulator && status != SYSTEM_RESET && !boot_option("without=exit-port"))
        emulator_exit((uint8_t)(status | STATUS_SAID));
    wait(10, 0); // for what the serial port still has to send
    if (panicked ? boot_option("panic=reset") != NULL : status == SYSTEM_RESET)
        reset(&acpi.fadt);
    else if (!panicked || boot_option("panic=off"))
        power_off(&acpi.fadt);
    arch_log(text, sizeof(text) - 1);
    halt_for_good();
}

void arch_panic_halt(void) { arch_off(STATUS_PANIC); }
