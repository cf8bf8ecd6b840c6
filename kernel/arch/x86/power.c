// SPDX-License-Identifier: BSD-2-Clause
// The end of the machine: power-off with a status for whoever runs an emulator, and the panic.
#include "kernel/arch/x86/x86.h"

#define ICR_NMI 0x400u

// Bochs ends at the word "Shutdown" on port 0x8900, its log shows EBX; QEMU's isa-debug-exit is at
// 0xf4.
static void emulator_exit(uint8_t status)
{
    static const char word[] = "Shutdown";
    out8(0xf4, status);
    for (unsigned i = 0; i < sizeof(word) - 1; i++)
        __asm__ volatile("outb %0, %w1" : : "a"(word[i]), "d"(0x8900), "b"((uint64_t)status));
}

bool machine_stopping; // atomic: an NMI from now on means: halt

void arch_off(int status)
{
    static const char text[] = "\nbulkhead: all is stopped; the machine can be switched off.\n";
    __atomic_store_n(&machine_stopping, true, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < cpu_count; i++)
        if (cpus[i] && cpus[i] != this_cpu())
            apic_icr(cpus[i]->arch.apic_id, ICR_NMI); // see trap_paranoid_c
    if (acpi.emulator)
        emulator_exit((uint8_t)status);
    arch_log(text, sizeof(text) - 1);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void arch_panic_halt(void) { arch_off(2); }
