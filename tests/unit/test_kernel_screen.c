// SPDX-License-Identifier: BSD-2-Clause
// The kernel's own text on the screen, in VGA's text mode and in pixels.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "kernel/arch/x86/screen.c" // NOLINT(bugprone-suspicious-include)

#define TEXT_PITCH 64u
#define PITCH 384u
static uint8_t *memory;
static uint16_t crt[2];

// Of everything that the kernel reaches at boot, the screen is the first byte.
void *arch_ptr(struct hpa a) { return memory + (a.v - 0xb8000); }
void out8(uint16_t port, uint8_t v) { crt[port - 0x3d4] = v; }

static void put(const char *text) { screen_put(text, strlen(text)); }

static struct boot_screen text_mode(void)
{
    return (struct boot_screen){ .hpa = 0xb8000, .pitch = TEXT_PITCH, .width = 20, .height = 4,
                                 .text = 1 };
}

static int setup(void **state)
{
    (void)state;
    memory = malloc(65536);
    memset(memory, 0xee, 65536);
    column = row = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

// The row's text, untouched cells as '~'; and what lies behind it was not touched.
static const char *row_text(uint32_t row)
{
    static char text[21];
    for (uint32_t i = 0; i < 20; i++) {
        const uint8_t *cell = memory + row * TEXT_PITCH + i * 2;
        text[i] = (char)(cell[1] == 7 ? cell[0] : '~');
    }
    for (uint32_t i = 40; i < TEXT_PITCH; i++)
        assert_int_equal(memory[row * TEXT_PITCH + i], 0xee);
    return text;
}

static void test_text(void **state)
{
    (void)state;
    struct boot_screen s = text_mode();
    screen_init(&s);
    assert_int_equal(crt[0], 0x0a); // the cursor is off
    assert_int_equal(crt[1], 0x20);
    put("Bulkhead\nboot: ");
    put("2 cores\n");
    assert_string_equal(row_text(0), "Bulkhead            ");
    assert_string_equal(row_text(1), "boot: 2 cores       ");
    assert_string_equal(row_text(2), "                    ");
    assert_string_equal(row_text(3), "~~~~~~~~~~~~~~~~~~~~");
    put("a line that is longer than a row\n"); // goes on in the next, and then at the top
    assert_string_equal(row_text(2), "a line that is longe");
    assert_string_equal(row_text(3), "r than a row        ");
    assert_string_equal(row_text(0), "                    ");
    put("\nlast");
    assert_string_equal(row_text(1), "last                ");
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
    struct boot_screen s = { .hpa = 0xb8000, .pitch = PITCH, .width = 90, .height = 50 };
    screen_init(&s);
    put("xA\n");
    for (uint32_t y = 0; y < 16; y++)
        for (uint32_t x = 0; x < 8; x++)
            assert_int_equal(pixel(8 + x, y), font['A'][y] >> (7 - x) & 1 ? 0xffffffff : 0);
    assert_int_equal(pixel(87, 31), 0);         // the next row is empty
    assert_int_equal(pixel(88, 8), 0xeeeeeeee); // what is left beside the last column
    assert_int_equal(pixel(0, 32), 0xeeeeeeee);
    put("\n\n\n"); // three rows of 16 pixels fit
    assert_int_equal(pixel(0, 47), 0);
    assert_int_equal(pixel(0, 48), 0xeeeeeeee);
}

// One above what is mapped at first is drawn on when it is mapped; where there is none, nothing is.
static void test_where(void **state)
{
    (void)state;
    struct boot_screen s = text_mode();
    s.hpa = (4ull << 30) - PAGE_SIZE + 0xb8000;
    screen_init(&s);
    put("unseen");
    screen_at((char *)memory);
    put("seen");
    assert_string_equal(row_text(0), "seen~~~~~~~~~~~~~~~~");
    s = (struct boot_screen){ 0 };
    screen_init(&s);
    screen_at((char *)memory);
    put("more");
    assert_string_equal(row_text(0), "seen~~~~~~~~~~~~~~~~");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pixels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_where, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
