// SPDX-License-Identifier: BSD-2-Clause
// Recognises terminal control sequences in a byte stream (ECMA-48, "Control functions"): CSI, the
// string sequences (OSC, DCS, ...) and the short ESC ones. Pure logic.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define ESCAPE_MAX 32u // bytes of a sequence that are kept

enum escape_state { ESCAPE_NONE, ESCAPE_START, ESCAPE_SHORT, ESCAPE_CSI, ESCAPE_STRING };
enum escape_result {
    ESCAPE_TEXT, // the byte is no part of a sequence
    ESCAPE_MORE, // it is, and the sequence is not over
    ESCAPE_DONE, // it ends a sequence: bytes[0..len-1]
};

// All zero at the start.
struct escape {
    uint8_t state;
    bool string_esc; // inside a string sequence after ESC: "\" ends it
    bool cut;        // longer than is kept
    uint8_t len;
    uint8_t bytes[ESCAPE_MAX];
};

enum escape_result escape_feed(struct escape *escape, uint8_t byte);

// For a sequence that is done: its last byte if it is an uncut CSI sequence without private marks,
// or 0; and its first parameter, `missing` where there is none.
uint8_t escape_csi_final(const struct escape *escape);
uint32_t escape_csi_parameter(const struct escape *escape, uint32_t missing);

// For a sequence that is done: true if the terminal answers it with bytes of its own.
bool escape_is_query(const struct escape *escape);
