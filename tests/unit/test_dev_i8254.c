// SPDX-License-Identifier: BSD-2-Clause
//
// i8254 and port 0x61: the six modes, reads, latches, gates, and what Linux does with them.
// ("8254 data sheet")
#include "tests/unit/board.h"

#include "vmm/dev/i8254.h"

static struct fake_host host;
static struct i8254 pit;

enum { CH0 = 0x40, CH2 = 0x42, CTRL = 0x43, SYS = 0x61 };

// A little over the time of `n` ticks, so that the tick has certainly come.
static uint64_t ticks(uint64_t n)
{
    return clock_ticks_to_ns(n, I8254_HZ);
}

static int setup(void **state)
{
    (void)state;
    fake_host_init(&host);
    i8254_init(&pit, &host.clock, fake_line(&host));
    return i8254_register(&pit, &host.bus) ? 0 : -1;
}

static void load(unsigned channel, uint8_t mode, uint16_t count)
{
    out8(&host, CTRL, (uint8_t)(channel << 6 | 0x30 | mode << 1));
    out8(&host, (uint16_t)(CH0 + channel), (uint8_t)count);
    out8(&host, (uint16_t)(CH0 + channel), (uint8_t)(count >> 8));
}

static uint16_t latched(unsigned channel)
{
    out8(&host, CTRL, (uint8_t)(channel << 6));
    uint8_t low = in8(&host, (uint16_t)(CH0 + channel));
    return (uint16_t)(in8(&host, (uint16_t)(CH0 + channel)) << 8 | low);
}

static uint8_t status(unsigned channel)
{
    out8(&host, CTRL, (uint8_t)(0xE0 | 2U << channel));
    return in8(&host, (uint16_t)(CH0 + channel));
}

static bool out2(void)
{
    return (in8(&host, SYS) & 0x20) != 0;
}

static void bios_state_ticks_at_18_hz(void **state)
{
    (void)state;
    assert_int_equal(status(0) & 0x3F, 0x36);
    fake_advance(&host, 10 * NS_PER_SEC);
    assert_int_equal(host.rises, 182);
    assert_int_equal(in8(&host, SYS) & 0x0F, 0);
    // A reset is no tick; nor is another control word while OUT stays high.
    i8254_reset(&pit);
    assert_false(host.level);
    load(0, 2, 1000);
    assert_int_equal(host.rises, 182);
    fake_advance(&host, ticks(1000));
    assert_int_equal(host.rises, 183);
}

static void mode2_counts_down_and_pulses(void **state)
{
    (void)state;
    load(0, 2, 1000);
    assert_int_equal(latched(0), 1000);
    fake_advance(&host, ticks(1));
    assert_int_equal(latched(0), 999);
    fake_advance(&host, ticks(998));
    assert_int_equal(latched(0), 1);
    assert_int_equal(status(0) & 0x80, 0); // OUT is low for the last count
    assert_int_equal(host.rises, 0);
    fake_advance(&host, ticks(1));
    assert_int_equal(host.rises, 1);
    assert_int_equal(status(0) & 0x80, 0x80);
    fake_advance(&host, ticks(1000 * 9));
    assert_int_equal(host.rises, 10);
}

static void hundred_hertz_is_a_hundred(void **state)
{
    (void)state;
    load(0, 2, 11932);
    fake_advance(&host, NS_PER_SEC);
    assert_in_range(host.rises, 99, 100);
    fake_advance(&host, 99 * NS_PER_SEC);
    assert_in_range(host.rises, 9999, 10000);
}

static void late_ticks_coalesce(void **state)
{
    (void)state;
    load(0, 2, 1193);
    fake_sleep(&host, 100 * MS);
    assert_int_equal(host.rises, 1);
    fake_advance(&host, 10 * MS);
    assert_in_range(host.rises, 10, 12);
}

