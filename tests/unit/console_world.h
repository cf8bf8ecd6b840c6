// SPDX-License-Identifier: BSD-2-Clause
// What the tests of the console share: a console of three lines on a fake UART, whose other end and
// whose VMs the test plays; and a screen.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/console/console.h"
#include "tests/unit/term_text.h"

#define MS 1000000ull
#define LINES 3

// A 16550A with just enough truth in it. Its transmitter empties when the test says so.
struct fake_uart {
    uint8_t regs[8];
    bool absent;        // nobody answers at its ports
    uint8_t latch[2];   // the divisor
    bool empty_pending; // the transmitter-empty cause, until IIR is read
    uint32_t in_fifo, max_fifo;
    const char *keys; // what is being received
    char wire[1 << 18];
    uint32_t sent;
};

static struct fake_uart chip;
static struct console console;
static struct history history[LINES];
static struct line vm[LINES];
static void *memory[LINES];
static int to_console, to_vm[LINES];
static uint64_t now;

static inline uint8_t chip_in(void *opaque, uint8_t reg)
{
    (void)opaque;
    bool data = chip.keys != NULL && *chip.keys != '\0';
    if (chip.absent) {
        return 0xff;
    }
    switch (reg) {
    case 0:
        return data ? (uint8_t)*chip.keys++ : 0;
    case 2:
        if (data) {
            return 0xc4;
        }
        if (chip.empty_pending) {
            chip.empty_pending = false;
            return 0xc2;
        }
        return 0xc1;
    case 5:
        return (data ? 0x01 : 0) | (chip.in_fifo == 0 ? 0x60 : 0);
    default:
        return chip.regs[reg];
    }
}

static inline void chip_out(void *opaque, uint8_t reg, uint8_t value)
{
    (void)opaque;
    if (reg < 2 && (chip.regs[3] & 0x80)) {
        chip.latch[reg] = value;
        return;
    }
    chip.regs[reg] = value;
    if (reg == 0) {
        assert_true(chip.in_fifo < 16); // the driver must not overrun the FIFO
        chip.in_fifo++;
        chip.wire[chip.sent++] = (char)value;
    }
}

static inline void count(void *opaque)
{
    ++*(int *)opaque;
}

enum { COLUMNS = 24, ROWS = 5 };
static struct term term;
static uint16_t cells[ROWS * COLUMNS];
static unsigned drawn;

static inline void draw(void *opaque)
{
    (void)opaque;
    drawn++;
}

static inline void start_console(uint32_t divisor, bool screen)
{
    static const char *const names[] = {"bulkhead", "web", "alpine"};
    static const struct uart_port port = {.in = chip_in, .out = chip_out};
    memset(history, 0, sizeof(history));
    memset(to_vm, 0, sizeof(to_vm));
    to_console = 0;
    now = 1000 * MS;
    console_init(&console, divisor != 0 ? &port : NULL, divisor, 0, now);
    if (screen) {
        drawn = 0;
        term_init(&term, cells, COLUMNS, ROWS);
        console_show(&console, &term, draw, NULL);
    }
    for (int i = 0; i < LINES; i++) {
        free(memory[i]);
        memory[i] = aligned_alloc(4096, CONSOLE_LINE_BYTES);
        memset(memory[i], 0, CONSOLE_LINE_BYTES);
        line_attach_vm(&vm[i], memory[i], count, &to_console);
        console_add(&console, names[i], memory[i], &history[i], count, &to_vm[i]);
    }
}

static inline int setup(void **state)
{
    (void)state;
    memset(&chip, 0, sizeof(chip));
    start_console(1, false);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < LINES; i++) {
        free(memory[i]);
        memory[i] = NULL;
    }
    return 0;
}

// Lets time stand still until the console has nothing more to send; -> what was sent.
static inline const char *settle(void)
{
    chip.sent = 0;
    console_run(&console, now, true);
    while (chip.in_fifo > 0) {
        chip.in_fifo = 0;
        chip.empty_pending = true;
        console_run(&console, now, true);
        assert_true(chip.sent < sizeof(chip.wire) - 32);
    }
    chip.wire[chip.sent] = '\0';
    return chip.wire;
}

static inline const char *type(const char *keys)
{
    chip.keys = keys;
    return settle();
}

static inline void say(int line, const char *text)
{
    assert_int_equal(line_write(&vm[line], text, (uint32_t)strlen(text)), strlen(text));
}

static inline const char *heard(int line)
{
    static char text[64];
    text[line_read(&vm[line], text, sizeof(text) - 1)] = '\0';
    return text;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
