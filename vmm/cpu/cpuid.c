// SPDX-License-Identifier: BSD-2-Clause
//
// Makes a guest's CPUID from the host's; see cpuid.h. Every bit that is not listed here is hidden,
// so a newer CPU cannot show what nobody has thought about.
#include <cpuid.h>
#include <string.h>
#include "vmm/cpu/cpuid.h"

#define B(n) (1u << (n))
// The bits from..to of a register.
#define BITS(from, to) ((B((to) - (from)) * 2 - 1) << (from))

#define ALL ~0u

#define L1C_PCID    B(17)
#define L1C_X2APIC  B(21)
#define L1C_TSC_DEADLINE B(24)
#define L1C_XSAVE   B(26)
#define L1C_HYPERVISOR B(31)
#define L1D_HTT     B(28)
#define X1C_CMP_LEGACY B(1) // that bit means cores, and not threads
#define L7B_TSC_ADJUST B(1)
#define L7B_INVPCID B(10)
#define L7C_PKU     B(3)
#define X8B_BTC_NO  B(29) // no branch type confusion
#define LD1A_KEEP   (BITS(0, 2)) // XSAVEOPT, XSAVEC, XGETBV with ECX = 1; not XSAVES
#define LD1A_XSAVEC B(1)

#define XCR0_X87    1u
#define XCR0_SSE    2u
#define XCR0_AVX    4u
#define XCR0_AVX512 0xe0u
#define XCR0_PKRU   0x200u
#define XCR0_COMPONENTS 10u
#define XSAVE_LEGACY 576u // legacy region and header

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

// A leaf is what the host says, of that the bits to keep, and then the bits to set.
static const struct {
    uint32_t leaf, sub;
    struct cpuid_regs keep, set;
    enum cpuid_live live;
} leaves[] = {
    { 0, 0, { 0, ALL, ALL, ALL }, { .eax = CPUID_BASIC_MAX }, CPUID_LIVE_NONE },
    // Not there: MONITOR, DTES64, DS-CPL, virtualization, SMX, EIST, TM2, SDBG, xTPR, PDCM, DCA;
    // DS, ACPI, TM, PBE, PSN. EBX: brand, CLFLUSH size. See add_topology().
    { 1, 0,
      { ALL, 0xffff,
        B(0) | B(1) | B(9) | BITS(12, 13) | B(17) | BITS(19, 20) | BITS(22, 23) | BITS(25, 26) |
            BITS(28, 30),
        BITS(0, 8) | BITS(11, 17) | B(19) | BITS(23, 27) },
      { .ecx = L1C_X2APIC | L1C_TSC_DEADLINE | L1C_HYPERVISOR }, CPUID_LIVE_1 },
    { 2, 0, { ALL, ALL, ALL, ALL }, { 0 }, CPUID_LIVE_NONE },
    { 6, 0, { 0 }, { .eax = B(2) }, CPUID_LIVE_NONE }, // ARAT
    // Not there: SGX, RDT, MPX, PT; LA57, WAITPKG, CET, TME, KL, SGX_LC, PKS, ENQCMD; UINTR,
    // SRBDS_CTRL, HYBRID, PCONFIG, LBR, AMX, IBRS, STIBP, L1D_FLUSH, ARCH_CAPABILITIES,
    // CORE_CAPABILITIES, SSBD: their MSRs are not there. No further subleaf.
    { 7, 0,
      { 0,
        B(0) | BITS(3, 11) | B(13) | BITS(16, 21) | BITS(23, 24) | BITS(26, 31),
        BITS(0, 3) | B(6) | BITS(8, 12) | B(14) | B(22) | B(25) | BITS(27, 28),
        BITS(2, 4) | B(8) | B(10) | B(14) | B(16) | B(23) },
      { .ebx = L7B_TSC_ADJUST }, CPUID_LIVE_7 },
    // "Extended Topology": each core has one thread.
    { 0xb, 0, { 0 }, { .ebx = 1, .ecx = 0x100 }, CPUID_LIVE_B },
    { 0xb, 1, { 0 }, { .ecx = 0x201 }, CPUID_LIVE_B },
    // "BulkheadHV  "
    { CPUID_HYPERVISOR, 0, { 0 }, { CPUID_HYPERVISOR + 1, 0x6b6c7542, 0x64616568, 0x20205648 },
      CPUID_LIVE_NONE },
    { CPUID_HYPERVISOR + 1, 0, { 0 }, { 0 }, CPUID_LIVE_NONE },
    { 0x80000000, 0, { 0 }, { .eax = 0x80000008 }, CPUID_LIVE_NONE },
    { 0x80000001, 0, { ALL, 0, B(0) | B(5) | B(8), B(11) | B(20) | BITS(26, 27) | B(29) }, { 0 },
      CPUID_LIVE_NONE },
    { 0x80000002, 0, { ALL, ALL, ALL, ALL }, { 0 }, CPUID_LIVE_NONE }, // the brand's name
    { 0x80000003, 0, { ALL, ALL, ALL, ALL }, { 0 }, CPUID_LIVE_NONE },
    { 0x80000004, 0, { ALL, ALL, ALL, ALL }, { 0 }, CPUID_LIVE_NONE },
    // Caches and TLBs; of AMD's the only leaves that do, since nothing says of others who shares.
    { 0x80000005, 0, { ALL, ALL, ALL, ALL }, { 0 }, CPUID_LIVE_NONE },
    { 0x80000006, 0, { ALL, ALL, ALL, ALL }, { 0 }, CPUID_LIVE_NONE },
    { 0x80000007, 0, { 0 }, { .edx = B(8) }, CPUID_LIVE_NONE }, // invariant TSC
    { 0x80000008, 0, { .eax = 0xff }, { .eax = 48u << 8 }, CPUID_LIVE_NONE },
};

