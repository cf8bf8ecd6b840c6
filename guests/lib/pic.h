// SPDX-License-Identifier: BSD-2-Clause
//
// The two i8259s: IRQ 0-7 at vectors VEC_PIC+0.., IRQ 8-15 at VEC_PIC+8.. . Sections
// "Initialization Command Words" and "Operation Command Words" of the data sheet.

#pragma once

#include <stdint.h>

#define PIC_MASTER 0x20 // the chips' command ports; the data ports are the next
#define PIC_SLAVE  0xA0

// Initialises both chips, every line masked.
void pic_init(void);

// The same, but what they have delivered ends by itself.
void pic_init_auto_eoi(void);

// Takes a chip's request instead of the processor: bit 7 says that there was one, bits 2:0 which.
// So its output falls. chip: PIC_MASTER or PIC_SLAVE.
uint8_t pic_poll(uint16_t chip);

// The mask register as pic_init() has found it, the slave's in bits 15:8.
uint16_t pic_found(void);

void pic_mask(unsigned int irq);
void pic_unmask(unsigned int irq);

// Non-specific EOI for an IRQ line (0..15): both chips for the slave's.
void pic_eoi(unsigned int irq);
void pic_eoi_master(void);

// Interrupt request and in-service registers, the slave's in bits 15:8.
uint16_t pic_irr(void);
uint16_t pic_isr(void);

// Interrupt mask register, the slave's in bits 15:8.
uint16_t pic_imr(void);
