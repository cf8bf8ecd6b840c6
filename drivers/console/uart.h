// SPDX-License-Identifier: BSD-2-Clause
// Driver of a 16550A, by interrupt or polled, both FIFOs on. It never waits: what does not fit the
// transmitter stays in a queue, and an interrupt or the next uart_poll() moves it on. Where no chip
// answers nothing is received, and what is sent is gone. Owned by the console's one thread.
// Follows the PC16550D data sheet, "Registers" and "FIFO Interrupt Mode Operation".
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define UART_QUEUE 512u // bytes, a power of two: 44 ms at 115200 baud

// The eight registers, by offset; host tests have their own.
struct uart_port {
    uint8_t (*in)(void *opaque, uint8_t reg);
    void (*out)(void *opaque, uint8_t reg, uint8_t value);
    void *opaque;
};

struct uart {
    struct uart_port port;
    bool there;
    void (*receive)(void *opaque, uint8_t byte); // called from uart_interrupt() and uart_poll()
    void *opaque;
    uint32_t fifo; // bytes that the transmitter takes when it is empty: 16, or 1
    uint32_t head, tail;
    uint8_t queue[UART_QUEUE];
};

#define UART_CLOCK 115200u // a divisor of 1 is so many baud

// 8N1, interrupts for received data and for an empty transmitter. port NULL: there is none.
void uart_init(struct uart *uart, const struct uart_port *port, uint32_t divisor,
               void (*receive)(void *opaque, uint8_t byte), void *opaque);

// Serves every cause that the chip reports. Call it for each interrupt.
void uart_interrupt(struct uart *uart);

// Moves what can be moved; also makes good for an interrupt that was lost.
void uart_poll(struct uart *uart);

uint32_t uart_room(const struct uart *uart);
// Queues `len` bytes, which must fit uart_room(), and starts sending.
void uart_send(struct uart *uart, const uint8_t *bytes, uint32_t len);

// True while bytes are queued.
bool uart_busy(const struct uart *uart);
// True when the last stop bit is on the wire.
bool uart_drained(const struct uart *uart);
