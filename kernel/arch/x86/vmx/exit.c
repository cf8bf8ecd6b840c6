// SPDX-License-Identifier: BSD-2-Clause
// The exit dispatcher. Frequent exits that a core answers by itself end here and enter the guest again;
// what belongs to the board is put in architectural terms into the shared page and returned to the VMM.
// Every reason ends in: emulated, fault injected, or this VM killed with a record. On the vCPU's core.
#include "kernel/arch/x86/vmx/vmx.h"

// The one place that advances RIP; in line for the exits that come most.
static inline __attribute__((always_inline)) void skip(uint64_t length)
{
    uint64_t next = vmread_hot(GUEST_RIP) + length;
    if (unlikely((uint32_t)next < length) && !(vmread(GUEST_CS_ACCESS) & (1u << 13)))
        next = (uint32_t)next; // EIP wraps
    vmwrite(GUEST_RIP, next);
    uint64_t block = vmread_hot(GUEST_INTERRUPTIBILITY);
    if (unlikely(block & (BLOCK_STI | BLOCK_SS)))
        vmwrite(GUEST_INTERRUPTIBILITY, block & ~(uint64_t)(BLOCK_STI | BLOCK_SS));
    if (unlikely(vmread_hot(GUEST_RFLAGS) & RFLAGS_TF)) // single-step: the trap after it
        vmwrite(GUEST_PENDING_DEBUG, vmread(GUEST_PENDING_DEBUG) | 1u << 14);
}

void vmx_skip(uint64_t length) { skip(length); }

static void fill_cpu_facts(struct vcpu *v)
{
    struct vm_exit *e = &v->page->exit;
    uint64_t cs = vmread(GUEST_CS_ACCESS), cr0 = vmread(GUEST_CR0);
    e->rip = vmread(GUEST_RIP);
    e->rflags = vmread(GUEST_RFLAGS);
    e->rsp = vmread(GUEST_RSP);
    e->cpu.cr0 = cr0;
    e->cpu.cr3 = vmread(GUEST_CR3);
    e->cpu.cr4 = vmread(GUEST_CR4) & ~CR4_VMXE;
    e->cpu.efer = vmread(GUEST_EFER);
    e->cpu.cs_base = vmread(GUEST_CS_BASE);
    e->cpu.code_size = (cs & (1u << 13)) && (e->cpu.efer & EFER_LMA) ? 8 : cs & (1u << 14) ? 4 : 2;
    e->cpu.cpl = vmread(GUEST_SS_ACCESS) >> 5 & 3;
}

void vmx_kill(struct vcpu *v, enum vm_killed code, uint32_t reason)
{
    struct vm_exit *e = &v->page->exit;
    fill_cpu_facts(v);
    e->kind = VM_EXIT_KILLED;
    e->killed.code = code;
    e->killed.reason = reason;
    e->killed.detail[0] = vmread(EXIT_QUALIFICATION);
    e->killed.detail[1] = vmread(EXIT_INTR_INFO);
    e->killed.detail[2] = vmread(GUEST_PHYSICAL);
    e->killed.detail[3] = vmread(INSN_ERROR);
    vcpu_return(v);
}

void vmx_entry_failed(struct vcpu *v)
{
    v->arch.launched = 0;
    vmx_kill(v, VM_KILLED_ENTRY, (uint32_t)vmread(INSN_ERROR));
}

static enum exit_action exit_hypercall(struct vcpu *v)
{
    uint64_t number = v->page->gpr[GPR_RAX];
    v->page->gpr[GPR_RAX] = number == HYPERCALL_YIELD ? 0 : ~0ull;
    if (number == HYPERCALL_YIELD) {
        sched_yield_current();
    } else if (number >= HYPERCALL_VMM) {
        v->page->gpr[GPR_RAX] = number;
        vmx_skip(vmread(EXIT_INSN_LEN));
        v->page->exit.kind = VM_EXIT_HYPERCALL;
        v->page->exit.hypercall.number = number;
        vcpu_return(v);
    }
    return EXIT_SKIP;
}

