// SPDX-License-Identifier: BSD-2-Clause
// The VMCS: its fields and the two instructions that reach them. (SDM, "Field Encoding in VMCS".)
// The VMCS must be current on this core (vmx_load). An access can fail only by a bug of ours: it
// panics and names field and caller.
#pragma once
#include "kernel/lib/types.h"

// The eight segment registers have four fields each, in the same order.
#define SEGMENT(name, step)                                                                        \
    GUEST_##name = 0x0800 + step, GUEST_##name##_LIMIT = 0x4800 + step,                            \
    GUEST_##name##_ACCESS = 0x4814 + step, GUEST_##name##_BASE = 0x6806 + step

enum vmcs_field {
    VPID = 0x0000, SEGMENT(ES, 0), SEGMENT(CS, 2), SEGMENT(SS, 4), SEGMENT(DS, 6), SEGMENT(FS, 8),
    SEGMENT(GS, 10), SEGMENT(LDTR, 12), SEGMENT(TR, 14), GUEST_INTR_STATUS = 0x0810,
    HOST_ES = 0x0c00, HOST_CS = 0x0c02, HOST_SS = 0x0c04, HOST_DS = 0x0c06, HOST_FS = 0x0c08,
    HOST_GS = 0x0c0a, HOST_TR = 0x0c0c, MSR_BITMAP = 0x2004, TSC_OFFSET = 0x2010,
    VIRTUAL_APIC = 0x2012, APIC_ACCESS = 0x2014, EPT_POINTER = 0x201a, EOI_EXIT_0 = 0x201c,
    ENCLS_BITMAP = 0x202e, GUEST_PHYSICAL = 0x2400, VMCS_LINK = 0x2800, GUEST_DEBUGCTL = 0x2802,
    GUEST_PAT = 0x2804, GUEST_EFER = 0x2806, GUEST_PDPTE = 0x280a, HOST_PAT_FIELD = 0x2c00,
    HOST_EFER = 0x2c02, PIN_CONTROLS = 0x4000, PRIMARY_CONTROLS = 0x4002, EXCEPTION_BITMAP = 0x4004,
    PF_ERROR_MASK = 0x4006, PF_ERROR_MATCH = 0x4008, CR3_TARGETS = 0x400a, EXIT_CONTROLS = 0x400c,
    EXIT_MSR_STORES = 0x400e, EXIT_MSR_LOADS = 0x4010, ENTRY_CONTROLS = 0x4012,
    ENTRY_MSR_LOADS = 0x4014, ENTRY_INTR_INFO = 0x4016, ENTRY_ERROR_CODE = 0x4018,
    ENTRY_INSN_LEN = 0x401a, TPR_THRESHOLD = 0x401c, SECONDARY_CONTROLS = 0x401e,
    PLE_GAP = 0x4020, PLE_WINDOW = 0x4022, POSTED_VECTOR = 0x0002, POSTED_DESCRIPTOR = 0x2016,
    INSN_ERROR = 0x4400, EXIT_REASON = 0x4402, EXIT_INTR_INFO = 0x4404, EXIT_ERROR_CODE = 0x4406,
    IDT_INFO = 0x4408, IDT_ERROR_CODE = 0x440a, EXIT_INSN_LEN = 0x440c, EXIT_INSN_INFO = 0x440e,
    GUEST_GDTR_LIMIT = 0x4810, GUEST_IDTR_LIMIT = 0x4812, GUEST_INTERRUPTIBILITY = 0x4824,
    GUEST_ACTIVITY = 0x4826, GUEST_SYSENTER_CS = 0x482a, PREEMPTION_TIMER = 0x482e,
    HOST_SYSENTER_CS = 0x4c00, CR0_MASK = 0x6000, CR4_MASK = 0x6002, CR0_SHADOW = 0x6004,
    CR4_SHADOW = 0x6006, EXIT_QUALIFICATION = 0x6400, GUEST_LINEAR = 0x640a, GUEST_CR0 = 0x6800,
    GUEST_CR3 = 0x6802, GUEST_CR4 = 0x6804, GUEST_GDTR_BASE = 0x6816, GUEST_IDTR_BASE = 0x6818,
    GUEST_DR7 = 0x681a, GUEST_RSP = 0x681c, GUEST_RIP = 0x681e, GUEST_RFLAGS = 0x6820,
    GUEST_PENDING_DEBUG = 0x6822, GUEST_SYSENTER_ESP = 0x6824, GUEST_SYSENTER_EIP = 0x6826,
    HOST_CR0 = 0x6c00, HOST_CR3 = 0x6c02, HOST_CR4 = 0x6c04, HOST_FS_BASE = 0x6c06,
    HOST_GS_BASE = 0x6c08, HOST_TR_BASE = 0x6c0a, HOST_GDTR_BASE = 0x6c0c, HOST_IDTR_BASE = 0x6c0e,
    HOST_SYSENTER_ESP = 0x6c10, HOST_SYSENTER_EIP = 0x6c12, HOST_RSP = 0x6c14, HOST_RIP = 0x6c16,
};

NORETURN void vmcs_access_failed(const char *insn, enum vmcs_field field, const char *name,
                                 const char *caller);

// One VMX instruction; true when it succeeds. Operands count from %1.
#define VMX_DOES(insn, ...)                                                                        \
    ({                                                                                             \
        bool failed;                                                                               \
        __asm__ volatile(insn : "=@ccbe"(failed) : __VA_ARGS__ : "memory");                        \
        !failed;                                                                                   \
    })

static inline void vmptrld(const struct hpa *vmcs)
{
    ASSERT(VMX_DOES("vmptrld %1", "m"(vmcs->v)));
}

#define vmread(field)         vmcs_read(field, #field, __func__)
#define vmwrite(field, value) vmcs_write(field, #field, value, __func__)

// For the fields that frequent exits need: they fail only when no VMCS is current, which the
// checked accesses of vmx_resume() and vcpu creation would have met before.
static inline uint64_t vmread_hot(enum vmcs_field field)
{
    uint64_t v;
    __asm__ volatile("vmread %1, %0" : "=r"(v) : "r"((uint64_t)field) : "cc");
    return v;
}

static inline void vmwrite_hot(enum vmcs_field field, uint64_t v)
{
    __asm__ volatile("vmwrite %0, %1" : : "r"(v), "r"((uint64_t)field) : "cc");
}

static inline uint64_t vmcs_read(enum vmcs_field field, const char *name, const char *caller)
{
    uint64_t v;
    bool failed;
    __asm__ volatile("vmread %2, %0" : "=r"(v), "=@ccbe"(failed) : "r"((uint64_t)field));
    if (unlikely(failed))
        vmcs_access_failed("VMREAD", field, name, caller);
    return v;
}

static inline void vmcs_write(enum vmcs_field field, const char *name, uint64_t v,
                              const char *caller)
{
    if (unlikely(!VMX_DOES("vmwrite %1, %2", "r"(v), "r"((uint64_t)field))))
        vmcs_access_failed("VMWRITE", field, name, caller);
}
