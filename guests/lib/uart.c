// SPDX-License-Identifier: BSD-2-Clause
//
// The polled driver of COM1. The chip's FIFO holds 16 bytes and is known empty when THRE is set, so
// a burst of 16 needs one look at LSR. Runs on the guest's only processor; handlers do not print,
// but for the one that dies.

#include "guests/lib/uart.h"

#include "guests/lib/cpu.h"

#define FIFO_SIZE        16
#define FCR_ENABLE_RESET 0x07
#define LCR_8N1          0x03
#define LCR_DLAB         0x80
#define MCR_DTR_RTS      0x03

static unsigned int room; // bytes that fit into the FIFO for sure

void uart_init(void)
{
    outb(UART_IER, 0);
    outb(UART_LCR, LCR_DLAB | LCR_8N1);
    outb(UART_DATA, 1); // divisor 1: 115200 baud
    outb(UART_IER, 0);
    outb(UART_LCR, LCR_8N1);
    outb(UART_FCR, FCR_ENABLE_RESET);
    outb(UART_MCR, MCR_DTR_RTS);
    room = 0;
}

void uart_putc(uint8_t byte)
{
    if (room == 0) {
        while (!(inb(UART_LSR) & UART_LSR_THRE))
            cpu_pause();
        room = FIFO_SIZE;
    }
    room--;
    outb(UART_DATA, byte);
}

void uart_puts(const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '\n')
            uart_putc('\r');
        uart_putc((uint8_t)*text);
    }
}

void uart_drain(void)
{
    while (!(inb(UART_LSR) & UART_LSR_TEMT))
        cpu_pause();
    room = 0;
}

bool uart_getc(uint8_t *byte)
{
    if (!(inb(UART_LSR) & UART_LSR_DR))
        return false;
    *byte = inb(UART_DATA);
    return true;
}

void uart_line_on(void)
{
    outb(UART_MCR, (uint8_t)(inb(UART_MCR) | UART_MCR_OUT2));
    outb(UART_IER, UART_IER_THRE);
}

void uart_line_off(void)
{
    outb(UART_IER, 0);
    inb(UART_IIR);
    outb(UART_MCR, (uint8_t)(inb(UART_MCR) & ~UART_MCR_OUT2));
}
