// SPDX-License-Identifier: BSD-2-Clause
//
// i8259 pair: the state a BIOS leaves, initialisation, priorities, the ways to end an interrupt,
// cascade, spurious vectors, poll, edge and level. ("8259A data sheet")
#include "tests/unit/board.h"

#include "vmm/dev/i8259.h"

static struct fake_host host;
static struct i8259 pic;

enum { CMD0 = 0x20, DATA0 = 0x21, CMD1 = 0xA0, DATA1 = 0xA1, EOI = 0x20 };

static void program(uint8_t icw4)
{
    out8(&host, CMD0, 0x11);
    out8(&host, DATA0, 0x30);
    out8(&host, DATA0, 0x04);
    out8(&host, DATA0, icw4);
    out8(&host, CMD1, 0x11);
    out8(&host, DATA1, 0x38);
    out8(&host, DATA1, 0x02);
    out8(&host, DATA1, icw4 & 0x0F);
}

static int setup_bios(void **state)
{
    (void)state;
    fake_host_init(&host);
    i8259_init(&pic, fake_line(&host));
    return i8259_register(&pic, &host.bus) ? 0 : -1;
}

static int setup(void **state)
{
    int status = setup_bios(state);

    program(0x01);
    return status;
}

static uint8_t read_irr(uint16_t port)
{
    out8(&host, port, 0x0A);
    return in8(&host, port);
}

static uint8_t read_isr(uint16_t port)
{
    out8(&host, port, 0x0B);
    return in8(&host, port);
}

static void raise_irq(unsigned irq)
{
    i8259_set_irq(&pic, irq, true);
}

static void pulse(unsigned irq)
{
    i8259_set_irq(&pic, irq, false);
    i8259_set_irq(&pic, irq, true);
}

static void bios_state(void **state)
{
    (void)state;
    assert_int_equal(in8(&host, DATA0), 0xF8);
    assert_int_equal(in8(&host, DATA1), 0xFF);
    assert_int_equal(in8(&host, 0x4D0), 0x00);
    assert_int_equal(in8(&host, 0x4D1), 0x02);
    assert_false(i8259_intr(&pic));
    raise_irq(0);
    assert_true(host.level);
    assert_int_equal(i8259_ack(&pic), 0x08);
    out8(&host, CMD0, EOI);
    raise_irq(8);
    assert_false(host.level);
    out8(&host, DATA1, 0xFE);
    assert_true(host.level);
    assert_int_equal(i8259_ack(&pic), 0x70);
}

static void init_masks_nothing_and_sets_vectors(void **state)
{
    (void)state;
    assert_int_equal(in8(&host, DATA0), 0);
    for (unsigned irq = 0; irq < 16; irq++) {
        if (irq == 2)
            continue;
        raise_irq(irq);
        assert_true(i8259_intr(&pic));
        assert_int_equal(i8259_ack(&pic), 0x30 + irq);
        assert_false(i8259_intr(&pic));
        if (irq >= 8)
            out8(&host, CMD1, EOI);
        out8(&host, CMD0, EOI);
        i8259_set_irq(&pic, irq, false);
    }
    assert_int_equal(read_isr(CMD0), 0);
    assert_int_equal(read_isr(CMD1), 0);
}

static void nothing_is_asked_during_init(void **state)
{
    (void)state;
    raise_irq(3);
    assert_true(host.level);
    out8(&host, CMD0, 0x11);
    assert_false(host.level); // the edge sense circuit is reset, too
    pulse(3);
    assert_false(host.level);
    out8(&host, DATA0, 0x40);
    out8(&host, DATA0, 0x04);
    assert_false(host.level);
    out8(&host, DATA0, 0x01);
    assert_true(host.level);
    assert_int_equal(i8259_ack(&pic), 0x43);
}

