// SPDX-License-Identifier: BSD-2-Clause
//
// Watchdog timer of Intel's 6300ESB. Runs on the VMM's only thread.
#include "vmm/dev/i6300esb.h"

// Configuration space.
enum {
    REG_CONFIG = 0x60,
    REG_LOCK = 0x68,
};

// "WDT Configuration Register", "WDT Lock Register"
enum {
    CONFIG_NO_OUTPUT = 0x20,
    CONFIG_FAST = 0x04,
    CONFIG_INTERRUPT = 0x03, // 0: by an IOAPIC's pin
    LOCK_FREE_RUN = 0x04,
    LOCK_ENABLE = 0x02,
    LOCK_LOCK = 0x01,
};

// Memory.
enum {
    REG_PRELOAD_1 = 0x00,
    REG_PRELOAD_2 = 0x04,
    REG_STATUS = 0x08,
    REG_RELOAD = 0x0C,
    REG_BYTES = 0x10,
};

enum {
    RELOAD_RELOAD = 0x100,
    RELOAD_TIMEOUT = 0x200,
    UNLOCK_1 = 0x80,
    UNLOCK_2 = 0x86,
    PRELOAD_BITS = 0xFFFFF,
};

#define PCI_CLOCK_NS 30
#define SHORTEST_NS  100000ULL

static const struct pci_id esb_id = { .vendor = 0x8086, .device = 0x25AB, .class = 0x0880 };

static void esb_begin(struct i6300esb *esb, enum i6300esb_stage stage, uint64_t ns)
{
    esb->stage = stage;
    esb->left_ns = ns;
    if (stage == I6300ESB_STOPPED)
        vtimer_cancel(esb->clock, &esb->alarm);
    else if (!esb->held)
        vtimer_arm(esb->clock, &esb->alarm, clock_now(esb->clock) + ns);
}

static void esb_stage(struct i6300esb *esb, enum i6300esb_stage stage)
{
    uint64_t ticks = esb->preload[stage == I6300ESB_SECOND];
    unsigned shift = (esb->pci.config[REG_CONFIG] & CONFIG_FAST) != 0 ? 5 : 15;
    uint64_t ns = (ticks << shift) * PCI_CLOCK_NS;

    esb_begin(esb, stage, ns > SHORTEST_NS ? ns : SHORTEST_NS);
}

static void esb_bite(struct i6300esb *esb)
{
    esb->bitten = true;
    esb_begin(esb, I6300ESB_STOPPED, 0);
    power_request(&esb->power, POWER_HUNG);
}

static void esb_expired(void *ctx, uint64_t now_ns)
{
    struct i6300esb *esb = ctx;

    (void)now_ns;
    if (esb->stage == I6300ESB_FIRST) {
        esb->first_ended = true;
        esb_stage(esb, I6300ESB_SECOND);
    } else if (esb->stage == I6300ESB_START ||
               (esb->pci.config[REG_CONFIG] & CONFIG_NO_OUTPUT) == 0) {
        esb_bite(esb);
    } else if ((esb->pci.config[REG_LOCK] & LOCK_FREE_RUN) != 0) {
        esb_stage(esb, I6300ESB_FIRST);
    } else {
        esb_begin(esb, I6300ESB_STOPPED, 0);
    }
}

static const struct vtimer_ops esb_alarm_ops = { .fire = esb_expired };

// Once locked, the lock register keeps what it has.
static void esb_config_written(void *dev, unsigned offset, unsigned size)
{
    struct i6300esb *esb = dev;
    uint8_t lock = esb->pci.config[REG_LOCK];
    bool enable = (lock & LOCK_ENABLE) != 0;

    (void)offset;
    (void)size;
    if ((lock & LOCK_LOCK) != 0)
        esb->pci.writable[REG_LOCK] = 0;
    if (enable == esb->enabled)
        return;
    esb->enabled = enable;
    if (enable)
        esb_stage(esb, I6300ESB_FIRST);
    else
        esb_begin(esb, I6300ESB_STOPPED, 0);
}

