// SPDX-License-Identifier: BSD-2-Clause
// The VMCB (AMD64 Architecture Programmer's Manual, volume 2, "VMCB Layout"), and the instructions
// that take one. It belongs to its vCPU, on its core; the CPU reads and writes it at VMRUN and
// #VMEXIT, and the second group of the state save area at VMLOAD and VMSAVE only.
#pragma once
#include "kernel/lib/types.h"

// First word of intercepts. LDTR_WRITE, TR_WRITE: see svm_tr_changes().
#define INTERCEPT_INTR        (1u << 0)
#define INTERCEPT_NMI         (1u << 1)
#define INTERCEPT_INIT        (1u << 3)
#define INTERCEPT_VINTR       (1u << 4)
#define INTERCEPT_LDTR_WRITE  (1u << 12)
#define INTERCEPT_TR_WRITE    (1u << 13)
#define INTERCEPT_RDPMC       (1u << 15)
#define INTERCEPT_CPUID       (1u << 18)
#define INTERCEPT_IRET        (1u << 20)
#define INTERCEPT_INVD        (1u << 22)
#define INTERCEPT_PAUSE       (1u << 23)
#define INTERCEPT_HLT         (1u << 24)
#define INTERCEPT_INVLPGA     (1u << 26)
#define INTERCEPT_IOIO        (1u << 27)
#define INTERCEPT_MSR         (1u << 28)
#define INTERCEPT_TASK_SWITCH (1u << 29)
#define INTERCEPT_SHUTDOWN    (1u << 31)
// Second: all there are from VMRUN to XSETBV but RDTSCP and ICEBP, and RDPRU.
#define INTERCEPT2_ALL        0x7e7fu
// Third: INVLPGB, MCOMMIT, TLBSYNC.
#define INTERCEPT3_ALL        0x1bu

// Reasons of an exit ("SVM Intercept Exit Codes").
enum svm_exit_code {
    SVM_EXIT_CR4_READ = 0x04, SVM_EXIT_CR4_WRITE = 0x14, SVM_EXIT_CR8_WRITE = 0x18,
    SVM_EXIT_DR = 0x20, SVM_EXIT_DR_LAST = 0x3f, SVM_EXIT_EXCEPTION = 0x40, SVM_EXIT_INTR = 0x60,
    SVM_EXIT_NMI, SVM_EXIT_SMI, SVM_EXIT_INIT, SVM_EXIT_VINTR, SVM_EXIT_LDTR_WRITE = 0x6c,
    SVM_EXIT_TR_WRITE, SVM_EXIT_RDPMC = 0x6f, SVM_EXIT_CPUID = 0x72, SVM_EXIT_IRET = 0x74,
    SVM_EXIT_INVD = 0x76, SVM_EXIT_PAUSE, SVM_EXIT_HLT, SVM_EXIT_INVLPGA = 0x7a, SVM_EXIT_IOIO,
    SVM_EXIT_MSR, SVM_EXIT_TASK_SWITCH, SVM_EXIT_SHUTDOWN = 0x7f, SVM_EXIT_VMRUN,
    SVM_EXIT_VMMCALL, SVM_EXIT_WBINVD = 0x89, SVM_EXIT_MONITOR, SVM_EXIT_XSETBV = 0x8d,
    SVM_EXIT_RDPRU, SVM_EXIT_INVLPGB = 0xa0, SVM_EXIT_TLBSYNC = 0xa4, SVM_EXIT_NPF = 0x400,
};

#define SVM_SHADOW 1ull // of interrupt_shadow

// V_INTR: what stands in `vintr`.
#define VINTR_TPR       0xffull
#define VINTR_IRQ       (1ull << 8)
#define VINTR_PRIORITY  16 // a shift
#define VINTR_IGNORE_TPR (1ull << 20)
#define VINTR_MASKING   (1ull << 24)
#define VINTR_VECTOR    32 // a shift
#define VINTR_FIRST     (VINTR_IRQ | VINTR_IGNORE_TPR | 15ull << VINTR_PRIORITY)

// VMCB clean: what the CPU may believe to be as at the last VMRUN of this VMCB on this core.
#define CLEAN_INTERCEPTS (1u << 0)
#define CLEAN_ASID       (1u << 2)
#define CLEAN_VINTR      (1u << 3)
#define CLEAN_CR         (1u << 5)
#define CLEAN_DR         (1u << 6)
#define CLEAN_CR2        (1u << 9)
#define CLEAN_ALL        0x3ffu

struct vmcb_segment { uint16_t selector, access; uint32_t limit; uint64_t base; };

struct vmcb {
    uint16_t cr_reads, cr_writes, dr_reads, dr_writes;
    uint32_t exceptions, intercept, intercept2, intercept3;
    uint8_t reserved1[0x3e - 0x18];
    uint16_t pause_filter;
    uint64_t io_map, msr_map, tsc_offset;
    uint32_t asid;
    uint8_t tlb_control, reserved2[3];
    uint64_t vintr, interrupt_shadow, exit_code, exit_info1, exit_info2, exit_event, nested_paging;
    uint8_t reserved3[0xa8 - 0x98];
    uint64_t event, nested_cr3, lbr;
    uint32_t clean, reserved4;
    uint64_t next_rip;
    uint8_t reserved5[0x3e0 - 0xd0];
    struct vcpu *vcpu;           // host's to use: whose it is
    uint8_t reserved6[0x400 - 0x3e8];
    // State save area. With VMLOAD and VMSAVE: fs, gs, ldtr, tr and star to sysenter_eip.
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t reserved7[0x4cb - 0x4a0], cpl, reserved8[4];
    uint64_t efer;
    uint8_t reserved9[0x548 - 0x4d8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t reserved10[0x5d8 - 0x580];
    uint64_t rsp;
    uint8_t reserved11[0x5f8 - 0x5e0];
    uint64_t rax, star, lstar, cstar, fmask, kernel_gs;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2;
    uint8_t reserved12[0x668 - 0x648];
    uint64_t pat;
    uint8_t reserved13[0x1000 - 0x670];
};
_Static_assert(offsetof(struct vmcb, vintr) == 0x60, "control area");
_Static_assert(offsetof(struct vmcb, event) == 0xa8, "control area");
_Static_assert(offsetof(struct vmcb, next_rip) == 0xc8, "control area");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "save area");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "save area");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "save area");
_Static_assert(offsetof(struct vmcb, pat) == 0x668, "save area");
_Static_assert(sizeof(struct vmcb) == 4096, "one page");

static inline void vmload(struct hpa vmcb)
{
    __asm__ volatile("vmload %0" : : "a"(vmcb.v) : "memory");
}

static inline void vmsave(struct hpa vmcb)
{
    __asm__ volatile("vmsave %0" : : "a"(vmcb.v) : "memory");
}

static inline void svm_ltr(uint16_t selector)
{
    __asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

static inline void svm_lldt_null(void) { __asm__ volatile("lldt %w0" : : "r"(0)); }

// Of FS and GS, together.
static inline uint32_t svm_selectors(void)
{
    uint32_t fs, gs;
    __asm__ volatile("mov %%fs, %0; mov %%gs, %1" : "=r"(fs), "=r"(gs));
    return fs | gs;
}

static inline void clgi(void) { __asm__ volatile("clgi" : : : "memory"); }
static inline void stgi(void) { __asm__ volatile("stgi" : : : "memory"); }
