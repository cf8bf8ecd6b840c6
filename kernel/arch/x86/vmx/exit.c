// SPDX-License-Identifier: BSD-2-Clause
// The exit dispatcher. Frequent exits that a core answers by itself end here and enter the guest
// again; what belongs to the board is put in architectural terms into the shared page and returned
// to the VMM. Every reason ends in: emulated, fault injected, or this VM killed with a record. On
// the vCPU's core.
//
// Nothing in this file may return to C: it is compiled to keep no register (CMakeLists.txt).
#include "kernel/arch/x86/vmx/vmx.h"
#include "kernel/core/yield.h"

// The guest is entered next, for which all is loaded, unless this core has other work.
static inline __attribute__((always_inline)) uint64_t *enter(struct vcpu *v)
{
    if (unlikely(THIS_CPU->work))
        sched_run();
    if (v->work | v->arch.inject)
        vmx_inject_pending(v);
    return v->arch.gpr;
}

// Something waits: for this core, or for this vCPU.
static __attribute__((noinline)) uint64_t *leave_slowly(struct vcpu *v, uint64_t now)
{
    if (now >= THIS_CPU->deadline)
        cpu_deadline_passed(now);
    return enter(v);
}

// Every way back into the guest without a look at the VMM lets a pending host interrupt in and
// compares the clock with the core's deadline.
static inline __attribute__((always_inline)) uint64_t *leave(struct vcpu *v)
{
    irq_window();
    uint64_t now = rdtsc();
    if (unlikely(now >= THIS_CPU->deadline || (THIS_CPU->work | v->work | v->arch.inject)))
        return leave_slowly(v, now);
    return v->arch.gpr;
}

static __attribute__((noinline)) uint64_t *yield_slowly(struct vcpu *v)
{
    sched_yield_current();
    return leave(v);
}

// n's tables may be in use already, and what this core has cached of them stale.
NORETURN static __attribute__((noinline)) void switch_slowly(struct cpu *cpu, struct vcpu *n)
{
    cr3_use(cpu, &n->object.owner->space);
    if (cpu->guest_space == &n->vm->space)
        space_sync(cpu->guest_space, cpu->id);
    context_leave(cpu); // n's VMM may be next
    vmx_resume(n);
}

// From guest to guest in one go. What either of them has beyond the common state, and work that
// waits for the next one, takes the full way (`special`). With equal
// XCR0 that covers SSE and whose bits were never others, the components outside of it are in their
// initial state on both sides, so XCR0 need not change for XSAVE. The next exit makes CR3 what
// cpu->space says.
static inline uint64_t *switch_guest(struct cpu *cpu, struct vcpu *v, struct thread *t)
{
    struct vcpu *n = t->vcpu;
    struct space *own = n->arch.own, *guest = n->arch.guest;
    uint32_t core = cpu->id;
    if (unlikely(n->work | n->arch.attention))
        switch_slowly(cpu, n);
    vmptrld(&n->arch.vmcs);
    cpu->arch.vcpu = n;
    cr3_leave();
    __atomic_store_n(&cpu->space, own, __ATOMIC_RELAXED); // the next line is the barrier of both
    if (unlikely(space_enter(&cpu->guest_space, guest, core) || space_stale(own, core)))
        switch_slowly(cpu, n);
    cpu->arch.user = NULL;
    cpu->arch.ready = NULL;
    cpu->arch.fpu_vcpu = n;
    clts();
    fpu_save(v->arch.fpu);
    fpu_restore(n->arch.fpu);
    v->arch.kernel_gs = rdmsr(MSR_KERNEL_GS_BASE);
    if (v->arch.kernel_gs != n->arch.kernel_gs)
        wrmsr(MSR_KERNEL_GS_BASE, n->arch.kernel_gs);
    v->arch.cr2 = read_cr2();
    write_cr2(n->arch.cr2);
    cpu->arch.context = n;
    return n->arch.gpr;
}