static void priority_and_nesting(void **state)
{
    (void)state;
    raise_irq(5);
    raise_irq(3);
    assert_int_equal(read_irr(CMD0), 0x28);
    assert_int_equal(i8259_ack(&pic), 0x33);
    assert_int_equal(read_isr(CMD0), 0x08);
    assert_int_equal(read_irr(CMD0), 0x20);
    assert_false(i8259_intr(&pic)); // 5 waits behind 3
    raise_irq(1);
    assert_true(i8259_intr(&pic));
    assert_int_equal(i8259_ack(&pic), 0x31);
    assert_int_equal(read_isr(CMD0), 0x0A);
    out8(&host, CMD0, EOI);
    assert_int_equal(read_isr(CMD0), 0x08);
    assert_false(i8259_intr(&pic));
    out8(&host, CMD0, 0x60 | 3);
    assert_int_equal(i8259_ack(&pic), 0x35);
}

static void mask_holds_and_releases(void **state)
{
    (void)state;
    out8(&host, DATA0, 0x10);
    raise_irq(4);
    assert_false(i8259_intr(&pic));
    assert_int_equal(read_irr(CMD0), 0x10);
    out8(&host, DATA0, 0x00);
    assert_true(i8259_intr(&pic));
    out8(&host, DATA0, 0x10);
    assert_false(i8259_intr(&pic));
}

static void edge_needs_a_new_edge(void **state)
{
    (void)state;
    raise_irq(4);
    assert_int_equal(i8259_ack(&pic), 0x34);
    out8(&host, CMD0, EOI);
    assert_false(i8259_intr(&pic));
    raise_irq(4); // still high: no edge
    assert_false(i8259_intr(&pic));
    pulse(4);
    assert_true(i8259_intr(&pic));
}

static void dropped_request_is_spurious(void **state)
{
    (void)state;
    raise_irq(4);
    i8259_set_irq(&pic, 4, false);
    assert_false(host.level);
    assert_int_equal(i8259_ack(&pic), 0x37);
    assert_int_equal(read_isr(CMD0), 0);

    // From the second chip: the first one has the cascade pin in service all the same. The mask
    // makes the slave's request vanish after the master has been asked.
    raise_irq(12);
    pic.chip[1].imr = 0x10;
    assert_int_equal(i8259_ack(&pic), 0x3F);
    assert_int_equal(read_isr(CMD1), 0);
    assert_int_equal(read_isr(CMD0), 0x04);
}

static void level_pin_asks_until_it_drops(void **state)
{
    (void)state;
    out8(&host, 0x4D1, 0x02);
    raise_irq(9);
    assert_int_equal(i8259_ack(&pic), 0x39);
    assert_int_equal(read_irr(CMD1), 0x02);
    out8(&host, CMD1, EOI);
    out8(&host, CMD0, EOI);
    assert_true(i8259_intr(&pic));
    assert_int_equal(i8259_ack(&pic), 0x39);
    i8259_set_irq(&pic, 9, false);
    out8(&host, CMD1, EOI);
    out8(&host, CMD0, EOI);
    assert_false(i8259_intr(&pic));
}

static void elcr_knows_what_cannot_be_level(void **state)
{
    (void)state;
    out8(&host, 0x4D0, 0xFF);
    out8(&host, 0x4D1, 0xFF);
    assert_int_equal(in8(&host, 0x4D0), 0xF8);
    assert_int_equal(in8(&host, 0x4D1), 0xDE);
    // Turning a high, already acknowledged pin to level makes it ask again.
    out8(&host, 0x4D0, 0x00);
    raise_irq(5);
    i8259_ack(&pic);
    out8(&host, CMD0, EOI);
    assert_false(i8259_intr(&pic));
    out8(&host, 0x4D0, 0x20);
    assert_true(i8259_intr(&pic));
    // One access covers both registers.
    assert_int_equal(bus_port_write(&host.bus, 0x4D0, 2, 0x0E20), BUS_OK);
    assert_int_equal(bus_port_read(&host.bus, 0x4D0, 2), 0x0E20);
}

