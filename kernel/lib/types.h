// SPDX-License-Identifier: BSD-2-Clause
// Host-physical addresses, a type of their own, so that mixing them with others does not compile;
// and the few macros that all of the kernel uses.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hpa { uint64_t v; }; // host-physical

#define HPA(x) ((struct hpa){ (x) })

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))
#define MUST_CHECK __attribute__((warn_unused_result))

static inline uint64_t align_down(uint64_t x, uint64_t a) { return x & ~(a - 1); }
static inline uint64_t align_up(uint64_t x, uint64_t a) { return (x + a - 1) & ~(a - 1); }
static inline bool is_aligned(uint64_t x, uint64_t a) { return (x & (a - 1)) == 0; }
static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

// An assertion is for our own bugs, never for input from outside: it ends in a panic.
NORETURN void panic(const char *format, ...) __attribute__((format(printf, 1, 2), cold));
#define ASSERT(x)                                                                                  \
    do {                                                                                           \
        if (unlikely(!(x)))                                                                        \
            panic("%s:%u: assertion failed: %s", __FILE__, __LINE__, #x);                          \
    } while (0)
