// SPDX-License-Identifier: BSD-2-Clause
//
// ACPI PM1a blocks and PM timer. Owned by the VMM's only thread; no lock.
#include "vmm/dev/acpi_pm.h"

// "PM1 Status Registers Fixed Hardware Feature Status Bits"; the enable bits sit in the same
// places.
enum {
    PM1_TMR = 1 << 0,
    PM1_GBL = 1 << 5,
    PM1_PWRBTN = 1 << 8,
    PM1_SLPBTN = 1 << 9,
    PM1_RTC = 1 << 10,
    PM1_WAK = 1 << 15,

    PM1_STATUS_BITS = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC | PM1_WAK,
    PM1_ENABLE_BITS = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC,
};

// "PM1 Control Registers Fixed Hardware Feature Control Bits".
enum {
    PM1_SCI_EN = 1 << 0, // fixed at 1
    PM1_BM_RLD = 1 << 1,
    PM1_SLP_TYP_SHIFT = 10,
    PM1_SLP_TYP = 7 << PM1_SLP_TYP_SHIFT,
    PM1_SLP_EN = 1 << 13, // reads 0

    PM1_CONTROL_BITS = PM1_BM_RLD | PM1_SLP_TYP,
};

#define TMR_CARRY_SHIFT (ACPI_PM_TMR_BITS - 1)

static uint64_t acpi_pm_ticks(const struct acpi_pm *pm, uint64_t now_ns)
{
    return clock_ns_to_ticks(now_ns - pm->origin_ns, ACPI_PM_HZ);
}

// Bring TMR_STS, the SCI line and the carry timer up to date.
static void acpi_pm_update(struct acpi_pm *pm)
{
    uint64_t carries = acpi_pm_ticks(pm, clock_now(pm->clock)) >> TMR_CARRY_SHIFT;

    if (carries != pm->carries) {
        pm->carries = carries;
        pm->status |= PM1_TMR;
    }
    irq_set(&pm->sci, (pm->status & pm->enable) != 0);
    if ((pm->enable & PM1_TMR) != 0 && (pm->status & PM1_TMR) == 0) {
        uint64_t next = clock_ticks_to_ns((carries + 1) << TMR_CARRY_SHIFT, ACPI_PM_HZ);
        vtimer_arm(pm->clock, &pm->timer, pm->origin_ns + next);
    } else {
        vtimer_cancel(pm->clock, &pm->timer);
    }
}

static void acpi_pm_fire(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    acpi_pm_update(ctx);
}

static const struct vtimer_ops acpi_pm_timer_ops = {.fire = acpi_pm_fire};

static uint64_t acpi_pm_event_read(void *dev, uint64_t offset, unsigned size)
{
    struct acpi_pm *pm = dev;

    (void)size;
    acpi_pm_update(pm);
    return (pm->status | (uint32_t)pm->enable << 16) >> (offset * 8);
}

static enum bus_result acpi_pm_event_write(void *dev, uint64_t offset, unsigned size,
                                           uint64_t value)
{
    struct acpi_pm *pm = dev;
    uint32_t bits = (uint32_t)(value << (offset * 8));
    uint32_t written = (uint32_t)(((1ULL << (size * 8)) - 1) << (offset * 8));
    uint16_t enable_written = (uint16_t)(written >> 16);

    acpi_pm_update(pm); // a carry before this write must not come back after it
    pm->status &= (uint16_t) ~(bits & written);
    pm->enable = (pm->enable & ~enable_written) | ((bits >> 16) & enable_written & PM1_ENABLE_BITS);
    acpi_pm_update(pm);
    return BUS_OK;
}

static uint64_t acpi_pm_control_read(void *dev, uint64_t offset, unsigned size)
{
    const struct acpi_pm *pm = dev;

    (void)size;
    return (pm->control | PM1_SCI_EN) >> (offset * 8);
}

static enum bus_result acpi_pm_control_write(void *dev, uint64_t offset, unsigned size,
                                             uint64_t value)
{
    struct acpi_pm *pm = dev;
    uint32_t bits = (uint32_t)(value << (offset * 8));
    uint32_t written = ((1U << (size * 8)) - 1) << (offset * 8);

    pm->control = (uint16_t)((pm->control & ~written) | (bits & written & PM1_CONTROL_BITS));
    if ((bits & written & PM1_SLP_EN) != 0 && pm->control >> PM1_SLP_TYP_SHIFT == ACPI_PM_S5_TYPE)
        power_request(&pm->power, POWER_OFF);
    return BUS_OK;
}

static uint64_t acpi_pm_timer_read(void *dev, uint64_t offset, unsigned size)
{
    const struct acpi_pm *pm = dev;

    (void)size;
    return (uint32_t)acpi_pm_ticks(pm, clock_now(pm->clock)) >> (offset * 8);
}

static const struct device_ops acpi_pm_event_ops = {
    .name = "ACPI PM1a events",
    .max_size = 4,
    .read = acpi_pm_event_read,
    .write = acpi_pm_event_write,
};

static const struct device_ops acpi_pm_control_ops = {
    .name = "ACPI PM1a control",
    .max_size = 2,
    .read = acpi_pm_control_read,
    .write = acpi_pm_control_write,
};

static const struct device_ops acpi_pm_timer_port_ops = {
    .name = "ACPI PM timer",
    .max_size = 4,
    .read = acpi_pm_timer_read,
    .write = bus_write_nothing,
};

void acpi_pm_init(struct acpi_pm *pm, struct clock *clock, struct irq_line sci,
                  struct power_sink power)
{
    pm->clock = clock;
    pm->sci = sci;
    pm->power = power;
    vtimer_init(&pm->timer, &acpi_pm_timer_ops, pm);
    acpi_pm_reset(pm);
}

void acpi_pm_reset(struct acpi_pm *pm)
{
    pm->status = 0;
    pm->enable = 0;
    pm->control = 0;
    pm->origin_ns = clock_now(pm->clock);
    pm->carries = 0;
    acpi_pm_update(pm);
}

bool acpi_pm_register(struct acpi_pm *pm, struct bus *bus)
{
    return bus_add_ports(bus, &acpi_pm_event_ops, pm, ACPI_PM1A_EVT, 4) &&
           bus_add_ports(bus, &acpi_pm_control_ops, pm, ACPI_PM1A_CNT, 2) &&
           bus_add_ports(bus, &acpi_pm_timer_port_ops, pm, ACPI_PM_TMR, 4);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
    pm->status |= PM1_PWRBTN;
    acpi_pm_update(pm);
}
