// SPDX-License-Identifier: BSD-2-Clause
// Registers that are more than a number: what a guest may set in CR4 and EFER, and the register
// file as the VMM reads and writes it. On the vCPU's core. (APM volume 2, "System Resources",
// "Canonicalization and Consistency Checks".)
#include "kernel/arch/x86/svm/svm.h"

// With CR4.MCE clear a machine check would be the end of the machine.
static void set_cr4(struct vcpu *v, uint64_t cr4)
{
    v->arch.svm.cr4 = cr4;
    v->arch.svm.vmcb->cr4 = cr4 | CR4_MCE;
    cpuid_vcpu_update(&v->arch.cpuid, v->arch.vlapic.id, cr4, v->arch.vlapic.apic_base);
    svm_dirty(v, CLEAN_CR);
    svm_new_asid(v);
}

bool svm_guest_sets_cr4(struct vcpu *v, uint64_t value)
{
    const struct vmcb *b = v->arch.svm.vmcb;
    if (!vcpu_cr4_valid(v, value, v->arch.svm.cr4, b->efer, b->cr3))
        return false;
    set_cr4(v, value);
    return true;
}

bool svm_guest_sets_efer(struct vcpu *v, uint64_t value)
{
    struct vmcb *b = v->arch.svm.vmcb;
    if (value & ~(v->arch.table.efer | EFER_LMA))
        return false;
    if (((value ^ b->efer) & EFER_LME) && (b->cr0 & CR0_PG))
        return false;
    b->efer = (value & ~EFER_LMA) | (b->efer & EFER_LMA) | EFER_SVME;
    svm_dirty(v, CLEAN_CR);
    svm_new_asid(v);
    return true;
}

// Both formats have the descriptor's bits 40 to 47 in bits 0 to 7; 52 to 55 are in 8 to 11 of a
// VMCB, in 12 to 15 of the shared format, which has "unusable" in bit 8.
static void move_segment(struct vm_segment *s, struct vmcb_segment *c, bool write)
{
    if (write) {
        bool usable = !(s->access & 0x100);
        uint16_t access = usable ? (s->access & 0xff) | (s->access >> 4 & 0xf00) : 0;
        *c = (struct vmcb_segment){ s->selector, access, s->limit, s->base };
    } else {
        uint16_t unusable = c->access & 0x80 ? 0 : 0x100;
        *s = (struct vm_segment){
            .selector = c->selector, .limit = c->limit, .base = c->base,
            .access = (uint16_t)((c->access & 0xff) | (c->access & 0xf00) << 4 | unusable),
        };
    }
}

static void move_plain(struct vcpu_sregs *s, struct vmcb *b, bool write)
{
    const struct { struct vm_segment *shared; struct vmcb_segment *cpu; } segments[] = {
        { &s->es, &b->es }, { &s->cs, &b->cs }, { &s->ss, &b->ss }, { &s->ds, &b->ds },
        { &s->fs, &b->fs }, { &s->gs, &b->gs }, { &s->ldtr, &b->ldtr }, { &s->tr, &b->tr },
    };
    const struct { uint64_t *shared, *cpu; } plain[] = {
        { &s->rip, &b->rip }, { &s->rflags, &b->rflags }, { &s->rsp, &b->rsp },
        { &s->cr0, &b->cr0 }, { &s->cr2, &b->cr2 }, { &s->cr3, &b->cr3 }, { &s->dr7, &b->dr7 },
        { &s->gdtr_base, &b->gdtr.base }, { &s->idtr_base, &b->idtr.base }, { &s->dr6, &b->dr6 },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
        move_segment(segments[i].shared, segments[i].cpu, write);
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
        *(write ? plain[i].cpu : plain[i].shared) = *(write ? plain[i].shared : plain[i].cpu);
}

void svm_read_sregs(struct vcpu *v, struct vcpu_sregs *s)
{
    struct vmcb *b = v->arch.svm.vmcb;
    svm_load(v);
    move_plain(s, b, false);
    s->gs.base = v->arch.svm.gs_base;
    s->ss.access = (uint16_t)((s->ss.access & ~0x60) | b->cpl << 5);
    s->cr4 = v->arch.svm.cr4;
    s->efer = b->efer & ~EFER_SVME;
    s->gdtr_limit = b->gdtr.limit;
    s->idtr_limit = b->idtr.limit;
}

void svm_write_sregs(struct vcpu *v, struct vcpu_sregs *s)
{
    struct vmcb *b = v->arch.svm.vmcb;
    svm_load(v);
    if (!(s->ldtr.selector & 0xfffc))
        s->ldtr.access |= 0x100;
    move_plain(s, b, true);
    v->arch.svm.gs_base = (uint64_t)((int64_t)(s->gs.base << 16) >> 16); // WRGSBASE checks it
    v->arch.svm.tr_plain = 0;
    b->cpl = s->ss.access >> 5 & 3;
    b->gdtr.limit = s->gdtr_limit;
    b->idtr.limit = s->idtr_limit;
    b->efer = s->efer | EFER_SVME;
    b->interrupt_shadow = 0;
    set_cr4(v, s->cr4);
    if (v->arch.wait_sipi) { // after an INIT nothing is left
        b->event = 0;
        v->arch.svm.nmi_blocked = v->arch.svm.step = v->arch.svm.decoded = 0;
        b->intercept &= ~INTERCEPT_IRET;
    }
    b->clean = 0;
}
