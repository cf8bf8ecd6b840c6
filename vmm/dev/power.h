// SPDX-License-Identifier: BSD-2-Clause
//
// The wires to the power supply and the reset line: what ACPI, 0xCF9, the 8042, port 0x92, the test
// board and the watchdog pull; and what a guest says of its own end.
// The VMM's main loop acts on a request after the access that made it; a device goes on as if
// nothing had happened until its reset function is called.
#pragma once

enum power_event {
    POWER_RESET,
    POWER_OFF,
    POWER_EXIT,  // as a power-off, and with a status: the test board's
    POWER_HUNG,  // the guest has not seen to its watchdog
    POWER_PANIC, // it says that it has panicked: whether that ends the VM, its maker has said
    POWER_CRASH, // likewise, and that it goes on by itself: the VM does
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
