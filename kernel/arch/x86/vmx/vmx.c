// SPDX-License-Identifier: BSD-2-Clause
// Turning VMX on: what the CPU must have, what is used when it is there, and the same on every core.
// Control words are (wish | must be one) & may be one, computed once. (SDM, "VMX Capability Reporting
// Facility", "VMX Support".)
#include "kernel/arch/x86/vmx/vmx.h"

#define MSR_VMX_BASIC     0x480
#define MSR_VMX_PIN       0x48d // the TRUE_* capability MSRs
#define MSR_VMX_PRIMARY   0x48e
#define MSR_VMX_EXIT      0x48f
#define MSR_VMX_ENTRY     0x490
#define MSR_VMX_MISC      0x485
#define MSR_VMX_CR0_0     0x486
#define MSR_VMX_SECONDARY 0x48b
#define MSR_VMX_EPT_VPID  0x48c

struct vmx_caps vmx;
struct hpa vmx_msr_bitmap[2];
const struct hvm_ops *hvm = &vmx_ops;

struct control { uint32_t msr, required, wanted; uint32_t *value; uint32_t boot; };

static struct control controls[] = {
    { MSR_VMX_PIN, PIN_EXTINT | PIN_NMI | PIN_VIRTUAL_NMI | PIN_TIMER, 0, &vmx.pin, 0 },
    { MSR_VMX_PRIMARY,
      PRI_TSC_OFFSET | PRI_HLT | PRI_MWAIT | PRI_RDPMC | PRI_TPR_SHADOW | PRI_DR | PRI_IO |
          PRI_MSR_BITMAP | PRI_MONITOR | PRI_SECONDARY, 0, &vmx.primary, 0 },
    { MSR_VMX_SECONDARY, SEC_EPT | SEC_VPID | SEC_UNRESTRICTED | SEC_WBINVD,
      SEC_RDTSCP | SEC_INVPCID | SEC_APIC_REGS | SEC_VINTR | SEC_APIC_ACCESS | SEC_X2APIC,
      &vmx.secondary, 0 },
    { MSR_VMX_EXIT,
      EXIT_SAVE_DEBUG | EXIT_HOST64 | EXIT_ACK_INTR | EXIT_SAVE_PAT | EXIT_LOAD_PAT |
          EXIT_SAVE_EFER | EXIT_LOAD_EFER, 0, &vmx.exit, 0 },
    { MSR_VMX_ENTRY, ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER, 0, &vmx.entry, 0 },
};

static uint32_t control_value(const struct control *c)
{
    uint64_t cap = rdmsr(c->msr);
    return ((c->required | c->wanted) | (uint32_t)cap) & (uint32_t)(cap >> 32);
}

static bool control_lacks(uint32_t msr, uint32_t bits)
{
    return ((uint32_t)(rdmsr(msr) >> 32) & bits) != bits;
}

struct need { bool missing; const char *name, *why; };

static bool report(const struct need *need, unsigned count, bool more)
{
    bool ok = true;
    for (unsigned i = 0; i < count; i++) {
        if (!need[i].missing)
            continue;
        if (ok && !more)
            log_print("This CPU lacks what Bulkhead needs:\n");
        log_print("  %s: %s\n", need[i].name, need[i].why);
        ok = false;
    }
    return ok;
}

static bool check_ept(bool more)
{
    uint64_t cap = rdmsr(MSR_VMX_EPT_VPID);
    const struct need need[] = {
        { !(cap & (1u << 6)), "EPT page walks of 4 levels", "guest memory" },
        { !(cap & (1u << 14)), "EPT write-back type", "guest memory is cached" },
        { !(cap & (1u << 16)), "EPT pages of 2 MB", "guest memory is mapped with them" },
        { (cap & 0x6100000) != 0x6100000, "INVEPT, all types", "taking memory from a guest" },
        { !(cap & (1ull << 32)) || !(cap & (1ull << 41)), "INVVPID, one context",
          "a fresh vCPU must not see an old one's translations" },
    };
    vmx.ept_vpid = cap;
    if (!(cap & (1u << 17)))
        features.page_1g = false; // one format for the host and for guests is enough
    return report(need, ARRAY_SIZE(need), more);
}

