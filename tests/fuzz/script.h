// SPDX-License-Identifier: BSD-2-Clause
//
// A fuzzer's input as a script: numbers are taken from its front. And what the harnesses call when
// a promise is broken. A script belongs to the one run that reads it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct script {
    const uint8_t *data;
    size_t left;
};

// The next `bytes` bytes, at most 8, the first as the highest; behind the end there are none.
static inline uint64_t script_take(struct script *s, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes-- != 0 && s->left != 0) {
        value = value << 8 | *s->data++;
        s->left--;
    }
    return value;
}

// Ends the run as a finding unless the condition holds.
#define require(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)
