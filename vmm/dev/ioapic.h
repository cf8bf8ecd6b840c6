// SPDX-License-Identifier: BSD-2-Clause
//
// I/O APIC with 24 pins and the EOI register (version 0x20).
//
// Follows the Intel 82093AA data sheet, section "I/O Redirection Table Registers"; the EOI register
// is that of the ICH family. An edge on a masked pin is not remembered.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/board/irq.h"

enum {
    IOAPIC_PINS = 24,
    IOAPIC_VERSION = 0x20,
};

#define IOAPIC_BASE 0xFEC00000ULL
#define IOAPIC_SIZE 0x1000ULL

struct ioapic_ops {
    // Deliver a message to the local APICs: `addr` and `data` in the format of an MSI (Intel SDM,
    // "Message Signalled Interrupts"), so data bits 7:0 are the vector, 10:8 the delivery mode and
    // 15 the trigger mode, which `level` repeats. Address bit 2 is the destination mode, whatever
    // the redirection hint (always 0) says.
    // True: it met one of its vector that still waits for the processor.
    bool (*msi)(void *ctx, uint64_t addr, uint32_t data, bool level);
};

struct ioapic {
    uint64_t redir[IOAPIC_PINS];
    uint32_t lines; // levels of the pins
    uint8_t index;
    uint8_t id; // bits 27:24 of register 0
    const struct ioapic_ops *ops;
    void *ctx;
};

void ioapic_init(struct ioapic *ioapic, const struct ioapic_ops *ops, void *ctx);

// All pins masked. The levels of the pins stay: they belong to the devices.
void ioapic_reset(struct ioapic *ioapic);

// Claims 4 KB at IOAPIC_BASE.
bool ioapic_register(struct ioapic *ioapic, struct bus *bus);

// What became of the edge, if there was one: nothing to hold against a line that fell.
enum irq_edge ioapic_set_irq(struct ioapic *ioapic, unsigned pin, bool level);

// Whether any pin can send an NMI.
bool ioapic_has_nmi(const struct ioapic *ioapic);

// A local APIC has ended the interrupt of a level-triggered `vector`: remote IRR is cleared in each
// pin that has it, and a pin whose line is still asserted sends again.
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);
