// SPDX-License-Identifier: BSD-2-Clause
//
// What the manual says in passing: RF around faults that a hypervisor raises, every bit of XCR0 and
// CR4 against CPUID, protections of user pages, NMIs in HLT and in their own handler, and faults
// that come while another is delivered.

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/pit.h"
#include "guests/test-cpu/groups.h"

#define RFLAGS_RF  (1ul << 16)
#define RFLAGS_AC  (1ul << 18)
#define NOWHERE    0xFED80000ul // nobody's memory
#define PAGE       0            // of the window
#define CR4_FSGSBASE (1ul << 16)
#define CR4_PCIDE    (1ul << 17)
#define CR4_SMEP     (1ul << 20)
#define CR4_SMAP     (1ul << 21)
#define CR4_PKE      (1ul << 22)
#define IOAPIC_NMI   (4u << 8)
#define ICR_NMI      (4u << 8)
#define DR6_INIT     0xFFFF0FF0ul
#define DR7_INIT     0x400ul

// ---- RF ----

static uint64_t fault_flags;

static void on_fault(struct trap_frame *frame)
{
    fault_flags = frame->rflags;
    trap_fix_up(frame);
}

// "For faults, the processor sets RF in the image that it pushes."
static void expect_rf(const char *name, uint8_t vector)
{
    check(trap_caught.vector == vector && (fault_flags & RFLAGS_RF), name,
          "vector %d, expected %d, RFLAGS %lx", trap_caught.vector, vector,
          (unsigned long)fault_flags);
}

#define FAULT(instruction, ...)                                       \
    do {                                                              \
        fault_flags = 0;                                              \
        trap_expect();                                                \
        __asm__ volatile(TRY(instruction) : : __VA_ARGS__ : "memory"); \
    } while (0)

static void test_rf_of_faults(void)
{
    static const uint8_t vectors[] = {VEC_UD, VEC_GP, VEC_PF};
    for (size_t i = 0; i < sizeof(vectors); i++)
        trap_set_handler(vectors[i], on_fault);
    FAULT("ud2", "a"(0));
    if (cpu_by_tcg())
        check_skip("rf.ud2", "QEMU's own faults push no RF");
    else
        expect_rf("rf.ud2", VEC_UD);
    FAULT("xsetbv", "c"(0), "a"(0), "d"(0));
    if (cpu_by_tcg())
        check_skip("rf.xsetbv", "QEMU's own faults push no RF");
    else
        expect_rf("rf.xsetbv", VEC_GP);
    if (cpu_on_bulkhead()) {
        FAULT("wrmsr", "c"(0x12345), "a"(0), "d"(0));
        expect_rf("rf.wrmsr", VEC_GP);
        FAULT("mov %0, %%cr4", "r"(read_cr4() | 1ul << 31));
        expect_rf("rf.mov-cr4", VEC_GP);
        FAULT("fxsave (%0)", "r"(NOWHERE));
        expect_rf("rf.mmio-ud", VEC_UD);
        uintptr_t absent = window_map(PAGE, 0);
        FAULT("insb", "D"(absent), "d"(PORT_NOBODY));
        expect_rf("rf.insb-pf", VEC_PF);
    }
    for (size_t i = 0; i < sizeof(vectors); i++)
        trap_set_handler(vectors[i], NULL);
}

static unsigned int debugs;
static uint64_t debug_rip[4];

static void on_debug(struct trap_frame *frame)
{
    if (debugs < 4)
        debug_rip[debugs] = frame->rip;
    debugs++;
    frame->rflags |= RFLAGS_RF;
    __asm__ volatile("mov %0, %%dr6" : : "r"(DR6_INIT) : "memory");
}

