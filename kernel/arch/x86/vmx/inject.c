// SPDX-License-Identifier: BSD-2-Clause
// What the guest is to receive: exceptions, NMIs, interrupts from its local APIC and from the PIC;
// and the slow half of an entry, in which all work that others have left for this vCPU is done. On
// its core. (SDM, "Event Injection", "Virtual-Interrupt Delivery", "Information for VM Exits That
// Occur During Event Delivery".)
#include "kernel/arch/x86/vmx/vmx.h"

void vmx_inject(struct vcpu *v, uint32_t type, uint8_t vector)
{
    vmwrite(ENTRY_INTR_INFO, vcpu_event(v, type, vector));
}

// The image that a fault pushes has RF set, so that an instruction breakpoint does not come again
// when the guest returns; VM entry takes RF as it is.
enum exit_action vmx_inject_fault(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
    uint64_t event = vcpu_fault_event(v, vmread(ENTRY_INTR_INFO), vector, has_error, error,
                                      vmread(GUEST_CR0));
    vmwrite(ENTRY_INTR_INFO, (uint32_t)event);
    vmwrite(ENTRY_ERROR_CODE, event >> 32);
    if ((uint8_t)event == VECTOR_DB)
        vmx_debug_shadow();
    else
        vmwrite(GUEST_RFLAGS, vmread(GUEST_RFLAGS) | RFLAGS_RF);
    return EXIT_RESUME;
}

// #DB is injected. Where TF is set in the shadow of STI or MOV SS, VM entry wants the trap of the
// single step pending ("Checks on Guest Non-Register State"), which the exit has taken away; what
// is pending is dropped when an exception is injected, so the guest sees nothing of it.
void vmx_debug_shadow(void)
{
    if ((vmread(GUEST_INTERRUPTIBILITY) & (BLOCK_STI | BLOCK_SS)) &&
        (vmread(GUEST_RFLAGS) & RFLAGS_TF))
        vmwrite(GUEST_PENDING_DEBUG, vmread(GUEST_PENDING_DEBUG) | PENDING_STEP);
}

// The exit came in the middle of delivering an event: deliver it again with the next entry,
// whenever that is.
void vmx_replay(void)
{
    uint64_t info = vmread(IDT_INFO);
    if (!(info & EVENT_VALID))
        return;
    vmwrite(ENTRY_INTR_INFO, info & 0x80000fff);
    if (info & EVENT_ERROR)
        vmwrite(ENTRY_ERROR_CODE, vmread(IDT_ERROR_CODE));
    if (EVENT_TYPE(info) >= EVENT_SOFT_INT)
        vmwrite(ENTRY_INSN_LEN, vmread(EXIT_INSN_LEN));
    if (EVENT_TYPE(info) == EVENT_NMI) // it is not delivered yet, so it does not block
        vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) & ~(uint64_t)BLOCK_NMI);
}

// Virtual-interrupt delivery: the CPU takes the highest vector by itself when the guest can. What
// that is it keeps in a field; after more than vlapic_accept() it is computed anew.
static void update_status(struct vlapic *a, bool anew)
{
    if (anew) {
        (void)vlapic_highest(a);
    } else {
        uint64_t status = vmread_hot(GUEST_INTR_STATUS);
        a->status = (uint16_t)((status & 0xff00) | max_u64(status & 0xff, a->accepted));
    }
    vmwrite(GUEST_INTR_STATUS, a->status);
}

// One pass over NMI, PIC and local APIC in their order of priority; asks for a window when
// something cannot be taken yet.
static __attribute__((noinline)) void inject_first(struct vcpu *v)
{
    struct vlapic *a = &v->arch.vlapic;
    bool virtual = v->arch.secondary & SEC_VINTR;
    int vector = virtual ? vlapic_of_status(a) : vlapic_highest(a);
    uint64_t block = vmread_hot(GUEST_INTERRUPTIBILITY);
    bool want_nmi = false, want_intr = false;
    // A debug exception that waits comes before all of these, and would be lost if they came first.
    // It ends HLT, too: an instruction that was stepped.
    bool trap = vmread_hot(GUEST_PENDING_DEBUG) & (PENDING_STEP | PENDING_BREAKPOINT);
    bool busy = trap || (vmread_hot(ENTRY_INTR_INFO) & EVENT_VALID);
    bool open =
        !busy && !(block & (BLOCK_STI | BLOCK_SS)) && (vmread_hot(GUEST_RFLAGS) & RFLAGS_IF);
    if (trap)
        v->arch.halted = 0;
    if (v->arch.nmi_pending) {
        if (!busy && !(block & (BLOCK_STI | BLOCK_SS | BLOCK_NMI))) {
            v->arch.nmi_pending = 0;
            vmx_inject(v, EVENT_NMI, VECTOR_NMI);
            open = false;
        } else if (block & BLOCK_STI) { // a CPU need not hold the NMI window back in that shadow
            want_intr = true;
        } else {
            want_nmi = true;
        }
    }
    if (vcpu_extint(v, open))
        want_intr = true;
    if (virtual) {
        if (vector >= 0 && open)
            v->arch.halted = 0;
    } else {
        if (vector >= 0 && open && !want_intr) {
            vlapic_inject(a, (uint8_t)vector);
            vmx_inject(v, EVENT_INTR, (uint8_t)vector);
            vector = vlapic_highest(a);
        }
        want_intr = want_intr || vector >= 0;
        vmwrite(TPR_THRESHOLD, vlapic_tpr_threshold(a));
    }
    vmx_set_primary(v, PRI_NMI_WINDOW | PRI_INTR_WINDOW,
                    (want_nmi ? PRI_NMI_WINDOW : 0) | (want_intr ? PRI_INTR_WINDOW : 0));
}

// anew: see update_status(). Where the CPU delivers by itself, what is left is to see whether HLT
// ends: in it no event waits for the next entry, and no shadow holds interrupts off.
static void inject_interrupts(struct vcpu *v, bool anew)
{
    struct vlapic *a = &v->arch.vlapic;
    bool virtual = v->arch.secondary & SEC_VINTR;
    if (virtual)
        update_status(a, anew);
    a->accepted = 0;
    if (!virtual || (v->arch.nmi_pending | v->intr_line)) {
        inject_first(v);
        return;
    }
    vmx_set_primary(v, PRI_NMI_WINDOW | PRI_INTR_WINDOW, 0);
    if (v->arch.halted)
        v->arch.halted = !(vmread_hot(GUEST_PENDING_DEBUG) & (PENDING_STEP | PENDING_BREAKPOINT)) &&
                         !(vlapic_of_status(a) >= 0 && (vmread_hot(GUEST_RFLAGS) & RFLAGS_IF));
}

void vmx_inject_pending(struct vcpu *v)
{
    bool anew = v->arch.inject;
    uint32_t work = vcpu_take_work(v);
    if (v->arch.vlapic.actions & ~VLAPIC_ACT_IRR)
        vmx_vlapic_actions(v);
    vcpu_tell_vmm(v, work);
    inject_interrupts(v, anew);
    v->arch.inject = 0;
    if (v->arch.halted)
        vcpu_halted(v, vmread(GUEST_RFLAGS));
}
