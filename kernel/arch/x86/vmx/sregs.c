// SPDX-License-Identifier: BSD-2-Clause
// Registers that are more than a number: what a guest may set in CR0, CR4 and EFER and what follows
// from it, and the register file as the VMM reads and writes it. On the vCPU's core.
// (SDM, "Control Registers", "Initializing IA-32e Mode", "Checks on the Guest State Area".)
#include "kernel/arch/x86/vmx/vmx.h"

static void write_efer(struct vcpu *v, uint64_t efer)
{
    v->arch.efer = efer;
    vmwrite(GUEST_EFER, efer);
    v->arch.special |= efer & EFER_SCE ? SPECIAL_SYSCALL : 0;
    vmwrite(ENTRY_CONTROLS, efer & EFER_LMA ? vmx.entry | ENTRY_IA32E : vmx.entry & ~ENTRY_IA32E);
}

// `bits`: of GUEST_CR4, those that are to be as in `cr4`.
static void set_cr4(struct vcpu *v, uint64_t cr4, uint64_t bits)
{
    vmwrite(GUEST_CR4, (vmread(GUEST_CR4) & ~bits) | (cr4 & bits) | CR4_VMXE | CR4_MCE);
    vmwrite(CR4_SHADOW, cr4);
    if (cr4 & CR4_PKE)
        vmx_fpu_uses(v, FPU_PKRU);
    cpuid_vcpu_update(&v->arch.cpuid, v->arch.vlapic.id, cr4, v->arch.vlapic.apic_base);
}

bool vmx_guest_sets_cr0(uint64_t value)
{
    uint64_t pg = value & CR0_PG, cr4 = vmread(GUEST_CR4), efer = vmread(GUEST_EFER);
    bool cs_long = vmread(GUEST_CS_ACCESS) & CS_LONG;
    bool bad_on = (efer & EFER_LME) && (cs_long || !(cr4 & CR4_PAE));
    bool bad_off = (cr4 & CR4_PCIDE) || ((efer & EFER_LMA) && cs_long);
    if (value >> 32 || (pg && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)) ||
        (pg != (vmread(GUEST_CR0) & CR0_PG) && (pg ? bad_on : bad_off)))
        return false;
    vmwrite(CR0_SHADOW, value);
    return true;
}

bool vmx_guest_sets_cr4(struct vcpu *v, uint64_t value)
{
    if (!vcpu_cr4_valid(v, value, vmread(GUEST_CR4), vmread(GUEST_EFER), vmread(GUEST_CR3)))
        return false;
    set_cr4(v, value, vmread(CR4_MASK));
    return true;
}

bool vmx_guest_sets_efer(struct vcpu *v, uint64_t value)
{
    uint64_t old = vmread(GUEST_EFER);
    if (value & ~(v->arch.table.efer | EFER_LMA))
        return false;
    if (((value ^ old) & EFER_LME) && (vmread(GUEST_CR0) & CR0_PG))
        return false;
    write_efer(v, (value & ~EFER_LMA) | (old & EFER_LMA));
    if (v->arch.efer & EFER_SCE)
        context_syscall_msrs(this_cpu(), v);
    if ((value ^ old) & EFER_NXE)
        vmx_invvpid(v->arch.vpid);
    return true;
}

// A field and its place in struct vcpu_sregs, in the direction of `write`.
static void move(enum vmcs_field field, void *at, size_t bytes, bool write)
{
    uint64_t value = 0;
    if (write) {
        __builtin_memcpy(&value, at, bytes);
        vmwrite(field, value);
    } else {
        value = vmread(field);
        __builtin_memcpy(at, &value, bytes);
    }
}

// Bit 16 of the access rights, "unusable", is bit 8 of the shared format.
static void move_segment(struct vm_segment *s, unsigned step, bool write)
{
    uint32_t access = (s->access & 0xf0ffu) | (uint32_t)(s->access >> 8 & 1) << 16;
    move((enum vmcs_field)(GUEST_ES + step), &s->selector, sizeof(s->selector), write);
    move((enum vmcs_field)(GUEST_ES_BASE + step), &s->base, sizeof(s->base), write);
    move((enum vmcs_field)(GUEST_ES_LIMIT + step), &s->limit, sizeof(s->limit), write);
    move((enum vmcs_field)(GUEST_ES_ACCESS + step), &access, sizeof(access), write);
    s->access = (uint16_t)((access & 0xf0ff) | (access >> 16 & 1) << 8);
}

// What is the same in the VMCS and in the shared format.
static void move_plain(struct vcpu_sregs *s, bool write)
{
    struct vm_segment *segments[] = { &s->es, &s->cs, &s->ss,   &s->ds,
                                      &s->fs, &s->gs, &s->ldtr, &s->tr };
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
        move_segment(segments[i], 2 * i, write);
    const struct { enum vmcs_field field; void *at; size_t bytes; } plain[] = {
        { GUEST_RIP, &s->rip, 8 }, { GUEST_RFLAGS, &s->rflags, 8 }, { GUEST_RSP, &s->rsp, 8 },
        { GUEST_CR3, &s->cr3, 8 }, { GUEST_EFER, &s->efer, 8 }, { GUEST_DR7, &s->dr7, 8 },
        { GUEST_GDTR_BASE, &s->gdtr_base, 8 }, { GUEST_GDTR_LIMIT, &s->gdtr_limit, 4 },
        { GUEST_IDTR_BASE, &s->idtr_base, 8 }, { GUEST_IDTR_LIMIT, &s->idtr_limit, 4 },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
        move(plain[i].field, plain[i].at, plain[i].bytes, write);
    for (unsigned i = 0; i < ARRAY_SIZE(s->pdpte); i++)
        move((enum vmcs_field)(GUEST_PDPTE + 2 * i), &s->pdpte[i], 8, write);
}

void vmx_read_sregs(struct vcpu *v, struct vcpu_sregs *s)
{
    vmx_load(v);
    const uint64_t own4 = vmread(CR4_MASK);
    move_plain(s, false);
    s->cr0 = (vmread(GUEST_CR0) & ~CR0_HOST_OWNED) | (vmread(CR0_SHADOW) & CR0_HOST_OWNED);
    s->cr2 = v->arch.cr2;
    s->dr6 = v->arch.dr6;
    s->cr4 = (vmread(GUEST_CR4) & ~own4) | (vmread(CR4_SHADOW) & own4);
}

void vmx_write_sregs(struct vcpu *v, struct vcpu_sregs *s)
{
    vmx_load(v);
    move_plain(s, true);
    write_efer(v, s->efer); // and CR4, CR0: without the order that an instruction stream needs
    set_cr4(v, s->cr4, ~0ull);
    vmwrite(GUEST_CR0, (s->cr0 & ~(CR0_CD | CR0_NW)) | CR0_NE);
    vmwrite(CR0_SHADOW, s->cr0);
    v->arch.cr2 = s->cr2;
    if (v->arch.wait_sipi) { // after an INIT nothing is left
        vmwrite(ENTRY_INTR_INFO, 0);
        vmwrite(GUEST_INTERRUPTIBILITY, 0);
        vmwrite(GUEST_PENDING_DEBUG, 0);
    }
    v->arch.special |= s->dr6 != v->arch.dr6 ? SPECIAL_DR : 0;
    vmx_set_primary(v, PRI_DR, v->arch.special & SPECIAL_DR ? 0 : PRI_DR);
    v->arch.dr6 = s->dr6;
    vmx_invvpid(v->arch.vpid);
}
