// SPDX-License-Identifier: BSD-2-Clause
// AMD's CPUs: what AMD's bulletins say of the faults in the list. Those that only its own have
// (Inception, Retbleed, Zenbleed) are not in there: nothing is known or done about them here, but
// for VERW where that clears what transient scheduler attacks (TSA) read.
// Intel, "Affected Processors" and the guidance on each; SDM, "IA32_ARCH_CAPABILITIES".
#include "kernel/arch/x86/vuln.h"

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
#define NONE_OF_THESE  (RDCL_NO | MDS_NO | PSCHANGE_NO | TAA_NO | RFDS_NO)
// CPUID leaf 7: EBX; EDX; EDX of subleaf 2
#define HLE       (1u << 4)
#define RTM       (1u << 11)
#define MD_CLEAR  (1u << 10)
#define IBPB      (1u << 26) // and IA32_SPEC_CTRL
#define L1D_FLUSH (1u << 28)
#define RRSBA_CTRL (1u << 2)
#define BHI_CTRL  (1u << 4)
// CPUID leaf 80000008H EBX: there is the MSR of IBPB, and nothing of the others is written
#define AMD_IBPB  (1u << 12)
#define AMD_VERW  (1u << 5) // leaf 80000021H EAX: VERW clears, as MD_CLEAR
// IA32_SPEC_CTRL
#define SPEC_IBRS        (1ull << 0)
#define SPEC_RRSBA_DIS_S (1ull << 6)
#define SPEC_BHI_DIS_S   (1ull << 10)

// Of the CPUs with that fault those whose microcode does not tell: family 6, these models.
static bool has_rfds(const struct features *f)
{
    static const uint8_t models[] = { 0x5c, 0x5f, 0x7a, 0x86, 0x96, 0x97, 0x9a, 0x9c, 0xb7, 0xba,
                                      0xbe, 0xbf };
    uint32_t model = (f->leaf1_eax >> 4 & 15) | (f->leaf1_eax >> 12 & 0xf0);
    if (f->arch_caps & (RFDS_NO | RFDS_CLEAR))
        return f->arch_caps & RFDS_CLEAR;
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        if ((f->leaf1_eax >> 8 & 15) == 6 && model == models[i])
            return true;
    return false;
}

#define BIT(v) (1u << FAULT_##v)
#define SAMPLING (BIT(mds) | BIT(taa) | BIT(rfds))

static uint32_t affected(const struct features *f, uint32_t siblings)
{
    const uint64_t caps = f->arch_caps;
    const bool bhi = (caps & IBRS_ALL) && !(caps & BHI_NO); // else retpolines cover it
    return (caps & RDCL_NO ? 0 : BIT(meltdown)) |
           (caps & (RDCL_NO | SKIP_L1D_FLUSH) ? 0 : BIT(l1tf)) |
           (caps & MDS_NO ? 0 : BIT(mds)) |
           ((f->leaf7_ebx & RTM) && !(caps & TAA_NO) ? BIT(taa) : 0) |
           (has_rfds(f) ? BIT(rfds) : 0) | (bhi ? BIT(bhi) : 0) | (f->amd ? 0 : BIT(swapgs)) |
           (caps & PSCHANGE_NO ? 0 : BIT(itlb)) | (siblings > 1 ? BIT(smt) : 0) |
           (f->leaf7_ebx & HLE ? BIT(hle) : 0) | BIT(v1) | BIT(v2) | BIT(buslock);
}

static bool names(const char *list, const char *name)
{
    const char *rest = name; // of the name, still to come; NULL: this one is another
    for (; list; list++) {
        bool ends = !*list || *list == ' ' || *list == ',';
        if (ends && rest && !*rest)
            return true;
        if (ends && *list != ',')
            break;
        rest = ends ? name : rest && *rest == *list ? rest + 1 : NULL;
    }
    return false;
}

static bool clears(const struct features *f) // VERW does more than it did in 1982
{
    return (f->leaf7_edx & MD_CLEAR) || (f->arch_caps & RFDS_CLEAR);
}

static void choose(const struct features *f, uint32_t has, uint32_t asked, struct mitigations *m)
{
    const bool registers = f->leaf7_edx & IBPB;
    const bool enhanced = registers && (f->arch_caps & IBRS_ALL);
    *m = (struct mitigations){ 0 };
    m->ibpb = registers || (f->amd && (f->ext8_ebx & AMD_IBPB));
    m->verw = ((has & SAMPLING) && clears(f)) || (asked & SAMPLING) ||
              (f->amd && (f->ext21_eax & AMD_VERW));
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

void vuln_decide(const struct features *cpu, uint32_t siblings, bool bus_lock_exits,
                 const char *assume, struct mitigations *m, struct cpu_faults *faults)
{
    static const char *const name[FAULT_COUNT] = {
#define X(name) #name,
        CPU_FAULTS(X)
#undef X
    };
    struct features f = *cpu;
    if (f.amd) { // it says that its CPUs have none of them, and Intel's words mean nothing there
        f.arch_caps = NONE_OF_THESE;
        f.leaf7_ebx = f.leaf7_edx = f.leaf7_2_edx = 0;
    }
    uint32_t has = affected(&f, siblings), asked = 0;
    for (unsigned v = 0; v < FAULT_COUNT; v++)
        asked |= (uint32_t)(names(assume, name[v]) || names(assume, "all")) << v;
    choose(&f, has, asked, m);
    uint32_t open = BIT(meltdown) | BIT(smt) | (m->l1d_flush ? 0 : BIT(l1tf)) |
                    (clears(&f) ? 0 : SAMPLING) | (m->ibpb ? 0 : BIT(v2)) |
                    (bus_lock_exits ? 0 : BIT(buslock));
    *faults = (struct cpu_faults){ has | asked, (has | asked) & open, asked, m->retpolines };
}