static bool vmx_check(bool more)
{
    uint64_t lock = rdmsr(MSR_FEATURE_CONTROL);
    const struct need off = { (lock & 1) && !(lock & 4), "VT-x", "it is switched off in the firmware's setup" };
    if (!report(&off, 1, more))
        return false;
    vmx.basic = rdmsr(MSR_VMX_BASIC);
    const struct need basic[] = {
        { !(vmx.basic & (1ull << 55)), "VMX true controls", "the exact set of exits" },
    };
    if (!report(basic, 1, more))
        return false;
    const struct need need[] = {
        { control_lacks(MSR_VMX_SECONDARY, SEC_EPT), "EPT", "isolates guest memory" },
        { control_lacks(MSR_VMX_SECONDARY, SEC_VPID), "VPID", "isolates cached translations" },
        { control_lacks(MSR_VMX_SECONDARY, SEC_UNRESTRICTED), "unrestricted guest",
          "guests start in real mode and may go back there" },
        { control_lacks(MSR_VMX_PRIMARY, PRI_TPR_SHADOW), "TPR shadow", "CR8 without exits" },
        { control_lacks(MSR_VMX_PRIMARY, PRI_MSR_BITMAP), "MSR bitmap", "which MSRs exit" },
        { control_lacks(MSR_VMX_PIN, PIN_TIMER), "VMX preemption timer",
          "bounds every guest's time without an exit" },
        { control_lacks(MSR_VMX_PIN, PIN_VIRTUAL_NMI), "virtual NMIs", "NMI blocking of guests" },
        { control_lacks(MSR_VMX_EXIT, EXIT_ACK_INTR | EXIT_SAVE_EFER | EXIT_LOAD_EFER |
                        EXIT_SAVE_PAT | EXIT_LOAD_PAT), "EFER and PAT switching",
          "long mode and memory types of guests" },
        { control_lacks(MSR_VMX_SECONDARY, SEC_WBINVD), "WBINVD exiting",
          "a guest must not flush its neighbours' caches" },
    };
    bool ok = report(need, ARRAY_SIZE(need), more);
    if (control_lacks(MSR_VMX_SECONDARY, SEC_EPT))
        return false;
    return check_ept(!ok || more) && ok;
}

static void compute_caps(struct vmx_caps *caps)
{
    for (unsigned i = 0; i < ARRAY_SIZE(controls); i++)
        *controls[i].value = controls[i].boot = control_value(&controls[i]);
    caps->misc = rdmsr(MSR_VMX_MISC);
    caps->cr0_fixed0 = rdmsr(MSR_VMX_CR0_0);
    caps->cr0_fixed1 = rdmsr(MSR_VMX_CR0_0 + 1);
    caps->cr4_fixed0 = rdmsr(MSR_VMX_CR0_0 + 2);
    caps->cr4_fixed1 = rdmsr(MSR_VMX_CR0_0 + 3);
    const uint32_t all = SEC_APIC_REGS | SEC_VINTR | SEC_APIC_ACCESS | SEC_X2APIC;
    caps->apicv = (caps->secondary & all) == all;
    // The APIC bits are set by the guest's APIC mode (vmx_set_apic_mode).
    caps->secondary &= ~all;
    caps->primary &= ~(PRI_CR3_LOAD | PRI_CR3_STORE | PRI_CR8_LOAD | PRI_CR8_STORE |
                       PRI_INTR_WINDOW | PRI_NMI_WINDOW);
    caps->preemption_ticks = (uint32_t)(clock_tsc_hz / 1000 >> (caps->misc & 31));
    caps->cr0_host_owned = CR0_NE | CR0_CD | CR0_NW;
}

static void bitmap_pass(uint8_t *map, uint32_t msr, bool read, bool write)
{
    uint32_t bit = msr & 0x1fff, half = msr >= 0xc0000000 ? 1024 : 0;
    if (read)
        map[half + bit / 8] &= (uint8_t)~(1u << (bit % 8));
    if (write)
        map[2048 + half + bit / 8] &= (uint8_t)~(1u << (bit % 8));
}

