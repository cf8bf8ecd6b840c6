// SPDX-License-Identifier: BSD-2-Clause
//
// From bytes to struct insn, by the Zydis decoder; and the cache in front of it. Zydis appears in
// here and in insn_decode_vector.c only. Keeps no state of its own; runs on the VMM's only thread.
#include <cpuid.h>
#include <string.h>
#include "vmm/cpu/insn_decode.h"

// Instructions with one memory operand and at most two others, by their mnemonic.
static const struct {
    uint16_t mnemonic;
    uint8_t op;
} simple[] = {
    { ZYDIS_MNEMONIC_ADD, INSN_ADD },   { ZYDIS_MNEMONIC_OR, INSN_OR },
    { ZYDIS_MNEMONIC_ADC, INSN_ADC },   { ZYDIS_MNEMONIC_SBB, INSN_SBB },
    { ZYDIS_MNEMONIC_AND, INSN_AND },   { ZYDIS_MNEMONIC_SUB, INSN_SUB },
    { ZYDIS_MNEMONIC_XOR, INSN_XOR },   { ZYDIS_MNEMONIC_CMP, INSN_CMP },
    { ZYDIS_MNEMONIC_TEST, INSN_TEST }, { ZYDIS_MNEMONIC_INC, INSN_INC },
    { ZYDIS_MNEMONIC_DEC, INSN_DEC },   { ZYDIS_MNEMONIC_NOT, INSN_NOT },
    { ZYDIS_MNEMONIC_NEG, INSN_NEG },   { ZYDIS_MNEMONIC_XCHG, INSN_XCHG },
    { ZYDIS_MNEMONIC_XADD, INSN_XADD }, { ZYDIS_MNEMONIC_CMPXCHG, INSN_CMPXCHG },
    { ZYDIS_MNEMONIC_BT, INSN_BT },     { ZYDIS_MNEMONIC_BTS, INSN_BTS },
    { ZYDIS_MNEMONIC_BTR, INSN_BTR },   { ZYDIS_MNEMONIC_BTC, INSN_BTC },
    { ZYDIS_MNEMONIC_ROL, INSN_ROL },   { ZYDIS_MNEMONIC_ROR, INSN_ROR },
    { ZYDIS_MNEMONIC_RCL, INSN_RCL },   { ZYDIS_MNEMONIC_RCR, INSN_RCR },
    { ZYDIS_MNEMONIC_SHL, INSN_SHL },   { ZYDIS_MNEMONIC_SHR, INSN_SHR },
    { ZYDIS_MNEMONIC_SAR, INSN_SAR },   { ZYDIS_MNEMONIC_IMUL, INSN_IMUL },
    { ZYDIS_MNEMONIC_PUSH, INSN_PUSH }, { ZYDIS_MNEMONIC_POP, INSN_POP },
    { ZYDIS_MNEMONIC_MUL, INSN_MUL },   { ZYDIS_MNEMONIC_MULX, INSN_MULX },
    { ZYDIS_MNEMONIC_DIV, INSN_DIV },   { ZYDIS_MNEMONIC_IDIV, INSN_IDIV },
    { ZYDIS_MNEMONIC_SHLD, INSN_SHLD }, { ZYDIS_MNEMONIC_SHRD, INSN_SHRD },
    { ZYDIS_MNEMONIC_ADCX, INSN_ADCX }, { ZYDIS_MNEMONIC_ADOX, INSN_ADOX },
    { ZYDIS_MNEMONIC_BSF, INSN_BSF },   { ZYDIS_MNEMONIC_BSR, INSN_BSR },
    { ZYDIS_MNEMONIC_TZCNT, INSN_TZCNT },   { ZYDIS_MNEMONIC_LZCNT, INSN_LZCNT },
    { ZYDIS_MNEMONIC_POPCNT, INSN_POPCNT }, { ZYDIS_MNEMONIC_CRC32, INSN_CRC32 },
    { ZYDIS_MNEMONIC_ANDN, INSN_ANDN }, { ZYDIS_MNEMONIC_BEXTR, INSN_BEXTR },
    { ZYDIS_MNEMONIC_BLSI, INSN_BLSI }, { ZYDIS_MNEMONIC_BLSMSK, INSN_BLSMSK },
    { ZYDIS_MNEMONIC_BLSR, INSN_BLSR }, { ZYDIS_MNEMONIC_BZHI, INSN_BZHI },
    { ZYDIS_MNEMONIC_PDEP, INSN_PDEP }, { ZYDIS_MNEMONIC_PEXT, INSN_PEXT },
    { ZYDIS_MNEMONIC_RORX, INSN_RORX }, { ZYDIS_MNEMONIC_SARX, INSN_SARX },
    { ZYDIS_MNEMONIC_SHLX, INSN_SHLX }, { ZYDIS_MNEMONIC_SHRX, INSN_SHRX },
    { ZYDIS_MNEMONIC_JMP, INSN_JMP },   { ZYDIS_MNEMONIC_CALL, INSN_CALL },
    { ZYDIS_MNEMONIC_CMPXCHG8B, INSN_CMPXCHG_PAIR },
    { ZYDIS_MNEMONIC_CMPXCHG16B, INSN_CMPXCHG_PAIR },
};

