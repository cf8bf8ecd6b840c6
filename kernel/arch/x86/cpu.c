// SPDX-License-Identifier: BSD-2-Clause
// One core's own things: descriptor tables, TSS, stacks, control registers. Filled on the core
// itself while it comes up, then only its own (TSS.RSP0 and the I/O bitmap change at switches).
//
// A VM exit leaves GDTR's and IDTR's limits at 0xffff and TR's at 0x67 (SDM, "Loading Host Segment
// and Descriptor-Table Registers"). Each table therefore begins a window of 64 KB whose other pages
// are one read-only page of zeros: a descriptor from behind the table is not present, and neither
// register needs reloading. TR is reloaded when a process with ports comes next.
#include "kernel/arch/x86/x86.h"

struct features features;
const struct hvm_ops *hvm;
struct cpu *cpus[CPU_MAX];
uint32_t cpu_count;

struct idt_entry { uint16_t low, selector; uint8_t ist, type; uint16_t mid; uint32_t high, zero; };

bool page_1g, bus_lock_exits, apic_accesses, fsgsbase;
struct idt_entry idt[256] __attribute__((aligned(4096)));

extern char trap_entries[];
extern uint8_t branch_thunks[];

static struct idt_entry interrupt_gate(uint64_t to, uint8_t dpl, uint8_t ist)
{
    return (struct idt_entry){ (uint16_t)to, SEL_KERNEL_CODE, ist, (uint8_t)(0x8e | dpl << 5),
                               (uint16_t)(to >> 16), (uint32_t)(to >> 32), 0 };
}

static void idt_fill(void)
{
    static const uint8_t ist[] = {
        [VECTOR_NMI] = 1, [VECTOR_DF] = 2, [VECTOR_MC] = 3, [VECTOR_DB] = 4, [VECTOR_SX] = 5,
    };
    for (unsigned i = 0; i < 256; i++) {
        uint64_t a = (uint64_t)trap_entries + i * 16ul;
        idt[i] = interrupt_gate(a, 0, i < ARRAY_SIZE(ist) ? ist[i] : 0);
    }
    // SYSENTER's entry: IF is clear, other flags are not.
    idt[VECTOR_CALL] = interrupt_gate((uint64_t)syscall_entry, 3, 0);
}

static void gdt_fill(struct cpu_block *b)
{
    uint64_t t = (uint64_t)&b->tss;
    b->gdt[SEL_KERNEL_CODE / 8] = 0x00af9b000000ffff;
    b->gdt[SEL_KERNEL_DATA / 8] = 0x00cf93000000ffff;
    b->gdt[SEL_USER_DATA / 8] = 0x00cff3000000ffff;
    b->gdt[SEL_USER_CODE / 8] = 0x00affb000000ffff;
    b->gdt[SEL_TSS / 8] = tss_descriptor(t, sizeof(b->tss) - 1);
    b->gdt[SEL_TSS / 8 + 1] = t >> 32;
}

// The CPU marks a TSS busy when TR is loaded and refuses a busy one.
void cpu_reload_tr(struct cpu *cpu)
{
    cpu->arch.gdt[SEL_TSS / 8] &= ~(2ull << 40);
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
    cpu->arch.tr_stale = 0;
}

static void tss_fill(struct cpu_block *b)
{
    for (unsigned i = 0; i < ARRAY_SIZE(b->ist); i++) {
        // trap_paranoid finds the core's struct cpu behind the frame.
        uint64_t *top = (uint64_t *)(b->ist[i] + IST_STACK_SIZE - 16);
        *top = (uint64_t)&b->cpu;
        b->tss.ist[i] = (uint64_t)top;
    }
    b->tss.iomap_base = 0xffff; // behind the limit: no ports
}

static uint64_t host_cr4(void)
{
    return CR4_PAE | CR4_MCE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_DE |
           (features.pcid ? CR4_PCIDE : 0) | (features.leaf7_ebx & (1u << 7) ? CR4_SMEP : 0) |
           (features.leaf7_ebx & (1u << 20) ? CR4_SMAP : 0) |
           (features.leaf7_ecx & (1u << 2) ? CR4_UMIP : 0) |
           (fsgsbase ? CR4_FSGSBASE : 0);
}

