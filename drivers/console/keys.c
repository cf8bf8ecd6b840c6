// SPDX-License-Identifier: BSD-2-Clause
// The Ctrl-] commands; see keys.h. State is the caller's.
#include "drivers/console/keys.h"

static enum keys_action keys_begin_name(struct keys *keys, uint8_t first)
{
    keys->state = KEYS_NAME;
    keys->len = 0;
    if (first != '=') {
        keys->name[keys->len++] = (char)first;
    }
    return KEYS_NONE;
}

static enum keys_action keys_command(struct keys *keys, uint8_t byte)
{
    keys->state = KEYS_PLAIN;
    if (byte >= '1' && byte <= '9') {
        keys->number = byte - '0';
        return KEYS_FOCUS;
    }
    switch (byte) {
    case KEYS_ESCAPE:
        keys->byte = byte;
        return KEYS_BYTE;
    case 'a':
        return KEYS_ALL;
    case 'm':
        return KEYS_MONITOR;
    case 't':
        return KEYS_TIMES;
    case '?':
    case 'h' - 'a' + 1: // Ctrl-H
        return KEYS_HELP;
    case 0x1b:
    case 0x03:
        return KEYS_NONE;
    }
    if (byte == '=' || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z')) {
        return keys_begin_name(keys, byte);
    }
    return KEYS_UNKNOWN;
}

static enum keys_action keys_name_done(struct keys *keys)
{
    keys->state = KEYS_PLAIN;
    keys->name[keys->len] = '\0';
    keys->number = 0;
    for (uint32_t i = 0; i < keys->len; i++) {
        if (keys->name[i] < '0' || keys->name[i] > '9') {
            keys->number = 0;
            break;
        }
        keys->number = keys->number < 1000 ? keys->number * 10 + (uint32_t)(keys->name[i] - '0')
                                           : 1000;
    }
    return KEYS_NAMED;
}

static enum keys_action keys_in_name(struct keys *keys, uint8_t byte)
{
    if (byte == '\r' || byte == '\n') {
        return keys_name_done(keys);
    }
    if (byte == 0x1b || byte == 0x03) {
        keys->state = KEYS_PLAIN;
    } else if (byte == '\b' || byte == 0x7f) {
        keys->len -= keys->len > 0;
    } else if (byte == KEYS_ESCAPE) {
        keys->state = KEYS_COMMAND;
    } else if (byte > 0x20 && byte < 0x7f && keys->len < KEYS_NAME_MAX) {
        keys->name[keys->len++] = (char)byte;
    }
    return KEYS_NONE;
}

enum keys_action keys_feed(struct keys *keys, uint8_t byte)
{
    switch (keys->state) {
    case KEYS_COMMAND:
        return keys_command(keys, byte);
    case KEYS_NAME:
        return keys_in_name(keys, byte);
    }
    if (byte == KEYS_ESCAPE) {
        keys->state = KEYS_COMMAND;
        return KEYS_NONE;
    }
    keys->byte = byte;
    return KEYS_BYTE;
}