// By condition, as the instruction encodes it.
#define CONDITIONS(X)                                                                              \
    X(O), X(NO), X(B), X(NB), X(Z), X(NZ), X(BE), X(NBE), X(S), X(NS), X(P), X(NP), X(L), X(NL),   \
    X(LE), X(NLE)
#define SET(name)  ZYDIS_MNEMONIC_SET##name
#define CMOV(name) ZYDIS_MNEMONIC_CMOV##name
static const uint16_t sets[16] = { CONDITIONS(SET) }, cmovs[16] = { CONDITIONS(CMOV) };

// Moves: the direction decides between load and store.
static const struct {
    uint16_t mnemonic;
    uint8_t flags;
} moves[] = {
    { ZYDIS_MNEMONIC_MOV, 0 },
    { ZYDIS_MNEMONIC_MOVZX, 0 },
    { ZYDIS_MNEMONIC_MOVSX, INSN_SIGNED },
    { ZYDIS_MNEMONIC_MOVSXD, INSN_SIGNED },
    { ZYDIS_MNEMONIC_MOVNTI, 0 },
    { ZYDIS_MNEMONIC_MOVDIRI, 0 },
    { ZYDIS_MNEMONIC_MOVBE, INSN_SWAP },
};

static const struct {
    uint16_t mnemonic;
    uint8_t op, size;
} strings[] = {
    { ZYDIS_MNEMONIC_MOVSB, INSN_MOVS, 1 }, { ZYDIS_MNEMONIC_MOVSW, INSN_MOVS, 2 },
    { ZYDIS_MNEMONIC_MOVSD, INSN_MOVS, 4 }, { ZYDIS_MNEMONIC_MOVSQ, INSN_MOVS, 8 },
    { ZYDIS_MNEMONIC_STOSB, INSN_STOS, 1 }, { ZYDIS_MNEMONIC_STOSW, INSN_STOS, 2 },
    { ZYDIS_MNEMONIC_STOSD, INSN_STOS, 4 }, { ZYDIS_MNEMONIC_STOSQ, INSN_STOS, 8 },
    { ZYDIS_MNEMONIC_LODSB, INSN_LODS, 1 }, { ZYDIS_MNEMONIC_LODSW, INSN_LODS, 2 },
    { ZYDIS_MNEMONIC_LODSD, INSN_LODS, 4 }, { ZYDIS_MNEMONIC_LODSQ, INSN_LODS, 8 },
    { ZYDIS_MNEMONIC_CMPSB, INSN_CMPS, 1 }, { ZYDIS_MNEMONIC_CMPSW, INSN_CMPS, 2 },
    { ZYDIS_MNEMONIC_CMPSD, INSN_CMPS, 4 }, { ZYDIS_MNEMONIC_CMPSQ, INSN_CMPS, 8 },
    { ZYDIS_MNEMONIC_SCASB, INSN_SCAS, 1 }, { ZYDIS_MNEMONIC_SCASW, INSN_SCAS, 2 },
    { ZYDIS_MNEMONIC_SCASD, INSN_SCAS, 4 }, { ZYDIS_MNEMONIC_SCASQ, INSN_SCAS, 8 },
};

