// SPDX-License-Identifier: BSD-2-Clause
//
// IOAPIC: registers, edge and level pins, remote IRR and EOI. ("82093AA data sheet")
#include "tests/unit/board.h"

#include "vmm/dev/ioapic.h"

static struct fake_host host;
static struct ioapic ioapic;

static unsigned sent;
static uint64_t sent_addr;
static uint32_t sent_data;
static bool sent_level;

static bool record_msi(void *ctx, uint64_t addr, uint32_t data, bool level)
{
    assert_ptr_equal(ctx, &host);
    sent++;
    sent_addr = addr;
    sent_data = data;
    sent_level = level;
    return false;
}

static int setup(void **state)
{
    static const struct ioapic_ops ops = {.msi = record_msi};

    (void)state;
    fake_host_init(&host);
    ioapic_init(&ioapic, &ops, &host);
    sent = 0;
    return ioapic_register(&ioapic, &host.bus) ? 0 : -1;
}

static uint32_t reg_read(uint8_t index)
{
    assert_int_equal(bus_mmio_write(&host.bus, IOAPIC_BASE, 4, index), BUS_OK);
    return (uint32_t)bus_mmio_read(&host.bus, IOAPIC_BASE + 0x10, 4);
}

static void reg_write(uint8_t index, uint32_t value)
{
    assert_int_equal(bus_mmio_write(&host.bus, IOAPIC_BASE, 4, index), BUS_OK);
    assert_int_equal(bus_mmio_write(&host.bus, IOAPIC_BASE + 0x10, 4, value), BUS_OK);
}

static void set_redir(unsigned pin, uint32_t low, uint8_t dest)
{
    reg_write((uint8_t)(0x11 + 2 * pin), (uint32_t)dest << 24);
    reg_write((uint8_t)(0x10 + 2 * pin), low);
}

static void registers(void **state)
{
    (void)state;
    assert_int_equal(reg_read(0x01), 0x00170020);
    assert_int_equal(reg_read(0x00), 0);
    reg_write(0x00, 0xFFFFFFFF);
    assert_int_equal(reg_read(0x00), 0x0F000000);
    assert_int_equal(reg_read(0x02), 0x0F000000);
    reg_write(0x01, 0);
    assert_int_equal(reg_read(0x01), 0x00170020);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        assert_int_equal(reg_read((uint8_t)(0x10 + 2 * pin)), 0x10000);
        assert_int_equal(reg_read((uint8_t)(0x11 + 2 * pin)), 0);
    }
    assert_int_equal(bus_mmio_read(&host.bus, IOAPIC_BASE, 1), 0x10 + 2 * 23 + 1);
    // Read-only and reserved bits stay 0; so do registers that do not exist.
    set_redir(23, 0xFFFFFFFF, 0xAB);
    assert_int_equal(reg_read(0x10 + 46), 0x1AFFF);
    assert_int_equal(reg_read(0x11 + 46), 0xAB000000);
    reg_write(0x40, 0x12345678);
    reg_write(0xFF, 0x12345678);
    assert_int_equal(reg_read(0x40), 0);
    assert_int_equal(reg_read(0xFF), 0);
    assert_int_equal(reg_read(0x05), 0);
    assert_int_equal(bus_mmio_read(&host.bus, IOAPIC_BASE + 0x44, 4), 0);
    assert_int_equal(sent, 0);
}

static void edge_pin_sends_each_edge(void **state)
{
    (void)state;
    set_redir(4, 0x0031, 0x05);
    ioapic_set_irq(&ioapic, 4, true);
    assert_int_equal(sent, 1);
    assert_true(sent_addr == 0xFEE05000);
    assert_int_equal(sent_data, 0x31);
    assert_false(sent_level);
    ioapic_set_irq(&ioapic, 4, true);
    assert_int_equal(sent, 1);
    ioapic_set_irq(&ioapic, 4, false);
    assert_int_equal(sent, 1);
    ioapic_set_irq(&ioapic, 4, true);
    assert_int_equal(sent, 2);
    assert_int_equal(reg_read(0x18) & 0x4000, 0);
    ioapic_eoi(&ioapic, 0x31);
    assert_int_equal(sent, 2);
}

static void edge_on_masked_pin_is_gone(void **state)
{
    (void)state;
    set_redir(4, 0x10031, 0);
    ioapic_set_irq(&ioapic, 4, true);
    reg_write(0x18, 0x31);
    assert_int_equal(sent, 0);
    ioapic_set_irq(&ioapic, 4, false);
    ioapic_set_irq(&ioapic, 4, true);
    assert_int_equal(sent, 1);
}

