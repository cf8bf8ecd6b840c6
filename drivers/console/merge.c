// SPDX-License-Identifier: BSD-2-Clause
// The merged view; its rules are in merge.h. Runs on the console's thread only.
#include <stdio.h>
#include <string.h>
#include "drivers/console/merge.h"

#define MERGE_FORWARD_MAX 80u // columns that one sequence may go forward

// A buffer that is being filled; the callers see to it that there is room.
struct merge_out {
    uint8_t *bytes;
    uint32_t len;
};

static void merge_put(struct merge_out *out, const void *bytes, uint32_t len)
{
    memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

static void merge_put_text(struct merge_out *out, const char *text)
{
    merge_put(out, text, (uint32_t)strlen(text));
}

void merge_init(struct merge *merge, uint64_t epoch_ns)
{
    *merge = (struct merge){.open = -1, .prompted = -1, .epoch = epoch_ns};
}

void merge_add(struct merge *merge, const char *name, struct history_view *view)
{
    if (merge->count < MERGE_SOURCES_MAX) {
        merge->source[merge->count++] =
            (struct merge_source){.name = name, .view = view, .fresh = true};
    }
}

void merge_arrived(struct merge *merge, uint32_t index, uint64_t now_ns)
{
    struct merge_source *source = &merge->source[index];
    if (now_ns - source->last_ns >= MERGE_SILENCE_NS) {
        source->burst_ns = now_ns;
    }
    source->last_ns = now_ns;
}

static void merge_prefix(const struct merge *merge, const struct merge_source *source,
                         struct merge_out *out)
{
    char text[64];
    if (merge->times) {
        uint64_t us = (source->start_ns - merge->epoch) / 1000;
        snprintf(text, sizeof(text), "%5u.%06u ", (unsigned)(us / 1000000),
                 (unsigned)(us % 1000000));
        merge_put_text(out, text);
    }
    snprintf(text, sizeof(text), "%.15s| ", source->name);
    merge_put_text(out, text);
}

// Before something visible: the prefix if it is missing, and a carriage return that was held back.
static void merge_begin(const struct merge *merge, struct merge_source *source,
                        struct merge_out *out)
{
    if (source->fresh) {
        merge_prefix(merge, source, out);
    } else if (source->cr && source->column > 0) {
        merge_put_text(out, "\r");
        merge_prefix(merge, source, out);
        source->column = 0;
    }
    source->fresh = false;
    source->cr = false;
}

static void merge_end_line(struct merge_source *source, struct merge_out *out)
{
    if (source->coloured) {
        merge_put_text(out, "\033[0m");
    }
    merge_put_text(out, "\r\n");
    source->coloured = false;
    source->fresh = true;
    source->cr = false;
    source->column = 0;
}

static void merge_line_feed(const struct merge *merge, struct merge_source *source,
                            struct merge_out *out)
{
    source->cr = false;
    // The rest of an interrupted line that is empty has been ended by the interruption.
    if (!(source->fresh && source->interrupted)) {
        merge_begin(merge, source, out);
        merge_end_line(source, out);
    }
    source->interrupted = false;
    source->line_len = 0;
}

static void merge_text(const struct merge *merge, struct merge_source *source, uint8_t byte,
                       struct merge_out *out)
{
    if (byte == '\r') {
        source->cr = true;
    } else if (byte == '\b') {
        if (source->column > 0 && !source->cr) {
            merge_put(out, &byte, 1);
            source->column--;
        }
    } else if (byte == '\a') {
        merge_put(out, &byte, 1);
    } else if (byte == '\t') {
        merge_begin(merge, source, out);
        merge_put(out, &byte, 1);
        source->column = (source->column | 7) + 1;
    } else if (byte >= 0x20 && byte != 0x7f) {
        merge_begin(merge, source, out);
        merge_put(out, &byte, 1);
        source->column += (byte & 0xc0) != 0x80; // UTF-8: one column per character
    }
}

// The cursor forward or backward, within the line.
static void merge_move(struct merge_source *source, uint32_t columns, char direction,
                       struct merge_out *out)
{
    uint32_t most = direction == 'D' ? source->column : MERGE_FORWARD_MAX;
    char text[16];
    if (columns > most) {
        columns = most;
    }
    if (columns == 0 || source->fresh || source->cr) {
        return;
    }
    snprintf(text, sizeof(text), "\033[%u%c", (unsigned)columns, direction);
    merge_put_text(out, text);
    source->column += direction == 'D' ? 0 - columns : columns;
}

// A complete control sequence: what may pass, as it stands or bounded to the line.
static void merge_sequence(const struct merge *merge, struct merge_source *source,
                           struct merge_out *out)
{
    const struct escape *escape = &source->escape;
    uint32_t parameter = escape_csi_parameter(escape, 0);
    switch (escape_csi_final(escape)) {
    case 'm':
        merge_begin(merge, source, out);
        merge_put(out, escape->bytes, escape->len);
        source->coloured = escape->len > 4 || parameter != 0;
        break;
    case 'J':
    case 'K':
        if (parameter == 0 && !source->fresh) {
            merge_begin(merge, source, out);
            merge_put_text(out, "\033[K");
        }
        break;
    case 'C':
        merge_move(source, escape_csi_parameter(escape, 1), 'C', out);
        break;
    case 'D':
        merge_move(source, escape_csi_parameter(escape, 1), 'D', out);
        break;
    default:
        break;
    }
}

// Shows the source's next byte. True when that ended its line.
static bool merge_byte(const struct merge *merge, struct merge_source *source,
                       struct merge_out *out)
{
    uint64_t offset = source->view->shown;
    uint8_t byte = history_next(source->view);
    if (source->line_len++ == 0) {
        source->start_ns = history_time(source->view->of, offset);
    }
    switch (escape_feed(&source->escape, byte)) {
    case ESCAPE_MORE:
        return false;
    case ESCAPE_DONE:
        merge_sequence(merge, source, out);
        return false;
    case ESCAPE_TEXT:
        break;
    }
    if (byte == '\n') {
        merge_line_feed(merge, source, out);
        return true;
    }
    merge_text(merge, source, byte, out);
    return false;
}

static bool merge_ready(const struct merge *merge, const struct merge_source *source,
                        uint64_t now_ns)
{
    uint64_t unshown = history_unshown(source->view);
    return unshown > 0 && (history_lines(source->view) > 0 || unshown >= HISTORY_UNSHOWN_MAX ||
                           merge->all_due || now_ns - source->last_ns >= MERGE_SILENCE_NS);
}

// When the oldest byte that waits arrived; MERGE_NEVER if none waits.
static uint64_t merge_waits_since(const struct merge_source *source)
{
    const struct history_view *view = source->view;
    return history_unshown(view) > 0 ? history_time(view->of, view->shown) : MERGE_NEVER;
}

// True if another source has said something before what source 0 has to show.
static bool merge_is_early(const struct merge *merge)
{
    uint64_t since = merge_waits_since(&merge->source[0]);
    for (uint32_t i = 1; i < merge->count; i++) {
        if (merge_waits_since(&merge->source[i]) < since) {
            return true;
        }
    }
    return false;
}

// The next source in turn that has something to show, the open one aside; -1: none.
static int merge_pick(const struct merge *merge, uint64_t now_ns)
{
    for (uint32_t i = 0; i < merge->count; i++) {
        uint32_t index = (merge->next + i) % merge->count;
        if ((int)index != merge->open && merge_ready(merge, &merge->source[index], now_ns) &&
            (index != 0 || !merge_is_early(merge))) {
            return (int)index;
        }
    }
    return -1;
}

// A line that is open, and not known to end, may be interrupted when its source pauses or goes on
// for too long.
static bool merge_interruptible(const struct merge *merge, const struct merge_source *source,
                                uint64_t now_ns)
{
    if (history_lines(source->view) > 0) {
        return false;
    }
    if (source->line_len >= HISTORY_UNSHOWN_MAX || now_ns - source->burst_ns >= MERGE_BURST_NS) {
        return true;
    }
    return history_unshown(source->view) == 0 &&
           (merge->all_due || now_ns - source->last_ns >= MERGE_SILENCE_NS);
}

static void merge_interrupt(struct merge *merge, struct merge_out *out)
{
    struct merge_source *source = &merge->source[merge->open];
    if (!source->fresh) {
        merge_end_line(source, out);
        source->interrupted = true;
        merge->prompted = merge->open;
    }
    source->line_len = 0;
    merge->open = -1;
}

// One step of at most MERGE_STEP_MAX bytes. False: there is nothing to do now.
static bool merge_step(struct merge *merge, struct merge_out *out, uint64_t now_ns)
{
    if (merge->open >= 0) {
        struct merge_source *source = &merge->source[merge->open];
        if (merge_interruptible(merge, source, now_ns) && merge_pick(merge, now_ns) >= 0) {
            merge->next = ((uint32_t)merge->open + 1) % merge->count;
            merge_interrupt(merge, out);
            return true;
        }
        if (history_unshown(source->view) == 0) {
            return false;
        }
        if (merge_byte(merge, source, out)) {
            merge->next = ((uint32_t)merge->open + 1) % merge->count;
            merge->open = -1;
        }
        return true;
    }
    merge->open = merge_pick(merge, now_ns);
    if (merge->open < 0) {
        return false;
    }
    // Its half second begins with its turn. Otherwise two that have both gone on for longer would
    // interrupt each other for ever, and show nothing.
    merge->source[merge->open].burst_ns = now_ns;
    return true;
}

uint32_t merge_produce(struct merge *merge, uint8_t *buffer, uint32_t size, uint64_t now_ns)
{
    struct merge_out out = {.bytes = buffer};
    while (size - out.len >= MERGE_STEP_MAX && merge_step(merge, &out, now_ns)) {
    }
    return out.len;
}

uint64_t merge_deadline(const struct merge *merge, uint64_t now_ns)
{
    uint64_t deadline = MERGE_NEVER;
    bool ready = merge_pick(merge, now_ns) >= 0;
    for (uint32_t i = 0; i < merge->count; i++) {
        const struct merge_source *source = &merge->source[i];
        bool waits = (int)i == merge->open ? ready : history_unshown(source->view) > 0;
        // A pause that has passed already makes something ready or interruptible: no deadline.
        if (waits && source->last_ns + MERGE_SILENCE_NS > now_ns &&
            source->last_ns + MERGE_SILENCE_NS < deadline) {
            deadline = source->last_ns + MERGE_SILENCE_NS;
        }
    }
    return deadline;
}

uint32_t merge_break(struct merge *merge, uint8_t *buffer)
{
    struct merge_out out = {.bytes = buffer};
    if (merge->open >= 0) {
        merge_interrupt(merge, &out);
    }
    return out.len;
}

int merge_prompted(const struct merge *merge)
{
    bool open = merge->open >= 0 && !merge->source[merge->open].fresh;
    return open ? merge->open : merge->prompted;
}

void merge_restart(struct merge *merge)
{
    merge->open = -1;
    for (uint32_t i = 0; i < merge->count; i++) {
        struct merge_source *source = &merge->source[i];
        const struct history_view *view = source->view;
        source->escape = (struct escape){0};
        source->cr = source->coloured = false;
        source->fresh = true;
        source->column = source->line_len = 0;
        source->interrupted = view->shown > history_oldest(view->of) &&
                              history_at(view->of, view->shown - 1) != '\n';
    }
}
