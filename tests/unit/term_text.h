// SPDX-License-Identifier: BSD-2-Clause
// What the console's screen shows, for the tests of it.
#pragma once
#include <stdint.h>
#include "drivers/console/term.h"

enum { TERM_TEXT_MAX = 80 };

// The text of a row, without the blanks at its end. Valid until the next call.
static inline const char *term_text(const struct term *term, uint32_t row)
{
    static char text[TERM_TEXT_MAX + 1];
    uint32_t len = 0;
    for (uint32_t i = 0; i < term->columns && i < TERM_TEXT_MAX; i++) {
        text[i] = (char)term_row(term, row)[i];
        len = text[i] != ' ' ? i + 1 : len;
    }
    text[len] = '\0';
    return text;
}
