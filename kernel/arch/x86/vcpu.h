// SPDX-License-Identifier: BSD-2-Clause
// What the vendors' ways of running a guest share. A vCPU's state is its core's; see hvm.h.
#pragma once
#include "kernel/arch/x86/x86.h"

#define VCPU_FRAMES 3 // VMCS or VMCB, the virtual APIC's registers, FPU area

// How an exit handler leaves. RESUME: enter again; SKIP: the instruction is done; WORK: look at the
// vCPU's waiting work first; LENGTH: see svm/exit.c; others do not come back at all.
enum exit_action { EXIT_RESUME, EXIT_SKIP, EXIT_WORK, EXIT_LENGTH };

// An event that a guest gets, in the format that both vendors have ("Event Injection"). Beside
// EVENT_ERROR its error code stands in the upper half.
#define EVENT_VALID     (1ull << 31)
#define EVENT_ERROR     (1ull << 11)
#define EVENT_TYPE(e)   ((uint32_t)(e) >> 8 & 7)
#define EVENT_INTR      0u
#define EVENT_NMI       2u
#define EVENT_EXCEPTION 3u
#define EVENT_SOFT_INT  4u

#define VECTOR_BP 3
#define VECTOR_OF 4
#define VECTOR_GP 13
#define VECTOR_AC 17

// vm.c: RDMSR, with what EFER is now, and WRMSR, but for what is in the CPU's hands (msr_policy.h).
// MSR_VMM does not come back.
enum msr_result vcpu_rdmsr(struct vcpu *v, uint64_t efer);
enum msr_result vcpu_wrmsr(struct vcpu *v, uint64_t *value);
// vm.c: its local APIC's `ipi`, to the others.
void vcpu_send_ipi(struct vcpu *v);
// entry.S: as vcpu_return(), and where nothing else is to be done on this core, at once. The vCPU
// stays bound to its thread then.
NORETURN void vcpu_return_fast(struct vcpu *v, int64_t kind, uint64_t word);

NORETURN static inline void vcpu_exit(struct vcpu *v, enum vm_exit_kind kind)
{
    vcpu_return(v, kind, 0);
}

static inline bool fault_contributory(uint8_t vector)
{
    return vector == 0 || (vector >= 10 && vector <= 13);
}

// What is injected: it ends HLT.
static inline uint64_t vcpu_event(struct vcpu *v, uint32_t type, uint8_t vector)
{
    v->injected++;
    v->arch.halted = 0;
    return EVENT_VALID | type << 8 | vector;
}

// Likewise an exception, while the event `waiting` is not delivered yet: what the guest gets of
// both ("Conditions for Generating a Double Fault").
static inline uint64_t vcpu_fault_event(struct vcpu *v, uint64_t waiting, uint8_t vector,
                                        bool has_error, uint32_t error, uint64_t cr0)
{
    bool second = (waiting & EVENT_VALID) && EVENT_TYPE(waiting) == EVENT_EXCEPTION;
    bool page_fault = (uint8_t)waiting == VECTOR_PF;
    if (second && (uint8_t)waiting == VECTOR_DF)
        vcpu_exit(v, VM_EXIT_SHUTDOWN);
    if (second && (page_fault || fault_contributory((uint8_t)waiting)) &&
        (fault_contributory(vector) || (page_fault && vector == VECTOR_PF)))
        return vcpu_event(v, EVENT_EXCEPTION, VECTOR_DF) | (cr0 & CR0_PE ? EVENT_ERROR : 0);
    return vcpu_event(v, EVENT_EXCEPTION, vector) |
           (has_error && (cr0 & CR0_PE) ? EVENT_ERROR | (uint64_t)error << 32 : 0);
}

// The PIC's interrupt, if its line is up: asks the VMM for the vector if the guest takes it now.
// True: it waits.
static inline bool vcpu_extint(struct vcpu *v, bool open)
{
    if (!(__atomic_load_n(&v->intr_line, __ATOMIC_ACQUIRE) & INTR_HIGH) ||
        vlapic_lint0_delivery(&v->arch.vlapic) != VLAPIC_EXTINT)
        return false;
    if (open) {
        v->arch.inject = 1;
        v->arch.extint_wait = 1;
        vcpu_exit(v, VM_EXIT_INTR_ACK);
    }
    return true;
}

// MOV to CR4; false: #GP. In the legacy modes the PDPTEs have a say, too.
static inline bool vcpu_cr4_valid(const struct vcpu *v, uint64_t value, uint64_t old, uint64_t efer,
                                  uint64_t cr3)
{
    bool pcide = value & ~old & CR4_PCIDE, lma = efer & EFER_LMA;
    return !(value & ~v->arch.table.cr4) && (!lma || (value & CR4_PAE)) &&
           (!pcide || (lma && !(cr3 & 0xfff)));
}

