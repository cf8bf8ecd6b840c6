// SPDX-License-Identifier: BSD-2-Clause
//
// A pair of Intel 8259A interrupt controllers, cascaded on pin 2 of the first, with the edge/level
// control registers (ELCR) of EISA and later boards.
//
// Follows the Intel 8259A data sheet, sections "Initialization Command Words" and "Operation
// Command Words". 8086 mode only; buffered mode is accepted and has no effect.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/board/irq.h"

struct i8259_chip {
    struct i8259 *pair;
    bool slave;
    uint8_t irr;       // requests; for an edge pin the latched edge
    uint8_t isr;       // in service
    uint8_t imr;       // masked
    uint8_t lines;     // levels of the pins
    uint8_t elcr;      // 1: level triggered
    uint8_t elcr_mask; // pins whose trigger the board lets change
    uint8_t base;      // vector of pin 0
    uint8_t lowest;    // pin of lowest priority; 7 after initialisation
    uint8_t icw_step;  // 0: operating, else the number of the ICW that comes next
    bool icw4_follows;
    bool single;
    bool ltim; // ICW1: all pins are level triggered
    bool auto_eoi;
    bool rotate_aeoi;
    bool sfnm; // special fully nested mode
    bool special_mask;
    bool poll;
    bool read_isr;
    uint8_t cascade; // ICW3: slave mask on the first chip, identity on the second
};

struct i8259 {
    struct i8259_chip chip[2];
    struct irq_line intr; // to LINT0 of the boot processor
    bool level;           // what intr was last set to
};

// `intr` is the wire to the vCPU. The pair starts in the state of i8259_reset().
void i8259_init(struct i8259 *pic, struct irq_line intr);

// As a BIOS leaves it: vectors 0x08 and 0x70, only timer, keyboard and cascade unmasked, IRQ 9 (the
// SCI) level triggered. The levels of the pins stay: they belong to the devices.
void i8259_reset(struct i8259 *pic);

// Claims 0x20-21, 0xA0-A1 and 0x4D0-4D1.
bool i8259_register(struct i8259 *pic, struct bus *bus);

// Set pin `irq` (0 to 15, not 2).
void i8259_set_irq(struct i8259 *pic, unsigned irq, bool level);

// What an edge on that pin would come to now.
enum irq_edge i8259_edge(const struct i8259 *pic, unsigned irq);

// The level of the INTR output.
static inline bool i8259_intr(const struct i8259 *pic)
{
    return pic->level;
}

// The INTA cycle: returns the vector, and moves the request into service. If the request has gone
// meanwhile, it is the spurious vector: pin 7 of the chip that finds nothing.
uint8_t i8259_ack(struct i8259 *pic);