static void level_pin_waits_for_eoi(void **state)
{
    (void)state;
    set_redir(9, 0x8092, 1);
    ioapic_set_irq(&ioapic, 9, true);
    assert_int_equal(sent, 1);
    assert_int_equal(sent_data, 0xC092);
    assert_true(sent_level);
    assert_int_equal(reg_read(0x22), 0xC092);
    ioapic_set_irq(&ioapic, 9, false);
    ioapic_set_irq(&ioapic, 9, true);
    assert_int_equal(sent, 1);
    ioapic_eoi(&ioapic, 0x91);
    assert_int_equal(sent, 1);
    ioapic_eoi(&ioapic, 0x92);
    assert_int_equal(sent, 2); // still asserted
    assert_int_equal(reg_read(0x22), 0xC092);
    ioapic_set_irq(&ioapic, 9, false);
    ioapic_eoi(&ioapic, 0x92);
    assert_int_equal(sent, 2);
    assert_int_equal(reg_read(0x22), 0x8092);
    ioapic_set_irq(&ioapic, 9, true);
    assert_int_equal(sent, 3);
}

static void eoi_register_ends_one_vector(void **state)
{
    (void)state;
    set_redir(9, 0x8092, 0);
    set_redir(10, 0x8092, 0);
    set_redir(11, 0x8093, 0);
    for (unsigned pin = 9; pin <= 11; pin++) {
        ioapic_set_irq(&ioapic, pin, true);
        ioapic_set_irq(&ioapic, pin, false);
    }
    assert_int_equal(sent, 3);
    assert_int_equal(bus_mmio_write(&host.bus, IOAPIC_BASE + 0x40, 4, 0x92), BUS_OK);
    assert_int_equal(reg_read(0x22), 0x8092);
    assert_int_equal(reg_read(0x24), 0x8092);
    assert_int_equal(reg_read(0x26), 0xC093);
}

static void level_pin_sends_when_unmasked(void **state)
{
    (void)state;
    set_redir(16, 0x18040, 0);
    ioapic_set_irq(&ioapic, 16, true);
    assert_int_equal(sent, 0);
    reg_write(0x30, 0x8040);
    assert_int_equal(sent, 1);
    // Masked in service: the EOI clears remote IRR, unmasking sends again.
    reg_write(0x30, 0x18040);
    ioapic_eoi(&ioapic, 0x40);
    assert_int_equal(sent, 1);
    assert_int_equal(reg_read(0x30), 0x18040);
    reg_write(0x30, 0x8040);
    assert_int_equal(sent, 2);
}

static void turning_to_edge_clears_remote_irr(void **state)
{
    (void)state;
    set_redir(9, 0x8092, 0);
    ioapic_set_irq(&ioapic, 9, true);
    ioapic_set_irq(&ioapic, 9, false);
    assert_int_equal(reg_read(0x22), 0xC092);
    reg_write(0x22, 0x10092);
    reg_write(0x22, 0x18092);
    assert_int_equal(reg_read(0x22), 0x18092);
}

static void destination_and_delivery_modes(void **state)
{
    (void)state;
    set_redir(5, 0x0955, 0x03); // logical, lowest priority
    ioapic_set_irq(&ioapic, 5, true);
    assert_true(sent_addr == 0xFEE03004);
    assert_int_equal(sent_data, 0x155);
    // NMI acts on the edge whatever the trigger bit says.
    set_redir(6, 0x8400, 0);
    ioapic_set_irq(&ioapic, 6, true);
    assert_int_equal(sent_data, 0x400);
    assert_false(sent_level);
    assert_int_equal(reg_read(0x1C), 0x8400);
    ioapic_set_irq(&ioapic, 24, true);
    ioapic_set_irq(&ioapic, 1000, true);
    assert_int_equal(sent, 2);
}

static void reset_masks_and_keeps_levels(void **state)
{
    (void)state;
    set_redir(9, 0x8092, 0);
    ioapic_set_irq(&ioapic, 9, true);
    ioapic_reset(&ioapic);
    assert_int_equal(reg_read(0x22), 0x10000);
    set_redir(9, 0x8093, 0);
    assert_int_equal(sent, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, setup),
        cmocka_unit_test_setup(edge_pin_sends_each_edge, setup),
        cmocka_unit_test_setup(edge_on_masked_pin_is_gone, setup),
        cmocka_unit_test_setup(level_pin_waits_for_eoi, setup),
        cmocka_unit_test_setup(eoi_register_ends_one_vector, setup),
        cmocka_unit_test_setup(level_pin_sends_when_unmasked, setup),
        cmocka_unit_test_setup(turning_to_edge_clears_remote_irr, setup),
        cmocka_unit_test_setup(destination_and_delivery_modes, setup),
        cmocka_unit_test_setup(reset_masks_and_keeps_levels, setup),
    };

    return cmocka_run_group_tests_name("ioapic", tests, NULL, NULL);
}
