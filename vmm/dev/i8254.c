// SPDX-License-Identifier: BSD-2-Clause
//
// i8254 and port 0x61. Owned by the VMM's only thread; no lock.
//
// The one clock that the chip takes to load a count is not modelled: a count starts with the write.
#include "vmm/dev/i8254.h"

#include <string.h>

enum {
    PORT_COUNTERS = 0x40,
    PORT_SYSTEM = 0x61,
    OFFSET_CONTROL = 3,

    REFRESH_TICKS = 18,    // 15 us: what channel 1 is programmed to on every PC
    MIN_PERIOD_TICKS = 32, // 27 us
};

// "Control Word Format" and "Read-Back Command Format"
enum {
    ACCESS_LATCH = 0,
    ACCESS_LOW = 1,
    ACCESS_HIGH = 2,
    ACCESS_BOTH = 3,
    SELECT_READ_BACK = 3,
    READ_BACK_NO_COUNT = 0x20,
    READ_BACK_NO_STATUS = 0x10,
    STATUS_OUT = 0x80,
    STATUS_NULL_COUNT = 0x40,
};

// Port 0x61
enum {
    SYSTEM_GATE2 = 0x01,
    SYSTEM_WRITABLE = 0x0F,
    SYSTEM_REFRESH = 0x10,
    SYSTEM_OUT2 = 0x20,
};

static int64_t i8254_tick(uint64_t now_ns)
{
    return (int64_t)clock_ns_to_ticks(now_ns, I8254_HZ);
}

static bool channel_is_periodic(const struct i8254_channel *ch)
{
    return ch->mode == 2 || ch->mode == 3;
}

static bool channel_is_triggered(const struct i8254_channel *ch)
{
    return ch->mode == 1 || ch->mode == 5;
}

// Mode 3: OUT is high for the longer half of an odd count.
static int64_t channel_high_ticks(int64_t period)
{
    return (period + 1) / 2;
}

static int64_t channel_elapsed(const struct i8254_channel *ch, int64_t now)
{
    return ch->running ? now - ch->start : ch->held;
}

static void channel_load(struct i8254_channel *ch, int64_t at)
{
    ch->period = ch->reload;
    ch->start = at;
    ch->counted = 0;
    ch->held = 0;
    ch->loaded = true;
    ch->null_count = false;
    ch->running = ch->gate || channel_is_triggered(ch);
}

// Load a count that was written during a period that has ended meanwhile.
static void channel_sync(struct i8254_channel *ch, int64_t now)
{
    if (!channel_is_periodic(ch) || !ch->null_count || !ch->running || now < ch->change_at)
        return;
    // In mode 3 the new count may start with the low half.
    bool low_half = (ch->change_at - ch->start) % ch->period != 0;
    channel_load(ch, low_half ? ch->change_at - channel_high_ticks(ch->reload) : ch->change_at);
}

static bool channel_out(const struct i8254_channel *ch, int64_t now)
{
    int64_t elapsed = channel_elapsed(ch, now);

    if (!ch->loaded)
        return ch->mode != 0;
    switch (ch->mode) {
    case 0:
    case 1:
        return elapsed >= ch->period;
    case 2:
        return !ch->running || elapsed % ch->period != ch->period - 1;
    case 3:
        return !ch->running || elapsed % ch->period < channel_high_ticks(ch->period);
    default:
        return elapsed != ch->period;
    }
}

// The counting element as the data bus shows it.
static uint16_t channel_count(const struct i8254_channel *ch, int64_t now)
{
    int64_t modulus = ch->bcd ? 10000 : 65536;
    int64_t elapsed = channel_elapsed(ch, now);
    int64_t count = ch->period;

    if (!ch->loaded) {
        count = ch->reload;
    } else if (ch->mode == 2) {
        count -= elapsed % ch->period;
    } else if (ch->mode == 3) {
        // Counts down by two, once for each half.
        int64_t high = channel_high_ticks(ch->period);
        int64_t at = elapsed % ch->period;
        count = (ch->period & ~1LL) - 2 * (at < high ? at : at - high);
    } else {
        count -= elapsed;
    }
    count %= modulus;
    if (count < 0)
        count += modulus;
    if (!ch->bcd)
        return (uint16_t)count;
    return (uint16_t)(count / 1000 << 12 | count / 100 % 10 << 8 | count / 10 % 10 << 4 |
                      count % 10);
}

