// SPDX-License-Identifier: BSD-2-Clause
// Numbers that are given out, a bit each. No locks: the owner's rules hold.
#pragma once
#include "kernel/lib/types.h"

// The lowest number that is free, taken from now on; 0, which is never free: none is.
static inline uint32_t bits_take(uint64_t *words, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!~words[i])
            continue;
        uint32_t bit = (uint32_t)__builtin_ctzll(~words[i]);
        words[i] |= 1ull << bit;
        return i * 64 + bit;
    }
    return 0;
}

static inline void bits_give_back(uint64_t *words, uint64_t number)
{
    words[number / 64] &= ~(1ull << number % 64);
}
