// SPDX-License-Identifier: BSD-2-Clause
//
// For the tests of the config code: parses a text and keeps the messages, as a person sees them.
// The state is the including file's own.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

#define MB (UINT64_C(1) << 20)

static struct config config;
static char messages[1 << 15];
static unsigned n_messages;

static inline void collect(void *ctx, const struct config_diag *diag)
{
    size_t used = strlen(messages);

    assert_ptr_equal(ctx, messages);
    config_diag_format(messages + used, sizeof(messages) - used, diag);
    used = strlen(messages);
    assert_true(used + 2 < sizeof(messages));
    messages[used] = '\n';
    messages[used + 1] = '\0';
    n_messages++;
}

static const struct config_sink sink = {collect, messages};

// From a heap copy of exactly that length, so that reading past the end is seen.
static inline uint32_t parse_bytes(const char *text, size_t length)
{
    char *copy = malloc(length + (length == 0));

    assert_non_null(copy);
    memcpy(copy, text, length);
    messages[0] = '\0';
    n_messages = 0;
    uint32_t errors = config_parse(&config, "t.conf", copy, length, &sink);
    free(copy);
    return errors;
}

static inline uint32_t parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

// `expected` is one line or more without the last newline, or "" for no message.
static inline void assert_messages(const char *expected)
{
    char wanted[2048];

    snprintf(wanted, sizeof(wanted), "%s%s", expected, expected[0] != '\0' ? "\n" : "");
    assert_string_equal(messages, wanted);
}
