// SPDX-License-Identifier: BSD-2-Clause
//
// The wires to the power supply and the reset line: what ACPI, 0xCF9, the 8042, port 0x92 and the
// test board pull.
// The VMM's main loop acts on a request after the access that made it; a device goes on as if
// nothing had happened until its reset function is called.
#pragma once

enum power_event {
    POWER_RESET,
    POWER_OFF,
    POWER_EXIT, // as a power-off, and with a status: the test board's
};

struct power_ops {
    void (*request)(void *ctx, enum power_event event);
};

struct power_sink {
    const struct power_ops *ops;
    void *ctx;
};

static inline void power_request(const struct power_sink *sink, enum power_event event)
{
    sink->ops->request(sink->ctx, event);
}
