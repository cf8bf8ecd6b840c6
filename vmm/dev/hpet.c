// SPDX-License-Identifier: BSD-2-Clause
//
// HPET. Owned by the VMM's only thread; no lock.
#include "vmm/dev/hpet.h"

#include <string.h>

// "Register Overview"
enum {
    REG_CAPABILITIES = 0x000,
    REG_CONFIG = 0x010,
    REG_STATUS = 0x020,
    REG_COUNTER = 0x0F0,
    REG_TIMERS = 0x100,
    TIMER_STRIDE = 0x20,
    TIMER_CONFIG = 0x00,
    TIMER_COMPARATOR = 0x08,
};

// "General Configuration Register"
enum {
    CONFIG_ENABLE = 1 << 0,
    CONFIG_LEGACY = 1 << 1,
    CONFIG_BITS = CONFIG_ENABLE | CONFIG_LEGACY,
};

// "Timer N Configuration and Capabilities Register"
enum {
    TIMER_LEVEL = 1 << 1,
    TIMER_ENABLE = 1 << 2,
    TIMER_PERIODIC = 1 << 3,
    TIMER_CAN_PERIODIC = 1 << 4,
    TIMER_CAN_64 = 1 << 5,
    TIMER_SET_VALUE = 1 << 6, // reads 0
    TIMER_32 = 1 << 8,
    TIMER_ROUTE_SHIFT = 9,
    TIMER_ROUTE = 31 << TIMER_ROUTE_SHIFT,

    TIMER_BITS = TIMER_LEVEL | TIMER_ENABLE | TIMER_PERIODIC | TIMER_32,
    TIMER_CAPABILITIES = TIMER_CAN_PERIODIC | TIMER_CAN_64,
};
#define TIMER_ROUTES (((1ull << HPET_PINS) - 1) << HPET_FIRST_PIN)

#define TICK_FS          (HPET_TICK_NS * 1000000ull)
#define TICKS_PER_SECOND (NS_PER_SEC / HPET_TICK_NS)
#define TICKS_32         (1ull << 32)
#define MIN_PERIOD_NS    27000u // no processor can serve a timer that comes again sooner

static bool hpet_runs(const struct hpet *hpet)
{
    return (hpet->config & CONFIG_ENABLE) != 0;
}

static bool hpet_replaces(const struct hpet *hpet)
{
    return (hpet->config & CONFIG_BITS) == CONFIG_BITS;
}

static uint64_t hpet_count(const struct hpet *hpet, uint64_t now_ns)
{
    return hpet->count + (hpet_runs(hpet) ? (now_ns - hpet->base_ns) / HPET_TICK_NS : 0);
}

static uint64_t timer_mask(const struct hpet_timer *t)
{
    return (t->config & TIMER_32) != 0 ? UINT32_MAX : UINT64_MAX;
}

// The time that lies `ticks` behind `ns`.
static uint64_t ticks_behind(uint64_t ns, uint64_t ticks)
{
    return ticks < (CLOCK_NEVER - ns) / HPET_TICK_NS ? ns + ticks * HPET_TICK_NS : CLOCK_NEVER;
}

// When the counter next is what the comparator is; at once if it is so now.
static void timer_aim(const struct hpet *hpet, struct hpet_timer *t, uint64_t now_ns)
{
    uint64_t left = (t->compare - hpet_count(hpet, now_ns)) & timer_mask(t);
    uint64_t tick_ns = now_ns - (now_ns - hpet->base_ns) % HPET_TICK_NS;

    t->due_ns = hpet_runs(hpet) ? ticks_behind(tick_ns, left) : CLOCK_NEVER;
}

static void hpet_aim(struct hpet *hpet, uint64_t now_ns)
{
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        timer_aim(hpet, &hpet->timer[n], now_ns);
}

// Where the timer's interrupt goes, if it may have one; or NULL.
static const struct irq_line *timer_line(const struct hpet *hpet, unsigned n)
{
    uint32_t config = hpet->timer[n].config, pin = config >> TIMER_ROUTE_SHIFT & 31;

    if (!hpet_runs(hpet) || (config & TIMER_ENABLE) == 0)
        return NULL;
    if (n < HPET_LEGACY_TIMERS && hpet_replaces(hpet))
        return &hpet->lines.isa[n];
    return (TIMER_ROUTES >> pin & 1) != 0 ? &hpet->lines.pin[n][pin - HPET_FIRST_PIN] : NULL;
}

