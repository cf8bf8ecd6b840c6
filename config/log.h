// SPDX-License-Identifier: BSD-2-Clause
//
// Inside of the config code: making messages, with a bound on how many.
#pragma once

#include "config/config.h"

#define CONFIG_QUOTE_SIZE 64    // bytes of a config_quote result, NUL included

// The messages of one phase. On the stack of config_parse or config_check.
struct config_log {
    const char *file;
    const struct config_sink *sink;
    uint32_t errors;    // all of them, reported or not
};

__attribute__((format(printf, 3, 4)))
void config_error(struct config_log *log, struct config_pos pos, const char *format, ...);

// Ends a phase: says how many messages were left out, if any.
void config_log_finish(struct config_log *log);

// config_place(); says which shares fit nowhere.
void config_place_logged(struct config *config, uint32_t cores, struct config_log *log);

// Makes outside text fit for a message: printable ASCII stays, the rest is written \xNN, and
// what is too long ends in "...". Returns `buffer`, which has CONFIG_QUOTE_SIZE bytes.
const char *config_quote(char *buffer, const char *text, size_t length);

// " (did you mean 'WORD'?)" for the word that is closest to text among `count` words, or "" when
// none is near. `buffer` has CONFIG_QUOTE_SIZE bytes and is returned.
const char *config_suggest(char *buffer, const char *text, size_t length,
                           const char *const *words, size_t count);