// Registers whose value is what the virtual-APIC page holds. The timer's current count is not among
// them, and what does not exist must be #GP.
static const struct { uint32_t first, last; } x2apic_reads[] = {
    { APIC_ID, APIC_VERSION }, { APIC_TPR, APIC_TPR }, { APIC_PPR, APIC_PPR }, { APIC_LDR, APIC_LDR },
    { APIC_SVR, APIC_ESR },    { APIC_ICR, APIC_ICR }, { APIC_LVT_TIMER, APIC_TIMER_INITIAL },
    { APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE },
};

// [1] is for a guest in x2APIC mode on a CPU that virtualises the APIC: those reads, and the three
// writes that need no help.
static void make_bitmaps(void)
{
    for (unsigned i = 0; i < 2; i++) {
        if (!frames_alloc(1, 1, FRAME_KERNEL, &vmx_msr_bitmap[i]))
            panic("no memory for the MSR bitmaps");
        uint8_t *map = arch_ptr(vmx_msr_bitmap[i]);
        __builtin_memset(map, 0xff, PAGE_SIZE);
        for (unsigned k = 0; k < MSR_PASSED_COUNT; k++)
            bitmap_pass(map, msr_passed[k], true, true);
        for (unsigned k = 0; i && k < ARRAY_SIZE(x2apic_reads); k++)
            for (uint32_t r = x2apic_reads[k].first; r <= x2apic_reads[k].last; r++)
                bitmap_pass(map, MSR_X2APIC + r / 16, true, false);
        if (i) {
            bitmap_pass(map, MSR_X2APIC + APIC_TPR / 16, true, true);
            bitmap_pass(map, MSR_X2APIC + APIC_EOI / 16, false, true);
            bitmap_pass(map, MSR_X2APIC + APIC_SELF_IPI / 16, false, true);
        }
    }
}

static bool vmxon(struct cpu *cpu)
{
    if (!frames_alloc(1, 1, FRAME_KERNEL, &cpu->arch.vmxon))
        return false;
    *(uint32_t *)arch_ptr(cpu->arch.vmxon) = (uint32_t)vmx.basic & 0x7fffffff;
    uint64_t region = cpu->arch.vmxon.v;
    bool failed;
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region) : "memory");
    return !failed;
}

static const char *vmx_enable_core(struct cpu *cpu)
{
    uint64_t lock = rdmsr(MSR_FEATURE_CONTROL);
    if (!(lock & 1))
        wrmsr(MSR_FEATURE_CONTROL, lock | 5);
    if (cpu->id == 0) {
        compute_caps(&vmx);
        make_bitmaps();
    } else {
        for (unsigned i = 0; i < ARRAY_SIZE(controls); i++)
            if (control_value(&controls[i]) != controls[i].boot)
                return "a VMX control word";
        if (rdmsr(MSR_VMX_EPT_VPID) != vmx.ept_vpid || rdmsr(MSR_VMX_BASIC) != vmx.basic)
            return "a VMX capability";
    }
    write_cr0((read_cr0() | vmx.cr0_fixed0) & vmx.cr0_fixed1);
    write_cr4((read_cr4() | CR4_VMXE | vmx.cr4_fixed0) & vmx.cr4_fixed1);
    if (!vmxon(cpu))
        return "VMXON";
    return NULL;
}

const struct hvm_ops vmx_ops = {
    .name = "VMX",
    .check = vmx_check,
    .enable_core = vmx_enable_core,
    .vm_init = vmx_vm_init,
    .vm_free = vmx_vm_free,
    .vcpu_init = vmx_vcpu_init,
    .vcpu_free = vmx_vcpu_free,
    .resume = vmx_resume,
    .answer = vmx_answer,
    .sregs = vmx_sregs,
    .flush = vmx_flush_guest,
    .stats = vmx_stats,
};

void vmcs_access_failed(const char *insn, enum vmcs_field field, const char *caller)
{
    static const struct { uint32_t field; const char *name; } names[] = {
#define F(name, encoding) { encoding, #name },
        VMCS_FIELDS(F)
#undef F
    };
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (names[i].field == (uint32_t)field)
            panic("%s of %s failed in %s", insn, names[i].name, caller);
    panic("%s of field %x failed in %s", insn, (unsigned)field, caller);
}
