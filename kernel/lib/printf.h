// SPDX-License-Identifier: BSD-2-Clause
// Formatted text for the kernel's log.
#pragma once
#include <stdarg.h>
#include <stddef.h>

// As vsnprintf, for %s %c %d %i %u %x %X %p %%, the lengths l ll z, a width, 0 and - flags, and a
// precision for %s. Always ends in NUL when size > 0. Returns the characters written without it,
// at most size - 1.
size_t format_text(char *to, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
