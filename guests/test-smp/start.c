// SPDX-License-Identifier: BSD-2-Clause
//
// How processors start, and are stopped: INIT, start-up IPIs, what they leave in registers.
// ("Processor State After an INIT Reset", table "Processor States Following Power-up, Reset, or
// INIT"; "Multiple-Processor (MP) Initialization".)

#include "guests/test-smp/start.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/test-smp/groups.h"

#define VEC_IPI         0x51
#define INIT            (APIC_ICR_ASSERT | APIC_ICR_INIT)
#define STARTUP         (APIC_ICR_ASSERT | APIC_ICR_STARTUP)
#define MARK            0x5EA1F1A9u
#define CR0_ET          0x10u
#define CR0_CD_NW       (uint32_t)(CR0_CD | CR0_NW)
#define OWN             0x123450000ul // what a processor's own registers hold before an INIT
#define PAGE_ZERO_SAVED 256
#define PAT_OTHER       0x0007040600070404ul

#define MSR_SYSENTER_EIP 0x176
#define MSR_PAT          0x277
#define MSR_MTRR_BASE0   0x200

static struct probe *probe; // in the page

static volatile unsigned int alive, entered;
static uint8_t fpu_before[512] __attribute__((aligned(16)));

// --- Helpers ---

static void probe_place(uint32_t how)
{
    memcpy((void *)PROBE_PAGE, probe_start, (size_t)(probe_end - probe_start));
    probe = (struct probe *)(PROBE_PAGE + (uintptr_t)(probe_data - probe_start));
    *(volatile uint32_t *)PROBE_MARK = MARK;
    probe->how = how | (read_cr4() & CR4_OSXSAVE ? PROBE_XSAVE : 0);
}

static bool probe_done(void)
{
    return wait_word(&probe->done, 1);
}

static void count_up(void *argument)
{
    (void)argument;
    for (;;) {
        alive = alive + 1;
        cpu_pause();
    }
}

// Whether a count goes on. Stopped: it does not once what was under way is over.
static bool goes_on(const volatile unsigned int *count)
{
    unsigned int before = *count;
    uint64_t start = rdtsc(), limit = clock_ticks_of_ns(NS_PER_SECOND / 4);
    while (*count == before && rdtsc() - start < limit)
        cpu_pause();
    return *count != before;
}

static bool stands(const volatile unsigned int *count)
{
    settle();
    unsigned int before = *count;
    settle();
    return *count == before;
}

static void enter(unsigned int id)
{
    entered |= 1u << id;
}

static bool is_back(unsigned int id)
{
    return smp_start(id, smp_serve);
}

// --- Registers behind an INIT ---

static void write_dr0(uint64_t value)
{
    __asm__ volatile("mov %0, %%dr0" : : "r"(value));
}

static void write_dr3(uint64_t value)
{
    __asm__ volatile("mov %0, %%dr3" : : "r"(value));
}

// Leaves a value of its own wherever an INIT should leave or take one, and counts.
static void be_dirty(void *argument)
{
    write_dr0(OWN);
    write_dr3(OWN + 3);
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x401ul));
    __asm__ volatile("mov %0, %%cr2" : : "r"(OWN + 4));
    wrmsr(MSR_FS_BASE, OWN + 5);
    wrmsr(MSR_GS_BASE, OWN + 6);
    wrmsr(MSR_KERNEL_GS_BASE, OWN + 7);
    wrmsr(MSR_SYSENTER_EIP, OWN + 8);
    wrmsr(MSR_STAR, OWN + 9);
    wrmsr(MSR_LSTAR, OWN + 10);
    wrmsr(MSR_PAT, PAT_OTHER);
    wrmsr(MSR_MTRR_BASE0, OWN | 6);
    if (cpuid(7, 0).ebx & 2)
        wrmsr(MSR_TSC_ADJUST, OWN);
    apic_write(APIC_TPR, 0x70);
    apic_write(APIC_LVT_TIMER, 0x45);
    if (apic_mode() == APIC_MODE_XAPIC)
        apic_write(APIC_LDR, 0x5A000000);
    for (unsigned int i = 32; i < 160; i += 16) // ST0 to ST7: integer bit and exponent
        fpu_before[i + 7] = 0x80, fpu_before[i + 8] = (uint8_t)i, fpu_before[i + 9] = 0x3F;
    memset(fpu_before + 160, 0x5A, 128);
    fpu_before[0] = 0x7F, fpu_before[1] = 0x02; // FCW: double precision
    fpu_before[4] = 0xFF;
    fpu_before[24] = 0xC0, fpu_before[25] = 0x1F; // MXCSR: DAZ
    __asm__ volatile("fxrstor64 %0" : : "m"(fpu_before));
    count_up(argument);
}

