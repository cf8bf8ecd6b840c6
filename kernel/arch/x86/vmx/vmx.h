// SPDX-License-Identifier: BSD-2-Clause
// What the files of vmx/ share. A vCPU's VMCS is current on at most one core, the one its thread is
// pinned to, and only that core touches it.
#pragma once
#include "kernel/arch/x86/vmx/vmcs.h"
#include "kernel/arch/x86/vcpu.h"

// Basic exit reasons (SDM, appendix "VMX Basic Exit Reasons").
enum exit_reason {
    EXIT_REASON_NMI = 0, EXIT_REASON_EXTINT = 1, EXIT_REASON_TRIPLE = 2, EXIT_REASON_INIT = 3,
    EXIT_REASON_INTR_WINDOW = 7, EXIT_REASON_NMI_WINDOW = 8, EXIT_REASON_TASK = 9,
    EXIT_REASON_CPUID = 10, EXIT_REASON_GETSEC = 11, EXIT_REASON_HLT = 12, EXIT_REASON_INVD = 13,
    EXIT_REASON_RDPMC = 15, EXIT_REASON_VMCALL = 18, EXIT_REASON_VMCLEAR = 19,
    EXIT_REASON_VMXON = 27, EXIT_REASON_CR = 28, EXIT_REASON_DR = 29, EXIT_REASON_IO = 30,
    EXIT_REASON_RDMSR = 31, EXIT_REASON_WRMSR = 32, EXIT_REASON_MWAIT = 36,
    EXIT_REASON_MONITOR = 39, EXIT_REASON_PAUSE = 40, EXIT_REASON_TPR = 43,
    EXIT_REASON_APIC_ACCESS = 44, EXIT_REASON_EOI = 45, EXIT_REASON_EPT_VIOLATION = 48,
    EXIT_REASON_INVEPT = 50, EXIT_REASON_PREEMPTION = 52, EXIT_REASON_INVVPID = 53,
    EXIT_REASON_WBINVD = 54, EXIT_REASON_XSETBV = 55, EXIT_REASON_APIC_WRITE = 56,
    EXIT_REASON_VMFUNC = 59, EXIT_REASON_ENCLS = 60, EXIT_REASON_BUS_LOCK = 74,
    EXIT_REASON_COUNT = 72,
};
#define ENTRY_FAILED_MC (1u << 31 | 41) // exit reason: a machine check in VM entry
#define EXITED_BUS_LOCK (1u << 26)          // beside another reason: a bus lock too

// Of control words, what changes or is asked for; the others are in vmx.c only.
#define PIN_POSTED      (1u << 7)

#define PRI_INTR_WINDOW (1u << 2)
#define PRI_NMI_WINDOW  (1u << 22)
#define PRI_DR          (1u << 23)
#define PRI_PAUSE       (1u << 30) // every CPU with VMX has it

#define SEC_APIC_ACCESS (1u << 0)
#define SEC_X2APIC      (1u << 4)
#define SEC_APIC_REGS   (1u << 8)
#define SEC_VINTR       (1u << 9)
#define SEC_PAUSE_LOOP  (1u << 10)
#define SEC_ENCLS       (1u << 15)
#define SEC_BUS_LOCK    (1u << 30)

#define ENTRY_IA32E      (1u << 9)

#define SS_DPL  (3u << 5)  // of GUEST_SS_ACCESS: the privilege level
#define CS_LONG (1u << 13) // of GUEST_CS_ACCESS

#define BLOCK_NMI 8u // of GUEST_INTERRUPTIBILITY; BLOCK_STI, BLOCK_SS: regs.h

#define PENDING_BREAKPOINT (1u << 12) // of GUEST_PENDING_DEBUG
#define PENDING_STEP       (1u << 14)

// What the CPU offers and what is used of it; set on the boot core, compared on the others.
struct vmx_caps {
    uint64_t basic, ept_vpid;
    uint64_t cr_fixed[4];      // must be 1 and may be 1: of CR0, of CR4
    uint32_t pin, primary, secondary, exit, entry;
    uint32_t timer_shift;      // a tick of the preemption timer is 1 << this of the TSC
    uint64_t timer_ms;         // a millisecond in TSC ticks
    uint32_t pause_loop;       // SEC_PAUSE_LOOP, for VMs with more than one vCPU
    uint32_t posted;           // PIN_POSTED, with virtual-interrupt delivery
    bool apicv;                // APIC-register virtualisation and virtual-interrupt delivery
    bool vintr_xapic;          // and the latter may be used in xAPIC mode
};
extern struct vmx_caps vmx;
#define CR0_HOST_OWNED (CR0_NE | CR0_CD | CR0_NW)
extern struct hpa vmx_msr_bitmap[2]; // [1]: guest in x2APIC mode, CPU virtualises it

// arch_vcpu.special: what the short switch (exit.c) does not move
#define SPECIAL_AUX     2u  // TSC_AUX
#define SPECIAL_SYSCALL 4u  // STAR and its neighbours
#define SPECIAL_FPU     8u  // FPU state that XCR0 does not cover
#define SPECIAL_TABLES  16u // its VMM's tables, without a PCID
#define SPECIAL_BARRIER 32u // what this CPU needs between two VMs

