// SPDX-License-Identifier: BSD-2-Clause
// The console process: has the host's serial port and screen. One thread; it sleeps on its one
// event, which lines, the UART's interrupt and (as the deadline of the wait) time wake it from.
#include <stdio.h>
#include <stdlib.h>
#include "drivers/console/console.h"
#include "drivers/console/screen.h"
#include "libc/kcall.h"
#include "libc/ports.h"
#include "libc/process.h"
#include "libc/time.h"

#define LINE_VA     0x60000000ull
#define LINE_STRIDE 0x20000ull
#define SCREEN_VA   0x100000000000ull
_Static_assert(CONSOLE_LINE_BYTES <= LINE_STRIDE, "lines do not overlap");
_Static_assert(START_VM_MAX <= MERGE_SOURCES_MAX, "every line has a source");

enum console_failure { FAILED_START = 1, FAILED_MEMORY };

static struct screen screen;
static struct term term;

// opaque: the first port, as a number in a pointer.
static uint8_t uart_port_in(void *opaque, uint8_t reg)
{
    return port_in8((uint16_t)((uintptr_t)opaque + reg));
}

static void uart_port_out(void *opaque, uint8_t reg, uint8_t value)
{
    port_out8((uint16_t)((uintptr_t)opaque + reg), value);
}

static void signal_line(void *opaque)
{
    const struct start_line *line = opaque;
    kcall_event_signal(line->event, line->bits);
}

static void draw(void *opaque)
{
    (void)opaque;
    screen_draw(&screen, &term);
}

// What the kernel said stands above what is said from now on.
static void show_said(const struct start_console *start)
{
    for (uint32_t i = 0; i < start->said_len && i < START_SAID_MAX; i++) {
        if (start->said[i] == '\n') {
            term_write(&term, (const uint8_t *)"\r", 1);
        }
        term_write(&term, (const uint8_t *)&start->said[i], 1);
    }
}

static int add_screen(struct console *console, const struct start_console *start)
{
    uint64_t bytes = (uint64_t)start->mode.pitch * start->mode.height;
    if (start->screen == 0) {
        return 0;
    }
    if (kcall_mem_map(HANDLE_SELF, start->screen, 0, (bytes + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1),
                      SCREEN_VA, PROT_READ | PROT_WRITE) < 0) {
        return FAILED_MEMORY;
    }
    screen_init(&screen, &start->mode, (void *)(uintptr_t)SCREEN_VA);
    uint32_t cells = screen.rows * screen.columns;
    uint16_t *memory = calloc(cells, 2 * sizeof(*memory));
    if (memory == NULL) {
        return FAILED_MEMORY;
    }
    screen_start(&screen, memory);
    term_init(&term, memory + cells, screen.columns, screen.rows);
    show_said(start);
    console_show(console, &term, draw, NULL);
    return 0;
}

static int add_lines(struct console *console, const struct start_console *start)
{
    for (uint32_t i = 0; i < start->lines && i < START_VM_MAX; i++) {
        uint64_t va = LINE_VA + i * LINE_STRIDE;
        struct history *history = calloc(1, sizeof(*history));
        if (kcall_mem_map(HANDLE_SELF, start->line[i].memory, 0, CONSOLE_LINE_BYTES, va,
                          PROT_READ | PROT_WRITE) < 0 || history == NULL) {
            free(history);
            return FAILED_MEMORY;
        }
        console_add(console, start->line[i].name, (void *)(uintptr_t)va, history, signal_line,
                    (void *)(uintptr_t)&start->line[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct console console;
    const struct start_block *block = start_block();
    (void)argc;
    (void)argv;
    if (block == NULL || block->role != START_CONSOLE) {
        return FAILED_START;
    }
    const struct start_console *start = &block->console;
    const struct uart_port port = {
        .in = uart_port_in, .out = uart_port_out, .opaque = (void *)(uintptr_t)start->port,
    };
    console_init(&console, start->port != 0 ? &port : NULL, start->divisor,
                 tsc_to_ns(block->entry_tsc), time_host_ns());
    console.polled = start->irq == 0;
    if (start->again) {
        console_again(&console);
    }
    int failure = add_screen(&console, start);
    if (failure == 0) {
        failure = add_lines(&console, start);
    }
    if (failure != 0) {
        return failure;
    }
    uint64_t bits = CONSOLE_BIT_IRQ;
    for (;;) {
        if (bits & CONSOLE_BIT_FLUSH) {
            console_flush(&console, true);
        }
        uint64_t deadline = console_run(&console, time_host_ns(), (bits & CONSOLE_BIT_IRQ) != 0);
        if ((bits & CONSOLE_BIT_IRQ) && start->irq != 0) {
            kcall_irq_ack(start->irq);
        }
        if (console.flushing && console_flushed(&console)) {
            console_flush(&console, false);
            kcall_event_signal(start->line[0].event, CONSOLE_BIT_FLUSHED);
        }
        kcall_event_wait(start->event, UINT64_MAX,
                         deadline == MERGE_NEVER ? 0 : ns_to_tsc(deadline), &bits);
    }
}
