// SPDX-License-Identifier: BSD-2-Clause
//
// The interrupt line of the 16550A, as a handler behind an edge-triggered pin sees it: an edge for
// each cause that is left when another ends. ("PC16550D data sheet")
#include "tests/unit/uart_world.h"

static int setup(void **state)
{
    (void)state;
    return make_uart(false) ? 0 : -1;
}

// Many a small kernel never sets OUT2.
static void out2_gates_nothing(void **state)
{
    (void)state;
    out8(&host, IER, 0x01);
    type("x");
    assert_true(host.level);
    assert_int_equal(in8(&host, MCR), 0);
    out8(&host, MCR, 0x08);
    out8(&host, MCR, 0x00);
    assert_true(host.level);
    assert_int_equal(host.rises, 1);
}

// Each cause that ends while another is left: a new edge, and IIR says what for.
static void line_falls_between_two_causes(void **state)
{
    (void)state;
    out8(&host, MCR, 0x10);
    in8(&host, MSR);
    out8(&host, IER, 0x0D);
    out8(&host, DATA, 'a');
    out8(&host, DATA, 'b'); // overrun
    out8(&host, MCR, 0x11); // delta DSR
    out8(&host, IER, 0x0F);
    assert_int_equal(host.rises, 1); // what comes on top of another is no edge
    assert_int_equal(in8(&host, IIR), 0x06);
    assert_int_equal(host.rises, 1); // nor is what ends nothing
    in8(&host, LSR);
    assert_int_equal(host.rises, 2);
    assert_int_equal(in8(&host, IIR), 0x04);
    assert_int_equal(host.rises, 2);
    in8(&host, DATA);
    assert_int_equal(host.rises, 3);
    assert_int_equal(in8(&host, IIR), 0x02);
    assert_int_equal(host.rises, 4);
    assert_true(host.level);
    assert_int_equal(in8(&host, IIR), 0x00);
    in8(&host, MSR);
    assert_false(host.level);
    assert_int_equal(host.rises, 4);
}

// A handler that takes one byte and returns, without FIFO, while more are waiting.
static void each_received_byte_is_an_edge(void **state)
{
    (void)state;
    out8(&host, IER, 0x01);
    type("abc");
    assert_int_equal(host.rises, 1);
    assert_int_equal(in8(&host, DATA), 'a');
    assert_int_equal(host.rises, 2);
    assert_int_equal(in8(&host, DATA), 'b');
    assert_int_equal(host.rises, 3);
    assert_int_equal(in8(&host, DATA), 'c');
    assert_int_equal(host.rises, 3);
    assert_false(host.level);
}

// One that takes as many bytes as the trigger says are there, or all that the FIFO can hold.
static void each_fill_of_the_fifo_is_an_edge(void **state)
{
    static const uint8_t level[4] = {1, 4, 8, 14};

    (void)state;
    out8(&host, IER, 0x01);
    for (unsigned i = 0; i < 4; i++) {
        host.input_taken = host.input_count = 0;
        out8(&host, FCR, (uint8_t)(0x03 | i << 6));
        unsigned before = host.rises;
        type("0123456789012345678901234567890123456789");
        assert_int_equal(host.rises, before + 1);
        for (unsigned n = 0; n < 16; n++) {
            assert_int_equal(in8(&host, DATA), '0' + n % 10);
            if (n + level[i] <= 16) {
                bool below = 16 - (n + 1) < level[i];
                assert_int_equal(host.rises, before + (below ? 2 : 1));
            }
        }
        assert_true(host.level);
    }
}

// One that writes the next byte without a look at IIR.
static void each_sent_byte_is_an_edge(void **state)
{
    (void)state;
    out8(&host, IER, 0x02);
    assert_int_equal(host.rises, 1);
    out8(&host, DATA, 'a');
    assert_int_equal(host.rises, 2);
    out8(&host, DATA, 'b');
    assert_int_equal(host.rises, 3);
    assert_true(host.level);
    assert_int_equal(in8(&host, IIR), 0x02);
    assert_false(host.level);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(out2_gates_nothing, setup),
        cmocka_unit_test_setup(line_falls_between_two_causes, setup),
        cmocka_unit_test_setup(each_received_byte_is_an_edge, setup),
        cmocka_unit_test_setup(each_fill_of_the_fifo_is_an_edge, setup),
        cmocka_unit_test_setup(each_sent_byte_is_an_edge, setup),
    };

    return cmocka_run_group_tests_name("uart16550_line", tests, NULL, NULL);
}
