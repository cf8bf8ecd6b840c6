// SPDX-License-Identifier: BSD-2-Clause
// Turning VMX on: what the CPU must have, what is used when it is there, and the same on every
// core. Control words are (wish | must be one) & may be one, computed once. (SDM, "VMX Capability
// Reporting Facility", "VMX Support".)
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

// What is used, and what a guest cannot be isolated without. Each row is MSR, bits that must all be
// set, what they are, and why; NULL: they are used where they are set. Of a control word's MSR the
// upper half counts, what may be 1; the bits of all its rows are what is wished for.
#define MAY(bit)      (1ull << (32 + (bit)))
#define SEC_APIC      (SEC_APIC_REGS | SEC_VINTR | SEC_APIC_ACCESS | SEC_X2APIC)
#define SEC_USED      ((uint64_t)(SEC_ENCLS | SEC_BUS_LOCK | SEC_APIC | SEC_PAUSE_LOOP) << 32)
static const struct need {
    uint32_t msr;
    uint64_t bits;
    const char *name, *why;
    bool last; // without it the rows below cannot be read
} needs[] = {
    { MSR_FEATURE_CONTROL, 5, "VT-x", "it is switched off in the firmware's setup", true },
    { MSR_VMX_BASIC, 1ull << 55, "VMX true controls", "the exact set of exits", true },
    { MSR_VMX_PIN, MAY(0) | MAY(3), "exits for interrupts and NMIs", "they are the host's", false },
    { MSR_VMX_PIN, MAY(5), "virtual NMIs", "NMI blocking of guests", false },
    { MSR_VMX_PIN, MAY(6), "VMX preemption timer", "bounds every guest's time without an exit",
      false },
    { MSR_VMX_PRIMARY, MAY(7) | MAY(10) | MAY(29), "exits of HLT, MWAIT and MONITOR",
      "a guest must not stop its core", false },
    { MSR_VMX_PRIMARY, MAY(11) | MAY(23) | MAY(24), "exits of RDPMC, MOV DR and I/O",
      "ports, counters and breakpoints are the host's", false },
    { MSR_VMX_PRIMARY, MAY(3), "TSC offsetting", "a guest's TSC is its own", false },
    { MSR_VMX_PRIMARY, MAY(21), "TPR shadow", "CR8 without exits", false },
    { MSR_VMX_PRIMARY, MAY(28), "MSR bitmap", "which MSRs exit", false },
    { MSR_VMX_EXIT, MAY(9) | MAY(15), "acknowledging exits to 64-bit mode", "the kernel is there",
      false },
    { MSR_VMX_EXIT, MAY(2) | MAY(18) | MAY(19) | MAY(20) | MAY(21), "DR7, PAT and EFER at exits",
      "long mode and memory types of guests", false },
    { MSR_VMX_ENTRY, MAY(2) | MAY(14) | MAY(15), "DR7, PAT and EFER at entries",
      "long mode and memory types of guests", false },
    { MSR_VMX_PRIMARY, MAY(31), "secondary controls", "guest memory", true },
    { MSR_VMX_SECONDARY, MAY(5), "VPID", "isolates cached translations", false },
    { MSR_VMX_SECONDARY, MAY(7), "unrestricted guest",
      "guests start in real mode and may go back there", false },
    { MSR_VMX_SECONDARY, MAY(6), "WBINVD exiting",
      "a guest must not flush its neighbours' caches", false },
    { MSR_VMX_SECONDARY, MAY(3) | MAY(12), "RDTSCP and INVPCID", NULL, false },
    { MSR_VMX_SECONDARY, SEC_USED, "see vcpu.c", NULL, false },
    { MSR_VMX_SECONDARY, MAY(1), "EPT", "isolates guest memory", true },
    { MSR_VMX_EPT_VPID, 1u << 6, "EPT page walks of 4 levels", "guest memory", false },
    { MSR_VMX_EPT_VPID, 1u << 14, "EPT write-back type", "guest memory is cached", false },
    { MSR_VMX_EPT_VPID, 1u << 16, "EPT pages of 2 MB", "guest memory is mapped with them", false },
    { MSR_VMX_EPT_VPID, 0x6100000, "INVEPT, all types", "taking memory from a guest", false },
    { MSR_VMX_EPT_VPID, 1ull << 32 | 1ull << 41, "INVVPID, one context",
      "a fresh vCPU must not see an old one's translations", false },
};

// As vmx_enable_core() leaves it: firmware that did not lock the feature left the choice to us.
static uint64_t read_feature_control(void)
{
    uint64_t v = rdmsr(MSR_FEATURE_CONTROL);
    return v & 1 ? v : v | 5;
}

bool vmx_check(void)
{
    bool ok = true;
    for (const struct need *n = needs; n < needs + ARRAY_SIZE(needs); n++) {
        uint64_t v = n->msr == MSR_FEATURE_CONTROL ? read_feature_control() : rdmsr(n->msr);
        if (!n->why || cpu_has((v & n->bits) == n->bits, n->name, n->why))
            continue;
        ok = false;
        if (n->last)
            return false;
    }
    if (!(rdmsr(MSR_VMX_EPT_VPID) & (1u << 17)))
        page_1g = false; // one format for the host and for guests is enough
    bus_lock_exits = rdmsr(MSR_VMX_SECONDARY) & MAY(30);
    return ok;
}