// To the guest of another VM without a turn through the scheduler, where that is all there is to
// do.
static inline uint64_t *exit_yield(struct vcpu *v, uint64_t *gpr)
{
    struct cpu *cpu = this_cpu();
    vmx_skip(v, vmread_hot(EXIT_INSN_LEN));
    if (unlikely(vmread_hot(GUEST_SS_ACCESS) & SS_DPL)) { // time is the guest's kernel's to give
        gpr[GPR_RAX] = ~0ull;
        return leave(v);
    }
    // The result, and the instruction in which pending host interrupts are taken.
    __asm__ volatile("sti; movq $0, %0; cli" : "=m"(gpr[GPR_RAX]) : : "memory");
    uint64_t now = rdtsc();
    bool busy = now >= cpu->deadline || (cpu->work | v->work | v->arch.attention);
    struct thread *next = unlikely(busy) ? NULL : sched_yield_to_guest(cpu, now);
    return likely(next) ? switch_guest(cpu, v, next) : yield_slowly(v);
}

static enum exit_action exit_hypercall(struct vcpu *v)
{
    uint64_t number = v->arch.gpr[GPR_RAX];
    if (number >> 32 && !(vmread(GUEST_CS_ACCESS) & CS_LONG)) {
        v->arch.gpr[GPR_RAX] = (uint32_t)number; // the upper half is nobody's there: once more
        return EXIT_RESUME;
    }
    v->arch.gpr[GPR_RAX] = ~0ull;
    return EXIT_SKIP;
}

NORETURN static __attribute__((noinline)) void exit_pio(struct vcpu *v)
{
    uint64_t word = vmread_hot(EXIT_QUALIFICATION); // which VM_PIO_* are
    if (unlikely(word & VM_PIO_STRING)) {
        uint64_t info = vmread(EXIT_INSN_INFO);
        v->page->exit.pio = (struct vm_exit_pio){
            .gva = vmread(GUEST_LINEAR),
            .addr_size = (uint8_t)(2u << (info >> 7 & 3)),
            .segment = word & VM_PIO_IN ? 0 : info >> 15 & 7, // INS: always ES
        };
        vmx_fill_facts(v);
    }
    vcpu_return_fast(v, VM_EXIT_PIO, word);
}

// A fetch from a large page that has yet to be split is no access to a device.
static __attribute__((noinline)) bool may_fetch(struct vcpu *v, uint64_t gpa)
{
    spin_lock(&kernel_lock);
    enum status status = paging_split(&v->vm->space, gpa);
    spin_unlock(&kernel_lock);
    if (status == OK)
        vmx_flush(&v->vm->space);
    else if (status != ERR_RANGE)
        vmx_kill(v, VM_KILLED_MEMORY, EXIT_REASON_EPT_VIOLATION);
    return status == OK;
}

static uint64_t *exit_mmio(struct vcpu *v)
{
    uint64_t word = vmread_hot(EXIT_QUALIFICATION); // which VM_MMIO_* are
    bool delivering = vmread_hot(IDT_INFO) & EVENT_VALID;
    struct vm_exit *e = &v->page->exit;
    uint64_t gpa = e->mmio.gpa = vmread_hot(GUEST_PHYSICAL);
    e->mmio.gva = vmread_hot(GUEST_LINEAR);
    if (unlikely(word & (1u << 12)) && !delivering) // IRET had unblocked NMIs
        vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) | BLOCK_NMI);
    if (unlikely(delivering)) {
        vmx_replay();
        if (word & VM_MMIO_OPERAND) // a walk of the page tables is one still
            word &= ~(uint64_t)VM_MMIO_GVA;
    }
    if (unlikely(word & VM_MMIO_EXEC) && may_fetch(v, gpa))
        return leave(v);
    vmx_facts(v);
    vcpu_return_fast(v, VM_EXIT_MMIO, word);
}