static const struct pci_function_ops esb_config_ops = { .written = esb_config_written };

static uint64_t esb_read(void *dev, uint64_t offset, unsigned size)
{
    const struct i6300esb *esb = dev;
    const uint32_t registers[] = {
        esb->preload[0], esb->preload[1], esb->first_ended, esb->bitten ? RELOAD_TIMEOUT : 0,
    };
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++, offset++)
        value |= (uint64_t)(registers[offset / 4] >> (offset % 4 * 8) & 0xFF) << (8 * i);
    return value;
}

static void esb_reload(struct i6300esb *esb, uint64_t value)
{
    if ((value & RELOAD_RELOAD) != 0 && esb->enabled)
        esb_stage(esb, I6300ESB_FIRST);
    if ((value & RELOAD_TIMEOUT) != 0)
        esb->bitten = false;
}

// A guarded register at its full width, behind the sequence. Any other write ends it.
static void esb_write_guarded(struct i6300esb *esb, uint64_t offset, unsigned size, uint64_t value)
{
    if (offset == REG_PRELOAD_1 && size == 4)
        esb->preload[0] = (uint32_t)value & PRELOAD_BITS;
    else if (offset == REG_PRELOAD_2 && size == 4)
        esb->preload[1] = (uint32_t)value & PRELOAD_BITS;
    else if (offset == REG_RELOAD && size >= 2)
        esb_reload(esb, value);
}

static enum bus_result esb_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct i6300esb *esb = dev;

    if (offset == REG_STATUS) {
        esb->first_ended &= (value & 1) == 0;
        esb->unlocked = 0;
    } else if (offset == REG_RELOAD && value == UNLOCK_1) {
        esb->unlocked = 1;
    } else if (offset == REG_RELOAD && value == UNLOCK_2 && esb->unlocked == 1) {
        esb->unlocked = 2;
    } else {
        if (esb->unlocked == 2)
            esb_write_guarded(esb, offset, size, value);
        esb->unlocked = 0;
    }
    return BUS_OK;
}

static const struct device_ops esb_ops = {
    .name = "watchdog", .max_size = 4, .read = esb_read, .write = esb_write,
};

void i6300esb_init(struct i6300esb *esb, struct clock *clock, struct power_sink power, bool bitten,
                   uint64_t start_ns)
{
    *esb = (struct i6300esb){
        .bitten = bitten, .start_ns = start_ns, .clock = clock, .power = power,
    };
    pci_function_init(&esb->pci, &esb_id, &esb_config_ops, esb);
    pci_function_add_bar(&esb->pci, 0, REG_BYTES, &esb_ops);
    vtimer_init(&esb->alarm, &esb_alarm_ops, esb);
    i6300esb_reset(esb);
}

void i6300esb_reset(struct i6300esb *esb)
{
    pci_function_reset(&esb->pci);
    esb->pci.config[REG_CONFIG] = esb->pci.config[REG_LOCK] = 0;
    esb->pci.writable[REG_CONFIG] = CONFIG_NO_OUTPUT | CONFIG_FAST | CONFIG_INTERRUPT;
    esb->pci.writable[REG_LOCK] = LOCK_FREE_RUN | LOCK_ENABLE | LOCK_LOCK;
    esb->preload[0] = esb->preload[1] = PRELOAD_BITS;
    esb->unlocked = 0;
    esb->enabled = esb->first_ended = false;
    esb_begin(esb, esb->start_ns != 0 ? I6300ESB_START : I6300ESB_STOPPED, esb->start_ns);
}

void i6300esb_hold(struct i6300esb *esb, bool held)
{
    uint64_t now = clock_now(esb->clock);

    if (held == esb->held)
        return;
    if (!held) {
        esb->held = false;
        esb_begin(esb, esb->stage, esb->left_ns);
    } else {
        esb->left_ns = esb->alarm.deadline_ns > now ? esb->alarm.deadline_ns - now : 0;
        esb->held = true;
        vtimer_cancel(esb->clock, &esb->alarm);
    }
}
