// SPDX-License-Identifier: BSD-2-Clause
// 16550A driver; see uart.h. Runs on the console's thread only.
#include <stddef.h>
#include "drivers/console/uart.h"

// PC16550D data sheet, "Summary of Registers".
enum {
    UART_DATA = 0, UART_IER = 1, UART_IIR = 2, UART_FCR = 2, UART_LCR = 3, UART_MCR = 4,
    UART_LSR = 5, UART_MSR = 6,
    UART_DLL = 0, UART_DLM = 1, // with LCR_DLAB

    IER_RECEIVED = 0x01, IER_EMPTY = 0x02,
    IIR_NONE = 0x01, IIR_CAUSE = 0x0e, IIR_FIFO = 0xc0,
    FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_TRIGGER_8 = 0x80,
    LCR_8N1 = 0x03, LCR_DLAB = 0x80,
    MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT2 = 0x08, // OUT2 gates the interrupt on a PC
    LSR_DATA = 0x01, LSR_EMPTY = 0x20, LSR_IDLE = 0x40,
};
// No chip holds more causes or bytes than this at once: a bound on trust in the hardware.
#define UART_CAUSES_MAX 32
#define UART_RECEIVE_MAX 64

static uint8_t uart_in(const struct uart *uart, uint8_t reg)
{
    return uart->port.in(uart->port.opaque, reg);
}

static void uart_out(const struct uart *uart, uint8_t reg, uint8_t value)
{
    uart->port.out(uart->port.opaque, reg, value);
}

void uart_init(struct uart *uart, const struct uart_port *port, uint32_t divisor,
               void (*receive)(void *opaque, uint8_t byte), void *opaque)
{
    *uart = (struct uart){.receive = receive, .opaque = opaque};
    if (port == NULL) {
        return;
    }
    uart->port = *port;
    uart->there = uart_in(uart, UART_LSR) != 0xff; // what is read where nobody answers
    if (!uart->there) {
        return;
    }
    uart_out(uart, UART_IER, 0);
    uart_out(uart, UART_LCR, LCR_DLAB | LCR_8N1);
    uart_out(uart, UART_DLL, divisor & 0xff);
    uart_out(uart, UART_DLM, (uint8_t)(divisor >> 8));
    uart_out(uart, UART_LCR, LCR_8N1);
    // The transmitter's FIFO is not cleared: the kernel's last words may still be in it.
    uart_out(uart, UART_FCR, FCR_ENABLE | FCR_CLEAR_RX | FCR_TRIGGER_8);
    uart->fifo = (uart_in(uart, UART_IIR) & IIR_FIFO) == IIR_FIFO ? 16 : 1;
    uart_out(uart, UART_MCR, MCR_DTR | MCR_RTS | MCR_OUT2);
    uart_out(uart, UART_IER, IER_RECEIVED | IER_EMPTY);
}

static void uart_receive(struct uart *uart)
{
    for (int i = 0; i < UART_RECEIVE_MAX && (uart_in(uart, UART_LSR) & LSR_DATA); i++) {
        uart->receive(uart->opaque, uart_in(uart, UART_DATA));
    }
}

static void uart_transmit(struct uart *uart)
{
    if (uart->head == uart->tail || !(uart_in(uart, UART_LSR) & LSR_EMPTY)) {
        return;
    }
    for (uint32_t i = 0; i < uart->fifo && uart->head != uart->tail; i++) {
        uart_out(uart, UART_DATA, uart->queue[uart->tail++ % UART_QUEUE]);
    }
}

void uart_interrupt(struct uart *uart)
{
    for (int i = 0; i < UART_CAUSES_MAX && uart->there; i++) {
        uint8_t cause = uart_in(uart, UART_IIR);
        if (cause & IIR_NONE) {
            return;
        }
        switch (cause & IIR_CAUSE) {
        case 0x04: // received data
        case 0x0c: // received data, timeout
            uart_receive(uart);
            break;
        case 0x02: // transmitter empty; reading IIR has cleared it
            uart_transmit(uart);
            break;
        case 0x06:
            uart_in(uart, UART_LSR);
            break;
        default:
            uart_in(uart, UART_MSR);
        }
    }
}

void uart_poll(struct uart *uart)
{
    if (uart->there) {
        uart_receive(uart);
        uart_transmit(uart);
    }
}

uint32_t uart_room(const struct uart *uart)
{
    return UART_QUEUE - (uart->head - uart->tail);
}

void uart_send(struct uart *uart, const uint8_t *bytes, uint32_t len)
{
    if (!uart->there) {
        return;
    }
    for (uint32_t i = 0; i < len; i++) {
        uart->queue[uart->head++ % UART_QUEUE] = bytes[i];
    }
    uart_transmit(uart);
}

bool uart_busy(const struct uart *uart)
{
    return uart->head != uart->tail;
}

bool uart_drained(const struct uart *uart)
{
    return !uart->there ||
           (uart->head == uart->tail && (uart_in(uart, UART_LSR) & LSR_IDLE) != 0);
}
