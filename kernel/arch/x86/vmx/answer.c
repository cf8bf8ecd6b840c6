// SPDX-License-Identifier: BSD-2-Clause
// Between a VMM and its guest: what an exit tells, what the VMM's answer does, and the full way
// into the guest. On the vCPU's core.
#include "kernel/arch/x86/vmx/vmx.h"

void vmx_fill_facts(struct vcpu *v) { vmx_facts(v); }

void vmx_kill(struct vcpu *v, enum vm_killed code, uint32_t reason)
{
    vmx_fill_facts(v);
    v->page->exit.killed = (struct vm_exit_killed){
        code, reason, { vmread(EXIT_QUALIFICATION), vmread(EXIT_INTR_INFO), vmread(GUEST_PHYSICAL),
                        vmread(INSN_ERROR) },
    };
    vcpu_exit(v, VM_EXIT_KILLED);
}

// Bit 31 of the reason: the CPU did not accept the guest's state. An instruction that was skipped
// at the very end of a 4 GB code segment leaves a RIP that must wrap, one at the end of the lower
// half of the addresses none; anything else is the VM's end.
void vmx_entry_refused(struct vcpu *v, uint32_t reason)
{
    uint64_t rip = vmread(GUEST_RIP), canonical = (uint64_t)((int64_t)(rip << 16) >> 16);
    uint32_t ends = reason >> 31 ? VM_KILLED_ENTRY : VM_KILLED_UNKNOWN;
    if (reason == ENTRY_FAILED_MC) {
        ends = mce_handled() ? VM_KILLED_MACHINE_CHECK : 0;
    } else if (rip >> 32 && !(vmread(GUEST_CS_ACCESS) & CS_LONG)) {
        vmwrite(GUEST_RIP, (uint32_t)rip);
        ends = 0;
    } else if (canonical != rip) {
        // Behind the last instruction of the lower half there is no address. What the CPU would
        // fetch there is #GP; some refuse the entry instead.
        vmwrite(GUEST_RIP, canonical);
        if (!(vmread(ENTRY_INTR_INFO) & EVENT_VALID))
            vmx_inject_gp(v);
        ends = 0;
    }
    arch_vcpu_leave(v); // whether it had been launched is not known: now it has not
    if (!ends)
        vmx_resume(v);
    vmx_load(v);
    vmx_kill(v, ends, reason);
}

// No exit has loaded CR3 since switch_guest().
void vmx_entry_failed(struct vcpu *v)
{
    cr3_use(this_cpu(), &v->object.owner->space);
    arch_vcpu_leave(v);
    vmx_load(v);
    vmx_kill(v, VM_KILLED_ENTRY, (uint32_t)vmread(INSN_ERROR));
}

static __attribute__((noinline)) void load_all(struct cpu *cpu, struct vcpu *v)
{
    vmx_load(v);
    if (v->arch.efer & EFER_SCE)
        context_syscall_msrs(cpu, v);
    cpu->arch.tr_stale = 1; // from the next exit on
    vcpu_load_rest(cpu, v);
}

void vmx_resume(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    if (unlikely(cpu->arch.ready != cpu->current))
        load_all(cpu, v);
    if (v->work | v->arch.inject | v->arch.halted)
        vmx_inject_pending(v);
    vmx_enter(v);
}

// The VMM has switched tasks, and perhaps it ends in a fault, which comes during the delivery of
// what led to it. Of that, an NMI blocks others until IRET.
static void task_switched(bool fault)
{
    uint64_t event = vmread(ENTRY_INTR_INFO), block = vmread(GUEST_INTERRUPTIBILITY);
    bool nmi = (event & EVENT_VALID) && EVENT_TYPE(event) == EVENT_NMI;
    vmwrite(GUEST_INTERRUPTIBILITY, nmi ? BLOCK_NMI : block & BLOCK_NMI);
    vmwrite(GUEST_PENDING_DEBUG, 0);
    vmwrite(ENTRY_INTR_INFO, fault ? event : 0);
}

// Does what page->entry asks for: see arch_vcpu_answer().
static int64_t answer_page(struct vcpu *v)
{
    struct vm_entry *e = &v->page->entry;
    uint32_t flags = __atomic_exchange_n(&e->flags, 0, __ATOMIC_RELAXED);
    if (flags == VM_ENTRY_LAPIC)
        return vmx_lapic_answer(v);
    if (flags & VM_ENTRY_RFLAGS)
        vmwrite(GUEST_RFLAGS, (vmread(GUEST_RFLAGS) & ~0x8d5ull) | (e->rflags & 0x8d5));
    if (flags & VM_ENTRY_RSP)
        vmwrite(GUEST_RSP, e->rsp);
    if (flags & VM_ENTRY_TASK)
        task_switched(flags & VM_ENTRY_FAULT);
    if (flags & VM_ENTRY_FAULT) {
        if (e->fault.vector == VECTOR_PF) {
            v->arch.cr2 = e->fault.address;
            if (this_cpu()->arch.context == v)
                write_cr2(v->arch.cr2);
        }
        vmx_inject_fault(v, e->fault.vector & 31, e->fault.has_error, e->fault.error);
    }
    if ((flags & VM_ENTRY_INTR) && v->arch.extint_wait) {
        vmx_inject(v, EVENT_INTR, e->intr_vector);
        v->arch.inject = 1;
    }
    return flags & VM_ENTRY_LAPIC ? vmx_lapic_answer(v) : 0;
}

int64_t vmx_answer(struct vcpu *v, uint64_t run)
{
    vmx_load(v);
    if (run & VM_RUN_NEXT)
        vmx_skip(v, vmread_hot(EXIT_INSN_LEN) & VM_RUN_SKIP);
    else if (run & VM_RUN_SKIP)
        vmx_skip(v, run & VM_RUN_SKIP);
    int64_t kind = run & VM_RUN_PAGE ? answer_page(v) : 0;
    v->arch.extint_wait = 0;
    return kind;
}

const uint8_t vmx_exit_class[EXIT_COUNTERS] = {
#define CLASS(reason, name) [EXIT_REASON_##reason] = EXIT_##name + 1
    CLASS(NMI, EXCEPTION), CLASS(EXTINT, EXTINT), CLASS(INTR_WINDOW, WINDOW),
    CLASS(NMI_WINDOW, WINDOW), CLASS(CPUID, CPUID), CLASS(HLT, HLT), CLASS(VMCALL, HYPERCALL),
    CLASS(CR, CR), CLASS(DR, DR), CLASS(IO, PIO), CLASS(RDMSR, RDMSR), CLASS(WRMSR, WRMSR),
    CLASS(TPR, APIC), CLASS(APIC_ACCESS, APIC), CLASS(APIC_WRITE, APIC),
    CLASS(EOI, EOI), CLASS(EPT_VIOLATION, MMIO), CLASS(PREEMPTION, TIMER),
    CLASS(XSETBV, XSETBV),
#undef CLASS
};