NORETURN static __attribute__((noinline)) void exit_pio(struct vcpu *v)
{
    static const uint32_t mask[8] = { 0xff, 0xffff, 0, 0xffffffff };
    struct vm_exit *e = &v->page->exit;
    uint64_t q = vmread_hot(EXIT_QUALIFICATION);
    e->kind = VM_EXIT_PIO;
    e->insn_len = (uint32_t)vmread_hot(EXIT_INSN_LEN);
    e->pio.port = (uint16_t)(q >> 16);
    e->pio.size = (uint8_t)((q & 7) + 1);
    e->pio.in = q >> 3 & 1;
    e->pio.string = q >> 4 & 1;
    e->pio.rep = q >> 5 & 1;
    e->pio.data = (uint32_t)v->page->gpr[GPR_RAX] & mask[q & 7];
    if (unlikely(q & 0x10)) {
        e->pio.gva = vmread(GUEST_LINEAR);
        e->pio.addr_size = (uint8_t)(2u << (vmread(EXIT_INSN_INFO) >> 7 & 3));
        fill_cpu_facts(v);
    }
    vcpu_return(v);
}

NORETURN static void exit_mmio(struct vcpu *v)
{
    uint64_t q = vmread(EXIT_QUALIFICATION);
    struct vm_exit *e = &v->page->exit;
    e->kind = VM_EXIT_MMIO;
    e->insn_len = 0;
    e->mmio.gpa = vmread(GUEST_PHYSICAL);
    e->mmio.gva = vmread(GUEST_LINEAR);
    e->mmio.access = q & 7;
    e->mmio.gva_valid = (q >> 7 & 1) && !(vmread(IDT_INFO) & INTR_VALID);
    e->mmio.page_walk = (q >> 7 & 1) && !(q >> 8 & 1);
    if (unlikely(q & (1u << 12)) && !(vmread(IDT_INFO) & INTR_VALID)) // IRET had unblocked NMIs
        vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) | BLOCK_NMI);
    vmx_replay();
    fill_cpu_facts(v);
    vcpu_return(v);
}

static enum exit_action exit_hlt(struct vcpu *v)
{
    vmx_skip(vmread(EXIT_INSN_LEN));
    v->arch.halted = 1;
    return EXIT_WORK;
}

static enum exit_action exit_ud(struct vcpu *v)
{
    vmx_inject_fault(v, VECTOR_UD, false, 0);
    return EXIT_RESUME;
}

static enum exit_action exit_gp(struct vcpu *v)
{
    vmx_inject_fault(v, VECTOR_GP, true, 0);
    return EXIT_RESUME;
}

// The less frequent half of the dispatcher.
static enum exit_action exit_other(struct vcpu *v, uint32_t reason)
{
    switch (reason) {
    case EXIT_REASON_NMI:
        if (INTR_TYPE(vmread(EXIT_INTR_INFO)) == INTR_NMI) {
            // The exit left NMIs blocked until an IRET: the handler's own does it.
            vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) & ~(uint64_t)BLOCK_NMI);
            __asm__ volatile("int $2" : : : "memory");
            return EXIT_RESUME;
        }
        return vmx_exit_exception(v);
    case EXIT_REASON_CR: return vmx_exit_cr(v);
    case EXIT_REASON_DR: return vmx_exit_dr(v);
    case EXIT_REASON_XSETBV: return vmx_exit_xsetbv(v);
    case EXIT_REASON_NMI_WINDOW: return EXIT_WORK;
    case EXIT_REASON_TPR: return EXIT_WORK;
    case EXIT_REASON_APIC_WRITE: return vmx_exit_apic_write(v);
    case EXIT_REASON_APIC_ACCESS:
        vmx_exit_apic_access(v);
        vmx_replay();
        fill_cpu_facts(v);
        vcpu_return(v);
    case EXIT_REASON_EOI:
        v->page->exit.kind = VM_EXIT_EOI;
        v->page->exit.eoi.vector = (uint8_t)vmread(EXIT_QUALIFICATION);
        vcpu_return(v);
    case EXIT_REASON_TRIPLE:
        fill_cpu_facts(v);
        v->page->exit.kind = VM_EXIT_SHUTDOWN;
        vcpu_return(v);
    case EXIT_REASON_INVD:   // no device sees memory behind the caches: nothing to write back,
    case EXIT_REASON_WBINVD: // and a neighbour's cache lines are not this guest's to flush
    case EXIT_REASON_PAUSE:
        return EXIT_SKIP;
    case EXIT_REASON_RDPMC:
        return exit_gp(v);
    case EXIT_REASON_INIT: // the host's cores are never sent one on purpose
        return EXIT_RESUME;
    case EXIT_REASON_GETSEC:
    case EXIT_REASON_MWAIT:
    case EXIT_REASON_MONITOR:
    case EXIT_REASON_INVEPT:
    case EXIT_REASON_INVVPID:
    case EXIT_REASON_VMFUNC:
        return exit_ud(v);
    default:
        if (reason >= EXIT_REASON_VMCLEAR && reason <= EXIT_REASON_VMXON)
            return exit_ud(v); // the VMX instructions
        vmx_kill(v, VM_KILLED_UNKNOWN, reason);
    }
}

