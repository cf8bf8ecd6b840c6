// SPDX-License-Identifier: BSD-2-Clause
//
// What an instruction with one memory operand makes of the value in memory: results and status
// flags as in the SDM's instruction reference. No memory is touched here.
// Keeps no state; runs on the VMM's only thread.
#include "vmm/cpu/insn_flags.h"

static uint64_t flags_add(uint64_t a, uint64_t b, uint64_t sum, unsigned size)
{
    uint64_t sign = sign_of(size);

    return flags_of(sum, size) | (((a & b) | ((a | b) & ~sum)) & sign ? FLAG_CF : 0) |
           ((a ^ sum) & (b ^ sum) & sign ? FLAG_OF : 0) | ((a ^ b ^ sum) & FLAG_AF);
}

static uint64_t flags_sub(uint64_t a, uint64_t b, uint64_t difference, unsigned size)
{
    uint64_t sign = sign_of(size);

    return flags_of(difference, size) |
           (((~a & b) | ((~a | b) & difference)) & sign ? FLAG_CF : 0) |
           ((a ^ b) & (a ^ difference) & sign ? FLAG_OF : 0) | ((a ^ b ^ difference) & FLAG_AF);
}

uint64_t insn_get_reg(const struct vcpu_page *page, unsigned reg, unsigned size, bool high)
{
    uint64_t value = reg == GPR_RSP && !high ? page->exit.rsp : page->gpr[reg];

    return (high ? value >> 8 : value) & mask_of(size);
}

void insn_set_reg(struct vcpu_page *page, unsigned reg, unsigned size, bool high, uint64_t value)
{
    uint64_t old = reg == GPR_RSP && !high ? page->exit.rsp : page->gpr[reg];

    if (high)
        value = (old & ~0xFF00ull) | (value & 0xFF) << 8;
    else if (size < 4)
        value = (old & ~mask_of(size)) | (value & mask_of(size));
    else if (size == 4)
        value = (uint32_t)value;
    if (reg == GPR_RSP && !high) {
        page->entry.rsp = value;
        page->entry.flags |= VM_ENTRY_RSP;
    } else {
        page->gpr[reg] = value;
    }
}