// The first tick after `now` at which OUT of channel 0 rises, or -1. Its gate never moves.
static int64_t channel_next_rise(const struct i8254_channel *ch, int64_t now)
{
    if (!ch->loaded)
        return -1;
    int64_t elapsed = now - ch->start;
    int64_t period_end = ch->start + (elapsed / ch->period + 1) * ch->period;

    switch (ch->mode) {
    case 0:
        return elapsed < ch->period ? ch->start + ch->period : -1;
    case 2:
        return period_end;
    case 3:
        // A new count that is loaded in the middle sets the length of the low half.
        if (ch->null_count && ch->change_at < period_end)
            return ch->change_at + ch->reload - channel_high_ticks(ch->reload);
        return period_end;
    case 4:
        return elapsed <= ch->period ? ch->start + ch->period + 1 : -1;
    default:
        return -1;
    }
}

// Drive IRQ 0. The line is a little kinder than OUT: once risen it stays until the next pulse, so
// that a processor that was away for most of a period still finds the request.
static void i8254_update_irq(struct i8254 *pit, uint64_t now_ns)
{
    const struct i8254_channel *ch = &pit->ch[0];
    int64_t now = i8254_tick(now_ns);
    bool waiting = ch->mode == 0 && (!ch->loaded || now - ch->start < ch->period);
    int64_t rise = channel_next_rise(ch, now);

    if (waiting)
        pit->quiet = false;
    irq_set(&pit->irq, !waiting && !pit->quiet);
    // No processor can serve pulses closer than this: they coalesce, as they would in the PIC.
    if (channel_is_periodic(ch) && ch->loaded && ch->period < MIN_PERIOD_TICKS)
        rise = now + MIN_PERIOD_TICKS;
    if (pit->deaf)
        rise = -1;
    uint64_t next = rise < 0 ? CLOCK_NEVER : clock_ticks_to_ns((uint64_t)rise, I8254_HZ);
    if (pit->ticks.owed > 0 && pit->ticks.again_ns < next)
        next = pit->ticks.again_ns;
    vtimer_arm(pit->clock, &pit->timer, next);
}

// OUT of channel 0 has risen at least once since the timer was armed, or such a tick is owed: one
// edge, however late.
static void i8254_fire(void *ctx, uint64_t now_ns)
{
    struct i8254 *pit = ctx;
    struct i8254_channel *ch = &pit->ch[0];
    int64_t now = i8254_tick(now_ns);

    pit->quiet = false;
    channel_sync(ch, now);
    if (channel_is_periodic(ch) && ch->loaded) {
        int64_t periods = (now - ch->start) / ch->period;
        ticks_due(&pit->ticks, (uint64_t)(periods - ch->counted), I8254_HZ / (uint64_t)ch->period);
        ch->counted = periods;
    }
    bool taken = irq_pulse(&pit->irq);
    ticks_asked(&pit->ticks, taken, now_ns, clock_ticks_to_ns((uint64_t)ch->period, I8254_HZ));
    i8254_update_irq(pit, now_ns);
}

static const struct vtimer_ops i8254_timer_ops = {.fire = i8254_fire};

// Bring all that depends on time up to date before an access. Returns the tick.
static int64_t i8254_sync(struct i8254 *pit)
{
    uint64_t now_ns = clock_now(pit->clock);
    int64_t now = i8254_tick(now_ns);

    if (pit->timer.deadline_ns <= now_ns) {
        vtimer_cancel(pit->clock, &pit->timer);
        i8254_fire(pit, now_ns);
    }
    for (unsigned i = 0; i < 3; i++)
        channel_sync(&pit->ch[i], now);
    return now;
}

static void channel_set_gate(struct i8254_channel *ch, bool gate, int64_t now)
{
    if (gate == ch->gate)
        return;
    int64_t elapsed = channel_elapsed(ch, now);
    ch->gate = gate;
    if (channel_is_triggered(ch)) {
        if (gate && ch->written)
            channel_load(ch, now);
    } else if (channel_is_periodic(ch)) {
        ch->held = elapsed;
        ch->running = false;
        if (gate && ch->written)
            channel_load(ch, now);
    } else if (ch->loaded) {
        ch->held = elapsed;
        ch->start = now - elapsed;
        ch->running = gate;
    }
}

