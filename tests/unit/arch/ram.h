// SPDX-License-Identifier: BSD-2-Clause
// The fake machine's RAM, mapped twice: as the tests see it, and as the kernel does, where only
// what it was allowed can be touched and all else faults.
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct ram { char *all, *kernel, *allowed; size_t bytes; };
// In the place of what there was.
void ram_make(struct ram *ram, size_t bytes);
// The kernel can touch none of it any more.
void ram_close(struct ram *ram);
void ram_allow(struct ram *ram, size_t at, size_t bytes);
bool ram_allowed(const struct ram *ram, size_t at);
