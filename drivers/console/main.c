// SPDX-License-Identifier: BSD-2-Clause
// The console process: owns the host's COM1. One thread; it sleeps on its one event, which lines,
// the UART's interrupt and (as the deadline of the wait) time wake it from.
#include <stdio.h>
#include <stdlib.h>
#include "drivers/console/console.h"
#include "libc/kcall.h"
#include "libc/process.h"
#include "libc/time.h"

#define COM1_PORT   0x3f8
#define LINE_VA     0x60000000ull
#define LINE_STRIDE 0x20000ull
_Static_assert(CONSOLE_LINE_BYTES <= LINE_STRIDE, "lines do not overlap");
_Static_assert(START_VM_MAX <= MERGE_SOURCES_MAX, "every line has a source");

enum console_failure { FAILED_START = 1, FAILED_MEMORY };

static uint8_t port_in(void *opaque, uint8_t reg)
{
    uint8_t value;
    (void)opaque;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"((uint16_t)(COM1_PORT + reg)) : "memory");
    return value;
}

static void port_out(void *opaque, uint8_t reg, uint8_t value)
{
    (void)opaque;
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"((uint16_t)(COM1_PORT + reg)) : "memory");
}

static void signal_line(void *opaque)
{
    const struct start_line *line = opaque;
    kcall_event_signal(line->event, line->bits);
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
    static const struct uart_port port = {.in = port_in, .out = port_out};
    const struct start_block *block = start_block();
    (void)argc;
    (void)argv;
    if (block == NULL || block->role != START_CONSOLE) {
        return FAILED_START;
    }
    const struct start_console *start = &block->console;
    console_init(&console, &port, tsc_to_ns(block->entry_tsc), time_host_ns());
    int failure = add_lines(&console, start);
    if (failure != 0) {
        return failure;
    }
    uint64_t bits = CONSOLE_BIT_IRQ;
    for (;;) {
        if (bits & CONSOLE_BIT_FLUSH) {
            console_flush(&console, true);
        }
        uint64_t deadline = console_run(&console, time_host_ns(), (bits & CONSOLE_BIT_IRQ) != 0);
        if (bits & CONSOLE_BIT_IRQ) {
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
