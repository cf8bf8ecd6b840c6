// SPDX-License-Identifier: BSD-2-Clause
//
// Inside of the config code: the table of sections and keys, between parse.c, which knows lines
// and quotes, and the values, which only schema.c knows.
#pragma once

#include "config/log.h"

enum config_section {
    CONFIG_SECTION_NONE,       // before the first header
    CONFIG_SECTION_UNKNOWN,    // after a header that makes no sense: its keys are passed over
    CONFIG_SECTION_SYSTEM,
    CONFIG_SECTION_VM,
};

// One value, unquoted. Not NUL-terminated, holds no control character but the tab.
struct config_value {
    const char *text;
    size_t length;            // at most CONFIG_CMDLINE_MAX; 0 only where it may be empty
    struct config_pos pos;    // of its first byte
};

// Where values go. `vm` is set in a [vm] section only.
struct config_target {
    struct config *config;
    struct config_vm *vm;
    struct config_log *log;
};

struct config_schema {
    const char *name;
    enum config_section section;
    bool may_be_empty;
    bool repeatable;
    // Stores the value, or reports what is wrong with it.
    void (*set)(const struct config_target *target, const struct config_value *value);
};

// Indexed by enum config_key.
extern const struct config_schema config_schema[CONFIG_KEYS];

// The key of that name in that section, or CONFIG_KEYS.
enum config_key config_schema_find(enum config_section section, const char *name, size_t length);

// Reports a key that the section does not have, with the likeliest remedy.
void config_schema_unknown(struct config_log *log, struct config_pos pos,
                           enum config_section section, const char *section_text,
                           const char *name, size_t length);

// Parts of values. Numbers are decimal digits and nothing else; every one in the file is far below
// 2^60.
enum config_number { NUMBER_OK, NUMBER_BAD, NUMBER_TOO_LARGE };
bool config_value_is(const struct config_value *value, const char *word);
enum config_number config_parse_number(const char *text, size_t length, uint64_t *number);
bool config_parse_hex(const char *text, size_t length, uint64_t *number);

// console.c
void config_set_console(const struct config_target *target, const struct config_value *value);

// restart.c
void config_set_restart(const struct config_target *target, const struct config_value *value);
void config_set_restart_limit(const struct config_target *target, const struct config_value *value);

void config_set_watchdog(const struct config_target *target, const struct config_value *value);

// linux.c
void config_set_entry(const struct config_target *target, const struct config_value *value);

// A VM with all keys absent.
void config_schema_defaults(struct config_vm *vm);
