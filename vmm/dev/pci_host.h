// SPDX-License-Identifier: BSD-2-Clause
//
// PCI host bridge with configuration mechanism 1, and the reset control register 0xCF9 that lies
// inside its address port.
//
// Follows the PCI Local Bus specification, section "Configuration Mechanism #1". On bus 0 there are
// the bridge itself, 00:00.0 of class 0x0600, and function 0 of each slot that a device was put
// into; all others read as all ones.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/dev/pci_function.h"
#include "vmm/dev/power.h"

enum { PCI_SLOTS = 32 };
#define PCI_MEMORY_END 0xFEC00000U // of the range that dsdt.asl gives to BARs

struct pci_host {
    uint32_t address;      // 0xCF8
    uint8_t reset_control; // 0xCF9
    struct pci_function bridge;
    struct pci_function *slot[PCI_SLOTS]; // NULL: nothing is there
    uint32_t memory_end;                  // below it, the next function's BARs go
    struct power_sink power;
};

void pci_host_init(struct pci_host *host, struct power_sink power);
void pci_host_reset(struct pci_host *host);

// Claims 0xCF8-CFF.
bool pci_host_register(struct pci_host *host, struct bus *bus);

// Puts a function into a free slot, and its BARs on the bus. False: as pci_function_place().
bool pci_host_plug(struct pci_host *host, unsigned slot, struct pci_function *fn, struct bus *bus);
