// SPDX-License-Identifier: BSD-2-Clause
// What the guest is to receive: exceptions, NMIs, interrupts from its local APIC and from the PIC;
// and the slow half of an entry, in which all work that others have left for this vCPU is done. On
// its core. (APM volume 2, "Event Injection", "Virtual Interrupts", "EXITINTINFO".)
//
// There is no window for NMIs: where one has to wait for an instruction, that is stepped by TF; and
// IRET, which ends an NMI's handler, exits before it is done.
#include "kernel/arch/x86/svm/svm.h"

// arch_vcpu.step
enum { STEP_NOT, STEP_ONE, STEP_IRET };

void svm_inject(struct vcpu *v, uint32_t type, uint8_t vector)
{
    v->arch.svm.vmcb->event = vcpu_event(v, type, vector);
}

// The image that a fault pushes has RF set, so that an instruction breakpoint does not come again
// when the guest returns; VMRUN takes RF as it is.
enum exit_action svm_inject_fault(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
    struct vmcb *b = v->arch.svm.vmcb;
    b->event = vcpu_fault_event(v, b->event, vector, has_error, error, b->cr0);
    if (vector != VECTOR_DB)
        b->rflags |= RFLAGS_RF;
    return EXIT_RESUME;
}

// The exit came before an event was delivered, or in the middle of that: deliver it again with the
// next entry, whenever that is. Of an instruction's own, RIP is still there: it runs again. QEMU
// calls an interrupt an exception, with a vector that none has.
void svm_replay(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    uint64_t event = b->exit_event;
    uint8_t vector = (uint8_t)event;
    if (!(event & EVENT_VALID)) {
        if (!(b->vintr & VINTR_IRQ) || (b->intercept & INTERCEPT_VINTR))
            return; // not inject_first()'s virtual one
        event = EVENT_VALID | EVENT_INTR << 8 | (uint8_t)(b->vintr >> VINTR_VECTOR);
    }
    v->arch.inject = 1;
    if (EVENT_TYPE(event) == EVENT_SOFT_INT)
        return;
    if (EVENT_TYPE(event) == EVENT_EXCEPTION) {
        if (vector == VECTOR_BP || vector == VECTOR_OF)
            return;
        if (vector >= 32)
            event = EVENT_VALID | EVENT_INTR << 8 | vector;
    }
    b->event = event;
}

static void step(struct vcpu *v, uint8_t why)
{
    v->arch.svm.step = why;
    v->arch.svm.step_own = !(v->arch.svm.vmcb->rflags & RFLAGS_TF);
    v->arch.svm.vmcb->rflags |= RFLAGS_TF;
}

void svm_exit_iret(struct vcpu *v)
{
    svm_intercept(v, INTERCEPT_IRET, 0);
    step(v, STEP_IRET);
}

bool svm_stepped(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    uint8_t why = v->arch.svm.step;
    if (why == STEP_NOT || !(b->dr6 & DR6_STEP))
        return false;
    v->arch.svm.step = STEP_NOT;
    v->arch.inject = 1;
    if (why == STEP_IRET)
        v->arch.svm.nmi_blocked = 0; // and RFLAGS is what IRET has popped
    else if (v->arch.svm.step_own)
        b->rflags &= ~(uint64_t)RFLAGS_TF;
    if (!v->arch.svm.step_own)
        return false;
    b->dr6 &= ~(uint64_t)DR6_STEP;
    svm_dirty(v, CLEAN_DR);
    return !(b->dr6 & 0xf); // nor a breakpoint
}

// The end of an instruction, beside RIP: RF is for one only, and single-step has its trap there.
void svm_skip_flags(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    b->rflags &= ~(uint64_t)RFLAGS_RF;
    if (!(b->rflags & RFLAGS_TF))
        return;
    b->dr6 |= DR6_STEP;
    svm_dirty(v, CLEAN_DR);
    if (!svm_stepped(v))
        (void)svm_inject_fault(v, VECTOR_DB, false, 0);
}

static __attribute__((noinline)) void take_nmi(struct vcpu *v, bool busy)
{
    if (v->arch.svm.nmi_blocked || v->arch.svm.step)
        return; // IRET's exit, or the step's
    if (busy || (v->arch.svm.vmcb->interrupt_shadow & SVM_SHADOW)) {
        step(v, STEP_ONE);
        return;
    }
    v->arch.nmi_pending = 0;
    v->arch.svm.nmi_blocked = 1;
    svm_inject(v, EVENT_NMI, VECTOR_NMI);
    svm_intercept(v, INTERCEPT_IRET, INTERCEPT_IRET);
}

// One pass over NMI, PIC and local APIC in their order of priority. What cannot be taken yet is
// asked for by a virtual interrupt, which exits when the guest could: its priority is compared with
// TPR by the CPU.
static void inject_first(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    struct vlapic *a = &v->arch.vlapic;
    uint64_t window = 0, tpr = a->regs[APIC_TPR / 4] >> 4 & 15;
    if (v->arch.nmi_pending)
        take_nmi(v, b->event & EVENT_VALID);
    bool open = !(b->event & EVENT_VALID) && !(b->interrupt_shadow & SVM_SHADOW) &&
                (b->rflags & RFLAGS_IF);
    if (vcpu_extint(v, open))
        window = VINTR_FIRST;
    int vector = vlapic_highest(a);
    if (vector >= 0 && open && !window) {
        vlapic_inject(a, (uint8_t)vector);
        svm_inject(v, EVENT_INTR, (uint8_t)vector);
        (void)vlapic_highest(a); // for its status
    }
    uint32_t class = a->status >> 4 & 15; // waits for TPR too, which MOV CR8 changes silently
    if (class > a->status >> 12 && !window)
        window = VINTR_IRQ | (uint64_t)class << VINTR_PRIORITY;
    // QEMU dies of MOV CR8 while a virtual interrupt waits, and lets one of TPR's class through.
    if (!(svm.features & SVM_DECODE)) {
        b->cr_writes = 1u << 4 | (window ? 1u << 8 : 0);
        svm_dirty(v, CLEAN_INTERCEPTS);
        if (class <= tpr && !(window & VINTR_IGNORE_TPR))
            window = 0;
    }
    svm_intercept(v, INTERCEPT_VINTR, window ? INTERCEPT_VINTR : 0);
    // QEMU, which saves no nRIP, delivers an interrupt of VMRUN's twice if its loop is left before
    // anything else comes. A virtual one, of which no exit is asked for, it delivers once.
    bool interrupts = (b->event & EVENT_VALID) && EVENT_TYPE(b->event) == EVENT_INTR;
    if (interrupts && !window && !(svm.features & SVM_NRIP)) {
        window = VINTR_FIRST | (b->event & 0xff) << VINTR_VECTOR;
        b->event = 0;
    }
    b->vintr = VINTR_MASKING | window | tpr;
    svm_dirty(v, CLEAN_VINTR);
}

void svm_inject_pending(struct vcpu *v)
{
    uint32_t work = vcpu_take_work(v);
    if (v->arch.vlapic.actions & ~VLAPIC_ACT_IRR)
        svm_vlapic_actions(v);
    vcpu_tell_vmm(v, work);
    inject_first(v);
    v->arch.inject = 0;
    if (v->arch.halted)
        vcpu_halted(v, v->arch.svm.vmcb->rflags);
}
