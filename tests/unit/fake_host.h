// SPDX-License-Identifier: BSD-2-Clause
//
// The world around one device, for unit tests and fuzzers: time that is moved by hand, and far ends
// for the wires of a device. Each test owns its own.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vmm/board/bus.h"
#include "vmm/board/clock.h"
#include "vmm/board/irq.h"
#include "vmm/dev/power.h"
#include "vmm/dev/stream.h"

#define MS 1000000ULL
#define US 1000ULL

struct fake_host {
    struct bus bus;
    struct clock clock;
    uint64_t now_ns;
    uint64_t armed_ns;
    unsigned arms;  // calls that a kernel would have had
    unsigned fires; // times the kernel's timer went off

    bool level; // the one interrupt line that a test watches
    unsigned rises;

    unsigned resets;
    unsigned power_offs;
    unsigned exits;

    uint8_t output[256];
    unsigned output_count;
    unsigned output_room; // how much `output` may hold before it is "full"
    uint8_t input[256];
    unsigned input_count;
    unsigned input_taken;
};

static inline uint64_t fake_now(void *ctx)
{
    return ((struct fake_host *)ctx)->now_ns;
}

static inline void fake_arm(void *ctx, uint64_t deadline_ns)
{
    struct fake_host *host = ctx;

    host->armed_ns = deadline_ns;
    host->arms++;
}

static inline void fake_set(void *ctx, unsigned n, bool level)
{
    struct fake_host *host = ctx;

    (void)n;
    if (level && !host->level)
        host->rises++;
    host->level = level;
}

static inline void fake_power(void *ctx, enum power_event event)
{
    struct fake_host *host = ctx;

    if (event == POWER_RESET)
        host->resets++;
    else if (event == POWER_OFF)
        host->power_offs++;
    else
        host->exits++;
}

static inline bool fake_put(void *ctx, uint8_t byte)
{
    struct fake_host *host = ctx;

    if (host->output_count >= host->output_room)
        return false;
    host->output[host->output_count++] = byte;
    return true;
}

static inline int fake_get(void *ctx)
{
    struct fake_host *host = ctx;

    return host->input_taken < host->input_count ? host->input[host->input_taken++] : -1;
}

static inline void fake_host_init(struct fake_host *host)
{
    static const struct clock_ops ops = {.now_ns = fake_now, .arm = fake_arm};

    memset(host, 0, sizeof(*host));
    host->now_ns = 1000 * NS_PER_SEC;
    host->armed_ns = CLOCK_NEVER;
    host->output_room = sizeof(host->output);
    clock_init(&host->clock, &ops, host);
    bus_init(&host->bus);
}

static inline struct irq_line fake_line(struct fake_host *host)
{
    static const struct irq_ops ops = {.set = fake_set};

    return (struct irq_line){.ops = &ops, .ctx = host};
}

static inline struct power_sink fake_power_sink(struct fake_host *host)
{
    static const struct power_ops ops = {.request = fake_power};

    return (struct power_sink){.ops = &ops, .ctx = host};
}

static inline struct stream fake_stream(struct fake_host *host)
{
    static const struct stream_ops ops = {.put = fake_put, .get = fake_get};

    return (struct stream){.ops = &ops, .ctx = host};
}

// Let time pass; the kernel's timer fires when it is due.
static inline void fake_advance(struct fake_host *host, uint64_t ns)
{
    uint64_t end = host->now_ns + ns;

    while (host->armed_ns <= end) {
        if (host->armed_ns > host->now_ns)
            host->now_ns = host->armed_ns;
        host->armed_ns = CLOCK_NEVER;
        host->fires++;
        clock_run(&host->clock, host->now_ns);
    }
    host->now_ns = end;
}

// Let time pass while the VMM does not get to run: what is due fires once, at the end.
static inline void fake_sleep(struct fake_host *host, uint64_t ns)
{
    host->now_ns += ns;
    if (host->armed_ns <= host->now_ns)
        fake_advance(host, 0);
}
