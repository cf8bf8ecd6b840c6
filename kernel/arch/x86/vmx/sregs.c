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

static void write_cr4_fields(struct vcpu *v, uint64_t cr4)
{
    vmwrite(GUEST_CR4, cr4 | CR4_VMXE | CR4_MCE);
    vmwrite(CR4_SHADOW, cr4);
    if (cr4 & CR4_PKE)
        vmx_fpu_uses(v, FPU_PKRU);
}

// With PAE paging the CPU loads four entries at once and checks them. ("PDPTE Registers")
static bool load_pdptes(struct vcpu *v, uint64_t cr3)
{
    uint64_t at = cr3 & 0xffffffe0, left, pdpte[4];
    uint64_t reserved = ~0ull << v->vm->arch.cpuid.address_bits | 0x1e6;
    struct hpa hpa;
    uint8_t prot;
    if (!arch_walk(&v->vm->space, at, &hpa, &prot, &left))
        return false;
    arch_read(pdpte, hpa, sizeof(pdpte)); // 32 bytes, aligned: one page
    for (unsigned i = 0; i < 4; i++)
        if ((pdpte[i] & 1) && (pdpte[i] & reserved))
            return false;
    for (unsigned i = 0; i < 4; i++)
        vmwrite((enum vmcs_field)(GUEST_PDPTE0 + 2 * i), pdpte[i]);
    return true;
}

bool vmx_guest_sets_cr0(struct vcpu *v, uint64_t value)
{
    uint64_t old = vmread(GUEST_CR0), cr4 = vmread(GUEST_CR4), efer = vmread(GUEST_EFER);
    bool pg = value & CR0_PG, was_pg = old & CR0_PG;
    if (value >> 32 || (pg && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
        return false;
    if (pg && !was_pg && (efer & EFER_LME) &&
        (!(cr4 & CR4_PAE) || (vmread(GUEST_CS_ACCESS) & CS_LONG)))
        return false;
    if (!pg && was_pg &&
        ((cr4 & CR4_PCIDE) || ((efer & EFER_LMA) && (vmread(GUEST_CS_ACCESS) & CS_LONG))))
        return false;
    if (pg && !(efer & EFER_LME) && (cr4 & CR4_PAE) && !load_pdptes(v, vmread(GUEST_CR3)))
        return false;
    if (pg != was_pg && (efer & EFER_LME))
        write_efer(v, pg ? efer | EFER_LMA : efer & ~EFER_LMA);
    value = (value & CR0_DEFINED) | CR0_ET; // others stay clear, whatever is written
    vmwrite(GUEST_CR0, (value & ~(CR0_CD | CR0_NW)) | CR0_NE);
    vmwrite(CR0_SHADOW, value);
    vmx_invvpid(v->arch.vpid);
    return true;
}

bool vmx_guest_sets_cr4(struct vcpu *v, uint64_t value)
{
    uint64_t old = vmread(GUEST_CR4), cr0 = vmread(GUEST_CR0), efer = vmread(GUEST_EFER);
    const uint64_t paging = CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP;
    if (!vcpu_cr4_valid(v, value, old, efer, vmread(GUEST_CR3)))
        return false;
    if ((cr0 & CR0_PG) && (value & CR4_PAE) && !(efer & EFER_LMA) && ((value ^ old) & paging) &&
        !load_pdptes(v, vmread(GUEST_CR3)))
        return false;
    write_cr4_fields(v, value);
    cpuid_vcpu_update(&v->arch.cpuid, v->arch.vlapic.id, value, v->arch.vlapic.apic_base);
    vmx_invvpid(v->arch.vpid);
    return true;
}

bool vmx_guest_sets_efer(struct vcpu *v, uint64_t value)
{
    uint64_t old = vmread(GUEST_EFER);
    if (value & ~(v->vm->arch.cpuid.efer | EFER_LMA))
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
}

void vmx_read_sregs(struct vcpu *v, struct vcpu_sregs *s)
{
    vmx_load(v);
    const uint64_t own4 = vmread(CR4_MASK);
    move_plain(s, false);
    s->cr0 = (vmread(GUEST_CR0) & ~CR0_HOST_OWNED) | (vmread(CR0_SHADOW) & CR0_HOST_OWNED);
    s->cr2 = v->arch.cr2;
    s->cr4 = (vmread(GUEST_CR4) & ~own4) | (vmread(CR4_SHADOW) & own4);
}

void vmx_write_sregs(struct vcpu *v, struct vcpu_sregs *s)
{
    vmx_load(v);
    move_plain(s, true);
    write_efer(v, s->efer); // and CR4, CR0: without the order that an instruction stream needs
    write_cr4_fields(v, s->cr4);
    vmwrite(GUEST_CR0, (s->cr0 & ~(CR0_CD | CR0_NW)) | CR0_NE);
    vmwrite(CR0_SHADOW, s->cr0);
    v->arch.cr2 = s->cr2;
    cpuid_vcpu_update(&v->arch.cpuid, v->arch.vlapic.id, s->cr4, v->arch.vlapic.apic_base);
    vmx_invvpid(v->arch.vpid);
}