static bool line_is_isa(const struct hpet *hpet, const struct irq_line *line)
{
    return line == &hpet->lines.isa[0] || line == &hpet->lines.isa[1];
}

// A level is the timer's status. An edge at an ISA interrupt stays high until the next one, so that
// the PIC, which forgets a request whose line falls, still has it for a processor that was away.
static void timer_drive(struct hpet *hpet, unsigned n)
{
    struct hpet_timer *t = &hpet->timer[n];
    const struct irq_line *line = timer_line(hpet, n);
    bool level = (t->config & TIMER_LEVEL) != 0;
    bool high = level ? (hpet->status >> n & 1) != 0 : t->high != NULL;

    if (t->high != NULL && (!high || t->high != line)) {
        irq_set(t->high, false);
        t->high = NULL;
    }
    if (level && high && line != NULL && t->high == NULL) {
        irq_set(line, true);
        t->high = line;
    }
}

// A level that is high already will not rise.
static bool timer_waits(const struct hpet *hpet, unsigned n)
{
    return (hpet->timer[n].config & TIMER_LEVEL) != 0 && (hpet->status >> n & 1) != 0;
}

// Puts the alarm to the first event that anybody would hear of.
static void hpet_update(struct hpet *hpet)
{
    uint64_t first = CLOCK_NEVER;

    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        const struct hpet_timer *t = &hpet->timer[n];
        uint64_t due = t->due_ns;
        timer_drive(hpet, n);
        if (timer_line(hpet, n) == NULL || timer_waits(hpet, n))
            continue;
        if ((t->config & TIMER_PERIODIC) != 0 && due < t->fired_ns + MIN_PERIOD_NS)
            due = t->fired_ns + MIN_PERIOD_NS;
        if (t->ticks.owed > 0 && t->ticks.again_ns < due)
            due = t->ticks.again_ns;
        if (due < first)
            first = due;
    }
    vtimer_arm(hpet->clock, &hpet->alarm, first);
}

// The counter has met the comparator at least once. A periodic one moves on beyond the count.
static void timer_match(struct hpet *hpet, unsigned n, uint64_t now_ns)
{
    struct hpet_timer *t = &hpet->timer[n];
    uint64_t late = (now_ns - t->due_ns) / HPET_TICK_NS, period = t->period;

    if ((t->config & TIMER_PERIODIC) == 0 || period == 0) {
        // Again when the counter has come round, which one of 64 bits never does.
        uint64_t round = (late / TICKS_32 + 1) * TICKS_32;
        t->due_ns = (t->config & TIMER_32) != 0 ? ticks_behind(t->due_ns, round) : CLOCK_NEVER;
        return;
    }
    uint64_t periods = late / period + 1;
    t->compare = (t->compare + periods * period) & timer_mask(t);
    // No more than `late` and one period, of which either may be longer than time is.
    t->due_ns = ticks_behind(ticks_behind(t->due_ns, (periods - 1) * period), period);
    if (timer_line(hpet, n) != NULL)
        ticks_due(&t->ticks, periods, TICKS_PER_SECOND / period);
}

// One interrupt, however late. A level is there until software clears the status, and taken then.
static void timer_fire(struct hpet *hpet, unsigned n, uint64_t now_ns)
{
    struct hpet_timer *t = &hpet->timer[n];
    const struct irq_line *line;

    if (t->due_ns <= now_ns)
        timer_match(hpet, n, now_ns);
    t->fired_ns = now_ns;
    timer_drive(hpet, n);
    line = timer_line(hpet, n);
    if ((t->config & TIMER_LEVEL) != 0) {
        hpet->status |= 1u << n;
    } else if (line != NULL) {
        bool taken = irq_pulse(line);
        ticks_asked(&t->ticks, taken, now_ns, ticks_behind(0, t->period));
        if (line_is_isa(hpet, line))
            t->high = line;
        else
            irq_set(line, false);
    }
}

