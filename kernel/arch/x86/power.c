// SPDX-License-Identifier: BSD-2-Clause
// The end of the machine: power-off with a status for whoever runs an emulator, and the panic.
#include "kernel/arch/x86/x86.h"
#include <stdarg.h>

// Bochs ends at the word "Shutdown" on port 0x8900, its log shows EBX; QEMU's isa-debug-exit is at 0xf4.
static void emulator_exit(uint8_t status)
{
    static const char word[] = "Shutdown";
    out8(0xf4, status);
    for (unsigned i = 0; i < sizeof(word) - 1; i++)
        __asm__ volatile("outb %0, %1" : : "a"(word[i]), "Nd"((uint16_t)0x8900), "b"((uint64_t)status));
}

void arch_off(int status)
{
    if (acpi.emulator)
        emulator_exit((uint8_t)status);
    for (uint32_t i = 0; i < cpu_count; i++)
        if (cpus[i] && cpus[i] != this_cpu())
            apic_icr(cpus[i]->arch.apic_id, 0x400); // NMI: see trap_paranoid_c
    static const char text[] = "\nbulkhead: all is stopped; the machine can be switched off.\n";
    arch_log(text, sizeof(text) - 1);
    for (;;)
        __asm__ volatile("cli; hlt");
}

bool panic_begun;

void arch_panic_halt(void)
{
    if (acpi.emulator)
        emulator_exit(2);
    for (;;)
        __asm__ volatile("cli; hlt");
}