// RF is for one instruction: what exits ends with it too, so the breakpoint behind it is met.
#define RF_ENDS(name, instruction, ...)                                                   \
    static void name(uint64_t at[2])                                                      \
    {                                                                                     \
        __asm__ volatile("lea 1f(%%rip), %0\n lea 2f(%%rip), %1" : "=r"(at[0]), "=r"(at[1])); \
        __asm__ volatile("mov %0, %%dr0\n mov %1, %%dr1\n mov %2, %%dr7"                  \
                         : : "r"(at[0]), "r"(at[1]), "r"(DR7_INIT | 0xA) : "memory");     \
        __asm__ volatile("1: " instruction "\n 2: nop"                                    \
                         : : __VA_ARGS__ : "rbx", "memory");                              \
        __asm__ volatile("mov %0, %%dr7" : : "r"(DR7_INIT) : "memory");                   \
    }
RF_ENDS(rf_nop, "nop", "a"(0))
RF_ENDS(rf_out, "outb %%al, %%dx", "a"(0), "d"(PORT_NOBODY))
RF_ENDS(rf_mmio, "movl %%eax, (%%rsi)", "a"(0), "S"(NOWHERE))
RF_ENDS(rf_wrmsr, "wrmsr", "a"(0), "d"(0), "c"(MSR_KERNEL_GS_BASE))
RF_ENDS(rf_call, "pushq (%%rsi)\n popq %%rax", "S"(NOWHERE), "a"(0))

static void test_rf_ends(void)
{
    static const struct { const char *name; void (*run)(uint64_t at[2]); } rows[] = {
        {"rf.nop-ends", rf_nop},   {"rf.out-ends", rf_out},   {"rf.mmio-ends", rf_mmio},
        {"rf.wrmsr-ends", rf_wrmsr}, {"rf.push-ends", rf_call},
    };
    trap_set_handler(VEC_DB, on_debug);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t at[2];
        debugs = 0;
        rows[i].run(at);
        check(debugs == 2 && debug_rip[0] == at[0] && debug_rip[1] == at[1], rows[i].name,
              "%u exceptions, at %lx %lx, expected %lx %lx", debugs, (unsigned long)debug_rip[0],
              (unsigned long)debug_rip[1], (unsigned long)at[0], (unsigned long)at[1]);
    }
    trap_set_handler(VEC_DB, NULL);
}

// ---- XCR0 and CR4, bit by bit ----

// ("XCR0—Extended Control Register 0": what must be together.)
static bool xcr0_valid(uint64_t value, uint64_t supported)
{
    bool x87 = value & 1, sse = value & 2, avx = value & 4, zmm = (value & 0xE0) == 0xE0;
    bool mpx = (value & 0x18) == 0x18;
    return x87 && !(value & ~supported) && (!avx || sse) && (!(value & 0xE0) || (zmm && avx)) &&
           (!(value & 0x18) || mpx);
}

static void test_xcr0_all(void)
{
    if (!(cpuid(1, 0).ecx & 1u << 26) || cpu_by_tcg()) {
        check_skip("xcr0.all", "no XSAVE, or QEMU, which does not check");
        return;
    }
    uint64_t old = read_xcr0(), wrong = 0, value;
    uint64_t supported = cpuid(0xD, 0).eax | (uint64_t)cpuid(0xD, 0).edx << 32;
    unsigned int errors = 0;
    for (unsigned int i = 0; i < 1024 + 54; i++) {
        value = i < 1024 ? i : (old | 1ul << (i - 1024 + 10));
        bool valid = xcr0_valid(value, supported);
        int vector = try_xcr(0, value);
        if ((vector == TRAP_NONE) != valid || (!valid && vector != VEC_GP) ||
            (valid && read_xcr0() != value)) {
            errors++;
            wrong = value;
        }
    }
    for (unsigned int bit = 0; bit < 32; bit++)
        errors += try_xcr(1u << bit, old) != VEC_GP;
    try_xcr(0, old);
    check(errors == 0 && read_xcr0() == old, "xcr0.all", "%u errors, the last with %lx", errors,
          (unsigned long)wrong);
}