// Before anything of a task switch is done. What is being delivered waits; IRET has unblocked NMIs.
NORETURN static void exit_task(struct vcpu *v)
{
    uint64_t q = vmread(EXIT_QUALIFICATION);
    v->page->exit.task = (struct vm_exit_task){
        .selector = (uint16_t)q, .source = q >> 30 & 3, .length = (uint8_t)vmread(EXIT_INSN_LEN),
        .event = vmread(IDT_INFO) | vmread(IDT_ERROR_CODE) << 32,
    };
    if ((q >> 30 & 3) == VM_TASK_IRET)
        vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) & ~(uint64_t)BLOCK_NMI);
    vmx_replay();
    vmx_fill_facts(v);
    vcpu_exit(v, VM_EXIT_TASK);
}

static enum exit_action exit_nmi(struct vcpu *v)
{
    if (EVENT_TYPE(vmread(EXIT_INTR_INFO)) != EVENT_NMI)
        return vmx_exit_exception(v);
    // The exit left NMIs blocked until an IRET: the handler's own does it. What blocks the guest's
    // virtual NMIs is not touched by the host's.
    __asm__ volatile("int $2" : : : "memory");
    return EXIT_RESUME;
}

static enum exit_action dispatch(struct vcpu *v, uint32_t reason)
{
    switch (reason) {
    case EXIT_REASON_PREEMPTION:
        vmx_set_timer(this_cpu(), rdtsc());
        return EXIT_RESUME;
    case EXIT_REASON_INIT: // the host's cores are never sent one on purpose
        return EXIT_RESUME;
    case EXIT_REASON_NMI: return exit_nmi(v);
    case EXIT_REASON_VMCALL: return exit_hypercall(v);
    case EXIT_REASON_CPUID: // others are answered by exit_cpuid()
        cpuid_no_subleaf(&v->arch.cpuid, v->arch.gpr);
        return EXIT_SKIP;
    case EXIT_REASON_RDMSR: return vmx_exit_rdmsr(v);
    case EXIT_REASON_WRMSR: return vmx_exit_wrmsr(v);
    case EXIT_REASON_CR: return vmx_exit_cr(v);
    case EXIT_REASON_DR: return vmx_exit_dr(v);
    case EXIT_REASON_XSETBV: return vmx_exit_xsetbv(v);
    case EXIT_REASON_APIC_WRITE: return vmx_exit_apic_write(v);
    case EXIT_REASON_APIC_ACCESS: vmx_exit_apic_access(v);
    case EXIT_REASON_EOI:
        v->page->exit.eoi.vector = (uint8_t)vmread(EXIT_QUALIFICATION);
        vlapic_level_ended(&v->arch.vlapic, (uint8_t)v->page->exit.eoi.vector);
        vcpu_look_at_intr(v);
        vcpu_exit(v, VM_EXIT_EOI);
    case EXIT_REASON_TRIPLE:
        vmx_fill_facts(v);
        vcpu_exit(v, VM_EXIT_SHUTDOWN);
    case EXIT_REASON_TASK: exit_task(v);
    case EXIT_REASON_HLT:
        vmx_skip(v, vmread(EXIT_INSN_LEN));
        v->arch.halted = 1;
        return EXIT_WORK;
    case EXIT_REASON_PAUSE:
        sched_give_way();
        return EXIT_SKIP;
    case EXIT_REASON_INTR_WINDOW:
    case EXIT_REASON_NMI_WINDOW:
    case EXIT_REASON_TPR:
        return EXIT_WORK;
    case EXIT_REASON_INVD:   // no device sees memory behind the caches: nothing to write back,
    case EXIT_REASON_WBINVD: // and a neighbour's cache lines are not this guest's to flush
        return EXIT_SKIP;
    case EXIT_REASON_RDPMC:
        return vmx_inject_gp(v);
    case EXIT_REASON_GETSEC:
    case EXIT_REASON_MWAIT:
    case EXIT_REASON_MONITOR:
    case EXIT_REASON_INVEPT:
    case EXIT_REASON_INVVPID:
    case EXIT_REASON_VMFUNC:
    case EXIT_REASON_ENCLS:
    case EXIT_REASON_VMCLEAR ... EXIT_REASON_VMXON: // the VMX instructions
        return vmx_inject_fault(v, VECTOR_UD, false, 0);
    }
    vmx_kill(v, VM_KILLED_UNKNOWN, reason);
}