static bool timer_owes(const struct hpet *hpet, unsigned n, uint64_t now_ns)
{
    const struct ticks *ticks = &hpet->timer[n].ticks;

    return ticks->owed > 0 && ticks->again_ns <= now_ns && !timer_waits(hpet, n);
}

static void hpet_sync(struct hpet *hpet, uint64_t now_ns)
{
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        if (hpet->timer[n].due_ns <= now_ns || timer_owes(hpet, n, now_ns))
            timer_fire(hpet, n, now_ns);
    }
}

static void hpet_alarm(void *ctx, uint64_t now_ns)
{
    hpet_sync(ctx, now_ns);
    hpet_update(ctx);
}

static const struct vtimer_ops hpet_alarm_ops = { .fire = hpet_alarm };

static unsigned timer_of(uint64_t reg)
{
    return (unsigned)((reg - REG_TIMERS) / TIMER_STRIDE);
}

static bool timer_has(uint64_t reg, unsigned which)
{
    return reg >= REG_TIMERS && timer_of(reg) < HPET_TIMERS && reg % TIMER_STRIDE == which;
}

static uint64_t register_read(const struct hpet *hpet, uint64_t reg, uint64_t now_ns)
{
    switch (reg) {
    case REG_CAPABILITIES:
        return TICK_FS << 32 | HPET_ID;
    case REG_CONFIG:
        return hpet->config;
    case REG_STATUS:
        return hpet->status;
    case REG_COUNTER:
        return hpet_count(hpet, now_ns);
    default:
        if (timer_has(reg, TIMER_CONFIG))
            return TIMER_ROUTES << 32 | TIMER_CAPABILITIES | hpet->timer[timer_of(reg)].config;
        return timer_has(reg, TIMER_COMPARATOR) ? hpet->timer[timer_of(reg)].compare : 0;
    }
}

static void write_general_config(struct hpet *hpet, uint32_t config, uint64_t now_ns)
{
    uint64_t count = hpet_count(hpet, now_ns);
    bool ran = hpet_runs(hpet);

    hpet->config = config & CONFIG_BITS;
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        ticks_forget(&hpet->timer[n].ticks);
    if (hpet_runs(hpet) != ran) {
        hpet->count = count;
        hpet->base_ns = now_ns;
        hpet_aim(hpet, now_ns);
    }
    irq_set(&hpet->lines.replace, hpet_replaces(hpet));
}

static void write_status(struct hpet *hpet, uint32_t cleared, uint64_t now_ns)
{
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        struct hpet_timer *t = &hpet->timer[n];
        if ((hpet->status & cleared & 1u << n) != 0)
            ticks_asked(&t->ticks, true, now_ns, ticks_behind(0, t->period));
    }
    hpet->status &= ~cleared;
}

static void write_counter(struct hpet *hpet, uint64_t count, uint64_t now_ns)
{
    hpet->count = count;
    hpet->base_ns = now_ns;
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        ticks_forget(&hpet->timer[n].ticks);
    hpet_aim(hpet, now_ns);
}

// A pin to which the timer cannot be connected leaves the route as it was.
static void write_timer_config(struct hpet *hpet, unsigned n, uint32_t value, uint64_t now_ns)
{
    struct hpet_timer *t = &hpet->timer[n];
    uint32_t old = t->config, route = value & TIMER_ROUTE;

    if ((TIMER_ROUTES >> (route >> TIMER_ROUTE_SHIFT) & 1) == 0)
        route = old & TIMER_ROUTE;
    t->config = (value & TIMER_BITS) | route;
    t->set_value = (value & TIMER_SET_VALUE) != 0 && (value & TIMER_PERIODIC) != 0;
    t->compare &= timer_mask(t);
    t->period &= timer_mask(t);
    ticks_forget(&t->ticks);
    if (((old ^ t->config) & TIMER_LEVEL) != 0 && t->high != NULL) {
        irq_set(t->high, false); // the edge that was; a level will drive it again
        t->high = NULL;
    }
    if (((old ^ t->config) & (TIMER_PERIODIC | TIMER_32)) != 0)
        timer_aim(hpet, t, now_ns);
}