static uint64_t swap_bytes(uint64_t value, unsigned size)
{
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

static void compute_load(const struct insn *insn, uint64_t old, struct insn_result *result)
{
    if (insn->flags & INSN_SWAP)
        old = swap_bytes(old, insn->size);
    if ((insn->flags & INSN_SIGNED) && (old & sign_of(insn->size)))
        old |= ~mask_of(insn->size);
    result->reg_value = old;
    result->reg_write = true;
}

// destination op= source, with the flags.
static void compute_alu(const struct insn *insn, uint64_t old, uint64_t reg,
                        struct insn_result *result)
{
    bool to_reg = insn->flags & INSN_TO_REG;
    uint64_t a = to_reg ? reg : old, b = to_reg ? old : reg, value, flags;
    uint64_t carry = result->rflags & FLAG_CF;
    unsigned size = insn->size;

    switch (insn->op) {
    case INSN_ADD:
    case INSN_ADC:
        value = a + b + (insn->op == INSN_ADC ? carry : 0);
        flags = flags_add(a, b, value, size);
        break;
    case INSN_SUB:
    case INSN_SBB:
    case INSN_CMP:
        value = a - b - (insn->op == INSN_SBB ? carry : 0);
        flags = flags_sub(a, b, value, size);
        break;
    case INSN_OR:
        value = a | b;
        flags = flags_of(value, size);
        break;
    case INSN_XOR:
        value = a ^ b;
        flags = flags_of(value, size);
        break;
    default: // AND, TEST
        value = a & b;
        flags = flags_of(value, size);
        break;
    }
    set_flags(result, flags, FLAGS_STATUS);
    if (insn->op == INSN_CMP || insn->op == INSN_TEST)
        return;
    result->value = value;
    result->reg_value = value;
    result->write = !to_reg;
    result->reg_write = to_reg;
}

static void compute_unary(const struct insn *insn, uint64_t old, struct insn_result *result)
{
    unsigned size = insn->size;

    result->write = true;
    switch (insn->op) {
    case INSN_INC:
        result->value = old + 1;
        set_flags(result, flags_add(old, 1, old + 1, size), FLAGS_STATUS & ~FLAG_CF);
        break;
    case INSN_DEC:
        result->value = old - 1;
        set_flags(result, flags_sub(old, 1, old - 1, size), FLAGS_STATUS & ~FLAG_CF);
        break;
    case INSN_NEG:
        result->value = 0 - old;
        set_flags(result, flags_sub(0, old, 0 - old, size), FLAGS_STATUS);
        break;
    default: // NOT
        result->value = ~old;
        break;
    }
}

static void compute_exchange(const struct insn *insn, const struct vcpu_page *page, uint64_t old,
                             uint64_t reg, struct insn_result *result)
{
    uint64_t sum = old + reg, acc;

    result->write = true;
    result->value = reg;
    result->reg_value = old;
    result->reg_write = true;
    switch (insn->op) {
    case INSN_XADD:
        result->value = sum;
        set_flags(result, flags_add(old, reg, sum, insn->size), FLAGS_STATUS);
        break;
    case INSN_CMPXCHG:
        acc = insn_get_reg(page, GPR_RAX, insn->size, false);
        set_flags(result, flags_sub(acc, old, acc - old, insn->size), FLAGS_STATUS);
        if (acc != old)
            result->value = old; // the CPU writes what it has read
        result->reg_write = acc != old;
        result->reg = GPR_RAX;
        break;
    default: // XCHG
        break;
    }
}

static void compute_bit(const struct insn *insn, uint64_t old, uint64_t reg,
                        struct insn_result *result)
{
    // A bit offset beyond the operand has moved the address already, which the exit gave us.
    uint64_t bit = 1ull << (reg & (insn->size * 8u - 1));

    set_flags(result, old & bit ? FLAG_CF : 0, FLAG_CF);
    result->write = insn->op != INSN_BT;
    if (insn->op == INSN_BTS)
        result->value = old | bit;
    else if (insn->op == INSN_BTR)
        result->value = old & ~bit;
    else
        result->value = old ^ bit;
}

// One bit at a time. -> the new carry
static uint64_t shift_step(unsigned op, unsigned size, uint64_t *value, uint64_t carry)
{
    uint64_t sign = sign_of(size), old = *value, top = (old & sign) != 0, bottom = old & 1;
    bool left = op == INSN_ROL || op == INSN_RCL || op == INSN_SHL;
    uint64_t in = 0;

    switch (op) {
    case INSN_ROL: in = top; break;
    case INSN_ROR: in = bottom; break;
    case INSN_RCL:
    case INSN_RCR: in = carry; break;
    case INSN_SAR: in = top; break;
    }
    *value = left ? (old << 1 | in) & mask_of(size) : old >> 1 | (in ? sign : 0);
    return left ? top : bottom;
}

// OF is what a shift by one bit makes it; by more it is undefined.
static void compute_shift(const struct insn *insn, uint64_t old, uint64_t reg,
                          struct insn_result *result)
{
    unsigned count = reg & (insn->size == 8 ? 63 : 31), size = insn->size;
    uint64_t sign = sign_of(size), value = old, carry = result->rflags & FLAG_CF, before = old;
    bool rotates = insn->op <= INSN_RCR;

    for (unsigned i = 0; i < count; i++) {
        before = value;
        carry = shift_step(insn->op, size, &value, carry);
    }
    result->write = true;
    result->value = value;
    if (count != 0)
        set_flags(result,
                  (carry ? FLAG_CF : 0) | ((before ^ value) & sign ? FLAG_OF : 0) |
                      flags_of(value, size),
                  FLAG_CF | FLAG_OF | (rotates ? 0 : FLAGS_STATUS));
}

// "Condition Codes": each has its opposite beside it.
static bool condition(uint64_t number, uint64_t flags)
{
    bool less = ((flags & FLAG_SF) != 0) != ((flags & FLAG_OF) != 0), is;

    switch (number >> 1) {
    case 0: is = flags & FLAG_OF; break;
    case 1: is = flags & FLAG_CF; break;
    case 2: is = flags & FLAG_ZF; break;
    case 3: is = flags & (FLAG_CF | FLAG_ZF); break;
    case 4: is = flags & FLAG_SF; break;
    case 5: is = flags & FLAG_PF; break;
    case 6: is = less; break;
    default: is = less || (flags & FLAG_ZF) != 0; break;
    }
    return is != (number & 1);
}

// Signed; CF and OF say that the product did not fit, the other flags are undefined.
static void compute_multiply(const struct insn *insn, uint64_t old, uint64_t reg,
                             struct insn_result *result)
{
    unsigned shift = 64 - 8 * insn->size;
    __int128 product = (__int128)((int64_t)(old << shift) >> shift) *
                       ((int64_t)(reg << shift) >> shift);
    int64_t fits = (int64_t)((uint64_t)product << shift) >> shift;

    result->reg_value = (uint64_t)product;
    result->reg_write = true;
    set_flags(result, fits == product ? 0 : FLAG_CF | FLAG_OF, FLAG_CF | FLAG_OF);
}

void insn_compute(const struct insn *insn, const struct vcpu_page *page, uint64_t old,
                  struct insn_result *result)
{
    bool high = insn->flags & INSN_HIGH;
    uint64_t reg;

    *result = (struct insn_result){ .rflags = page->exit.rflags, .reg = insn->reg };
    old &= mask_of(insn->size);
    if (insn->op == INSN_LOAD) {
        compute_load(insn, old, result);
        return;
    }
    if (insn->op > INSN_IMUL) {
        insn_compute_bits(insn, page, old, result);
        result->value &= mask_of(insn->size);
        return;
    }
    reg = insn->flags & INSN_IMM ? insn->imm & mask_of(insn->size)
                                 : insn_get_reg(page, insn->reg, insn->reg_size, high);
    if (insn->op == INSN_SET) {
        result->value = condition(insn->imm, result->rflags);
        result->write = true;
    } else if (insn->op == INSN_STORE) {
        result->value = insn->flags & INSN_SWAP ? swap_bytes(reg, insn->size) : reg;
        result->write = true;
    } else if (insn->op <= INSN_TEST) {
        compute_alu(insn, old, reg, result);
    } else if (insn->op <= INSN_NEG) {
        compute_unary(insn, old, result);
    } else if (insn->op <= INSN_CMPXCHG) {
        compute_exchange(insn, page, old, reg, result);
    } else if (insn->op <= INSN_BTC) {
        compute_bit(insn, old, reg, result);
    } else if (insn->op <= INSN_SAR) {
        compute_shift(insn, old, reg, result);
    } else if (insn->op == INSN_CMOV) {
        result->reg_value = condition(insn->imm, result->rflags) ? old : reg;
        result->reg_write = true;
    } else {
        compute_multiply(insn, old, reg, result);
    }
    result->value &= mask_of(insn->size);
}

void insn_compare(struct vcpu_page *page, uint64_t a, uint64_t b, unsigned size)
{
    page->entry.rflags = (page->exit.rflags & ~FLAGS_STATUS) | flags_sub(a, b, a - b, size);
    page->entry.flags |= VM_ENTRY_RFLAGS;
}

void insn_commit(const struct insn *insn, struct vcpu_page *page,
                 const struct insn_result *result)
{
    bool high = (insn->flags & INSN_HIGH) && insn->op != INSN_CMPXCHG;

    if (result->reg2_write)
        insn_set_reg(page, insn->reg2, insn->reg_size, false, result->reg2_value);
    if (result->reg_write)
        insn_set_reg(page, result->reg, insn->reg_size, high, result->reg_value);
    if (result->rflags_write) {
        page->entry.rflags = result->rflags;
        page->entry.flags |= VM_ENTRY_RFLAGS;
    }
}
