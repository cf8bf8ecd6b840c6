// SPDX-License-Identifier: BSD-2-Clause
// What VMRUN and #VMEXIT leave alone: TR and LDTR, FS, GS, the MSRs of SYSCALL and SYSENTER. See
// svm.h for what holds when. On the vCPU's core.
//
// The invariant: outside of svm_go() to svm_to_host() TR is the host's and LDTR null. In between
// they are the guest's: while it is in long mode with a TSS of its own, no LDT, null selectors in
// FS and GS, which is what kernels do, TR comes from a descriptor in the core's own GDT (tr_plain;
// b->tr is right then, since LTR and LLDT exit before they change it, and task switches are the
// VMM's). Otherwise all of them are saved and loaded each time: IRET to ring 3 would clear FS and
// GS.
#include "kernel/arch/x86/svm/svm.h"

#define TR_CHANGES (INTERCEPT_TR_WRITE | INTERCEPT_LDTR_WRITE)
#define TSS        0x89u // or busy: QEMU does not say that a loaded one is

// A selector behind the host's own; a descriptor that can say as much.
static bool is_plain(const struct vmcb *b)
{
    uint32_t selector = b->tr.selector;
    uint32_t null = (b->ldtr.selector | b->fs.selector | b->gs.selector) & 0xfffc;
    return (b->efer & EFER_LMA) && !null && !(selector & 7) &&
           selector > SEL_USER_DATA && selector < sizeof(cpu_blocks->gdt) - 8 &&
           (b->tr.access & 0x9d) == TSS && b->tr.limit <= 0xfffff &&
           (uint64_t)((int64_t)(b->tr.base << 16) >> 16) == b->tr.base;
}

static void look_at_tr(struct vcpu *v)
{
    const struct vmcb_segment *t = &v->arch.svm.vmcb->tr;
    v->arch.svm.tr_plain = is_plain(v->arch.svm.vmcb);
    svm_intercept(v, TR_CHANGES, v->arch.svm.tr_plain ? TR_CHANGES : 0);
    v->arch.svm.tr[0] = tss_descriptor(t->base, t->limit);
    v->arch.svm.tr[1] = t->base >> 32;
}

// All but TR and LDTR, which are the host's now and right in the VMCB.
static void save(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    struct vmcb_segment tr = b->tr, ldtr = b->ldtr;
    vmsave(v->arch.vmcs);
    b->tr = tr;
    b->ldtr = ldtr;
}

static void load(struct cpu *cpu, struct vcpu *v)
{
    v->arch.svm.vmcb->gs.base = (uint64_t)cpu; // the guest's own: gs_base, by svm_enter()
    vmload(v->arch.vmcs);
}

static void host_tr(struct cpu *cpu)
{
    svm_lldt_null();
    cpu_reload_tr(cpu);
    stgi();
}

// The instruction runs again without the intercept; what it has done is seen at the next exit.
void svm_tr_changes(struct vcpu *v)
{
    save(v);
    v->arch.svm.tr_plain = 0;
    svm_intercept(v, TR_CHANGES, 0);
}

void svm_to_host(struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    if (unlikely(!v->arch.svm.tr_plain || (svm_selectors() & 0xfffc))) {
        vmsave(v->arch.vmcs);
        look_at_tr(v);
        svm_lldt_null();
    }
    cpu_reload_tr(this_cpu());
    stgi();
    b->tlb_control = 0;
    if (unlikely((b->vintr & VINTR_TPR) != v->arch.vlapic.regs[APIC_TPR / 4] >> 4)) // MOV CR8
        v->arch.vlapic.regs[APIC_TPR / 4] = (b->vintr & 15) << 4;
}

// Otherwise the exit has saved all of it, and IRET may have cleared FS and GS since.
void svm_context_save(struct vcpu *v)
{
    if (v->arch.svm.tr_plain)
        save(v);
    vmload(this_cpu()->arch.svm_host);
}

void svm_context_load(struct cpu *cpu, struct vcpu *v)
{
    clgi();
    load(cpu, v);
    host_tr(cpu);
}

// Addresses of address spaces: none is used twice before all are forgotten.
static __attribute__((noinline)) void take_asid(struct cpu *cpu, struct vcpu *v)
{
    struct vmcb *b = v->arch.svm.vmcb;
    if (++cpu->arch.asid >= svm.asids) {
        cpu->arch.asid = 1;
        cpu->arch.asid_turn++;
        b->tlb_control = 1; // all of this core's
    }
    b->asid = cpu->arch.asid;
    v->arch.svm.asid_turn = cpu->arch.asid_turn;
    svm_dirty(v, CLEAN_ASID);
}

void svm_go(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    uint64_t *slot, selector = v->arch.svm.vmcb->tr.selector;
    if (unlikely(v->arch.svm.asid_turn != cpu->arch.asid_turn))
        take_asid(cpu, v);
    clgi();
    if (likely(v->arch.svm.tr_plain)) {
        slot = (uint64_t *)((uint8_t *)cpu->arch.gdt + selector);
        slot[0] = v->arch.svm.tr[0];
        slot[1] = v->arch.svm.tr[1];
        svm_ltr((uint16_t)selector);
    } else {
        load(cpu, v);
    }
    svm_enter(v);
}
