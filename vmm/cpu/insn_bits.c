// SPDX-License-Identifier: BSD-2-Clause
//
// The simple instructions with more than two operands: multiplication and division, double shifts,
// bit scans, counts and extractions, CRC32. As insn_exec.c.
// Keeps no state; runs on the VMM's only thread.
#include "vmm/cpu/insn_flags.h"

typedef unsigned __int128 uint128;

static int64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;

    return (int64_t)(value << shift) >> shift;
}

static void set_reg(struct insn_result *result, uint64_t value)
{
    result->reg_value = value;
    result->reg_write = true;
}

// RAX, or the byte forms' AX, and RDX.
static void set_pair(struct insn_result *result, unsigned size, uint64_t low, uint64_t high)
{
    set_reg(result, size == 1 ? (low & 0xFF) | high << 8 : low);
    result->reg2_value = high;
    result->reg2_write = size != 1;
}

// CF and OF say that the upper half counts, the other flags are undefined.
static void compute_multiply_wide(const struct insn *insn, uint64_t old, uint64_t acc,
                                  struct insn_result *result)
{
    unsigned size = insn->size, bits = 8 * size;
    bool fits;
    uint128 product;

    if (insn->op == INSN_IMUL_WIDE) {
        __int128 wide = (__int128)sign_extend(old, size) * sign_extend(acc, size);
        product = (uint128)wide;
        fits = sign_extend((uint64_t)product, size) == wide;
    } else {
        product = (uint128)old * acc;
        fits = product >> bits == 0;
    }
    set_pair(result, size, (uint64_t)product, (uint64_t)(product >> bits));
    set_flags(result, fits ? 0 : FLAG_CF | FLAG_OF, FLAG_CF | FLAG_OF);
}

// All flags are undefined, and stay.
static void compute_divide(const struct insn *insn, uint64_t divisor, uint128 dividend,
                           struct insn_result *result)
{
    bool is_signed = insn->op == INSN_IDIV, minus_dividend = false, minus_divisor = false;
    unsigned size = insn->size;
    uint128 quotient = 0, remainder = 0, limit = mask_of(size);

    if (is_signed) {
        unsigned shift = 128 - 16 * size;
        minus_dividend = (__int128)(dividend << shift) < 0;
        minus_divisor = (divisor & sign_of(size)) != 0;
        dividend = minus_dividend ? -(dividend << shift) >> shift : dividend;
        divisor = minus_divisor ? (0 - divisor) & mask_of(size) : divisor;
        limit = sign_of(size) - (minus_dividend == minus_divisor);
    }
    if (divisor != 0) {
        quotient = dividend / divisor;
        remainder = dividend % divisor;
    }
    if (divisor == 0 || quotient > limit) {
        result->divide_error = true;
        return;
    }
    uint64_t low = (uint64_t)quotient, high = (uint64_t)remainder;
    set_pair(result, size, minus_dividend != minus_divisor ? 0 - low : low,
             minus_dividend ? 0 - high : high);
}

static void compute_by_rdx_rax(const struct insn *insn, const struct vcpu_page *page, uint64_t old,
                               struct insn_result *result)
{
    unsigned size = insn->size;
    uint64_t low = insn_get_reg(page, GPR_RAX, size, false);
    uint64_t high = size == 1 ? insn_get_reg(page, GPR_RAX, 1, true)
                              : insn_get_reg(page, GPR_RDX, size, false);

    if (insn->op == INSN_MUL || insn->op == INSN_IMUL_WIDE)
        compute_multiply_wide(insn, old, low, result);
    else
        compute_divide(insn, old, (uint128)high << (8 * size) | low, result);
}

static void compute_mulx(const struct insn *insn, const struct vcpu_page *page, uint64_t old,
                         struct insn_result *result)
{
    uint128 product = (uint128)old * insn_get_reg(page, GPR_RDX, insn->size, false);

