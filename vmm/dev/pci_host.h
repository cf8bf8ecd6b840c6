// SPDX-License-Identifier: BSD-2-Clause
//
// PCI host bridge with configuration mechanism 1, and the reset control register 0xCF9 that lies
// inside its address port.
//
// Follows the PCI Local Bus specification, section "Configuration Mechanism #1". The only function
// is the bridge itself, 00:00.0 of class 0x0600; all others read as all ones.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/dev/power.h"

struct pci_host {
    uint32_t address;      // 0xCF8
    uint8_t reset_control; // 0xCF9
    uint8_t config[256];   // of 00:00.0
    struct power_sink power;
};

void pci_host_init(struct pci_host *host, struct power_sink power);
void pci_host_reset(struct pci_host *host);

// Claims 0xCF8-CFF.
bool pci_host_register(struct pci_host *host, struct bus *bus);
