// SPDX-License-Identifier: BSD-2-Clause
//
// 16550A: what Linux's 8250 driver probes, interrupts and their order, FIFOs, loopback, a console
// that is full, and paced transmission. ("PC16550D data sheet")
#include "tests/unit/uart_world.h"

// 115200 8N1: ten bits.
#define CHAR_NS 86805ULL

static int setup_uart(bool paced)
{
    if (!make_uart(paced))
        return -1;
    out8(&host, LCR, 0x83);
    out8(&host, DATA, 1);
    out8(&host, IER, 0);
    out8(&host, LCR, 0x03);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_uart(false);
}

static int setup_paced(void **state)
{
    (void)state;
    return setup_uart(true);
}

static void reset_state(void **state)
{
    (void)state;
    out8(&host, SCR, 0x55);
    uart16550_reset(&uart);
    assert_int_equal(in8(&host, IER), 0);
    assert_int_equal(in8(&host, IIR), 0x01);
    assert_int_equal(in8(&host, LCR), 0x03);
    assert_int_equal(in8(&host, MCR), 0);
    assert_int_equal(in8(&host, LSR), 0x60);
    assert_int_equal(in8(&host, MSR), 0xB0);
    assert_int_equal(in8(&host, SCR), 0);
    out8(&host, LCR, 0x80);
    assert_int_equal(bus_port_read(&host.bus, DATA, 2), 12);
}

// The steps of Linux 6.1's autoconfig() that tell a 16550A from all others.
static void linux_autoconfig_finds_a_16550a(void **state)
{
    (void)state;
    out8(&host, IER, 0x00);
    assert_int_equal(in8(&host, IER) & 0x0F, 0x00);
    out8(&host, IER, 0x0F);
    assert_int_equal(in8(&host, IER), 0x0F);
    out8(&host, IER, 0x00);

    out8(&host, MCR, 0x10 | 0x0A);
    assert_int_equal(in8(&host, MSR) & 0xF0, 0x90);
    out8(&host, MCR, 0);

    out8(&host, LCR, 0xBF);
    out8(&host, FCR, 0);
    out8(&host, LCR, 0);
    out8(&host, FCR, 0x01);
    assert_int_equal(in8(&host, IIR) >> 6, 3);

    // Not a 16650: register 2 is still IIR with DLAB set. Not a 16750: bit 5 stays 0.
    out8(&host, LCR, 0x80);
    assert_int_not_equal(in8(&host, IIR), 0);
    out8(&host, FCR, 0x21);
    assert_int_equal(in8(&host, IIR) & 0x20, 0);
    out8(&host, LCR, 0xBF);
    assert_int_not_equal(in8(&host, IIR), 0);
    out8(&host, LCR, 0);
    // Not an XScale: IER bit 6 does not stick.
    out8(&host, IER, 0x40);
    assert_int_equal(in8(&host, IER), 0);
    out8(&host, SCR, 0xA5);
    assert_int_equal(in8(&host, SCR), 0xA5);
    out8(&host, FCR, 0);
    assert_int_equal(in8(&host, IIR) & 0xC0, 0);
}

// serial8250_do_startup(): the THRE interrupt must come back each time it is enabled.
static void linux_thre_test_finds_no_bug(void **state)
{
    (void)state;
    out8(&host, IER, 0x02);
    assert_int_equal(in8(&host, IIR), 0x02);
    out8(&host, IER, 0x00);
    out8(&host, IER, 0x02);
    assert_int_equal(in8(&host, IIR), 0x02);
    assert_int_equal(in8(&host, IIR), 0x01);
    out8(&host, IER, 0x02); // no change: no new interrupt
    assert_int_equal(in8(&host, IIR), 0x01);
    out8(&host, IER, 0x00);
    assert_int_equal(in8(&host, LSR) & 0x40, 0x40);
}

static void thre_interrupt_ends_by_iir_or_thr(void **state)
{
    (void)state;
    out8(&host, MCR, 0x08);
    out8(&host, IER, 0x02);
    assert_true(host.level);
    assert_int_equal(in8(&host, IIR), 0x02);
    assert_false(host.level);
    out8(&host, DATA, 'a');
    assert_true(host.level); // sent at once, so empty again
    assert_int_equal(in8(&host, LSR), 0x60);
    assert_true(host.level); // LSR ends nothing
    out8(&host, IER, 0x00);
    assert_false(host.level);
    assert_int_equal(host.output_count, 1);
    assert_int_equal(host.output[0], 'a');
}