static void check_zeros(const char *name, const uint32_t *words, unsigned int count)
{
    uint32_t any = 0;
    for (unsigned int i = 0; i < count; i++)
        any |= words[i];
    check(any == 0, named(name), "%x %x %x %x: not all 0", (unsigned int)words[0],
          (unsigned int)words[count > 1], (unsigned int)words[count > 2 ? 2 : 0],
          (unsigned int)words[count > 3 ? 3 : 0]);
}

// CD and NW of CR0 are as they were: clear.
static void check_registers(void)
{
    check(probe->cs == PROBE_PAGE >> 4, named("cs"), "%x", (unsigned int)probe->cs);
    check_zeros("segments", &probe->ds, 5);
    bool marks = true;
    for (unsigned int i = 0; i < 5; i++)
        marks = probe->mark[i] == MARK && marks;
    check(marks, named("bases"), "not all data segments begin at 0");
    check(probe->edx == cpuid(1, 0).eax, named("edx"), "%x", (unsigned int)probe->edx);
    uint32_t general[] = {probe->eax, probe->ebx, probe->ecx, probe->esi,
                          probe->edi, probe->ebp, probe->esp};
    check_zeros("general", general, sizeof(general) / sizeof(general[0]));
    check((probe->flags & ~0u) == 2, named("flags"), "%x", (unsigned int)probe->flags);
    if (cpu_on_tcg())
        check_skip(named("cr0"), "QEMU sets CD and NW");
    else
        check(probe->cr0 == CR0_ET, named("cr0"), "%x", (unsigned int)probe->cr0);
    check_zeros("cr2-3", &probe->cr2, 2);
    if (cpu_by_tcg() && probe->cr4 == CR4_MCE)
        check_skip(named("cr4"), "QEMU 10 does not exit for a read of CR4: this is the host's");
    else
        check_zeros("cr4", &probe->cr4, 1);
    check_zeros("dr0-3", probe->dr, 4);
    check(probe->dr6 == 0xFFFF0FF0 && probe->dr7 == 0x400, named("dr6-7"), "%x %x",
          (unsigned int)probe->dr6, (unsigned int)probe->dr7);
    check(probe->gdtr[0] == 0xFFFF && probe->gdtr[1] == 0 && probe->gdtr[2] == 0 &&
              probe->idtr[0] == 0xFFFF && probe->idtr[1] == 0 && probe->idtr[2] == 0,
          named("gdtr-idtr"), "limits %x %x", probe->gdtr[0], probe->idtr[0]);
    check_zeros("efer", probe->efer, 2);
    check_zeros("fs-gs-base", probe->fs_base, 4);
    uint32_t base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE |
                    (apic_mode() == APIC_MODE_X2APIC ? APIC_BASE_X2 : 0);
    check(probe->apic_base[0] == base && probe->apic_base[1] == 0, named("apic-base"), "%x",
          (unsigned int)probe->apic_base[0]);
}

// What INIT leaves alone, as an entry in 64-bit mode finds it.
static struct {
    uint64_t kernel_gs, sysenter_eip, star, lstar, pat, mtrr_base, tsc_adjust;
    uint32_t tpr, lvt_timer, lvt_lint0, ldr, dfr, id;
} kept;

