// SPDX-License-Identifier: BSD-2-Clause
// Parser of terminal control sequences; see escape.h. State is the caller's.
#include "drivers/console/escape.h"

#define ESC 0x1b
#define BEL 0x07
#define CAN 0x18
#define SUB 0x1a

static enum escape_result escape_end(struct escape *escape)
{
    escape->state = ESCAPE_NONE;
    return ESCAPE_DONE;
}

// The byte behind ESC decides what follows.
static enum escape_result escape_second(struct escape *escape, uint8_t byte)
{
    switch (byte) {
    case '[':
        escape->state = ESCAPE_CSI;
        return ESCAPE_MORE;
    case ']':
    case 'P':
    case 'X':
    case '^':
    case '_':
        escape->state = ESCAPE_STRING;
        escape->string_esc = false;
        return ESCAPE_MORE;
    }
    if (byte >= 0x20 && byte < 0x30) { // an intermediate byte, as in ESC ( B
        escape->state = ESCAPE_SHORT;
        return ESCAPE_MORE;
    }
    return escape_end(escape);
}

static enum escape_result escape_string(struct escape *escape, uint8_t byte)
{
    if (byte == BEL || (escape->string_esc && byte == '\\')) {
        return escape_end(escape);
    }
    escape->string_esc = byte == ESC;
    return ESCAPE_MORE;
}

enum escape_result escape_feed(struct escape *escape, uint8_t byte)
{
    if (escape->state == ESCAPE_NONE || (byte == ESC && escape->state != ESCAPE_STRING)) {
        if (byte != ESC) {
            return ESCAPE_TEXT;
        }
        *escape = (struct escape){.state = ESCAPE_START, .len = 1, .bytes = {ESC}};
        return ESCAPE_MORE;
    }
    // A control character breaks a sequence off: what a terminal would do with it is done with it.
    if (byte == CAN || byte == SUB || byte == '\n' ||
        (byte < 0x20 && escape->state != ESCAPE_STRING)) {
        escape->state = ESCAPE_NONE;
        return ESCAPE_TEXT;
    }
    if (escape->len < ESCAPE_MAX) {
        escape->bytes[escape->len++] = byte;
    } else {
        escape->cut = true;
    }
    switch (escape->state) {
    case ESCAPE_START:
        return escape_second(escape, byte);
    case ESCAPE_STRING:
        return escape_string(escape, byte);
    case ESCAPE_CSI:
        return byte >= 0x40 ? escape_end(escape) : ESCAPE_MORE;
    default:
        return byte >= 0x30 ? escape_end(escape) : ESCAPE_MORE;
    }
}

uint8_t escape_csi_final(const struct escape *escape)
{
    if (escape->cut || escape->len < 3 || escape->bytes[1] != '[' ||
        (escape->bytes[2] >= '<' && escape->bytes[2] <= '?')) {
        return 0;
    }
    return escape->bytes[escape->len - 1];
}

uint32_t escape_csi_parameter(const struct escape *escape, uint32_t missing)
{
    uint32_t value = 0;
    uint32_t i = 2;
    for (; i < escape->len && escape->bytes[i] >= '0' && escape->bytes[i] <= '9'; i++) {
        value = value < 100000 ? value * 10 + (escape->bytes[i] - '0') : value;
    }
    return i == 2 ? missing : value;
}

bool escape_is_query(const struct escape *escape)
{
    if (escape->len < 2) {
        return false;
    }
    if (escape->bytes[1] == 'Z' || escape->bytes[1] == ']' || escape->bytes[1] == 'P') {
        return true; // some string sequences are questions; none says anything about the text
    }
    uint8_t last = escape->bytes[escape->len - 1];
    return escape->bytes[1] == '[' &&
           (last == 'n' || last == 'c' || last == 'x' || last == 'p' || last == 't');
}
