// SPDX-License-Identifier: BSD-2-Clause
//
// What each processor has of its own: all set what they have to values of their own, at once, wait
// for each other, and look. Where they share a core of the host's, each has run in between.

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/test-smp/groups.h"

#define MSR_SYSENTER_CS  0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_MTRR_BASE0   0x200
#define MSR_MTRR_MASK0   0x201
#define MSR_PAT          0x277
#define MSR_CSTAR        0xC0000083
#define MSR_TSC_AUX      0xC0000103
#define EFER_SCE         1ul
#define CR4_TSD          (1ul << 2)
#define DR7_LOCAL        0x55ul // DR0 to DR3, on execution
#define DR7_FIXED        0x400ul
#define PAT_RESET        0x0007040600070406ull
#define AVX_OFFSET       576
#define VECTOR_BYTES     1024
#define STAY_NS          (300 * NS_PER_US)
#define PAUSES           2000 // a loop that gives way
#define PAUSES_TCG       50   // where each does
#define REPETITIONS      5

// What the whole of a processor's state is here.
#define REGISTERS(X)                                                                              \
    X(cr0)                                                                                        \
    X(cr2)                                                                                        \
    X(cr4)                                                                                        \
    X(cr8)                                                                                        \
    X(dr0)                                                                                        \
    X(dr1) X(dr2) X(dr3) X(dr7) X(xcr0) X(efer) X(star) X(lstar) X(cstar) X(fmask) X(sysenter_cs) \
        X(sysenter_esp) X(sysenter_eip) X(fs) X(gs) X(kernel_gs) X(pat) X(tsc_aux) X(mtrr_base)   \
            X(mtrr_mask)

struct state {
#define X(name) uint64_t name;
    REGISTERS(X)
#undef X
};

static const char *const names[] = {
#define X(name) #name,
    REGISTERS(X)
#undef X
};

#define COUNT (sizeof(names) / sizeof(names[0]))

_Static_assert(sizeof(struct state) == COUNT * sizeof(uint64_t), "an array, to compare");

void hold_vectors(const void *in, void *out, volatile unsigned int *count, unsigned int members,
                  uint32_t components, unsigned int pauses);

static struct state wanted[SMP_MAX], found[SMP_MAX];
static volatile unsigned int set, looked;
static unsigned int repetition;
static struct state at_start;
static bool has_xsave, has_tsc_aux;

#define DR(n)                                                 \
    static uint64_t read_dr##n(void)                          \
    {                                                         \
        uint64_t value;                                       \
        __asm__ volatile("mov %%dr" #n ", %0" : "=r"(value)); \
        return value;                                         \
    }                                                         \
    static void write_dr##n(uint64_t value)                   \
    {                                                         \
        __asm__ volatile("mov %0, %%dr" #n : : "r"(value));   \
    }
DR(0)
DR(1)
DR(2)
DR(3)
DR(7)

static void write_cr2(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr2" : : "r"(value));
}

static uint64_t read_xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static void write_xcr0(uint64_t value)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)value), "d"(0) : "memory");
}

static void get(struct state *s)
{
    *s = (struct state){
        .cr0 = read_cr0(),
        .cr2 = read_cr2(),
        .cr4 = read_cr4(),
        .cr8 = read_cr8(),
        .dr0 = read_dr0(),
        .dr1 = read_dr1(),
        .dr2 = read_dr2(),
        .dr3 = read_dr3(),
        .dr7 = read_dr7(),
        .efer = rdmsr(MSR_EFER),
        .star = rdmsr(MSR_STAR),
        .lstar = rdmsr(MSR_LSTAR),
        .cstar = rdmsr(MSR_CSTAR),
        .fmask = rdmsr(MSR_SFMASK),
        .sysenter_cs = rdmsr(MSR_SYSENTER_CS),
        .sysenter_esp = rdmsr(MSR_SYSENTER_ESP),
        .sysenter_eip = rdmsr(MSR_SYSENTER_EIP),
        .fs = rdmsr(MSR_FS_BASE),
        .gs = rdmsr(MSR_GS_BASE),
        .kernel_gs = rdmsr(MSR_KERNEL_GS_BASE),
        .pat = rdmsr(MSR_PAT),
        .mtrr_base = rdmsr(MSR_MTRR_BASE0),
        .mtrr_mask = rdmsr(MSR_MTRR_MASK0),
    };
    if (has_xsave)
        s->xcr0 = read_xcr0();
    if (has_tsc_aux)
        s->tsc_aux = rdmsr(MSR_TSC_AUX);
}