// Its FPU state is loaded.
static inline void vcpu_set_xcr0(struct vcpu *v, uint64_t value)
{
    v->arch.xcr0 = value;
    this_cpu()->turns++; // for arch_alike()
    this_cpu()->arch.fpu_xcr0 = value;
    xsetbv(value);
    cpuid_vcpu_xsave(&v->arch.cpuid, cpuid_word(0xd, 0, 1), cpuid_word(0xd, 1, 1)); // for it
}

// XSETBV in ring 0; false: #GP.
static inline bool vcpu_xsetbv(struct vcpu *v)
{
    const uint64_t *gpr = v->arch.gpr;
    uint64_t value = (uint32_t)gpr[GPR_RAX] | gpr[GPR_RDX] << 32;
    bool valid = !(uint32_t)gpr[GPR_RCX] && cpuid_xcr0_valid(&v->arch.table, value);
    if (valid)
        vcpu_set_xcr0(v, value);
    return valid;
}

// Interrupts that others have left for it.
UNUSED static __attribute__((noinline)) void vcpu_take_posted(struct vcpu *v)
{
    (void)__atomic_exchange_n(&v->posted, 0, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t level = __atomic_exchange_n(&v->pending_level[i], 0, __ATOMIC_ACQ_REL);
        uint64_t bits = __atomic_exchange_n(&v->pending_edge[i], 0, __ATOMIC_ACQ_REL) | level;
        for (; bits; bits &= bits - 1) { // both of one vector: its EOI is waited for
            unsigned bit = (unsigned)__builtin_ctzll(bits);
            vlapic_accept(&v->arch.vlapic, (uint8_t)(i * 64 + bit), level >> bit & 1);
        }
    }
}

// What the INTR line brings, where that needs no acknowledge cycle.
UNUSED static __attribute__((noinline)) void vcpu_take_intr(struct vcpu *v)
{
    uint8_t line = __atomic_fetch_and(&v->intr_line, (uint8_t)~INTR_ROSE, __ATOMIC_ACQ_REL);
    vlapic_lint0(&v->arch.vlapic, line & INTR_HIGH, line & INTR_ROSE);
}

// LINT0 may have changed, or an interrupt that it waits for may have ended.
static inline void vcpu_look_at_intr(struct vcpu *v)
{
    if (unlikely(v->intr_line))
        __atomic_fetch_or(&v->work, VCPU_WORK_INTR, __ATOMIC_SEQ_CST);
}

// What others have left for it; returns what v->work held.
static inline uint32_t vcpu_take_work(struct vcpu *v)
{
    uint32_t work = __atomic_exchange_n(&v->work, 0, __ATOMIC_ACQ_REL);
    if (work & (VCPU_WORK_PENDING | VCPU_WORK_POSTED))
        vcpu_take_posted(v);
    if (work & VCPU_WORK_TIMER)
        vlapic_timer_fired(&v->arch.vlapic, rdtsc());
    if (unlikely(work & (VCPU_WORK_NMI | VCPU_WORK_INIT | VCPU_WORK_SIPI | VCPU_WORK_INTR))) {
        if (work & VCPU_WORK_INTR)
            vcpu_take_intr(v);
        v->arch.nmi_pending |= (work & VCPU_WORK_NMI) != 0;
        v->arch.vlapic.actions |= (work & VCPU_WORK_INIT ? VLAPIC_ACT_INIT : 0) |
                                  (work & VCPU_WORK_SIPI ? VLAPIC_ACT_SIPI : 0);
    }
    return work;
}

// It has executed HLT, and nothing has come since.
NORETURN static inline void vcpu_halted(struct vcpu *v, uint64_t rflags)
{
    if (v->arch.halted == 1 && !(rflags & RFLAGS_IF) &&
        vlapic_lint0_delivery(&v->arch.vlapic) != VLAPIC_NMI) {
        v->arch.halted = 2;
        vcpu_exit(v, VM_EXIT_HALTED);
    }
    vcpu_halt(v);
}

