// SPDX-License-Identifier: BSD-2-Clause
//
// The I/O APIC. No state but the chip's. Select and window are two accesses: callers keep
// handlers that use the chip out, or use it from one place only.

#include "guests/lib/ioapic.h"

#include "guests/lib/cpu.h"

uint32_t ioapic_read(uint8_t reg)
{
    mmio_write32(IOAPIC_SELECT, reg);
    return mmio_read32(IOAPIC_WINDOW);
}

void ioapic_write(uint8_t reg, uint32_t value)
{
    mmio_write32(IOAPIC_SELECT, reg);
    mmio_write32(IOAPIC_WINDOW, value);
}

void ioapic_route(unsigned int pin, uint8_t vector, uint8_t apic_id, uint32_t flags)
{
    uint8_t reg = (uint8_t)IOAPIC_REG_REDIR(pin);
    ioapic_write(reg, IOAPIC_MASKED);
    ioapic_write((uint8_t)(reg + 1), (uint32_t)apic_id << 24);
    ioapic_write(reg, flags | vector);
}

void ioapic_mask(unsigned int pin)
{
    uint8_t reg = (uint8_t)IOAPIC_REG_REDIR(pin);
    ioapic_write(reg, ioapic_read(reg) | IOAPIC_MASKED);
}
