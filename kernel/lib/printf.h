// SPDX-License-Identifier: BSD-2-Clause
// Formatted text for the kernel's log.
#pragma once
#include <stdarg.h>
#include <stddef.h>

// As vsnprintf, for %s %u %lu %x %lx; from any other on, the format itself is the text. Always
// ends in NUL when size > 0. Returns the characters written without it, at most size - 1.
size_t format_text(char *to, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
