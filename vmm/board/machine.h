// SPDX-License-Identifier: BSD-2-Clause
//
// The board of one VM: every device, and the wires between them.
//
// All state is in struct machine; what the board needs of the world around it (time, the console,
// the way to the vCPU) comes through struct machine_host, so that a test can be that world.
// Owned by the VMM's only thread; no lock.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "vmm/board/bus.h"
#include "vmm/board/clock.h"
#include "vmm/board/irq_router.h"
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
#include "vmm/dev/power.h"
#include "vmm/dev/pvpanic.h"
#include "vmm/dev/scratch.h"
#include "vmm/dev/stream.h"
#include "vmm/dev/testdev.h"
#include "vmm/dev/uart16550.h"
#include "vmm/dev/vga_crtc.h"

struct machine_host {
    const struct clock_ops *clock;   // host time, and the kernel's timer
    const struct ioapic_ops *msi;    // to the local APICs
    struct irq_line intr;            // from the PIC to the boot processor
    struct stream console;
    void *ctx;                       // of clock and msi
    int64_t wall_seconds;            // date now, since 1970
    bool catch_up;                   // missed ticks of PIT, RTC and HPET come later
    bool hpet;                       // there is one
    bool watchdog;                   // likewise; it
    bool watchdog_bitten;            // has ended the VM's last run
    uint64_t watchdog_start_ns;      // and must be switched on in this time; 0: need not be
    uint8_t *testdev_ram;            // for the test board, zeroed; NULL: there is none
};

struct machine {
    struct bus bus;
    struct clock clock;
    struct i8259 pic;
    struct ioapic ioapic;
    struct irq_router router;
    struct irq_gate pit_gate, rtc_gate; // that the HPET cuts
    struct i8254 pit;
    struct hpet hpet; // wired up if the host says so; else PIT and RTC are never cut off
    struct i8042 kbc;
    struct mc146818 rtc;
    struct uart16550 com1;
    struct debugcon debugcon;
    struct vga_crtc vga;
    struct acpi_pm pm;
    struct pci_host pci;
    struct i6300esb watchdog; // in its slot if the host says so; else nothing reaches it
    struct pvpanic panic;
    struct scratch post;
    struct testdev testdev; // wired up if the host gave it memory
    bool power_pending;     // a device has pulled one of its wires
    enum power_event power; // which, then
};

// Wires everything up, in the state that a BIOS leaves. low_bytes and high_bytes: RAM below and
// above 4 GB, for the NVRAM. False: two devices claim one range; bus_error(&m->bus) says which.
bool machine_init(struct machine *m, const struct machine_host *host, uint64_t low_bytes,
                  uint64_t high_bytes);
// To all vCPUs, as a button on a board.
void machine_nmi(struct machine *m);
// The CPU itself asks for it.
void machine_reset(struct machine *m);
// The VM stands still, or goes on: what is to watch over it must know.
void machine_pause(struct machine *m, bool paused);