// After vlapic code ran, what any vendor does. What must go to the VMM (EOI of a level interrupt,
// INIT and what follows it) stays in `actions` for vcpu_tell_vmm().
static inline void vcpu_vlapic_actions(struct vcpu *v)
{
    struct vlapic *a = &v->arch.vlapic;
    if (a->actions & VLAPIC_ACT_TIMER)
        timer_arm(&v->apic_timer, v->home->sc, vlapic_timer_deadline(a));
    if (unlikely(a->actions & (VLAPIC_ACT_NMI | VLAPIC_ACT_IPI))) {
        v->arch.nmi_pending |= (a->actions & VLAPIC_ACT_NMI) != 0;
        if (a->actions & VLAPIC_ACT_IPI)
            vcpu_send_ipi(v);
    }
    if (a->actions & ~(VLAPIC_ACT_TIMER | VLAPIC_ACT_IPI))
        v->arch.inject = 1;
    a->actions &= VLAPIC_ACT_EOI | VLAPIC_ACT_INIT | VLAPIC_ACT_SIPI;
}

// VM_ENTRY_LAPIC, but for the actions. 0: enter the guest; else page->exit holds the answer to a
// read.
static inline int64_t vcpu_lapic_answer(struct vcpu *v)
{
    struct vm_entry e = v->page->entry;
    if (e.lapic.write)
        vlapic_write(&v->arch.vlapic, e.lapic.offset & 0xfff, e.lapic.value, rdtsc());
    else
        v->page->exit.lapic.value = vlapic_read(&v->arch.vlapic, e.lapic.offset & 0xfff, rdtsc());
    return e.lapic.write ? 0 : VM_EXIT_LAPIC_READ;
}

// All that a guest's entry finds in the core and that is not in its VMCS or VMCB.
UNUSED static __attribute__((noinline)) void vcpu_load_rest(struct cpu *cpu, struct vcpu *v)
{
    struct space *s = &v->vm->space;
    if (unlikely(cpu->space != &v->object.owner->space))
        cr3_use(cpu, &v->object.owner->space); // what the next exit loads
    if (unlikely(cpu->guest_space != s) && space_enter(&cpu->guest_space, s, cpu->id))
        space_sync(s, cpu->id);
    fpu_use_vcpu(cpu, v);
    context_load(cpu, v);
    cpu->arch.ready = cpu->current;
}

// It waits for a start-up IPI from now on, and nothing else ends that: what it had to hear of is
// forgotten, but for a start-up IPI that has come behind the INIT. ("Processor State After an INIT
// Reset": its registers are the VMM's to set.)
NORETURN static inline void vcpu_init(struct vcpu *v)
{
    uint32_t sipi = v->arch.vlapic.actions & VLAPIC_ACT_SIPI;
    vlapic_init_ipi(&v->arch.vlapic);
    v->arch.vlapic.actions |= sipi;
    v->arch.nmi_pending = 0;
    v->arch.halted = 0;
    v->arch.wait_sipi = 1;
    vcpu_exit(v, VM_EXIT_INIT);
}

UNUSED static __attribute__((noinline)) void vcpu_started(struct vcpu *v)
{
    struct vlapic *a = &v->arch.vlapic;
    if (a->actions & VLAPIC_ACT_INIT)
        vcpu_init(v);
    if (!v->arch.wait_sipi) { // it is for those that wait for it
        a->actions &= ~VLAPIC_ACT_SIPI;
        return;
    }
    if (!(a->actions & VLAPIC_ACT_SIPI))
        vcpu_halt(v);
    a->actions &= ~VLAPIC_ACT_SIPI;
    v->arch.wait_sipi = 0;
    v->page->exit.sipi.vector = __atomic_load_n(&v->sipi, __ATOMIC_ACQUIRE);
    vcpu_exit(v, VM_EXIT_SIPI);
}

// The rest waits, with `inject` set: these are ways to leave in the middle.
UNUSED static __attribute__((noinline)) void vcpu_tells_vmm(struct vcpu *v, uint32_t work)
{
    struct vlapic *a = &v->arch.vlapic;
    v->arch.inject = 1;
    if (work & VCPU_WORK_EVENT) {
        v->page->exit.event.bits = vcpu_take_event(v);
        vcpu_exit(v, VM_EXIT_EVENT);
    }
    if ((a->actions & (VLAPIC_ACT_INIT | VLAPIC_ACT_SIPI)) | v->arch.wait_sipi)
        vcpu_started(v);
    if (a->actions & VLAPIC_ACT_EOI) {
        a->actions &= ~VLAPIC_ACT_EOI;
        v->page->exit.eoi.vector = a->eoi_vector;
        vcpu_exit(v, VM_EXIT_EOI);
    }
}

// Returns to the VMM if that has to hear of something.
static inline void vcpu_tell_vmm(struct vcpu *v, uint32_t work)
{
    uint32_t actions = v->arch.vlapic.actions &= ~VLAPIC_ACT_IRR;
    if (unlikely((work & VCPU_WORK_EVENT) | actions | v->arch.wait_sipi))
        vcpu_tells_vmm(v, work);
}
