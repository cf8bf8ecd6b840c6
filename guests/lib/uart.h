// SPDX-License-Identifier: BSD-2-Clause
//
// COM1, a 16550A, polled. Section "Line Status Register" of the PC16550D data sheet.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define UART_BASE    0x3F8
#define UART_DATA    (UART_BASE + 0)
#define UART_IER     (UART_BASE + 1)
#define UART_IIR     (UART_BASE + 2)
#define UART_FCR     (UART_BASE + 2)
#define UART_LCR     (UART_BASE + 3)
#define UART_MCR     (UART_BASE + 4)
#define UART_LSR     (UART_BASE + 5)
#define UART_MSR     (UART_BASE + 6)
#define UART_SCRATCH (UART_BASE + 7)

#define UART_IER_RX   0x01
#define UART_IER_THRE 0x02
#define UART_LSR_DR   0x01
#define UART_LSR_THRE 0x20
#define UART_LSR_TEMT 0x40
#define UART_MCR_OUT2 0x08 // lets the UART's interrupt out of the chip

// 115200 baud, 8N1, FIFOs on, no interrupts.
void uart_init(void);

// Sends one byte; waits for room.
void uart_putc(uint8_t byte);

// Sends a string, with a carriage return before each line feed.
void uart_puts(const char *text);

// Waits until the last byte has left the shift register.
void uart_drain(void);

// Takes a received byte; false when there is none.
bool uart_getc(uint8_t *byte);

// Turns the transmitter-empty interrupt on: once the transmitter is empty, the UART's line rises.
void uart_line_on(void);
void uart_line_off(void);
