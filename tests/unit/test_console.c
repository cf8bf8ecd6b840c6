// SPDX-License-Identifier: BSD-2-Clause
// The console as a whole on a fake UART: keys, views, replay, backpressure and flush.
#include "tests/unit/console_world.h"

static void test_uart_setup(void **state)
{
    (void)state;
    assert_int_equal(chip.regs[3], 0x03);       // 8N1
    assert_int_equal(chip.regs[1], 0x03);       // received data, transmitter empty
    assert_int_equal(chip.regs[4] & 0x08, 8);   // OUT2
    assert_int_equal(chip.regs[2] & 0x01, 1);   // FIFO on
    assert_int_equal(console.uart.fifo, 16);
}

static void test_merged(void **state)
{
    (void)state;
    say(1, "hello\r\n");
    say(0, "started\r\n");
    assert_string_equal(settle(), "bulkhead| started\r\nweb| hello\r\n");
    say(2, "login: ");
    assert_string_equal(settle(), "");
    assert_int_equal(console_run(&console, now, false), now + 10 * MS); // it looks for more
    now += 10 * MS;
    assert_int_equal(console_run(&console, now, false), now + 40 * MS);
    now += 40 * MS;
    assert_string_equal(settle(), "alpine| login: ");
}

// Stamps say when a line came, not when the port was ready for it.
static void test_stamps_while_the_port_is_busy(void **state)
{
    (void)state;
    type("\x1dt");
    for (int i = 0; i < 40; i++) {
        say(1, "a line that keeps the port busy for a while\r\n");
    }
    console_run(&console, now, false);
    now += 20 * MS;
    say(2, "on time\r\n");
    console_run(&console, now, false);
    now += 300 * MS;
    assert_non_null(strstr(settle(), "\r\n    1.020000 alpine| on time\r\n"));
}

static void test_one_signal_for_many_bytes(void **state)
{
    (void)state;
    settle();
    to_console = 0;
    for (int i = 0; i < 100; i++) {
        say(1, "x");
        settle();
        now += MS / 2;
    }
    assert_int_equal(to_console, 1);
    // After 10 ms of silence it is signalled again, and nothing that came in between is missed.
    now += 10 * MS;
    settle();
    say(1, "y");
    assert_int_equal(to_console, 2);
}

static void test_keys_go_to_the_first_vm_then_the_last_focused(void **state)
{
    (void)state;
    type("ab\r");
    assert_string_equal(heard(1), "ab\r");
    type("\0352");
    type("x\035\035");
    assert_string_equal(heard(2), "x\035");
    type("\035m");
    type("help\r");
    assert_string_equal(heard(0), "\fhelp\r");
    type("\035a");
    type("y");
    assert_string_equal(heard(2), "y");
    assert_string_equal(heard(1), "");
}

static void test_keys_go_to_the_prompt(void **state)
{
    (void)state;
    const char *text = type("a"); // nobody asks for anything
    assert_non_null(strstr(text, "[keys go to web; "));
    assert_string_equal(heard(1), "a");
    say(2, "login: ");
    settle();
    now += 50 * MS;
    assert_string_equal(settle(), "alpine| login: ");
    assert_string_equal(type("r"), ""); // the cursor stands there: no need to say so
    assert_string_equal(heard(2), "r");
    say(1, "password: ");
    settle();
    now += 50 * MS;
    assert_non_null(strstr(settle(), "web| password: "));
    type("o"); // not in the middle of a word to another
    assert_string_equal(heard(2), "o");
    assert_string_equal(heard(1), "");
}

static void test_focus(void **state)
{
    (void)state;
    say(1, "line 1\r\nline 2\r\n# ");
    say(2, "other\r\n");
    settle();
    const char *text = type("\0351");
    assert_non_null(strstr(text, "[web; "));
    assert_non_null(strstr(text, "\r\nline 1\r\nline 2\r\n# "));
    say(2, "unseen\r\n");
    say(1, "raw\033[2J\r");
    assert_string_equal(settle(), "raw\033[2J\r");
    text = type("\035a");
    assert_non_null(strstr(text, "[all VMs; keys go to web]"));
    say(2, "seen\r\n");
    assert_string_equal(settle(), "alpine| seen\r\n");
    // What was said meanwhile is in the history.
    text = type("\0352");
    assert_non_null(strstr(text, "other\r\nunseen\r\nseen\r\n"));
}

// What was shown alone, more than a history keeps, has nothing to do with what follows.
static void test_a_line_is_whole_after_focus(void **state)
{
    (void)state;
    char text[101];
    type("\0351");
    say(1, "one\r\ntwo\r\n");
    assert_string_equal(settle(), "one\r\ntwo\r\n");
    memset(text, 'x', 100);
    text[100] = '\0';
    for (uint32_t i = 0; i < HISTORY_SIZE + 1000; i += 100) {
        say(1, text);
        settle();
    }
    say(1, "\r\n");
    settle();
    type("\035a");
    say(1, "half ");
    assert_string_equal(settle(), "");
    say(1, "whole\r\n");
    assert_string_equal(settle(), "web| half whole\r\n");
}

