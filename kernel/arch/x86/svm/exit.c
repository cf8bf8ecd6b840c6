// SPDX-License-Identifier: BSD-2-Clause
// The exit dispatcher: as vmx/exit.c. What can be answered at once is answered with GIF clear (see
// svm.h). A CPU without nRIP save does not say how long an instruction is: the VMM is asked, whose
// part decoding is; of exits that only the kernel answers it keeps the answer for the next time.
#include "kernel/arch/x86/svm/svm.h"

static bool is_cr(uint64_t code)
{
    return code == SVM_EXIT_CR4_READ || code == SVM_EXIT_CR4_WRITE || code == SVM_EXIT_CR8_WRITE;
}

static struct insn_length *cached_length(struct vcpu *v, const struct vmcb *b)
{
    return &v->arch.svm.length[(b->rip ^ b->exit_code) % ARRAY_SIZE(v->arch.svm.length)];
}

// QEMU, which saves no nRIP either, lets a guest set XCR0 without an exit.
static void see_xcr0(struct vcpu *v)
{
    if (!(svm.features & SVM_NRIP) && unlikely(xgetbv() != v->arch.xcr0))
        vcpu_set_xcr0(v, xgetbv());
}

static void to_host(struct vcpu *v)
{
    svm_to_host(v);
    see_xcr0(v);
}

// Behind which instruction the guest goes on. A cached length may be an older instruction's in its
// place: only guests that write code with other prefixes over code, on such a CPU, can tell.
static bool find_next_rip(struct vcpu *v)
{
    const struct vmcb *b = v->arch.svm.vmcb;
    const struct insn_length *l = cached_length(v, b);
    if (svm.features & SVM_NRIP) {
        v->arch.svm.next_rip = b->next_rip;
        return (svm.features & SVM_DECODE) || !is_cr(b->exit_code);
    }
    v->arch.svm.next_rip = b->rip + l->bytes;
    return l->bytes && l->rip == b->rip && l->cr3 == b->cr3 && l->code == b->exit_code;
}

void svm_decoded(struct vcpu *v, uint32_t bytes, uint32_t gpr)
{
    const struct vmcb *b = v->arch.svm.vmcb;
    v->arch.svm.next_rip = b->rip + bytes;
    v->arch.svm.operand = gpr & 15;
    v->arch.svm.decoded = v->arch.inject = 1; // see svm_again()
    if (!is_cr(b->exit_code))
        *cached_length(v, b) = (struct insn_length){ b->rip, b->cr3, b->exit_code, bytes };
}

NORETURN static void exit_pio(struct vcpu *v)
{
    uint32_t info = (uint32_t)v->arch.svm.vmcb->exit_info1;
    uint64_t word = (info & 0xffff0000) | ((info >> 4 & 7) - 1) | (info & 1) << 3 |
                    (info & 12) << 2; // VM_PIO_*
    v->arch.svm.next_rip = v->arch.svm.vmcb->exit_info2;
    if (unlikely(word & VM_PIO_STRING)) {
        v->page->exit.pio = (struct vm_exit_pio){
            .addr_size = (uint8_t)((info >> 7 & 7) * 2), .segment = VM_PIO_SEGMENT_UNKNOWN,
        };
        svm_facts(v);
    }
    vcpu_return_fast(v, VM_EXIT_PIO, word);
}

NORETURN static void exit_mmio(struct vcpu *v)
{
    const struct vmcb *b = v->arch.svm.vmcb;
    uint64_t info = b->exit_info1, word = VM_MMIO_READ;
    if (info & NPF_FETCH)
        word = VM_MMIO_EXEC;
    else if (info & NPF_WRITE)
        word = VM_MMIO_WRITE;
    if (!(b->exit_event & EVENT_VALID) || !(info & NPF_FINAL)) // else it was no instruction's
        word |= VM_MMIO_GVA | VM_MMIO_FIND | (info & NPF_FINAL ? VM_MMIO_OPERAND : 0);
    v->page->exit.mmio = (struct vm_exit_mmio){ .gpa = b->exit_info2 };
    svm_facts(v);
    vcpu_return_fast(v, VM_EXIT_MMIO, word);
}

