// SPDX-License-Identifier: BSD-2-Clause
// The functions of the C library's <string.h> that the kernel uses and that compilers call on their
// own. string.c has them for the kernel; the tests on the host take the host's.
#pragma once
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