// By bit of CR4: CPUID's leaf, register (EAX to EDX: 0 to 3) and bit; leaf 0: always there.
static const struct { uint8_t leaf, reg, bit; } cr4_bits[64] = {
    [0] = {1, 3, 1},   [1] = {1, 3, 1},  [2] = {1, 3, 4},    [3] = {1, 3, 2},  [4] = {1, 3, 3},
    [5] = {1, 3, 6},   [6] = {1, 3, 7},  [7] = {1, 3, 13},   [8] = {0, 0, 0},  [9] = {1, 3, 24},
    [10] = {1, 3, 25}, [11] = {7, 2, 2}, [12] = {7, 2, 16},  [13] = {1, 2, 5}, [14] = {1, 2, 6},
    [16] = {7, 1, 0},  [17] = {1, 2, 17}, [18] = {1, 2, 26}, [20] = {7, 1, 7}, [21] = {7, 1, 20},
    [22] = {7, 2, 3},  [23] = {7, 2, 7},
};

static bool cr4_claimed(unsigned int bit)
{
    if (bit == 8)
        return true;
    if (!cr4_bits[bit].leaf)
        return false;
    struct cpuid_result r = cpuid(cr4_bits[bit].leaf, 0);
    const uint32_t regs[] = {r.eax, r.ebx, r.ecx, r.edx};
    return regs[cr4_bits[bit].reg] >> cr4_bits[bit].bit & 1;
}

// A bit is there if CPUID says so, or else #GP. (LA57 cannot be changed in 64-bit mode.)
static void test_cr4_all(void)
{
    uint64_t old = read_cr4();
    if (cpu_by_tcg()) {
        check_skip("cr4.all", "QEMU does not check");
        return;
    }
    for (unsigned int bit = 0; bit < 64; bit++) {
        char name[16];
        uint64_t value = old ^ 1ul << bit;
        if (bit == 5 || bit == 9 || bit == 12 || bit == 18) // needed here
            continue;
        if (bit == 23 && !(value & 1ul << bit))
            continue;
        snprintf(name, sizeof(name), "cr4.all-%u", bit);
        int vector = try_cr4(value);
        uint64_t seen = read_cr4();
        write_cr4(old);
        int expected = cr4_claimed(bit) ? TRAP_NONE : VEC_GP;
        check(vector == expected && seen == (expected == TRAP_NONE ? value : old), name,
              "vector %d, expected %d, CR4 %lx", vector, expected, (unsigned long)seen);
    }
}

// ---- user pages, and instructions that a bit of CR4 gives ----

static int fault_of_read(uintptr_t at)
{
    trap_expect();
    __asm__ volatile(TRY("movb (%0), %%al") : : "r"(at) : "rax", "memory");
    return trap_caught.vector;
}

static void test_smap(uintptr_t at)
{
    uint64_t cr4 = read_cr4();
    if (try_cr4(cr4 | CR4_SMAP) != TRAP_NONE) {
        check_skip("smap", "not on this CPU");
        return;
    }
    int vector = fault_of_read(at);
    check(vector == VEC_PF && trap_caught.error == 1 && trap_caught.cr2 == at, "smap.read",
          "vector %d, error %lx", vector, (unsigned long)trap_caught.error);
    __asm__ volatile("stac" ::: "memory");
    vector = fault_of_read(at);
    // The VMM's own walk, for a string from a port.
    uint64_t to = at;
    trap_expect();
    __asm__ volatile(TRY("insb") : "+D"(to) : "d"(PORT_NOBODY) : "memory");
    int string = trap_caught.vector;
    __asm__ volatile("clac" ::: "memory");
    check(vector == TRAP_NONE, "smap.stac", "vector %d", vector);
    check(string == TRAP_NONE, "smap.insb-stac", "vector %d", string);
    to = at;
    trap_expect();
    __asm__ volatile(TRY("insb") : "+D"(to) : "d"(PORT_NOBODY) : "memory");
    check(trap_caught.vector == VEC_PF && trap_caught.error == 3 && to == at, "smap.insb",
          "vector %d, error %lx", trap_caught.vector, (unsigned long)trap_caught.error);
    write_cr4(cr4);
}

