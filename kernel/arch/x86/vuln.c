// SPDX-License-Identifier: BSD-2-Clause
// Intel, "Affected Processors" and the guidance on each; SDM, "IA32_ARCH_CAPABILITIES".
#include "kernel/arch/x86/vuln.h"
#include "kernel/lib/string.h"

struct mitigations mitigations;

// IA32_ARCH_CAPABILITIES
#define RDCL_NO        (1ull << 0)
#define IBRS_ALL       (1ull << 1)
#define SKIP_L1D_FLUSH (1ull << 3)
#define MDS_NO         (1ull << 5)
#define PSCHANGE_NO    (1ull << 6)
#define TAA_NO         (1ull << 8)
#define BHI_NO         (1ull << 20)
#define RFDS_NO        (1ull << 27)
#define RFDS_CLEAR     (1ull << 28)
// CPUID leaf 7: EBX; EDX; EDX of subleaf 2
#define HLE       (1u << 4)
#define RTM       (1u << 11)
#define MD_CLEAR  (1u << 10)
#define IBPB      (1u << 26) // and IA32_SPEC_CTRL
#define L1D_FLUSH (1u << 28)
#define RRSBA_CTRL (1u << 2)
#define BHI_CTRL  (1u << 4)
// IA32_SPEC_CTRL
#define SPEC_IBRS        (1ull << 0)
#define SPEC_RRSBA_DIS_S (1ull << 6)
#define SPEC_BHI_DIS_S   (1ull << 10)

// Of the CPUs with that fault those whose microcode does not tell: family 6, these models.
static bool has_rfds(const struct vuln_facts *f)
{
    static const uint8_t models[] = { 0x5c, 0x5f, 0x7a, 0x86, 0x96, 0x97, 0x9a, 0x9c, 0xb7, 0xba,
                                      0xbe, 0xbf };
    uint32_t model = (f->signature >> 4 & 15) | (f->signature >> 12 & 0xf0);
    if (f->arch_caps & (RFDS_NO | RFDS_CLEAR))
        return f->arch_caps & RFDS_CLEAR;
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        if ((f->signature >> 8 & 15) == 6 && model == models[i])
            return true;
    return false;
}

static bool has_bhi(const struct vuln_facts *f) // without enhanced IBRS retpolines cover it
{
    return (f->arch_caps & IBRS_ALL) && !(f->arch_caps & BHI_NO);
}

static uint32_t affected(const struct vuln_facts *f)
{
    const uint64_t caps = f->arch_caps;
    return (uint32_t)!(caps & RDCL_NO) << VULN_meltdown |
           (uint32_t)!(caps & (RDCL_NO | SKIP_L1D_FLUSH)) << VULN_l1tf |
           (uint32_t)!(caps & MDS_NO) << VULN_mds |
           (uint32_t)((f->leaf7_ebx & RTM) && !(caps & TAA_NO)) << VULN_taa |
           (uint32_t)has_rfds(f) << VULN_rfds | 1u << VULN_v1 | 1u << VULN_v2 |
           (uint32_t)has_bhi(f) << VULN_bhi | 1u << VULN_swapgs |
           (uint32_t)!(caps & PSCHANGE_NO) << VULN_itlb | 1u << VULN_buslock |
           (uint32_t)(f->siblings > 1) << VULN_smt |
           (uint32_t)((f->leaf7_ebx & HLE) != 0) << VULN_hle;
}

static bool names(const char *list, const char *name)
{
    size_t n = 0;
    while (name[n])
        n++;
    while (list && *list && *list != ' ') {
        size_t part = 0;
        while (list[part] && list[part] != ' ' && list[part] != ',')
            part++;
        if ((part == n && memcmp(list, name, n) == 0) ||
            (part == 3 && memcmp(list, "all", 3) == 0))
            return true;
        list += part + (list[part] == ',');
    }
    return false;
}

#define BIT(v) (1u << VULN_##v)
#define SAMPLING (BIT(mds) | BIT(taa) | BIT(rfds))

static bool clears(const struct vuln_facts *f) // VERW does more than it did in 1982
{
    return (f->leaf7_edx & MD_CLEAR) || (f->arch_caps & RFDS_CLEAR);
}

