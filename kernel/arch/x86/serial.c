// SPDX-License-Identifier: BSD-2-Clause
// Polled output on COM1, for the kernel's log until the console process owns the port, and for a
// panic. Any core; log.c serialises.
#include "kernel/arch/x86/x86.h"

#define COM1 0x3f8

void serial_init(void)
{
    out8(COM1 + 1, 0);    // no interrupts
    out8(COM1 + 3, 0x80); // divisor latch
    out8(COM1 + 0, 1);    // 115200 baud
    out8(COM1 + 1, 0);
    out8(COM1 + 3, 3);    // 8N1
    out8(COM1 + 2, 7);    // FIFO on, cleared
    out8(COM1 + 4, 0xb);  // DTR, RTS, OUT2
}

static void put(char c)
{
    // A machine without the port reads all ones: "ready", so this ends.
    for (unsigned tries = 0; !(in8(COM1 + 5) & 0x20) && tries < 1000000; tries++)
        __builtin_ia32_pause();
    out8(COM1, (uint8_t)c);
}

void arch_log(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n')
            put('\r');
        put(text[i]);
    }
}
