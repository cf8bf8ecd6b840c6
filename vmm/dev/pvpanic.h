// SPDX-License-Identifier: BSD-2-Clause
//
// The port by which a guest says that it has panicked: QEMU's pvpanic, on the ISA side. (QEMU,
// "PVPANIC DEVICE".) A read tells what it understands, a write what has happened:
//
//   bit 0   the guest has panicked
//   bit 1   it has, and starts its own kernel for that case; it goes on
//
// Of both the first counts. Owned by the VMM's only thread; it has no state and no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/dev/power.h"

enum {
    PVPANIC_PORT = 0x505,
    PVPANIC_PANICKED = 0x01,
    PVPANIC_CRASH_LOADED = 0x02,
};

struct pvpanic {
    struct power_sink power;
};

void pvpanic_init(struct pvpanic *dev, struct power_sink power);

// Claims PVPANIC_PORT.
bool pvpanic_register(struct pvpanic *dev, struct bus *bus);