static void ltim_makes_all_pins_level(void **state)
{
    (void)state;
    raise_irq(4);
    out8(&host, CMD0, 0x19);
    out8(&host, DATA0, 0x30);
    out8(&host, DATA0, 0x04);
    out8(&host, DATA0, 0x01);
    assert_true(i8259_intr(&pic));
    assert_int_equal(i8259_ack(&pic), 0x34);
    out8(&host, CMD0, EOI);
    assert_true(i8259_intr(&pic));
}

static void cascade_blocks_and_releases(void **state)
{
    (void)state;
    raise_irq(12);
    assert_int_equal(i8259_ack(&pic), 0x3C);
    raise_irq(8); // higher on the slave, but the master's pin 2 is in service
    assert_false(i8259_intr(&pic));
    assert_int_equal(read_irr(CMD0), 0x04);
    out8(&host, CMD0, EOI);
    assert_true(i8259_intr(&pic));
    assert_int_equal(i8259_ack(&pic), 0x38);
    assert_int_equal(read_isr(CMD1), 0x11);
    out8(&host, CMD1, EOI);
    assert_int_equal(read_isr(CMD1), 0x10);
}

static void special_fully_nested_lets_the_slave_nest(void **state)
{
    (void)state;
    program(0x11);
    raise_irq(12);
    assert_int_equal(i8259_ack(&pic), 0x3C);
    raise_irq(3); // lower than the slave
    assert_false(i8259_intr(&pic));
    raise_irq(8);
    assert_true(i8259_intr(&pic));
    assert_int_equal(i8259_ack(&pic), 0x38);
}

static void auto_eoi_and_its_rotation(void **state)
{
    (void)state;
    program(0x03);
    raise_irq(3);
    assert_int_equal(i8259_ack(&pic), 0x33);
    assert_int_equal(read_isr(CMD0), 0);
    out8(&host, CMD0, 0x80);
    pulse(3);
    assert_int_equal(i8259_ack(&pic), 0x33);
    // 3 is lowest now, so 4 comes before it.
    pulse(3);
    pulse(4);
    assert_int_equal(i8259_ack(&pic), 0x34);
    out8(&host, CMD0, 0x00);
    assert_int_equal(i8259_ack(&pic), 0x33);
    pulse(4);
    pulse(5);
    assert_int_equal(i8259_ack(&pic), 0x35); // 4 is still lowest
}

static void rotation_on_eoi(void **state)
{
    (void)state;
    raise_irq(0);
    i8259_ack(&pic);
    out8(&host, CMD0, 0xA0); // rotate on non-specific EOI
    pulse(0);
    pulse(7);
    assert_int_equal(i8259_ack(&pic), 0x37);
    out8(&host, CMD0, 0xE7); // rotate on specific EOI
    assert_int_equal(read_isr(CMD0), 0);
    assert_int_equal(i8259_ack(&pic), 0x30);
    out8(&host, CMD0, EOI);
    out8(&host, CMD0, 0xC4); // set priority: 5 is highest
    pulse(4);
    pulse(0);
    pulse(5);
    assert_int_equal(i8259_ack(&pic), 0x35);
    out8(&host, CMD0, EOI);
    assert_int_equal(i8259_ack(&pic), 0x30);
    out8(&host, CMD0, EOI);
    assert_int_equal(i8259_ack(&pic), 0x34);
    out8(&host, CMD0, 0x40); // no operation
    assert_int_equal(read_isr(CMD0), 0x10);
}

static void special_mask_mode(void **state)
{
    (void)state;
    raise_irq(3);
    i8259_ack(&pic);
    raise_irq(6);
    assert_false(i8259_intr(&pic));
    out8(&host, DATA0, 0x08);
    assert_false(i8259_intr(&pic));
    out8(&host, CMD0, 0x68);
    assert_true(i8259_intr(&pic));
    assert_int_equal(i8259_ack(&pic), 0x36);
    // A non-specific EOI passes over the masked one.
    out8(&host, CMD0, EOI);
    assert_int_equal(read_isr(CMD0), 0x08);
    out8(&host, CMD0, EOI);
    assert_int_equal(read_isr(CMD0), 0x08);
    out8(&host, CMD0, 0x48);
    out8(&host, CMD0, EOI);
    assert_int_equal(read_isr(CMD0), 0);
}