// Before anything of a task switch is done. What is being delivered waits. It ends a step for an
// NMI's sake, and so an NMI's handler if IRET is what does it.
NORETURN static void exit_task(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    uint64_t how = b->exit_info2, own = v->arch.svm.step && v->arch.svm.step_own ? RFLAGS_TF : 0;
    uint8_t other = b->exit_event & EVENT_VALID ? VM_TASK_GATE : VM_TASK_CALL;
    b->rflags = (b->rflags & ~(RFLAGS_RF | own)) | (how >> TASK_RF & 1) * RFLAGS_RF;
    v->arch.svm.step = 0;
    v->arch.svm.nmi_blocked &= !(how >> TASK_IRET & 1);
    v->page->exit.task = (struct vm_exit_task){
        .selector = (uint16_t)b->exit_info1, .event = b->exit_event,
        .source = how >> TASK_IRET & 1 ? VM_TASK_IRET : how >> TASK_JMP & 1 ? VM_TASK_JMP : other,
    };
    svm_facts(v);
    vcpu_exit(v, VM_EXIT_TASK);
}

// What needs the instruction's length is done only once that is known.
static enum exit_action dispatch(struct vcpu *v, uint64_t code)
{
    switch (code) {
    case SVM_EXIT_VMMCALL:
        if (!in_64bit_code(v->arch.svm.vmcb))
            v->arch.gpr[GPR_RAX] = (uint32_t)v->arch.gpr[GPR_RAX];
        if (v->arch.gpr[GPR_RAX] == HYPERCALL_YIELD && !v->arch.svm.vmcb->cpl) {
            v->arch.gpr[GPR_RAX] = 0;
            svm_skip_to(v, v->arch.svm.next_rip);
            sched_yield_current();
            return EXIT_RESUME;
        }
        v->arch.gpr[GPR_RAX] = v->arch.gpr[GPR_RAX] == HYPERCALL_NULL ? 0 : ~0ull;
        return EXIT_SKIP;
    case SVM_EXIT_CPUID:
        svm_cpuid(v);
        return EXIT_SKIP;
    case SVM_EXIT_MSR: return svm_exit_msr(v);
    case SVM_EXIT_CR4_READ:
    case SVM_EXIT_CR4_WRITE:
    case SVM_EXIT_CR8_WRITE: return svm_exit_cr(v);
    case SVM_EXIT_XSETBV: return svm_exit_xsetbv(v);
    case SVM_EXIT_HLT:
        v->arch.halted = 1;
        svm_skip_to(v, v->arch.svm.next_rip);
        return EXIT_WORK;
    case SVM_EXIT_PAUSE:
        svm_skip_to(v, v->arch.svm.next_rip);
        sched_give_way();
        return EXIT_RESUME;
    case SVM_EXIT_INVD:
    case SVM_EXIT_WBINVD: // no device sees memory behind the caches, which are not its own to flush
        return v->arch.svm.vmcb->cpl ? svm_inject_gp(v) : EXIT_SKIP; // QEMU 10 looks too late
    }
    svm_kill(v, VM_KILLED_UNKNOWN, (uint32_t)code);
}

// First those that end no instruction of which the length must be known.
static enum exit_action dispatch_first(struct vcpu *v, uint64_t code)
{
    switch (code) {
    case SVM_EXIT_INTR: // taken as soon as interrupts are let in
        irq_window();
        return EXIT_RESUME;
    case SVM_EXIT_NMI:  // and this was, with GIF
    case SVM_EXIT_SMI:
    case SVM_EXIT_INIT: // see trap_paranoid_c()
        return EXIT_RESUME;
    case SVM_EXIT_VINTR:
        return EXIT_WORK;
    case SVM_EXIT_IRET:
        svm_exit_iret(v);
        return EXIT_RESUME;
    case SVM_EXIT_LDTR_WRITE:
    case SVM_EXIT_TR_WRITE:
        svm_tr_changes(v);
        return EXIT_RESUME;
    case SVM_EXIT_TASK_SWITCH: exit_task(v);
    case SVM_EXIT_DR ... SVM_EXIT_DR_LAST: return svm_exit_dr(v);
    case SVM_EXIT_EXCEPTION ... SVM_EXIT_EXCEPTION + 31:
        return svm_exit_exception(v, (uint8_t)(code - SVM_EXIT_EXCEPTION));
    case SVM_EXIT_RDPMC: return svm_inject_gp(v);
    case SVM_EXIT_NPF: exit_mmio(v);
    case SVM_EXIT_SHUTDOWN:
        svm_facts(v);
        vcpu_exit(v, VM_EXIT_SHUTDOWN);
    case SVM_EXIT_INVLPGA:
    case SVM_EXIT_VMRUN:
    case SVM_EXIT_VMMCALL + 1 ... SVM_EXIT_WBINVD - 1:
    case SVM_EXIT_MONITOR ... SVM_EXIT_MONITOR + 2:
    case SVM_EXIT_RDPRU:
    case SVM_EXIT_INVLPGB ... SVM_EXIT_TLBSYNC:
        return svm_inject_fault(v, VECTOR_UD, false, 0);
    }
    if ((int32_t)code >= 0)
        return EXIT_LENGTH;
    // VMRUN has refused, before it did what tlb_control says: those that come next get all flushed.
    this_cpu()->arch.asid = svm.asids;
    this_cpu()->arch.asid_turn++;
    v->arch.svm.vmcb->clean = 0;
    svm_kill(v, VM_KILLED_ENTRY, (uint32_t)code);
}