static enum exit_action dispatch(struct vcpu *v, uint32_t reason)
{
    switch (reason) {
    case EXIT_REASON_EXTINT:
        trap_dispatch((uint8_t)vmread(EXIT_INTR_INFO));
        return EXIT_RESUME;
    case EXIT_REASON_PREEMPTION: return EXIT_RESUME;
    case EXIT_REASON_VMCALL: return exit_hypercall(v);
    case EXIT_REASON_HLT: return exit_hlt(v);
    case EXIT_REASON_EPT_VIOLATION: exit_mmio(v);
    case EXIT_REASON_RDMSR: return vmx_exit_rdmsr(v);
    case EXIT_REASON_WRMSR: return vmx_exit_wrmsr(v);
    case EXIT_REASON_INTR_WINDOW: return EXIT_WORK;
    default: return exit_other(v, reason);
    }
}

// Something waits: for this core, or for this vCPU.
static __attribute__((noinline)) uint64_t *leave_slowly(struct vcpu *v, uint64_t now)
{
    struct cpu *cpu = this_cpu();
    if (now >= cpu->deadline)
        cpu_deadline_passed(now);
    if (cpu->work)
        sched_run();
    if (v->work | v->arch.inject)
        vmx_resume(v);
    return v->arch.gpr;
}

// Every way back into the guest without a look at the VMM lets a pending host interrupt in and
// compares the clock with the core's deadline.
static inline __attribute__((always_inline)) uint64_t *leave(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    irq_window();
    uint64_t now = rdtsc();
    if (unlikely(now >= cpu->deadline || cpu->work || (v->work | v->arch.inject)))
        return leave_slowly(v, now);
    return v->arch.gpr;
}

static __attribute__((noinline)) uint64_t *exit_general(struct vcpu *v, uint32_t reason)
{
    if (reason >= EXIT_REASON_COUNT) {
        v->arch.launched = 0; // the entry failed: bit 31
        vmx_kill(v, reason & (1u << 31) ? VM_KILLED_ENTRY : VM_KILLED_UNKNOWN, reason);
    }
    enum exit_action action = dispatch(v, reason);
    if (action == EXIT_WORK)
        v->arch.inject = 1;
    if (action == EXIT_SKIP)
        skip(vmread_hot(EXIT_INSN_LEN));
    return leave(v);
}

// Called by vmx_exit_entry; returning, with page->gpr, enters the guest again. The exits answered here
// need no function but cold ones, so the compiler saves no register for them.
uint64_t *vmx_exit(struct vcpu *v)
{
    uint64_t *gpr = v->arch.gpr;
    uint32_t reason = (uint32_t)vmread_hot(EXIT_REASON);
    v->arch.exits[reason % EXIT_COUNTERS]++;
    if (reason == EXIT_REASON_VMCALL && gpr[GPR_RAX] == HYPERCALL_NULL)
        gpr[GPR_RAX] = 0;
    else if (reason == EXIT_REASON_CPUID)
        cpuid_emulate(v->vm->arch.cpuid, &v->arch.cpuid, gpr);
    else if (reason == EXIT_REASON_IO)
        exit_pio(v);
    else
        return exit_general(v, reason);
    skip(vmread_hot(EXIT_INSN_LEN));
    return leave(v);
}

