// SPDX-License-Identifier: BSD-2-Clause
//
// MSRs that keep a value; see msr.h. What a guest writes is checked as the CPU would.
#include <stddef.h>
#include "vmm/cpu/msr.h"

#define FAST_STRINGS  1u      // of MISC_ENABLE
#define MISC_FIXED    0x1800u // branch trace storage and PEBS are unavailable
#define MTRRCAP_WC    0x400u
#define MTRRCAP_FIXED 0x100u
#define MTRR_VALID    0x800u  // of a variable range's mask
#define MTRR_TYPES    0x73u   // UC, WC, WT, WP, WB
#define TYPE_WB       6u
#define MICROCODE     (1ull << 32) // not known

#define MSR_MISC_ENABLE   0x1A0u
#define MSR_MTRR_PHYSBASE 0x200u // base and mask in turn
#define MSR_MTRR_DEF_TYPE 0x2FFu

// Constants. A write may have no other bits than these, and changes nothing.
struct constant {
    uint32_t index;
    bool writable;
    uint64_t value, bits;
};
static const struct constant constants[] = {
    { 0x3A,  false, 1,         0 },     // FEATURE_CONTROL: locked, all that it could allow is off
    { 0x8B,  true,  MICROCODE, ~0ull }, // BIOS_SIGN_ID: 0 goes there before CPUID is to load it
    { 0xFE,  false, MTRRCAP_WC | MTRRCAP_FIXED | MSRS_MTRR_VARIABLE, 0 },
    { 0x140, true,  0,         0 },     // MISC_FEATURES
    { 0x17A, true,  0,         0 },     // MCG_STATUS
    { 0x1D9, true,  0,         3 },     // DEBUGCTL: no CPUID bit says that LBR and BTF are missing
    // PLATFORM_ID, SMI_COUNT, MCG_CAP (no banks); and of what each P6 has, and old systems read
    // without asking: EBL_CR_POWERON, FSB_FREQ, PERF_STATUS, THERM_STATUS, TEMPERATURE_TARGET, the
    // last branch from and to, and that before the last interrupt.
    { 0x17,  false, 0, 0 }, { 0x34,  false, 0, 0 }, { 0x179, false, 0, 0 },
    { 0x2A,  false, 0, 0 }, { 0xCD,  false, 0, 0 }, { 0x198, false, 0, 0 },
    { 0x19C, false, 0, 0 }, { 0x1A2, false, 0, 0 }, { 0x1DB, false, 0, 0 },
    { 0x1DC, false, 0, 0 }, { 0x1DD, false, 0, 0 }, { 0x1DE, false, 0, 0 },
};
// Of AMD's CPUs alone: PERF_EVT_SEL0-3 and PERF_CTR0-3, which no CPUID bit says are missing (they
// count nothing; old systems clear them without asking), SYSCFG, HWCR, NB_CFG, INT_PENDING_MSG,
// MMIO_CFG_BASE, VM_CR (its virtual machines are switched off for good), LS_CFG, IC_CFG, DC_CFG,
// DE_CFG where LFENCE serializes (the kernel sees to that), BU_CFG2. Systems set there what their
// CPU's errata ask for.
static const struct constant amd_constants[] = {
    { 0xC0010000, true, 0, ~0ull }, { 0xC0010001, true, 0, ~0ull }, { 0xC0010002, true, 0, ~0ull },
    { 0xC0010003, true, 0, ~0ull }, { 0xC0010004, true, 0, ~0ull }, { 0xC0010005, true, 0, ~0ull },
    { 0xC0010006, true, 0, ~0ull }, { 0xC0010007, true, 0, ~0ull },
    { 0xC0010010, true, 0, ~0ull }, { 0xC0010015, true, 0, ~0ull }, { 0xC001001F, true, 0, ~0ull },
    { 0xC0010055, true, 0, ~0ull }, { 0xC0010058, true, 0, ~0ull },
    { 0xC0010114, true, 0x18, ~0ull },
    { 0xC0011020, true, 0, ~0ull }, { 0xC0011021, true, 0, ~0ull }, { 0xC0011022, true, 0, ~0ull },
    { 0xC0011029, true, 2, ~0ull }, { 0xC001102A, true, 0, ~0ull },
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

// NULL: it is none.
static const struct constant *constant(const struct msrs *m, uint32_t index)
{
    for (unsigned i = 0; i < COUNT(constants); i++)
        if (index == constants[i].index)
            return &constants[i];
    for (unsigned i = 0; m->amd && i < COUNT(amd_constants); i++)
        if (index == amd_constants[i].index)
            return &amd_constants[i];
    return NULL;
}

static const uint16_t fixed_index[MSRS_MTRR_FIXED] = {
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F,
};

// "Memory Types That Can Be Encoded", in each of eight bytes.
static bool types_valid(uint64_t types)
{
    for (; types != 0; types >>= 8)
        if ((types & 0xF8) != 0 || (MTRR_TYPES >> (types & 7) & 1) == 0)
            return false;
    return true;
}

// Those that keep what was written; NULL: none of them.
static uint64_t *kept(struct msrs *m, uint32_t index)
{
    uint32_t variable = index - MSR_MTRR_PHYSBASE;

    if (index == MSR_MISC_ENABLE)
        return &m->misc_enable;
    if (index == MSR_MTRR_DEF_TYPE)
        return &m->mtrr_def_type;
    if (variable < 2 * MSRS_MTRR_VARIABLE)
        return &m->mtrr_variable[variable];
    for (unsigned i = 0; i < MSRS_MTRR_FIXED; i++)
        if (index == fixed_index[i])
            return &m->mtrr_fixed[i];
    return NULL;
}

bool msrs_read(struct msrs *m, uint32_t index, uint64_t *value)
{
    const struct constant *c = constant(m, index);
    const uint64_t *from = c != NULL ? &c->value
                           : index == 0xCE ? &m->platform_info : kept(m, index);

    if (from == NULL)
        return false;
    *value = *from;
    return true;
}

static bool mtrr_valid(const struct msrs *m, uint32_t index, uint64_t value)
{
    if (index == MSR_MTRR_DEF_TYPE) // type, fixed-range enable, enable
        return (value & ~0xCFFull) == 0 && types_valid(value & 0xFF);
    if (index - MSR_MTRR_PHYSBASE >= 2 * MSRS_MTRR_VARIABLE)
        return types_valid(value);
    if (index & 1)
        return (value & ~(m->address_bits | MTRR_VALID)) == 0;
    return (value & ~(m->address_bits | 0xFF)) == 0 && types_valid(value & 0xFF);
}

bool msrs_write(struct msrs *m, uint32_t index, uint64_t value)
{
    const struct constant *c = constant(m, index);
    uint64_t *to = kept(m, index);

    if (c != NULL)
        return c->writable && (value & ~c->bits) == 0;
    if (to == NULL)
        return false;
    if (index == MSR_MISC_ENABLE) // the other bits are fixed, for what they would switch is absent
        value = MISC_FIXED | (value & FAST_STRINGS);
    else if (!mtrr_valid(m, index, value))
        return false;
    *to = value; // for the guest to read: the kernel decides what type of memory it has
    return true;
}

void msrs_init(struct msrs *m, uint64_t tsc_hz, bool fast_strings, unsigned address_width,
               bool amd)
{
    *m = (struct msrs){
        .amd = amd,
        .platform_info = (tsc_hz / 100000000 & 0xFF) << 8, // maximum non-turbo ratio, in 100 MHz
        .misc_enable = (fast_strings ? FAST_STRINGS : 0) | MISC_FIXED,
        .address_bits = (1ull << address_width) - 0x1000,
        .mtrr_def_type = 0xC00 | TYPE_WB, // with that no variable range is needed
    };
    // Below 1 MB: RAM to 640 KB, then video memory, then ROM.
    for (unsigned i = 0; i < MSRS_MTRR_FIXED; i++)
        m->mtrr_fixed[i] = i < 2 ? 0x0606060606060606 : i < 3 ? 0 : 0x0505050505050505;
}