// vcpu.c
void vmx_load(struct vcpu *v);
void vmx_set_primary(struct vcpu *v, uint32_t which, uint32_t to);
void vmx_set_apic_mode(struct vcpu *v);
void vmx_invvpid(uint16_t vpid);
// sregs.c
bool vmx_guest_sets_cr0(uint64_t value); // false: #GP
bool vmx_guest_sets_cr4(struct vcpu *v, uint64_t value);
bool vmx_guest_sets_efer(struct vcpu *v, uint64_t value);
// cr.c
void vmx_fpu_uses(struct vcpu *v, uint64_t components); // or XCR0 has changed
#define FPU_PKRU (1ull << 9)             // of XCR0
enum exit_action vmx_exit_cr(struct vcpu *v);
enum exit_action vmx_exit_dr(struct vcpu *v);
enum exit_action vmx_exit_xsetbv(struct vcpu *v);
enum exit_action vmx_exit_exception(struct vcpu *v);
// msr.c
enum exit_action vmx_exit_rdmsr(struct vcpu *v);
enum exit_action vmx_exit_wrmsr(struct vcpu *v);
void vmx_vlapic_actions(struct vcpu *v);
NORETURN void vmx_exit_apic_access(struct vcpu *v);
enum exit_action vmx_exit_apic_write(struct vcpu *v);
int64_t vmx_lapic_answer(struct vcpu *v);
// inject.c
// Always EXIT_RESUME.
void vmx_inject(struct vcpu *v, uint32_t type, uint8_t vector);
enum exit_action vmx_inject_fault(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error);
void vmx_inject_pending(struct vcpu *v); // may return to the VMM for an acknowledge cycle
void vmx_debug_shadow(void);   // to be called where #DB is injected
void vmx_replay(void);         // an event that the exit interrupted
// answer.c
void vmx_fill_facts(struct vcpu *v);     // vmx_facts(), out of line
NORETURN void vmx_entry_refused(struct vcpu *v, uint32_t reason);
extern const uint8_t vmx_exit_class[];   // by basic exit reason, see hvm.h
// exit.c
uint64_t *vmx_exit(struct vcpu *v);
uint64_t *vmx_run_ready(struct thread *t, uint32_t run);
NORETURN void vmx_kill(struct vcpu *v, enum vm_killed code, uint32_t reason);
// entry.S
NORETURN void vmx_enter(struct vcpu *v);
void vmx_exit_entry(void);
NORETURN void vmx_entry_failed(struct vcpu *v);

static inline enum exit_action vmx_inject_gp(struct vcpu *v)
{
    return vmx_inject_fault(v, VECTOR_GP, true, 0);
}

// page->exit, but for what is of its kind.
static inline __attribute__((always_inline)) void vmx_facts(struct vcpu *v)
{
    struct vm_exit *e = &v->page->exit;
    uint64_t cs = vmread_hot(GUEST_CS_ACCESS), cr0 = vmread_hot(GUEST_CR0);
    e->rip = vmread_hot(GUEST_RIP);
    e->rflags = vmread_hot(GUEST_RFLAGS);
    e->rsp = vmread_hot(GUEST_RSP);
    e->cpu.cr0 = cr0;
    e->cpu.cr3 = vmread_hot(GUEST_CR3);
    e->cpu.cr4 = vmread_hot(GUEST_CR4);
    e->cpu.efer = vmread_hot(GUEST_EFER);
    e->cpu.cs_base = vmread_hot(GUEST_CS_BASE);
    e->cpu.code_size = (cs & CS_LONG) && (e->cpu.efer & EFER_LMA) ? 8 : cs & (1u << 14) ? 4 : 2;
    e->cpu.cpl = vmread_hot(GUEST_SS_ACCESS) >> 5 & 3;
}

// The one place that advances RIP; in line for the exits that come most.
static inline __attribute__((always_inline)) void vmx_skip(const struct vcpu *v, uint64_t length)
{
    vmwrite_hot(GUEST_RIP, vmread_hot(GUEST_RIP) + length); // EIP's wrap: vmx_entry_refused()
    uint64_t block = vmread_hot(GUEST_INTERRUPTIBILITY);
    if (unlikely(block & (BLOCK_STI | BLOCK_SS)))
        vmwrite(GUEST_INTERRUPTIBILITY, block & ~(uint64_t)(BLOCK_STI | BLOCK_SS));
    // RF is for one instruction only, and single-step has its trap after it.
    if (unlikely(vmread_hot(GUEST_RFLAGS) & v->arch.skip_flags)) {
        if (vmread(GUEST_RFLAGS) & RFLAGS_TF)
            vmwrite(GUEST_PENDING_DEBUG, vmread(GUEST_PENDING_DEBUG) | PENDING_STEP);
        vmwrite(GUEST_RFLAGS, vmread(GUEST_RFLAGS) & ~(uint64_t)RFLAGS_RF);
    }
}