static uint64_t merged(uint64_t old, uint64_t value, uint64_t mask)
{
    return (old & ~mask) | (value & mask);
}

// In periodic mode it is the period that is written, the comparator only behind TIMER_SET_VALUE.
static void write_comparator(struct hpet *hpet, unsigned n, uint64_t value, uint64_t mask,
                             uint64_t now_ns)
{
    struct hpet_timer *t = &hpet->timer[n];
    bool periodic = (t->config & TIMER_PERIODIC) != 0;

    mask &= timer_mask(t);
    if (mask == 0)
        return; // the upper half of 32 bits
    ticks_forget(&t->ticks);
    if (periodic)
        t->period = merged(t->period, value, mask);
    if (!periodic || t->set_value) {
        t->compare = merged(t->compare, value, mask);
        timer_aim(hpet, t, now_ns);
    }
    t->set_value = false;
}

// `mask`: the bits of the register that are written.
static void register_write(struct hpet *hpet, uint64_t reg, uint64_t value, uint64_t mask)
{
    uint64_t now_ns = clock_now(hpet->clock);
    bool low = (mask & 1) != 0; // the upper halves of the others are read-only

    hpet_sync(hpet, now_ns);
    if (reg == REG_COUNTER)
        write_counter(hpet, merged(hpet_count(hpet, now_ns), value, mask), now_ns);
    else if (reg == REG_CONFIG && low)
        write_general_config(hpet, (uint32_t)value, now_ns);
    else if (reg == REG_STATUS && low)
        write_status(hpet, (uint32_t)value, now_ns);
    else if (timer_has(reg, TIMER_CONFIG) && low)
        write_timer_config(hpet, timer_of(reg), (uint32_t)value, now_ns);
    else if (timer_has(reg, TIMER_COMPARATOR))
        write_comparator(hpet, timer_of(reg), value, mask, now_ns);
    hpet_update(hpet);
}

static uint64_t hpet_read(void *dev, uint64_t offset, unsigned size)
{
    struct hpet *hpet = dev;
    uint64_t now_ns = clock_now(hpet->clock);

    (void)size;
    // What is read most depends on no timer.
    if (offset - REG_COUNTER >= 8) {
        hpet_sync(hpet, now_ns);
        hpet_update(hpet);
    }
    return register_read(hpet, offset & ~7ull, now_ns) >> (offset & 7) * 8;
}

// "Software must access by aligned 32 or 64 bits": else nothing is written.
static enum bus_result hpet_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    unsigned shift = (unsigned)(offset & 4) * 8;

    if (size == 8 && (offset & 7) == 0)
        register_write(dev, offset, value, UINT64_MAX);
    else if (size == 4 && (offset & 3) == 0)
        register_write(dev, offset & ~7ull, value << shift, (uint64_t)UINT32_MAX << shift);
    return BUS_OK;
}

static const struct device_ops hpet_ops = {
    .name = "HPET", .max_size = 8, .read = hpet_read, .write = hpet_write,
};

void hpet_init(struct hpet *hpet, struct clock *clock, const struct hpet_lines *lines)
{
    memset(hpet, 0, sizeof(*hpet));
    hpet->clock = clock;
    hpet->lines = *lines;
    vtimer_init(&hpet->alarm, &hpet_alarm_ops, hpet);
    hpet_reset(hpet);
}

void hpet_reset(struct hpet *hpet)
{
    write_general_config(hpet, 0, clock_now(hpet->clock));
    hpet->status = 0;
    hpet->count = 0;
    hpet->base_ns = 0;
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        struct hpet_timer *t = &hpet->timer[n];
        timer_drive(hpet, n);
        t->config = 0;
        t->set_value = false;
        t->compare = UINT64_MAX;
        t->period = 0;
        t->due_ns = CLOCK_NEVER;
        t->fired_ns = 0;
    }
    hpet_update(hpet);
}

bool hpet_register(struct hpet *hpet, struct bus *bus)
{
    return bus_add_mmio(bus, &hpet_ops, hpet, HPET_BASE, HPET_SIZE);
}