static void new_count_waits_for_the_period(void **state)
{
    (void)state;
    load(0, 2, 1000);
    fake_advance(&host, ticks(400));
    out8(&host, CH0, 200);
    out8(&host, CH0, 0);
    assert_int_equal(status(0) & 0x40, 0x40); // null count
    assert_in_range(latched(0), 599, 600);
    fake_advance(&host, ticks(601));
    assert_int_equal(host.rises, 1);
    assert_int_equal(status(0) & 0x40, 0);
    assert_in_range(latched(0), 198, 200);
    fake_advance(&host, ticks(1000));
    assert_int_equal(host.rises, 6);
}

static void mode3_is_a_square_wave(void **state)
{
    (void)state;
    load(2, 3, 1000);
    out8(&host, SYS, 1);
    assert_int_equal(latched(2), 1000);
    assert_true(out2());
    fake_advance(&host, ticks(1));
    assert_int_equal(latched(2), 998);
    fake_advance(&host, ticks(498));
    assert_true(out2());
    fake_advance(&host, ticks(2));
    assert_false(out2());
    assert_in_range(latched(2), 996, 1000);
    fake_advance(&host, ticks(499));
    assert_true(out2());
    // Odd: one tick longer high than low.
    load(2, 3, 5);
    unsigned high = 0;
    for (unsigned i = 0; i < 500; i++) {
        high += out2();
        host.now_ns += ticks(1);
    }
    assert_in_range(high, 298, 302);
}

static void mode3_new_count_starts_with_the_half(void **state)
{
    (void)state;
    load(0, 3, 1000);
    fake_advance(&host, ticks(100));
    out8(&host, CH0, 0xC8); // 200, from tick 500 on, with its low half of 100
    out8(&host, CH0, 0);
    fake_advance(&host, ticks(498));
    assert_int_equal(host.rises, 0);
    fake_advance(&host, ticks(3));
    assert_int_equal(host.rises, 1);
    fake_advance(&host, ticks(200));
    assert_int_equal(host.rises, 2);
}

static void mode0_is_one_shot(void **state)
{
    (void)state;
    load(0, 0, 500);
    assert_int_equal(status(0) & 0x80, 0);
    assert_false(host.level);
    host.rises = 0;
    fake_advance(&host, ticks(499));
    assert_int_equal(host.rises, 0);
    fake_advance(&host, ticks(2));
    assert_int_equal(host.rises, 1);
    assert_int_equal(status(0) & 0x80, 0x80);
    // It goes on counting from 0xFFFF, and OUT stays.
    assert_in_range(latched(0), 0xFFFD, 0xFFFF);
    fake_advance(&host, NS_PER_SEC);
    assert_int_equal(host.rises, 1);
    // The first byte of a new count stops it and lowers OUT.
    out8(&host, CH0, 100);
    assert_false(host.level);
    fake_advance(&host, ticks(1000));
    assert_false(host.level);
    out8(&host, CH0, 0);
    fake_advance(&host, ticks(101));
    assert_int_equal(host.rises, 2);
}

static void mode4_strobes_once(void **state)
{
    (void)state;
    load(0, 4, 300);
    host.rises = 0;
    assert_int_equal(status(0) & 0x80, 0x80);
    fake_advance(&host, ticks(300));
    assert_int_equal(status(0) & 0x80, 0);
    fake_advance(&host, ticks(2));
    assert_int_equal(host.rises, 1);
    assert_int_equal(status(0) & 0x80, 0x80);
    fake_advance(&host, NS_PER_SEC);
    assert_int_equal(host.rises, 1);
    // As Linux does for each event: only the count is written again.
    for (unsigned i = 0; i < 10; i++) {
        out8(&host, CH0, 0x20);
        out8(&host, CH0, 0);
        fake_advance(&host, ticks(40));
    }
    assert_int_equal(host.rises, 11);
}

static void mode1_and_5_wait_for_the_gate(void **state)
{
    (void)state;
    load(2, 1, 100);
    assert_true(out2());
    fake_advance(&host, ticks(500));
    assert_true(out2());
    out8(&host, SYS, 1);
    assert_false(out2());
    fake_advance(&host, ticks(60));
    out8(&host, SYS, 0); // no effect
    assert_false(out2());
    out8(&host, SYS, 1); // retrigger
    fake_advance(&host, ticks(60));
    assert_false(out2());
    fake_advance(&host, ticks(41));
    assert_true(out2());

    out8(&host, SYS, 0);
    load(2, 5, 100);
    fake_advance(&host, ticks(500));
    out8(&host, SYS, 1);
    fake_advance(&host, ticks(50));
    assert_in_range(latched(2), 49, 50);
    assert_true(out2());
    fake_advance(&host, ticks(50));
    assert_false(out2());
    fake_advance(&host, ticks(2));
    assert_true(out2());
}

