// SPDX-License-Identifier: BSD-2-Clause
// What the kernel needs of ACPI: the cores, the IOAPICs, the ISA interrupts' wiring, and a timer
// to measure the TSC against. Read once at boot by the boot core, while the first 4 GB are mapped.
// (ACPI specification.) Of the rest of the kernel the parser needs arch_ptr() and log_line() only:
// tests/unit/test_firmware.c and tests/fuzz/fuzz_firmware.c run it on the host.
#pragma once
#include "kernel/core/cpu.h"

struct acpi_facts {
    uint32_t apic_id[CPU_MAX], cores; // no id twice; the boot core's is anywhere among them, or not
    uint32_t more;                    // enabled cores beyond those
    struct { uint32_t address, gsi_base; } ioapic[8];
    uint32_t ioapics;
    struct { uint32_t gsi; uint16_t flags; } isa[16];
    uint16_t pm_timer;         // its port; 0: none
    bool emulator;             // OEM id of Bochs and QEMU: their exit ports may be written
};
extern struct acpi_facts acpi;

// `bytes`: how much of the RSDP the loader handed on. NULL, or what is missing.
const char *acpi_parse(const void *rsdp, uint32_t bytes);
