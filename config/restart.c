// SPDX-License-Identifier: BSD-2-Clause
//
// restart and restart-limit: whether a VM that has ended starts again, and how often; watchdog:
// whether one that hangs ends.
#include "config/schema.h"

#include <string.h>

#define WEEK_S (7 * 86400u)

void config_set_restart(const struct config_target *target, const struct config_value *value)
{
    char quote[CONFIG_QUOTE_SIZE];

    if (config_value_is(value, "never"))
        target->vm->restart = CONFIG_RESTART_NEVER;
    else if (config_value_is(value, "on-failure"))
        target->vm->restart = CONFIG_RESTART_ON_FAILURE;
    else if (config_value_is(value, "always"))
        target->vm->restart = CONFIG_RESTART_ALWAYS;
    else
        config_error(target->log, value->pos,
                     "unknown restart policy '%s': never, on-failure or always",
                     config_quote(quote, value->text, value->length));
}

// "10m" -> seconds; 0: it is no time, or longer than a week
static uint32_t parse_seconds(const char *text, size_t length)
{
    static const struct { char name; uint32_t seconds; } units[] = {
        { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 },
    };
    uint64_t number;

    if (length == 0 || config_parse_number(text, length - 1, &number) != NUMBER_OK)
        return 0;
    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (text[length - 1] == units[i].name && number <= WEEK_S / units[i].seconds)
            return (uint32_t)number * units[i].seconds;
    }
    return 0;
}

void config_set_restart_limit(const struct config_target *target, const struct config_value *value)
{
    static const char per[] = " per ";
    const size_t between = sizeof(per) - 1;
    const char *end = value->text + value->length, *at = memchr(value->text, ' ', value->length);
    char quote[CONFIG_QUOTE_SIZE];
    uint64_t number = 0;
    uint32_t seconds = 0;

    if (at != NULL && (size_t)(end - at) > between && memcmp(at, per, between) == 0 &&
        config_parse_number(value->text, (size_t)(at - value->text), &number) == NUMBER_OK)
        seconds = parse_seconds(at + between, (size_t)(end - at) - between);
    if (seconds == 0 || number == 0 || number > CONFIG_RESTARTS_MAX) {
        config_error(target->log, value->pos, "restart-limit = %s is not like '5 per 10m': 1 to "
                     "%u restarts in 1s to 7d (s, m, h, d)",
                     config_quote(quote, value->text, value->length), CONFIG_RESTARTS_MAX);
        return;
    }
    target->vm->restarts = (uint32_t)number;
    target->vm->restart_window_s = seconds;
}

void config_set_watchdog(const struct config_target *target, const struct config_value *value)
{
    char quote[CONFIG_QUOTE_SIZE];
    uint32_t seconds = parse_seconds(value->text, value->length);

    if (seconds == 0 && !config_value_is(value, "yes") && !config_value_is(value, "no"))
        config_error(target->log, value->pos, "watchdog = %s is none of yes, no and a time such as "
                     "2m (1s to 7d; s, m, h, d)", config_quote(quote, value->text, value->length));
    target->vm->watchdog = !config_value_is(value, "no");
    target->vm->watchdog_s = seconds;
}
