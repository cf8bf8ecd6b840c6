// SPDX-License-Identifier: BSD-2-Clause
//
// 16550A. Owned by the VMM's only thread; no lock.
#include "vmm/dev/uart16550.h"

#include <string.h>

// "Summary of Registers"; with DLAB set the first two are the divisor.
enum {
    REG_DATA = 0,
    REG_IER = 1,
    REG_IIR_FCR = 2,
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7,
};

enum {
    IER_RX = 0x01,
    IER_TX = 0x02,
    IER_LINE = 0x04,
    IER_MODEM = 0x08,
    IER_BITS = 0x0F,

    IIR_NONE = 0x01,
    IIR_MODEM = 0x00,
    IIR_TX = 0x02,
    IIR_RX = 0x04,
    IIR_LINE = 0x06,
    IIR_TIMEOUT = 0x0C,
    IIR_FIFOS = 0xC0,

    FCR_ENABLE = 0x01,
    FCR_CLEAR_RX = 0x02,
    FCR_CLEAR_TX = 0x04,
    FCR_TRIGGER_SHIFT = 6,
    FCR_STORED = 0xC9,

    LCR_WORD = 0x03,
    LCR_TWO_STOP = 0x04,
    LCR_PARITY = 0x08,
    LCR_DLAB = 0x80,
    LCR_8N1 = 0x03,

    MCR_DTR = 0x01,
    MCR_RTS = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,
    MCR_BITS = 0x1F,

    LSR_DATA = 0x01,
    LSR_OVERRUN = 0x02,
    LSR_ERRORS = 0x1E,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,

    MSR_DELTAS = 0x0F,
    MSR_TRAILING_RI = 0x04,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80,
};

#define UART_CLOCK_HZ 1843200ULL
#define DIVISOR_9600  12
#define TIMEOUT_CHARS 4 // "FIFO Interrupt Mode Operation": character time-out

static const uint8_t trigger_level[4] = {1, 4, 8, 14};

static bool uart_has_fifo(const struct uart16550 *uart)
{
    return (uart->fcr & FCR_ENABLE) != 0;
}

