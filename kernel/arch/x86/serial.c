// SPDX-License-Identifier: BSD-2-Clause
// Polled output on COM1, for the kernel's log until the console process has a port, and then on
// that one for a panic. Any core; log.c serialises.
#include "kernel/arch/x86/x86.h"

static uint16_t com = 0x3f8;

void arch_log_at(uint16_t port) { com = port; }

void serial_init(void)
{
    // No interrupts; divisor latch: 115200 baud; 8N1; FIFO on and empty; DTR, RTS, OUT2.
    static const uint8_t set[][2] = { { 1, 0 }, { 3, 0x80 }, { 0, 1 }, { 1, 0 }, { 3, 3 },
                                      { 2, 7 }, { 4, 0xb } };
    for (unsigned i = 0; i < ARRAY_SIZE(set); i++)
        out8((uint16_t)(com + set[i][0]), set[i][1]);
}

// The FIFO is empty, or takes nothing.
static size_t send(const char *text, size_t bytes)
{
    size_t done = 0;
    for (unsigned room = in8(com + 5) & 0x20 ? 16 : 0; room > 1 && done < bytes; done++) {
        if (text[done] == '\n') {
            out8(com, '\r');
            room--;
        }
        out8(com, (uint8_t)text[done]);
        room--;
    }
    return done;
}

size_t arch_log_some(const char *text, size_t bytes)
{
    size_t done = send(text, bytes);
    screen_put(text, done);
    return done;
}

// A machine without the port reads all ones, "ready"; one whose port is stuck is not waited for.
void arch_log(const char *text, size_t bytes)
{
    screen_put(text, bytes);
    for (unsigned tries = 0; bytes && tries < 1000000; tries++) {
        size_t done = send(text, bytes);
        tries = done ? 0 : tries;
        text += done;
        bytes -= done;
    }
}