// Of the bits above, those that are hidden unless the guest gets all state components that `need`
// says; and PCID and INVPCID come both or not at all: an operating system that sees one may count
// on the other.
#define NEED_BOTH (1u << 31)
static const struct {
    uint32_t leaf, need;
    struct cpuid_regs bits;
} conditional[] = {
    { 1, XCR0_X87, { .ecx = L1C_XSAVE } },
    { 1, XCR0_AVX, { .ecx = B(12) | B(28) | B(29) } }, // FMA, AVX, F16C
    { 1, NEED_BOTH, { .ecx = L1C_PCID } },
    { 7, XCR0_AVX, { .ebx = B(5), .ecx = B(9) | B(10) } },
    { 7, XCR0_AVX512,
      { 0, BITS(16, 17) | B(21) | BITS(26, 28) | BITS(30, 31), B(1) | B(6) | BITS(11, 12) | B(14),
        BITS(2, 3) | B(8) | B(23) } },
    { 7, XCR0_PKRU, { .ecx = L7C_PKU } },
    { 7, NEED_BOTH, { .ebx = L7B_INVPCID } },
};

static struct cpuid_regs host(const struct cpuid_facts *f, uint32_t leaf, uint32_t sub)
{
    uint32_t out[4], max[4];
    f->read(leaf & CPUID_EXTENDED, 0, max);
    if (leaf > max[0])
        return (struct cpuid_regs){ 0 };
    f->read(leaf, sub, out);
    return (struct cpuid_regs){ out[0], out[1], out[2], out[3] };
}

static struct cpuid_regs masked(struct cpuid_regs r, struct cpuid_regs m)
{
    return (struct cpuid_regs){ r.eax & m.eax, r.ebx & m.ebx, r.ecx & m.ecx, r.edx & m.edx };
}

struct maker {
    struct cpuid_table *table;
    uint32_t count; // of entries
    uint64_t xcr0;  // components that the guest is to have
};

