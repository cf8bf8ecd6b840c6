// SPDX-License-Identifier: BSD-2-Clause
//
// One device alone on a bus, for fuzz_device.c: what the harness must know of each. The rows are in
// device_table.c. One board per run of the fuzzer; nothing is shared.
#pragma once

#include "tests/fuzz/script.h"
#include "tests/unit/fake_host.h"
#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/debugcon.h"
#include "vmm/dev/hpet.h"
#include "vmm/dev/i6300esb.h"
#include "vmm/dev/i8042.h"
#include "vmm/dev/i8254.h"
#include "vmm/dev/i8259.h"
#include "vmm/dev/ioapic.h"
#include "vmm/dev/mc146818.h"
#include "vmm/dev/pci_host.h"
#include "vmm/dev/pvpanic.h"
#include "vmm/dev/testdev.h"
#include "vmm/dev/uart16550.h"
#include "vmm/dev/vga_crtc.h"

// Bits of fuzz_board's `lines`: the ISA lines come first, and the timers' pins one after the other.
enum { HPET_LINE_REPLACE = 2, HPET_LINE_PINS };

struct fuzz_board {
    struct fake_host host;
    unsigned messages; // MSIs that the IOAPIC has sent in this step
    uint32_t lines;    // that the HPET drives high
    union {
        struct acpi_pm pm;
        struct debugcon debugcon;
        struct hpet hpet;
        struct { // the bridge is the way to it
            struct pci_host pci;
            struct i6300esb esb;
        } watchdog;
        struct i8042 kbc;
        struct i8254 pit;
        struct i8259 pic;
        struct ioapic ioapic;
        struct mc146818 rtc;
        struct pci_host pci;
        struct pvpanic panic;
        struct testdev test;
        struct uart16550 uart;
        struct vga_crtc vga;
    } dev;
};

struct fuzz_device {
    const char *name;
    size_t bytes; // of its state
    // How often in a second of host time it may want to be called at most.
    uint64_t fires_per_second;
    bool may_block; // a write may answer BUS_BLOCKED
    bool may_power; // it has a wire to the power supply
    // Makes it and claims its ranges; `kind`, 0 to 3, chooses a variant. False: the bus refused.
    bool (*init)(struct fuzz_board *board, unsigned kind);
    void (*reset)(struct fuzz_board *board);
    // What reaches it but by the bus: pins, acknowledges, a button. NULL: nothing does.
    void (*act)(struct fuzz_board *board, uint8_t what);
    // What must hold between two accesses. NULL: nothing beside what holds for every device.
    void (*check)(const struct fuzz_board *board);
};

// The row of that name, or NULL.
const struct fuzz_device *fuzz_device_find(const char *name);
