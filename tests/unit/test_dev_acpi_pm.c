// SPDX-License-Identifier: BSD-2-Clause
//
// ACPI PM1a blocks and PM timer. ("ACPI Hardware Specification")
#include "tests/unit/board.h"

#include "vmm/dev/acpi_pm.h"

static struct fake_host host;
static struct acpi_pm pm;

enum { STS = ACPI_PM1A_EVT, EN = ACPI_PM1A_EVT + 2, CNT = ACPI_PM1A_CNT, TMR = ACPI_PM_TMR };

static int setup(void **state)
{
    (void)state;
    fake_host_init(&host);
    acpi_pm_init(&pm, &host.clock, fake_line(&host), fake_power_sink(&host));
    return acpi_pm_register(&pm, &host.bus) ? 0 : -1;
}

static uint16_t in16(uint16_t port)
{
    return (uint16_t)bus_port_read(&host.bus, port, 2);
}

static void out16(uint16_t port, uint16_t value)
{
    assert_int_equal(bus_port_write(&host.bus, port, 2, value), BUS_OK);
}

static void timer_runs_at_its_frequency(void **state)
{
    (void)state;
    assert_int_equal(bus_port_read(&host.bus, TMR, 4), 0);
    host.now_ns += NS_PER_SEC;
    assert_int_equal(bus_port_read(&host.bus, TMR, 4), 3579545);
    assert_int_equal(in8(&host, TMR), 3579545 & 0xFF);
    assert_int_equal(in8(&host, TMR + 2), 3579545 >> 16);
    host.now_ns += 1200 * NS_PER_SEC;
    assert_int_equal(bus_port_read(&host.bus, TMR, 4), (uint32_t)(1201 * ACPI_PM_HZ));
    assert_int_equal(bus_port_write(&host.bus, TMR, 4, 0), BUS_OK);
    assert_int_equal(bus_port_read(&host.bus, TMR, 4), (uint32_t)(1201 * ACPI_PM_HZ));
}

static void carry_sets_status_and_sci(void **state)
{
    (void)state;
    const uint64_t half = clock_ticks_to_ns(1ULL << 31, ACPI_PM_HZ);

    assert_true(host.armed_ns == CLOCK_NEVER);
    out16(EN, 0x0001);
    fake_advance(&host, half - 1000);
    assert_false(host.level);
    fake_advance(&host, 1000);
    assert_true(host.level);
    assert_int_equal(in16(STS), 0x0001);
    out16(STS, 0x0001);
    assert_false(host.level);
    fake_advance(&host, half);
    assert_int_equal(host.rises, 2);
    // Without the interrupt the flag is seen by looking.
    out16(STS, 0xFFFF);
    out16(EN, 0);
    assert_true(host.armed_ns == CLOCK_NEVER);
    host.now_ns += half;
    assert_int_equal(in16(STS), 0x0001);
    assert_false(host.level);
    out16(EN, 0x0001);
    assert_true(host.level);
}

static void power_button(void **state)
{
    (void)state;
    acpi_pm_power_button(&pm);
    assert_false(host.level);
    assert_int_equal(in16(STS), 0x0100);
    out16(EN, 0x0100);
    assert_true(host.level);
    assert_int_equal(bus_port_read(&host.bus, STS, 4), 0x01000100);
    out8(&host, STS, 0xFF); // the other byte
    assert_true(host.level);
    out8(&host, STS + 1, 0x01);
    assert_false(host.level);
    assert_int_equal(in16(STS), 0);
    assert_int_equal(in8(&host, EN + 1), 0x01);
    assert_int_equal(host.power_offs, 0);
}

static void enable_bits(void **state)
{
    (void)state;
    out16(EN, 0xFFFF);
    assert_int_equal(in16(EN), 0x0721);
    out8(&host, EN, 0);
    assert_int_equal(in16(EN), 0x0700);
    assert_int_equal(bus_port_write(&host.bus, STS, 4, 0x00200000), BUS_OK);
    assert_int_equal(in16(EN), 0x0020);
}

static void s5_powers_off(void **state)
{
    (void)state;
    assert_int_equal(in16(CNT), 0x0001); // always in ACPI mode
    out16(CNT, 0x0000);
    assert_int_equal(in16(CNT), 0x0001);
    out16(CNT, 0x2000 | 1 << 10); // another sleep state
    assert_int_equal(host.power_offs, 0);
    assert_int_equal(in16(CNT), 0x0401); // SLP_EN reads 0
    out16(CNT, ACPI_PM_S5_TYPE << 10);   // the type alone, as Linux does first
    assert_int_equal(host.power_offs, 0);
    out16(CNT, 0x2000 | ACPI_PM_S5_TYPE << 10);
    assert_int_equal(host.power_offs, 1);
    out8(&host, CNT + 1, 0x20 | ACPI_PM_S5_TYPE << 2);
    assert_int_equal(host.power_offs, 2);
    assert_int_equal(host.resets, 0);
}

static void reset_clears(void **state)
{
    (void)state;
    out16(EN, 0x0101);
    acpi_pm_power_button(&pm);
    host.now_ns += NS_PER_SEC;
    acpi_pm_reset(&pm);
    assert_false(host.level);
    assert_int_equal(bus_port_read(&host.bus, STS, 4), 0);
    assert_int_equal(bus_port_read(&host.bus, TMR, 4), 0);
    assert_true(host.armed_ns == CLOCK_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(timer_runs_at_its_frequency, setup),
        cmocka_unit_test_setup(carry_sets_status_and_sci, setup),
        cmocka_unit_test_setup(power_button, setup),
        cmocka_unit_test_setup(enable_bits, setup),
        cmocka_unit_test_setup(s5_powers_off, setup),
        cmocka_unit_test_setup(reset_clears, setup),
    };

    return cmocka_run_group_tests_name("acpi_pm", tests, NULL, NULL);
}
