// SPDX-License-Identifier: BSD-2-Clause
//
// I/O APIC. Owned by the VMM's only thread; no lock.
#include "vmm/dev/ioapic.h"

#include <string.h>

// "Memory Mapped Registers for Accessing IOAPIC Registers"
enum {
    IOREGSEL = 0x00,
    IOWIN = 0x10,
    IOEOI = 0x40,
};

// "IOAPIC Registers"
enum {
    REG_ID = 0x00,
    REG_VERSION = 0x01,
    REG_ARBITRATION = 0x02,
    REG_REDIR = 0x10,
};

// "I/O Redirection Table Registers"
#define REDIR_VECTOR     0xFFULL
#define REDIR_DELIVERY   (7ULL << 8)
#define REDIR_NMI        (4ULL << 8)
#define REDIR_LOGICAL    (1ULL << 11)
#define REDIR_REMOTE_IRR (1ULL << 14)
#define REDIR_LEVEL      (1ULL << 15)
#define REDIR_MASKED     (1ULL << 16)
#define REDIR_DEST_SHIFT 56
#define REDIR_LOW_BITS   0x1AFFFULL // writable: all but delivery status and remote IRR
#define REDIR_HIGH_BITS  0xFF000000ULL

#define DELIVERY_LOWEST 1U

#define MSI_ADDRESS    0xFEE00000ULL
#define MSI_DEST_SHIFT 12
#define MSI_LOGICAL    (1U << 2)
#define MSI_ASSERT     (1U << 14)
#define MSI_LEVEL      (1U << 15)

// Only Fixed and Lowest Priority interrupts are ended by an EOI, so only they can be level
// triggered; the other modes act on the edge whatever the trigger bit says.
static bool redir_is_level(uint64_t redir)
{
    return (redir & REDIR_LEVEL) != 0 && (redir & REDIR_DELIVERY) >> 8 <= DELIVERY_LOWEST;
}

static enum irq_edge ioapic_send(struct ioapic *ioapic, uint64_t redir)
{
    bool level = redir_is_level(redir);
    uint64_t addr = MSI_ADDRESS | (redir >> REDIR_DEST_SHIFT) << MSI_DEST_SHIFT;
    uint32_t data = (uint32_t)(redir & (REDIR_VECTOR | REDIR_DELIVERY));

    if ((redir & REDIR_LOGICAL) != 0)
        addr |= MSI_LOGICAL;
    if (level)
        data |= MSI_ASSERT | MSI_LEVEL;
    return ioapic->ops->msi(ioapic->ctx, addr, data, level) ? IRQ_EDGE_WAITED : IRQ_EDGE_NEW;
}

// Send for a level-triggered pin whose line is asserted, unless the last one is still in service.
static void ioapic_service_level(struct ioapic *ioapic, unsigned pin)
{
    uint64_t redir = ioapic->redir[pin];

    if (!redir_is_level(redir) || (redir & (REDIR_MASKED | REDIR_REMOTE_IRR)) != 0 ||
        (ioapic->lines >> pin & 1) == 0)
        return;
    ioapic->redir[pin] |= REDIR_REMOTE_IRR;
    ioapic_send(ioapic, redir);
}

enum irq_edge ioapic_set_irq(struct ioapic *ioapic, unsigned pin, bool level)
{
    if (pin >= IOAPIC_PINS || (ioapic->lines >> pin & 1) == level)
        return IRQ_EDGE_MASKED;
    uint64_t redir = ioapic->redir[pin];
    ioapic->lines ^= 1U << pin;
    if (!level || (redir & REDIR_MASKED) != 0)
        return IRQ_EDGE_MASKED;
    if (!redir_is_level(redir))
        return ioapic_send(ioapic, redir);
    ioapic_service_level(ioapic, pin);
    return (redir & REDIR_REMOTE_IRR) != 0 ? IRQ_EDGE_WAITED : IRQ_EDGE_NEW;
}

