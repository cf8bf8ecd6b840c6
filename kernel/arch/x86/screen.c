// SPDX-License-Identifier: BSD-2-Clause
// The kernel's own text on the screen that the loader left on: the log until a process shows it,
// and what the kernel says at its end. White on black, for which it need not know where the colours
// are. Behind the last line comes the first: nothing is moved, for a screen is slow to read. Under
// log.c's lock, or alone.
#include "font.h"
#include "kernel/arch/x86/x86.h"

static struct boot_screen screen;
static uint32_t columns, rows, column, row;
static char *base; // NULL: there is none, or it is not mapped yet

void screen_at(char *where) { base = screen.width ? where : NULL; }

void screen_init(const struct boot_screen *s)
{
    screen = *s;
    columns = s->text ? s->width : s->width / FONT_WIDTH;
    rows = s->text ? s->height : s->height / FONT_HEIGHT;
    bool mapped = s->hpa + (uint64_t)s->pitch * s->height <= 4ull << 30; // by boot.S
    screen_at(mapped ? arch_ptr(HPA(s->hpa)) : NULL);
    if (s->text) { // CRT controller, "Cursor Start": no cursor
        out8(0x3d4, 0x0a);
        out8(0x3d5, 0x20);
    }
}

static void draw(char c)
{
    char *at = base + (uint64_t)screen.pitch * row * (screen.text ? 1 : FONT_HEIGHT);
    if (screen.text) {
        ((volatile uint16_t *)at)[column++] = (uint16_t)(0x700 | (uint8_t)c);
        return;
    }
    for (unsigned y = 0; y < FONT_HEIGHT; y++, at += screen.pitch)
        for (unsigned x = 0; x < FONT_WIDTH; x++)
            ((volatile uint32_t *)at)[column * FONT_WIDTH + x] =
                font[(uint8_t)c][y] & (0x80 >> x) ? UINT32_MAX : 0;
    column++;
}

static void fill(void)
{
    while (column < columns)
        draw(' ');
    column = 0;
}

void screen_put(const char *text, size_t bytes)
{
    for (; base && bytes; bytes--, text++) {
        if (*text == '\n' || column == columns) {
            fill();
            row = (row + 1) % rows;
            fill();
        }
        if (*text != '\n')
            draw(*text);
    }
}
