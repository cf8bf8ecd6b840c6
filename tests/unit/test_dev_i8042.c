// SPDX-License-Identifier: BSD-2-Clause
//
// 8042 without a keyboard: Linux's probe ends quickly, reset works; port 0x92.
#include "tests/unit/board.h"

#include "vmm/dev/i8042.h"

static struct fake_host host;
static struct i8042 kbc;

enum { DATA = 0x60, CMD = 0x64, PORT_A = 0x92 };

static int setup(void **state)
{
    (void)state;
    fake_host_init(&host);
    i8042_init(&kbc, fake_line(&host), fake_power_sink(&host));
    return i8042_register(&kbc, &host.bus) ? 0 : -1;
}

// A command that answers, as i8042_command() of Linux sends it.
static uint8_t ask(uint8_t command)
{
    out8(&host, CMD, command);
    assert_int_equal(in8(&host, CMD) & 0x03, 0x01);
    uint8_t reply = in8(&host, DATA);
    assert_int_equal(in8(&host, CMD) & 0x01, 0x00);
    return reply;
}

static void present_and_empty(void **state)
{
    (void)state;
    assert_int_equal(in8(&host, CMD), 0x1C);
    assert_int_equal(in8(&host, DATA), 0x00);
    assert_int_equal(in8(&host, CMD), 0x1C);
}

static void linux_probe(void **state)
{
    (void)state;
    // i8042_controller_selftest(), i8042_controller_init()
    assert_int_equal(ask(0xAA), 0x55);
    uint8_t ctr = ask(0x20);
    assert_int_equal(ctr, 0x45);
    assert_int_equal(ask(0x20), ctr);
    ctr = (ctr | 0x10) & ~0x01;
    out8(&host, CMD, 0x60);
    out8(&host, DATA, ctr);
    assert_int_equal(ask(0x20), ctr);
    // i8042_check_aux(): the loop's answer is not marked as the mouse's, and the test fails.
    out8(&host, CMD, 0xD3);
    out8(&host, DATA, 0x5A);
    assert_int_equal(in8(&host, CMD) & 0x21, 0x01);
    in8(&host, DATA);
    assert_int_equal(ask(0xA9), 0x01);
    assert_int_equal(ask(0xAB), 0x00);
    assert_int_equal(ask(0xA4), 0xF1);
    assert_int_equal(ask(0xC0) & 0x80, 0x80);
    out8(&host, CMD, 0xA7);
    out8(&host, CMD, 0xA8);
    assert_int_equal(in8(&host, CMD) & 0x01, 0);
}

static void nobody_answers_with_a_timeout(void **state)
{
    (void)state;
    out8(&host, CMD, 0xAD);
    assert_int_equal(ask(0x20) & 0x10, 0x10);
    out8(&host, DATA, 0xF2); // identify
    assert_true(host.level);
    assert_int_equal(in8(&host, CMD), 0x55); // time-out, output full, last write was data
    assert_int_equal(in8(&host, DATA), 0xFE);
    assert_false(host.level);
    assert_int_equal(in8(&host, CMD), 0x14);
    assert_int_equal(ask(0x20) & 0x10, 0x00); // sending enables the interface
    out8(&host, CMD, 0xAD);
    out8(&host, CMD, 0xAE);
    assert_int_equal(ask(0x20) & 0x10, 0x00);
    out8(&host, CMD, 0xD4); // to the mouse
    out8(&host, DATA, 0xFF);
    assert_int_equal(in8(&host, CMD) & 0x41, 0x41);
}

static void interrupt_follows_the_command_byte(void **state)
{
    (void)state;
    out8(&host, CMD, 0x60);
    out8(&host, DATA, 0x44);
    out8(&host, CMD, 0xD2);
    out8(&host, DATA, 0x1E);
    assert_false(host.level);
    out8(&host, CMD, 0x60);
    out8(&host, DATA, 0x41);
    assert_true(host.level);
    assert_int_equal(in8(&host, CMD) & 0x04, 0);
    assert_int_equal(in8(&host, DATA), 0x1E);
    assert_false(host.level);
}

static void controller_ram(void **state)
{
    (void)state;
    out8(&host, CMD, 0x7F);
    out8(&host, DATA, 0xA5);
    assert_int_equal(ask(0x3F), 0xA5);
    out8(&host, CMD, 0x60);
    out8(&host, CMD, 0xAD); // another command cancels it
    out8(&host, DATA, 0x00);
    in8(&host, DATA);
    assert_int_equal(ask(0x20), 0x45);
}

static void resets(void **state)
{
    (void)state;
    out8(&host, CMD, 0xFE);
    assert_int_equal(host.resets, 1);
    out8(&host, CMD, 0xFF); // pulses nothing
    out8(&host, CMD, 0xF1);
    assert_int_equal(host.resets, 1);
    out8(&host, CMD, 0xF0);
    assert_int_equal(host.resets, 2);
    out8(&host, CMD, 0xD1);
    out8(&host, DATA, 0xDE);
    assert_int_equal(host.resets, 3);
    out8(&host, PORT_A, 0x03);
    assert_int_equal(host.resets, 4);
    assert_int_equal(host.power_offs, 0);
}

static void a20_bits_agree(void **state)
{
    (void)state;
    assert_int_equal(in8(&host, PORT_A), 0x02);
    out8(&host, PORT_A, 0x00);
    assert_int_equal(in8(&host, PORT_A), 0x00);
    assert_int_equal(ask(0xD0) & 0x03, 0x01);
    out8(&host, CMD, 0xD1);
    out8(&host, DATA, 0xDF);
    assert_int_equal(in8(&host, PORT_A), 0x02);
    i8042_reset(&kbc);
    assert_int_equal(in8(&host, CMD), 0x1C);
    assert_int_equal(in8(&host, PORT_A), 0x02);
    assert_int_equal(host.resets, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(present_and_empty, setup),
        cmocka_unit_test_setup(linux_probe, setup),
        cmocka_unit_test_setup(nobody_answers_with_a_timeout, setup),
        cmocka_unit_test_setup(interrupt_follows_the_command_byte, setup),
        cmocka_unit_test_setup(controller_ram, setup),
        cmocka_unit_test_setup(resets, setup),
        cmocka_unit_test_setup(a20_bits_agree, setup),
    };

    return cmocka_run_group_tests_name("i8042", tests, NULL, NULL);
}
