// SPDX-License-Identifier: BSD-2-Clause
//
// 16550A serial port with its 16-byte FIFOs.
//
// Follows the National Semiconductor PC16550D data sheet, sections "Interrupt Identification
// Register" and "FIFO Interrupt Mode Operation". A null modem is plugged in: CTS, DSR and DCD are
// always asserted. OUT2 is a bit without a wire: the interrupt is not gated with it, so that guests
// which never set it get their input.
//
// No byte is lost in either direction. A transmitted byte goes into the stream before the write
// completes; if the stream has no room the write answers BUS_BLOCKED and the VMM repeats it later,
// so LSR never has to lie. Received bytes are pulled from the stream when the FIFO has room.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/board/clock.h"
#include "vmm/board/irq.h"
#include "vmm/dev/stream.h"

enum {
    UART_FIFO_SIZE = 16,
    UART_COM1 = 0x3F8,
};

struct uart16550 {
    uint8_t ier;
    uint8_t lcr;
    uint8_t mcr;
    uint8_t msr; // delta bits 3:0 and the state of the inputs as last seen, 7:4
    uint8_t lsr; // error bits only; the rest is computed
    uint8_t scr;
    uint8_t fcr; // bit 0 and the trigger level
    uint8_t causes; // pending and enabled when the line was last set, as bits of IER
    uint16_t divisor;
    uint8_t rx[UART_FIFO_SIZE];
    uint8_t rx_head;
    uint8_t rx_count;
    bool rx_timeout;     // character timeout indication is pending
    bool thre_pending;   // transmitter-empty interrupt, until IIR is read or THR written
    bool thre;           // transmitter holding register (or its FIFO) is empty
    bool paced;          // characters take their time; otherwise they leave at once
    uint64_t tx_idle_ns; // when paced: the end of the last character
    struct vtimer tx_timer;
    struct vtimer rx_timer;
    struct clock *clock;
    struct stream stream;
    struct irq_line irq;
};

// `paced`: THRE and TEMT come after the time that the line would need at the programmed speed.
void uart16550_init(struct uart16550 *uart, struct clock *clock, struct stream stream,
                    struct irq_line irq, bool paced);

// As a BIOS leaves it: 9600 8N1, FIFOs off, no interrupts, OUT2 off.
void uart16550_reset(struct uart16550 *uart);

// Claims eight ports from `base`.
bool uart16550_register(struct uart16550 *uart, struct bus *bus, uint16_t base);

// The stream has new input: call it whenever bytes may have arrived.
void uart16550_rx_poll(struct uart16550 *uart);