static void iir_of_higher_priority_keeps_thre(void **state)
{
    (void)state;
    out8(&host, IER, 0x03);
    type("x");
    assert_int_equal(in8(&host, IIR), 0x04);
    assert_int_equal(in8(&host, IIR), 0x04);
    assert_int_equal(in8(&host, DATA), 'x');
    assert_int_equal(in8(&host, IIR), 0x02);
    assert_int_equal(in8(&host, IIR), 0x01);
}

static void priorities(void **state)
{
    (void)state;
    out8(&host, MCR, 0x10);
    in8(&host, MSR);
    out8(&host, IER, 0x0F);
    out8(&host, DATA, 'a');
    out8(&host, DATA, 'b'); // overrun of the single register
    out8(&host, MCR, 0x11); // DTR: delta DSR
    assert_int_equal(in8(&host, IIR), 0x06);
    assert_int_equal(in8(&host, LSR), 0x63);
    assert_int_equal(in8(&host, LSR), 0x61);
    assert_int_equal(in8(&host, IIR), 0x04);
    assert_int_equal(in8(&host, DATA), 'b');
    assert_int_equal(in8(&host, IIR), 0x02);
    assert_int_equal(in8(&host, IIR), 0x00);
    assert_int_equal(in8(&host, MSR), 0x22);
    assert_int_equal(in8(&host, MSR), 0x20);
    assert_int_equal(in8(&host, IIR), 0x01);
}

static void fifo_trigger_levels(void **state)
{
    static const uint8_t level[4] = {1, 4, 8, 14};

    (void)state;
    out8(&host, MCR, 0x08);
    out8(&host, IER, 0x01);
    for (unsigned i = 0; i < 4; i++) {
        out8(&host, FCR, (uint8_t)(0x03 | i << 6));
        for (unsigned n = 1; n < level[i]; n++) {
            type("x");
            assert_false(host.level);
            assert_int_equal(in8(&host, IIR), 0xC1);
        }
        type("x");
        assert_true(host.level);
        assert_int_equal(in8(&host, IIR), 0xC4);
        in8(&host, DATA);
        assert_false(host.level);
    }
}

static void character_timeout(void **state)
{
    (void)state;
    out8(&host, MCR, 0x08);
    out8(&host, IER, 0x01);
    out8(&host, FCR, 0x81);
    type("ab");
    fake_advance(&host, 3 * CHAR_NS);
    assert_false(host.level);
    type("c"); // starts it anew
    fake_advance(&host, 3 * CHAR_NS);
    assert_false(host.level);
    fake_advance(&host, 2 * CHAR_NS);
    assert_true(host.level);
    assert_int_equal(in8(&host, IIR), 0xCC);
    assert_int_equal(in8(&host, DATA), 'a');
    assert_false(host.level);
    assert_int_equal(in8(&host, IIR), 0xC1);
    fake_advance(&host, 5 * CHAR_NS);
    assert_int_equal(in8(&host, IIR), 0xCC);
    assert_int_equal(in8(&host, DATA), 'b');
    assert_int_equal(in8(&host, DATA), 'c');
    fake_advance(&host, 50 * CHAR_NS);
    assert_false(host.level);
    assert_true(host.armed_ns == CLOCK_NEVER);
    // At the trigger level there is nothing to time.
    type("12345678");
    assert_int_equal(in8(&host, IIR), 0xC4);
    assert_true(host.armed_ns == CLOCK_NEVER);
}

static void timeout_starts_when_interrupts_are_enabled(void **state)
{
    (void)state;
    out8(&host, MCR, 0x08);
    out8(&host, FCR, 0x81);
    type("a");
    fake_advance(&host, 100 * CHAR_NS);
    out8(&host, IER, 0x01);
    assert_false(host.level);
    fake_advance(&host, 5 * CHAR_NS);
    assert_true(host.level);
}