void cpu_init(struct cpu_block *b, uint32_t id)
{
    struct cpu *cpu = &b->cpu;
    cpu->id = id;
    cpu->arch.self = cpu;
    cpu->arch.stack_top = (uint64_t)(b->stack + KERNEL_STACK_SIZE);
    cpu->arch.tss = &b->tss;
    cpu->arch.gdt = b->gdt;
    if (id == 0)
        idt_fill();
    gdt_fill(b);
    tss_fill(b);
    struct table_register gdtr = { 0xffff, (uint64_t)b->gdt }, idtr = { 0xffff, IDT_WINDOW };
    // CS and SS hold what boot.S loaded, which are the same descriptors; the others hold none.
    __asm__ volatile("lgdt %0" : : "m"(gdtr));
    __asm__ volatile("lidt %0" : : "m"(idtr));
    cpu_reload_tr(cpu);
    wrmsr(MSR_GS_BASE, (uint64_t)cpu);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    wrmsr(MSR_EFER, EFER_LME | EFER_LMA | EFER_NXE); // SYSCALL in ring 3 is #UD
    for (unsigned i = 0; i < ARRAY_SIZE(cpu->arch.syscall); i++)
        wrmsr(MSR_STAR + i, 0);
    wrmsr(MSR_SYSENTER_CS, SEL_KERNEL_CODE);
    wrmsr(MSR_SYSENTER_ESP, 0); // the entry loads it first; all that can come before has an IST
    wrmsr(MSR_SYSENTER_EIP, (uint64_t)syscall_entry);
    wrmsr(MSR_PAT, HOST_PAT);
    write_cr0(CR0_PG | CR0_WP | CR0_PE | CR0_NE | CR0_ET | CR0_MP);
    write_cr4(host_cr4());
    // Whatever the firmware left there: no breakpoints, no LDT.
    write_dr7(0x400);
    __asm__ volatile("lldt %w0" : : "r"(0));
    if (mitigations.spec_ctrl)
        wrmsr(MSR_SPEC_CTRL, mitigations.spec_ctrl);
    fpu_init_cpu();
    cpus[id] = cpu;
}

static bool is_vendor(const char name[12])
{
    uint32_t r[4];
    cpuid(0, 0, r);
    return __builtin_memcmp(&r[1], name, 4) == 0 && __builtin_memcmp(&r[3], name + 4, 4) == 0 &&
           __builtin_memcmp(&r[2], name + 8, 4) == 0;
}

static void read_features(struct features *f)
{
    __builtin_memset(f, 0, sizeof(*f));
    // Firmware may hide all leaves above 3 from operating systems of 1996. Only where that shows is
    // the register touched.
    f->amd = is_vendor("AuthenticAMD") || is_vendor("HygonGenuine");
    if (cpuid_word(0, 0, 0) <= 3 && !f->amd)
        wrmsr(MSR_MISC_ENABLE, rdmsr(MSR_MISC_ENABLE) & ~(1ull << 22));
    f->leaf1_eax = cpuid_word(1, 0, 0) & 0x0fff0ff0; // family and model, which `vuln` looks at
    // OSXSAVE mirrors CR4 and is not a property of the core.
    f->leaf1_ecx = cpuid_word(1, 0, 2) & ~(1u << 27);
    f->leaf1_edx = cpuid_word(1, 0, 3);
    f->leaf7_ebx = cpuid_word(7, 0, 1);
    f->leaf7_ecx = cpuid_word(7, 0, 2);
    f->leaf7_edx = cpuid_word(7, 0, 3);
    if (cpuid_word(7, 0, 0) >= 2)
        f->leaf7_2_edx = cpuid_word(7, 2, 3);
    f->xcr0 = cpuid_word(13, 0, 0) & 0x2e7; // x87 SSE AVX AVX-512 PKRU
    f->xsave1_eax = cpuid_word(13, 1, 0);
    f->ext1_ecx = cpuid_word(0x80000001, 0, 2);
    f->ext1_edx = cpuid_word(0x80000001, 0, 3);
    f->ext8_ebx = cpuid_word(0x80000008, 0, 1);
    f->ext21_eax = cpuid_word(0x80000021, 0, 0);
    f->pcid = (f->leaf1_ecx & (1u << 17)) && !boot_option("without=pcid");
    // Back to xAPIC mode, should the firmware have left it, there is no way.
    f->x2apic = (f->leaf1_ecx & (1u << 21)) &&
                (!boot_option("without=x2apic") || (rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC));
    f->sysenter = !f->amd && !boot_option("without=sysenter");
    f->tsc_deadline = (f->leaf1_ecx & (1u << 24)) && !boot_option("without=tsc-deadline");
    if (f->leaf7_edx & (1u << 29))
        f->arch_caps = rdmsr(MSR_ARCH_CAPS);
}

