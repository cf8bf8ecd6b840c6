// SPDX-License-Identifier: BSD-2-Clause
// The merged view: the lines of all sources on one terminal, each as `name| text`. Pure logic:
// bytes in from histories, bytes out to a buffer, time as an argument (nanoseconds of the host
// clock).
//
// - A line is shown when it is complete. Then nothing comes between its first and its last byte.
// - The start of a line that does not end (a prompt) is shown after 50 ms of silence; what its
//   source adds then follows at once. Another source may interrupt such a line, again after 50 ms
//   of silence; the rest of it then stands behind a new prefix.
// - Sources take turns by line. Source 0 speaks about the others: it comes after whatever they had
//   said before. One that never ends its line is interrupted after 8 KB, or after
//   half a second without a pause, if others have something to show.
// - A carriage return goes back to the first column behind the prefix, and no control sequence can
//   leave the text of its own line: colours, moves within the line and "erase to end of line"
//   pass, the others are removed. Colours end with the line.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "drivers/console/escape.h"
#include "drivers/console/history.h"

#define MERGE_SOURCES_MAX 60u
#define MERGE_SILENCE_NS  50000000ull
#define MERGE_BURST_NS    500000000ull
#define MERGE_STEP_MAX    128u // room that merge_produce() needs to do anything
#define MERGE_NEVER       UINT64_MAX

struct merge_source {
    const char *name;
    struct history_view *view;
    struct escape escape;
    uint64_t last_ns;  // when bytes last arrived
    uint64_t burst_ns; // since when they have been arriving without a pause of 50 ms, in this turn
    uint64_t start_ns; // when the first byte of the line being shown arrived
    uint32_t column;   // of the text, without the prefix
    uint32_t line_len; // bytes of the open line that have been consumed
    bool fresh;        // nothing of the line has been shown since the last prefix
    bool interrupted;  // the line was begun, and broken off by another source
    bool cr;           // a carriage return came; what it does depends on the next byte
    bool coloured;
};

struct merge {
    uint32_t count;
    int open;        // the source whose line the terminal's cursor is in; -1: none
    int prompted;    // the source that left a line unfinished last, as a prompt is; -1: none
    uint32_t next;   // whose turn it is
    bool times;      // each prefix begins with the time of the line's first byte
    bool all_due;    // show partial lines without waiting for silence
    uint64_t epoch;  // what times are relative to
    struct merge_source source[MERGE_SOURCES_MAX];
};

// Sources are added by merge_add() in the order of their turns.
void merge_init(struct merge *merge, uint64_t epoch_ns);
void merge_add(struct merge *merge, const char *name, struct history_view *view);

// Tells that bytes have been put in the source's history.
void merge_arrived(struct merge *merge, uint32_t source, uint64_t now_ns);

// Writes what can be shown now, at most `size` bytes, and returns how many.
uint32_t merge_produce(struct merge *merge, uint8_t *buffer, uint32_t size, uint64_t now_ns);

// When merge_produce() may have more to show though nothing arrives; MERGE_NEVER if never.
uint64_t merge_deadline(const struct merge *merge, uint64_t now_ns);

// Ends the line that is open on the terminal, so that other text can follow: writes at most
// MERGE_STEP_MAX bytes and returns how many.
uint32_t merge_break(struct merge *merge, uint8_t *buffer);

// The source that seems to wait for keys: whose unfinished line was shown last; -1: none.
int merge_prompted(const struct merge *merge);

// The terminal was in other hands: each source starts a line with what it says next.
void merge_restart(struct merge *merge);
