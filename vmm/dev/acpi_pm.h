// SPDX-License-Identifier: BSD-2-Clause
//
// ACPI fixed hardware: PM1a event and control blocks and the power-management timer.
//
// Follows the ACPI specification, sections "PM1 Event Grouping", "PM1 Control Grouping" and "Power
// Management Timer". There is no SMI command port: the board is always in ACPI mode.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/board/clock.h"
#include "vmm/board/irq.h"
#include "vmm/dev/power.h"

#define ACPI_PM_HZ 3579545ULL

// What the FADT and the DSDT say about the ports and _S5.
enum {
    ACPI_PM1A_EVT = 0x600, // 4 bytes: status, enable
    ACPI_PM1A_CNT = 0x604, // 2 bytes
    ACPI_PM_TMR = 0x608,   // 4 bytes
    ACPI_PM_TMR_BITS = 32, // FADT flag TMR_VAL_EXT
    ACPI_PM_S5_TYPE = 0,   // SLP_TYPa of _S5
};

struct acpi_pm {
    uint16_t status;
    uint16_t enable;
    uint16_t control;
    uint64_t origin_ns; // when the timer was 0
    uint64_t carries;   // changes of the timer's top bit that have been seen
    struct clock *clock;
    struct vtimer timer;
    struct irq_line sci;
    struct power_sink power;
};

void acpi_pm_init(struct acpi_pm *pm, struct clock *clock, struct irq_line sci,
                  struct power_sink power);
void acpi_pm_reset(struct acpi_pm *pm);

// Claims the three blocks above.
bool acpi_pm_register(struct acpi_pm *pm, struct bus *bus);

// Press the power button: the guest's operating system is asked to shut down.
void acpi_pm_power_button(struct acpi_pm *pm);