static int64_t channel_decode(const struct i8254_channel *ch, uint16_t raw)
{
    int64_t count = raw;

    if (ch->bcd)
        count = (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15);
    if (count == 0)
        return ch->bcd ? 10000 : 65536;
    return count;
}

static void channel_set_count(struct i8254_channel *ch, uint16_t raw, int64_t now)
{
    ch->reload = channel_decode(ch, raw);
    ch->written = true;
    ch->null_count = true;
    if (channel_is_triggered(ch))
        return; // loaded by the next trigger
    if (!channel_is_periodic(ch) || !ch->loaded) {
        // With the gate of a periodic mode low, it is the trigger that loads.
        if (ch->gate || !channel_is_periodic(ch))
            channel_load(ch, now);
        return;
    }
    int64_t at = (now - ch->start) % ch->period;
    int64_t high = channel_high_ticks(ch->period);
    bool first_half = ch->mode == 3 && at < high;
    ch->change_at = now - at + (first_half ? high : ch->period);
}

static void channel_write(struct i8254_channel *ch, uint8_t value, int64_t now)
{
    switch (ch->access) {
    case ACCESS_LOW:
        channel_set_count(ch, value, now);
        break;
    case ACCESS_HIGH:
        channel_set_count(ch, (uint16_t)(value << 8), now);
        break;
    default:
        ch->write_high = !ch->write_high;
        if (ch->write_high) {
            ch->write_low = value;
            // "Mode 0": writing the first byte stops the count and lowers OUT.
            if (ch->mode == 0)
                ch->loaded = ch->running = false;
        } else {
            channel_set_count(ch, (uint16_t)(value << 8 | ch->write_low), now);
        }
        break;
    }
}

static uint8_t channel_read(struct i8254_channel *ch, int64_t now)
{
    if (ch->status_latched) {
        ch->status_latched = false;
        return ch->status;
    }
    if (ch->latched != 0) {
        bool high = ch->access == ACCESS_HIGH || (ch->access == ACCESS_BOTH && ch->latched == 1);
        ch->latched--;
        return (uint8_t)(high ? ch->latch >> 8 : ch->latch);
    }
    uint16_t count = channel_count(ch, now);
    bool high = ch->access == ACCESS_HIGH || (ch->access == ACCESS_BOTH && ch->read_high);
    if (ch->access == ACCESS_BOTH)
        ch->read_high = !ch->read_high;
    return (uint8_t)(high ? count >> 8 : count);
}

static void channel_latch_count(struct i8254_channel *ch, int64_t now)
{
    if (ch->latched != 0)
        return; // the first latch holds until it is read
    ch->latch = channel_count(ch, now);
    ch->latched = ch->access == ACCESS_BOTH ? 2 : 1;
}

static void channel_latch_status(struct i8254_channel *ch, int64_t now)
{
    if (ch->status_latched)
        return;
    ch->status = (uint8_t)((channel_out(ch, now) ? STATUS_OUT : 0) |
                           (ch->null_count ? STATUS_NULL_COUNT : 0) | ch->access << 4 |
                           ch->mode << 1 | ch->bcd);
    ch->status_latched = true;
}

static void channel_set_mode(struct i8254_channel *ch, uint8_t value)
{
    uint8_t mode = value >> 1 & 7;

    ch->access = value >> 4 & 3;
    ch->mode = mode > 5 ? mode - 4 : mode; // 6 and 7 are 2 and 3
    ch->bcd = (value & 1) != 0;
    ch->written = false;
    ch->loaded = false;
    ch->running = false;
    ch->held = 0;
    ch->null_count = true;
    ch->write_high = false;
    ch->read_high = false;
    ch->latched = 0;
    ch->status_latched = false;
}

static void i8254_control(struct i8254 *pit, uint8_t value, int64_t now)
{
    unsigned select = value >> 6;

    if (select == SELECT_READ_BACK) {
        for (unsigned i = 0; i < 3; i++) {
            if ((value >> (i + 1) & 1) == 0)
                continue;
            if ((value & READ_BACK_NO_COUNT) == 0)
                channel_latch_count(&pit->ch[i], now);
            if ((value & READ_BACK_NO_STATUS) == 0)
                channel_latch_status(&pit->ch[i], now);
        }
    } else if ((value >> 4 & 3) == ACCESS_LATCH) {
        channel_latch_count(&pit->ch[select], now);
    } else {
        channel_set_mode(&pit->ch[select], value);
    }
}

