// SPDX-License-Identifier: BSD-2-Clause
//
// Intel 8042 keyboard controller with nothing plugged in, and system control port A (0x92).
//
// Answers its own commands (self test, command byte, output port), so that a driver's probe ends
// quickly, and reports a time-out for every byte sent to the missing keyboard. It can pull the
// reset line: command 0xFE, bit 0 of the output port, bit 0 of port 0x92. The A20 bits are kept
// and read back, but the gate is always open, as on processors without an A20M pin.
//
// Follows the IBM PC AT technical reference, section "Keyboard Controller".
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/board/irq.h"
#include "vmm/dev/power.h"

struct i8042 {
    uint8_t ram[32]; // byte 0 is the command byte
    uint8_t status;
    uint8_t output; // output buffer
    uint8_t output_port;
    uint8_t command;     // command that waits for its data byte, 0 if none
    struct irq_line irq; // IRQ 1
    struct power_sink power;
};

void i8042_init(struct i8042 *kbc, struct irq_line irq, struct power_sink power);

// As a BIOS leaves it: self test passed, A20 on, empty; 0x64 reads 0x1C.
void i8042_reset(struct i8042 *kbc);

// Claims 0x60, 0x64 and 0x92.
bool i8042_register(struct i8042 *kbc, struct bus *bus);
