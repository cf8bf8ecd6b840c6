// SPDX-License-Identifier: BSD-2-Clause
// The console on what a host may have: a serial port of another speed, without an interrupt, or
// none; and a screen.
#include "tests/unit/console_world.h"

static void test_speed(void **state)
{
    (void)state;
    assert_int_equal(chip.latch[0], 1); // 115200 baud
    assert_int_equal(chip.latch[1], 0);
    start_console(0x180, false); // 300
    assert_int_equal(chip.latch[0], 0x80);
    assert_int_equal(chip.latch[1], 0x01);
}

// The screen has the merged view, whatever is shown on the serial line.
static void test_screen(void **state)
{
    (void)state;
    start_console(1, true);
    type("\0351");
    say(1, "raw\033[2J\r\n");
    say(2, "other\r\n");
    settle();
    assert_string_equal(term_text(&term, 0), "web| raw");
    assert_string_equal(term_text(&term, 1), "alpine| other");
    assert_string_equal(term_text(&term, 2), "");
    assert_int_equal(drawn, 1);
    // At most every 50 ms.
    now += 20 * MS;
    say(2, "more\r\n");
    assert_true(console_run(&console, now, false) <= now + 30 * MS);
    assert_int_equal(drawn, 1);
    now += 30 * MS;
    console_run(&console, now, false);
    assert_int_equal(drawn, 2);
    say(1, "# ");
    settle();
    assert_string_equal(term_text(&term, 3), "");
    now += 50 * MS; // a prompt
    console_run(&console, now, false);
    assert_string_equal(term_text(&term, 3), "web| #");
    console_flush(&console, true);
    say(0, "powering off\r\n");
    settle();
    assert_string_equal(term_text(&term, 4), "");
    assert_string_equal(term_text(&term, 3), "bulkhead| powering off");
    assert_true(console_flushed(&console));
}

// Without a serial port, by the config or because nobody answers there: nothing is received, and
// nothing waits.
static void test_no_port(void **state)
{
    (void)state;
    char text[32];
    for (uint32_t divisor = 0; divisor < 2; divisor++) {
        chip.absent = true;
        start_console(divisor, true);
        console.polled = true;
        uint32_t next = 0;
        for (int round = 0; round < 100; round++) {
            for (; line_room(&vm[1]) >= 8; next++) {
                snprintf(text, sizeof(text), "%07u\n", (unsigned)next);
                say(1, text);
            }
            now += 10 * MS;
            assert_true(console_run(&console, now, false) <= now + 10 * MS);
        }
        assert_true(next > 100000 / 8);
        for (int round = 0; round < 100; round++) {
            now += 10 * MS;
            console_run(&console, now, false);
        }
        snprintf(text, sizeof(text), "web| %07u", (unsigned)next - 1);
        assert_string_equal(term_text(&term, 3), text);
        assert_string_equal(heard(1), "");
        assert_int_equal(chip.sent, 0);
        assert_true(console_flushed(&console));
        now += 100 * MS;
        assert_int_equal(console_run(&console, now, false), MERGE_NEVER);
    }
}

// A VM that floods while another one is on the serial line: the screen passes something over.
static void test_screen_keeps_up(void **state)
{
    (void)state;
    char text[48];
    start_console(1, true);
    type("\0351");
    for (int i = 0; i < 20000; i++) {
        while (line_room(&vm[2]) < 40) {
            console_run(&console, now, false);
            assert_true(history_unshown(&console.line[2].screen) <= 3 * HISTORY_UNSHOWN_MAX);
        }
        snprintf(text, sizeof(text), "%08d\033[1m a line with colours\033[0m\r\n", i);
        say(2, text);
    }
    for (int i = 0; i < 200; i++) {
        now += 10 * MS;
        console_run(&console, now, false);
    }
    assert_string_equal(term_text(&term, 2), "alpine| 00019999 a line");
    assert_string_equal(term_text(&term, 3), "with colours");
    assert_int_equal(history_unshown(&console.line[2].screen), 0);
}

static void test_polled(void **state)
{
    (void)state;
    console.polled = true;
    now += 1000 * MS;
    settle();
    assert_int_equal(console_run(&console, now, false), now + 10 * MS); // for keys
    chip.keys = "k";
    now += 10 * MS;
    console_run(&console, now, false);
    assert_string_equal(heard(1), "k");
    for (int i = 0; i < 20; i++) {
        say(1, "what does not fit the chip\r\n");
    }
    assert_int_equal(console_run(&console, now, false), now + MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_speed), TEST(test_screen), TEST(test_no_port), TEST(test_screen_keeps_up),
        TEST(test_polled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
