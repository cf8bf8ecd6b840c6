// SPDX-License-Identifier: BSD-2-Clause
//
// Watchdog timer of Intel's 6300ESB, as QEMU emulates it: a PCI function 8086:25AB of class 0x0880
// whose BAR 0 has 16 bytes. It has two stages, one after the other; a guest that does not reload it
// in time loses its machine at the end of the second.
//
// Follows the data sheet of the 6300ESB, chapter "Watchdog Timer". In configuration space:
//   0x60  configuration: bit 5 no end of the machine; bit 2 a tick is 2^5 PCI clocks, else 2^15;
//         bits 1:0 what the end of the first stage raises (0 an interrupt)
//   0x68  lock: bit 2 free-running, bit 1 enable, bit 0 lock (this register keeps its value then)
// In memory, where a write to 0x00, 0x04 or 0x0C (16 bits) takes effect only right behind writes of
// 0x80 and 0x86 to 0x0C:
//   0x00, 0x04  ticks of the stages, 20 bits each, taken over when a stage begins
//   0x08  bit 0: the first stage has ended; cleared by writing 1
//   0x0C  bit 8 begins the first stage anew; bit 9 the watchdog ended the machine before, cleared
//         by writing 1
// A PCI clock is 30 ns. Free-running with the end of the machine switched off, it begins anew for
// ever, as QEMU's with the first stage. The interrupt goes nowhere: it is at an IOAPIC that no PC
// has. A stage of less than 100 us takes 100 us.
//
// Beside that, the board may want it switched on some time after the start.
// While a VM is paused, its watchdog stands still too. Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/clock.h"
#include "vmm/dev/pci_function.h"
#include "vmm/dev/power.h"

enum i6300esb_stage {
    I6300ESB_STOPPED,
    I6300ESB_START, // the guest has yet to switch it on
    I6300ESB_FIRST,
    I6300ESB_SECOND,
};

struct i6300esb {
    struct pci_function pci;
    enum i6300esb_stage stage;
    uint32_t preload[2]; // ticks of the stages
    uint8_t unlocked;    // steps of the sequence that have been made: 2 are all
    bool enabled;        // as bit 1 of the lock register, or as it was before the last write
    bool first_ended;    // bit 0 at 0x08
    bool bitten;         // bit 9 at 0x0C
    bool held;
    uint64_t left_ns;    // then: of the stage, if there is one
    uint64_t start_ns;   // from the start, by when it must be switched on; 0: it need not
    struct clock *clock;
    struct vtimer alarm; // the stage's end
    struct power_sink power;
};

// bitten: it has ended this VM's last run. start_ns: see there.
void i6300esb_init(struct i6300esb *esb, struct clock *clock, struct power_sink power, bool bitten,
                   uint64_t start_ns);
void i6300esb_reset(struct i6300esb *esb);

// Time stands still for it, or goes on.
void i6300esb_hold(struct i6300esb *esb, bool held);
