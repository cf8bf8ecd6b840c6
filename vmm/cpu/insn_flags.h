// SPDX-License-Identifier: BSD-2-Clause
//
// Status flags and operand sizes, for the files that execute instructions. Keeps no state.
#pragma once

#include "vmm/cpu/insn.h"

#define FLAG_CF 0x001ull
#define FLAG_PF 0x004ull
#define FLAG_AF 0x010ull
#define FLAG_ZF 0x040ull
#define FLAG_SF 0x080ull
#define FLAG_OF 0x800ull
#define FLAGS_STATUS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

static inline uint64_t mask_of(unsigned size)
{
    return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

static inline uint64_t sign_of(unsigned size)
{
    return 1ull << (size * 8 - 1);
}

// SF, ZF and PF of a result.
static inline uint64_t flags_of(uint64_t value, unsigned size)
{
    value &= mask_of(size);
    return (value & sign_of(size) ? FLAG_SF : 0) | (value == 0 ? FLAG_ZF : 0) |
           (__builtin_parity((unsigned)value & 0xFF) ? 0 : FLAG_PF);
}

static inline void set_flags(struct insn_result *result, uint64_t flags, uint64_t which)
{
    result->rflags = (result->rflags & ~which) | (flags & which);
    result->rflags_write = true;
}
