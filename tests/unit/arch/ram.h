// SPDX-License-Identifier: BSD-2-Clause
// The fake machine's RAM, mapped twice: as the tests see it, and as the kernel does, where only
// what it was allowed can be touched and all else faults.
#pragma once
#include <stddef.h>

struct ram { char *all, *kernel; size_t bytes; };
void ram_make(struct ram *ram, size_t bytes);
void ram_free(struct ram *ram);
void ram_allow(void *kernel, size_t bytes);
