// SPDX-License-Identifier: BSD-2-Clause
//
// What the tests of the 16550A share: one at COM1, whose other end and whose line the test plays.
#pragma once

#include "tests/unit/board.h"

#include "vmm/dev/uart16550.h"

static struct fake_host host;
static struct uart16550 uart;

enum {
    DATA = UART_COM1,
    IER = UART_COM1 + 1,
    IIR = UART_COM1 + 2,
    FCR = UART_COM1 + 2,
    LCR = UART_COM1 + 3,
    MCR = UART_COM1 + 4,
    LSR = UART_COM1 + 5,
    MSR = UART_COM1 + 6,
    SCR = UART_COM1 + 7,
};

// As it is after reset.
static inline bool make_uart(bool paced)
{
    fake_host_init(&host);
    uart16550_init(&uart, &host.clock, fake_stream(&host), fake_line(&host), paced);
    return uart16550_register(&uart, &host.bus, UART_COM1);
}

static inline void type(const char *text)
{
    for (; *text != '\0'; text++)
        host.input[host.input_count++] = (uint8_t)*text;
    uart16550_rx_poll(&uart);
}