static void input_is_pulled_as_there_is_room(void **state)
{
    (void)state;
    out8(&host, FCR, 0x01);
    for (unsigned i = 0; i < 100; i++)
        host.input[host.input_count++] = (uint8_t)i;
    uart16550_rx_poll(&uart);
    assert_int_equal(host.input_taken, 16);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(in8(&host, LSR), 0x61);
        assert_int_equal(in8(&host, DATA), i);
    }
    assert_int_equal(in8(&host, LSR), 0x60);
    // Without the FIFO one byte at a time; a polling guest needs no wake-up.
    out8(&host, FCR, 0x00);
    host.input[0] = 'p';
    host.input[1] = 'q';
    host.input_taken = 0;
    host.input_count = 2;
    assert_int_equal(in8(&host, LSR), 0x61);
    assert_int_equal(host.input_taken, 1);
    assert_int_equal(in8(&host, DATA), 'p');
    assert_int_equal(in8(&host, DATA), 'q');
    assert_int_equal(in8(&host, LSR), 0x60);
    assert_int_equal(in8(&host, DATA), 'q'); // the empty register keeps its last byte
}

static void fcr_clears_and_toggles(void **state)
{
    (void)state;
    out8(&host, FCR, 0x01);
    type("abc");
    out8(&host, FCR, 0x02); // bit 0 is 0: FIFO off, which clears it as well
    assert_int_equal(in8(&host, LSR), 0x60);
    out8(&host, FCR, 0x01);
    type("abc");
    out8(&host, FCR, 0x01);
    assert_int_equal(in8(&host, LSR), 0x61);
    out8(&host, FCR, 0x03);
    assert_int_equal(in8(&host, LSR), 0x60);
}

static void loopback(void **state)
{
    (void)state;
    out8(&host, FCR, 0x01);
    out8(&host, MCR, 0x10);
    for (unsigned i = 0; i < 17; i++)
        out8(&host, DATA, (uint8_t)('A' + i));
    assert_int_equal(host.output_count, 0);
    assert_int_equal(in8(&host, LSR), 0x63); // the 17th was one too many
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(in8(&host, DATA), 'A' + i);
    assert_int_equal(in8(&host, LSR), 0x60);
    // The line is cut off meanwhile, but nothing on it is lost.
    type("z");
    assert_int_equal(in8(&host, LSR), 0x60);
    out8(&host, MCR, 0x00);
    assert_int_equal(in8(&host, LSR), 0x61);
    assert_int_equal(in8(&host, DATA), 'z');
}

static void modem_deltas(void **state)
{
    (void)state;
    out8(&host, MCR, 0x1F);
    assert_int_equal(in8(&host, MSR) & 0xF0, 0xF0);
    out8(&host, MCR, 0x1B); // RI falls: trailing edge
    assert_int_equal(in8(&host, MSR), 0xB4);
    out8(&host, MCR, 0x1F); // RI rises: nothing
    assert_int_equal(in8(&host, MSR), 0xF0);
    out8(&host, MCR, 0x10);
    assert_int_equal(in8(&host, MSR), 0x0F);
    out8(&host, MCR, 0x00);
    assert_int_equal(in8(&host, MSR), 0xBB);
    assert_int_equal(in8(&host, MSR), 0xB0);
}

static void full_console_blocks_and_loses_nothing(void **state)
{
    (void)state;
    host.output_room = 2;
    out8(&host, MCR, 0x08);
    out8(&host, IER, 0x02);
    out8(&host, DATA, '1');
    out8(&host, DATA, '2');
    in8(&host, IIR);
    assert_int_equal(bus_port_write(&host.bus, DATA, 1, '3'), BUS_BLOCKED);
    assert_int_equal(bus_port_write(&host.bus, DATA, 1, '3'), BUS_BLOCKED);
    assert_false(host.level); // nothing has happened
    assert_int_equal(in8(&host, LSR), 0x60);
    host.output_room = 3;
    out8(&host, DATA, '3');
    assert_true(host.level);
    assert_memory_equal(host.output, "123", 3);
    assert_int_equal(host.output_count, 3);
}

static void divisor_latch_hides_data(void **state)
{
    (void)state;
    out8(&host, LCR, 0x83);
    out8(&host, DATA, 0x34);
    out8(&host, IER, 0x12);
    assert_int_equal(in8(&host, DATA), 0x34);
    assert_int_equal(in8(&host, IER), 0x12);
    out8(&host, LCR, 0x03);
    assert_int_equal(in8(&host, IER), 0x00);
    assert_int_equal(host.output_count, 0);
    out8(&host, LSR, 0xFF);
    out8(&host, MSR, 0xFF);
    assert_int_equal(in8(&host, LSR), 0x60);
    assert_int_equal(in8(&host, MSR), 0xB0);
}