static uint64_t i8254_read(void *dev, uint64_t offset, unsigned size)
{
    struct i8254 *pit = dev;

    (void)size;
    if (offset == OFFSET_CONTROL)
        return UINT64_MAX; // "No-Operation (3-State)"
    return channel_read(&pit->ch[offset], i8254_sync(pit));
}

static enum bus_result i8254_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8254 *pit = dev;
    int64_t now = i8254_sync(pit);

    (void)size;
    if (offset == OFFSET_CONTROL)
        i8254_control(pit, (uint8_t)value, now);
    else
        channel_write(&pit->ch[offset], (uint8_t)value, now);
    if (!pit->ch[0].loaded || pit->ch[0].null_count) // another timer from now on
        ticks_forget(&pit->ticks);
    i8254_update_irq(pit, clock_now(pit->clock));
    return BUS_OK;
}

static uint64_t system_read(void *dev, uint64_t offset, unsigned size)
{
    struct i8254 *pit = dev;
    int64_t now = i8254_sync(pit);
    uint8_t value = pit->port61;

    (void)offset;
    (void)size;
    if ((now / REFRESH_TICKS & 1) != 0)
        value |= SYSTEM_REFRESH;
    if (channel_out(&pit->ch[2], now))
        value |= SYSTEM_OUT2;
    return value;
}

static enum bus_result system_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8254 *pit = dev;
    int64_t now = i8254_sync(pit);

    (void)offset;
    (void)size;
    pit->port61 = value & SYSTEM_WRITABLE;
    channel_set_gate(&pit->ch[2], (value & SYSTEM_GATE2) != 0, now);
    return BUS_OK;
}

static const struct device_ops i8254_ops = {
    .name = "i8254",
    .max_size = 1,
    .read = i8254_read,
    .write = i8254_write,
};

static const struct device_ops system_ops = {
    .name = "control port B",
    .max_size = 1,
    .read = system_read,
    .write = system_write,
};

void i8254_init(struct i8254 *pit, struct clock *clock, struct irq_line irq)
{
    memset(pit, 0, sizeof(*pit));
    pit->clock = clock;
    pit->irq = irq;
    vtimer_init(&pit->timer, &i8254_timer_ops, pit);
    i8254_reset(pit);
}

// What a BIOS programs.
static const struct {
    uint8_t control;
    uint16_t count;
    bool gate;
} bios_state[3] = {
    {.control = 0x36, .count = 0, .gate = true},             // mode 3, 18.2 Hz
    {.control = 0x74, .count = REFRESH_TICKS, .gate = true}, // mode 2
    {.control = 0xB6, .count = 0, .gate = false},            // mode 3, silent
};

void i8254_reset(struct i8254 *pit)
{
    uint64_t now_ns = clock_now(pit->clock);
    int64_t now = i8254_tick(now_ns);

    pit->port61 = 0;
    pit->quiet = true;
    ticks_forget(&pit->ticks);
    for (unsigned i = 0; i < 3; i++) {
        struct i8254_channel *ch = &pit->ch[i];
        ch->gate = bios_state[i].gate;
        channel_set_mode(ch, bios_state[i].control & 0x3F);
        channel_set_count(ch, bios_state[i].count, now);
    }
    i8254_update_irq(pit, now_ns);
}

void i8254_cut(struct i8254 *pit, bool cut)
{
    struct i8254_channel *ch = &pit->ch[0];
    int64_t now = i8254_sync(pit);

    if (cut == pit->deaf)
        return;
    pit->deaf = cut;
    ticks_forget(&pit->ticks);
    if (channel_is_periodic(ch) && ch->loaded) // what has passed meanwhile was nobody's
        ch->counted = (now - ch->start) / ch->period;
    i8254_update_irq(pit, clock_now(pit->clock));
}

bool i8254_register(struct i8254 *pit, struct bus *bus)
{
    return bus_add_ports(bus, &i8254_ops, pit, PORT_COUNTERS, 4) &&
           bus_add_ports(bus, &system_ops, pit, PORT_SYSTEM, 1);
}
