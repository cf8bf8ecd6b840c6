// SPDX-License-Identifier: BSD-2-Clause
// Exits for MSRs and for the local APIC, and what they leave to do in the VMCS. On the vCPU's core.
#include "kernel/arch/x86/vmx/vmx.h"

static enum exit_action gp(struct vcpu *v)
{
    vmx_inject_fault(v, VECTOR_GP, true, 0);
    return EXIT_RESUME;
}


// After vlapic code ran. What must go to the VMM (EOI of a level interrupt) stays in `actions` for
// vmx_inject_pending().
void vmx_vlapic_actions(struct vcpu *v)
{
    struct vlapic *a = &v->arch.vlapic;
    if (unlikely(v->intr_line)) // LINT0 may have changed
        v->arch.inject = 1;
    if (likely(!a->actions))
        return;
    if (a->actions & VLAPIC_ACT_TIMER)
        timer_arm(&v->apic_timer, vlapic_timer_deadline(a));
    if (a->actions & VLAPIC_ACT_NMI)
        v->arch.nmi_pending = 1;
    if (a->actions & VLAPIC_ACT_MODE) {
        vmx_set_apic_mode(v);
        cpuid_vcpu_update(&v->arch.cpuid, v->vm->arch.cpuid, a->id, vmread(CR4_SHADOW),
                          a->apic_base, v->arch.xcr0);
    }
    if ((a->actions & (VLAPIC_ACT_TMR | VLAPIC_ACT_MODE)) && vmx.apicv) {
        uint64_t map[4];
        vlapic_eoi_exit_bitmap(a, map);
        vmwrite(EOI_EXIT_0, map[0]);
        vmwrite(EOI_EXIT_1, map[1]);
        vmwrite(EOI_EXIT_2, map[2]);
        vmwrite(EOI_EXIT_3, map[3]);
    }
    if (a->actions & ~VLAPIC_ACT_TIMER)
        v->arch.inject = 1;
    a->actions &= VLAPIC_ACT_EOI;
}

static enum exit_action done(struct vcpu *v)
{
    vmx_vlapic_actions(v);
    return EXIT_SKIP;
}

static uint64_t *syscall_register(struct vcpu *v, uint32_t index)
{
    switch (index) {
    case MSR_STAR: return &v->arch.star;
    case MSR_LSTAR: return &v->arch.lstar;
    case MSR_CSTAR: return &v->arch.cstar;
    default: return &v->arch.fmask;
    }
}

enum exit_action vmx_exit_rdmsr(struct vcpu *v)
{
    uint32_t index = (uint32_t)v->page->gpr[GPR_RCX];
    uint64_t value = 0;
    switch (msr_read(&v->arch.msrs, index, rdtsc(), &value)) {
    case MSR_GP:
        return gp(v);
    case MSR_EFER_REG:
        value = vmread(GUEST_EFER);
        break;
    case MSR_SYSCALL_REG:
        value = *syscall_register(v, index);
        break;
    default:
        break;
    }
    v->page->gpr[GPR_RAX] = (uint32_t)value;
    v->page->gpr[GPR_RDX] = value >> 32;
    return done(v);
}

static void write_syscall_register(struct vcpu *v, uint32_t index, uint64_t value)
{
    struct cpu *cpu = this_cpu();
    *syscall_register(v, index) = value;
    if (cpu->arch.msrs == v)
        wrmsr(index, value);
}

enum exit_action vmx_exit_wrmsr(struct vcpu *v)
{
    uint32_t index = (uint32_t)v->page->gpr[GPR_RCX];
    uint64_t value = (uint32_t)v->page->gpr[GPR_RAX] | v->page->gpr[GPR_RDX] << 32;
    switch (msr_write(&v->arch.msrs, index, value, rdtsc())) {
    case MSR_GP:
        return gp(v);
    case MSR_EFER_REG:
        return vmx_guest_sets_efer(v, value) ? EXIT_SKIP : gp(v);
    case MSR_SYSCALL_REG:
        write_syscall_register(v, index, value);
        return EXIT_SKIP;
    case MSR_PAT_REG:
        vmwrite(GUEST_PAT, v->arch.msrs.pat);
        return EXIT_SKIP;
    case MSR_AUX_REG:
        v->arch.special = 1;
        this_cpu()->arch.tsc_aux = v->arch.msrs.tsc_aux;
        wrmsr(MSR_TSC_AUX, v->arch.msrs.tsc_aux);
        return EXIT_SKIP;
    case MSR_TSC:
        vmwrite(TSC_OFFSET, v->arch.vlapic.tsc_offset);
        return done(v);
    default:
        return done(v);
    }
}

// xAPIC with the CPU's APIC virtualisation: what it does not do by itself exits after the write...
enum exit_action vmx_exit_apic_write(struct vcpu *v)
{
    vlapic_written(&v->arch.vlapic, (uint32_t)vmread(EXIT_QUALIFICATION) & 0xff0, rdtsc());
    vmx_vlapic_actions(v);
    return EXIT_RESUME; // the instruction is complete
}

// ... or before the access, and then the VMM decodes it like any other MMIO.
enum exit_action vmx_exit_apic_access(struct vcpu *v)
{
    uint64_t q = vmread(EXIT_QUALIFICATION), type = q >> 12 & 15;
    if (type > 2)
        vmx_kill(v, VM_KILLED_UNKNOWN, EXIT_REASON_APIC_ACCESS);
    struct vm_exit_mmio *m = &v->page->exit.mmio;
    m->gpa = APIC_BASE_ADDRESS + (q & 0xfff);
    m->gva = 0;
    m->gva_valid = 1;
    m->page_walk = 0;
    m->access = type == 0 ? VM_ACCESS_READ : type == 1 ? VM_ACCESS_WRITE : VM_ACCESS_EXEC;
    v->page->exit.kind = VM_EXIT_MMIO;
    return EXIT_RESUME;
}

// VM_ENTRY_LAPIC. True: enter the guest; false: page->exit holds the answer to a read.
bool vmx_lapic_answer(struct vcpu *v)
{
    struct vm_entry e = v->page->entry;
    if (e.lapic.write) {
        vlapic_write(&v->arch.vlapic, e.lapic.offset & 0xfff, e.lapic.value, rdtsc());
        vmx_vlapic_actions(v);
        return true;
    }
    v->page->exit.kind = VM_EXIT_LAPIC_READ;
    v->page->exit.lapic.value = vlapic_read(&v->arch.vlapic, e.lapic.offset & 0xfff, rdtsc());
    vmx_vlapic_actions(v);
    return false;
}
