// SPDX-License-Identifier: BSD-2-Clause
// The first 4 GB of a machine as boot.S maps them: everything can be read, zeros where nothing was
// put, and what lies above faults. Page 0 and the last ones are there too: that is where hostile
// tables are put. For tests and fuzzers of what runs before the kernel has its own page tables.
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "kernel/core/arch.h"

#define LOW_BYTES (4ull << 30)

static uint8_t *low;
static char log_said[4096]; // by log_print() since it was last cleared

static void low_start(void)
{
    if (!low)
        low = mmap(NULL, LOW_BYTES + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (low == MAP_FAILED || mprotect(low, LOW_BYTES, PROT_READ | PROT_WRITE) != 0)
        abort();
    // Fresh zeros.
    if (mmap(low, LOW_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        abort();
    log_said[0] = 0;
}

static inline void put32(uint64_t at, uint32_t v) { memcpy(low + at, &v, 4); }
static inline void put64(uint64_t at, uint64_t v) { memcpy(low + at, &v, 8); }

void *arch_ptr(struct hpa a)
{
    if (a.v >= LOW_BYTES)
        abort(); // not mapped yet
    return low + a.v;
}

bool log_line(enum log_from from, const char *format, ...)
{
    (void)from;
    va_list args;
    size_t used = strlen(log_said);
    va_start(args, format);
    vsnprintf(log_said + used, sizeof(log_said) - used, format, args);
    va_end(args);
    return true;
}

void panic(const char *format, ...)
{
    (void)format;
    abort();
}