bool ioapic_has_nmi(const struct ioapic *ioapic)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        if ((ioapic->redir[pin] & (REDIR_MASKED | REDIR_DELIVERY)) == REDIR_NMI)
            return true;
    }
    return false;
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t redir = ioapic->redir[pin];
        if ((redir & REDIR_REMOTE_IRR) == 0 || (redir & REDIR_VECTOR) != vector)
            continue;
        ioapic->redir[pin] &= ~REDIR_REMOTE_IRR;
        ioapic_service_level(ioapic, pin);
    }
}

static uint32_t ioapic_read_register(const struct ioapic *ioapic)
{
    unsigned n = ioapic->index - REG_REDIR;

    switch (ioapic->index) {
    case REG_ID:
    case REG_ARBITRATION:
        return (uint32_t)ioapic->id << 24;
    case REG_VERSION:
        return (IOAPIC_PINS - 1) << 16 | IOAPIC_VERSION;
    default:
        if (ioapic->index < REG_REDIR || n / 2 >= IOAPIC_PINS)
            return 0;
        return (uint32_t)(ioapic->redir[n / 2] >> (n % 2 * 32));
    }
}

static void ioapic_write_redir(struct ioapic *ioapic, unsigned pin, bool high, uint32_t value)
{
    uint64_t redir = ioapic->redir[pin];

    if (high) {
        redir = (redir & UINT32_MAX) | (value & REDIR_HIGH_BITS) << 32;
    } else {
        redir = (redir & ~REDIR_LOW_BITS) | (value & REDIR_LOW_BITS);
        // Turning a pin to edge is how software gets rid of a remote IRR whose EOI was lost.
        if (!redir_is_level(redir))
            redir &= ~REDIR_REMOTE_IRR;
    }
    ioapic->redir[pin] = redir;
    ioapic_service_level(ioapic, pin);
}

static void ioapic_write_register(struct ioapic *ioapic, uint32_t value)
{
    unsigned n = ioapic->index - REG_REDIR;

    if (ioapic->index == REG_ID)
        ioapic->id = value >> 24 & 0x0F;
    else if (ioapic->index >= REG_REDIR && n / 2 < IOAPIC_PINS)
        ioapic_write_redir(ioapic, n / 2, n % 2 == 1, value);
}

static uint64_t ioapic_read(void *dev, uint64_t offset, unsigned size)
{
    const struct ioapic *ioapic = dev;

    (void)size;
    switch (offset) {
    case IOREGSEL:
        return ioapic->index;
    case IOWIN:
        return ioapic_read_register(ioapic);
    default:
        return 0;
    }
}

static enum bus_result ioapic_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct ioapic *ioapic = dev;

    (void)size;
    switch (offset) {
    case IOREGSEL:
        ioapic->index = (uint8_t)value;
        break;
    case IOWIN:
        ioapic_write_register(ioapic, (uint32_t)value);
        break;
    case IOEOI:
        ioapic_eoi(ioapic, (uint8_t)value);
        break;
    default:
        break;
    }
    return BUS_OK;
}

// All sizes are taken whole: a register must not be written in four steps.
static const struct device_ops ioapic_mmio_ops = {
    .name = "IOAPIC",
    .max_size = 8,
    .read = ioapic_read,
    .write = ioapic_write,
};

void ioapic_init(struct ioapic *ioapic, const struct ioapic_ops *ops, void *ctx)
{
    memset(ioapic, 0, sizeof(*ioapic));
    ioapic->ops = ops;
    ioapic->ctx = ctx;
    ioapic_reset(ioapic);
}

void ioapic_reset(struct ioapic *ioapic)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        ioapic->redir[pin] = REDIR_MASKED;
    ioapic->index = 0;
    ioapic->id = 0;
}

bool ioapic_register(struct ioapic *ioapic, struct bus *bus)
{
    return bus_add_mmio(bus, &ioapic_mmio_ops, ioapic, IOAPIC_BASE, IOAPIC_SIZE);
}
