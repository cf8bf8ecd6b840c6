// SPDX-License-Identifier: BSD-2-Clause
// The terminal behind the screen; see term.h. Runs on the console's thread only.
#include "drivers/console/term.h"

#define TAB_COLUMNS 8u
#define UNKNOWN     '?' // for what the font has no picture of

// What the characters 0x80 to 0xff of code page 437 are in Unicode.
static const uint16_t upper_half[128] = {
    0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7,
    0x00ea, 0x00eb, 0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4, 0x00c5,
    0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9,
    0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192,
    0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba,
    0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
    0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556,
    0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510,
    0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f,
    0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
    0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b,
    0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
    0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4,
    0x03a6, 0x0398, 0x03a9, 0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229,
    0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248,
    0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x00a0,
};

// VGA's numbers of the eight colours of ECMA-48, "SGR": there red is 1, here it is 4.
static const uint8_t colours[8] = {0, 4, 2, 6, 1, 5, 3, 7};

uint16_t *term_row(const struct term *term, uint32_t row)
{
    return term->cells + (uint64_t)((term->top + row) % term->rows) * term->columns;
}

static uint16_t term_cell(const struct term *term, uint8_t character)
{
    uint8_t front = term->swapped ? term->ground : term->colour;
    uint8_t back = term->swapped ? term->colour & 7 : term->ground;
    return (uint16_t)(character | front << 8 | back << 12);
}

// Empties the row from a column on.
static void term_clear(struct term *term, uint32_t row, uint32_t column)
{
    uint16_t *cells = term_row(term, row);
    for (; column < term->columns; column++) {
        cells[column] = TERM_PLAIN << 8 | ' ';
    }
    term->changed = true;
}

static void term_plain(struct term *term)
{
    term->colour = TERM_PLAIN;
    term->ground = 0;
    term->swapped = false;
}

void term_init(struct term *term, uint16_t *cells, uint32_t columns, uint32_t rows)
{
    *term = (struct term){.columns = columns, .rows = rows, .cells = cells};
    term_plain(term);
    for (uint32_t row = 0; row < rows; row++) {
        term_clear(term, row, 0);
    }
}

static void term_line_feed(struct term *term)
{
    if (term->row + 1 < term->rows) {
        term->row++;
        return;
    }
    term->top = (term->top + 1) % term->rows;
    term_clear(term, term->row, 0);
}

static void term_put(struct term *term, uint8_t character)
{
    if (term->column == term->columns) {
        term->column = 0;
        term_line_feed(term);
    }
    term_row(term, term->row)[term->column++] = term_cell(term, character);
    term->changed = true;
}

static void term_put_code(struct term *term, uint32_t code)
{
    uint8_t character = UNKNOWN;
    for (uint32_t i = 0; i < sizeof(upper_half) / sizeof(upper_half[0]); i++) {
        if (upper_half[i] == code) {
            character = (uint8_t)(0x80 + i);
        }
    }
    term_put(term, character);
}

// A byte above 0x7f: the next of a UTF-8 character, or its first.
static void term_utf8(struct term *term, uint8_t byte)
{
    if ((byte & 0xc0) == 0x80) {
        if (term->more == 0) {
            return;
        }
        term->code = term->code << 6 | (byte & 0x3f);
        if (--term->more == 0) {
            term_put_code(term, term->code);
        }
        return;
    }
    term->more = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    term->code = byte & (0x3f >> term->more);
}

static void term_byte(struct term *term, uint8_t byte)
{
    if (term->more > 0 && (byte & 0xc0) != 0x80) { // the character before was cut
        term->more = 0;
        term_put(term, UNKNOWN);
    }
    if (byte >= 0x80) {
        term_utf8(term, byte);
        return;
    }
    switch (byte) {
    case '\r':
        term->column = 0;
        break;
    case '\n':
        term_line_feed(term);
        break;
    case '\b':
        term->column -= term->column > 0;
        break;
    case '\t':
        term->column = (term->column | (TAB_COLUMNS - 1)) + 1;
        term->column = term->column < term->columns ? term->column : term->columns - 1;
        break;
    default:
        if (byte >= 0x20 && byte != 0x7f) {
            term_put(term, byte);
        }
    }
}

static void term_attribute(struct term *term, uint32_t value)
{
    if (value == 0) {
        term_plain(term);
    } else if (value == 1) {
        term->colour |= 8;
    } else if (value == 22) {
        term->colour &= 7;
    } else if (value == 7 || value == 27) {
        term->swapped = value == 7;
    } else if (value >= 30 && value <= 37) {
        term->colour = (term->colour & 8) | colours[value - 30];
    } else if (value >= 90 && value <= 97) {
        term->colour = 8 | colours[value - 90];
    } else if (value == 39) {
        term->colour = (term->colour & 8) | TERM_PLAIN;
    } else if (value >= 40 && value <= 47) {
        term->ground = colours[value - 40];
    } else if (value >= 100 && value <= 107) {
        term->ground = colours[value - 100];
    } else if (value == 49) {
        term->ground = 0;
    }
}

// "Select graphic rendition": its numbers in turn. One of 256 or more colours is not shown, but the
// numbers behind 38 and 48 are its own.
static void term_attributes(struct term *term)
{
    const struct escape *escape = &term->escape;
    uint32_t value = 0, passed = 0, before = 0;
    for (uint32_t i = 2; i < escape->len; i++) {
        uint8_t byte = escape->bytes[i];
        if (byte >= '0' && byte <= '9') {
            value = value < 1000 ? value * 10 + (byte - '0') : value;
            continue;
        }
        if (before == 38 || before == 48) {
            passed = value == 5 ? 1 : value == 2 ? 3 : 0;
            before = 0;
        } else if (passed > 0) {
            passed--;
        } else {
            term_attribute(term, value);
            before = value;
        }
        value = 0;
    }
}

static void term_sequence(struct term *term)
{
    uint32_t columns = escape_csi_parameter(&term->escape, 1);
    switch (escape_csi_final(&term->escape)) {
    case 'm':
        term_attributes(term);
        break;
    case 'K': // the merged view lets only "to the end of the line" through
        term_clear(term, term->row, term->column);
        break;
    case 'C':
        columns = columns < term->columns ? columns : term->columns;
        term->column += columns;
        term->column = term->column < term->columns ? term->column : term->columns - 1;
        break;
    case 'D':
        term->column -= columns < term->column ? columns : term->column;
        break;
    default:
        break;
    }
}

void term_write(struct term *term, const uint8_t *bytes, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        enum escape_result result = escape_feed(&term->escape, bytes[i]);
        if (result == ESCAPE_TEXT) {
            term_byte(term, bytes[i]);
        } else if (result == ESCAPE_DONE) {
            term_sequence(term);
        }
    }
}