static uint8_t string_segment(ZydisInstructionAttributes attributes)
{
    static const ZydisInstructionAttributes prefix[] = {
        [SEGMENT_ES] = ZYDIS_ATTRIB_HAS_SEGMENT_ES, [SEGMENT_CS] = ZYDIS_ATTRIB_HAS_SEGMENT_CS,
        [SEGMENT_SS] = ZYDIS_ATTRIB_HAS_SEGMENT_SS, [SEGMENT_DS] = ZYDIS_ATTRIB_HAS_SEGMENT_DS,
        [SEGMENT_FS] = ZYDIS_ATTRIB_HAS_SEGMENT_FS, [SEGMENT_GS] = ZYDIS_ATTRIB_HAS_SEGMENT_GS,
    };

    for (unsigned i = 0; i < COUNT(prefix); i++) {
        if (attributes & prefix[i])
            return (uint8_t)i;
    }
    return SEGMENT_DS;
}

static bool decode_string(const ZydisDecodedInstruction *z, struct insn *insn)
{
    for (unsigned i = 0; i < COUNT(strings); i++) {
        if (strings[i].mnemonic != z->mnemonic)
            continue;
        insn->op = strings[i].op;
        insn->size = strings[i].size;
        insn->reg_size = strings[i].size;
        insn->addr_size = z->address_width / 8;
        insn->segment = string_segment(z->attributes);
        if (z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                             ZYDIS_ATTRIB_HAS_REPNE))
            insn->flags |= INSN_REP;
        if (z->attributes & ZYDIS_ATTRIB_HAS_REPNE)
            insn->flags |= INSN_REPNE;
        return true;
    }
    return false;
}

bool insn_decode_register(ZydisRegister reg, unsigned bits, struct insn *insn)
{
    insn->reg_size = (uint8_t)(bits / 8);
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
        // AH to BH have numbers of their own in Zydis, behind BL.
        if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
            insn->reg = (uint8_t)(reg - ZYDIS_REGISTER_AH);
            insn->flags |= INSN_HIGH;
            return true;
        }
        insn->reg = (uint8_t)(reg <= ZYDIS_REGISTER_BL ? reg - ZYDIS_REGISTER_AL
                                                       : reg - ZYDIS_REGISTER_SPL + GPR_RSP);
        return true;
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        insn->reg = (uint8_t)ZydisRegisterGetId(reg);
        return true;
    default:
        return false; // segment, control and vector registers
    }
}

static bool decode_address_register(ZydisRegister reg, uint8_t *number)
{
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_INVALID:
        *number = INSN_NO_REG;
        return true;
    case ZYDIS_REGCLASS_IP:
        *number = INSN_RIP;
        return true;
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        *number = (uint8_t)ZydisRegisterGetId(reg);
        return true;
    default:
        return false; // a vector of indices
    }
}

bool insn_decode_address(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                         struct insn *insn)
{
    if (!decode_address_register(operand->mem.base, &insn->base) ||
        !decode_address_register(operand->mem.index, &insn->index))
        return false;
    insn->scale = operand->mem.scale;
    insn->disp = operand->mem.disp.has_displacement ? (uint64_t)operand->mem.disp.value : 0;
    insn->addr_size = z->address_width / 8;
    insn->segment = (uint8_t)(operand->mem.segment - ZYDIS_REGISTER_ES);
    insn->plain = insn->base < INSN_NO_REG && insn->base != GPR_RSP &&
                  insn->index == INSN_NO_REG && insn->segment < SEGMENT_FS &&
                  z->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    return true;
}

int insn_memory_operand(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand)
{
    for (int i = 0; z->operand_count_visible <= 3 && i < z->operand_count_visible; i++) {
        if (operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            operand[i].mem.type == ZYDIS_MEMOP_TYPE_MEM)
            return i;
    }
    return -1;
}

// The visible operands: one is memory; of the others, if there are any, the first register is
// `reg`, a second `reg2`, and an immediate `imm`.
static bool decode_operands(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                            struct insn *insn)
{
    int memory = insn_memory_operand(z, operand);
    bool named = false;

    if (memory < 0 || !insn_decode_address(z, &operand[memory], insn))
        return false;
    insn->size = (uint8_t)(operand[memory].size / 8);
    if (insn->size != 1 && insn->size != 2 && insn->size != 4 && insn->size != 8 &&
        z->mnemonic != ZYDIS_MNEMONIC_CMPXCHG16B)
        return false;
    insn->reg_size = insn->size;
    if (memory > 0)
        insn->flags |= INSN_TO_REG;
    for (unsigned i = 0; i < z->operand_count_visible; i++) {
        const ZydisDecodedOperand *o = &operand[i];
        if ((int)i == memory)
            continue;
        if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            insn->flags |= INSN_IMM;
            insn->imm = o->imm.value.u;
        } else if (o->type != ZYDIS_OPERAND_TYPE_REGISTER) {
            return false;
        } else if (named) { // never AH, CH, DH or BH
            insn->reg2 = (uint8_t)ZydisRegisterGetId(o->reg.value);
        } else {
            named = insn_decode_register(o->reg.value, o->size, insn);
            if (!named)
                return false;
        }
    }
    return true;
}