void cpu_patch(void *at, uint8_t opcode, const void *to)
{
    int32_t distance = (int32_t)((intptr_t)to - ((intptr_t)at + 5));
    *(uint8_t *)at = opcode;
    __builtin_memcpy((uint8_t *)at + 1, &distance, sizeof(distance));
}

// Boot core, before paging_init() makes the text read-only: JMP *reg in each thunk (entry.S).
void cpu_plain_branches(void)
{
    for (unsigned reg = 0; reg < 16; reg++) {
        uint8_t *to = branch_thunks + (size_t)reg * THUNK_SIZE;
        if (reg >= 8)
            *to++ = 0x41;
        to[0] = 0xff;
        to[1] = (uint8_t)(0xe0 + (reg & 7));
    }
}

bool cpu_has(bool has, const char *name, const char *why)
{
    if (!has)
        log_print("boot: this CPU lacks %s: %s\n", name, why);
    return has;
}

// True: there is a way to run guests, with all that it needs. The functions that a guest's exits
// call often are called by VMX's names (hvm.h).
static bool choose_hvm(void)
{
    if (features.leaf1_ecx & (1u << 5))
        hvm = &vmx_ops;
    else if (features.amd && (features.ext1_ecx & (1u << 2)))
        hvm = &svm_ops;
    if (!cpu_has(hvm, "VT-x (VMX) and AMD-V (SVM)", "guests run in one of them") || !hvm->check())
        return false;
    fsgsbase = hvm->fsgsbase && (features.leaf7_ebx & 1);
    if (hvm != &vmx_ops) {
#define X(type, op, arguments) cpu_patch(vmx_ops.op, OPCODE_JMP, hvm->op);
        HVM_OPS_OFTEN(X)
#undef X
    }
    return true;
}

bool cpu_check_features(void)
{
    static const struct { uint8_t word, bit; const char *name, *why; } need[] = {
        { 0, 26, "XSAVE", "the vector registers of guests and processes are switched with it" },
        { 3, 0, "XSAVEOPT", "and it must not write what has not changed" },
        { 1, 16, "PAT", "memory types of guests" },
        { 2, 20, "NX", "no data page is executable" },
        { 2, 29, "64-bit mode", "the kernel runs in it" },
    };
    read_features(&features);
    page_1g = features.ext1_edx & (1u << 26);
    const uint32_t words[] = { features.leaf1_ecx, features.leaf1_edx, features.ext1_edx,
                               features.xsave1_eax };
    bool ok = true;
    for (unsigned i = 0; i < ARRAY_SIZE(need); i++)
        ok &= cpu_has(words[need[i].word] & (1u << need[i].bit), need[i].name, need[i].why);
    return choose_hvm() && ok;
}

const char *cpu_compare_features(void)
{
    struct features mine;
    read_features(&mine);
    return __builtin_memcmp(&mine, &features, sizeof(mine)) ? "what CPUID says" : NULL;
}