static void read_kept(unsigned int id)
{
    (void)id;
    kept.kernel_gs = rdmsr(MSR_KERNEL_GS_BASE);
    kept.sysenter_eip = rdmsr(MSR_SYSENTER_EIP);
    kept.star = rdmsr(MSR_STAR);
    kept.lstar = rdmsr(MSR_LSTAR);
    kept.pat = rdmsr(MSR_PAT);
    kept.mtrr_base = rdmsr(MSR_MTRR_BASE0);
    if (cpuid(7, 0).ebx & 2)
        kept.tsc_adjust = rdmsr(MSR_TSC_ADJUST);
    kept.tpr = apic_read(APIC_TPR);
    kept.lvt_timer = apic_read(APIC_LVT_TIMER);
    kept.lvt_lint0 = apic_read(APIC_LVT_LINT0);
    kept.ldr = apic_read(APIC_LDR);
    kept.dfr = apic_mode() == APIC_MODE_XAPIC ? apic_read(APIC_DFR) : UINT32_MAX;
    kept.id = apic_id();
    wrmsr(MSR_PAT, 0x0007040600070406);
    wrmsr(MSR_MTRR_BASE0, 0);
    if (cpuid(7, 0).ebx & 2)
        wrmsr(MSR_TSC_ADJUST, 0);
    entered = 1;
}

static void check_kept(void)
{
    check(kept.kernel_gs == OWN + 7 && kept.sysenter_eip == OWN + 8 && kept.star == OWN + 9 &&
              kept.lstar == OWN + 10,
          named("msrs-kept"), "%lx %lx %lx %lx", (unsigned long)kept.kernel_gs,
          (unsigned long)kept.sysenter_eip, (unsigned long)kept.star, (unsigned long)kept.lstar);
    if (cpu_on_tcg())
        check_skip(named("mtrr-kept"), "QEMU clears them");
    else
        check(kept.mtrr_base == (OWN | 6), named("mtrr-kept"), "%lx",
              (unsigned long)kept.mtrr_base);
    check(kept.pat == PAT_OTHER, named("pat-kept"), "%lx", (unsigned long)kept.pat);
    if (cpuid(7, 0).ebx & 2)
        check(kept.tsc_adjust == OWN, named("tsc-adjust-kept"), "%lx",
              (unsigned long)kept.tsc_adjust);
    uint32_t ldr = apic_mode() == APIC_MODE_X2APIC ? 2 : 0;
    check(kept.tpr == 0 && kept.lvt_timer == APIC_LVT_MASKED && kept.lvt_lint0 == APIC_LVT_MASKED &&
              kept.ldr == ldr && kept.dfr == UINT32_MAX,
          named("apic-reset"), "TPR %x, timer %x, LINT0 %x, LDR %x, DFR %x", (unsigned int)kept.tpr,
          (unsigned int)kept.lvt_timer, (unsigned int)kept.lvt_lint0, (unsigned int)kept.ldr,
          (unsigned int)kept.dfr);
    check(kept.id == 1, named("apic-id-kept"), "%x", (unsigned int)kept.id);
}

static void test_state(void)
{
    smp_post(1, be_dirty, NULL);
    bool ran = goes_on(&alive);
    apic_send(INIT, 1);
    bool stopped = stands(&alive);
    check(ran && stopped, named("init-stops"), "ran %d, stopped %d", ran, stopped);
    probe_place(PROBE_HALT);
    uint64_t xcr0 = probe->how & PROBE_XSAVE ? 1 : 0;
    if (xcr0 != 0) {
        uint32_t lo, hi;
        __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
        xcr0 = lo; // which the others have, too
    }
    apic_send(STARTUP | PROBE_PAGE >> 12, 1);
    check(probe_done(), named("starts-again"), "it did not come");
    check_registers();
    check(memcmp(probe->fpu + 32, fpu_before + 32, 256) == 0 && probe->fpu[0] == 0x7F &&
              probe->fpu[1] == 0x02 && probe->fpu[24] == 0xC0 && probe->xcr0 == xcr0,
          named("fpu-kept"), "FCW %x%02x, MXCSR %x, XCR0 %x", probe->fpu[1], probe->fpu[0],
          probe->fpu[24], (unsigned int)probe->xcr0);
    entered = 0;
    check(smp_start(1, read_kept) && wait_word(&entered, 1), named("entry"), "it did not come");
    check_kept();
    is_back(1);
}

// --- Ways to send them ---

// To one that runs, a start-up IPI and an INIT level de-assert are nothing.
static void test_ignored(void)
{
    smp_post(1, count_up, NULL);
    bool ran = goes_on(&alive);
    probe_place(PROBE_HALT);
    apic_send(STARTUP | PROBE_PAGE >> 12, 1);
    settle();
    check(ran && goes_on(&alive) && !probe->done, named("sipi-ignored"), "it ran %d; started %u",
          ran, (unsigned int)probe->done);
    apic_send(APIC_ICR_INIT | APIC_ICR_LEVEL, 1);
    settle();
    check(goes_on(&alive), named("de-assert-ignored"), "it stands");
    apic_send(APIC_ICR_INIT | APIC_ICR_LEVEL | APIC_ICR_ALL, 0);
    settle();
    check(goes_on(&alive), named("de-assert-all-ignored"), "it stands");
}