static void finish(struct vcpu *v, enum exit_action action)
{
    if (action == EXIT_WORK)
        v->arch.inject = 1;
    if (action == EXIT_SKIP)
        svm_skip_to(v, v->arch.svm.next_rip);
}

// The VMM has decoded the instruction: its exit is answered now.
void svm_again(struct vcpu *v)
{
    v->arch.svm.decoded = 0;
    finish(v, dispatch(v, v->arch.svm.vmcb->exit_code));
}

NORETURN static __attribute__((noinline)) void exit_general(struct vcpu *v, uint64_t code)
{
    const struct vmcb *b = v->arch.svm.vmcb;
    to_host(v);
    if (unlikely((b->exit_event & EVENT_VALID) | (b->vintr & VINTR_IRQ)))
        svm_replay(v);
    enum exit_action action = dispatch_first(v, code);
    if (action == EXIT_LENGTH && !find_next_rip(v)) {
        svm_facts(v);
        vcpu_exit(v, VM_EXIT_DECODE);
    }
    finish(v, action == EXIT_LENGTH ? dispatch(v, code) : action);
    irq_window();
    svm_go_on(v);
}

// Called by svm_enter's exit; returning enters the guest again, with what is loaded.
void svm_exit(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    uint64_t code = b->exit_code;
    v->arch.exits[SVM_COUNT(code)]++;
    b->clean = svm.clean;
    b->event = 0;
    if (code == SVM_EXIT_VMMCALL && v->arch.gpr[GPR_RAX] == HYPERCALL_NULL) {
        if (!find_next_rip(v))
            exit_general(v, code);
    } else if (code == SVM_EXIT_CPUID && find_next_rip(v)) {
        see_xcr0(v); // of which leaf 0DH tells
        svm_cpuid(v);
    } else if (code == SVM_EXIT_IOIO) {
        to_host(v); // no event was being delivered
        exit_pio(v);
    } else {
        exit_general(v, code);
    }
    svm_skip_to(v, v->arch.svm.next_rip);
    if (unlikely(this_cpu()->work | v->work | v->arch.inject)) {
        svm_to_host(v);
        svm_go_on(v);
    }
}

const uint8_t svm_exit_class[EXIT_COUNTERS] = {
#define CLASS(code, name) [code] = EXIT_##name + 1
    CLASS(SVM_EXIT_EXCEPTION + VECTOR_DB, EXCEPTION),
    CLASS(SVM_EXIT_EXCEPTION + VECTOR_AC, EXCEPTION), CLASS(SVM_EXIT_NMI, EXCEPTION),
    CLASS(SVM_EXIT_INTR, EXTINT), CLASS(SVM_EXIT_VINTR, WINDOW), CLASS(SVM_EXIT_IRET, WINDOW),
    CLASS(SVM_EXIT_CPUID, CPUID), CLASS(SVM_EXIT_HLT, HLT), CLASS(SVM_EXIT_VMMCALL, HYPERCALL),
    CLASS(SVM_EXIT_CR4_READ, CR), CLASS(SVM_EXIT_CR4_WRITE, CR), CLASS(SVM_EXIT_CR8_WRITE, CR),
    CLASS(SVM_EXIT_DR, DR), CLASS(SVM_EXIT_IOIO, PIO), CLASS(SVM_EXIT_MSR, RDMSR),
    CLASS(SVM_COUNT(SVM_EXIT_NPF), MMIO), CLASS(SVM_EXIT_XSETBV, XSETBV),
#undef CLASS
};