static void paced_transmitter_takes_its_time(void **state)
{
    (void)state;
    out8(&host, MCR, 0x08);
    out8(&host, FCR, 0x01);
    out8(&host, IER, 0x02);
    in8(&host, IIR);
    out8(&host, DATA, 'a'); // straight into the shift register
    assert_int_equal(in8(&host, LSR), 0x20);
    assert_int_equal(in8(&host, IIR), 0xC2);
    for (unsigned i = 0; i < 15; i++)
        out8(&host, DATA, 'b');
    assert_int_equal(host.output_count, 16);
    assert_int_equal(in8(&host, LSR), 0x00);
    assert_false(host.level);
    fake_advance(&host, 14 * CHAR_NS);
    assert_false(host.level);
    fake_advance(&host, CHAR_NS + US);
    assert_true(host.level);
    assert_int_equal(in8(&host, LSR), 0x20);
    fake_advance(&host, CHAR_NS);
    assert_int_equal(in8(&host, LSR), 0x60);
    assert_int_equal(in8(&host, IIR), 0xC2);
    assert_false(host.level);
}

static void paced_polling_needs_no_timer_event(void **state)
{
    (void)state;
    uint64_t start = host.now_ns;

    for (unsigned i = 0; i < 100; i++) {
        while ((in8(&host, LSR) & 0x20) == 0)
            host.now_ns += US;
        out8(&host, DATA, 'x');
    }
    assert_in_range(host.now_ns - start, 97 * CHAR_NS, 101 * CHAR_NS);
    out8(&host, FCR, 0x01);
    out8(&host, DATA, 'x');
    out8(&host, DATA, 'x');
    out8(&host, FCR, 0x05);
    assert_int_equal(in8(&host, LSR), 0x20);
    uart16550_reset(&uart);
    assert_int_equal(in8(&host, LSR), 0x60);
}

static void character_time_follows_the_format(void **state)
{
    (void)state;
    out8(&host, LCR, 0x80);
    out8(&host, DATA, 12);  // 9600
    out8(&host, LCR, 0x1F); // 8 bits, parity, two stop bits: 12 bits
    out8(&host, MCR, 0x08);
    out8(&host, IER, 0x01);
    out8(&host, FCR, 0x81);
    type("a");
    fake_advance(&host, 4 * 1250 * US - US);
    assert_false(host.level);
    fake_advance(&host, 2 * US);
    assert_true(host.level);
    out8(&host, LCR, 0x80);
    out8(&host, DATA, 0); // no divisor: some time, not a division by zero
    out8(&host, LCR, 0x00);
    in8(&host, DATA);
    type("a");
    fake_advance(&host, MS);
    assert_true(host.level);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reset_state, setup),
        cmocka_unit_test_setup(linux_autoconfig_finds_a_16550a, setup),
        cmocka_unit_test_setup(linux_thre_test_finds_no_bug, setup),
        cmocka_unit_test_setup(linux_thre_test_finds_no_bug, setup_paced),
        cmocka_unit_test_setup(thre_interrupt_ends_by_iir_or_thr, setup),
        cmocka_unit_test_setup(iir_of_higher_priority_keeps_thre, setup),
        cmocka_unit_test_setup(priorities, setup),
        cmocka_unit_test_setup(fifo_trigger_levels, setup),
        cmocka_unit_test_setup(character_timeout, setup),
        cmocka_unit_test_setup(timeout_starts_when_interrupts_are_enabled, setup),
        cmocka_unit_test_setup(input_is_pulled_as_there_is_room, setup),
        cmocka_unit_test_setup(fcr_clears_and_toggles, setup),
        cmocka_unit_test_setup(loopback, setup),
        cmocka_unit_test_setup(modem_deltas, setup),
        cmocka_unit_test_setup(full_console_blocks_and_loses_nothing, setup),
        cmocka_unit_test_setup(divisor_latch_hides_data, setup),
        cmocka_unit_test_setup(paced_transmitter_takes_its_time, setup_paced),
        cmocka_unit_test_setup(paced_polling_needs_no_timer_event, setup_paced),
        cmocka_unit_test_setup(character_time_follows_the_format, setup),
    };

    return cmocka_run_group_tests_name("uart16550", tests, NULL, NULL);
}
