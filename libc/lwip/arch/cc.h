// SPDX-License-Identifier: BSD-2-Clause
// lwIP's view of the compiler and of newlib. One thread runs the whole stack, so there is nothing
// to protect and no lock.
#pragma once

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/types.h>

// newlib has ssize_t but not its limit; without the limit lwIP makes a 32-bit ssize_t of its own.
#ifndef SSIZE_MAX
#define SSIZE_MAX LONG_MAX
#endif

#define LWIP_TIMEVAL_PRIVATE 0
#define LWIP_RAND() ((uint32_t)rand())

#define LWIP_PLATFORM_DIAG(arguments) \
    do {                              \
        printf arguments;             \
    } while (0)

#define LWIP_PLATFORM_ASSERT(text)                                    \
    do {                                                              \
        printf("lwip: %s at %s:%d\n", (text), __FILE__, __LINE__); \
        abort();                                                      \
    } while (0)

typedef int sys_prot_t;
