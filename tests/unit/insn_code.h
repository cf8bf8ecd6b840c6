// SPDX-License-Identifier: BSD-2-Clause
//
// What the tests of instructions share: bytes for the decoder, and the names of the status flags.
#pragma once

#include "guest.h"

#include "vmm/cpu/insn.h"

enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800 };
enum { ALL = CF | PF | AF | ZF | SF | OF, LOGIC = ALL & ~AF };

static inline void make_code(struct insn_code *code, const uint8_t *bytes, unsigned length)
{
    uint8_t padded[16] = { 0 };

    memcpy(padded, bytes, length);
    memcpy(&code->low, padded, 8);
    memcpy(&code->high, padded + 8, 8);
    code->count = INSN_BYTES;
}
