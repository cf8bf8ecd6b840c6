// SPDX-License-Identifier: BSD-2-Clause
//
// Exceptions arrive with the right vector, error code, RIP and CR2, and interrupts at the right
// boundary: STI and MOV SS shadows, also across an instruction that exits.

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/timer.h"
#include "guests/test-cpu/groups.h"

#define VEC_TEST      0x60
#define NON_CANONICAL 0x8000000000000000ul
#define EFER_NXE      (1ul << 11)
#define WAKE_NS       (50 * NS_PER_MS)
#define WINDOW_PAGE_2 "0x8000002000" // what window_map(2, ..) returns, for the assembler

extern uint64_t boot_gdt[], boot_pml4[512];

static void expect(const char *name, int vector, uint64_t error)
{
    check(trap_caught.vector == vector && trap_caught.error == error, name,
          "vector %d, error %lx; expected %d, %lx", trap_caught.vector, trap_caught.error, vector,
          error);
}

static void test_plain(void)
{
    uint32_t low = 1, high = 0;
    trap_expect();
    __asm__ volatile(TRY("divl %2") : "+a"(low), "+d"(high) : "r"(0) : "memory");
    expect("trap.de", VEC_DE, 0);
    trap_expect();
    __asm__ volatile(TRY("ud2")::: "memory");
    expect("trap.ud", VEC_UD, 0);
    trap_expect();
    __asm__ volatile(TRY("movb $0, (%0)") : : "a"(NON_CANONICAL) : "memory");
    expect("trap.gp", VEC_GP, 0);
    trap_expect();
    __asm__ volatile("push %%rbp\n mov %0, %%rbp\n" TRY("movb $0, 0(%%rbp)") "pop %%rbp"
                     :
                     : "r"(NON_CANONICAL)
                     : "memory");
    if (cpu_by_tcg())
        check_skip("trap.ss", "QEMU raises #GP");
    else
        expect("trap.ss", VEC_SS, 0);
    trap_expect();
    __asm__ volatile(TRY("mov %0, %%ds") : : "r"(0x7F8) : "memory");
    expect("trap.gp-selector", VEC_GP, 0x7F8);
    uint64_t descriptor = boot_gdt[SEL_DATA16 / 8];
    boot_gdt[SEL_DATA16 / 8] = descriptor & ~(1ul << 47);
    trap_expect();
    __asm__ volatile(TRY("mov %0, %%ds") : : "r"(SEL_DATA16) : "memory");
    expect("trap.np", VEC_NP, SEL_DATA16);
    boot_gdt[SEL_DATA16 / 8] = descriptor;
    __asm__ volatile("mov %0, %%ds" : : "r"(SEL_DATA) : "memory");
}

static void test_fpu_errors(void)
{
    uint16_t control = 0x037F & ~4;
    trap_expect();
    __asm__ volatile("fninit\n fldcw %0\n fld1\n fldz\n fdivrp\n" TRY("fwait") "fninit"
                     :
                     : "m"(control)
                     : "memory");
    expect("trap.mf", VEC_MF, 0);
    uint32_t mxcsr = 0x1F80 & ~0x200u, quiet = 0x1F80;
    if (cpu_by_tcg()) {
        check_skip("trap.xm", "QEMU does not raise it");
        return;
    }
    trap_expect();
    __asm__ volatile(
        "ldmxcsr %0\n xorps %%xmm0, %%xmm0\n mov $1, %%eax\n cvtsi2ss %%eax, %%xmm1\n" TRY(
            "divss %%xmm0, %%xmm1") "ldmxcsr %1"
        :
        : "m"(mxcsr), "m"(quiet)
        : "eax", "xmm0", "xmm1", "memory");
    expect("trap.xm", VEC_XM, 0);
}