static uint32_t control(uint32_t msr)
{
    uint64_t cap = rdmsr(msr), wish = cap;
    for (const struct need *n = needs; n < needs + ARRAY_SIZE(needs); n++)
        wish |= n->msr == msr ? n->bits >> 32 : 0;
    return (uint32_t)(wish & cap >> 32);
}

static void read_caps(struct vmx_caps *caps)
{
    __builtin_memset(caps, 0, sizeof(*caps)); // they are compared as a whole
    caps->pin = control(MSR_VMX_PIN);
    caps->primary = control(MSR_VMX_PRIMARY);
    caps->secondary = control(MSR_VMX_SECONDARY);
    caps->exit = control(MSR_VMX_EXIT);
    caps->entry = control(MSR_VMX_ENTRY);
    caps->basic = rdmsr(MSR_VMX_BASIC);
    caps->ept_vpid = rdmsr(MSR_VMX_EPT_VPID);
    for (unsigned i = 0; i < ARRAY_SIZE(caps->cr_fixed); i++)
        caps->cr_fixed[i] = rdmsr(MSR_VMX_CR0_0 + i);
    caps->apicv = (caps->secondary & SEC_APIC) == SEC_APIC && !boot_option("apicv=off");
    // Bochs (2.7 to 3.1) delivers a pending virtual interrupt when a host interrupt comes, even
    // with IF clear: a kernel that holds a lock then waits for itself. Guests in xAPIC mode, which
    // most kernels stay in, do without it there.
    caps->vintr_xapic = caps->apicv && !is_bochs();
    // Bochs 3.0 delivers vector 255 where a notification finds nothing posted any more.
    if (caps->apicv && !boot_option("without=posted") && !is_bochs())
        caps->posted = rdmsr(MSR_VMX_PIN) >> 32 & PIN_POSTED;
    caps->pause_loop = caps->secondary & SEC_PAUSE_LOOP;
    // These are set for each vCPU (vmx_set_apic_mode).
    caps->secondary &= ~(SEC_APIC | SEC_PAUSE_LOOP);
    caps->timer_shift = rdmsr(MSR_VMX_MISC) & 31;
    caps->timer_ms = clock_tsc_hz / 1000;
}

static void bitmap_pass(uint8_t *map, uint32_t msr, bool read, bool write)
{
    uint32_t bit = msr & 0x1fff, half = msr >= 0xc0000000 ? 1024 : 0;
    if (read)
        map[half + bit / 8] &= (uint8_t)~(1u << (bit % 8));
    if (write)
        map[2048 + half + bit / 8] &= (uint8_t)~(1u << (bit % 8));
}

// [1] is for a guest in x2APIC mode on a CPU that virtualises the APIC.
static void make_bitmaps(void)
{
    for (unsigned i = 0; i < 2; i++) {
        if (!frames_alloc_kernel(1, FRAME_KERNEL, &vmx_msr_bitmap[i]))
            panic("no memory for the MSR bitmaps");
        uint8_t *map = arch_ptr(vmx_msr_bitmap[i]);
        __builtin_memset(map, 0xff, PAGE_SIZE);
        for (unsigned k = 0; k < MSR_PASSED_COUNT; k++)
            bitmap_pass(map, msr_passed[k], true, true);
        // Reads that give what the virtual-APIC page holds, and the three writes that need no help.
        for (uint32_t r = 0; i && r < 0x400; r += 16)
            bitmap_pass(map, X2APIC(r), vlapic_page_has(r),
                        r == APIC_TPR || r == APIC_EOI || r == APIC_SELF_IPI);
    }
}

const char *vmx_enable_core(struct cpu *cpu)
{
    struct vmx_caps mine;
    if (rdmsr(MSR_FEATURE_CONTROL) != read_feature_control())
        wrmsr(MSR_FEATURE_CONTROL, read_feature_control());
    read_caps(&mine);
    if (cpu->id == 0) {
        vmx = mine;
        apic_accesses = vmx.apicv;
        make_bitmaps();
    } else if (__builtin_memcmp(&mine, &vmx, sizeof(mine)) != 0) {
        return "a VMX capability";
    }
    write_cr0((read_cr0() | vmx.cr_fixed[0]) & vmx.cr_fixed[1]);
    write_cr4((read_cr4() | CR4_VMXE | vmx.cr_fixed[2]) & vmx.cr_fixed[3]);
    if (!frames_alloc_kernel(1, FRAME_KERNEL, &cpu->arch.vmxon))
        return "no memory";
    *(uint32_t *)arch_ptr(cpu->arch.vmxon) = (uint32_t)vmx.basic & 0x7fffffff;
    return VMX_DOES("vmxon %1", "m"(cpu->arch.vmxon.v)) ? NULL : "VMXON";
}

const struct hvm_ops vmx_ops = {
    .name = "VMX", .exit_class = vmx_exit_class,
#define X(type, op, arguments) .op = vmx_##op,
    HVM_OPS(X)
    HVM_OPS_OFTEN(X)
#undef X
};

void vmcs_access_failed(const char *insn, enum vmcs_field field, const char *name,
                        const char *caller)
{
    panic("%s of %s (%x) failed in %s", insn, name, (unsigned)field, caller);
}
