// SPDX-License-Identifier: BSD-2-Clause
// What of a vCPU stays in the core's registers while its own VMM runs in ring 3: CR2,
// KERNEL_GS_BASE, TSC_AUX, DR0-3 and DR6, and what a vendor's exits leave there besides
// (hvm->context_save); and the SYSCALL MSRs, which the host has no use for. An
// exit to the VMM and back thus moves none of it; switching to another VM moves all.
//
// The invariant: cpu->arch.context names the vCPU whose CR2, KERNEL_GS_BASE, TSC_AUX and, if armed,
// debug registers are loaded; NULL: nobody's, and ring 3 can read nothing of a guest there. It is
// NULL or of the running thread's process whenever ring 3 or a guest runs. In: context_load(), and
// switch_guest() of vmx/ in line; out: context_leave(). Each core on its own.
//
// cpu->arch.ready is the thread whose vCPU was entered last, as long as all that its guest needs is
// loaded: its VMCS and VM's tables, this context, its vector registers and XCR0. The full way into
// a guest (vmx_resume) sets it; what loads something else, or writes to the vCPU, clears it. Then
// that thread's vcpu_run() may take the short way (vmx_run_on).
#include "kernel/arch/x86/x86.h"

void context_tsc_aux(struct cpu *cpu, uint64_t value)
{
    if (cpu->arch.tsc_aux != value)
        wrmsr(MSR_TSC_AUX, cpu->arch.tsc_aux = value);
}

static __attribute__((noinline)) void save_more(struct vcpu *v)
{
    if (v->arch.special & SPECIAL_DR) {
        v->arch.dr[0] = read_dr0();
        v->arch.dr[1] = read_dr1();
        v->arch.dr[2] = read_dr2();
        v->arch.dr[3] = read_dr3();
        v->arch.dr6 = read_dr6();
    }
    if (v->arch.special & SPECIAL_VENDOR)
        hvm->context_save(v);
}

static void save(struct cpu *cpu)
{
    struct vcpu *v = cpu->arch.context;
    if (!v)
        return;
    cpu->arch.ready = NULL;
    v->arch.kernel_gs = rdmsr(MSR_KERNEL_GS_BASE);
    v->arch.cr2 = read_cr2();
    if (unlikely(v->arch.special & (SPECIAL_DR | SPECIAL_VENDOR)))
        save_more(v);
    cpu->arch.context = NULL;
}

// Before another process runs: its code would overwrite CR2 by a fault, could read KERNEL_GS_BASE
// as its GS base and TSC_AUX by RDTSCP.
void context_leave(struct cpu *cpu)
{
    save(cpu);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    context_tsc_aux(cpu, 0);
}

void context_load_dr(const struct vcpu *v)
{
    write_dr0(v->arch.dr[0]);
    write_dr1(v->arch.dr[1]);
    write_dr2(v->arch.dr[2]);
    write_dr3(v->arch.dr[3]);
    write_dr6(v->arch.dr6);
}

static __attribute__((noinline)) void load_more(struct cpu *cpu, struct vcpu *v)
{
    if (v->arch.special & SPECIAL_DR)
        context_load_dr(v);
    if (v->arch.special & SPECIAL_VENDOR)
        hvm->context_load(cpu, v);
}

void context_load(struct cpu *cpu, struct vcpu *v)
{
    if (cpu->arch.context == v)
        return;
    save(cpu);
    wrmsr(MSR_KERNEL_GS_BASE, v->arch.kernel_gs);
    write_cr2(v->arch.cr2);
    context_tsc_aux(cpu, v->arch.msrs.tsc_aux);
    if (unlikely(v->arch.special & (SPECIAL_DR | SPECIAL_VENDOR)))
        load_more(cpu, v);
    cpu->arch.context = v;
}

// Before a guest runs that may use SYSCALL. Nobody else reads these, so they stay.
void context_syscall_msrs(struct cpu *cpu, const struct vcpu *v)
{
    for (uint32_t i = 0; i < ARRAY_SIZE(cpu->arch.syscall); i++)
        if (cpu->arch.syscall[i] != v->arch.msrs.syscall[i])
            wrmsr(MSR_STAR + i, cpu->arch.syscall[i] = v->arch.msrs.syscall[i]);
}
