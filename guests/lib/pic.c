// SPDX-License-Identifier: BSD-2-Clause
//
// The two i8259s. State: what was masked at the start, written once.

#include "guests/lib/pic.h"

#include "guests/lib/cpu.h"
#include "guests/lib/layout.h"

#define MASTER_DATA (PIC_MASTER + 1)
#define SLAVE_DATA  (PIC_SLAVE + 1)

#define ICW1_INIT_ICW4 0x11
#define ICW3_SLAVE_IRQ 2
#define ICW4_8086      0x01
#define ICW4_AUTO_EOI  0x02
#define OCW2_EOI       0x20
#define OCW3_READ_IRR  0x0A
#define OCW3_POLL      0x0C
#define OCW3_READ_ISR  0x0B

static uint16_t found;

uint16_t pic_found(void)
{
    return found;
}

static void init(uint8_t icw4)
{
    outb(PIC_MASTER, ICW1_INIT_ICW4);
    outb(MASTER_DATA, VEC_PIC);
    outb(MASTER_DATA, 1 << ICW3_SLAVE_IRQ);
    outb(MASTER_DATA, icw4);
    outb(PIC_SLAVE, ICW1_INIT_ICW4);
    outb(SLAVE_DATA, VEC_PIC + 8);
    outb(SLAVE_DATA, ICW3_SLAVE_IRQ);
    outb(SLAVE_DATA, icw4);
    outb(MASTER_DATA, 0xFF);
    outb(SLAVE_DATA, 0xFF);
}

void pic_init(void)
{
    found = pic_imr();
    init(ICW4_8086);
}

void pic_init_auto_eoi(void)
{
    init(ICW4_8086 | ICW4_AUTO_EOI);
}

uint8_t pic_poll(uint16_t chip)
{
    outb(chip, OCW3_POLL);
    return inb(chip);
}

void pic_mask(unsigned int irq)
{
    uint16_t port = irq < 8 ? MASTER_DATA : SLAVE_DATA;
    outb(port, (uint8_t)(inb(port) | 1u << (irq & 7)));
}

static void port_unmask(uint16_t port, unsigned int pin)
{
    outb(port, (uint8_t)(inb(port) & ~(1u << pin)));
}

void pic_unmask(unsigned int irq)
{
    if (irq >= 8)
        port_unmask(SLAVE_DATA, irq - 8);
    port_unmask(MASTER_DATA, irq >= 8 ? ICW3_SLAVE_IRQ : irq);
}

void pic_eoi(unsigned int irq)
{
    if (irq >= 8)
        outb(PIC_SLAVE, OCW2_EOI);
    outb(PIC_MASTER, OCW2_EOI);
}

void pic_eoi_master(void)
{
    outb(PIC_MASTER, OCW2_EOI);
}

static uint16_t read_both(uint8_t ocw3)
{
    outb(PIC_MASTER, ocw3);
    outb(PIC_SLAVE, ocw3);
    return (uint16_t)(inb(PIC_SLAVE) << 8 | inb(PIC_MASTER));
}

uint16_t pic_irr(void)
{
    return read_both(OCW3_READ_IRR);
}

uint16_t pic_isr(void)
{
    return read_both(OCW3_READ_ISR);
}

uint16_t pic_imr(void)
{
    return (uint16_t)(inb(SLAVE_DATA) << 8 | inb(MASTER_DATA));
}