static void put(const struct state *s)
{
    write_cr0(s->cr0);
    write_cr2(s->cr2);
    write_cr4(s->cr4);
    write_cr8(s->cr8);
    write_dr0(s->dr0);
    write_dr1(s->dr1);
    write_dr2(s->dr2);
    write_dr3(s->dr3);
    write_dr7(s->dr7);
    if (has_xsave)
        write_xcr0(s->xcr0);
    wrmsr(MSR_EFER, s->efer);
    wrmsr(MSR_STAR, s->star);
    wrmsr(MSR_LSTAR, s->lstar);
    wrmsr(MSR_CSTAR, s->cstar);
    wrmsr(MSR_SFMASK, s->fmask);
    wrmsr(MSR_SYSENTER_CS, s->sysenter_cs);
    wrmsr(MSR_SYSENTER_ESP, s->sysenter_esp);
    wrmsr(MSR_SYSENTER_EIP, s->sysenter_eip);
    wrmsr(MSR_FS_BASE, s->fs);
    wrmsr(MSR_GS_BASE, s->gs);
    wrmsr(MSR_KERNEL_GS_BASE, s->kernel_gs);
    wrmsr(MSR_PAT, s->pat);
    wrmsr(MSR_MTRR_BASE0, s->mtrr_base);
    wrmsr(MSR_MTRR_MASK0, s->mtrr_mask);
    if (has_tsc_aux)
        wrmsr(MSR_TSC_AUX, s->tsc_aux);
}

// Values of its own for a processor: numbers differ, and of bits each is set in half of them.
static void invent(struct state *s, unsigned int id)
{
    uint64_t own = (uint64_t)(repetition * SMP_MAX + id + 1) << 16, bits = id + repetition;
    *s = at_start;
    s->cr0 ^= bits & 1 ? CR0_AM : 0;
    s->cr0 ^= bits & 2 ? CR0_WP : 0;
    s->cr4 ^= (bits & 1 ? CR4_DE : 0) | (bits & 2 ? CR4_PGE : 0) | (bits & 4 ? CR4_TSD : 0);
    s->xcr0 = at_start.xcr0 & (bits & 1 ? 3 : 7);
    s->efer ^= bits & 2 ? EFER_SCE : 0;
    s->pat = (PAT_RESET & ~0xFFull) | (bits & 2 ? 4 : 6); // entry 0: WT or WB
    s->cr8 = bits & 0xF;
    s->dr7 = DR7_FIXED | (bits & 1 ? DR7_LOCAL : 0);
    s->cr2 = own + 0x1000;
    // Nothing is ever executed there.
    s->dr0 = own + 0x7E0000000000;
    s->dr1 = own + 0x7E0000000001;
    s->dr2 = own + 0x7E0000000002;
    s->dr3 = own + 0x7E0000000003;
    s->star = own << 16;
    s->lstar = own + 1;
    s->cstar = own + 2;
    s->fmask = own >> 4 & 0xFFFF;
    s->sysenter_cs = own >> 13;
    s->sysenter_esp = own + 3;
    s->sysenter_eip = own + 4;
    s->fs = own + 5;
    s->gs = own + 6;
    s->kernel_gs = own + 7;
    s->mtrr_base = (own << 4) | 6;
    s->mtrr_mask = own << 4;
    s->tsc_aux = has_tsc_aux ? own + 8 : 0;
}

static void stay_a_while(void)
{
    uint64_t start = rdtsc(), ticks = clock_ticks_of_ns(STAY_NS);
    while (rdtsc() - start < ticks)
        cpu_pause();
}

static void set_and_look(void *argument)
{
    (void)argument;
    unsigned int id = smp_id();
    invent(&wanted[id], id);
    put(&wanted[id]);
    meet(&set, cpus, 1);
    stay_a_while();
    get(&found[id]);
    meet(&looked, cpus, 1);
    put(&at_start);
}

