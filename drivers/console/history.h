// SPDX-License-Identifier: BSD-2-Clause
// What one console line has said: its last 64 KB, and when that arrived; and how much of it a view
// has shown: there are two, on the serial line and on the screen. Offsets count the line's bytes
// from its first and never wrap. Owned by the console's thread; plain memory, no kernel calls.
#pragma once
#include <stdint.h>

#define HISTORY_SIZE   65536u // bytes kept, a power of two
#define HISTORY_STAMPS 64u
// At most this much waits to be shown; a longer line can be split. The rest stays in the ring,
// which fills up and stops its writer: so a flood costs nobody else anything.
#define HISTORY_UNSHOWN_MAX 8192u

struct history_stamp {
    uint64_t offset; // of the first byte that arrived then
    uint64_t ns;
};

struct history {
    uint64_t end; // bytes that have arrived
    uint32_t stamps;
    struct history_stamp stamp[HISTORY_STAMPS];
    uint8_t data[HISTORY_SIZE];
};

// All zero but for `of` at the start.
struct history_view {
    const struct history *of;
    uint64_t shown;   // bytes that have been shown, or passed over while another VM was shown
    uint64_t counted; // as far as line feeds have been counted; >= shown
    uint32_t lines;   // of these in shown..counted
};

// A zeroed struct history is empty.

// Adds `len` bytes that arrived at `ns`. No view's unshown part must grow beyond HISTORY_SIZE.
void history_put(struct history *history, const uint8_t *bytes, uint32_t len, uint64_t ns);

static inline uint64_t history_unshown(const struct history_view *view)
{
    return view->of->end - view->shown;
}

// Line feeds in what has not been shown.
uint32_t history_lines(struct history_view *view);

// The oldest offset that is still there.
uint64_t history_oldest(const struct history *history);

// The byte at `offset`, oldest <= offset < end.
uint8_t history_at(const struct history *history, uint64_t offset);

// Takes the next unshown byte; there must be one.
uint8_t history_next(struct history_view *view);

// Everything counts as shown.
void history_skip(struct history_view *view);

// The oldest that has not been shown counts as shown, where there is more than twice what may wait.
void history_hurry(struct history_view *view);

// Goes back so that the last `lines` lines (at most `bytes` bytes), and all that was not shown, are
// shown next.
void history_rewind(struct history_view *view, uint32_t lines, uint32_t bytes);

// When the byte at `offset` arrived, as far as it is known (nanoseconds of the host clock).
uint64_t history_time(const struct history *history, uint64_t offset);
