// SPDX-License-Identifier: BSD-2-Clause
// A terminal for what the merged view writes: text, CR, LF, BS, TAB, and the control sequences that
// the view lets through. It fills cells, as VGA's text mode has them; screen.c shows those. Pure
// logic; owned by the console's thread.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "drivers/console/escape.h"

#define TERM_PLAIN 0x07u // light grey on black

struct term {
    uint32_t columns, rows;
    uint32_t column, row; // where the next character goes; column == columns: in the next row
    uint32_t top;         // the first row's place among the cells: rows scroll by moving this
    uint16_t *cells;      // rows x columns: a character of code page 437, and its attribute << 8
    uint8_t colour, ground; // of the next character: VGA's numbers, 0 to 15 and 0 to 7
    bool swapped;
    bool changed;         // since somebody cleared this
    uint8_t more;         // bytes of a UTF-8 character that are still to come
    uint32_t code;        // of that, so far
    struct escape escape;
};

// cells: of rows x columns, which must stay. All becomes blank.
void term_init(struct term *term, uint16_t *cells, uint32_t columns, uint32_t rows);

void term_write(struct term *term, const uint8_t *bytes, uint32_t len);

// The cells of a row, counted from the top of the screen.
uint16_t *term_row(const struct term *term, uint32_t row);
