// SPDX-License-Identifier: BSD-2-Clause
//
// Messages of the config code: bounded in number and in size, whatever the file holds. All state
// is the caller's struct config_log.
#include "config/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_SIZE 320
#define WORD_MAX 20    // longer words get no suggestion

void config_error(struct config_log *log, struct config_pos pos, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    struct config_diag diag = {log->file, pos, CONFIG_ERROR, message};
    va_list args;

    log->errors++;
    if (log->errors > CONFIG_MAX_MESSAGES)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    log->sink->report(log->sink->ctx, &diag);
}

void config_log_finish(struct config_log *log)
{
    char message[MESSAGE_SIZE];
    struct config_diag diag = {log->file, {0, 0}, CONFIG_NOTE, message};

    if (log->errors <= CONFIG_MAX_MESSAGES)
        return;
    unsigned more = (unsigned)(log->errors - CONFIG_MAX_MESSAGES);
    snprintf(message, sizeof(message), "%u more mistake%s not shown", more, more == 1 ? "" : "s");
    log->sink->report(log->sink->ctx, &diag);
}

void config_diag_format(char *buffer, size_t size, const struct config_diag *diag)
{
    const struct config_pos *pos = &diag->pos;

    if (pos->line == 0)
        snprintf(buffer, size, "%s: %s", diag->file, diag->message);
    else if (pos->column == 0)
        snprintf(buffer, size, "%s:%u: %s", diag->file, (unsigned)pos->line, diag->message);
    else
        snprintf(buffer, size, "%s:%u:%u: %s", diag->file, (unsigned)pos->line,
                 (unsigned)pos->column, diag->message);
}

const char *config_quote(char *buffer, const char *text, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    // Room for the longest piece, "\xNN", then "..." and the NUL.
    const size_t full = CONFIG_QUOTE_SIZE - 8;
    size_t at = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (at > full) {
            memcpy(buffer + at, "...", 3);
            at += 3;
            break;
        }
        if (byte >= 0x20 && byte < 0x7f) {
            buffer[at++] = (char)byte;
        } else {
            buffer[at++] = '\\';
            buffer[at++] = 'x';
            buffer[at++] = hex[byte >> 4];
            buffer[at++] = hex[byte & 15];
        }
    }
    buffer[at] = '\0';
    return buffer;
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

// Edit distance where swapping two neighbours counts once (optimal string alignment), without
// regard to case. Both lengths are at most WORD_MAX.
static unsigned distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    memset(rows, 0, sizeof(rows));
    for (size_t j = 0; j <= b_length; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);
            row[j] = least(above[j - 1] + !same, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *next = before;
        before = above;
        above = row;
        row = next;
    }
    return above[b_length];
}

// Whether the shorter of two words, of three letters at least, is a part of the other: people
// write mem for memory and cpus for vcpus.
static bool is_part(const char *a, size_t a_length, const char *b, size_t b_length)
{
    if (a_length > b_length) {
        const char *longer = a;
        size_t length = a_length;
        a = b;
        a_length = b_length;
        b = longer;
        b_length = length;
    }
    if (a_length < 3)
        return false;
    for (size_t start = 0; start + a_length <= b_length; start++) {
        size_t i = 0;
        while (i < a_length && lower(a[i]) == lower(b[start + i]))
            i++;
        if (i == a_length)
            return true;
    }
    return false;
}

const char *config_suggest(char *buffer, const char *text, size_t length,
                           const char *const *words, size_t count)
{
    const char *best = NULL;
    unsigned best_distance = 0;

    buffer[0] = '\0';
    if (length == 0 || length > WORD_MAX)
        return buffer;
    for (size_t i = 0; i < count; i++) {
        size_t word_length = strlen(words[i]);
        unsigned d = distance(text, length, words[i], word_length);
        if (d > (length + 1) / 3 && !is_part(text, length, words[i], word_length))
            continue;
        if (best == NULL || d < best_distance) {
            best = words[i];
            best_distance = d;
        }
    }
    if (best != NULL)
        snprintf(buffer, CONFIG_QUOTE_SIZE, " (did you mean '%s'?)", best);
    return buffer;
}
