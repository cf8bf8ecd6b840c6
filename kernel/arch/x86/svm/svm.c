// SPDX-License-Identifier: BSD-2-Clause
// Turning SVM on: what the CPU must have, and the same on every core. (AMD64 Architecture
// Programmer's Manual, volume 2, "Enabling SVM", "SVM Feature Identification".)
#include "kernel/arch/x86/svm/svm.h"

#define MSR_VM_CR    0xc0010114
#define MSR_VM_HSAVE 0xc0010117
#define MSR_DE_CFG   0xc0011029
#define VM_CR_R_INIT (1u << 1) // INIT is #SX: as on VMX, it does not end the machine
#define VM_CR_SVMDIS (1u << 4)
#define LFENCE_SERIALIZES (1u << 1)

struct svm_caps svm;
struct hpa svm_io_map, svm_msr_map;

static void read_caps(struct svm_caps *caps)
{
    caps->features = cpuid_word(0x8000000a, 0, 3);
    caps->asids = cpuid_word(0x8000000a, 0, 1);
    caps->clean = caps->features & SVM_CLEAN ? CLEAN_ALL : 0;
}

bool svm_check(void)
{
    struct svm_caps caps;
    read_caps(&caps);
    const struct { bool has; const char *name, *why; } needs[] = {
        { !(rdmsr(MSR_VM_CR) & VM_CR_SVMDIS), "SVM", "it is switched off in the firmware's setup" },
        { caps.features & SVM_NPT, "nested paging", "isolates guest memory" },
        { caps.asids >= 2, "ASIDs", "isolate cached translations" },
        { features.leaf7_ebx & 1, "FSGSBASE", "an exit finds its core by it" },
    };
    bool ok = true;
    for (unsigned i = 0; i < ARRAY_SIZE(needs); i++)
        ok &= cpu_has(needs[i].has, needs[i].name, needs[i].why);
    return ok;
}

// ("MSR Intercepts": two bits each, three ranges.)
static void msr_pass(uint8_t *map, uint32_t msr)
{
    uint32_t bit = 2 * (msr & 0x1fff) + (msr >= 0xc0000000 ? 0x800 * 8 : 0);
    map[bit / 8] &= (uint8_t)~(3u << bit % 8);
}

static void make_maps(void)
{
    if (!frames_alloc_kernel(3, FRAME_KERNEL, &svm_io_map) ||
        !frames_alloc_kernel(2, FRAME_KERNEL, &svm_msr_map))
        panic("no memory for the permission maps");
    __builtin_memset(arch_ptr(svm_io_map), 0xff, 3 * PAGE_SIZE);
    __builtin_memset(arch_ptr(svm_msr_map), 0xff, 2 * PAGE_SIZE);
    for (unsigned i = 0; i < MSR_PASSED_COUNT; i++)
        msr_pass(arch_ptr(svm_msr_map), msr_passed[i]);
    for (uint32_t msr = MSR_STAR; msr <= MSR_FMASK; msr++) // VMLOAD and VMSAVE move them
        msr_pass(arch_ptr(svm_msr_map), msr);
}

const char *svm_enable_core(struct cpu *cpu)
{
    struct svm_caps mine;
    struct hpa save;
    read_caps(&mine);
    if (cpu->id == 0) {
        svm = mine;
        make_maps();
    } else if (__builtin_memcmp(&mine, &svm, sizeof(mine)) != 0) {
        return "an SVM capability";
    }
    if (!frames_alloc_kernel(1, FRAME_KERNEL, &save) ||
        !frames_alloc_kernel(1, FRAME_KERNEL, &cpu->arch.svm_host))
        return "no memory";
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE, save.v);
    wrmsr(MSR_VM_CR, rdmsr(MSR_VM_CR) | VM_CR_R_INIT);
    // What LFENCE is there for, here and in guests. Families 0FH and 11H have no choice.
    if ((features.leaf1_eax >> 20 & 0xff) && (features.leaf1_eax >> 20 & 0xff) != 2)
        wrmsr(MSR_DE_CFG, rdmsr(MSR_DE_CFG) | LFENCE_SERIALIZES);
    cpu->arch.asid_turn = 1;
    vmsave(cpu->arch.svm_host); // what ring 3 has when no guest's stays
    return NULL;
}

const struct hvm_ops svm_ops = {
    .name = "SVM", .nested = true, .fsgsbase = true, .exit_class = svm_exit_class,
#define X(type, op, arguments) .op = svm_##op,
    HVM_OPS(X)
    HVM_OPS_OFTEN(X)
#undef X
};
