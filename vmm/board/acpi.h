// SPDX-License-Identifier: BSD-2-Clause
//
// What firmware leaves in memory for an operating system: BIOS data area, ACPI tables, MP table,
// and the reset vector.
// All of it is about the board of vmm/board/machine.c. Written once, before the guest runs.
// Runs on the VMM's only thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "vmm/board/memory.h"

#define BIOS_DATA_AREA  0x400ull
#define ACPI_TABLES     RAM_TABLES // RSDP first, the other tables behind it
#define ACPI_TABLES_END 0xF0000ull
#define MP_TABLE        0xF0000ull // floating pointer, configuration table behind it
#define RESET_VECTOR    0xFFFF0ull

// Local APIC ids are 0 to vcpus - 1; that of the IOAPIC, which has a bus of its own, is 0 as its
// register reads after reset.
enum { ACPI_VCPU_MAX = 64, BOARD_IOAPIC_ID = 0 };

// All of it; `hpet`: the board has one. *rsdp: gpa of the root pointer.
bool firmware_write(const struct guest_ram *ram, unsigned vcpus, bool hpet, uint64_t *rsdp);

// Its parts.
bool acpi_write(const struct guest_ram *ram, unsigned vcpus, bool hpet, uint64_t *rsdp);
bool mptable_write(const struct guest_ram *ram, unsigned vcpus);

// The byte that makes the sum of all of them 0 when the field itself was 0.
uint8_t firmware_checksum(const void *data, uint64_t bytes);

// Made from dsdt.asl by iasl.
extern unsigned char dsdt_aml_code[];
extern const unsigned dsdt_aml_bytes;
