// SPDX-License-Identifier: BSD-2-Clause
// Making and freeing a VM's and a vCPU's VMX parts, and which VMCS is current. (SDM, "Virtual Machine
// Control Structures".) vmx_load() and all that touches a VMCS runs on the vCPU's core.
#include "kernel/arch/x86/vmx/vmx.h"

static void vmclear(struct hpa vmcs)
{
    uint64_t a = vmcs.v;
    bool failed;
    __asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(a) : "memory");
    ASSERT(!failed);
}

void vmx_invvpid(uint16_t vpid)
{
    struct { uint64_t vpid, address; } d = { vpid, 0 };
    bool failed;
    __asm__ volatile("invvpid %1, %2" : "=@ccbe"(failed) : "m"(d), "r"(1ull) : "memory");
    ASSERT(!failed);
}

static uint64_t ept_pointer(const struct space *s)
{
    return s->arch.root.v | 6 | 3 << 3; // write-back tables, four levels
}

void vmx_flush_guest(struct space *s)
{
    struct { uint64_t eptp, zero; } d = { ept_pointer(s), 0 };
    bool failed;
    __asm__ volatile("invept %1, %2" : "=@ccbe"(failed) : "m"(d), "r"(1ull) : "memory");
    ASSERT(!failed);
}

static void write_host_state(struct vcpu *v, const struct cpu *cpu)
{
    vmwrite(HOST_ES, 0);
    vmwrite(HOST_CS, SEL_KERNEL_CODE);
    vmwrite(HOST_SS, SEL_KERNEL_DATA);
    vmwrite(HOST_DS, 0);
    vmwrite(HOST_FS, 0);
    vmwrite(HOST_GS, 0);
    vmwrite(HOST_TR, SEL_TSS);
    vmwrite(HOST_PAT_FIELD, HOST_PAT);
    vmwrite(HOST_EFER, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
    vmwrite(HOST_SYSENTER_CS, 0);
    vmwrite(HOST_SYSENTER_ESP, 0);
    vmwrite(HOST_SYSENTER_EIP, 0);
    vmwrite(HOST_CR0, read_cr0());
    vmwrite(HOST_CR3, v->arch.host_cr3); // an exit lands in the VMM's address space
    vmwrite(HOST_CR4, read_cr4());
    vmwrite(HOST_FS_BASE, 0);
    vmwrite(HOST_RSP, (uint64_t)(v->arch.gpr + 16));
    vmwrite(HOST_RIP, (uint64_t)vmx_exit_entry);
    // Those of the core:
    vmwrite(HOST_GS_BASE, (uint64_t)cpu);
    vmwrite(HOST_TR_BASE, (uint64_t)cpu->arch.tss);
    vmwrite(HOST_GDTR_BASE, cpu->arch.gdt_base);
    vmwrite(HOST_IDTR_BASE, IDT_WINDOW);
}

static void write_controls(struct vcpu *v)
{
    vmwrite(VPID, v->arch.vpid);
    vmwrite(PIN_CONTROLS, vmx.pin);
    vmwrite(PRIMARY_CONTROLS, v->arch.controls[1] = vmx.primary);
    vmwrite(SECONDARY_CONTROLS, v->arch.controls[2] = vmx.secondary);
    vmwrite(EXIT_CONTROLS, vmx.exit);
    vmwrite(ENTRY_CONTROLS, vmx.entry);
    // #DB and #AC always exit: a guest can make the CPU deliver either without end, and no interrupt
    // would ever come through.
    v->arch.exceptions = 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC;
    vmwrite(EXCEPTION_BITMAP, v->arch.exceptions);
    vmwrite(PF_ERROR_MASK, 0);
    vmwrite(PF_ERROR_MATCH, 0);
    vmwrite(CR3_TARGETS, 0);
    vmwrite(EXIT_MSR_STORES, 0);
    vmwrite(EXIT_MSR_LOADS, 0);
    vmwrite(ENTRY_MSR_LOADS, 0);
    vmwrite(ENTRY_INTR_INFO, 0);
    vmwrite(MSR_BITMAP, vmx_msr_bitmap[0].v);
    vmwrite(TSC_OFFSET, 0);
    vmwrite(VIRTUAL_APIC, v->arch.virtual_apic.v);
    vmwrite(TPR_THRESHOLD, 0);
    vmwrite(EPT_POINTER, ept_pointer(&v->vm->space));
    vmwrite(VMCS_LINK, ~0ull);
    vmwrite(PREEMPTION_TIMER, vmx.preemption_ticks);
    vmwrite(CR0_MASK, vmx.cr0_host_owned);
    // OSXSAVE and PKE show in CPUID: their changes must be seen.
    vmwrite(CR4_MASK, ~cpuid_policy_cr4(v->vm->arch.cpuid) | CR4_MCE | CR4_VMXE | CR4_OSXSAVE |
                          CR4_PKE);
    if (vmx.apicv)
        vmwrite(APIC_ACCESS, v->vm->arch.apic_page.v);
}

void vmx_load(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    if (cpu->arch.vcpu == v)
        return;
    vmptrld(&v->arch.vmcs);
    cpu->arch.vcpu = v;
}

void vmx_set_primary(struct vcpu *v, uint32_t set, uint32_t clear)
{
    uint32_t now = (v->arch.controls[1] | set) & ~clear;
    if (now != v->arch.controls[1])
        vmwrite(PRIMARY_CONTROLS, v->arch.controls[1] = now);
}

// xAPIC mode is virtualised through the APIC-access page, x2APIC mode through its MSRs; a CPU without
// these features has neither, and the guest's accesses exit.
void vmx_set_apic_mode(struct vcpu *v)
{
    enum vlapic_mode mode = vlapic_mode(&v->arch.vlapic);
    uint32_t secondary = vmx.secondary;
    if (vmx.apicv && mode == VLAPIC_XAPIC)
        secondary |= SEC_APIC_ACCESS | SEC_APIC_REGS | SEC_VINTR;
    if (vmx.apicv && mode == VLAPIC_X2APIC)
        secondary |= SEC_X2APIC | SEC_APIC_REGS | SEC_VINTR;
    if (secondary != v->arch.controls[2]) {
        vmwrite(SECONDARY_CONTROLS, v->arch.controls[2] = secondary);
        vmx_invvpid(v->arch.vpid); // translations of the APIC-access page are cached by mode
    }
    vmwrite(MSR_BITMAP, vmx_msr_bitmap[vmx.apicv && mode == VLAPIC_X2APIC].v);
    v->arch.apic_mode = (uint8_t)mode;
}

bool vmx_vm_init(struct vm *vm)
{
    if (!vmx.apicv)
        return true;
    if (!frames_alloc(1, 1, vm->object.id, &vm->arch.apic_page))
        return false;
    arch_zero(arch_ptr(vm->arch.apic_page), PAGE_SIZE);
    vm->own_page = vm->arch.apic_page;
    if (arch_map(&vm->space, APIC_BASE_ADDRESS, vm->arch.apic_page, PAGE_SIZE,
                 PROT_READ | PROT_WRITE) == OK)
        return true;
    frames_free(vm->arch.apic_page, 1);
    return false;
}

void vmx_vm_free(struct vm *vm)
{
    if (vm->arch.apic_page.v)
        frames_free(vm->arch.apic_page, 1);
}

static bool alloc_pages(struct vcpu *v)
{
    struct hpa *frames[3] = { &v->arch.vmcs, &v->arch.virtual_apic, &v->arch.fpu_frame };
    for (unsigned i = 0; i < 3; i++) {
        if (!frames_alloc(1, 1, v->vm->object.id, frames[i]))
            return false;
        arch_zero(arch_ptr(*frames[i]), PAGE_SIZE);
    }
    return true;
}

static void free_pages(struct vcpu *v)
{
    struct hpa *frames[3] = { &v->arch.vmcs, &v->arch.virtual_apic, &v->arch.fpu_frame };
    for (unsigned i = 0; i < 3; i++)
        if (frames[i]->v) {
            arch_zero(arch_ptr(*frames[i]), PAGE_SIZE);
            frames_free(*frames[i], 1);
            frames[i]->v = 0;
        }
}

static void init_soft_state(struct vcpu *v, uint32_t apic_id)
{
    v->arch.fpu = arch_ptr(v->arch.fpu_frame);
    *(uint16_t *)v->arch.fpu->area = 0x37f;
    *(uint32_t *)(v->arch.fpu->area + 24) = 0x1f80;
    v->arch.gpr = v->page->gpr;
    v->arch.xcr0 = v->arch.xcr0_ever = 1;
    v->arch.host_cr3 = v->object.owner->space.arch.root.v;
    v->arch.fresh = 1;
    v->arch.special = features.barriers; // the short switch has none
    v->arch.dr6 = 0xffff0ff0;
    vlapic_init(&v->arch.vlapic, arch_ptr(v->arch.virtual_apic), apic_id, apic_id == 0,
                v->vm->arch.cpuid->timer_ratio, 0);
    msr_init(&v->arch.msrs, &v->arch.vlapic, v->vm->arch.cpuid);
    cpuid_vcpu_update(&v->arch.cpuid, v->vm->arch.cpuid, apic_id, 0, v->arch.vlapic.apic_base,
                      v->arch.xcr0);
}

enum status vmx_vcpu_init(struct vcpu *v, uint32_t apic_id)
{
    struct cpu *cpu = this_cpu();
    if (v->object.id > UINT16_MAX)
        return ERR_FULL;
    if (!alloc_pages(v)) {
        free_pages(v);
        return ERR_MEMORY;
    }
    v->arch.vpid = (uint16_t)v->object.id; // unique among the living, never 0
    init_soft_state(v, apic_id);
    *(uint32_t *)arch_ptr(v->arch.vmcs) = (uint32_t)vmx.basic & 0x7fffffff;
    vmclear(v->arch.vmcs);
    vmx_load(v);
    write_controls(v);
    write_host_state(v, cpu);
    vmx_set_apic_mode(v);
    v->arch.inject = 1;
    __builtin_memset(&v->page->sregs, 0, sizeof(v->page->sregs));
    vmx_invvpid(v->arch.vpid);
    vmwrite(GUEST_INTERRUPTIBILITY, 0);
    vmwrite(GUEST_ACTIVITY, 0);
    vmwrite(GUEST_PENDING_DEBUG, 0);
    vmwrite(GUEST_DEBUGCTL, 0);
    vmwrite(GUEST_PAT, v->arch.msrs.pat);
    vmwrite(GUEST_SYSENTER_CS, 0);
    vmwrite(GUEST_SYSENTER_ESP, 0);
    vmwrite(GUEST_SYSENTER_EIP, 0);
    return OK;
}

// On the vCPU's core.
void vmx_vcpu_free(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    if (cpu->arch.fpu_loaded == v->arch.fpu)
        cpu->arch.fpu_loaded = NULL;
    if (cpu->arch.context == v)
        cpu->arch.context = NULL;
    if (cpu->arch.msrs == v)
        context_syscall_msrs(cpu, NULL);
    if (cpu->arch.vcpu == v)
        cpu->arch.vcpu = NULL;
    if (v->arch.vmcs.v)
        vmclear(v->arch.vmcs);
    free_pages(v);
}
