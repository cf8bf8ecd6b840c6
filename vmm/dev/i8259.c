// SPDX-License-Identifier: BSD-2-Clause
//
// Two 8259A in cascade. Owned by the VMM's only thread; no lock.
//
// The second chip's INT output drives pin 2 of the first. That pin follows the level here, so that
// requests which wait behind the one in service need no edge of their own.
#include "vmm/dev/i8259.h"

#include <string.h>

enum {
    PORT_MASTER = 0x20,
    PORT_SLAVE = 0xA0,
    PORT_ELCR = 0x4D0,

    CASCADE_PIN = 2,
    SPURIOUS_PIN = 7,
    NO_PIN = -1,
};

// "Initialization Command Words 1 and 2"
enum {
    ICW1_IC4 = 0x01,
    ICW1_SNGL = 0x02,
    ICW1_LTIM = 0x08,
    ICW1_INIT = 0x10,
    ICW2_BASE = 0xF8,
};

// "Initialization Command Word 4"
enum {
    ICW4_AEOI = 0x02,
    ICW4_SFNM = 0x10,
};

// "Operation Control Word 2", bits 7:5 (R, SL, EOI)
enum {
    OCW2_ROTATE_AEOI_CLEAR = 0,
    OCW2_EOI = 1,
    OCW2_NOP = 2,
    OCW2_EOI_SPECIFIC = 3,
    OCW2_ROTATE_AEOI_SET = 4,
    OCW2_ROTATE_EOI = 5,
    OCW2_SET_PRIORITY = 6,
    OCW2_ROTATE_EOI_SPECIFIC = 7,
};

// "Operation Control Word 3"
enum {
    OCW3_SELECT = 0x08,
    OCW3_RIS = 0x01,
    OCW3_RR = 0x02,
    OCW3_POLL = 0x04,
    OCW3_SMM = 0x20,
    OCW3_ESMM = 0x40,
};

static bool chip_is_level(const struct i8259_chip *chip, unsigned pin)
{
    return chip->ltim || (chip->elcr >> pin & 1) != 0;
}

// The pin of highest priority in `set`, or NO_PIN.
static int chip_highest(const struct i8259_chip *chip, uint8_t set)
{
    if (set == 0)
        return NO_PIN;
    for (unsigned i = 1; i <= 8; i++) {
        unsigned pin = (chip->lowest + i) & 7;
        if ((set >> pin & 1) != 0)
            return (int)pin;
    }
    return NO_PIN;
}

// 0 for the pin of highest priority, 8 for none.
static unsigned chip_rank(const struct i8259_chip *chip, int pin)
{
    return pin == NO_PIN ? 8 : ((unsigned)pin - chip->lowest - 1) & 7;
}

// The pin that the chip asks the processor to serve, or NO_PIN.
static int chip_pending(const struct i8259_chip *chip)
{
    if (chip->icw_step != 0)
        return NO_PIN;
    int pin = chip_highest(chip, chip->irr & ~chip->imr);
    if (pin == NO_PIN)
        return NO_PIN;

    // "Special Mask Mode": a masked pin in service holds nobody back.
    uint8_t in_service = chip->special_mask ? chip->isr & ~chip->imr : chip->isr;
    int serving = chip_highest(chip, in_service);
    if (chip_rank(chip, pin) < chip_rank(chip, serving))
        return pin;
    // "Special Fully Nested Mode": a slave in service may ask again.
    if (chip->sfnm && !chip->slave && pin == CASCADE_PIN && serving == CASCADE_PIN)
        return pin;
    return NO_PIN;
}

static void i8259_update(struct i8259 *pic)
{
    struct i8259_chip *master = &pic->chip[0];

    if (!master->single && chip_pending(&pic->chip[1]) != NO_PIN)
        master->irr |= 1 << CASCADE_PIN;
    else
        master->irr &= (uint8_t) ~(1 << CASCADE_PIN);

    bool level = chip_pending(master) != NO_PIN;
    if (level != pic->level) {
        pic->level = level;
        irq_set(&pic->intr, level);
    }
}

// The chip's part of an INTA cycle for `pin`.
static void chip_accept(struct i8259_chip *chip, unsigned pin)
{
    uint8_t bit = (uint8_t)(1U << pin);

    if (!chip_is_level(chip, pin))
        chip->irr &= (uint8_t)~bit;
    if (!chip->auto_eoi)
        chip->isr |= bit;
    else if (chip->rotate_aeoi)
        chip->lowest = (uint8_t)pin;
}

