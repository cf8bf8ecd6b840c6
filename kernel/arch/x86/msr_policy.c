// SPDX-License-Identifier: BSD-2-Clause
// A guest's MSRs. The state is its vCPU's, on its core; see msr_policy.h. What a guest writes is
// checked as the CPU would, so that no value from here makes a VM entry or a WRMSR of ours fail.
#include "kernel/arch/x86/msr_policy.h"
#include "kernel/arch/x86/regs.h"

#define IA32_TIME_STAMP_COUNTER    0x10u
#define IA32_TSC_ADJUST            0x3bu
#define IA32_MTRR_PHYSBASE0        0x200u // base and mask in turn
#define IA32_MTRR_DEF_TYPE         0x2ffu
#define IA32_X2APIC_LAST           0x8ffu

// IA32_MISC_ENABLE
#define FAST_STRINGS 1u
#define MISC_FIXED   0x1800u // branch trace storage and PEBS are unavailable
#define MTRRCAP_WC       0x400u
#define MTRRCAP_FIXED    0x100u
#define MTRR_VALID       0x800u      // of a variable range's mask
#define TYPE_WB          6u
#define PAT_RESET        0x0007040600070406ull
#define MICROCODE        (1ull << 32) // not known

const uint32_t msr_passed[MSR_PASSED_COUNT] = {
    MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
    MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
};

// Those that are kept in the state. A write may set `bits` only, and changes `kept` only.
#define FIELD(name) offsetof(struct msr_state, name)
static const struct kept_msr {
    uint32_t index;
    uint16_t field;
    uint8_t written; // enum msr_result; MSR_GP: it cannot be
    uint64_t bits, kept;
} kept_msrs[] = {
    { IA32_TSC_ADJUST,     FIELD(tsc_adjust),      MSR_GP,      0,          0 }, // see tsc_move()
    { MSR_FEATURE_CONTROL, FIELD(feature_control), MSR_GP,      0,          0 },
    // BIOS_SIGN_ID: written with 0 before CPUID is to load it.
    { 0x8b,                FIELD(microcode),       MSR_DONE,    ~0ull,      0 },
    { 0xce,                FIELD(platform_info),   MSR_GP,      0,          0 },
    { 0xfe,                FIELD(mtrr_cap),        MSR_GP,      0,          0 },
    { 0x140,               FIELD(zero),            MSR_DONE,    0,          0 }, // MISC_FEATURES
    { 0x17a,               FIELD(zero),            MSR_DONE,    0,          0 }, // MCG_STATUS
    // MISC_ENABLE: the other bits are fixed, for what they would switch is not there.
    { 0x1a0,               FIELD(misc_enable),     MSR_DONE,    ~0ull,      FAST_STRINGS },
    // DEBUGCTL: LBR and BTF, for no CPUID bit says that they are missing.
    { 0x1d9,               FIELD(zero),            MSR_DONE,    3,          0 },
    { MSR_PAT,             FIELD(pat),             MSR_PAT_REG, ~0ull,      ~0ull },
    // Type, fixed-range enable, enable.
    { IA32_MTRR_DEF_TYPE,  FIELD(mtrr_def_type),   MSR_DONE,    0xcff,      ~0ull },
    { MSR_TSC_AUX,         FIELD(tsc_aux),         MSR_AUX_REG, UINT32_MAX, ~0ull },
};

// Read as 0 and not to be written: PLATFORM_ID, SMI_COUNT, MCG_CAP (no banks); and of what each P6
// has, and old systems read without asking: EBL_CR_POWERON, FSB_FREQ, PERF_STATUS, THERM_STATUS,
// TEMPERATURE_TARGET, the last branch from and to, and that before the last interrupt.
static const uint16_t zero_msrs[] = {
    0x17, 0x34, 0x179, 0x2a, 0xcd, 0x198, 0x19c, 0x1a2, 0x1db, 0x1dc, 0x1dd, 0x1de,
};
static const struct kept_msr zero_msr = { 0, FIELD(zero), MSR_GP, 0, 0 };

