// SPDX-License-Identifier: BSD-2-Clause
// The x86 parts of the portable kernel's structures. Assembly knows some of the offsets: they are
// generated (offsets.c), so fields may move.
#pragma once
#include "kernel/abi/vcpu.h"
#include "kernel/arch/x86/cpuid_policy.h"
#include "kernel/arch/x86/msr_policy.h"
#include "kernel/arch/x86/vlapic.h"
#include "kernel/lib/types.h"

// A thread's ring-3 registers. TSS.RSP0 points at the end of this, so a trap from ring 3 saves them
// in place. `vector` is REGS_SYSCALL when a call saved only what it keeps, and in ring 3.
struct regs {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};
#define REGS_SYSCALL (~0ull)

// XSAVE area, standard format: legacy 512, header 64, AVX 256, MPX 128, AVX-512 1600, PKRU 8.
#define FPU_SIZE VCPU_FPU_SIZE
struct fpu { uint8_t area[FPU_SIZE]; } __attribute__((aligned(64)));

struct arch_thread {
    struct regs regs;
    uint8_t fpu_saved; // fpu holds something
    struct fpu fpu;
};

#define TSS_IOMAP_SIZE 8193
struct tss {
    uint32_t reserved0;
    uint64_t rsp0, rsp1, rsp2;
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t iomap_base;
    uint8_t iomap[TSS_IOMAP_SIZE];
} __attribute__((packed));

struct vcpu;
struct vm;
struct thread;
struct process;
struct cpu;
// What this core's NMI and machine-check handlers saw, until it is told: they may not take a lock.
struct trouble {
    uint32_t nmis, checks;
    uint32_t bank;          // of the last machine check: where, its status and address
    uint8_t nmi_port;       // port 0x61 at the last NMI: 0x80 memory or PCI SERR, 0x40 IOCHK
    uint64_t status, address;
};

struct arch_cpu {
    struct cpu *self;       // GS base points here
    uint64_t stack_top;     // of the core's only kernel stack
    struct vcpu *vcpu;      // the vCPU whose VMCS is loaded
    struct vcpu *fpu_vcpu;  // whose state is in the FPU registers, see fpu.c
    struct thread *fpu_thread;
    struct thread *user;    // all that ring 3 needs is loaded for this one, see thread.c
    struct thread *ready;   // and all that its guest needs, see context.c
    uint64_t fpu_xcr0;      // XCR0 now
    uint64_t syscall[4];    // what the SYSCALL MSRs hold; some vCPU's
    struct vcpu *context;   // whose CR2, KERNEL_GS_BASE and DR0-3 are loaded
    uint64_t tsc_aux;       // in the MSR; the host does not use it
    uint64_t domain;        // that ran here last, see barrier.c
    uint16_t port_first, port_count; // which are in the I/O bitmap
    struct trouble trouble;
    uint32_t apic_id;
    uint8_t tr_stale;       // a VM exit truncated TR since the last LTR
    struct tss *tss;
    uint64_t *gdt;          // GDTR holds this address
    struct hpa vmxon;
    uint32_t asid;          // SVM: the last that was given, in this turn through all of them
    uint64_t asid_turn;
    struct hpa svm_host;    // what VMLOAD brings back for a ring 3 without a guest
};

struct arch_space {
    struct hpa root;
    uint64_t *table;        // of small pages that was used last, and which 2 MB it is for
    uint64_t table_at;
    uint64_t freed;         // its end: below this address no table is left
    uint64_t cr3; // of a process: root, PCID, and CR3_NO_FLUSH where there are PCIDs
};

#define EXIT_COUNTERS 256u

// See svm/.
struct insn_length { uint64_t rip, cr3, code; uint32_t bytes; };
struct arch_vcpu_svm {
    struct vmcb *vmcb;      // arch_vcpu.vmcs
    struct cpu *cpu;        // where it is
    uint64_t gs_base;       // the guest's, while it does not run
    uint64_t cr4;           // as the guest has set it
    uint64_t next_rip;      // behind the instruction that has exited
    uint64_t asid_turn;     // of its core's, when it got its ASID
    uint64_t tr[2];         // a descriptor with which LTR loads the guest's TR; if:
    uint8_t tr_plain;
    uint8_t nmi_blocked;
    uint8_t step, step_own; // TF is set for our own sake; it was clear
    uint8_t decoded;        // the VMM has answered VM_EXIT_DECODE
    uint8_t operand;        // a general register
    struct insn_length length[16];
};

struct arch_vcpu {
    uint64_t *gpr;          // page->gpr; its end is HOST_RSP
    struct space *own, *guest; // its VMM's, its VM's
    struct hpa vmcs;        // the first of a run of frames
    struct hpa virtual_apic; // of the same run
    struct fpu *fpu;        // likewise
    union {
        struct {
            uint8_t inject;  // look at the local APIC's state before the next entry
            uint8_t halted;  // HLT: not entered until an interrupt can be taken; 2: with interrupts
                             // off, and the VMM knows
            uint8_t special; // SPECIAL_*: has what the short switch does not move
#define SPECIAL_DR      1u   // DR0-3 and DR6, once the guest uses them
#define SPECIAL_VENDOR  64u  // see hvm->context_save; the others: vmx.h
            uint8_t fresh;   // to be entered by VMLAUNCH
        };
        uint32_t attention;  // any of them: not by the short ways
    };
    uint8_t nmi_pending;
    uint8_t wait_sipi;      // since an INIT, or the beginning
    uint8_t extint_wait;    // INTR_ACK was returned; the answer brings the vector
    uint16_t vpid;
    uint64_t xcr0, fpu_used;  // fpu_used: components that may hold something
    uint64_t efer;
    uint64_t kernel_gs;
    uint64_t cr2;
    uint64_t dr[4], dr6;
    uint64_t skip_flags;      // of RFLAGS, what the end of an instruction has to look at
    uint32_t primary, secondary; // controls, as they stand in the VMCS
    struct arch_vcpu_svm svm;
    uint64_t exits[EXIT_COUNTERS]; // see hvm_ops.exit_class
    struct vlapic vlapic;
    struct msr_state msrs;
    struct cpuid_table table; // its CPUID, and what in it depends on its state
    struct cpuid_vcpu cpuid;
};