static void test_page_faults(void)
{
    static uint8_t page[4096] __attribute__((aligned(4096))) = {0xC3};
    uintptr_t absent = window_map(1, 0);
    uint64_t value;
    trap_expect();
    __asm__ volatile(TRY("movb (%1), %b0") : "=r"(value) : "r"(absent + 5) : "memory");
    expect("trap.pf-read", VEC_PF, 0);
    check(trap_caught.cr2 == absent + 5, "trap.pf-cr2", "%lx", trap_caught.cr2);
    trap_expect();
    __asm__ volatile(TRY("movb $0, (%0)") : : "r"(absent) : "memory");
    expect("trap.pf-write", VEC_PF, 2);

    uint64_t efer = rdmsr(MSR_EFER);
    wrmsr(MSR_EFER, efer | EFER_NXE);
    uintptr_t no_exec = window_map(2, window_entry(page, PTE_NX));
    trap_expect();
    // The fault's RIP is the target of the jump, so the entry of the table is made by hand. The
    // page holds a RET, for the case that it is executed.
    __asm__ volatile("lea 2f(%%rip), %%rax\n push %%rax\n"
                     ".pushsection .extable, \"a\"\n .quad " WINDOW_PAGE_2 ", 1f\n .popsection\n"
                     "jmp *%0\n1: add $8, %%rsp\n2:"
                     :
                     : "r"(no_exec)
                     : "rax", "memory");
    expect("trap.pf-exec", VEC_PF, 0x11);
    window_map(2, 1ul << 51 | window_entry(page, PTE_W));
    if (!cpu_by_tcg() && (cpuid(0x80000008, 0).eax & 0xFF) <= 51) {
        trap_expect();
        __asm__ volatile(TRY("movb (%1), %b0") : "=r"(value) : "r"(no_exec) : "memory");
        expect("trap.pf-reserved", VEC_PF, 9);
    }
    window_map(2, 0);
    wrmsr(MSR_EFER, efer);
}

// CPUID in the last two bytes of the lower half of the address space. RIP behind it is no address,
// and what a hypervisor enters with then is the guest's #GP, not its end.
static void test_canonical_end(void)
{
    static uint64_t tables[3][512] __attribute__((aligned(4096)));
    static uint8_t page[4096] __attribute__((aligned(4096)));
    uint64_t leaf = 0, subleaf = 0;
    page[4094] = 0x0F; // CPUID
    page[4095] = 0xA2;
    boot_pml4[255] = window_entry(tables[0], PTE_W);
    tables[0][511] = window_entry(tables[1], PTE_W);
    tables[1][511] = window_entry(tables[2], PTE_W);
    tables[2][511] = window_entry(page, 0);
    trap_expect();
    __asm__ volatile(".pushsection .extable, \"a\"\n .quad 0x800000000000, 1f\n"
                     " .quad 0xffff800000000000, 1f\n .popsection\n"
                     "jmp *%2\n1:"
                     : "+a"(leaf), "+c"(subleaf)
                     : "r"(0x7FFFFFFFFFFEul)
                     : "rbx", "rdx", "memory");
    expect("trap.gp-canonical-end", VEC_GP, 0);
    boot_pml4[255] = 0;
    write_cr3(read_cr3());
}

static struct trap_frame last;
static unsigned int traps;

static void on_trap(struct trap_frame *frame)
{
    last = *frame;
    traps++;
}

static void on_interrupt(struct trap_frame *frame)
{
    on_trap(frame);
    apic_eoi();
}

static void test_software(void)
{
    uint64_t next;
    trap_set_handler(VEC_BP, on_trap);
    trap_set_handler(VEC_TEST, on_trap);
    traps = 0;
    __asm__ volatile("lea 1f(%%rip), %0\n int3\n1:" : "=r"(next)::"memory");
    check(traps == 1 && last.rip == next && last.vector == VEC_BP, "trap.int3",
          "%u traps, RIP %lx, expected %lx", traps, last.rip, next);
    __asm__ volatile("lea 1f(%%rip), %0\n int $0x60\n1:" : "=r"(next)::"memory");
    check(traps == 2 && last.rip == next && last.vector == VEC_TEST, "trap.int-n",
          "%u traps, RIP %lx, expected %lx", traps, last.rip, next);
    trap_set_handler(VEC_BP, NULL);
}

