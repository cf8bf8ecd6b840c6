// SPDX-License-Identifier: BSD-2-Clause
// Memory and string functions of the kernel. No state. The bulk is moved by the CPU's string
// instructions, eight bytes a step; loops in C would be compiled into calls of these functions.
#include <stdint.h>
#include "kernel/lib/string.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    void *d = to;
    size_t words = bytes / 8, rest = bytes % 8;
    __asm__ volatile("rep movsq" : "+D"(d), "+S"(from), "+c"(words) : : "memory");
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(rest) : : "memory");
    return to;
}

void *memset(void *to, int byte, size_t bytes)
{
    void *d = to;
    uint64_t pattern = (uint8_t)byte * 0x0101010101010101ull;
    size_t words = bytes / 8, rest = bytes % 8;
    __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(pattern) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a, *y = b;
    for (; bytes; bytes--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}
