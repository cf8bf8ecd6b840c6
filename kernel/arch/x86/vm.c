// SPDX-License-Identifier: BSD-2-Clause
// VMs and vCPUs, the part that is x86 but no vendor's: CPUID, MSIs, the seam's callers.
#include "kernel/arch/x86/vcpu.h"

// As its VMM has written it into the page: copied once, for it may be writing.
static bool take_cpuid(struct vcpu *v)
{
    struct cpuid_table *t = &v->arch.table;
    bool tsc_aux = (features.ext1_edx | features.leaf7_ecx << 5) & (1u << 27); // RDTSCP, RDPID
    *t = v->page->cpuid;
    return cpuid_accept(t, features.xcr0, tsc_aux);
}

static void init_soft_state(struct vcpu *v, uint32_t apic_id)
{
    v->arch.virtual_apic.v = v->arch.vmcs.v + PAGE_SIZE;
    v->arch.fpu = arch_ptr(HPA(v->arch.vmcs.v + 2 * PAGE_SIZE));
    *v->arch.fpu = fpu_initial;
    v->arch.gpr = v->page->gpr;
    v->arch.own = &v->object.owner->space;
    v->arch.guest = &v->vm->space;
    v->arch.xcr0 = 1;
    v->arch.fpu_used = 3; // XCR0 does not gate SSE, CR4.OSFXSR does
    v->arch.fresh = 1;
    v->arch.inject = 1;
    v->arch.wait_sipi = apic_id != 0;
    v->arch.dr6 = 0xffff0ff0;
    v->arch.skip_flags = RFLAGS_TF;
    vlapic_init(&v->arch.vlapic, arch_ptr(v->arch.virtual_apic), apic_id, apic_id == 0,
                cpuid_timer_ratio(clock_tsc_hz), 0);
    v->arch.vlapic.catch_up = v->vm->catch_up ? clock_tsc_hz : 0;
    msr_init(&v->arch.msrs, &v->arch.vlapic, &v->arch.table);
    cpuid_vcpu_update(&v->arch.cpuid, apic_id, 0, v->arch.vlapic.apic_base);
    cpuid_vcpu_xsave(&v->arch.cpuid, 576, 576); // legacy region and header
}

static void free_frames(const struct vcpu *v)
{
    __builtin_memset(arch_ptr(v->arch.vmcs), 0, VCPU_FRAMES * PAGE_SIZE);
    frames_free_kernel(v->arch.vmcs, VCPU_FRAMES);
    process_uncharge(v->object.owner, VCPU_FRAMES * PAGE_SIZE);
}

enum status arch_vcpu_init(struct vcpu *v, uint32_t apic_id)
{
    if (!take_cpuid(v))
        return ERR_RANGE;
    if (!process_charge(v->object.owner, VCPU_FRAMES * PAGE_SIZE))
        return ERR_QUOTA;
    if (!frames_alloc_kernel(VCPU_FRAMES, v->vm->object.id, &v->arch.vmcs)) {
        process_uncharge(v->object.owner, VCPU_FRAMES * PAGE_SIZE);
        return ERR_MEMORY;
    }
    __builtin_memset(arch_ptr(v->arch.vmcs), 0, VCPU_FRAMES * PAGE_SIZE);
    init_soft_state(v, apic_id);
    enum status status = hvm->vcpu_init(v);
    if (status != OK)
        free_frames(v);
    return status;
}

void arch_vcpu_leave(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    fpu_leave(cpu, v);
    if (cpu->arch.context == v)
        context_leave(cpu);
    if (cpu->arch.vcpu == v)
        cpu->arch.vcpu = NULL;
    hvm->vcpu_leave(v);
    v->arch.fresh = 1;
}

void arch_vcpu_free(struct vcpu *v)
{
    hvm->vcpu_free(v);
    free_frames(v);
}

// What a VMM may not have a guest begin with. Without DR0-3 of its own a breakpoint would be at an
// address of another guest's.
static void limit_sregs(const struct vcpu *v, struct vcpu_sregs *s)
{
    bool lma = (s->efer & EFER_LME) && (s->cr0 & CR0_PG);
    s->rflags = (s->rflags & 0x3f7fd7) | RFLAGS_FIXED;
    s->cr0 = (s->cr0 & 0xffffffff) | CR0_ET;
    s->cr4 &= v->arch.table.cr4;
    s->efer = (s->efer & v->arch.table.efer & ~EFER_LMA) | (lma ? EFER_LMA : 0);
    s->dr6 = (s->dr6 & 0xe00f) | 0xffff0ff0;
    s->dr7 = v->arch.special & SPECIAL_DR ? (s->dr7 & 0xffffffff) | 0x400 : 0x400;
    s->gdtr_limit &= 0xffff;
    s->idtr_limit &= 0xffff;
}

enum status arch_vcpu_sregs(struct vcpu *v, bool write)
{
    struct vcpu_sregs copy = v->page->sregs; // once: the VMM may be writing
    if (this_cpu()->arch.context == v)
        context_leave(this_cpu());
    if (write) {
        limit_sregs(v, &copy);
        v->arch.inject = 1; // RFLAGS.IF may be another
        if (v->arch.wait_sipi) // after an INIT
            __builtin_memset(v->arch.dr, 0, sizeof(v->arch.dr));
        hvm->write_sregs(v, &copy);
    } else {
        hvm->read_sregs(v, &copy);
        v->page->sregs = copy;
    }
    return OK;
}

