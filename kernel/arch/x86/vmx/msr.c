// SPDX-License-Identifier: BSD-2-Clause
// Exits for MSRs and for the local APIC, and what they leave to do in the VMCS. On the vCPU's core.
#include "kernel/arch/x86/vmx/vmx.h"

// After vlapic code ran.
void vmx_vlapic_actions(struct vcpu *v)
{
    struct vlapic *a = &v->arch.vlapic;
    vcpu_look_at_intr(v);
    if (likely(!a->actions))
        return;
    if (a->actions & VLAPIC_ACT_MODE) {
        vmx_set_apic_mode(v);
        cpuid_vcpu_update(&v->arch.cpuid, a->id, vmread(CR4_SHADOW), a->apic_base);
    }
    if ((a->actions & (VLAPIC_ACT_TMR | VLAPIC_ACT_MODE)) && vmx.apicv) {
        uint64_t map[4];
        vlapic_eoi_exit_bitmap(a, map);
        for (unsigned i = 0; i < 4; i++)
            vmwrite((enum vmcs_field)(EOI_EXIT_0 + 2 * i), map[i]);
    }
    vcpu_vlapic_actions(v);
}

enum exit_action vmx_exit_rdmsr(struct vcpu *v)
{
    if (vcpu_rdmsr(v, vmread(GUEST_EFER)) == MSR_GP)
        return vmx_inject_gp(v);
    vmx_vlapic_actions(v);
    return EXIT_SKIP;
}

enum exit_action vmx_exit_wrmsr(struct vcpu *v)
{
    uint64_t value;
    enum msr_result result = vcpu_wrmsr(v, &value);
    if (result == MSR_GP || (result == MSR_EFER_REG && !vmx_guest_sets_efer(v, value)))
        return vmx_inject_gp(v);
    if (result == MSR_LOAD) {
        vmwrite(GUEST_PAT, v->arch.msrs.pat);
        vmwrite(TSC_OFFSET, v->arch.vlapic.tsc_offset);
        v->arch.special |= v->arch.msrs.tsc_aux ? SPECIAL_AUX : 0;
        if (v->arch.efer & EFER_SCE)
            context_syscall_msrs(this_cpu(), v);
    }
    vmx_vlapic_actions(v);
    return EXIT_SKIP;
}

// xAPIC with the CPU's APIC virtualisation: what it does not do by itself exits after the write...
enum exit_action vmx_exit_apic_write(struct vcpu *v)
{
    vlapic_written(&v->arch.vlapic, (uint32_t)vmread(EXIT_QUALIFICATION) & 0xff0, rdtsc());
    vmx_vlapic_actions(v);
    return EXIT_RESUME; // the instruction is complete
}

// ... or before the access, and then the VMM decodes it like any other MMIO.
void vmx_exit_apic_access(struct vcpu *v)
{
    uint64_t q = vmread(EXIT_QUALIFICATION), type = q >> 12 & 15;
    static const uint8_t access[] = { VM_MMIO_READ, VM_MMIO_WRITE, VM_MMIO_EXEC };
    if (type >= ARRAY_SIZE(access))
        vmx_kill(v, VM_KILLED_UNKNOWN, EXIT_REASON_APIC_ACCESS);
    v->page->exit.mmio = (struct vm_exit_mmio){
        .gpa = APIC_BASE_ADDRESS + (q & 0xfff),
    };
    vmx_replay();
    vmx_fill_facts(v);
    vcpu_return_fast(v, VM_EXIT_MMIO, access[type] | VM_MMIO_GVA | VM_MMIO_OPERAND);
}

// VM_ENTRY_LAPIC: see vcpu_lapic_answer().
int64_t vmx_lapic_answer(struct vcpu *v)
{
    int64_t kind = vcpu_lapic_answer(v);
    if (!kind && (v->arch.secondary & SEC_VINTR)) // the CPU has a copy of the highest vectors
        v->arch.inject = 1;
    vmx_vlapic_actions(v);
    return kind;
}