// Subleaves are added in order, from 0, and nothing else between them.
static void add(struct maker *m, uint32_t leaf, uint32_t sub, struct cpuid_regs regs,
                enum cpuid_live live)
{
    struct cpuid_slot *slot = &m->table->slot[cpuid_slot(leaf)];
    if (sub == 0)
        slot->at = (uint16_t)(m->count * sizeof(m->table->entry[0]));
    if (leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd)
        slot->subs = (uint16_t)(sub + 1);
    m->table->entry[m->count++] = (struct cpuid_entry){
        regs, leaf, sub, (uint32_t)live * sizeof(struct cpuid_regs), 0,
    };
}

// Where component r of an XSAVE area ends, when those before it end at `end`.
static uint32_t xsave_end(const struct cpuid_regs *r, uint32_t end, bool compacted)
{
    if (compacted)
        return (r->ecx & 2 ? (end + 63) / 64 * 64 : end) + r->eax;
    return r->ebx + r->eax > end ? r->ebx + r->eax : end;
}

// Bytes of an XSAVE area for these components, as the host describes them.
static uint32_t xsave_size(const struct cpuid_facts *f, uint64_t xcr0, bool compacted)
{
    uint32_t end = XSAVE_LEGACY;

    for (uint32_t i = 2; i < XCR0_COMPONENTS; i++) {
        struct cpuid_regs r = host(f, 0xd, i);
        if (host(f, 0xd, 0).eax & xcr0 & B(i))
            end = xsave_end(&r, end, compacted);
    }
    return end;
}

// Is an area of these components as large as its parts say? A CPU that errs here (an emulator, so
// far) may err in what it stores, too, and an operating system that has only our sizes to look at
// could not see it.
static bool xsave_sound(const struct cpuid_facts *f, bool compacted)
{
    return xsave_size(f, f->xcr0, compacted) == f->xsave_size[compacted];
}

// The state components that the host has, the kernel switches and that make sense together.
static uint64_t xcr0_allowed(const struct cpuid_facts *f)
{
    uint64_t x = host(f, 0xd, 0).eax & f->xcr0;

    if (!(host(f, 1, 0).ecx & L1C_XSAVE) || !xsave_sound(f, false) ||
        (x & (XCR0_X87 | XCR0_SSE)) != (XCR0_X87 | XCR0_SSE))
        return 0;
    if (!(x & XCR0_AVX) || (x & XCR0_AVX512) != XCR0_AVX512)
        x &= ~(uint64_t)XCR0_AVX512;
    return x & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_PKRU);
}

// One package of so many cores, each with one thread. APIC ids are their numbers.
static void add_topology(struct cpuid_regs *r, uint32_t leaf, uint32_t sub, unsigned vcpus,
                         bool amd)
{
    unsigned bits = 0;

    while (1u << bits < vcpus)
        bits++;
    if (leaf == 1) {
        r->ebx |= vcpus << 16; // APIC ids that are reserved for the package
        r->edx |= vcpus > 1 ? L1D_HTT : 0;
    } else if (leaf == 0xb && sub == 1) {
        r->eax = bits;
        r->ebx = vcpus;
    } else if (leaf == 0x80000001 && amd && vcpus > 1) {
        r->ecx |= X1C_CMP_LEGACY;
    } else if (leaf == 0x80000008 && amd) {
        r->ecx = bits << 12 | (vcpus - 1);
    }
}