void vmx_resume(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    struct space *s = &v->vm->space;
    vmx_load(v);
    if (unlikely(cpu->guest_space != s) && space_enter(&cpu->guest_space, s, cpu->id))
        space_sync(s, cpu->id);
    if (v->work | v->arch.inject | v->arch.halted)
        vmx_inject_pending(v);
    fpu_use_vcpu(cpu, v);
    context_load(cpu, v);
    if ((v->arch.efer & EFER_SCE) && cpu->arch.msrs != v)
        context_syscall_msrs(cpu, v);
    cpu->arch.tr_stale = 1; // from the next exit on
    vmx_enter(v);
}

// Checks and applies what the VMM wants done. False: page->exit is an answer for it.
bool vmx_answer(struct vcpu *v)
{
    struct vm_entry *e = &v->page->entry;
    uint32_t flags = __atomic_exchange_n(&e->flags, 0, __ATOMIC_RELAXED);
    vmx_load(v);
    if (flags & VM_ENTRY_RFLAGS)
        vmwrite(GUEST_RFLAGS, (vmread(GUEST_RFLAGS) & ~0x8d5ull) | (e->rflags & 0x8d5));
    if (flags & VM_ENTRY_RSP)
        vmwrite(GUEST_RSP, e->rsp);
    if (flags & VM_ENTRY_SKIP) {
        uint8_t length = e->skip_len;
        if (length <= 15)
            vmx_skip(length);
    }
    if (likely(!(flags & ~(VM_ENTRY_SKIP | VM_ENTRY_RFLAGS | VM_ENTRY_RSP))))
        return true;
    if (flags & VM_ENTRY_FAULT) {
        if (e->fault.vector == VECTOR_PF) {
            v->arch.cr2 = e->fault.address;
            if (this_cpu()->arch.context == v)
                write_cr2(v->arch.cr2);
        }
        vmx_inject_fault(v, e->fault.vector & 31, e->fault.has_error, e->fault.error);
    }
    if ((flags & VM_ENTRY_INTR) && v->arch.extint_wait) {
        vmwrite(ENTRY_INTR_INFO, INTR_VALID | INTR_EXTERNAL << 8 | e->intr_vector);
        v->injected++;
        v->arch.halted = 0;
        v->arch.inject = 1;
    }
    v->arch.extint_wait = 0;
    return (flags & VM_ENTRY_LAPIC) ? vmx_lapic_answer(v) : true;
}

void vmx_stats(struct vcpu *v, struct vcpu_stats *s)
{
    // One more than the class; 0, what is not listed: other.
    static const uint8_t class_of[EXIT_REASON_COUNT] = {
#define CLASS(reason, name) [EXIT_REASON_##reason] = EXIT_##name + 1
        CLASS(NMI, EXCEPTION), CLASS(EXTINT, EXTINT), CLASS(INTR_WINDOW, WINDOW),
        CLASS(NMI_WINDOW, WINDOW), CLASS(CPUID, CPUID), CLASS(HLT, HLT), CLASS(VMCALL, HYPERCALL),
        CLASS(CR, CR), CLASS(DR, DR), CLASS(IO, PIO), CLASS(RDMSR, RDMSR), CLASS(WRMSR, WRMSR),
        CLASS(PAUSE, PAUSE), CLASS(TPR, APIC), CLASS(APIC_ACCESS, APIC), CLASS(APIC_WRITE, APIC),
        CLASS(EOI, EOI), CLASS(EPT_VIOLATION, MMIO), CLASS(PREEMPTION, TIMER),
        CLASS(XSETBV, XSETBV),
#undef CLASS
    };
    for (unsigned i = 0; i < EXIT_REASON_COUNT; i++)
        s->exits[class_of[i] ? class_of[i] - 1 : EXIT_OTHER] += v->arch.exits[i];
}
