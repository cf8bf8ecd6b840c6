// SPDX-License-Identifier: BSD-2-Clause
// The VMCS: its fields and the two instructions that reach them. (SDM, "Field Encoding in VMCS".)
// The VMCS must be current on this core (vmx_load). An access can fail only by a bug of ours: it
// panics and names field and caller.
#pragma once
#include "kernel/lib/types.h"

// The eight segment registers have four fields each, in the same order.
#define SEGMENT(F, name, step)                                                                     \
    F(GUEST_##name, 0x0800 + step) F(GUEST_##name##_LIMIT, 0x4800 + step)                          \
    F(GUEST_##name##_ACCESS, 0x4814 + step) F(GUEST_##name##_BASE, 0x6806 + step)

#define VMCS_FIELDS(F)                                                                             \
    F(VPID, 0x0000)                                                                                \
    SEGMENT(F, ES, 0) SEGMENT(F, CS, 2) SEGMENT(F, SS, 4) SEGMENT(F, DS, 6)                        \
    SEGMENT(F, FS, 8) SEGMENT(F, GS, 10) SEGMENT(F, LDTR, 12) SEGMENT(F, TR, 14)                   \
    F(GUEST_INTR_STATUS, 0x0810)                                                                   \
    F(HOST_ES, 0x0c00) F(HOST_CS, 0x0c02) F(HOST_SS, 0x0c04) F(HOST_DS, 0x0c06)                    \
    F(HOST_FS, 0x0c08) F(HOST_GS, 0x0c0a) F(HOST_TR, 0x0c0c)                                       \
    F(MSR_BITMAP, 0x2004) F(TSC_OFFSET, 0x2010) F(VIRTUAL_APIC, 0x2012) F(APIC_ACCESS, 0x2014)     \
    F(EPT_POINTER, 0x201a) F(EOI_EXIT_0, 0x201c) F(EOI_EXIT_1, 0x201e) F(EOI_EXIT_2, 0x2020)       \
    F(EOI_EXIT_3, 0x2022) F(ENCLS_BITMAP, 0x202e) F(GUEST_PHYSICAL, 0x2400)                        \
    F(VMCS_LINK, 0x2800) F(GUEST_DEBUGCTL, 0x2802) F(GUEST_PAT, 0x2804) F(GUEST_EFER, 0x2806)      \
    F(GUEST_PDPTE0, 0x280a) F(GUEST_PDPTE1, 0x280c) F(GUEST_PDPTE2, 0x280e)                        \
    F(GUEST_PDPTE3, 0x2810) F(HOST_PAT_FIELD, 0x2c00) F(HOST_EFER, 0x2c02)                         \
    F(PIN_CONTROLS, 0x4000) F(PRIMARY_CONTROLS, 0x4002) F(EXCEPTION_BITMAP, 0x4004)                \
    F(PF_ERROR_MASK, 0x4006) F(PF_ERROR_MATCH, 0x4008) F(CR3_TARGETS, 0x400a)                      \
    F(EXIT_CONTROLS, 0x400c) F(EXIT_MSR_STORES, 0x400e) F(EXIT_MSR_LOADS, 0x4010)                  \
    F(ENTRY_CONTROLS, 0x4012) F(ENTRY_MSR_LOADS, 0x4014) F(ENTRY_INTR_INFO, 0x4016)                \
    F(ENTRY_ERROR_CODE, 0x4018) F(ENTRY_INSN_LEN, 0x401a) F(TPR_THRESHOLD, 0x401c)                 \
    F(SECONDARY_CONTROLS, 0x401e)                                                                  \
    F(INSN_ERROR, 0x4400) F(EXIT_REASON, 0x4402) F(EXIT_INTR_INFO, 0x4404)                         \
    F(EXIT_ERROR_CODE, 0x4406) F(IDT_INFO, 0x4408) F(IDT_ERROR_CODE, 0x440a)                       \
    F(EXIT_INSN_LEN, 0x440c) F(EXIT_INSN_INFO, 0x440e)                                             \
    F(GUEST_GDTR_LIMIT, 0x4810) F(GUEST_IDTR_LIMIT, 0x4812)                                        \
    F(GUEST_INTERRUPTIBILITY, 0x4824) F(GUEST_ACTIVITY, 0x4826) F(GUEST_SYSENTER_CS, 0x482a)       \
    F(PREEMPTION_TIMER, 0x482e) F(HOST_SYSENTER_CS, 0x4c00)                                        \
    F(CR0_MASK, 0x6000) F(CR4_MASK, 0x6002) F(CR0_SHADOW, 0x6004) F(CR4_SHADOW, 0x6006)            \
    F(EXIT_QUALIFICATION, 0x6400) F(GUEST_LINEAR, 0x640a)                                          \
    F(GUEST_CR0, 0x6800) F(GUEST_CR3, 0x6802) F(GUEST_CR4, 0x6804)                                 \
    F(GUEST_GDTR_BASE, 0x6816) F(GUEST_IDTR_BASE, 0x6818) F(GUEST_DR7, 0x681a)                     \
    F(GUEST_RSP, 0x681c) F(GUEST_RIP, 0x681e) F(GUEST_RFLAGS, 0x6820)                              \
    F(GUEST_PENDING_DEBUG, 0x6822) F(GUEST_SYSENTER_ESP, 0x6824) F(GUEST_SYSENTER_EIP, 0x6826)     \
    F(HOST_CR0, 0x6c00) F(HOST_CR3, 0x6c02) F(HOST_CR4, 0x6c04) F(HOST_FS_BASE, 0x6c06)            \
    F(HOST_GS_BASE, 0x6c08) F(HOST_TR_BASE, 0x6c0a) F(HOST_GDTR_BASE, 0x6c0c)                      \
    F(HOST_IDTR_BASE, 0x6c0e) F(HOST_SYSENTER_ESP, 0x6c10) F(HOST_SYSENTER_EIP, 0x6c12)            \
    F(HOST_RSP, 0x6c14) F(HOST_RIP, 0x6c16)

enum vmcs_field {
#define F(name, encoding) name = encoding,
    VMCS_FIELDS(F)
#undef F
};

NORETURN void vmcs_access_failed(const char *insn, enum vmcs_field field, const char *caller);

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

#define vmread(field)         vmcs_read(field, __func__)
#define vmwrite(field, value) vmcs_write(field, value, __func__)

// For the fields that frequent exits need: they fail only when no VMCS is current, which the
// checked accesses of vmx_resume() and vcpu creation would have met before.
static inline uint64_t vmread_hot(enum vmcs_field field)
{
    uint64_t v;
    __asm__ volatile("vmread %1, %0" : "=r"(v) : "r"((uint64_t)field) : "cc");
    return v;
}

static inline uint64_t vmcs_read(enum vmcs_field field, const char *caller)
{
    uint64_t v;
    bool failed;
    __asm__ volatile("vmread %2, %0" : "=r"(v), "=@ccbe"(failed) : "r"((uint64_t)field));
    if (unlikely(failed))
        vmcs_access_failed("VMREAD", field, caller);
    return v;
}

static inline void vmcs_write(enum vmcs_field field, uint64_t v, const char *caller)
{
    if (unlikely(!VMX_DOES("vmwrite %1, %2", "r"(v), "r"((uint64_t)field))))
        vmcs_access_failed("VMWRITE", field, caller);
}
