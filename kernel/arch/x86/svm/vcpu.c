// SPDX-License-Identifier: BSD-2-Clause
// Making and freeing a VM's and a vCPU's SVM parts. svm_load() and all that touches a VMCB runs on
// the vCPU's core.
#include "kernel/arch/x86/svm/svm.h"

#define PAUSE_FILTER 100 // so many a guest may execute before one exits, where the CPU counts them

// All that is not the VMM's to set (svm_sregs).
static void write_fields(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    b->cr_reads = b->cr_writes = 1u << 4;
    b->dr_reads = b->dr_writes = 0xffff;
    // #DB and #AC always exit: a guest can make the CPU deliver either without end, and no
    // interrupt would ever come through.
    b->exceptions = 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC;
    b->intercept = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_INIT | INTERCEPT_RDPMC |
                   INTERCEPT_CPUID | INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA |
                   INTERCEPT_IOIO | INTERCEPT_MSR | INTERCEPT_TASK_SWITCH | INTERCEPT_SHUTDOWN;
    if (v->vm->smp) {
        b->intercept |= INTERCEPT_PAUSE;
        b->pause_filter = PAUSE_FILTER;
    }
    b->intercept2 = INTERCEPT2_ALL;
    b->intercept3 = INTERCEPT3_ALL;
    b->io_map = svm_io_map.v;
    b->msr_map = svm_msr_map.v;
    b->nested_paging = 1;
    b->nested_cr3 = v->vm->space.arch.root.v;
    b->vintr = VINTR_MASKING;
    b->pat = v->arch.msrs.pat;
    b->efer = EFER_SVME;
    b->dr6 = v->arch.dr6;
    b->dr7 = 0x400;
    b->rflags = RFLAGS_FIXED;
    b->vcpu = v;
}

enum status svm_vcpu_init(struct vcpu *v)
{
    v->arch.svm.vmcb = arch_ptr(v->arch.vmcs);
    v->arch.special = SPECIAL_VENDOR;
    write_fields(v);
    return OK;
}

void svm_vcpu_leave(UNUSED struct vcpu *v) {} // all is in memory
void svm_vcpu_free(UNUSED struct vcpu *v) {}

void svm_load(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    if (likely(cpu->arch.vcpu == v))
        return;
    cpu->arch.vcpu = v;
    cpu->arch.ready = NULL;
    if (!v->arch.fresh)
        return;
    v->arch.fresh = 0; // new on this core: what its TLB may hold is of an earlier stay
    v->arch.svm.asid_turn = 0;
    v->arch.svm.cpu = cpu;
    v->arch.svm.vmcb->clean = 0;
}

// All guests of this core take new ones: the few that are entered before the tables change again
// have little to lose.
void svm_flush(UNUSED struct space *s) { this_cpu()->arch.asid_turn++; }

// The core's own timer makes a guest exit, whatever that does.
void svm_set_timer(UNUSED struct cpu *cpu, UNUSED uint64_t now) {}
