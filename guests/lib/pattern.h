// SPDX-License-Identifier: BSD-2-Clause
//
// What the guest `sentry` fills its memory and its registers with, so that another VM which comes
// to see any of it knows what it sees. Each 64-bit word holds one magic number in its upper half
// and a keyed pseudo-random number in its lower one; values for registers hold the magic in the
// lower half. A read of 32 or 64 aligned bits that meets a sentry's data shows the magic in one
// half.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_MAGIC_INVERTED 0x4A1D5E17u

// The magic number. Images hold only its complement, so nobody finds it in his own code.
static inline uint32_t pattern_magic(void)
{
    uint32_t inverted = PATTERN_MAGIC_INVERTED;
    __asm__("" : "+r"(inverted));
    return ~inverted;
}

// Word `index` of the memory of the sentry with this key.
static inline uint64_t pattern_word(uint32_t key, uint64_t index)
{
    uint64_t mixed = (index + 1 + ((uint64_t)key << 32)) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9u;
    return (uint64_t)pattern_magic() << 32 | (uint32_t)(mixed >> 32);
}

// A canonical address for register `index`.
static inline uint64_t pattern_register(uint32_t key, unsigned int index)
{
    return (uint64_t)((key & 0x7F) << 8 | (index & 0xFF)) << 32 | pattern_magic();
}

static inline bool pattern_in(uint64_t value)
{
    uint32_t magic = pattern_magic();
    return (uint32_t)value == magic || (uint32_t)(value >> 32) == magic;
}
