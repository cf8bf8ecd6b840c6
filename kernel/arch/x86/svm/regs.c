// SPDX-License-Identifier: BSD-2-Clause
// Exits for control and debug registers, XSETBV, exceptions, CPUID, MSRs, and what they leave to
// do. On the vCPU's core.
#include "kernel/arch/x86/svm/svm.h"

// CR0, CR2 and CR3 are the guest's to write, with the CPU's own checks, and CR8 mostly.
enum exit_action svm_exit_cr(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    bool assists = svm.features & SVM_DECODE;
    unsigned gpr = assists ? b->exit_info1 & 15 : v->arch.svm.operand;
    uint64_t *at = gpr == GPR_RSP ? &b->rsp : &v->arch.gpr[gpr];
    uint64_t value = in_64bit_code(b) ? *at : (uint32_t)*at;
    if (b->exit_code == SVM_EXIT_CR4_READ) {
        *at = v->arch.svm.cr4;
        return EXIT_SKIP;
    }
    if (b->exit_code == SVM_EXIT_CR4_WRITE)
        return svm_guest_sets_cr4(v, value) ? EXIT_SKIP : svm_inject_gp(v);
    if (value > 15)
        return svm_inject_gp(v);
    v->arch.vlapic.regs[APIC_TPR / 4] = (uint32_t)value << 4;
    b->vintr = (b->vintr & ~VINTR_TPR) | value; // svm_to_host() believes it
    v->arch.inject = 1;
    return EXIT_SKIP;
}

// The first use of a debug register: from now on DR0-3 are switched with the vCPU.
enum exit_action svm_exit_dr(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    v->arch.special |= SPECIAL_DR;
    b->dr_reads = b->dr_writes = 0;
    svm_dirty(v, CLEAN_INTERCEPTS);
    context_load_dr(v);
    return EXIT_RESUME; // the instruction runs again, now on the real registers
}

// QEMU 10 looks at CR4.OSXSAVE later than at the intercept.
enum exit_action svm_exit_xsetbv(struct vcpu *v)
{
    if (!(v->arch.svm.cr4 & CR4_OSXSAVE))
        return svm_inject_fault(v, VECTOR_UD, false, 0);
    return !v->arch.svm.vmcb->cpl && vcpu_xsetbv(v) ? EXIT_SKIP : svm_inject_gp(v);
}

enum exit_action svm_exit_exception(struct vcpu *v, uint8_t vector)
{
    if (vector == VECTOR_MC) {
        if (!mce_handled())
            return EXIT_RESUME; // another core's, or corrected: the guest goes on
        svm_kill(v, VM_KILLED_MACHINE_CHECK, SVM_EXIT_EXCEPTION + VECTOR_MC);
    }
    if (vector == VECTOR_DB) // DR6 and DR7 are as a handler would find them
        return svm_stepped(v) ? EXIT_RESUME : svm_inject_fault(v, VECTOR_DB, false, 0);
    return svm_inject_fault(v, vector, true, (uint32_t)v->arch.svm.vmcb->exit_info1);
}

void svm_cpuid(struct vcpu *v)
{
    if (unlikely(!cpuid_emulate(&v->arch.table, &v->arch.cpuid, v->arch.gpr)))
        cpuid_no_subleaf(&v->arch.cpuid, v->arch.gpr);
}

// After vlapic code ran.
void svm_vlapic_actions(struct vcpu *v)
{
    struct vlapic *a = &v->arch.vlapic;
    vcpu_look_at_intr(v);
    if (likely(!a->actions))
        return;
    if (a->actions & VLAPIC_ACT_MODE)
        cpuid_vcpu_update(&v->arch.cpuid, a->id, v->arch.svm.cr4, a->apic_base);
    vcpu_vlapic_actions(v);
}

enum exit_action svm_exit_msr(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    uint64_t value = 0;
    enum msr_result result = b->exit_info1 & 1 ? vcpu_wrmsr(v, &value)
                                               : vcpu_rdmsr(v, b->efer & ~EFER_SVME);
    if (result == MSR_GP ||
        ((b->exit_info1 & 1) && result == MSR_EFER_REG && !svm_guest_sets_efer(v, value)))
        return svm_inject_gp(v);
    if (result == MSR_LOAD)
        b->clean = 0;
    b->pat = v->arch.msrs.pat;
    b->tsc_offset = v->arch.vlapic.tsc_offset;
    svm_vlapic_actions(v);
    return EXIT_SKIP;
}

int64_t svm_lapic_answer(struct vcpu *v)
{
    int64_t kind = vcpu_lapic_answer(v);
    svm_vlapic_actions(v);
    return kind;
}
