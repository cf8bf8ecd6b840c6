// SPDX-License-Identifier: BSD-2-Clause
// Numbers that are given out, a bit each. No locks: the owner's rules hold.
#pragma once
#include "kernel/lib/types.h"

// The lowest number that is free; 0, which is never free: none is.
static inline uint32_t bits_free(const uint64_t *words, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (~words[i])
            return i * 64 + (uint32_t)__builtin_ctzll(~words[i]);
    return 0;
}

static inline void bits_set(uint64_t *words, uint64_t number)
{
    words[number / 64] |= 1ull << number % 64;
}

// The same, taken from now on.
static inline uint32_t bits_take(uint64_t *words, uint32_t count)
{
    uint32_t number = bits_free(words, count);
    bits_set(words, number);
    return number;
}

static inline void bits_give_back(uint64_t *words, uint64_t number)
{
    words[number / 64] &= ~(1ull << number % 64);
}