static unsigned uart_trigger(const struct uart16550 *uart)
{
    return uart_has_fifo(uart) ? trigger_level[uart->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

static uint64_t uart_char_ns(const struct uart16550 *uart)
{
    uint64_t bits = 1 + 5 + (uart->lcr & LCR_WORD) + 1;
    unsigned divisor = uart->divisor != 0 ? uart->divisor : 1;

    if ((uart->lcr & LCR_TWO_STOP) != 0)
        bits++;
    if ((uart->lcr & LCR_PARITY) != 0)
        bits++;
    return bits * divisor * (16 * NS_PER_SEC) / UART_CLOCK_HZ;
}

// The causes that are pending and enabled, as bits of IER.
static uint8_t uart_causes(const struct uart16550 *uart)
{
    uint8_t pending = 0;

    if ((uart->lsr & LSR_ERRORS) != 0)
        pending |= IER_LINE;
    if (uart->rx_timeout || uart->rx_count >= uart_trigger(uart))
        pending |= IER_RX;
    if (uart->thre_pending)
        pending |= IER_TX;
    if ((uart->msr & MSR_DELTAS) != 0)
        pending |= IER_MODEM;
    return pending & uart->ier;
}

// What IIR says: the one of highest priority.
static uint8_t uart_interrupt(const struct uart16550 *uart)
{
    uint8_t causes = uart_causes(uart);

    if ((causes & IER_LINE) != 0)
        return IIR_LINE;
    if ((causes & IER_RX) != 0)
        return uart->rx_count >= uart_trigger(uart) ? IIR_RX : IIR_TIMEOUT;
    if ((causes & IER_TX) != 0)
        return IIR_TX;
    return (causes & IER_MODEM) != 0 ? IIR_MODEM : IIR_NONE;
}

// Drives the line. It falls whenever a cause ends, even if another one is left: a handler behind an
// edge-triggered pin that serves one cause and returns gets an edge for the next. An access that
// ends a cause and brings it anew calls this in between.
static void uart_update(struct uart16550 *uart)
{
    uint8_t causes = uart_causes(uart);

    if ((uart->causes & ~causes) != 0)
        irq_set(&uart->irq, false);
    uart->causes = causes;
    irq_set(&uart->irq, causes != 0);
}

// (Re)start the character time-out: it runs while the FIFO holds less than the trigger level.
static void uart_start_timeout(struct uart16550 *uart)
{
    bool waits = uart_has_fifo(uart) && (uart->ier & IER_RX) != 0 && !uart->rx_timeout &&
                 uart->rx_count != 0 && uart->rx_count < uart_trigger(uart);

    if (waits)
        vtimer_arm(uart->clock, &uart->rx_timer,
                   clock_now(uart->clock) + TIMEOUT_CHARS * uart_char_ns(uart));
    else
        vtimer_cancel(uart->clock, &uart->rx_timer);
}

static void uart_rx_fire(void *ctx, uint64_t now_ns)
{
    struct uart16550 *uart = ctx;

    (void)now_ns;
    uart->rx_timeout = true;
    uart_update(uart);
}

static void uart_rx_push(struct uart16550 *uart, uint8_t byte)
{
    unsigned room = uart_has_fifo(uart) ? UART_FIFO_SIZE : 1;

    if (uart->rx_count >= room) {
        // Only loopback comes here. The FIFO keeps what it has; the single register is overwritten.
        uart->lsr |= LSR_OVERRUN;
        if (!uart_has_fifo(uart))
            uart->rx[uart->rx_head] = byte;
        return;
    }
    uart->rx[(uart->rx_head + uart->rx_count) % UART_FIFO_SIZE] = byte;
    uart->rx_count++;
}

// Take what the console has and the receiver has room for.
static void uart_rx_pull(struct uart16550 *uart)
{
    unsigned room = uart_has_fifo(uart) ? UART_FIFO_SIZE : 1;
    bool came = false;

    if ((uart->mcr & MCR_LOOP) != 0 || uart->stream.ops->get == NULL)
        return;
    while (uart->rx_count < room) {
        int byte = uart->stream.ops->get(uart->stream.ctx);
        if (byte < 0)
            break;
        uart_rx_push(uart, (uint8_t)byte);
        came = true;
    }
    if (came)
        uart_start_timeout(uart);
}

void uart16550_rx_poll(struct uart16550 *uart)
{
    uart_rx_pull(uart);
    uart_update(uart);
}

static uint8_t uart_read_data(struct uart16550 *uart)
{
    uint8_t byte = uart->rx[uart->rx_head];

    if (uart->rx_count != 0) {
        if (uart_has_fifo(uart))
            uart->rx_head = (uart->rx_head + 1) % UART_FIFO_SIZE;
        uart->rx_count--;
    }
    uart->rx_timeout = false;
    // The console's next bytes come when these are no longer worth an interrupt, as on a line that
    // is not endlessly fast: else the cause would never end, however many a handler takes.
    if (uart->rx_count < uart_trigger(uart)) {
        uart_update(uart);
        uart_rx_pull(uart);
    }
    uart_start_timeout(uart);
    return byte;
}

static void uart_tx_empty(struct uart16550 *uart)
{
    uart->thre = true;
    uart->thre_pending = true;
}

static void uart_tx_fire(void *ctx, uint64_t now_ns)
{
    struct uart16550 *uart = ctx;

    (void)now_ns;
    uart_tx_empty(uart);
    uart_update(uart);
}

// Time has passed that the kernel has not told us of yet.
static void uart_tx_catch_up(struct uart16550 *uart)
{
    if (uart->thre || uart->tx_timer.deadline_ns > clock_now(uart->clock))
        return;
    vtimer_cancel(uart->clock, &uart->tx_timer);
    uart_tx_empty(uart);
}

// The byte is on its way. When paced, the holding register is empty again as the last byte moves
// into the shift register, one character before the line falls idle.
static void uart_tx_start(struct uart16550 *uart)
{
    uart->thre_pending = false;
    uart->thre = false;
    uart_update(uart);
    if (!uart->paced) {
        uart_tx_empty(uart);
        return;
    }
    uint64_t now = clock_now(uart->clock);
    uint64_t shift_ns = uart->tx_idle_ns > now ? uart->tx_idle_ns : now;
    uart->tx_idle_ns = shift_ns + uart_char_ns(uart);
    if (shift_ns <= now)
        uart_tx_empty(uart);
    else
        vtimer_arm(uart->clock, &uart->tx_timer, shift_ns);
}

static enum bus_result uart_write_data(struct uart16550 *uart, uint8_t byte)
{
    if ((uart->mcr & MCR_LOOP) != 0) {
        uart_rx_push(uart, byte);
        uart_start_timeout(uart);
    } else if (!uart->stream.ops->put(uart->stream.ctx, byte)) {
        return BUS_BLOCKED;
    }
    uart_tx_start(uart);
    return BUS_OK;
}

static void uart_clear_rx(struct uart16550 *uart)
{
    uart->rx_head = 0;
    uart->rx_count = 0;
    uart->rx_timeout = false;
    vtimer_cancel(uart->clock, &uart->rx_timer);
}

// What has been written is in the console's ring already: clearing only ends the waiting.
static void uart_clear_tx(struct uart16550 *uart)
{
    if (uart->thre)
        return;
    vtimer_cancel(uart->clock, &uart->tx_timer);
    uart->tx_idle_ns = clock_now(uart->clock) + uart_char_ns(uart);
    uart_tx_empty(uart);
}

static void uart_write_fcr(struct uart16550 *uart, uint8_t value)
{
    bool toggled = ((value ^ uart->fcr) & FCR_ENABLE) != 0;

    // The other bits are only programmed while bit 0 is written as 1.
    uart->fcr = (value & FCR_ENABLE) != 0 ? value & FCR_STORED : 0;
    if (toggled || (value & (FCR_ENABLE | FCR_CLEAR_RX)) == (FCR_ENABLE | FCR_CLEAR_RX))
        uart_clear_rx(uart);
    if (toggled || (value & (FCR_ENABLE | FCR_CLEAR_TX)) == (FCR_ENABLE | FCR_CLEAR_TX))
        uart_clear_tx(uart);
    uart_rx_pull(uart);
    uart_start_timeout(uart);
}

static void uart_write_ier(struct uart16550 *uart, uint8_t value)
{
    bool tx_enabled = (value & ~uart->ier & IER_TX) != 0;

    uart->ier = value & IER_BITS;
    // Enabling the interrupt while the register is empty raises it.
    if (tx_enabled && uart->thre)
        uart->thre_pending = true;
    uart_start_timeout(uart);
}

// The state of the modem inputs: a null modem, or in loopback our own outputs.
static uint8_t uart_modem_inputs(const struct uart16550 *uart)
{
    if ((uart->mcr & MCR_LOOP) == 0)
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return ((uart->mcr & MCR_RTS) != 0 ? MSR_CTS : 0) | ((uart->mcr & MCR_DTR) != 0 ? MSR_DSR : 0) |
           ((uart->mcr & MCR_OUT1) != 0 ? MSR_RI : 0) | ((uart->mcr & MCR_OUT2) != 0 ? MSR_DCD : 0);
}

static void uart_write_mcr(struct uart16550 *uart, uint8_t value)
{
    uart->mcr = value & MCR_BITS;
    uint8_t inputs = uart_modem_inputs(uart);
    uint8_t deltas = (inputs ^ uart->msr) >> 4;
    // RI counts on its trailing edge only.
    if ((inputs & MSR_RI) != 0)
        deltas &= (uint8_t)~MSR_TRAILING_RI;
    uart->msr = inputs | ((uart->msr | deltas) & MSR_DELTAS);
    uart_rx_pull(uart);
}

static uint8_t uart_read_iir(struct uart16550 *uart)
{
    uart_tx_catch_up(uart);
    uint8_t iir = uart_interrupt(uart);
    if (iir == IIR_TX)
        uart->thre_pending = false;
    return uart_has_fifo(uart) ? iir | IIR_FIFOS : iir;
}

static uint8_t uart_read_lsr(struct uart16550 *uart)
{
    if (uart->rx_count == 0)
        uart_rx_pull(uart);
    uart_tx_catch_up(uart);
    uint8_t lsr = uart->lsr;
    uart->lsr = 0;
    if (uart->rx_count != 0)
        lsr |= LSR_DATA;
    if (uart->thre) {
        lsr |= LSR_THRE;
        if (!uart->paced || clock_now(uart->clock) >= uart->tx_idle_ns)
            lsr |= LSR_TEMT;
    }
    return lsr;
}

static uint8_t uart_read_register(struct uart16550 *uart, unsigned reg)
{
    bool dlab = (uart->lcr & LCR_DLAB) != 0;
    uint8_t value;

    switch (reg) {
    case REG_DATA:
        return dlab ? (uint8_t)uart->divisor : uart_read_data(uart);
    case REG_IER:
        return dlab ? (uint8_t)(uart->divisor >> 8) : uart->ier;
    case REG_IIR_FCR:
        return uart_read_iir(uart);
    case REG_LCR:
        return uart->lcr;
    case REG_MCR:
        return uart->mcr;
    case REG_LSR:
        return uart_read_lsr(uart);
    case REG_MSR:
        value = uart->msr;
        uart->msr &= (uint8_t)~MSR_DELTAS;
        return value;
    default:
        return uart->scr;
    }
}

static enum bus_result uart_write_register(struct uart16550 *uart, unsigned reg, uint8_t value)
{
    bool dlab = (uart->lcr & LCR_DLAB) != 0;

    switch (reg) {
    case REG_DATA:
        if (!dlab)
            return uart_write_data(uart, value);
        uart->divisor = (uart->divisor & 0xFF00) | value;
        break;
    case REG_IER:
        if (!dlab)
            uart_write_ier(uart, value);
        else
            uart->divisor = (uint16_t)((uart->divisor & 0x00FF) | value << 8);
        break;
    case REG_IIR_FCR:
        uart_write_fcr(uart, value);
        break;
    case REG_LCR:
        uart->lcr = value;
        break;
    case REG_MCR:
        uart_write_mcr(uart, value);
        break;
    case REG_SCR:
        uart->scr = value;
        break;
    default:
        break; // LSR and MSR: factory test only
    }
    return BUS_OK;
}

static uint64_t uart_read(void *dev, uint64_t offset, unsigned size)
{
    struct uart16550 *uart = dev;
    uint8_t value = uart_read_register(uart, (unsigned)offset);

    (void)size;
    uart_update(uart);
    return value;
}

static enum bus_result uart_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct uart16550 *uart = dev;
    enum bus_result result = uart_write_register(uart, (unsigned)offset, (uint8_t)value);

    (void)size;
    uart_update(uart);
    return result;
}

static const struct device_ops uart_ops = {
    .name = "uart16550",
    .max_size = 1,
    .read = uart_read,
    .write = uart_write,
};

static const struct vtimer_ops uart_tx_timer_ops = {.fire = uart_tx_fire};
static const struct vtimer_ops uart_rx_timer_ops = {.fire = uart_rx_fire};

void uart16550_init(struct uart16550 *uart, struct clock *clock, struct stream stream,
                    struct irq_line irq, bool paced)
{
    memset(uart, 0, sizeof(*uart));
    uart->clock = clock;
    uart->stream = stream;
    uart->irq = irq;
    uart->paced = paced;
    vtimer_init(&uart->tx_timer, &uart_tx_timer_ops, uart);
    vtimer_init(&uart->rx_timer, &uart_rx_timer_ops, uart);
    uart16550_reset(uart);
}

void uart16550_reset(struct uart16550 *uart)
{
    uart->ier = 0;
    uart->lcr = LCR_8N1;
    uart->mcr = 0;
    uart->msr = uart_modem_inputs(uart);
    uart->lsr = 0;
    uart->scr = 0;
    uart->fcr = 0;
    uart->divisor = DIVISOR_9600;
    uart->thre = true;
    uart->thre_pending = false;
    uart->tx_idle_ns = 0;
    vtimer_cancel(uart->clock, &uart->tx_timer);
    uart_clear_rx(uart);
    uart_update(uart);
}

bool uart16550_register(struct uart16550 *uart, struct bus *bus, uint16_t base)
{
    return bus_add_ports(bus, &uart_ops, uart, base, 8);
}