static void choose(const struct vuln_facts *f, uint32_t has, uint32_t asked, struct mitigations *m)
{
    const bool registers = f->leaf7_edx & IBPB;
    const bool enhanced = registers && (f->arch_caps & IBRS_ALL);
    *m = (struct mitigations){ 0 };
    m->ibpb = registers;
    m->verw = ((has & SAMPLING) && clears(f)) || (asked & SAMPLING);
    m->l1d_flush = ((has | asked) & BIT(l1tf)) && (f->leaf7_edx & L1D_FLUSH);
    m->any = m->ibpb || m->verw || m->l1d_flush || (asked & (BIT(l1tf) | BIT(v2)));
    m->retpolines = !enhanced || (asked & (BIT(v2) | BIT(bhi))) ||
                    ((has & BIT(bhi)) && !(f->leaf7_2_edx & BHI_CTRL));
    m->itlb_multihit = (has | asked) & BIT(itlb);
    m->hle_hole = (has | asked) & BIT(hle);
    if (registers)
        m->spec_ctrl = (enhanced ? SPEC_IBRS : 0) |
                       (f->leaf7_2_edx & BHI_CTRL ? SPEC_BHI_DIS_S : 0) |
                       (m->retpolines && (f->leaf7_2_edx & RRSBA_CTRL) ? SPEC_RRSBA_DIS_S : 0);
}

// By what it is mitigated, or (*open) what follows because it is not.
static const char *text_of(enum vulnerability v, const struct vuln_facts *f,
                           const struct mitigations *m, bool *open)
{
    *open = false;
    switch (v) {
    case VULN_l1tf:
        *open = !m->l1d_flush;
        return *open ? "no L1D_FLUSH: a guest may read what its core's L1 holds of others"
                     : "L1D flush between domains";
    case VULN_mds: case VULN_taa: case VULN_rfds:
        *open = !clears(f);
        return *open ? "no MD_CLEAR: a guest may sample what its core did for others"
                     : "VERW between domains";
    case VULN_v1: return "indices of calls and handles are masked";
    case VULN_v2:
        *open = !m->ibpb;
        return *open ? "only the kernel has retpolines, no IBPB: domains may steer each other"
               : m->retpolines ? "retpolines; RSB filling and IBPB between domains"
                               : "enhanced IBRS; RSB filling and IBPB between domains";
    case VULN_bhi:
        return m->retpolines ? "retpolines" : "BHI_DIS_S";
    case VULN_swapgs: return "LFENCE behind SWAPGS";
    case VULN_itlb: return "guests execute in 4 KB pages only";
    case VULN_buslock:
        *open = !f->bus_lock_exits;
        return *open ? "no bus-lock exiting: a guest can slow memory down for all"
                     : "bus-lock exiting; each lock costs the guest 5 us";
    case VULN_hle: return "4 MB from 1 GB on are not used";
    case VULN_meltdown:
        *open = true;
        return "a device model may read the kernel's data, but nobody's memory";
    default:
        *open = true;
        return "VMs on siblings share caches and predictors; give one VM both";
    }
}

void vuln_decide(const struct vuln_facts *f, const char *assume, struct mitigations *m,
                 struct vuln_report report[VULN_COUNT])
{
    static const struct { const char *name, *title; } rows[VULN_COUNT] = {
#define X(name, title) { #name, title },
        VULNERABILITIES(X)
#undef X
    };
    uint32_t has = affected(f), asked = 0;
    for (unsigned v = 0; v < VULN_COUNT; v++)
        asked |= (uint32_t)names(assume, rows[v].name) << v;
    choose(f, has, asked, m);
    for (unsigned v = 0; v < VULN_COUNT; v++) {
        bool open;
        const char *text = text_of((enum vulnerability)v, f, m, &open);
        report[v] = (struct vuln_report){ rows[v].name, rows[v].title,
                                          open ? VULN_OPEN : VULN_MITIGATED, asked >> v & 1, text };
        if (!((has | asked) >> v & 1)) {
            report[v].state = VULN_NOT_AFFECTED;
            report[v].text = "";
        }
    }
}