static void gate_stops_modes_0_and_3(void **state)
{
    (void)state;
    out8(&host, SYS, 1);
    load(2, 0, 1000);
    fake_advance(&host, ticks(300));
    out8(&host, SYS, 0);
    uint16_t held = latched(2);
    assert_in_range(held, 699, 700);
    fake_advance(&host, NS_PER_SEC);
    assert_int_equal(latched(2), held);
    assert_false(out2());
    out8(&host, SYS, 1);
    fake_advance(&host, ticks(690));
    assert_false(out2());
    fake_advance(&host, ticks(11));
    assert_true(out2());

    load(2, 3, 1000);
    fake_advance(&host, ticks(600));
    assert_false(out2());
    out8(&host, SYS, 0);
    assert_true(out2());
    out8(&host, SYS, 1);
    assert_in_range(latched(2), 998, 1000);
}

static void linux_calibration_sees_50_ms(void **state)
{
    (void)state;
    // As pit_calibrate_tsc() does, with a poll each 2 us.
    out8(&host, SYS, (in8(&host, SYS) & ~0x02) | 0x01);
    out8(&host, CTRL, 0xB0);
    out8(&host, CH2, 59659 & 0xFF);
    out8(&host, CH2, 59659 >> 8);
    uint64_t start = host.now_ns;
    while (!out2())
        host.now_ns += 2 * US;
    assert_in_range(host.now_ns - start, 50 * MS - 5 * US, 50 * MS + 5 * US);
}

static void bcd_counts_in_decimal(void **state)
{
    (void)state;
    out8(&host, CTRL, 0x35);
    out8(&host, CH0, 0x00);
    out8(&host, CH0, 0x10);
    assert_int_equal(latched(0), 0x1000);
    fake_advance(&host, ticks(1));
    assert_int_equal(latched(0), 0x0999);
    fake_advance(&host, ticks(1000));
    assert_int_equal(host.rises, 1);
    out8(&host, CTRL, 0x31);
    out8(&host, CH0, 0x00);
    out8(&host, CH0, 0x00);
    assert_int_equal(latched(0), 0x0000);
    fake_advance(&host, ticks(1));
    assert_int_equal(latched(0), 0x9999);
}

static void access_modes(void **state)
{
    (void)state;
    out8(&host, CTRL, 0x14); // low byte only
    out8(&host, CH0, 0x80);
    assert_int_equal(in8(&host, CH0), 0x80);
    assert_int_equal(in8(&host, CH0), 0x80);
    out8(&host, CTRL, 0x24); // high byte only
    out8(&host, CH0, 0x12);
    assert_int_equal(in8(&host, CH0), 0x12);
    out8(&host, CTRL, 0x00);
    assert_int_equal(in8(&host, CH0), 0x12);
    assert_int_equal(in8(&host, CH0), 0x12);
    out8(&host, CTRL, 0x34); // both: low, high, low …
    out8(&host, CH0, 0x34);
    out8(&host, CH0, 0x12);
    assert_int_equal(in8(&host, CH0), 0x34);
    assert_int_equal(in8(&host, CH0), 0x12);
    assert_int_equal(in8(&host, CH0), 0x34);
    assert_int_equal(in8(&host, CTRL), 0xFF);
}

static void latches_hold_until_read(void **state)
{
    (void)state;
    load(0, 2, 0x8000);
    out8(&host, CTRL, 0x00);
    fake_advance(&host, ticks(0x100));
    out8(&host, CTRL, 0x00); // ignored: the first holds
    assert_int_equal(in8(&host, CH0), 0x00);
    assert_int_equal(in8(&host, CH0), 0x80);
    assert_int_equal(in8(&host, CH0), 0x00);
    assert_int_equal(in8(&host, CH0), 0x7F);
}

