// SPDX-License-Identifier: BSD-2-Clause
// The merged view: what must come out for what went in, to the byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/console/merge.h"

#define MS 1000000ull

static struct merge merge;
static struct history history[3];
static struct history_view view[3];
static uint64_t now;
static char shown[1 << 20];

static int setup(void **state)
{
    (void)state;
    static const char *const names[] = {"web", "db", "hello"};
    memset(history, 0, sizeof(history));
    now = 1000 * MS;
    merge_init(&merge, 1000 * MS);
    for (int i = 0; i < 3; i++) {
        view[i] = (struct history_view){.of = &history[i]};
        merge_add(&merge, names[i], &view[i]);
    }
    return 0;
}

static void arrive_bytes(int source, const void *bytes, uint32_t len)
{
    history_put(&history[source], bytes, len, now);
    merge_arrived(&merge, (uint32_t)source, now);
}

static void arrive(int source, const char *text)
{
    arrive_bytes(source, text, (uint32_t)strlen(text));
}

// Everything that can be shown now, in portions of `portion` bytes.
static const char *produce_by(uint32_t portion)
{
    uint32_t len = 0, got;
    do {
        got = merge_produce(&merge, (uint8_t *)shown + len, portion, now);
        assert_true(got <= portion);
        len += got;
        assert_true(len < sizeof(shown) - portion);
    } while (got > 0);
    shown[len] = '\0';
    return shown;
}

static const char *produce(void)
{
    return produce_by(1024);
}

static void test_whole_lines(void **state)
{
    (void)state;
    arrive(0, "one\n");
    assert_string_equal(produce(), "web| one\r\n");
    arrive(1, "two\r\nthree\r\r\n");
    assert_string_equal(produce(), "db| two\r\ndb| three\r\n");
    arrive(0, "\n");
    assert_string_equal(produce(), "web| \r\n");
    assert_int_equal(merge_deadline(&merge, now), MERGE_NEVER);
}

static void test_line_waits_for_its_end(void **state)
{
    (void)state;
    arrive(0, "half ");
    assert_string_equal(produce(), "");
    assert_int_equal(merge_deadline(&merge, now), now + 50 * MS);
    now += 49 * MS;
    arrive(1, "other\n");
    assert_string_equal(produce(), "db| other\r\n");
    arrive(0, "whole\n");
    assert_string_equal(produce(), "web| half whole\r\n");
}

static void test_prompt_and_continuation(void **state)
{
    (void)state;
    arrive(0, "# ");
    now += 50 * MS;
    assert_string_equal(produce(), "web| # ");
    now += 1000 * MS;
    arrive(0, "l"); // an echo is shown at once
    assert_string_equal(produce(), "l");
    now += 10 * MS;
    arrive(1, "news\n"); // and is not interrupted within 50 ms
    assert_string_equal(produce(), "");
    assert_int_equal(merge_deadline(&merge, now), now + 40 * MS);
    now += 40 * MS;
    assert_string_equal(produce(), "\r\ndb| news\r\n");
    arrive(0, "s\r\nfile\r\n");
    assert_string_equal(produce(), "web| s\r\nweb| file\r\n");
}

static void test_interrupted_line_that_only_ends(void **state)
{
    (void)state;
    arrive(0, "working...");
    now += 60 * MS;
    produce();
    arrive(1, "x\n");
    assert_string_equal(produce(), "\r\ndb| x\r\n");
    arrive(0, "\nnext\n");
    assert_string_equal(produce(), "web| next\r\n");
}

static void test_round_robin(void **state)
{
    (void)state;
    arrive(0, "a1\na2\na3\na4\n");
    arrive(1, "b1\nb2\n");
    arrive(2, "c1\n");
    assert_string_equal(produce(), "web| a1\r\ndb| b1\r\nhello| c1\r\nweb| a2\r\ndb| b2\r\n"
                                   "web| a3\r\nweb| a4\r\n");
}