static void test_smep(uintptr_t at)
{
    uint64_t cr4 = read_cr4();
    if (try_cr4(cr4 | CR4_SMEP) != TRAP_NONE) {
        check_skip("smep", "not on this CPU");
        return;
    }
    trap_expect(); // the page holds RET; the fault's RIP is its address
    __asm__ volatile("lea 2f(%%rip), %%rax\n push %%rax\n"
                     ".pushsection .extable, \"a\"\n .quad 0x8000000000, 1f\n .popsection\n"
                     "jmp *%0\n1: add $8, %%rsp\n2:" : : "r"(at) : "rax", "memory");
    check(trap_caught.vector == VEC_PF && (trap_caught.error & ~0x10ul) == 1, "smep.fetch",
          "vector %d, error %lx", trap_caught.vector, (unsigned long)trap_caught.error);
    write_cr4(cr4);
}

static void write_pkru(uint32_t value)
{
    __asm__ volatile(".byte 0x0F, 0x01, 0xEF" : : "a"(value), "c"(0), "d"(0) : "memory");
}

static void test_pku(uintptr_t at)
{
    uint64_t cr4 = read_cr4();
    trap_expect();
    __asm__ volatile(TRY(".byte 0x0F, 0x01, 0xEE") : : "c"(0) : "rax", "rdx", "memory");
    expect_vector("pku.rdpkru-off", VEC_UD);
    if (try_cr4(cr4 | CR4_PKE) != TRAP_NONE) {
        check_skip("pku", "not on this CPU");
        return;
    }
    check(cpuid(7, 0).ecx & 1u << 4, "pku.ospke", "CPUID does not say it");
    write_pkru(1); // key 0: no access
    cpuid(1, 0);
    outb(PORT_NOBODY, 0);
    int vector = fault_of_read(at);
    uint64_t error = trap_caught.error;
    write_pkru(0);
    check(vector == VEC_PF && error == 0x21, "pku.read", "vector %d, error %lx", vector,
          (unsigned long)error);
    check(fault_of_read(at) == TRAP_NONE, "pku.allowed", "vector %d", trap_caught.vector);
    write_cr4(cr4);
}

static void test_fsgsbase(void)
{
    uint64_t cr4 = read_cr4(), base = 0;
    write_cr4(cr4 & ~CR4_FSGSBASE);
    trap_expect();
    __asm__ volatile(TRY("rdfsbase %0") : "+r"(base) : : "memory");
    expect_vector("fsgsbase.off", VEC_UD);
    if (try_cr4(cr4 | CR4_FSGSBASE) == TRAP_NONE) {
        __asm__ volatile("wrfsbase %1\n rdfsbase %0" : "=r"(base) : "r"(0x123456789ul) : "memory");
        check(base == 0x123456789 && rdmsr(MSR_FS_BASE) == base, "fsgsbase.on", "%lx", base);
        wrmsr(MSR_FS_BASE, 0);
    } else {
        check_skip("fsgsbase.on", "not on this CPU");
    }
    write_cr4(cr4);
}

static int invpcid(uint64_t type, uint64_t pcid, uint64_t address)
{
    uint64_t descriptor[2] = {pcid, address};
    trap_expect();
    __asm__ volatile(TRY("invpcid %1, %0") : : "r"(type), "m"(descriptor) : "memory");
    return trap_caught.vector;
}

// Hidden means #UD.
static void test_invpcid(void)
{
    bool there = cpuid(7, 0).ebx & 1u << 10;
    int all = invpcid(2, 0, 0);
    if (!there) {
        if (cpu_by_tcg())
            check_skip("invpcid.hidden", "SVM has no control for it");
        else
            check(all == VEC_UD, "invpcid.hidden", "vector %d", all);
        return;
    }
    check(all == TRAP_NONE && invpcid(3, 0, 0) == TRAP_NONE && invpcid(1, 0, 0) == TRAP_NONE &&
              invpcid(0, 0, 0x1000) == TRAP_NONE, "invpcid.types", "vector %d", trap_caught.vector);
    check(invpcid(4, 0, 0) == VEC_GP && invpcid(2, 1ul << 12, 0) == VEC_GP, "invpcid.reserved",
          "vector %d", trap_caught.vector);
    check(invpcid(1, 5, 0) == VEC_GP, "invpcid.without-pcid", "vector %d", trap_caught.vector);
}