// One that waits for a start-up IPI waits on, whatever else comes; and only the first of several
// starts it.
static void test_waits(void)
{
    apic_send(INIT, 1);
    settle();
    probe_place(PROBE_HALT);
    apic_send(APIC_ICR_ASSERT | VEC_IPI, 1);
    apic_send(APIC_ICR_ASSERT | APIC_ICR_NMI, 1);
    apic_send(INIT, 1);
    apic_send(INIT | APIC_ICR_LEVEL, 1);
    bool waits = stands(&alive) && !probe->done;
    smp_arm(1, enter);
    entered = 0;
    apic_send(STARTUP | smp_place(SMP_PAGE), 1);
    bool came = smp_arrived(1);
    apic_send(STARTUP | PROBE_PAGE >> 12, 1);
    settle();
    check(waits && came && entered == 2 && !probe->done, named("waits"),
          "waits %d, came %d, entered %x, second %u", waits, came, entered,
          (unsigned int)probe->done);
}

static bool starts_at(uint32_t page)
{
    smp_arm(1, enter);
    entered = 0;
    apic_send(INIT, 1);
    apic_send(STARTUP | smp_place(page), 1);
    return smp_arrived(1) && wait_word(&entered, 2);
}

// Saves what lies at address 0, or puts it back. To the compiler there is nothing.
static void page_zero(uint8_t *save, const uint8_t *put_back)
{
    void *zero = NULL;
    size_t bytes = PAGE_ZERO_SAVED;
    if (save != NULL)
        __asm__ volatile("rep movsb" : "+S"(zero), "+D"(save), "+c"(bytes) : : "memory");
    else
        __asm__ volatile("rep movsb" : "+D"(zero), "+S"(put_back), "+c"(bytes) : : "memory");
}

static void test_vectors(void)
{
    static uint8_t saved[PAGE_ZERO_SAVED];
    page_zero(saved, NULL);
    check(starts_at(0), named("vector-0"), "it did not come");
    page_zero(NULL, saved);
    check(starts_at(0x7F000), named("vector-7f"), "it did not come");
    check(starts_at(SMP_PAGE), named("without-delay"), "it did not come");
    bool all = true;
    for (unsigned int round = 0; round < rounds; round++)
        all = starts_at(SMP_PAGE) && all;
    check(all, named("again"), "it did not come each time");
}

// All through the same page at once.
static void test_race(void)
{
    uint8_t vector = smp_place(SMP_PAGE);
    bool all = true;
    for (unsigned int round = 0; all && round < rounds; round++) {
        apic_send(INIT | APIC_ICR_ALL_BUT_SELF, 0);
        for (unsigned int id = 1; id < cpus; id++)
            smp_arm(id, smp_serve);
        apic_send(STARTUP | APIC_ICR_ALL_BUT_SELF | vector, 0);
        for (unsigned int id = 1; id < cpus; id++)
            all = smp_arrived(id) && all;
    }
    check(all, named("all-but-self"), "not all came");
}

void test_start(void)
{
    trap_set_handler(VEC_IPI, on_ipi);
    test_state();
    test_ignored();
    test_waits();
    test_vectors();
    test_race();
}

// --- Staying in other modes ---

static void stay_in(const char *name, uint32_t how)
{
    probe_place(how);
    apic_send(INIT, 1);
    apic_send(STARTUP | PROBE_PAGE >> 12, 1);
    bool came = probe_done(), counts = goes_on(&probe->count);
    apic_send(INIT, 1);
    bool stopped = stands(&probe->count);
    check(came && counts && stopped, name, "came %d, counts %d, stopped %d", came, counts, stopped);
}

void test_modes(void)
{
    stay_in("modes.real", PROBE_REAL);
    stay_in("modes.protected-16", PROBE_16);
    stay_in("modes.protected-32", PROBE_32);
    check(is_back(1), "modes.back", "it did not come");
}