    set_reg(result, (uint64_t)(product >> (8 * insn->size)));
    result->reg2_value = (uint64_t)product;
    result->reg2_write = true;
}

// Of a word by more than its 16 bits the result is undefined.
static void compute_double_shift(const struct insn *insn, const struct vcpu_page *page,
                                 uint64_t old, struct insn_result *result)
{
    unsigned size = insn->size, bits = 8 * size;
    uint64_t from = insn_get_reg(page, insn->reg, size, false), carry;
    unsigned count = (unsigned)(insn->flags & INSN_IMM
                                    ? insn->imm : insn_get_reg(page, insn->reg2, 1, false));
    uint128 value;

    count &= size == 8 ? 63 : 31;
    result->write = true;
    result->value = old;
    if (count == 0)
        return;
    if (insn->op == INSN_SHLD) {
        value = ((uint128)old << bits | from) << count;
        carry = (uint64_t)(value >> (2 * bits - 1) >> 1) & 1; // the shift by 128 in two
        if (size == 8)
            carry = old >> (64 - count) & 1;
        result->value = (uint64_t)(value >> bits);
    } else {
        value = ((uint128)from << bits | old) >> (count - 1);
        carry = (uint64_t)value & 1;
        result->value = (uint64_t)(value >> 1);
    }
    set_flags(result, (carry ? FLAG_CF : 0) | flags_of(result->value, size) |
                          ((old ^ result->value) & sign_of(size) ? FLAG_OF : 0),
              FLAGS_STATUS & ~FLAG_AF);
}

// Unsigned sums with a carry flag of their own.
static void compute_add_carry(const struct insn *insn, uint64_t old, uint64_t reg,
                              struct insn_result *result)
{
    uint64_t flag = insn->op == INSN_ADCX ? FLAG_CF : FLAG_OF;
    uint128 sum = (uint128)old + reg + ((result->rflags & flag) != 0);

    set_reg(result, (uint64_t)sum);
    set_flags(result, sum >> (8 * insn->size) ? flag : 0, flag);
}

// Polynomial 11EDC6F41H, bits reflected, as the instruction has them.
static void compute_crc32(const struct insn *insn, uint64_t old, uint64_t reg,
                          struct insn_result *result)
{
    uint32_t crc = (uint32_t)reg;

    for (unsigned i = 0; i < 8u * insn->size; i++) {
        bool low = (crc ^ (uint32_t)(old >> i)) & 1;
        crc = crc >> 1 ^ (low ? 0x82F63B78u : 0);
    }
    set_reg(result, crc);
}

// Of 0, BSF and BSR leave the register as it was; TZCNT and LZCNT give the number of bits.
static void compute_scan(const struct insn *insn, uint64_t old, struct insn_result *result)
{
    unsigned bits = 8 * insn->size;
    uint64_t lowest = old == 0 ? bits : (uint64_t)__builtin_ctzll(old);
    uint64_t above = old == 0 ? bits : (uint64_t)__builtin_clzll(old) - (64 - bits);

    switch (insn->op) {
    case INSN_BSF:
    case INSN_BSR:
        result->reg_value = insn->op == INSN_BSF ? lowest : bits - 1 - above;
        result->reg_write = old != 0;
        set_flags(result, old == 0 ? FLAG_ZF : 0, FLAG_ZF);
        return;
    case INSN_POPCNT:
        set_reg(result, (uint64_t)__builtin_popcountll(old));
        set_flags(result, old == 0 ? FLAG_ZF : 0, FLAGS_STATUS);
        return;
    default:
        set_reg(result, insn->op == INSN_TZCNT ? lowest : above);
        set_flags(result, (old == 0 ? FLAG_CF : 0) | (result->reg_value == 0 ? FLAG_ZF : 0),
                  FLAG_CF | FLAG_ZF);
        return;
    }
}

static uint64_t low_bits(uint64_t value, unsigned count)
{
    return count < 64 ? value & ((1ull << count) - 1) : value;
}

