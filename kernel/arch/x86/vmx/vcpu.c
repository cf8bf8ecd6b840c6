// SPDX-License-Identifier: BSD-2-Clause
// Making and freeing a VM's and a vCPU's VMX parts, and which VMCS is current. (SDM, "Virtual
// Machine Control Structures".) vmx_load() and all that touches a VMCS runs on the vCPU's core.
#include "kernel/arch/x86/vmx/vmx.h"
#include "kernel/lib/bits.h"

// In ticks, for a guest in ring 0: PAUSEs that come so close make one loop; one that lasts so long
// exits.
#define PAUSE_GAP    128
#define PAUSE_WINDOW 4096

#define VPID_COUNT  1024u // of 65,536, so that the search for a free one is short

void vmx_invvpid(uint16_t vpid)
{
    struct { uint64_t vpid, address; } d = { vpid, 0 };
    ASSERT(VMX_DOES("invvpid %1, %2", "m"(d), "r"(1ull)));
}

static uint64_t ept_pointer(const struct space *s)
{
    return s->arch.root.v | 6 | 3 << 3; // write-back tables, four levels
}

void vmx_flush(struct space *s)
{
    struct { uint64_t eptp, zero; } d = { ept_pointer(s), 0 };
    ASSERT(VMX_DOES("invept %1, %2", "m"(d), "r"(1ull)));
}

