// SPDX-License-Identifier: BSD-2-Clause
//
// PCI host bridge, configuration mechanism 1, and the reset register inside it; the debug port.
// ("PCI Local Bus specification")
#include "tests/unit/board.h"

#include "vmm/dev/debugcon.h"
#include "vmm/dev/pci_host.h"

static struct fake_host host;
static struct pci_host pci;
static struct debugcon con;

static int setup(void **state)
{
    (void)state;
    fake_host_init(&host);
    pci_host_init(&pci, fake_power_sink(&host));
    debugcon_init(&con, fake_stream(&host));
    return pci_host_register(&pci, &host.bus) && debugcon_register(&con, &host.bus) ? 0 : -1;
}

static uint32_t in32(uint16_t port)
{
    return bus_port_read(&host.bus, port, 4);
}

static void out32(uint16_t port, uint32_t value)
{
    assert_int_equal(bus_port_write(&host.bus, port, 4, value), BUS_OK);
}

static void linux_finds_mechanism_1(void **state)
{
    (void)state;
    // pci_check_type1()
    out8(&host, 0xCFB, 0x01);
    uint32_t saved = in32(0xCF8);
    out32(0xCF8, 0x80000000);
    assert_int_equal(in32(0xCF8), 0x80000000);
    // pci_sanity_check()
    out32(0xCF8, 0x80000008);
    assert_int_equal(bus_port_read(&host.bus, 0xCFE, 2), 0x0600);
    out32(0xCF8, saved);
}

static void byte_lanes(void **state)
{
    (void)state;
    out32(0xCF8, 0x80000000);
    uint32_t id = in32(0xCFC);
    assert_int_equal(id & 0xFFFF, 0x1B36);
    for (unsigned lane = 0; lane < 4; lane++)
        assert_int_equal(in8(&host, (uint16_t)(0xCFC + lane)), id >> (lane * 8) & 0xFF);
    assert_int_equal(bus_port_read(&host.bus, 0xCFD, 2), id >> 8 & 0xFFFF);
    // Past the data port lies nothing.
    assert_int_equal(bus_port_read(&host.bus, 0xCFE, 4), id >> 16 | 0xFFFF0000);
    out32(0xCF8, 0x8000000C);
    assert_int_equal(in8(&host, 0xCFE), 0x00); // header type: one function
}

static void nobody_else_is_there(void **state)
{
    (void)state;
    for (uint32_t devfn = 1; devfn < 256; devfn++) {
        out32(0xCF8, 0x80000000 | devfn << 8);
        assert_int_equal(in32(0xCFC), 0xFFFFFFFF);
        out32(0xCFC, 0);
    }
    out32(0xCF8, 0x80010000);
    assert_int_equal(in32(0xCFC), 0xFFFFFFFF);
    out32(0xCF8, 0x00000000); // not enabled
    assert_int_equal(in32(0xCFC), 0xFFFFFFFF);
    assert_int_equal(in8(&host, 0xCFD), 0xFF);
}

static void registers_are_read_only(void **state)
{
    (void)state;
    for (uint32_t reg = 0; reg < 256; reg += 4) {
        out32(0xCF8, 0x80000000 | reg);
        uint32_t before = in32(0xCFC);
        out32(0xCFC, 0xFFFFFFFF);
        assert_int_equal(in32(0xCFC), before);
    }
    out32(0xCF8, 0x80000010);
    assert_int_equal(in32(0xCFC), 0); // no BAR
    out32(0xCF8, 0xFFFFFFFF);
    assert_int_equal(in32(0xCF8), 0x80FFFFFC);
}

static void narrow_accesses_miss_the_address_register(void **state)
{
    (void)state;
    out32(0xCF8, 0x80001234);
    out8(&host, 0xCF8, 0xFF);
    assert_int_equal(bus_port_write(&host.bus, 0xCF8, 2, 0xFFFF), BUS_OK);
    assert_int_equal(in32(0xCF8), 0x80001234);
    assert_int_equal(in8(&host, 0xCF8), 0xFF);
    assert_int_equal(bus_port_read(&host.bus, 0xCFA, 2), 0xFFFF);
    assert_int_equal(host.resets, 0);
}

static void reset_register(void **state)
{
    (void)state;
    out8(&host, 0xCF9, 0x02);
    assert_int_equal(host.resets, 0);
    assert_int_equal(in8(&host, 0xCF9), 0x02);
    out8(&host, 0xCF9, 0x06);
    assert_int_equal(host.resets, 1);
    out8(&host, 0xCF9, 0x06); // no edge
    assert_int_equal(host.resets, 1);
    pci_host_reset(&pci);
    assert_int_equal(in8(&host, 0xCF9), 0x00);
    out8(&host, 0xCF9, 0x0F);
    assert_int_equal(host.resets, 2);
    out32(0xCF8, 0x80000600); // not a write to 0xCF9
    assert_int_equal(host.resets, 2);
    pci_host_reset(&pci);
    assert_int_equal(bus_port_write(&host.bus, 0xCF9, 2, 0x0006), BUS_OK); // but this is
    assert_int_equal(host.resets, 3);
}

static void debug_port(void **state)
{
    (void)state;
    assert_int_equal(in8(&host, 0xE9), 0xE9);
    out8(&host, 0xE9, 'h');
    out8(&host, 0xE9, 'i');
    host.output_room = 2;
    assert_int_equal(bus_port_write(&host.bus, 0xE9, 1, '!'), BUS_BLOCKED);
    host.output_room = 3;
    out8(&host, 0xE9, '!');
    assert_memory_equal(host.output, "hi!", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(linux_finds_mechanism_1, setup),
        cmocka_unit_test_setup(byte_lanes, setup),
        cmocka_unit_test_setup(nobody_else_is_there, setup),
        cmocka_unit_test_setup(registers_are_read_only, setup),
        cmocka_unit_test_setup(narrow_accesses_miss_the_address_register, setup),
        cmocka_unit_test_setup(reset_register, setup),
        cmocka_unit_test_setup(debug_port, setup),
    };

    return cmocka_run_group_tests_name("pci_host", tests, NULL, NULL);
}