static const uint16_t mtrr_fixed_index[MSR_MTRR_FIXED] = {
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
};

static bool canonical(uint64_t x) { return (uint64_t)((int64_t)(x << 16) >> 16) == x; }

// "Memory Types That Can Be Encoded": allowed is a mask of type numbers, for each of eight bytes.
static bool types_valid(uint64_t types, uint32_t allowed)
{
    for (int i = 0; i < 64; i += 8) {
        uint32_t type = types >> i & 0xff;
        if (type > 7 || !(allowed >> type & 1))
            return false;
    }
    return true;
}
#define MTRR_TYPES 0x73u // UC, WC, WT, WP, WB
#define PAT_TYPES  0xf3u // and UC-

static uint64_t guest_tsc(const struct msr_state *s, uint64_t now)
{
    return now + s->vlapic->tsc_offset;
}

// Both ways to set the TSC move IA32_TSC_ADJUST by as much ("IA32_TSC_ADJUST MSR").
static enum msr_result tsc_move(struct msr_state *s, uint64_t delta)
{
    s->tsc_adjust += delta;
    vlapic_set_tsc_offset(s->vlapic, s->vlapic->tsc_offset + delta);
    return MSR_TSC;
}

// Fixed and variable ranges.
static uint64_t *mtrr(struct msr_state *s, uint32_t index)
{
    uint32_t variable = index - IA32_MTRR_PHYSBASE0;
    if (variable < 2 * MSR_MTRR_VARIABLE)
        return variable & 1 ? &s->mtrr_mask[variable / 2] : &s->mtrr_base[variable / 2];
    for (uint32_t i = 0; i < MSR_MTRR_FIXED; i++) {
        if (index == mtrr_fixed_index[i])
            return &s->mtrr_fixed[i];
    }
    return NULL;
}

static enum msr_result mtrr_write(struct msr_state *s, uint32_t index, uint64_t value)
{
    uint64_t *reg = mtrr(s, index), address = (1ull << cpuid_policy_maxphyaddr(s->cpuid)) - 0x1000;
    bool variable = index - IA32_MTRR_PHYSBASE0 < 2 * MSR_MTRR_VARIABLE, valid;
    if (variable && index & 1)
        valid = !(value & ~(address | MTRR_VALID));
    else if (variable)
        valid = !(value & ~(address | 0xff)) && types_valid(value & 0xff, MTRR_TYPES);
    else
        valid = types_valid(value, MTRR_TYPES);
    if (!reg || !valid)
        return MSR_GP;
    *reg = value; // kept for the guest to read: EPT decides the host's side of the memory type
    return MSR_DONE;
}

// NULL: there is none, or the guest's CPUID does not show it.
static const struct kept_msr *kept_find(const struct msr_state *s, uint32_t index)
{
    if (index == MSR_TSC_AUX && !(cpuid_policy_get(s->cpuid, 7, 0).ecx >> 22 & 1) && // RDPID
        !(cpuid_policy_get(s->cpuid, 0x80000001, 0).edx >> 27 & 1))                   // RDTSCP
        return NULL;
    for (uint32_t i = 0; i < ARRAY_SIZE(kept_msrs); i++)
        if (kept_msrs[i].index == index)
            return &kept_msrs[i];
    for (uint32_t i = 0; i < ARRAY_SIZE(zero_msrs); i++)
        if (zero_msrs[i] == index)
            return &zero_msr;
    return NULL;
}

static uint64_t *kept_field(struct msr_state *s, const struct kept_msr *m)
{
    return (void *)((char *)s + m->field);
}

static bool kept_valid(const struct kept_msr *m, uint64_t value)
{
    if (m->index == MSR_PAT)
        return types_valid(value, PAT_TYPES);
    return m->index != IA32_MTRR_DEF_TYPE || types_valid(value & 0xff, MTRR_TYPES);
}

