// SPDX-License-Identifier: BSD-2-Clause
// The screen of the console: what a terminal's cells become, and what of that is drawn.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/console/screen.h"
#include "tests/unit/term_text.h"

#include "font.h"

enum { COLUMNS = 20, ROWS = 4 };

static struct term term;
static uint16_t *cells;

static int setup(void **state)
{
    (void)state;
    cells = malloc(sizeof(*cells) * COLUMNS * ROWS); // to the byte, for the sanitizer
    term_init(&term, cells, COLUMNS, ROWS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(cells);
    return 0;
}

static void put(const char *text)
{
    term_write(&term, (const uint8_t *)text, (uint32_t)strlen(text));
}

static void test_lines(void **state)
{
    (void)state;
    put("web| one\r\ndb| two\r\n");
    assert_string_equal(term_text(&term, 0), "web| one");
    assert_string_equal(term_text(&term, 1), "db| two");
    assert_string_equal(term_text(&term, 2), "");
    put("three\r\n\r\nfive\r\n"); // the first two rows go
    assert_string_equal(term_text(&term, 0), "three");
    assert_string_equal(term_text(&term, 1), "");
    assert_string_equal(term_text(&term, 2), "five");
    assert_string_equal(term_text(&term, 3), "");
}

static void test_a_long_line_goes_on_in_the_next_row(void **state)
{
    (void)state;
    put("exactly twenty wide.\r\nnext\r\n");
    assert_string_equal(term_text(&term, 0), "exactly twenty wide.");
    assert_string_equal(term_text(&term, 1), "next");
    put("more than twenty columns");
    assert_string_equal(term_text(&term, 2), "more than twenty col");
    assert_string_equal(term_text(&term, 3), "umns");
    put("\r\nand in the last row, where all scrolls");
    assert_string_equal(term_text(&term, 2), "and in the last row,");
    assert_string_equal(term_text(&term, 3), " where all scrolls");
}

static void test_within_a_line(void **state)
{
    (void)state;
    put("abc\b\bX\tY\rZ");
    assert_string_equal(term_text(&term, 0), "ZXc     Y");
    put("\033[3CW\033[2D\033[K");
    assert_string_equal(term_text(&term, 0), "ZXc");
    put("V\033[500D\b\bA\033[500CB\tC");
    assert_string_equal(term_text(&term, 0), "AXcV               C");
    put("\a\001\177\033[2J\033[H\033]0;title\007!"); // none of these is anything here
    assert_string_equal(term_text(&term, 1), "!");
}

static uint8_t attribute(uint32_t column)
{
    return (uint8_t)(term_row(&term, 0)[column] >> 8);
}

static void test_colours(void **state)
{
    (void)state;
    put("a\033[31mb\033[1mc\033[22;44md\033[0me\033[7mf\033[27;93mg\033[39;49mh\033[mi");
    static const uint8_t want[] = {0x07, 0x04, 0x0c, 0x14, 0x07, 0x70, 0x0e, 0x0f, 0x07};
    for (uint32_t i = 0; i < sizeof(want); i++) {
        assert_int_equal(attribute(i), want[i]);
    }
    // Colours that there are not: their numbers mean nothing else.
    put("\r\033[38;5;31;4mj\033[48;2;31;31;31mk\033[32ml");
    assert_int_equal(attribute(0), 0x07);
    assert_int_equal(attribute(1), 0x07);
    assert_int_equal(attribute(2), 0x02);
    put("\r\033[1;104mm\033[K"); // a bright ground is a plain one: its bit would blink
    assert_int_equal(attribute(0), 0x1a);
    assert_int_equal(attribute(1), TERM_PLAIN);
}

static void test_utf8(void **state)
{
    (void)state;
    put("gr\303\266\303\237e \342\224\214\342\224\200\342\226\210|"); // grösse and a box
    assert_string_equal(term_text(&term, 0), "gr\224\341e \332\304\333|");
    put("\r\342\202\254\360\237\230\200\320\226."); // Euro, a face, a Cyrillic letter
    assert_string_equal(term_text(&term, 0), "???.e \332\304\333|");
    put("\r\303x\342\224y\200\200z\377\n"); // cut, and what is none
    assert_string_equal(term_text(&term, 0), "?x?yz?\332\304\333|");
}

static void test_what_changes_is_noted(void **state)
{
    (void)state;
    term.changed = false;
    put("\r\033[31m\b\a");
    assert_false(term.changed);
    put("x");
    assert_true(term.changed);
}

// Pixels --------------------------------------------------------------------------------------

#define PITCH 1024u
static uint8_t memory[PITCH * 128];
static uint16_t shown[256];
static struct screen screen;

static void pixels(uint32_t width, uint32_t height)
{
    const struct boot_screen mode = {
        .pitch = PITCH, .width = width, .height = height, .colour = {0, 8, 16},
    };
    memset(memory, 0xee, sizeof(memory));
    screen_init(&screen, &mode, memory);
}

static uint32_t pixel(uint32_t x, uint32_t y)
{
    uint32_t value;
    memcpy(&value, memory + y * PITCH + x * 4, 4);
    return value;
}

static void test_pixels(void **state)
{
    (void)state;
    pixels(COLUMNS * 8 + 3, ROWS * 16 + 5);
    assert_int_equal(screen.columns, COLUMNS);
    assert_int_equal(screen.rows, ROWS);
    screen_start(&screen, shown);
    assert_int_equal(pixel(COLUMNS * 8 + 2, ROWS * 16 + 4), 0); // black to the last
    assert_int_equal(pixel(COLUMNS * 8 + 3, 0), 0xeeeeeeee);    // and no further
    assert_int_equal(pixel(0, ROWS * 16 + 5), 0xeeeeeeee);
    put("\r\n\r\n\r\n\r\n\033[31mA\033[1;43mB"); // the cells have scrolled
    screen_draw(&screen, &term);
    for (uint32_t y = 0; y < 16; y++) {
        for (uint32_t x = 0; x < 8; x++) {
            assert_int_equal(pixel(x, 48 + y), font['A'][y] >> (7 - x) & 1 ? 0x0000aa : 0);
            assert_int_equal(pixel(8 + x, 48 + y),
                             font['B'][y] >> (7 - x) & 1 ? 0x5555ff : 0x0055aa); // brown
        }
    }
    assert_int_equal(pixel(16, 48), 0);
}

static void test_only_changes_are_drawn(void **state)
{
    (void)state;
    pixels(COLUMNS * 8, ROWS * 16);
    screen_start(&screen, shown);
    put("AB");
    screen_draw(&screen, &term);
    memset(memory, 0x33, sizeof(memory));
    put("\rAC");
    screen_draw(&screen, &term);
    assert_int_equal(pixel(0, 0), 0x33333333);
    assert_int_not_equal(pixel(8, 0), 0x33333333);
    assert_int_equal(pixel(16, 0), 0x33333333);
    assert_int_equal(pixel(8, 16), 0x33333333);
}

// On a very fine screen each of the font's pixels is a square of them.
static void test_scale(void **state)
{
    (void)state;
    static uint8_t wide[3840 * 4 * 32];
    const struct boot_screen mode = {
        .pitch = 3840 * 4, .width = 3840, .height = 32, .colour = {16, 8, 0},
    };
    screen_init(&screen, &mode, wide);
    assert_int_equal(screen.scale, 2);
    assert_int_equal(screen.columns, 240);
    assert_int_equal(screen.rows, 1);
    screen_start(&screen, shown);
    uint16_t *line = malloc(240 * sizeof(*line));
    term_init(&term, line, 240, 1);
    put("\033[31mx\033[500C\033[31mA");
    screen_draw(&screen, &term);
    for (uint32_t y = 0; y < 32; y++) {
        for (uint32_t x = 0; x < 16; x++) {
            uint32_t value;
            memcpy(&value, wide + y * mode.pitch + (239 * 16 + x) * 4, 4);
            assert_int_equal(value, font['A'][y / 2] >> (7 - x / 2) & 1 ? 0xaa0000 : 0);
        }
    }
    free(line);
}

static void test_text_mode(void **state)
{
    (void)state;
    const struct boot_screen mode = {.pitch = 64, .width = COLUMNS, .height = ROWS, .text = 1};
    memset(memory, 0xee, sizeof(memory));
    screen_init(&screen, &mode, memory);
    screen_start(&screen, shown);
    put("\r\n\033[44mA");
    screen_draw(&screen, &term);
    assert_memory_equal(memory + 64, "A\x17 \x07", 4);
    assert_memory_equal(memory, " \x07 \x07", 4);
    assert_int_equal(memory[2 * COLUMNS], 0xee); // behind the row
    assert_int_equal(memory[64 * ROWS], 0xee);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_lines), TEST(test_a_long_line_goes_on_in_the_next_row), TEST(test_within_a_line),
        TEST(test_colours), TEST(test_utf8), TEST(test_what_changes_is_noted), TEST(test_pixels),
        TEST(test_only_changes_are_drawn), TEST(test_scale), TEST(test_text_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