// Both have gone on for more than half a second when the view gets to them, and both have more than
// is let wait: each must have a turn, and not only take it from the other.
static void test_two_floods_without_lines_take_turns(void **state)
{
    char flood[HISTORY_UNSHOWN_MAX / 16], again[128];
    const char *text;
    (void)state;
    for (int i = 0; i < 16; i++) {
        for (int source = 0; source < 2; source++) {
            memset(flood, 'a' + source, sizeof(flood));
            arrive_bytes(source, flood, sizeof(flood));
        }
        now += 40 * MS;
    }
    text = produce();
    assert_memory_equal(text, "web| aaa", 8);
    // The second one's turn comes after 8 KB of the first, and not before.
    snprintf(again, sizeof(again), "a\r\ndb| b");
    assert_ptr_equal(strstr(text, "a\r\n"), text + 5 + HISTORY_UNSHOWN_MAX - 1);
    assert_memory_equal(strstr(text, "a\r\n"), again, strlen(again));
    assert_int_equal(strlen(text), 2 * HISTORY_UNSHOWN_MAX + strlen("web| \r\ndb| "));
}

static void test_flood_starves_nobody(void **state)
{
    (void)state;
    // web always has more to say; a line of db must come after at most one line of web.
    for (int round = 0; round < 100; round++) {
        while (history_unshown(&view[0]) < HISTORY_UNSHOWN_MAX - 8) {
            arrive(0, "flood!\n");
        }
        arrive(1, "alive\n");
        uint32_t len = merge_produce(&merge, (uint8_t *)shown, MERGE_STEP_MAX + 60, now);
        shown[len] = '\0';
        assert_non_null(strstr(shown, "db| alive"));
        now += MS;
        produce();
    }
}

static void test_endless_line_starves_nobody(void **state)
{
    (void)state;
    char x[1024];
    memset(x, 'x', sizeof(x));
    bool seen = false;
    for (int round = 0; round < 40 && !seen; round++) {
        arrive_bytes(0, x, sizeof(x));
        arrive(1, round == 0 ? "alive\n" : "");
        now += MS;
        seen = strstr(produce(), "db| alive\r\n") != NULL;
    }
    assert_true(seen);
    // It is the same with bytes that dribble in without a pause, and so are never complete.
    arrive(2, "start");
    now += 60 * MS;
    produce();
    arrive(1, "second\n");
    seen = false;
    for (int round = 0; round < 60 && !seen; round++) {
        arrive(2, ".");
        now += 10 * MS;
        seen = strstr(produce(), "db| second\r\n") != NULL;
    }
    assert_true(seen);
}

static void test_not_torn_by_small_portions(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        arrive(0, "abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz\n");
        arrive(1, "0123456789 0123456789 0123456789\n");
    }
    produce_by(MERGE_STEP_MAX);
    uint32_t lines = 0;
    for (char *line = strtok(shown, "\r\n"); line != NULL; line = strtok(NULL, "\r\n"), lines++) {
        assert_string_equal(line, lines % 2 == 0
            ? "web| abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz"
            : "db| 0123456789 0123456789 0123456789");
    }
    assert_int_equal(lines, 40);
}

static void test_carriage_return(void **state)
{
    (void)state;
    arrive(0, "10%\r20%\r\n");
    assert_string_equal(produce(), "web| 10%\rweb| 20%\r\n");
    arrive(0, "\r\rstart\n"); // nothing to go back over
    assert_string_equal(produce(), "web| start\r\n");
    // Split between two arrivals.
    arrive(0, "a\r");
    now += 50 * MS;
    assert_string_equal(produce(), "web| a");
    arrive(0, "\n");
    assert_string_equal(produce(), "\r\n");
}

static void test_backspace_stops_at_the_prefix(void **state)
{
    (void)state;
    arrive(0, "\b\bab\b\b\b\bc\n");
    assert_string_equal(produce(), "web| ab\b\bc\r\n");
    arrive(0, "ab\033[9Dc\033[Dd\n");
    assert_string_equal(produce(), "web| ab\033[2Dc\033[1Dd\r\n");
}