// One instruction each in the shadow; `behind` is where the pending interrupt is to be taken.
static uint64_t behind;
static unsigned int taken;

static void sti_cli(void)
{
    behind = 0;
    __asm__ volatile("sti\n cli" ::: "memory");
}

static void sti_nop(void)
{
    __asm__ volatile("lea 1f(%%rip), %0\n sti\n nop\n1: cli" : "=r"(behind)::"memory");
}

static void sti_cpuid(void)
{
    __asm__ volatile("lea 1f(%%rip), %%rsi\n xor %%eax, %%eax\n sti\n cpuid\n1: cli\n mov %%rsi, %0"
                     : "=r"(behind)::"rax", "rbx", "rcx", "rdx", "rsi", "memory");
}

static void sti_out(void)
{
    __asm__ volatile("lea 1f(%%rip), %0\n sti\n out %%al, %%dx\n1: cli"
                     : "=&r"(behind)
                     : "a"(0), "d"(PORT_NOBODY)
                     : "memory");
}

static void mov_ss(void)
{
    __asm__ volatile("lea 1f(%%rip), %0\n mov %%ss, %%ax\n sti\n mov %%ax, %%ss\n nop\n1: cli"
                     : "=&r"(behind)::"rax", "memory");
}

static void sti_hlt(void)
{
    __asm__ volatile("lea 1f(%%rip), %0\n sti\n hlt\n1: cli" : "=r"(behind)::"memory");
}

static const struct shadow {
    const char *name;
    void (*code)(void);
} shadows[] = {
    {"shadow.sti-cli", sti_cli}, {"shadow.sti-nop", sti_nop}, {"shadow.sti-cpuid", sti_cpuid},
    {"shadow.sti-out", sti_out}, {"shadow.mov-ss", mov_ss},   {"hlt.pending", sti_hlt},
};
static const struct shadow *shadow;

static void step_shadow(void)
{
    traps = 0;
    timer_arm(rdtsc() + clock_ticks_of_ns(WAKE_NS)); // if the interrupt is gone before HLT
    apic_self_ipi(VEC_TEST);
    shadow->code();
    taken = traps;
    timer_disarm();
    cpu_irq_window();
}

// An interrupt is pending with IF=0 before each of them. HLT ends by it.
static void test_shadows(const char *mode)
{
    trap_set_handler(VEC_TEST, on_interrupt);
    for (size_t i = 0; i < sizeof(shadows) / sizeof(shadows[0]); i++) {
        char name[32];
        shadow = &shadows[i];
        snprintf(name, sizeof(name), "%s%s", shadow->name, mode);
        if (shadow->code == mov_ss && cpu_by_tcg()) {
            check_skip(name, "QEMU forgets a shadow that follows another");
            continue;
        }
        trap_undisturbed(step_shadow);
        unsigned int expected = shadow->code == sti_cli ? 0 : 1;
        check(taken == expected && traps == 1 && (taken == 0 || last.rip == behind), name,
              "%u interrupts, then %u, RIP %lx, expected %lx", taken, traps, last.rip, behind);
    }
}

static void test_hlt_timer(void)
{
    uint64_t start = rdtsc();
    sleep_ns(5 * NS_PER_MS);
    uint64_t ns = clock_ns_of_ticks(rdtsc() - start);
    check(ns >= 5 * NS_PER_MS && ns < 500 * NS_PER_MS, "hlt.timer", "slept %lu ns",
          (unsigned long)ns);
}

void test_traps(void)
{
    timer_init();
    test_plain();
    test_fpu_errors();
    test_page_faults();
    test_canonical_end();
    test_software();
    test_shadows("");
    test_hlt_timer();
    if (cpu_on_bulkhead()) { // another mode, another way to be delivered
        apic_enable(APIC_MODE_XAPIC);
        test_shadows(".xapic");
        timer_init(); // with the mode that it likes best
    }
    trap_set_handler(VEC_TEST, NULL);
}