// All that is not the VMM's to set (vmx_sregs) nor the APIC mode's (vmx_set_apic_mode).
static void write_fields(struct vcpu *v)
{
    // OSXSAVE and PKE show in CPUID: their changes must be seen.
    uint64_t cr4_mask = ~v->arch.table.cr4 | CR4_MCE | CR4_VMXE | CR4_OSXSAVE | CR4_PKE;
    struct hpa apic_page;
    uint64_t left;
    uint8_t prot;
    const struct { enum vmcs_field field; uint64_t value; } fields[] = {
        { HOST_CS, SEL_KERNEL_CODE }, { HOST_SS, SEL_KERNEL_DATA }, { HOST_TR, SEL_TSS },
        { HOST_PAT_FIELD, HOST_PAT }, { HOST_EFER, EFER_LME | EFER_LMA | EFER_NXE },
        { HOST_SYSENTER_CS, SEL_KERNEL_CODE }, { HOST_SYSENTER_EIP, (uint64_t)syscall_entry },
        { HOST_CR0, read_cr0() | CR0_TS }, { HOST_CR4, read_cr4() },
        // An exit lands in the VMM's address space.
        { HOST_CR3, v->object.owner->space.arch.cr3 & ~CR3_NO_FLUSH },
        { HOST_RSP, (uint64_t)(v->arch.gpr + 16) }, { HOST_RIP, (uint64_t)vmx_exit_entry },
        { HOST_IDTR_BASE, IDT_WINDOW },
        // Controls:
        { VPID, v->arch.vpid }, { PIN_CONTROLS, vmx.pin }, { PRIMARY_CONTROLS, vmx.primary },
        { SECONDARY_CONTROLS, vmx.secondary }, { EXIT_CONTROLS, vmx.exit },
        { ENTRY_CONTROLS, vmx.entry }, { MSR_BITMAP, vmx_msr_bitmap[0].v },
        { VIRTUAL_APIC, v->arch.virtual_apic.v }, { EPT_POINTER, ept_pointer(&v->vm->space) },
        { VMCS_LINK, ~0ull },
        { CR0_MASK, CR0_HOST_OWNED }, { CR4_MASK, cr4_mask },
        // #DB and #AC always exit: a guest can make the CPU deliver either without end, and no
        // interrupt would ever come through.
        { EXCEPTION_BITMAP, 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC },
        // The guest's:
        { GUEST_PAT, v->arch.msrs.pat },
    };
    static const uint16_t zero[] = {
        HOST_ES, HOST_DS, HOST_FS, HOST_GS, HOST_FS_BASE, HOST_SYSENTER_ESP,
        PF_ERROR_MASK, PF_ERROR_MATCH, CR3_TARGETS, EXIT_MSR_STORES, EXIT_MSR_LOADS,
        ENTRY_MSR_LOADS, ENTRY_INTR_INFO, TSC_OFFSET, TPR_THRESHOLD,
        GUEST_INTERRUPTIBILITY, GUEST_ACTIVITY, GUEST_PENDING_DEBUG, GUEST_DEBUGCTL,
        GUEST_SYSENTER_CS, GUEST_SYSENTER_ESP, GUEST_SYSENTER_EIP,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        vmwrite(fields[i].field, fields[i].value);
    for (unsigned i = 0; i < ARRAY_SIZE(zero); i++)
        vmwrite((enum vmcs_field)zero[i], 0);
    if (vmx.secondary & SEC_ENCLS) // no SGX for guests, whatever the firmware left on
        vmwrite(ENCLS_BITMAP, ~0ull);
    // Whichever frame the VMM has put there: nobody reads or writes it. With none, accesses exit.
    if (vmx.apicv && arch_walk(&v->vm->space, APIC_BASE_ADDRESS, &apic_page, &prot, &left))
        vmwrite(APIC_ACCESS, apic_page.v);
    // Bochs 3.0 wants the descriptor to begin a page, not 64 bytes; a slab has one vCPU only.
    _Static_assert(sizeof(*v) > PAGE_SIZE && offsetof(struct vcpu, pending_edge) == 0, "see above");
    if (vmx.posted) {
        vmwrite(POSTED_VECTOR, VECTOR_POSTED);
        vmwrite(POSTED_DESCRIPTOR, (uint64_t)v->pending_edge - DIRECT_MAP);
    }
    if (vmx.pause_loop) {
        vmwrite(PLE_GAP, PAUSE_GAP);
        vmwrite(PLE_WINDOW, PAUSE_WINDOW);
    }
    v->arch.primary = vmx.primary;
    v->arch.secondary = vmx.secondary;
}

// The safety timer: the guest exits at the latest a millisecond after an entry, or 8 us after the
// core's own timer should have made it exit. It is written when that one is, not at each entry.
void vmx_set_timer(struct cpu *cpu, uint64_t now)
{
    uint64_t left = max_u64(cpu->armed, now) - now; // it may have passed already
    left = min_u64(left, vmx.timer_ms) + (vmx.timer_ms >> 7);
    vmwrite(PREEMPTION_TIMER, left >> vmx.timer_shift);
}

static __attribute__((noinline)) void load(struct cpu *cpu, struct vcpu *v)
{
    vmptrld(&v->arch.vmcs);
    cpu->arch.vcpu = v;
    cpu->arch.ready = NULL;
    vmx_set_timer(cpu, rdtsc());
    if (!v->arch.fresh)
        return;
    // New on this core: what is the core's own, and what its TLB may hold of an earlier stay.
    vmwrite(HOST_GS_BASE, (uint64_t)cpu);
    vmwrite(HOST_TR_BASE, (uint64_t)cpu->arch.tss);
    vmwrite(HOST_GDTR_BASE, (uint64_t)cpu->arch.gdt);
    vmx_invvpid(v->arch.vpid);
}

void vmx_load(struct vcpu *v)
{
    if (unlikely(this_cpu()->arch.vcpu != v))
        load(this_cpu(), v);
}

void vmx_set_primary(struct vcpu *v, uint32_t which, uint32_t to)
{
    uint32_t now = (v->arch.primary & ~which) | to;
    if (now != v->arch.primary)
        vmwrite(PRIMARY_CONTROLS, v->arch.primary = now);
}

// xAPIC mode is virtualised through the APIC-access page, x2APIC mode through its MSRs; a CPU
// without these features has neither, and the guest's accesses exit. It would take self-IPIs
// whatever SVR says.
void vmx_set_apic_mode(struct vcpu *v)
{
    enum vlapic_mode mode = vlapic_mode(&v->arch.vlapic);
    uint32_t secondary = vmx.secondary | (v->vm->smp ? vmx.pause_loop : 0);
    bool listens = vlapic_listens(&v->arch.vlapic);
    bool x2apic = vmx.apicv && mode == VLAPIC_X2APIC && listens;
    if (vmx.apicv && mode == VLAPIC_XAPIC)
        secondary |= SEC_APIC_ACCESS | SEC_APIC_REGS | (vmx.vintr_xapic && listens ? SEC_VINTR : 0);
    if (x2apic)
        secondary |= SEC_X2APIC | SEC_APIC_REGS | SEC_VINTR;
    if (secondary != v->arch.secondary) {
        vmwrite(SECONDARY_CONTROLS, v->arch.secondary = secondary);
        vmwrite(PIN_CONTROLS, vmx.pin | (secondary & SEC_VINTR ? vmx.posted : 0));
        vmx_invvpid(v->arch.vpid); // translations of the APIC-access page are cached by mode,
        vmx_flush(&v->vm->space); // those of guest-physical addresses too
    }
    vmwrite(MSR_BITMAP, vmx_msr_bitmap[x2apic].v);
}

// The VPIDs in use, a bit each; 0 is the host's. What a core's TLB holds of one's last owner goes
// when that core first loads the new one. kernel_lock.
static uint64_t vpids[VPID_COUNT / 64] = { 1 };

enum status vmx_vcpu_init(struct vcpu *v)
{
    v->arch.vpid = (uint16_t)bits_take(vpids, ARRAY_SIZE(vpids));
    if (!v->arch.vpid)
        return ERR_FULL;
    v->arch.special = SPECIAL_FPU | (features.pcid ? 0 : SPECIAL_TABLES) |
                      (mitigations.any ? SPECIAL_BARRIER : 0);
    *(uint32_t *)arch_ptr(v->arch.vmcs) = (uint32_t)vmx.basic & 0x7fffffff;
    vmx_vcpu_leave(v);
    vmx_load(v);
    write_fields(v);
    if (v->vm->smp && !vmx.pause_loop) // this CPU does not see loops
        vmx_set_primary(v, 0, PRI_PAUSE);
    vmx_set_apic_mode(v);
    return OK;
}

// What the CPU caches of a VMCS gets to memory by VMCLEAR only.
void vmx_vcpu_leave(struct vcpu *v) { ASSERT(VMX_DOES("vmclear %1", "m"(v->arch.vmcs.v))); }

void vmx_vcpu_free(struct vcpu *v) { bits_give_back(vpids, v->arch.vpid); }

void vmx_context_save(UNUSED struct vcpu *v) {} // no SPECIAL_VENDOR
void vmx_context_load(UNUSED struct cpu *cpu, UNUSED struct vcpu *v) {}
