// SPDX-License-Identifier: BSD-2-Clause
// History of a console line; see history.h. Runs on the console's thread only.
#include "drivers/console/history.h"

void history_put(struct history *history, const uint8_t *bytes, uint32_t len, uint64_t ns)
{
    if (len == 0) {
        return;
    }
    history->stamp[history->stamps++ % HISTORY_STAMPS] =
        (struct history_stamp){.offset = history->end, .ns = ns};
    for (uint32_t i = 0; i < len; i++) {
        history->data[history->end++ % HISTORY_SIZE] = bytes[i];
        history->lines += bytes[i] == '\n';
    }
}

uint64_t history_oldest(const struct history *history)
{
    return history->end > HISTORY_SIZE ? history->end - HISTORY_SIZE : 0;
}

uint8_t history_at(const struct history *history, uint64_t offset)
{
    return history->data[offset % HISTORY_SIZE];
}

uint8_t history_next(struct history *history)
{
    uint8_t byte = history_at(history, history->shown++);
    history->lines -= byte == '\n';
    return byte;
}

void history_skip(struct history *history)
{
    history->shown = history->end;
    history->lines = 0;
}

void history_rewind(struct history *history, uint32_t lines, uint32_t bytes)
{
    uint64_t oldest = history_oldest(history);
    uint64_t start = history->end;
    uint32_t seen = 0;
    while (start > oldest && history->end - start < bytes) {
        // The line feed that ends line n+1 from below is not part of the last n lines.
        if (history_at(history, start - 1) == '\n' && start != history->end && ++seen == lines) {
            break;
        }
        start--;
    }
    if (history->shown > start) {
        history->shown = start;
    }
    history->lines = 0;
    for (uint64_t i = history->shown; i < history->end; i++) {
        history->lines += history_at(history, i) == '\n';
    }
}

uint64_t history_time(const struct history *history, uint64_t offset)
{
    uint32_t kept = history->stamps < HISTORY_STAMPS ? history->stamps : HISTORY_STAMPS;
    uint64_t ns = 0;
    for (uint32_t i = history->stamps; kept > 0; kept--) {
        const struct history_stamp *stamp = &history->stamp[--i % HISTORY_STAMPS];
        ns = stamp->ns;
        if (stamp->offset <= offset) {
            break;
        }
    }
    return ns;
}
