// SPDX-License-Identifier: BSD-2-Clause
//
// The I/O APIC at 0xFEC00000. Section "I/O Redirection Table Registers" of the 82093AA data sheet.

#pragma once

#include <stdint.h>

#define IOAPIC_BASE   0xFEC00000u
#define IOAPIC_SELECT (IOAPIC_BASE + 0x00)
#define IOAPIC_WINDOW (IOAPIC_BASE + 0x10)

#define IOAPIC_REG_ID         0x00
#define IOAPIC_REG_VERSION    0x01
#define IOAPIC_REG_REDIR(pin) (0x10u + 2 * (pin))

#define IOAPIC_LEVEL      (1u << 15)
#define IOAPIC_MASKED     (1u << 16)
#define IOAPIC_REMOTE_IRR (1u << 14)
#define IOAPIC_PENDING    (1u << 12)

// Pins of the board, as the ACPI tables say.
#define GSI_PIT  2
#define GSI_COM1 4

uint32_t ioapic_read(uint8_t reg);
void ioapic_write(uint8_t reg, uint32_t value);

// Routes a pin to a vector of the local APIC with this physical id; `flags` of the above, or 0 for
// an unmasked edge, active high.
void ioapic_route(unsigned int pin, uint8_t vector, uint8_t apic_id, uint32_t flags);
void ioapic_mask(unsigned int pin);