static void test_protections(void)
{
    static uint8_t page[4096] __attribute__((aligned(4096))) = {0xC3};
    uintptr_t at = window_map(PAGE, window_entry(page, PTE_U | PTE_W));
    extern uint64_t boot_pml4[512];
    uint64_t *level = boot_pml4;
    for (unsigned int shift = 39; shift >= 21; shift -= 9) { // the tables above have no U yet
        level[at >> shift & 511] |= PTE_U;
        level = (uint64_t *)(level[at >> shift & 511] & 0xFFFFFFFFFF000ul);
    }
    write_cr3(read_cr3());
    test_smap(at);
    test_smep(at);
    test_pku(at);
    test_fsgsbase();
    test_invpcid();
    window_map(PAGE, 0);
}

// ---- NMIs, and faults in faults ----

static unsigned int nmis, inside, deepest;

static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    nmis++;
    inside++;
    deepest = inside > deepest ? inside : deepest;
    if (nmis == 1) { // one more, which waits for the IRET
        apic_send(APIC_ICR_ASSERT | ICR_NMI, apic_id());
        cpuid(1, 0);
        outb(PORT_NOBODY, 0);
    }
    inside--;
}

static void test_nmi_blocking(void)
{
    nmis = deepest = 0;
    trap_set_handler(VEC_NMI, on_nmi);
    apic_send(APIC_ICR_ASSERT | ICR_NMI, apic_id());
    for (unsigned int i = 0; i < 100; i++)
        cpuid(1, 0);
    check(nmis == 2 && deepest == 1, "nmi.blocked", "%u NMIs, %u deep", nmis, deepest);
    // HLT with interrupts off: the IOAPIC's pin of the PIT sends an NMI.
    nmis = 10;
    pit_set(0, PIT_ONE_SHOT, 12000);
    ioapic_route(GSI_PIT, 0, (uint8_t)apic_id(), IOAPIC_NMI);
    __asm__ volatile("hlt" ::: "memory");
    ioapic_mask(GSI_PIT);
    check(nmis == 11, "nmi.hlt", "%u NMIs", nmis - 10);
    trap_set_handler(VEC_NMI, NULL);
}

static uint64_t double_error;

static void on_double_fault(struct trap_frame *frame)
{
    double_error = frame->error;
    frame->vector = VEC_DF;
    trap_fix_up(frame);
}

// The gate of #GP is not there: #NP while #GP is delivered, which is a double fault, whoever raised
// the first.
static void test_double_fault(void)
{
    struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idtr;
    __asm__ volatile("sidt %0" : "=m"(idtr));
    volatile uint8_t *type = (volatile uint8_t *)(idtr.base + 16ul * VEC_GP + 5);
    trap_set_handler(VEC_DF, on_double_fault);
    if (cpu_by_tcg())
        check_skip("df.injected", "QEMU knows no double fault of what VMRUN injects");
    for (unsigned int i = 0; i < (cpu_by_tcg() ? 1u : 2u); i++) {
        double_error = 1;
        *type = *type & 0x7F;
        trap_expect();
        if (i == 0)
            __asm__ volatile(TRY("movb $0, (%0)") : : "r"(1ul << 63) : "memory");
        else
            __asm__ volatile(TRY("wrmsr") : : "c"(0x12345), "a"(0), "d"(0) : "memory");
        *type = *type | 0x80;
        check(trap_caught.vector == VEC_DF && double_error == 0,
              i == 0 ? "df.own" : "df.injected", "vector %d, error %lx", trap_caught.vector,
              (unsigned long)double_error);
    }
    trap_set_handler(VEC_DF, NULL);
}

void test_corners(void)
{
    test_rf_of_faults();
    test_rf_ends();
    test_xcr0_all();
    test_cr4_all();
    test_protections();
    apic_enable(apic_mode() == APIC_MODE_X2APIC ? APIC_MODE_X2APIC : APIC_MODE_XAPIC);
    test_nmi_blocking();
    test_double_fault();
}
