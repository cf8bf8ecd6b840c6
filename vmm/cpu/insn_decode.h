// SPDX-License-Identifier: BSD-2-Clause
//
// What the two files of the decoder share: Zydis, and operands that are read alike.
// Keeps no state.
#pragma once

#include <Zydis/Zydis.h>
#include "vmm/cpu/insn.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// Which of the visible operands is memory; -1: none is, or there are more than three.
int insn_memory_operand(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand);
// A general register, of so many bits, as `reg` and `reg_size`; false: it is none.
bool insn_decode_register(ZydisRegister reg, unsigned bits, struct insn *insn);
// An operand in memory; false: its addresses are a vector's.
bool insn_decode_address(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                         struct insn *insn);
// insn_decode_vector.c. False: it is not one of these, or is not executed on device memory.
bool insn_decode_vector(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                        struct insn *insn);