static void test_sequences(void **state)
{
    (void)state;
    arrive(0, "\033[2J\033[H\033[1;1Hclear\033[6n\033[K\n");
    assert_string_equal(produce(), "web| clear\033[K\r\n");
    arrive(0, "\033[31mred\n");
    assert_string_equal(produce(), "web| \033[31mred\033[0m\r\n");
    arrive(0, "\033[1mbold\033[0m end\n");
    assert_string_equal(produce(), "web| \033[1mbold\033[0m end\r\n");
    arrive(0, "\033]0;title\007t\033(B\0337x\033Mc\n"); // strings and short ones
    assert_string_equal(produce(), "web| txc\r\n");
    arrive(0, "\033[?25lhidden\033[?25h\n");
    assert_string_equal(produce(), "web| hidden\r\n");
    arrive(0, "\033[\nbroken\n"); // a line feed in the middle of one
    assert_string_equal(produce(), "web| \r\nweb| broken\r\n");
    arrive(0, "gr\303\274n\t|\n");
    assert_string_equal(produce(), "web| gr\303\274n\t|\r\n");
}

static void test_colour_of_an_interrupted_line(void **state)
{
    (void)state;
    arrive(0, "\033[32mgreen");
    now += 50 * MS;
    assert_string_equal(produce(), "web| \033[32mgreen");
    now += 50 * MS;
    arrive(1, "x\n");
    assert_string_equal(produce(), "\033[0m\r\ndb| x\r\n");
}

static void test_times(void **state)
{
    (void)state;
    merge.times = true;
    now += 1234567;
    arrive(0, "x\n");
    now += 500 * MS;
    arrive(0, "y\n");
    assert_string_equal(produce(), "    0.001234 web| x\r\n    0.501234 web| y\r\n");
}

static void test_break_and_restart(void **state)
{
    (void)state;
    uint8_t bytes[MERGE_STEP_MAX];
    assert_int_equal(merge_break(&merge, bytes), 0);
    arrive(0, "prompt> ");
    now += 50 * MS;
    produce();
    assert_int_equal(merge_break(&merge, bytes), 2);
    assert_memory_equal(bytes, "\r\n", 2);
    arrive(0, "rest\n");
    assert_string_equal(produce(), "web| rest\r\n");
    // After another view had the terminal: in the middle of a line that goes on.
    arrive(0, "seen elsewhere");
    history_skip(&view[0]);
    merge_restart(&merge);
    arrive(0, "\nnew\n");
    assert_string_equal(produce(), "web| new\r\n");
}

static void test_all_due(void **state)
{
    (void)state;
    arrive(0, "last words");
    arrive(1, "more");
    merge.all_due = true;
    assert_string_equal(produce(), "web| last words\r\ndb| more");
}

// Random bytes from three sources: nothing but whole lines with a known prefix may come out.
static void test_noise(void **state)
{
    (void)state;
    srand(1);
    uint32_t len = 0;
    for (int round = 0; round < 3000; round++) {
        uint8_t bytes[40];
        uint32_t count = (uint32_t)rand() % sizeof(bytes);
        for (uint32_t i = 0; i < count; i++) {
            static const char likely[] = "\033[m;0K\r\n\bDx \033\n";
            bytes[i] = rand() % 3 == 0 ? (uint8_t)rand()
                                       : (uint8_t)likely[(size_t)rand() % (sizeof(likely) - 1)];
        }
        arrive_bytes(rand() % 3, bytes, count);
        now += (uint64_t)(rand() % 60) * MS;
        len += merge_produce(&merge, (uint8_t *)shown + len, 1024, now);
        if (len > sizeof(shown) - 2048) {
            break;
        }
    }
    shown[len] = '\0';
    for (char *line = shown; *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end == NULL) {
            break;
        }
        line += strspn(line, "\a");
        assert_true(strncmp(line, "web| ", 5) == 0 || strncmp(line, "db| ", 4) == 0 ||
                    strncmp(line, "hello| ", 7) == 0);
        line = end + 1;
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_whole_lines), TEST(test_line_waits_for_its_end),
        TEST(test_prompt_and_continuation), TEST(test_interrupted_line_that_only_ends),
        TEST(test_round_robin), TEST(test_flood_starves_nobody),
        TEST(test_two_floods_without_lines_take_turns),
        TEST(test_endless_line_starves_nobody), TEST(test_not_torn_by_small_portions),
        TEST(test_carriage_return), TEST(test_backspace_stops_at_the_prefix),
        TEST(test_sequences), TEST(test_colour_of_an_interrupted_line), TEST(test_times),
        TEST(test_break_and_restart), TEST(test_all_due), TEST(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
