// SPDX-License-Identifier: BSD-2-Clause
// Shows a terminal's cells on the screen that the loader left on: VGA's text mode, or pixels, in
// which a character has 8 x 16, or on a very fine screen several times that. The screen is never
// read: what it shows is kept beside it, and only cells that differ are drawn. Owned by the
// console's thread; no kernel calls.
#pragma once
#include <stdint.h>
#include "drivers/console/term.h"
#include "kernel/abi/boot.h"

struct screen {
    struct boot_screen mode;
    volatile uint8_t *at;
    uint32_t columns, rows;
    uint32_t scale;     // pixels of the screen to one of the font's, each way
    uint32_t pixel[16]; // of each colour
    uint16_t *shown;    // rows x columns
};

// Sets columns and rows, for the caller to find memory for the cells of the terminal and `shown`.
void screen_init(struct screen *screen, const struct boot_screen *mode, volatile void *at);

// Gives it `shown`, and makes the screen black.
void screen_start(struct screen *screen, uint16_t *shown);

void screen_draw(struct screen *screen, const struct term *term);
