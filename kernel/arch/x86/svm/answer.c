// SPDX-License-Identifier: BSD-2-Clause
// Between a VMM and its guest: what an exit tells, what the VMM's answer does, and the full way
// into the guest. On the vCPU's core.
#include "kernel/arch/x86/svm/svm.h"

// page->exit, but for what is of its kind.
void svm_facts(struct vcpu *v)
{
    const struct vmcb *b = v->arch.svm.vmcb;
    struct vm_exit *e = &v->page->exit;
    e->rip = b->rip;
    e->rflags = b->rflags;
    e->rsp = b->rsp;
    e->cpu.cr0 = b->cr0;
    e->cpu.cr3 = b->cr3;
    e->cpu.cr4 = v->arch.svm.cr4;
    e->cpu.efer = b->efer & ~EFER_SVME;
    e->cpu.cs_base = b->cs.base;
    e->cpu.code_size = in_64bit_code(b) ? 8 : b->cs.access & CS_BIG ? 4 : 2;
    e->cpu.cpl = b->cpl;
}

void svm_kill(struct vcpu *v, enum vm_killed code, uint32_t reason)
{
    const struct vmcb *b = v->arch.svm.vmcb;
    svm_facts(v);
    v->page->exit.killed = (struct vm_exit_killed){
        code, reason, { b->exit_info1, b->exit_info2, b->exit_event, b->exit_code },
    };
    vcpu_exit(v, VM_EXIT_KILLED);
}

NORETURN static inline __attribute__((always_inline)) void enter(struct vcpu *v)
{
    if (v->work | v->arch.inject | v->arch.halted) {
        if (v->arch.svm.decoded)
            svm_again(v);
        svm_inject_pending(v);
    }
    svm_go(v);
}

// In this core's hands again: all that waits is done, and then the guest is entered.
void svm_go_on(struct vcpu *v)
{
    if (unlikely(this_cpu()->work))
        sched_run();
    enter(v);
}

void svm_resume(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    if (unlikely(cpu->arch.ready != cpu->current)) {
        svm_load(v);
        vcpu_load_rest(cpu, v);
    }
    enter(v);
}

// vcpu_run() of a thread whose guest is loaded.
void svm_run_ready(struct thread *t, uint32_t run)
{
    struct vcpu *v = t->vcpu;
    t->mode = THREAD_GUEST;
    if (likely(run == VM_RUN_NEXT)) { // the usual answer, and its VMCB is loaded
        v->arch.extint_wait = 0;
        svm_skip_to(v, v->arch.svm.next_rip);
    } else {
        int64_t kind = run <= VM_RUN_ALL ? svm_answer(v, run) : ERR_RANGE;
        if (kind)
            vcpu_return(v, kind, 0);
    }
    svm_go_on(v);
}

// Does what page->entry asks for: see arch_vcpu_answer().
static int64_t answer_page(struct vcpu *v)
{
    struct vm_entry *e = &v->page->entry;
    struct vmcb *b = v->arch.svm.vmcb;
    uint32_t flags = __atomic_exchange_n(&e->flags, 0, __ATOMIC_RELAXED);
    if (flags & VM_ENTRY_RFLAGS)
        b->rflags = (b->rflags & ~0x8d5ull) | (e->rflags & 0x8d5);
    if (flags & VM_ENTRY_RSP)
        b->rsp = e->rsp;
    if (flags & VM_ENTRY_FAULT) {
        if (e->fault.vector == VECTOR_PF) {
            b->cr2 = e->fault.address;
            svm_dirty(v, CLEAN_CR2);
        }
        svm_inject_fault(v, e->fault.vector & 31, e->fault.has_error, e->fault.error);
    }
    if ((flags & (VM_ENTRY_TASK | VM_ENTRY_FAULT)) == VM_ENTRY_TASK)
        b->event = 0; // delivered without a fault; NMIs are blocked since one was injected
    if (flags & VM_ENTRY_DECODED)
        svm_decoded(v, e->decoded.length, e->decoded.reg);
    if ((flags & VM_ENTRY_INTR) && v->arch.extint_wait) {
        svm_inject(v, EVENT_INTR, e->intr_vector);
        v->arch.inject = 1;
    }
    return flags & VM_ENTRY_LAPIC ? svm_lapic_answer(v) : 0;
}

int64_t svm_answer(struct vcpu *v, uint64_t run)
{
    svm_load(v);
    if (run & VM_RUN_NEXT)
        svm_skip_to(v, v->arch.svm.next_rip);
    else if (run & VM_RUN_SKIP)
        svm_skip_to(v, v->arch.svm.vmcb->rip + (run & VM_RUN_SKIP));
    int64_t kind = run & VM_RUN_PAGE ? answer_page(v) : 0;
    v->arch.extint_wait = 0;
    return kind;
}
