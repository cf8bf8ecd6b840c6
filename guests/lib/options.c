// SPDX-License-Identifier: BSD-2-Clause
//
// The guest's command line. State: a copy of it, cut into words; written once at start, because the
// loader's copy lies in memory that becomes heap.

#include "guests/lib/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/lib/power.h"

#define WORDS_MAX 32

static char text[OPTIONS_SIZE];
static char *words[WORDS_MAX];
static unsigned int nr_words;

void options_init(const char *command_line)
{
    if (command_line == NULL)
        return;
    strncpy(text, command_line, sizeof(text) - 1);
    char *rest = text;
    char *word;
    while (nr_words < WORDS_MAX && (word = strtok_r(rest, " \t", &rest)) != NULL)
        words[nr_words++] = word;
}

const char *option(const char *key)
{
    size_t length = strlen(key);
    for (unsigned int i = nr_words; i-- > 0;) {
        if (strncmp(words[i], key, length) == 0 && words[i][length] == '=')
            return words[i] + length + 1;
    }
    return NULL;
}

bool option_flag(const char *flag)
{
    for (unsigned int i = 0; i < nr_words; i++) {
        if (strcmp(words[i], flag) == 0)
            return true;
    }
    return false;
}

uint64_t option_number(const char *key, uint64_t otherwise, uint64_t min, uint64_t max)
{
    const char *value = option(key);
    if (value == NULL)
        return otherwise;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 0);
    if (errno == 0 && end != value && *end == 0 && *value != '-' && number >= min && number <= max)
        return number;
    char message[160];
    snprintf(message, sizeof(message), "option %s=%.40s: want a number from %llu to %llu", key,
             value, (unsigned long long)min, (unsigned long long)max);
    guest_die(message);
}
