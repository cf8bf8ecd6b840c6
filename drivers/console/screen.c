// SPDX-License-Identifier: BSD-2-Clause
// Cells to the screen; see screen.h. Runs on the console's thread only.
#include "drivers/console/screen.h"

#include "font.h"

#define FINE    1600u // a screen of twice this width has characters of twice the size
#define NOTHING 0xffffu // no cell of a terminal: its ground has three bits

// VGA's sixteen colours: a bit each for blue, green and red, and one for brightness. Brown is
// yellow with half of its green.
static uint32_t screen_pixel(const struct screen *screen, uint32_t colour)
{
    static const uint8_t bits[3] = {4, 2, 1};
    uint32_t pixel = 0;
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t level = ((colour & bits[i]) != 0 ? 0xaau : 0) + ((colour & 8) != 0 ? 0x55u : 0);
        level = colour == 6 && i == 1 ? 0x55 : level;
        pixel |= level << screen->mode.colour[i];
    }
    return pixel;
}

void screen_init(struct screen *screen, const struct boot_screen *mode, volatile void *at)
{
    *screen = (struct screen){.mode = *mode, .at = at, .scale = 1};
    screen->columns = mode->width;
    screen->rows = mode->height;
    if (mode->text != 0) {
        return;
    }
    screen->scale = mode->width / FINE > 1 ? mode->width / FINE : 1;
    screen->columns = mode->width / (FONT_WIDTH * screen->scale);
    screen->rows = mode->height / (FONT_HEIGHT * screen->scale);
    for (uint32_t i = 0; i < 16; i++) {
        screen->pixel[i] = screen_pixel(screen, i);
    }
}

static volatile uint32_t *screen_row(const struct screen *screen, uint32_t y)
{
    return (volatile uint32_t *)(screen->at + (uint64_t)y * screen->mode.pitch);
}

void screen_start(struct screen *screen, uint16_t *shown)
{
    screen->shown = shown;
    for (uint32_t i = 0; i < screen->rows * screen->columns; i++) {
        shown[i] = NOTHING;
    }
    for (uint32_t y = 0; screen->mode.text == 0 && y < screen->mode.height; y++) {
        volatile uint32_t *pixels = screen_row(screen, y);
        for (uint32_t x = 0; x < screen->mode.width; x++) {
            pixels[x] = 0;
        }
    }
}

static void screen_cell(const struct screen *screen, uint32_t column, uint32_t row, uint16_t cell)
{
    if (screen->mode.text != 0) {
        ((volatile uint16_t *)screen_row(screen, row))[column] = cell;
        return;
    }
    const uint8_t *glyph = font[cell & 0xff];
    uint32_t front = screen->pixel[cell >> 8 & 0xf], back = screen->pixel[cell >> 12];
    uint32_t scale = screen->scale;
    for (uint32_t y = 0; y < FONT_HEIGHT * scale; y++) {
        volatile uint32_t *pixels = screen_row(screen, row * FONT_HEIGHT * scale + y) +
                                    (uint64_t)column * FONT_WIDTH * scale;
        uint8_t bits = glyph[y / scale];
        for (uint32_t x = 0; x < FONT_WIDTH * scale; x++) {
            pixels[x] = (bits & 0x80 >> x / scale) != 0 ? front : back;
        }
    }
}

void screen_draw(struct screen *screen, const struct term *term)
{
    uint16_t *shown = screen->shown;
    for (uint32_t row = 0; row < screen->rows; row++, shown += screen->columns) {
        const uint16_t *cells = term_row(term, row);
        for (uint32_t column = 0; column < screen->columns; column++) {
            if (shown[column] != cells[column]) {
                shown[column] = cells[column];
                screen_cell(screen, column, row, cells[column]);
            }
        }
    }
}