uint8_t i8259_ack(struct i8259 *pic)
{
    struct i8259_chip *chip = &pic->chip[0];
    int pin = chip_pending(chip);

    if (pin != NO_PIN)
        chip_accept(chip, (unsigned)pin);
    if (pin == CASCADE_PIN && !chip->single) {
        chip = &pic->chip[1];
        pin = chip_pending(chip);
        if (pin != NO_PIN)
            chip_accept(chip, (unsigned)pin);
    }
    uint8_t vector = chip->base + (uint8_t)(pin != NO_PIN ? pin : SPURIOUS_PIN);
    i8259_update(pic);
    return vector;
}

// An edge is latched, but the pin must stay high until it is acknowledged ("Edge and Level
// Triggered Modes"), or the request is gone.
static void chip_set_pin(struct i8259_chip *chip, unsigned pin, bool level)
{
    uint8_t bit = (uint8_t)(1U << pin);

    if (!level)
        chip->irr &= (uint8_t)~bit;
    else if (chip_is_level(chip, pin) || (chip->lines & bit) == 0)
        chip->irr |= bit;
    if (level)
        chip->lines |= bit;
    else
        chip->lines &= (uint8_t)~bit;
}

void i8259_set_irq(struct i8259 *pic, unsigned irq, bool level)
{
    chip_set_pin(&pic->chip[irq >> 3 & 1], irq & 7, level);
    i8259_update(pic);
}

enum irq_edge i8259_edge(const struct i8259 *pic, unsigned irq)
{
    const struct i8259_chip *chip = &pic->chip[irq >> 3 & 1];

    if ((chip->imr >> (irq & 7) & 1) != 0)
        return IRQ_EDGE_MASKED;
    return (chip->irr >> (irq & 7) & 1) != 0 ? IRQ_EDGE_WAITED : IRQ_EDGE_NEW;
}

static void chip_write_icw1(struct i8259_chip *chip, uint8_t value)
{
    chip->ltim = (value & ICW1_LTIM) != 0;
    chip->single = (value & ICW1_SNGL) != 0;
    chip->icw4_follows = (value & ICW1_IC4) != 0;
    chip->icw_step = 2;
    chip->imr = 0;
    chip->isr = 0;
    chip->lowest = 7;
    chip->special_mask = false;
    chip->poll = false;
    chip->read_isr = false;
    chip->rotate_aeoi = false;
    chip->auto_eoi = false;
    chip->sfnm = false;
    // The edge sense circuit is reset: only pins that follow a level still ask.
    chip->irr = 0;
    for (unsigned pin = 0; pin < 8; pin++) {
        if (chip_is_level(chip, pin))
            chip->irr |= chip->lines & (uint8_t)(1U << pin);
    }
}

static void chip_write_icw(struct i8259_chip *chip, uint8_t value)
{
    switch (chip->icw_step) {
    case 2:
        chip->base = value & ICW2_BASE;
        chip->icw_step = !chip->single ? 3 : chip->icw4_follows ? 4 : 0;
        break;
    case 3:
        chip->cascade = value;
        chip->icw_step = chip->icw4_follows ? 4 : 0;
        break;
    default:
        chip->auto_eoi = (value & ICW4_AEOI) != 0;
        chip->sfnm = (value & ICW4_SFNM) != 0;
        chip->icw_step = 0;
        break;
    }
}

// Ends the pin of highest priority, and returns it. In special mask mode a masked one is not ended.
static int chip_eoi(struct i8259_chip *chip)
{
    int pin = chip_highest(chip, chip->special_mask ? chip->isr & ~chip->imr : chip->isr);

    if (pin != NO_PIN)
        chip->isr &= (uint8_t) ~(1U << pin);
    return pin;
}

static void chip_write_ocw2(struct i8259_chip *chip, uint8_t value)
{
    uint8_t pin = value & 7;
    int ended;

    switch (value >> 5) {
    case OCW2_ROTATE_AEOI_CLEAR:
        chip->rotate_aeoi = false;
        break;
    case OCW2_ROTATE_AEOI_SET:
        chip->rotate_aeoi = true;
        break;
    case OCW2_EOI:
        chip_eoi(chip);
        break;
    case OCW2_ROTATE_EOI:
        ended = chip_eoi(chip);
        if (ended != NO_PIN)
            chip->lowest = (uint8_t)ended;
        break;
    case OCW2_EOI_SPECIFIC:
        chip->isr &= (uint8_t) ~(1U << pin);
        break;
    case OCW2_ROTATE_EOI_SPECIFIC:
        chip->isr &= (uint8_t) ~(1U << pin);
        chip->lowest = pin;
        break;
    case OCW2_SET_PRIORITY:
        chip->lowest = pin;
        break;
    case OCW2_NOP:
        break;
    }
}