enum msr_result vcpu_rdmsr(struct vcpu *v, uint64_t efer)
{
    uint32_t index = (uint32_t)v->arch.gpr[GPR_RCX];
    uint64_t value = 0;
    enum msr_result result = msr_read(&v->arch.msrs, index, rdtsc(), &value);
    if (result == MSR_GP)
        return result;
    if (result == MSR_VMM)
        vcpu_exit(v, VM_EXIT_RDMSR);
    if (result == MSR_EFER_REG)
        value = efer;
    v->arch.gpr[GPR_RAX] = (uint32_t)value;
    v->arch.gpr[GPR_RDX] = value >> 32;
    return result;
}

enum msr_result vcpu_wrmsr(struct vcpu *v, uint64_t *value)
{
    uint32_t index = (uint32_t)v->arch.gpr[GPR_RCX];
    *value = (uint32_t)v->arch.gpr[GPR_RAX] | v->arch.gpr[GPR_RDX] << 32;
    enum msr_result result = msr_write(&v->arch.msrs, index, *value, rdtsc());
    if (result == MSR_VMM)
        vcpu_exit(v, VM_EXIT_WRMSR);
    if (result == MSR_LOAD)
        context_tsc_aux(this_cpu(), v->arch.msrs.tsc_aux);
    return result;
}

int64_t arch_vcpu_answer(struct vcpu *v, uint64_t run) { return hvm_answer(v, run); }

void arch_vcpu_stats(struct vcpu *v, struct vcpu_stats *s)
{
    for (unsigned i = 0; i < ARRAY_SIZE(v->arch.exits); i++)
        s->exits[hvm->exit_class[i] ? hvm->exit_class[i] - 1 : EXIT_OTHER] += v->arch.exits[i];
    s->halted = (v->arch.halted == 2 || v->arch.wait_sipi) &&
                !(v->work & (VCPU_WORK_NMI | VCPU_WORK_INIT | VCPU_WORK_SIPI));
}

// What one of them gets. -> 1: an earlier one waits still, if that is asked
static int64_t deliver(struct vcpu *v, uint32_t delivery, uint8_t vector, bool level, bool asked)
{
    switch (delivery) {
    case VLAPIC_FIXED:
    case VLAPIC_LOWEST:
        return vcpu_post(v, vector, level) || (asked && vlapic_requested(&v->arch.vlapic, vector));
    case VLAPIC_NMI:
        vcpu_raise(v, VCPU_WORK_NMI);
        break;
    case VLAPIC_INIT: // one before it is none for it
        __atomic_fetch_and(&v->work, ~VCPU_WORK_SIPI, __ATOMIC_SEQ_CST);
        vcpu_raise(v, VCPU_WORK_INIT);
        break;
    case VLAPIC_SIPI:
        __atomic_store_n(&v->sipi, vector, __ATOMIC_RELEASE);
        vcpu_raise(v, VCPU_WORK_SIPI);
        break;
    }
    return 0; // SMI, ExtINT: not on this board
}

// To whoever listens at `dest`; but not to `from`.
static int64_t send(const struct vm *vm, const struct vcpu *from, uint32_t icr, uint32_t dest,
                    bool msi)
{
    uint32_t delivery = icr >> 8 & 7;
    bool logical = icr >> 11 & 1, all = icr >> 18 & 2;
    struct vcpu *lowest = NULL;
    int64_t waits = 0;
    uint32_t first = 0, end = vm->vcpus_end;
    if (!all && !logical && dest < end) { // an id, which is where it is
        first = dest;
        end = dest + 1;
    }
    for (uint32_t i = first; i < end; i++) {
        struct vcpu *v = object_to(ref_get(vm->vcpu[i]), vcpu);
        if (!v || v == from)
            continue;
        const struct vlapic *a = &v->arch.vlapic;
        if (!all && !vlapic_match_dest(a, dest, logical, msi))
            continue;
        if (delivery != VLAPIC_LOWEST)
            waits |= deliver(v, delivery, (uint8_t)icr, icr & ICR_LEVEL, msi);
        else if (!lowest || vlapic_bids_lower(a, &lowest->arch.vlapic))
            lowest = v;
    }
    return lowest ? deliver(lowest, delivery, (uint8_t)icr, icr & ICR_LEVEL, msi) : waits;
}

void vcpu_send_ipi(struct vcpu *v)
{
    const struct vlapic *a = &v->arch.vlapic;
    bool lowest = (a->ipi.icr >> 8 & 7) == VLAPIC_LOWEST && !(a->ipi.icr >> 18 & 1);
    (void)send(v->vm, lowest ? NULL : v, a->ipi.icr & ~ICR_LEVEL, a->ipi.dest, false);
}

// ("Message Address Register Format", "Message Data Register Format")
int64_t arch_vm_msi(struct vm *vm, uint64_t address, uint32_t data, bool level)
{
    uint32_t delivery = data >> 8 & 7, logical = address >> 2 & 1;
    if (address >> 20 != APIC_BASE_ADDRESS >> 20)
        return ERR_RANGE;
    if (delivery == VLAPIC_INIT || delivery == VLAPIC_SIPI)
        return OK; // by message: not on this board
    uint32_t icr = (data & 0x7ff) | logical << 11 | (level ? ICR_LEVEL : 0);
    return send(vm, NULL, icr, (uint8_t)(address >> 12), true); // to nobody: as on a PC, it is lost
}