// Of an instruction that is not to be executed here.
static void decode_other(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                         struct insn *insn)
{
    bool named = false;

    memset(insn, 0, sizeof(*insn));
    insn->op = INSN_OTHER;
    insn->addr_size = z->address_width / 8;
    insn->segment = string_segment(z->attributes);
    for (unsigned i = 0; i < z->operand_count_visible; i++) {
        const ZydisDecodedOperand *o = &operand[i];
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && !named)
            named = insn_decode_register(o->reg.value, o->size, insn);
        else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.type == ZYDIS_MEMOP_TYPE_MEM &&
                 insn_decode_address(z, o, insn))
            insn->size = 1;
    }
    if (z->mnemonic == ZYDIS_MNEMONIC_CLFLUSH || z->mnemonic == ZYDIS_MNEMONIC_CLFLUSHOPT ||
        z->mnemonic == ZYDIS_MNEMONIC_CLWB)
        insn->op = INSN_FLUSH;
}

static bool decode_condition(ZydisMnemonic mnemonic, struct insn *insn)
{
    for (unsigned i = 0; i < 16; i++) {
        if (sets[i] == mnemonic || cmovs[i] == mnemonic) {
            insn->op = sets[i] == mnemonic ? INSN_SET : INSN_CMOV;
            insn->imm = i;
            return true;
        }
    }
    return false;
}

static bool decode_op(ZydisMnemonic mnemonic, struct insn *insn)
{
    for (unsigned i = 0; i < COUNT(moves); i++) {
        if (moves[i].mnemonic == mnemonic) {
            insn->op = insn->flags & INSN_TO_REG ? INSN_LOAD : INSN_STORE;
            insn->flags |= moves[i].flags;
            return true;
        }
    }
    for (unsigned i = 0; i < COUNT(simple); i++) {
        if (simple[i].mnemonic == mnemonic) {
            insn->op = simple[i].op;
            if (insn->op >= INSN_BT && insn->op <= INSN_BTC && !(insn->flags & INSN_IMM))
                insn->plain = false; // the bit's number counts
            return true;
        }
    }
    return decode_condition(mnemonic, insn);
}

static bool cpu_has(uint32_t leaf, bool in_ebx, uint32_t bit)
{
    uint32_t a, b = 0, c = 0, d;

    return __get_cpuid_count(leaf, 0, &a, &b, &c, &d) && (in_ebx ? b : c) & bit;
}

// Operands that no encoding shows, and what another CPU would make of the same bytes.
static bool decode_rest(const ZydisDecodedInstruction *z, struct insn *insn)
{
    if (insn->op == INSN_IMUL && z->operand_count_visible == 1)
        insn->op = INSN_IMUL_WIDE;
    switch (insn->op) {
    case INSN_MUL:
    case INSN_IMUL_WIDE:
    case INSN_DIV:
    case INSN_IDIV:
        insn->reg = GPR_RAX;
        insn->reg2 = GPR_RDX;
        insn->reg_size = insn->size == 1 ? 2 : insn->size; // AX
        return true;
    case INSN_TZCNT:
        if (!cpu_has(7, true, bit_BMI))
            insn->op = INSN_BSF;
        return true;
    case INSN_LZCNT:
        if (!cpu_has(0x80000001, false, bit_LZCNT))
            insn->op = INSN_BSR;
        return true;
    case INSN_JMP:
    case INSN_CALL:
        return z->meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR;
    default:
        return true;
    }
}

// AL = [rBX + AL]
static bool decode_xlat(const ZydisDecodedInstruction *z, struct insn *insn)
{
    insn->op = INSN_LOAD;
    insn->size = insn->reg_size = 1;
    insn->flags = INSN_TO_REG;
    insn->addr_size = z->address_width / 8;
    insn->segment = string_segment(z->attributes);
    insn->base = GPR_RBX;
    insn->index = INSN_AL;
    return true;
}

