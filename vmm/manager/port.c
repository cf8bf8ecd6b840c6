// SPDX-License-Identifier: BSD-2-Clause
// Finds the host's serial port for the console, as the config says. For a search of PCI the manager
// has the ports of its configuration, until that is over. The manager's thread only.
#include "libc/kcall.h"
#include "libc/ports.h"
#include "vmm/manager/manager.h"

// PCI Local Bus Specification, "Configuration Space"; class 07 00 02 is a 16550 of eight ports.
enum {
    PCI_ADDRESS = 0xcf8, PCI_DATA = 0xcfc, PCI_PORTS = 8,
    PCI_ID = 0x00, PCI_COMMAND = 0x04, PCI_CLASS = 0x08, PCI_HEADER = 0x0c, PCI_BAR0 = 0x10,
    COMMAND_IO = 1, BAR_IO = 1, MANY_FUNCTIONS = 0x800000,
};
#define CLASS_16550 0x070002u
#define NO_DEVICE   0xffffu

struct pci_function {
    uint32_t bus, device, function;
};

static void pci_select(const struct pci_function *at, uint32_t reg)
{
    port_out32(PCI_ADDRESS,
               0x80000000u | at->bus << 16 | at->device << 11 | at->function << 8 | reg);
}

static uint32_t pci_read(const struct pci_function *at, uint32_t reg)
{
    pci_select(at, reg);
    return port_in32(PCI_DATA);
}

// True: it is a 16550 whose ports can be used.
static bool pci_look(struct manager *manager, const struct pci_function *at,
                     struct manager_port *port)
{
    if ((pci_read(at, PCI_ID) & 0xffff) == NO_DEVICE ||
        pci_read(at, PCI_CLASS) >> 8 != CLASS_16550) {
        return false;
    }
    uint32_t bar = pci_read(at, PCI_BAR0), first = bar & ~3u;
    if ((bar & BAR_IO) == 0 || first == 0 || first > 0xfff8) {
        report(manager, "console: the 16550 at PCI %02x:%02x.%u has no I/O ports: passed over\n",
               (unsigned)at->bus, (unsigned)at->device, (unsigned)at->function);
        return false;
    }
    uint32_t command = pci_read(at, PCI_COMMAND) & 0xffff; // status bits are cleared by ones
    if ((command & COMMAND_IO) == 0) {
        port_out32(PCI_DATA, command | COMMAND_IO);
    }
    port->first = (uint16_t)first;
    report(manager, "console: the 16550 at PCI %02x:%02x.%u, I/O port %#x, polled\n",
           (unsigned)at->bus, (unsigned)at->device, (unsigned)at->function, (unsigned)first);
    return true;
}

static bool pci_find(struct manager *manager, struct manager_port *port)
{
    for (uint32_t i = 0; i < 256u * 32; i++) {
        struct pci_function at = {.bus = i / 32, .device = i % 32};
        if ((pci_read(&at, PCI_ID) & 0xffff) == NO_DEVICE) {
            continue;
        }
        uint32_t functions = (pci_read(&at, PCI_HEADER) & MANY_FUNCTIONS) != 0 ? 8 : 1;
        for (at.function = 0; at.function < functions; at.function++) {
            if (pci_look(manager, &at, port)) {
                return true;
            }
        }
    }
    return false;
}

static void port_find_pci(struct manager *manager, struct manager_port *port)
{
    int64_t status = kcall_ioports_grant(HANDLE_SELF, BOOT_HANDLE_PORTS, PCI_ADDRESS, PCI_PORTS);
    if (status < 0) {
        report(manager, "console: PCI cannot be searched: %s\n", report_status(status));
        return;
    }
    if (!pci_find(manager, port)) {
        report(manager, "console: there is no 16550 on PCI (class 07-00-02): no serial port\n");
    }
    kcall_ioports_grant(HANDLE_SELF, BOOT_HANDLE_PORTS, 0, 0);
}

void port_find(struct manager *manager, struct manager_port *port)
{
    const struct config_console *console = &manager->config.console;
    *port = (struct manager_port){.divisor = CONFIG_BAUD_MAX / console->baud};
    switch (console->kind) {
    case CONFIG_CONSOLE_PORT:
        port->first = console->port;
        break;
    case CONFIG_CONSOLE_PCI:
        port_find_pci(manager, port); // which of the IOAPIC's pins is its own, only AML says
        return;
    case CONFIG_CONSOLE_NONE:
        return;
    }
    if (port->first == CONFIG_COM1 || port->first == CONFIG_COM3) {
        port->irq = BOOT_HANDLE_COM1_IRQ;
    } else if (port->first == CONFIG_COM2 || port->first == CONFIG_COM4) {
        port->irq = BOOT_HANDLE_COM2_IRQ;
    }
}