// A deadline that passes meanwhile is another interrupt.
static __attribute__((noinline)) uint64_t *exit_interrupt(struct vcpu *v)
{
    trap_dispatch((uint8_t)vmread_hot(EXIT_INTR_INFO));
    irq_window();
    return enter(v);
}

static uint64_t *exit_other(struct vcpu *v, uint32_t reason)
{
    if (reason >= EXIT_REASON_COUNT)
        vmx_entry_refused(v, reason);
    enum exit_action action = dispatch(v, reason);
    if (action == EXIT_WORK)
        v->arch.inject = 1;
    if (action == EXIT_SKIP)
        vmx_skip(v, vmread_hot(EXIT_INSN_LEN));
    return leave(v);
}

static __attribute__((noinline)) uint64_t *exit_cpuid(struct vcpu *v)
{
    if (unlikely(!cpuid_emulate(&v->arch.table, &v->arch.cpuid, v->arch.gpr)))
        return exit_other(v, EXIT_REASON_CPUID);
    vmx_skip(v, vmread_hot(EXIT_INSN_LEN));
    return leave(v);
}

// The guest held up memory for all, by a lock across cache lines or on uncached memory. It pays
// 5 us of its own time, so that the others have the bus for most of theirs.
static __attribute__((noinline)) uint64_t *exit_bus_lock(struct vcpu *v, uint32_t reason)
{
    clock_delay_us(5);
    switch (reason & ~EXITED_BUS_LOCK) {
    case EXIT_REASON_BUS_LOCK: return leave(v);
    case EXIT_REASON_CPUID: return exit_cpuid(v);
    case EXIT_REASON_IO: exit_pio(v);
    case EXIT_REASON_EXTINT: return exit_interrupt(v);
    case EXIT_REASON_EPT_VIOLATION: return exit_mmio(v);
    default: return exit_other(v, reason & ~EXITED_BUS_LOCK);
    }
}

static uint64_t *exit_general(struct vcpu *v, uint32_t reason)
{
    if (reason == EXIT_REASON_EXTINT)
        return exit_interrupt(v);
    if (reason == EXIT_REASON_EPT_VIOLATION)
        return exit_mmio(v);
    if (reason == EXIT_REASON_BUS_LOCK || reason >> 26 == 1)
        return exit_bus_lock(v, reason);
    return exit_other(v, reason);
}

// vcpu_run() of a thread whose guest is loaded, in entry.S; returning enters the guest.
uint64_t *vmx_run_ready(struct thread *t, uint32_t run)
{
    struct vcpu *v = t->vcpu;
    t->mode = THREAD_GUEST;
    int64_t kind = likely(run <= VM_RUN_ALL) ? vmx_answer(v, run) : ERR_RANGE;
    if (unlikely(kind))
        vcpu_return(v, kind, 0);
    return enter(v);
}

// Called by vmx_exit_entry; returning, with page->gpr, enters the guest again. It calls others only
// as the last thing it does, so that it needs no stack frame.
uint64_t *vmx_exit(struct vcpu *v)
{
    uint64_t reason = vmread_hot(EXIT_REASON);
    v->arch.exits[reason % EXIT_COUNTERS]++;
    if (reason == EXIT_REASON_VMCALL) {
        uint64_t *gpr = v->arch.gpr;
        if (gpr[GPR_RAX] > HYPERCALL_YIELD)
            return exit_other(v, EXIT_REASON_VMCALL);
        if (gpr[GPR_RAX] == HYPERCALL_YIELD)
            return exit_yield(v, gpr);
        vmx_skip(v, vmread_hot(EXIT_INSN_LEN)); // the result is in RAX
        return leave(v);
    }
    if (reason == EXIT_REASON_CPUID)
        return exit_cpuid(v);
    if (reason == EXIT_REASON_IO)
        exit_pio(v);
    return exit_general(v, (uint32_t)reason);
}