static void poll_acknowledges(void **state)
{
    (void)state;
    out8(&host, CMD0, 0x0C);
    assert_int_equal(in8(&host, CMD0) & 0x80, 0);
    raise_irq(5);
    out8(&host, CMD0, 0x0C);
    assert_int_equal(in8(&host, CMD0), 0x85);
    assert_false(host.level);
    assert_int_equal(read_isr(CMD0), 0x20);
    // The data port will do as well, and the poll is over after one read.
    raise_irq(1);
    out8(&host, CMD0, 0x0C);
    assert_int_equal(in8(&host, DATA0), 0x81);
    assert_int_equal(in8(&host, DATA0), 0x00);
}

static void icw_sequences_differ(void **state)
{
    (void)state;
    // Single, no ICW4: OCW1 follows ICW2. Without ICW4 there is no automatic EOI.
    program(0x03);
    out8(&host, CMD0, 0x12);
    out8(&host, DATA0, 0x50);
    out8(&host, DATA0, 0xA5);
    assert_int_equal(in8(&host, DATA0), 0xA5);
    raise_irq(1);
    assert_int_equal(i8259_ack(&pic), 0x51);
    assert_int_equal(read_isr(CMD0), 0x02);
    // Single, with ICW4.
    out8(&host, CMD0, 0x13);
    out8(&host, DATA0, 0x60);
    out8(&host, DATA0, 0x03);
    out8(&host, DATA0, 0x5A);
    assert_int_equal(in8(&host, DATA0), 0x5A);
    // Cascade, no ICW4.
    out8(&host, CMD0, 0x10);
    out8(&host, DATA0, 0x60);
    out8(&host, DATA0, 0x04);
    out8(&host, DATA0, 0x77);
    assert_int_equal(in8(&host, DATA0), 0x77);
}

static void reset_keeps_the_levels(void **state)
{
    (void)state;
    raise_irq(9);
    i8259_reset(&pic);
    assert_int_equal(in8(&host, DATA1), 0xFF);
    assert_int_equal(read_irr(CMD1), 0x02);
    out8(&host, DATA1, 0xFD);
    assert_int_equal(i8259_ack(&pic), 0x71);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bios_state, setup_bios),
        cmocka_unit_test_setup(init_masks_nothing_and_sets_vectors, setup),
        cmocka_unit_test_setup(nothing_is_asked_during_init, setup),
        cmocka_unit_test_setup(priority_and_nesting, setup),
        cmocka_unit_test_setup(mask_holds_and_releases, setup),
        cmocka_unit_test_setup(edge_needs_a_new_edge, setup),
        cmocka_unit_test_setup(dropped_request_is_spurious, setup),
        cmocka_unit_test_setup(level_pin_asks_until_it_drops, setup),
        cmocka_unit_test_setup(elcr_knows_what_cannot_be_level, setup),
        cmocka_unit_test_setup(ltim_makes_all_pins_level, setup),
        cmocka_unit_test_setup(cascade_blocks_and_releases, setup),
        cmocka_unit_test_setup(special_fully_nested_lets_the_slave_nest, setup),
        cmocka_unit_test_setup(auto_eoi_and_its_rotation, setup),
        cmocka_unit_test_setup(rotation_on_eoi, setup),
        cmocka_unit_test_setup(special_mask_mode, setup),
        cmocka_unit_test_setup(poll_acknowledges, setup),
        cmocka_unit_test_setup(icw_sequences_differ, setup),
        cmocka_unit_test_setup(reset_keeps_the_levels, setup_bios),
    };

    return cmocka_run_group_tests_name("i8259", tests, NULL, NULL);
}
