// SPDX-License-Identifier: BSD-2-Clause
//
// Where a Linux bzImage unpacks itself: for `check` (linux.c) and for its loader
// (vmm/load/bzimage.c), which have to agree on what fits. Pure computation, no state.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LINUX_LOWEST UINT64_C(0x100000) // a bzImage's kernel is loaded at 1 MB or above

// Its start, by the setup header's fields pref_address, relocatable_kernel and kernel_alignment
// (Linux, "The Linux/x86 Boot Protocol"). It cannot be kept lower than it likes: where it is loaded
// below, it moves itself up before it unpacks itself, also if it is relocatable. An alignment that
// is no power of two counts for nothing.
static inline uint64_t linux_start(uint64_t preferred, bool relocatable, uint64_t alignment)
{
    if (preferred >= LINUX_LOWEST)
        return preferred;
    if (!relocatable || alignment == 0 || (alignment & (alignment - 1)) != 0)
        return LINUX_LOWEST;
    return (LINUX_LOWEST + alignment - 1) & ~(alignment - 1);
}