static void add_leaves(struct maker *m, const struct cpuid_facts *f)
{
    uint64_t named_hz = (uint16_t)host(f, 0x16, 0).eax * UINT64_C(1000000);
    uint32_t have = (uint32_t)m->xcr0;
    if (host(f, 1, 0).ecx & L1C_PCID && host(f, 7, 0).ebx & L7B_INVPCID)
        have |= NEED_BOTH;
    for (uint32_t i = 0; i < ARRAY_SIZE(leaves); i++) {
        struct cpuid_regs r = masked(host(f, leaves[i].leaf, leaves[i].sub), leaves[i].keep);
        for (uint32_t k = 0; k < ARRAY_SIZE(conditional); k++) {
            struct cpuid_regs hide = conditional[k].bits;
            if (conditional[k].leaf == leaves[i].leaf && conditional[k].need & ~have)
                r = masked(r, (struct cpuid_regs){ ~hide.eax, ~hide.ebx, ~hide.ecx, ~hide.edx });
        }
        if (leaves[i].leaf == 0x80000008) {
            r.eax = r.eax ? r.eax : 36; // physical-address width, where the host does not say
            // A CPU that runs at a fraction of the frequency it names is interpreted, and nothing
            // speculates in it. Systems that judge CPUs by their model cannot know.
            r.ebx = named_hz / 4 > f->tsc_hz ? X8B_BTC_NO : 0;
        }
        struct cpuid_regs s = leaves[i].set;
        r = (struct cpuid_regs){ r.eax | s.eax, r.ebx | s.ebx, r.ecx | s.ecx, r.edx | s.edx };
        add_topology(&r, leaves[i].leaf, leaves[i].sub, f->vcpus, cpuid_amd(m->table));
        add(m, leaves[i].leaf, leaves[i].sub, r, leaves[i].live);
    }
}

// "Deterministic Cache Parameters".
static void add_caches(struct maker *m, const struct cpuid_facts *f)
{
    for (uint32_t sub = 0; sub < 6; sub++) {
        struct cpuid_regs r = host(f, 4, sub);
        if (!(r.eax & 0x1f))
            return;
        r.eax &= 0x3fff;
        r.eax |= (f->vcpus - 1) << 26; // cores of the package
        if ((r.eax >> 5 & 7) == 3)
            r.eax |= (f->vcpus - 1) << 14; // of which the third level is everybody's
        add(m, 4, sub, r, CPUID_LIVE_NONE);
    }
}

static void add_xsave(struct maker *m, const struct cpuid_facts *f)
{
    if (!m->xcr0)
        return;
    struct cpuid_regs r = { (uint32_t)m->xcr0, 0, xsave_size(f, m->xcr0, false),
                            (uint32_t)(m->xcr0 >> 32) };
    add(m, 0xd, 0, r, CPUID_LIVE_XSAVE);
    r = (struct cpuid_regs){ host(f, 0xd, 1).eax & LD1A_KEEP, 0, 0, 0 };
    if (!xsave_sound(f, true))
        r.eax &= ~LD1A_XSAVEC;
    add(m, 0xd, 1, r, r.eax & LD1A_XSAVEC ? CPUID_LIVE_XSAVEC : CPUID_LIVE_NONE);
    for (uint32_t i = 2; i < XCR0_COMPONENTS; i++) {
        r = host(f, 0xd, i);
        if (!(m->xcr0 & B(i)))
            r = (struct cpuid_regs){ 0 };
        // ECX: alignment; none is a supervisor state.
        add(m, 0xd, i, masked(r, (struct cpuid_regs){ ALL, ALL, 2, 0 }), CPUID_LIVE_NONE);
    }
}

// "Time Stamp Counter and Nominal Core Crystal Clock", "Processor Frequency". The crystal runs at
// the TSC's own frequency (halved only where that does not fit 32 bits): crystal times ratio is
// then the TSC exactly, also for those who compute in kHz, and so is the APIC timer's arithmetic.
static void add_clock(struct maker *m, uint64_t tsc_hz)
{
    uint64_t mhz = (tsc_hz + 500000) / 1000000;
    uint32_t ratio = cpuid_timer_ratio(tsc_hz), crystal = (uint32_t)((tsc_hz + ratio / 2) / ratio);

    add(m, 0x15, 0, (struct cpuid_regs){ 1, ratio, crystal, 0 }, CPUID_LIVE_NONE);
    add(m, 0x16, 0, (struct cpuid_regs){ (uint16_t)mhz, (uint16_t)mhz, 100, 0 },
        CPUID_LIVE_NONE);
}

// The registers of this very leaf; zeroes when it is not there.
static struct cpuid_regs shown(const struct cpuid_table *t, uint32_t leaf)
{
    const struct cpuid_entry *e = cpuid_entry_for(t, leaf, 0);
    return e != NULL && e->leaf == leaf ? e->regs : (struct cpuid_regs){ 0 };
}

