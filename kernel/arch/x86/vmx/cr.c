// SPDX-License-Identifier: BSD-2-Clause
// Exits for control and debug registers, XSETBV and exceptions. On the vCPU's core.
#include "kernel/arch/x86/vmx/vmx.h"

// The exit's instruction is not done: it runs again. Its breakpoint has been, though the exit has
// cleared RF. In Bochs its single step waits; only in a shadow there can be one, of what came
// before.
static enum exit_action run_again(void)
{
    vmwrite(GUEST_RFLAGS, vmread(GUEST_RFLAGS) | RFLAGS_RF);
    if (!(vmread(GUEST_INTERRUPTIBILITY) & (BLOCK_STI | BLOCK_SS)))
        vmwrite(GUEST_PENDING_DEBUG, vmread(GUEST_PENDING_DEBUG) & ~(uint64_t)PENDING_STEP);
    return EXIT_RESUME;
}

// MOV to CR0 or CR4 that changes what is the host's: nothing else of control registers exits, CLTS
// and LMSW neither, for the bits that they write are all the guest's. The shadow takes the host's
// bits; then the instruction runs again, and as no such bit changes any more, the CPU does it, with
// all that follows from it (EFER.LMA, what its TLB forgets). It can fault for bad PDPTEs only then.
enum exit_action vmx_exit_cr(struct vcpu *v)
{
    uint64_t q = vmread(EXIT_QUALIFICATION);
    unsigned cr = q & 15, gpr = q >> 8 & 15;
    uint64_t value = gpr == GPR_RSP ? vmread(GUEST_RSP) : v->page->gpr[gpr];
    if (q & 0x30 || (cr != 0 && cr != 4))
        vmx_kill(v, VM_KILLED_UNKNOWN, EXIT_REASON_CR);
    // In 64-bit mode the whole register counts; elsewhere its lower half.
    if (!(vmread(GUEST_CS_ACCESS) & CS_LONG))
        value &= 0xffffffff;
    bool good = cr ? vmx_guest_sets_cr4(v, value) : vmx_guest_sets_cr0(value);
    return good ? run_again() : vmx_inject_gp(v);
}

static void use_dr(struct vcpu *v)
{
    v->arch.special |= SPECIAL_DR;
    v->arch.skip_flags |= RFLAGS_RF; // which matters to its breakpoints alone
    vmx_set_primary(v, PRI_DR, 0);
    context_load_dr(v);
}

// The first use of a debug register: from now on DR0-3 and DR6 are switched with the vCPU.
enum exit_action vmx_exit_dr(struct vcpu *v)
{
    use_dr(v);
    return run_again(); // on the real registers
}

// The short switch saves and loads what XCR0 covers. Some of the FPU's state is there without: SSE,
// PKRU under CR4.PKE, what was covered once.
void vmx_fpu_uses(struct vcpu *v, uint64_t components)
{
    v->arch.fpu_used |= components;
    v->arch.special &= (uint8_t)~SPECIAL_FPU;
    if (v->arch.fpu_used & ~v->arch.xcr0)
        v->arch.special |= SPECIAL_FPU;
}

enum exit_action vmx_exit_xsetbv(struct vcpu *v)
{
    // The CPU has checked CR4.OSXSAVE before the exit, and the privilege level; Bochs has not.
    if ((vmread(GUEST_SS_ACCESS) & SS_DPL) || !vcpu_xsetbv(v))
        return vmx_inject_gp(v);
    vmx_fpu_uses(v, v->arch.xcr0);
    return EXIT_SKIP;
}

enum exit_action vmx_exit_exception(struct vcpu *v)
{
    uint64_t info = vmread(EXIT_INTR_INFO);
    uint8_t vector = (uint8_t)info;
    // An event that was being delivered and met this exception: the exception comes first, unless
    // together they are a double fault; the CPU says so by itself, so the exception just goes on.
    if (vector == VECTOR_MC) {
        if (!mce_handled()) { // another core's, or corrected: the guest goes on
            if (vmread(IDT_INFO) & EVENT_VALID)
                vmx_replay();
            return EXIT_RESUME;
        }
        vmx_kill(v, VM_KILLED_MACHINE_CHECK, EXIT_REASON_NMI);
    }
    if (vector == VECTOR_DB) {
        if (!(v->arch.special & SPECIAL_DR))
            use_dr(v);
        // The exit did not update DR6 as delivery would have: pending bits are in the
        // qualification.
        write_dr6((read_dr6() & ~0xfull) | (vmread(EXIT_QUALIFICATION) & 0xe00f));
        vmwrite(GUEST_DR7, vmread(GUEST_DR7) & ~(1ull << 13)); // nor cleared GD
        if ((info & (1u << 12)) && !(vmread(IDT_INFO) & EVENT_VALID)) // IRET had unblocked NMIs
            vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) | BLOCK_NMI);
        vmwrite(ENTRY_INTR_INFO, info & 0x80000fff);
        if (EVENT_TYPE(info) >= EVENT_SOFT_INT) // INT1
            vmwrite(ENTRY_INSN_LEN, vmread(EXIT_INSN_LEN));
        vmx_debug_shadow();
        return EXIT_RESUME;
    }
    if (vector == VECTOR_AC)
        return vmx_inject_fault(v, VECTOR_AC, true, (uint32_t)vmread(EXIT_ERROR_CODE));
    vmx_kill(v, VM_KILLED_UNKNOWN, EXIT_REASON_NMI);
}
