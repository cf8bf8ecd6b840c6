// SPDX-License-Identifier: BSD-2-Clause
//
// Debug registers, breakpoints, and single-step across instructions that exit: #DB must come
// after exactly the instruction that was stepped, whoever emulated it.

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/hypercall.h"
#include "guests/lib/ioapic.h"
#include "guests/test-cpu/groups.h"

#define DR6_INIT   0xFFFF0FF0ul
#define DR6_BS     (1ul << 14)
#define DR6_BD     (1ul << 13)
#define DR7_INIT   0x400ul
#define DR7_G0     (1ul << 1)
#define DR7_G1     (1ul << 3)
#define DR7_GD     (1ul << 13)
#define DR7_WRITE1 (1ul << 20) // slot 1: on data writes
#define DR7_LEN4_1 (3ul << 22) // slot 1: four bytes
#define STEPS_MAX  64
#define MSR_X2APIC_ICR 0x830
#define ICR_NMI_SELF   0x44400 // shorthand "self", NMI

#define DR_ACCESSORS(n)                                                 \
    static inline uint64_t read_dr##n(void)                             \
    {                                                                   \
        uint64_t value;                                                 \
        __asm__ volatile("mov %%dr" #n ", %0" : "=r"(value)::"memory"); \
        return value;                                                   \
    }                                                                   \
    static inline void write_dr##n(uint64_t value)                      \
    {                                                                   \
        __asm__ volatile("mov %0, %%dr" #n : : "r"(value) : "memory");  \
    }

DR_ACCESSORS(0)
DR_ACCESSORS(1)
DR_ACCESSORS(2)
DR_ACCESSORS(3)
DR_ACCESSORS(6)
DR_ACCESSORS(7)

// Where #DB came, and with which DR6. Written by the handler.
static struct {
    uint64_t rip[STEPS_MAX];
    uint64_t dr6[STEPS_MAX];
    unsigned int count;
} seen;

static void on_debug(struct trap_frame *frame)
{
    if (seen.count < STEPS_MAX) {
        seen.rip[seen.count] = frame->rip;
        seen.dr6[seen.count] = read_dr6();
        seen.count++;
    }
    write_dr6(DR6_INIT);
    // An execution breakpoint is a fault: RF lets the instruction run when it is returned to.
    frame->rflags |= 1ul << 16;
}

static bool registers_hold(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return read_dr0() == a && read_dr1() == b && read_dr2() == c && read_dr3() == d;
}

static void test_registers_kept(void)
{
    check(read_dr6() == DR6_INIT && read_dr7() == DR7_INIT, "dr.start", "DR6 %lx, DR7 %lx",
          read_dr6(), read_dr7());
    write_dr0(0x1111000011110000);
    write_dr1(0x2222);
    write_dr2(0x3333000033330000);
    write_dr3(0x4444);
    cpuid(1, 0);
    outb(PORT_NOBODY, 0);
    check(registers_hold(0x1111000011110000, 0x2222, 0x3333000033330000, 0x4444), "dr.kept-unarmed",
          "%lx %lx %lx %lx", read_dr0(), read_dr1(), read_dr2(), read_dr3());
    write_dr7(DR7_INIT | DR7_G1 | DR7_WRITE1);
    write_dr6(DR6_INIT | 5);
    cpuid(1, 0);
    outb(PORT_NOBODY, 0);
    check(registers_hold(0x1111000011110000, 0x2222, 0x3333000033330000, 0x4444) &&
              read_dr7() == (DR7_INIT | DR7_G1 | DR7_WRITE1) && read_dr6() == (DR6_INIT | 5),
          "dr.kept-armed", "DR6 %lx, DR7 %lx", read_dr6(), read_dr7());
    write_dr7(DR7_INIT);
    write_dr6(DR6_INIT);
}

static void test_breakpoints(void)
{
    static volatile uint32_t watched;
    uint64_t at, after;
    seen.count = 0;
    __asm__ volatile("lea 1f(%%rip), %0" : "=r"(at));
    write_dr0(at);
    __asm__ volatile("lea 2f(%%rip), %0" : "=r"(after));
    write_dr1((uintptr_t)&watched);
    write_dr7(DR7_INIT | DR7_G0 | DR7_G1 | DR7_WRITE1 | DR7_LEN4_1);
    outb(PORT_NOBODY, 0);
    __asm__ volatile("1: cpuid\n movl $5, %0\n2: nop"
                     : "=m"(watched)::"eax", "ebx", "ecx", "edx", "memory");
    write_dr7(DR7_INIT);
    check(seen.count == 2, "dr.breakpoints", "%u exceptions", seen.count);
    check(seen.rip[0] == at && (seen.dr6[0] & 0xF) == 1, "dr.break-on-execution",
          "RIP %lx, expected %lx, DR6 %lx", seen.rip[0], at, seen.dr6[0]);
    check(seen.rip[1] == after && (seen.dr6[1] & 2), "dr.break-on-write",
          "RIP %lx, expected %lx, DR6 %lx", seen.rip[1], after, seen.dr6[1]);
}

static void test_general_detect(void)
{
    seen.count = 0;
    write_dr7(DR7_INIT | DR7_GD);
    uint64_t value = read_dr0();
    (void)value;
    check(seen.count == 1 && (seen.dr6[0] & DR6_BD), "dr.general-detect", "%u exceptions, DR6 %lx",
          seen.count, seen.dr6[0]);
    check(!(read_dr7() & DR7_GD), "dr.general-detect-cleared", "DR7 %lx", read_dr7());
    write_dr7(DR7_INIT);
    trap_expect();
    __asm__ volatile(TRY("mov %0, %%dr7") : : "r"(1ul << 32 | DR7_INIT) : "memory");
    expect_vector("dr.dr7-high-bits", VEC_GP);
    trap_expect();
    __asm__ volatile(TRY("mov %0, %%dr6") : : "r"(1ul << 32 | DR6_INIT) : "memory");
    expect_vector("dr.dr6-high-bits", VEC_GP);
}

// ---- single-step ----

// Runs one instruction with TF set and returns the RIP behind it. The instruction's registers: EAX,
// ECX, EDX as given, RBX an address. #DB is due behind the instruction and behind the POPF that
// ends it all, at no other place.
#define STEP(name, instruction, eax, ebx, ecx, edx)                                         \
    static uint64_t step_##name(void)                                                       \
    {                                                                                       \
        uint64_t behind, a = (eax), b = (ebx), c = (ecx), d = (edx);                        \
        __asm__ volatile("lea 8f(%%rip), %0\n"                                              \
                         "pushfq\n pushfq\n orq $0x100, (%%rsp)\n popfq\n" instruction "\n" \
                         "8: popfq\n"                                                       \
                         : "=&r"(behind), "+a"(a), "+b"(b), "+c"(c), "+d"(d)::"memory");    \
        return behind;                                                                      \
    }

STEP(nop, "nop", 0, 0, 0, 0)
STEP(cpuid, "cpuid", 1, 0, 0, 0)
STEP(out, "outb %%al, %%dx", 0, 0, 0, PORT_NOBODY)
STEP(in, "inb %%dx, %%al", 0, 0, 0, PORT_NOBODY)
STEP(rdmsr, "rdmsr", 0, 0, MSR_APIC_BASE, 0)
STEP(wrmsr, "wrmsr", 0, 0, MSR_KERNEL_GS_BASE, 0)
STEP(rdtsc, "rdtsc", 0, 0, 0, 0)
STEP(mmio_read, "mov (%%rbx), %%eax", 0, IOAPIC_SELECT, 0, 0)
STEP(mmio_write, "mov %%eax, (%%rbx)", 0, IOAPIC_SELECT, 0, 0)
STEP(cr0, "mov %%rax, %%cr0", read_cr0() ^ CR0_AM, 0, 0, 0)
STEP(cr0_cd, "mov %%rax, %%cr0", read_cr0() ^ CR0_CD, 0, 0, 0)
STEP(cr3, "mov %%rax, %%cr3", read_cr3(), 0, 0, 0)
STEP(cr4, "mov %%rax, %%cr4", read_cr4() ^ CR4_DE, 0, 0, 0)
STEP(cr4_mce, "mov %%rax, %%cr4", read_cr4() ^ CR4_MCE, 0, 0, 0)
STEP(cr8, "mov %%rax, %%cr8", 0, 0, 0, 0)
STEP(xsetbv, "xsetbv", read_xcr0(), 0, 0, 0)
STEP(vmcall, HYPERCALL, 0, 0, 0, 0)
STEP(hlt, "hlt", 0, 0, 0, 0) // the trap ends it
STEP(sti, "sti", 0, 0, 0, 0)
STEP(int1, ".byte 0xF1", 0, 0, 0, 0)
// Behind MOV SS there is no trap, but behind what follows it.
STEP(mov_ss, "mov %%eax, %%ss\n nop", SEL_DATA, 0, 0, 0)
STEP(mov_ss_cpuid, "mov %%eax, %%ss\n cpuid", SEL_DATA, 0, 0, 0)
STEP(mov_ss_out, "mov %%eax, %%ss\n outb %%al, %%dx", SEL_DATA, 0, 0, PORT_NOBODY)
STEP(mov_ss_int1, "mov %%eax, %%ss\n .byte 0xF1", SEL_DATA, 0, 0, 0)
STEP(nmi, "wrmsr", ICR_NMI_SELF, 0, MSR_X2APIC_ICR, 0)

enum { ANYWHERE, ON_BULKHEAD, NOT_ON_TCG };

struct step {
    const char *name;
    uint64_t (*run)(void);
    int where;
};

static const struct step steps[] = {
    {"step.nop", step_nop, ANYWHERE},
    {"step.cpuid", step_cpuid, ANYWHERE},
    {"step.out", step_out, ANYWHERE},
    {"step.in", step_in, ANYWHERE},
    {"step.rdmsr", step_rdmsr, ANYWHERE},
    {"step.wrmsr", step_wrmsr, ANYWHERE},
    {"step.rdtsc", step_rdtsc, ANYWHERE},
    {"step.mmio-read", step_mmio_read, ANYWHERE},
    {"step.mmio-write", step_mmio_write, ANYWHERE},
    {"step.cr0", step_cr0, ANYWHERE},
    {"step.cr0-cd", step_cr0_cd, ANYWHERE},
    {"step.cr3", step_cr3, ANYWHERE},
    {"step.cr4", step_cr4, ANYWHERE},
    {"step.cr4-mce", step_cr4_mce, ANYWHERE},
    {"step.cr8", step_cr8, ANYWHERE},
    {"step.xsetbv", step_xsetbv, ANYWHERE},
    {"step.vmcall", step_vmcall, ON_BULKHEAD},
    {"step.hlt", step_hlt, ANYWHERE},
    {"step.sti", step_sti, NOT_ON_TCG},
    {"step.int1", step_int1, NOT_ON_TCG},
    {"step.mov-ss", step_mov_ss, NOT_ON_TCG},
    {"step.mov-ss-cpuid", step_mov_ss_cpuid, NOT_ON_TCG},
    {"step.mov-ss-out", step_mov_ss_out, NOT_ON_TCG},
    {"step.mov-ss-int1", step_mov_ss_int1, NOT_ON_TCG},
};

// Whether it may run here; says so if not.
static bool step_possible(const struct step *step)
{
    if (step->where == ON_BULKHEAD && !cpu_on_bulkhead())
        check_skip(step->name, "not on Bulkhead");
    else if (step->where == NOT_ON_TCG && cpu_by_tcg())
        check_skip(step->name, "QEMU does it otherwise");
    else
        return true;
    return false;
}

static void test_steps(void)
{
    for (unsigned int i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (!step_possible(&steps[i]))
            continue;
        uint64_t cr0 = read_cr0(), cr4 = read_cr4();
        seen.count = 0;
        uint64_t behind = steps[i].run();
        write_cr0(cr0);
        write_cr4(cr4);
        // The second #DB is that of the POPF, one byte long, which was begun with TF set.
        check(seen.count == 2 && seen.rip[0] == behind && seen.rip[1] == behind + 1 &&
                  ((seen.dr6[0] & DR6_BS) || steps[i].run == step_int1 ||
                   steps[i].run == step_mov_ss_int1),
              steps[i].name, "%u exceptions, at %lx %lx, expected %lx, DR6 %lx", seen.count,
              seen.rip[0], seen.rip[1], behind, seen.dr6[0]);
    }
}

static uint64_t nmi_rip;

static void on_nmi(struct trap_frame *frame)
{
    nmi_rip = frame->rip;
}

// An instruction that is stepped and makes an NMI pending: the trap comes first, so the NMI
// interrupts its handler, at the first instruction.
static void test_step_nmi(void)
{
    apic_enable(APIC_MODE_X2APIC);
    trap_set_handler(VEC_NMI, on_nmi);
    nmi_rip = 0;
    seen.count = 0;
    uint64_t behind = step_nmi();
    trap_set_handler(VEC_NMI, NULL);
    check(seen.count == 2 && seen.rip[0] == behind && nmi_rip != 0 && nmi_rip != behind, "step.nmi",
          "%u exceptions, the first at %lx, expected %lx, NMI at %lx", seen.count, seen.rip[0],
          behind, nmi_rip);
}

// Each iteration of a string instruction is a step, with RIP on the instruction until the last.
static void test_step_string(void)
{
    static const uint8_t bytes[3] = {1, 2, 3};
    uint64_t at, source = (uintptr_t)bytes, count = sizeof(bytes);
    seen.count = 0;
    __asm__ volatile("lea 7f(%%rip), %0\n pushfq\n pushfq\n orq $0x100, (%%rsp)\n popfq\n"
                     "7: rep outsb\n popfq\n"
                     : "=&r"(at), "+S"(source), "+c"(count)
                     : "d"(PORT_NOBODY)
                     : "memory");
    bool last = seen.rip[seen.count >= 2 ? seen.count - 2 : 0] == at + 2;
    check(last && count == 0 && source == (uintptr_t)bytes + 3, "step.rep-outsb",
          "%u exceptions, first at %lx, instruction at %lx, RCX %lu", seen.count, seen.rip[0], at,
          count);
}

// INT3 and INT1 with TF clear: traps with RIP behind.
static void test_int1(void)
{
    uint64_t behind;
    seen.count = 0;
    __asm__ volatile("lea 6f(%%rip), %0\n .byte 0xF1\n6:" : "=r"(behind)::"memory");
    check(seen.count == 1 && seen.rip[0] == behind, "dr.int1", "%u exceptions, at %lx, not %lx",
          seen.count, seen.rip[0], behind);
}

void test_debug(void)
{
    trap_set_handler(VEC_DB, on_debug);
    test_registers_kept();
    test_breakpoints();
    test_steps();
    test_step_string();
    if (apic_has_x2apic())
        test_step_nmi();
    else
        check_skip("step.nmi", "no x2APIC");
    if (cpu_by_tcg()) {
        check_skip("dr.general-detect", "QEMU has neither this nor INT1");
    } else {
        test_general_detect();
        test_int1();
    }
    write_dr7(DR7_INIT);
    trap_set_handler(VEC_DB, NULL);
}
