// SPDX-License-Identifier: BSD-2-Clause
//
// 8042 with nothing plugged in. Owned by the VMM's only thread; no lock.
#include "vmm/dev/i8042.h"

#include <string.h>

enum {
    PORT_DATA = 0x60,
    PORT_COMMAND = 0x64,
    PORT_CONTROL_A = 0x92,
};

// "Status Register"
enum {
    STATUS_OUTPUT_FULL = 0x01,
    STATUS_SYSTEM = 0x04,
    STATUS_COMMAND = 0x08, // the last write was to 0x64
    STATUS_UNLOCKED = 0x10,
    STATUS_TIMEOUT = 0x40,
};

// "Controller Command Byte"
enum {
    CTR_KEYBOARD_IRQ = 0x01,
    CTR_SYSTEM = 0x04,
    CTR_KEYBOARD_OFF = 0x10,
    CTR_TRANSLATE = 0x40,
};

// "I/O Commands"
enum {
    CMD_READ_RAM = 0x20,  // to 0x3F
    CMD_WRITE_RAM = 0x60, // to 0x7F
    CMD_TEST_PASSWORD = 0xA4,
    CMD_TEST_AUX = 0xA9,
    CMD_SELF_TEST = 0xAA,
    CMD_TEST_KEYBOARD = 0xAB,
    CMD_KEYBOARD_OFF = 0xAD,
    CMD_KEYBOARD_ON = 0xAE,
    CMD_READ_INPUT_PORT = 0xC0,
    CMD_READ_OUTPUT_PORT = 0xD0,
    CMD_WRITE_OUTPUT_PORT = 0xD1,
    CMD_LOOP_KEYBOARD = 0xD2,
    CMD_LOOP_AUX = 0xD3,
    CMD_WRITE_AUX = 0xD4,
    CMD_PULSE = 0xF0, // to 0xFF; a zero in bits 3:0 pulses that line
};

enum {
    OUT_NOT_RESET = 0x01,
    OUT_A20 = 0x02,
    INPUT_UNLOCKED = 0x80,
    REPLY_SELF_TEST_OK = 0x55,
    REPLY_NO_PASSWORD = 0xF1,
    REPLY_INTERFACE_OK = 0x00,
    REPLY_CLOCK_STUCK = 0x01,
    REPLY_RESEND = 0xFE,
    CONTROL_A_RESET = 0x01,
    CONTROL_A_A20 = 0x02,
};

static void i8042_update(struct i8042 *kbc)
{
    irq_set(&kbc->irq,
            (kbc->status & STATUS_OUTPUT_FULL) != 0 && (kbc->ram[0] & CTR_KEYBOARD_IRQ) != 0);
}

static void i8042_reply(struct i8042 *kbc, uint8_t value, uint8_t flags)
{
    kbc->output = value;
    kbc->status = (kbc->status & ~STATUS_TIMEOUT) | STATUS_OUTPUT_FULL | flags;
}

static void i8042_write_output_port(struct i8042 *kbc, uint8_t value)
{
    kbc->output_port = value;
    if ((value & OUT_NOT_RESET) == 0)
        power_request(&kbc->power, POWER_RESET);
}

static void i8042_write_ram(struct i8042 *kbc, unsigned index, uint8_t value)
{
    kbc->ram[index] = value;
    if (index == 0)
        kbc->status = (kbc->status & ~STATUS_SYSTEM) | (value & CTR_SYSTEM);
}

static void i8042_command(struct i8042 *kbc, uint8_t command)
{
    kbc->status |= STATUS_COMMAND;
    kbc->command = 0;
    switch (command) {
    case CMD_READ_RAM ... CMD_READ_RAM + 0x1F:
        i8042_reply(kbc, kbc->ram[command & 0x1F], 0);
        break;
    case CMD_WRITE_RAM ... CMD_WRITE_RAM + 0x1F:
    case CMD_WRITE_OUTPUT_PORT:
    case CMD_LOOP_KEYBOARD:
    case CMD_LOOP_AUX:
    case CMD_WRITE_AUX:
        kbc->command = command;
        break;
    case CMD_TEST_PASSWORD:
        i8042_reply(kbc, REPLY_NO_PASSWORD, 0);
        break;
    case CMD_TEST_AUX:
        // There is no auxiliary port. Silence would cost a driver its whole time-out.
        i8042_reply(kbc, REPLY_CLOCK_STUCK, 0);
        break;
    case CMD_SELF_TEST:
        i8042_write_ram(kbc, 0, kbc->ram[0] | CTR_SYSTEM);
        i8042_reply(kbc, REPLY_SELF_TEST_OK, 0);
        break;
    case CMD_TEST_KEYBOARD:
        i8042_reply(kbc, REPLY_INTERFACE_OK, 0);
        break;
    case CMD_KEYBOARD_OFF:
        kbc->ram[0] |= CTR_KEYBOARD_OFF;
        break;
    case CMD_KEYBOARD_ON:
        kbc->ram[0] &= (uint8_t)~CTR_KEYBOARD_OFF;
        break;
    case CMD_READ_INPUT_PORT:
        i8042_reply(kbc, INPUT_UNLOCKED, 0);
        break;
    case CMD_READ_OUTPUT_PORT:
        i8042_reply(kbc, kbc->output_port, 0);
        break;
    case CMD_PULSE ... CMD_PULSE + 0x0F:
        if ((command & OUT_NOT_RESET) == 0)
            power_request(&kbc->power, POWER_RESET);
        break;
    default:
        break;
    }
}

