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

uint32_t history_lines(struct history_view *view)
{
    for (; view->counted < view->of->end; view->counted++) {
        view->lines += history_at(view->of, view->counted) == '\n';
    }
    return view->lines;
}

static void history_go(struct history_view *view, uint64_t offset)
{
    view->shown = view->counted = offset;
    view->lines = 0;
}

uint8_t history_next(struct history_view *view)
{
    uint8_t byte = history_at(view->of, view->shown++);
    if (view->counted < view->shown) {
        view->counted = view->shown;
    } else {
        view->lines -= byte == '\n';
    }
    return byte;
}

void history_skip(struct history_view *view)
{
    history_go(view, view->of->end);
}

void history_hurry(struct history_view *view)
{
    if (history_unshown(view) > 2ull * HISTORY_UNSHOWN_MAX) {
        history_go(view, view->of->end - HISTORY_UNSHOWN_MAX);
    }
}

void history_rewind(struct history_view *view, uint32_t lines, uint32_t bytes)
{
    const struct history *history = view->of;
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
    history_go(view, view->shown < start ? view->shown : start);
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