// False: it does not work on device memory.
static bool decode_known(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand,
                         struct insn *insn)
{
    memset(insn, 0, sizeof(*insn));
    if (z->meta.category == ZYDIS_CATEGORY_STRINGOP)
        return decode_string(z, insn);
    if (z->mnemonic == ZYDIS_MNEMONIC_XLAT)
        return decode_xlat(z, insn);
    if (decode_operands(z, operand, insn) && decode_op(z->mnemonic, insn))
        return decode_rest(z, insn);
    return insn_decode_vector(z, operand, insn);
}

bool insn_decode(const struct insn_code *code, unsigned code_size, struct insn *insn)
{
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecodedInstruction z;
    ZydisDecoder decoder;
    ZyanStatus status;
    uint8_t bytes[16];

    if (code_size == 8)
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (code_size == 4)
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    memcpy(bytes, &code->low, 8);
    memcpy(bytes + 8, &code->high, 8);
    if (!ZYAN_SUCCESS(status) ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, code->count, &z, operand)))
        return false;
    if (!decode_known(&z, operand, insn))
        decode_other(&z, operand, insn);
    insn->length = z.length;
    return true;
}

void insn_cache_init(struct insn_cache *cache)
{
    memset(cache, 0, sizeof(*cache));
}

// Code that crosses into another page, or whose page is not RAM.
static bool code_read_slow(const struct guest_ram *ram, const struct vm_exit *exit, uint64_t rip,
                           struct insn_code *code, struct guest_fault *fault)
{
    uint8_t bytes[16] = { 0 };

    code->count = 0;
    while (code->count < INSN_BYTES) {
        uint64_t gva = rip + code->count, gpa;
        if (exit->cpu.code_size != 8)
            gva = (uint32_t)gva;
        unsigned room = (unsigned)(PAGE_SIZE - (gva & (PAGE_SIZE - 1)));
        unsigned part = INSN_BYTES - code->count;
        part = part < room ? part : room;
        if (!walk(ram, exit, gva, WALK_FETCH, &gpa, fault))
            break;
        const void *at = ram_at(ram, gpa, part);
        if (at != NULL)
            memcpy(bytes + code->count, at, part);
        else
            memset(bytes + code->count, 0xFF, part);
        code->count = (uint8_t)(code->count + part);
    }
    memcpy(&code->low, bytes, 8);
    memcpy(&code->high, bytes + 8, 8);
    return code->count > 0;
}

static bool code_read(const struct guest_ram *ram, const struct vm_exit *exit,
                      struct insn_code *code, struct guest_fault *fault)
{
    uint64_t rip = exit->cpu.code_size == 8 ? exit->rip
                                            : (uint32_t)(exit->cpu.cs_base + exit->rip);
    const uint8_t *at;
    uint64_t gpa;

    if ((rip & (PAGE_SIZE - 1)) > PAGE_SIZE - 16)
        return code_read_slow(ram, exit, rip, code, fault);
    if (!walk_code(ram, &exit->cpu, rip, &at)) {
        if (!walk(ram, exit, rip, WALK_FETCH, &gpa, fault))
            return false;
        at = ram_at(ram, gpa, 16);
    }
    if (at == NULL)
        return code_read_slow(ram, exit, rip, code, fault);
    memcpy(&code->low, at, 8);
    memcpy(&code->high, at + 8, 8);
    code->high &= ~0ull >> 8;
    code->count = INSN_BYTES;
    return true;
}

enum insn_status insn_fetch(struct insn_cache *cache, const struct guest_ram *ram,
                            const struct vm_exit *exit, const struct insn **insn,
                            struct guest_fault *fault)
{
    struct insn_code *code = &cache->code;
    uint8_t size = exit->cpu.code_size;

    code->count = 0;
    if (!code_read(ram, exit, code, fault))
        return INSN_FAULT;
    struct insn_line *line = insn_line(cache, exit->rip);
    uint64_t high = code->high << 8 | size;
    if (line->low != code->low || line->high != high) {
        line->high = 0;
        if (!insn_decode(code, size, &line->insn)) {
            // The page behind could not be read, and it is needed: that fault comes first.
            return code->count < INSN_BYTES ? INSN_FAULT : INSN_INVALID;
        }
        line->low = code->low;
        line->high = high;
    }
    // A line made from more bytes than there are now, of which the missing ones were zero.
    if (line->insn.length > code->count)
        return INSN_FAULT;
    *insn = &line->insn;
    return INSN_OK;
}