static enum msr_result kept_write(struct msr_state *s, uint32_t index, uint64_t value)
{
    const struct kept_msr *m = kept_find(s, index);
    if (!m)
        return mtrr_write(s, index, value);
    if (value & ~m->bits || !kept_valid(m, value))
        return MSR_GP;
    uint64_t *reg = kept_field(s, m);
    *reg = (*reg & ~m->kept) | (value & m->kept);
    return (enum msr_result)m->written;
}

enum msr_result msr_read(struct msr_state *s, uint32_t index, uint64_t now, uint64_t *value)
{
    switch (index) {
    case MSR_APIC_BASE:
    case MSR_TSC_DEADLINE:
    case MSR_X2APIC ... IA32_X2APIC_LAST:
        return vlapic_rdmsr(s->vlapic, index, now, value) ? MSR_APIC : MSR_GP;
    case IA32_TIME_STAMP_COUNTER:
        *value = guest_tsc(s, now);
        return MSR_DONE;
    case MSR_EFER:
        return MSR_EFER_REG;
    case MSR_STAR ... MSR_FMASK:
        return MSR_SYSCALL_REG;
    case MSR_SYSENTER_CS ... MSR_SYSENTER_EIP:
    case MSR_FS_BASE ... MSR_KERNEL_GS_BASE:
        return MSR_CPU;
    }
    const struct kept_msr *m = kept_find(s, index);
    const uint64_t *reg = m ? kept_field(s, m) : mtrr(s, index);
    if (!reg)
        return MSR_GP;
    *value = *reg;
    return MSR_DONE;
}

enum msr_result msr_write(struct msr_state *s, uint32_t index, uint64_t value, uint64_t now)
{
    switch (index) {
    case MSR_APIC_BASE:
    case MSR_TSC_DEADLINE:
    case MSR_X2APIC ... IA32_X2APIC_LAST:
        return vlapic_wrmsr(s->vlapic, index, value, now) ? MSR_APIC : MSR_GP;
    case IA32_TIME_STAMP_COUNTER:
        return tsc_move(s, value - guest_tsc(s, now));
    case IA32_TSC_ADJUST:
        return tsc_move(s, value - s->tsc_adjust);
    case MSR_EFER:
        return value & ~cpuid_policy_efer(s->cpuid) ? MSR_GP : MSR_EFER_REG;
    case MSR_STAR:
        return MSR_SYSCALL_REG;
    case MSR_LSTAR:
    case MSR_CSTAR:
        return canonical(value) ? MSR_SYSCALL_REG : MSR_GP;
    case MSR_FMASK:
        return value >> 32 ? MSR_GP : MSR_SYSCALL_REG;
    case MSR_SYSENTER_CS:
        return MSR_CPU;
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
    case MSR_FS_BASE ... MSR_KERNEL_GS_BASE:
        return canonical(value) ? MSR_CPU : MSR_GP;
    default:
        return kept_write(s, index, value);
    }
}

void msr_init(struct msr_state *s, struct vlapic *vlapic, const struct cpuid_policy *cpuid,
              uint64_t misc_enable)
{
    *s = (struct msr_state){
        .vlapic = vlapic,
        .cpuid = cpuid,
        .feature_control = 1, // locked with VMX and SMX off
        // Maximum non-turbo ratio, in 100 MHz.
        .platform_info = (cpuid->tsc_hz / 100000000 & 0xff) << 8,
        .mtrr_cap = MTRRCAP_WC | MTRRCAP_FIXED | MSR_MTRR_VARIABLE,
        .pat = PAT_RESET,
        .misc_enable = (misc_enable & FAST_STRINGS) | MISC_FIXED,
        .microcode = MICROCODE,
        .mtrr_def_type = 0xc00 | TYPE_WB, // with that no variable range is needed
    };
    // Below 1 MB: RAM to 640 KB, then video memory, then ROM.
    for (uint32_t i = 0; i < MSR_MTRR_FIXED; i++)
        s->mtrr_fixed[i] = i < 2 ? 0x0606060606060606 : i < 3 ? 0 : 0x0505050505050505;
}
