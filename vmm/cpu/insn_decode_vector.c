// SPDX-License-Identifier: BSD-2-Clause
//
// From what Zydis says to struct insn: moves of vector registers, conversions into them, and the
// x87's instructions on memory. Not MMX, and not what only EVEX encodes.
// Keeps no state; runs on the VMM's only thread.
#include "vmm/cpu/insn_decode.h"

// A mnemonic and that of its VEX form.
#define BOTH(name) ZYDIS_MNEMONIC_##name, ZYDIS_MNEMONIC_V##name

static const struct {
    uint16_t mnemonic, vex;
    uint8_t flags;
} moves[] = {
    { BOTH(MOVUPS), 0 },
    { BOTH(MOVUPD), 0 },
    { BOTH(MOVDQU), 0 },
    { BOTH(LDDQU), 0 },
    { BOTH(MOVAPS), INSN_ALIGNED },
    { BOTH(MOVAPD), INSN_ALIGNED },
    { BOTH(MOVDQA), INSN_ALIGNED },
    { BOTH(MOVNTPS), INSN_ALIGNED },
    { BOTH(MOVNTPD), INSN_ALIGNED },
    { BOTH(MOVNTDQ), INSN_ALIGNED },
    { BOTH(MOVNTDQA), INSN_ALIGNED },
    { BOTH(MOVSS), 0 },
    { BOTH(MOVSD), 0 },
    { BOTH(MOVD), 0 },
    { BOTH(MOVQ), 0 },
    { BOTH(MOVLPS), INSN_MERGE },
    { BOTH(MOVLPD), INSN_MERGE },
    { BOTH(MOVHPS), INSN_MERGE | INSN_UPPER },
    { BOTH(MOVHPD), INSN_MERGE | INSN_UPPER },
};

static bool is_vector(const ZydisDecodedOperand *o)
{
    ZydisRegisterClass class;

    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    class = ZydisRegisterGetClass(o->reg.value);
    return class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM;
}

// The first two are a vector register and memory, in any order; or two registers and memory.
static bool decode_vector(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                          int memory, struct insn *insn)
{
    int reg = memory == 0 ? 1 : 0;

    if (z->operand_count_visible < 2 || !is_vector(&operand[reg]))
        return false;
    insn->reg = insn->reg2 = (uint8_t)ZydisRegisterGetId(operand[reg].reg.value);
    if (memory == 2) {
        if (!is_vector(&operand[1]))
            return false;
        insn->reg2 = (uint8_t)ZydisRegisterGetId(operand[1].reg.value);
    }
    insn->vector = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? INSN_VEX : 0;
    return true;
}

static bool decode_move(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                        int memory, struct insn *insn)
{
    for (unsigned i = 0; i < COUNT(moves); i++) {
        if (moves[i].mnemonic != z->mnemonic && moves[i].vex != z->mnemonic)
            continue;
        if (!decode_vector(z, operand, memory, insn))
            return false;
        insn->op = memory == 0 ? INSN_VECTOR_STORE : INSN_VECTOR_LOAD;
        insn->vector |= moves[i].flags;
        return insn->size == 4 || insn->size == 8 || insn->size == 16 || insn->size == 32;
    }
    return false;
}

static bool decode_convert(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                           int memory, struct insn *insn)
{
    if (!decode_vector(z, operand, memory, insn) || (insn->size != 4 && insn->size != 8))
        return false;
    insn->op = INSN_CONVERT;
    insn->vector |= INSN_MERGE;
    insn->reg_size = z->mnemonic == ZYDIS_MNEMONIC_CVTSI2SS ||
                     z->mnemonic == ZYDIS_MNEMONIC_VCVTSI2SS ? 4 : 8;
    return true;
}

// Opcodes D8H to DFH; what loads or stores more than one number has another size.
static bool decode_x87(const ZydisDecodedInstruction *z, struct insn *insn)
{
    if (insn->size != 2 && insn->size != 4 && insn->size != 8 && insn->size != 10)
        return false;
    insn->op = INSN_X87;
    insn->imm = (z->opcode & 7u) << 8 | (unsigned)z->raw.modrm.mod << 6 |
                (unsigned)z->raw.modrm.reg << 3 | z->raw.modrm.rm;
    return true;
}

bool insn_decode_vector(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                        struct insn *insn)
{
    int memory = insn_memory_operand(z, operand);

    memset(insn, 0, sizeof(*insn));
    if (memory < 0 || !insn_decode_address(z, &operand[memory], insn))
        return false;
    insn->size = (uint8_t)(operand[memory].size / 8);
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
        z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
        return (z->opcode & 0xF8) == 0xD8 && decode_x87(z, insn);
    if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
        z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
        return false;
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
        insn->op = INSN_MXCSR_LOAD;
        return true;
    case ZYDIS_MNEMONIC_STMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR:
        insn->op = INSN_MXCSR_STORE;
        return true;
    case ZYDIS_MNEMONIC_CVTSI2SS:
    case ZYDIS_MNEMONIC_CVTSI2SD:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
    case ZYDIS_MNEMONIC_VCVTSI2SD:
        return decode_convert(z, operand, memory, insn);
    default:
        return decode_move(z, operand, memory, insn);
    }
}