// The feature that brings each bit of CR4: of leaf 1 EDX, ECX, leaf 7 EBX, ECX.
static const struct {
    uint32_t word, bit, cr4;
} cr4_bits[] = {
    { 0, B(1), BITS(0, 1) }, // VME and PVI
    { 0, B(2), B(3) },       // DE
    { 0, B(3), B(4) },       // PSE
    { 0, B(4), B(2) },       // TSD
    { 0, B(6), B(5) },       // PAE
    { 0, B(7), B(6) },       // MCE
    { 0, B(13), B(7) },      // PGE
    { 0, B(24), B(9) },      // OSFXSR
    { 0, B(25), B(10) },     // OSXMMEXCPT
    { 1, L1C_PCID, B(17) },  // PCIDE
    { 1, L1C_XSAVE, B(18) }, // OSXSAVE
    { 2, B(0), B(16) },      // FSGSBASE
    { 2, B(7), B(20) },      // SMEP
    { 2, B(20), B(21) },     // SMAP
    { 3, B(2), B(11) },      // UMIP
    { 3, L7C_PKU, B(22) },   // PKE
};
#define CR4_PCE  B(8)
#define EFER_SCE B(0)
#define EFER_LME B(8)
#define EFER_LMA B(10)
#define EFER_NXE B(11)

static void add_register_bits(struct cpuid_table *t)
{
    struct cpuid_regs r1 = shown(t, 1), r7 = shown(t, 7), x1 = shown(t, 0x80000001);
    const uint32_t words[] = { r1.edx, r1.ecx, r7.ebx, r7.ecx };

    t->cr4 = CR4_PCE;
    for (uint32_t i = 0; i < ARRAY_SIZE(cr4_bits); i++)
        t->cr4 |= words[cr4_bits[i].word] & cr4_bits[i].bit ? cr4_bits[i].cr4 : 0;
    t->efer = (x1.edx & B(11) ? EFER_SCE : 0) | (x1.edx & B(20) ? EFER_NXE : 0) |
              (x1.edx & B(29) ? EFER_LME | EFER_LMA : 0);
    t->tsc_aux = (r7.ecx & B(22)) || (x1.edx & B(27)); // RDPID, RDTSCP
    t->address_bits = shown(t, 0x80000008).eax & 0xff;
}

void cpuid_make(struct cpuid_table *table, const struct cpuid_facts *facts)
{
    struct maker m = { table, 1, xcr0_allowed(facts) }; // entry 0: for what is not there

    memset(table, 0, sizeof(*table));
    add_leaves(&m, facts);
    add_caches(&m, facts);
    add_xsave(&m, facts);
    add_clock(&m, facts->tsc_hz);
    table->slot[CPUID_SLOT_ABOVE] = table->slot[CPUID_BASIC_MAX];
    table->xcr0 = m.xcr0;
    add_register_bits(table);
}

static void read_here(uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    __cpuid_count(leaf, sub, out[0], out[1], out[2], out[3]);
}

bool cpuid_amd(const struct cpuid_table *table)
{
    uint32_t maker = shown(table, 0).ebx;
    return maker == 0x68747541 || maker == 0x6f677948; // "Auth", "Hygo"
}

void cpuid_make_here(struct cpuid_table *table, uint64_t tsc_hz, unsigned vcpus)
{
    struct cpuid_facts facts = { .tsc_hz = tsc_hz, .vcpus = vcpus, .read = read_here };
    uint32_t low, high, r[4];

    // XCR0 is the kernel's own, and so are the sizes, as long as there is no vCPU.
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    facts.xcr0 = (uint64_t)high << 32 | low;
    for (uint32_t sub = 0; sub < 2; sub++) {
        read_here(0xd, sub, r);
        facts.xsave_size[sub] = r[1];
    }
    cpuid_make(table, &facts);
}