static void test_focus_by_name(void **state)
{
    (void)state;
    assert_non_null(strstr(type("\035web\r"), "[web; "));
    assert_non_null(strstr(type("\035=alpine\r"), "[alpine; "));
    assert_non_null(strstr(type("\035=1\r"), "[web; "));
    const char *text = type("\035nobody\r");
    assert_non_null(strstr(text, "[no VM is called 'nobody']"));
    assert_non_null(strstr(text, "1=web 2=alpine"));
    assert_int_equal(console.focus, 1);
    assert_non_null(strstr(type("\0359"), "[there is no VM 9]"));
    assert_non_null(strstr(type("\035?"), "Ctrl-]: send Ctrl-]"));
    type("\035we\033z"); // Esc cancels; what follows is a key again
    assert_string_equal(heard(1), "z");
}

static void test_replay_is_without_questions(void **state)
{
    (void)state;
    char text[32];
    for (int i = 1; i <= 60; i++) {
        snprintf(text, sizeof(text), "line %d\033[6n\033[0m\r\n", i);
        say(1, text);
    }
    settle();
    const char *again = type("\0351");
    assert_null(strstr(again, "line 20\033"));
    assert_non_null(strstr(again, "line 21\033[0m\r\n")); // the last 40
    assert_non_null(strstr(again, "line 60\033[0m\r\n"));
    assert_null(strstr(again, "\033[6n"));
    say(1, "\033[6n"); // live, it passes
    assert_string_equal(settle(), "\033[6n");
}

static void test_nothing_is_lost_and_the_flooder_waits(void **state)
{
    (void)state;
    // 1 MB from one VM through a slow port: its ring fills and stops it, and every line arrives.
    char text[32];
    uint32_t next = 0, want = 0;
    chip.in_fifo = 16; // the port is stuck
    for (bool full = false; !full; next++) {
        snprintf(text, sizeof(text), "%07u\n", (unsigned)next);
        full = line_room(&vm[1]) < 8;
        if (!full) {
            say(1, text);
        }
        console_run(&console, now, false);
    }
    next--;
    assert_true(next * 8 >= CONSOLE_OUTPUT_SIZE);
    assert_true(next * 8 <= CONSOLE_OUTPUT_SIZE + 2 * HISTORY_UNSHOWN_MAX);
    say(2, "I am here\n");
    chip.in_fifo = 0;
    chip.empty_pending = true;
    settle();
    char *line = strtok(chip.wire, "\r\n");
    for (bool other = false; line != NULL; line = strtok(NULL, "\r\n")) {
        if (!other && strcmp(line, "alpine| I am here") == 0) {
            other = true;
            assert_true(want < 200);
            continue;
        }
        snprintf(text, sizeof(text), "web| %07u", (unsigned)want++);
        assert_string_equal(line, text);
    }
    assert_int_equal(want, next);
}

static void test_unread_keys_beep(void **state)
{
    (void)state;
    static char keys[CONSOLE_INPUT_SIZE + 2];
    memset(keys, 'k', sizeof(keys) - 1);
    for (int i = 0; i < 200; i++) {
        type(i == 0 ? keys : chip.keys);
    }
    assert_int_equal(line_used(&vm[1]), CONSOLE_INPUT_SIZE);
    assert_string_equal(type("k"), "\a");
}

static void test_lost_interrupt(void **state)
{
    (void)state;
    say(1, "a line that is longer than one FIFO of the chip\n");
    chip.sent = 0;
    assert_int_equal(console_run(&console, now, false), now + 10 * MS);
    assert_int_equal(chip.sent, 16);
    chip.in_fifo = 0; // it is empty, but no interrupt comes
    now += 50 * MS;
    console_run(&console, now, false);
    assert_int_equal(chip.sent, 32);
}

static void test_flush(void **state)
{
    (void)state;
    say(1, "unfinished");
    say(2, "a line\n");
    console_flush(&console, true);
    assert_int_equal(console_run(&console, now, false), now + MS);
    assert_false(console_flushed(&console));
    chip.in_fifo = 0;
    settle();
    chip.in_fifo = 0;
    assert_true(console_flushed(&console));
}

static void test_hostile_line(void **state)
{
    (void)state;
    struct ring *ring = memory[1];
    say(2, "fine\n");
    atomic_store(&ring->head, 0x7fffffff);
    assert_string_equal(settle(), "alpine| fine\r\n");
    atomic_store(&ring->head, CONSOLE_OUTPUT_SIZE);
    say(2, "still fine\n");
    now += 1000 * MS;
    assert_non_null(strstr(settle(), "alpine| still fine\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_uart_setup), TEST(test_merged), TEST(test_stamps_while_the_port_is_busy),
        TEST(test_one_signal_for_many_bytes),
        TEST(test_keys_go_to_the_first_vm_then_the_last_focused),
        TEST(test_keys_go_to_the_prompt), TEST(test_focus),
        TEST(test_a_line_is_whole_after_focus),
        TEST(test_focus_by_name), TEST(test_replay_is_without_questions),
        TEST(test_nothing_is_lost_and_the_flooder_waits), TEST(test_unread_keys_beep),
        TEST(test_lost_interrupt), TEST(test_flush), TEST(test_hostile_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