static void test_registers(void)
{
    bool back = true, ok = true;
    char seen[120] = "all came";
    get(&at_start);
    for (repetition = 0; repetition < REPETITIONS; repetition++) {
        set = looked = 0;
        crew_post(set_and_look, NULL);
        set_and_look(NULL);
        back = crew_wait() && back && set == cpus && looked == cpus;
        for (unsigned int i = 0; i < cpus * COUNT; i++) {
            uint64_t want = ((const uint64_t *)&wanted[i / COUNT])[i % COUNT];
            uint64_t got = ((const uint64_t *)&found[i / COUNT])[i % COUNT];
            if (want == got || !ok)
                continue;
            ok = false;
            snprintf(seen, sizeof(seen), "%s of processor %u is %llx, not %llx", names[i % COUNT],
                     (unsigned int)(i / COUNT), (unsigned long long)got, (unsigned long long)want);
        }
    }
    check(back && ok, "local.registers", "back %d; %s", back, seen);
}

// --- x87, SSE and AVX ---

static uint8_t vectors_in[SMP_MAX][VECTOR_BYTES] __attribute__((aligned(64)));
static uint8_t vectors_out[SMP_MAX][VECTOR_BYTES] __attribute__((aligned(64)));
static uint32_t components;

// Legacy region: FCW, MXCSR, eight ST of 10 bytes, sixteen XMM; header; upper halves of YMM.
static void fill_vectors(unsigned int id)
{
    uint8_t *area = vectors_in[id];
    memset(area, 0, VECTOR_BYTES);
    area[0] = 0x7F;
    area[1] = 0x03;
    area[24] = 0x80;
    area[25] = 0x1F;
    for (unsigned int i = 32; i < 416; i++)
        area[i] = (uint8_t)(id * 16 + i + repetition);
    for (unsigned int i = 32; i < 160; i += 16) { // numbers, and nothing behind them
        area[i + 7] |= 0x80;
        area[i + 8] = (uint8_t)id;
        area[i + 9] = 0x40;
        memset(area + i + 10, 0, 6);
    }
    area[4] = 0xFF; // the abridged tag word: all in use
    area[512] = (uint8_t)components;
    for (unsigned int i = AVX_OFFSET; components & 4 && i < AVX_OFFSET + 256; i++)
        area[i] = (uint8_t)(id * 16 + i + repetition + 1);
}

static void hold(void *argument)
{
    (void)argument;
    unsigned int id = smp_id();
    hold_vectors(vectors_in[id], vectors_out[id], &set, cpus, components,
                 cpu_by_tcg() ? PAUSES_TCG : PAUSES);
}

static bool vectors_alike(unsigned int id)
{
    return memcmp(vectors_in[id] + 32, vectors_out[id] + 32, 416 - 32) == 0 &&
           (!(components & 4) ||
            memcmp(vectors_in[id] + AVX_OFFSET, vectors_out[id] + AVX_OFFSET, 256) == 0);
}

static void test_vectors(void)
{
    if (!has_xsave) {
        check_skip("local.vectors", "no XSAVE");
        return;
    }
    components = (uint32_t)read_xcr0() & 7;
    uint32_t wrong = 0;
    bool back = true;
    for (repetition = 0; repetition < REPETITIONS; repetition++) {
        for (unsigned int id = 0; id < cpus; id++) {
            fill_vectors(id);
            memset(vectors_out[id], 0, VECTOR_BYTES);
        }
        set = 0;
        crew_post(hold, NULL);
        hold(NULL);
        back = crew_wait() && back;
        for (unsigned int id = 0; id < cpus; id++)
            wrong |= vectors_alike(id) ? 0 : 1u << id;
    }
    check(back && wrong == 0, "local.vectors", "back %d, not those of %x", back,
          (unsigned int)wrong);
}

void test_local(void)
{
    has_xsave = read_cr4() & CR4_OSXSAVE;
    has_tsc_aux = cpuid(0x80000001, 0).edx & 1u << 27;
    test_registers();
    test_vectors();
}
