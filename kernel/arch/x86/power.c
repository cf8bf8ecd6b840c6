// SPDX-License-Identifier: BSD-2-Clause
// The end of the machine: power-off with a status for whoever runs an emulator, and the panic.
#include "kernel/arch/x86/x86.h"

#define ICR_NMI 0x400u

// Added to the status, so that no failure of an emulator can be taken for one of ours: QEMU itself
// ends with what a status of 0 would give.
#define STATUS_SAID 0x10u

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
    while (power_stops_me())
        __asm__ volatile("cli; hlt");
    for (uint32_t i = 0; i < cpu_count && !none; i++)
        if (cpus[i] != this_cpu())
            apic_icr(cpus[i]->arch.apic_id, ICR_NMI); // see trap_paranoid_c
}

void arch_off(int status)
{
    static const char text[] = "\nbulkhead: all is stopped; the machine can be switched off.\n";
    arch_stop_others();
    if (acpi.emulator)
        emulator_exit((uint8_t)(status | STATUS_SAID));
    arch_log(text, sizeof(text) - 1);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void arch_panic_halt(void) { arch_off(2); }