static void chip_write_ocw3(struct i8259_chip *chip, uint8_t value)
{
    if ((value & OCW3_ESMM) != 0)
        chip->special_mask = (value & OCW3_SMM) != 0;
    if ((value & OCW3_RR) != 0)
        chip->read_isr = (value & OCW3_RIS) != 0;
    chip->poll = (value & OCW3_POLL) != 0;
}

static enum bus_result i8259_write(void *dev, uint64_t offset, unsigned size, uint64_t data)
{
    struct i8259_chip *chip = dev;
    uint8_t value = (uint8_t)data;

    (void)size;
    if (offset == 1) {
        if (chip->icw_step != 0)
            chip_write_icw(chip, value);
        else
            chip->imr = value;
    } else if ((value & ICW1_INIT) != 0) {
        chip_write_icw1(chip, value);
    } else if ((value & OCW3_SELECT) != 0) {
        chip_write_ocw3(chip, value);
    } else {
        chip_write_ocw2(chip, value);
    }
    i8259_update(chip->pair);
    return BUS_OK;
}

// "Poll Command": the read is the acknowledge, and its answer the pin's number.
static uint8_t chip_poll(struct i8259_chip *chip)
{
    int pin = chip_pending(chip);

    chip->poll = false;
    if (pin == NO_PIN)
        return SPURIOUS_PIN;
    chip_accept(chip, (unsigned)pin);
    i8259_update(chip->pair);
    return (uint8_t)(0x80 | pin);
}

static uint64_t i8259_read(void *dev, uint64_t offset, unsigned size)
{
    struct i8259_chip *chip = dev;

    (void)size;
    if (chip->poll)
        return chip_poll(chip);
    if (offset == 1)
        return chip->imr;
    return chip->read_isr ? chip->isr : chip->irr;
}

static uint64_t elcr_read(void *dev, uint64_t offset, unsigned size)
{
    const struct i8259 *pic = dev;

    (void)size;
    return pic->chip[offset].elcr;
}

static enum bus_result elcr_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8259 *pic = dev;
    struct i8259_chip *chip = &pic->chip[offset];

    (void)size;
    chip->elcr = (uint8_t)value & chip->elcr_mask;
    // A pin that has become level triggered asks as its line says.
    chip->irr = (chip->irr & ~chip->elcr) | (chip->lines & chip->elcr);
    i8259_update(pic);
    return BUS_OK;
}

static const struct device_ops i8259_ops = {
    .name = "i8259",
    .max_size = 1,
    .read = i8259_read,
    .write = i8259_write,
};

static const struct device_ops elcr_ops = {
    .name = "i8259 ELCR",
    .max_size = 1,
    .read = elcr_read,
    .write = elcr_write,
};

// What a BIOS programs. The ELCR mask is the board's: timer, keyboard, cascade, RTC and FPU pins
// are edge triggered for good.
static const struct {
    uint8_t base;
    uint8_t imr;
    uint8_t elcr;
    uint8_t elcr_mask;
    uint8_t cascade;
} bios_state[2] = {
    {.base = 0x08, .imr = 0xF8, .elcr = 0x00, .elcr_mask = 0xF8, .cascade = 1 << CASCADE_PIN},
    {.base = 0x70, .imr = 0xFF, .elcr = 0x02, .elcr_mask = 0xDE, .cascade = CASCADE_PIN},
};

void i8259_init(struct i8259 *pic, struct irq_line intr)
{
    memset(pic, 0, sizeof(*pic));
    pic->intr = intr;
    for (unsigned i = 0; i < 2; i++) {
        pic->chip[i].pair = pic;
        pic->chip[i].slave = i == 1;
    }
    i8259_reset(pic);
}

void i8259_reset(struct i8259 *pic)
{
    for (unsigned i = 0; i < 2; i++) {
        struct i8259_chip *chip = &pic->chip[i];
        chip->elcr = bios_state[i].elcr;
        chip->elcr_mask = bios_state[i].elcr_mask;
        chip_write_icw1(chip, ICW1_INIT | ICW1_IC4);
        chip->icw_step = 0;
        chip->base = bios_state[i].base;
        chip->imr = bios_state[i].imr;
        chip->cascade = bios_state[i].cascade;
    }
    i8259_update(pic);
}

bool i8259_register(struct i8259 *pic, struct bus *bus)
{
    return bus_add_ports(bus, &i8259_ops, &pic->chip[0], PORT_MASTER, 2) &&
           bus_add_ports(bus, &i8259_ops, &pic->chip[1], PORT_SLAVE, 2) &&
           bus_add_ports(bus, &elcr_ops, pic, PORT_ELCR, 2);
}