static void i8042_data(struct i8042 *kbc, uint8_t value)
{
    uint8_t command = kbc->command;

    kbc->status &= (uint8_t)~STATUS_COMMAND;
    kbc->command = 0;
    switch (command) {
    case CMD_WRITE_RAM ... CMD_WRITE_RAM + 0x1F:
        i8042_write_ram(kbc, command & 0x1F, value);
        break;
    case CMD_WRITE_OUTPUT_PORT:
        i8042_write_output_port(kbc, value);
        break;
    case CMD_LOOP_KEYBOARD:
    case CMD_LOOP_AUX:
        // With no auxiliary port the byte cannot be marked as one from a mouse.
        i8042_reply(kbc, value, 0);
        break;
    default:
        // For the keyboard, or the mouse: nobody answers.
        if (command == 0)
            kbc->ram[0] &= (uint8_t)~CTR_KEYBOARD_OFF;
        i8042_reply(kbc, REPLY_RESEND, STATUS_TIMEOUT);
        break;
    }
}

static uint64_t i8042_data_read(void *dev, uint64_t offset, unsigned size)
{
    struct i8042 *kbc = dev;

    (void)offset;
    (void)size;
    kbc->status &= (uint8_t) ~(STATUS_OUTPUT_FULL | STATUS_TIMEOUT);
    i8042_update(kbc);
    return kbc->output;
}

static enum bus_result i8042_data_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8042 *kbc = dev;

    (void)offset;
    (void)size;
    i8042_data(kbc, (uint8_t)value);
    i8042_update(kbc);
    return BUS_OK;
}

static uint64_t i8042_status_read(void *dev, uint64_t offset, unsigned size)
{
    const struct i8042 *kbc = dev;

    (void)offset;
    (void)size;
    return kbc->status;
}

static enum bus_result i8042_command_write(void *dev, uint64_t offset, unsigned size,
                                           uint64_t value)
{
    struct i8042 *kbc = dev;

    (void)offset;
    (void)size;
    i8042_command(kbc, (uint8_t)value);
    i8042_update(kbc);
    return BUS_OK;
}

static uint64_t control_a_read(void *dev, uint64_t offset, unsigned size)
{
    const struct i8042 *kbc = dev;

    (void)offset;
    (void)size;
    return (kbc->output_port & OUT_A20) != 0 ? CONTROL_A_A20 : 0;
}

static enum bus_result control_a_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8042 *kbc = dev;

    (void)offset;
    (void)size;
    if ((value & CONTROL_A_A20) != 0)
        kbc->output_port |= OUT_A20;
    else
        kbc->output_port &= (uint8_t)~OUT_A20;
    if ((value & CONTROL_A_RESET) != 0)
        power_request(&kbc->power, POWER_RESET);
    return BUS_OK;
}

static const struct device_ops i8042_data_ops = {
    .name = "i8042 data",
    .max_size = 1,
    .read = i8042_data_read,
    .write = i8042_data_write,
};

static const struct device_ops i8042_command_ops = {
    .name = "i8042 command",
    .max_size = 1,
    .read = i8042_status_read,
    .write = i8042_command_write,
};

static const struct device_ops control_a_ops = {
    .name = "control port A",
    .max_size = 1,
    .read = control_a_read,
    .write = control_a_write,
};

void i8042_init(struct i8042 *kbc, struct irq_line irq, struct power_sink power)
{
    kbc->irq = irq;
    kbc->power = power;
    i8042_reset(kbc);
}

void i8042_reset(struct i8042 *kbc)
{
    memset(kbc->ram, 0, sizeof(kbc->ram));
    kbc->ram[0] = CTR_TRANSLATE | CTR_SYSTEM | CTR_KEYBOARD_IRQ;
    kbc->status = STATUS_UNLOCKED | STATUS_COMMAND | STATUS_SYSTEM;
    kbc->output = 0;
    kbc->output_port = OUT_NOT_RESET | OUT_A20;
    kbc->command = 0;
    i8042_update(kbc);
}

bool i8042_register(struct i8042 *kbc, struct bus *bus)
{
    return bus_add_ports(bus, &i8042_data_ops, kbc, PORT_DATA, 1) &&
           bus_add_ports(bus, &i8042_command_ops, kbc, PORT_COMMAND, 1) &&
           bus_add_ports(bus, &control_a_ops, kbc, PORT_CONTROL_A, 1);
}