// BMI1 and BZHI: SF and ZF of the result (BEXTR: ZF alone), OF cleared. BEXTR and BZHI have in
// `reg2`'s low byte from which bit on, and BEXTR in the next byte how many.
static void compute_extract(const struct insn *insn, uint64_t old, uint64_t reg2,
                            struct insn_result *result)
{
    unsigned size = insn->size, bits = 8 * size, byte = reg2 & 0xFF;
    uint64_t value, carry = 0, which = FLAG_CF | FLAG_ZF | FLAG_SF | FLAG_OF;

    switch (insn->op) {
    case INSN_ANDN:
        value = ~reg2 & old;
        break;
    case INSN_BEXTR:
        value = low_bits(byte < bits ? old >> byte : 0, reg2 >> 8 & 0xFF);
        which &= ~FLAG_SF;
        break;
    case INSN_BZHI:
        value = low_bits(old, byte);
        carry = byte >= bits;
        break;
    case INSN_BLSI:
        value = old & (0 - old);
        carry = old != 0;
        break;
    case INSN_BLSMSK:
        value = old ^ (old - 1);
        carry = old == 0;
        break;
    default: // BLSR
        value = old & (old - 1);
        carry = old == 0;
        break;
    }
    set_reg(result, value);
    set_flags(result, flags_of(value, size) | (carry ? FLAG_CF : 0), which);
}

// Bits of `reg2` to where `mask` has ones, or from there.
static uint64_t deposit(uint64_t value, uint64_t mask)
{
    uint64_t result = 0;

    for (; mask != 0; mask &= mask - 1, value >>= 1)
        result |= value & 1 ? mask & (0 - mask) : 0;
    return result;
}

static uint64_t extract(uint64_t value, uint64_t mask)
{
    uint64_t result = 0;

    for (unsigned i = 0; mask != 0; mask &= mask - 1, i++)
        result |= (value >> __builtin_ctzll(mask) & 1) << i;
    return result;
}

// No flags.
static void compute_shift_plain(const struct insn *insn, uint64_t old, uint64_t reg2,
                                struct insn_result *result)
{
    unsigned size = insn->size, bits = 8 * size;
    unsigned count = (insn->flags & INSN_IMM ? insn->imm : reg2) & (bits - 1);

    switch (insn->op) {
    case INSN_RORX:
        set_reg(result, old >> count | (count ? old << (bits - count) : 0));
        break;
    case INSN_SARX:
        set_reg(result, (uint64_t)(sign_extend(old, size) >> count));
        break;
    case INSN_SHLX:
        set_reg(result, old << count);
        break;
    default:
        set_reg(result, old >> count);
        break;
    }
}

void insn_compute_bits(const struct insn *insn, const struct vcpu_page *page, uint64_t old,
                       struct insn_result *result)
{
    uint64_t reg = insn_get_reg(page, insn->reg, insn->reg_size, false);
    uint64_t reg2 = insn_get_reg(page, insn->reg2, insn->size, false);

    if (insn->op <= INSN_IDIV)
        compute_by_rdx_rax(insn, page, old, result);
    else if (insn->op == INSN_MULX)
        compute_mulx(insn, page, old, result);
    else if (insn->op <= INSN_SHRD)
        compute_double_shift(insn, page, old, result);
    else if (insn->op <= INSN_ADOX)
        compute_add_carry(insn, old, reg, result);
    else if (insn->op == INSN_CRC32)
        compute_crc32(insn, old, reg, result);
    else if (insn->op <= INSN_POPCNT)
        compute_scan(insn, old, result);
    else if (insn->op <= INSN_BZHI)
        compute_extract(insn, old, reg2, result);
    else if (insn->op == INSN_PDEP)
        set_reg(result, deposit(reg2, old));
    else if (insn->op == INSN_PEXT)
        set_reg(result, extract(reg2, old));
    else
        compute_shift_plain(insn, old, reg2, result);
}