static void read_back_latches_status_and_count(void **state)
{
    (void)state;
    load(0, 2, 0x4321);
    load(2, 0, 0x1111);
    out8(&host, CTRL, 0xC0 | 2 | 8);
    fake_advance(&host, ticks(500));
    assert_int_equal(in8(&host, CH0), 0xB4); // OUT high, both bytes, mode 2
    assert_int_equal(in8(&host, CH0), 0x21);
    assert_int_equal(in8(&host, CH0), 0x43);
    assert_int_equal(in8(&host, CH2), 0x30);
    assert_int_equal(in8(&host, CH2), 0x11);
    assert_int_equal(in8(&host, CH2), 0x11);
    out8(&host, CTRL, 0x34); // no count since the control word: null count, OUT high
    assert_int_equal(status(0), 0xF4);
    out8(&host, CTRL, 0x3E); // mode 7 is 3
    assert_int_equal(status(0) & 0x0E, 0x06);
}

static void port61_bits(void **state)
{
    (void)state;
    out8(&host, SYS, 0xFF);
    assert_int_equal(in8(&host, SYS) & 0xCF, 0x0F);
    out8(&host, SYS, 0x00);
    unsigned changes = 0;
    uint8_t last = in8(&host, SYS) & 0x10;
    for (unsigned i = 0; i < 1000; i++) {
        host.now_ns += US;
        uint8_t bit = in8(&host, SYS) & 0x10;
        changes += bit != last;
        last = bit;
    }
    assert_in_range(changes, 64, 68); // each 15 us
}

static void absurd_rates_are_bounded(void **state)
{
    (void)state;
    for (uint8_t mode = 0; mode < 6; mode++) {
        host.fires = 0;
        load(0, mode, 1);
        fake_advance(&host, 100 * MS);
        assert_in_range(host.fires, 0, 3800);
    }
}

static void no_edge_is_lost_by_looking(void **state)
{
    (void)state;
    load(0, 2, 1000);
    host.now_ns += ticks(1500); // the kernel's timer has not been delivered yet
    latched(0);
    assert_int_equal(host.rises, 1);
    out8(&host, CTRL, 0x34);
    out8(&host, CH0, 0xE8);
    out8(&host, CH0, 0x03);
    fake_advance(&host, ticks(999));
    assert_int_equal(host.rises, 1);
    fake_advance(&host, ticks(2));
    assert_int_equal(host.rises, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bios_state_ticks_at_18_hz, setup),
        cmocka_unit_test_setup(mode2_counts_down_and_pulses, setup),
        cmocka_unit_test_setup(hundred_hertz_is_a_hundred, setup),
        cmocka_unit_test_setup(late_ticks_coalesce, setup),
        cmocka_unit_test_setup(new_count_waits_for_the_period, setup),
        cmocka_unit_test_setup(mode3_is_a_square_wave, setup),
        cmocka_unit_test_setup(mode3_new_count_starts_with_the_half, setup),
        cmocka_unit_test_setup(mode0_is_one_shot, setup),
        cmocka_unit_test_setup(mode4_strobes_once, setup),
        cmocka_unit_test_setup(mode1_and_5_wait_for_the_gate, setup),
        cmocka_unit_test_setup(gate_stops_modes_0_and_3, setup),
        cmocka_unit_test_setup(linux_calibration_sees_50_ms, setup),
        cmocka_unit_test_setup(bcd_counts_in_decimal, setup),
        cmocka_unit_test_setup(access_modes, setup),
        cmocka_unit_test_setup(latches_hold_until_read, setup),
        cmocka_unit_test_setup(read_back_latches_status_and_count, setup),
        cmocka_unit_test_setup(port61_bits, setup),
        cmocka_unit_test_setup(absurd_rates_are_bounded, setup),
        cmocka_unit_test_setup(no_edge_is_lost_by_looking, setup),
    };

    return cmocka_run_group_tests_name("i8254", tests, NULL, NULL);
}
