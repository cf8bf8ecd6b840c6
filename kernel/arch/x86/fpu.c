// SPDX-License-Identifier: BSD-2-Clause
// Vector and x87 registers. Each core knows whose are loaded (arch.fpu_loaded); they are saved when
// another owner's are needed and never trapped for. A thread inside a system call has none to keep:
// to its code the call clobbers them all, and it comes back to the initial state, so that nothing
// of a guest or of another process shows.
#include "kernel/arch/x86/x86.h"

static const struct {
    uint16_t fcw;
    uint8_t pad0[22];
    uint32_t mxcsr;
    uint8_t pad1[FPU_SIZE - 28];
} __attribute__((aligned(64))) fpu_initial = { .fcw = 0x37f, .mxcsr = 0x1f80 };

static void set_xcr0(struct cpu *cpu, uint64_t v)
{
    if (cpu->arch.fpu_xcr0 != v) {
        xsetbv(v);
        cpu->arch.fpu_xcr0 = v;
    }
}

// With all components enabled: a guest may have turned some off whose registers still hold data.
static void save_loaded(struct cpu *cpu)
{
    set_xcr0(cpu, features.xcr0);
    struct fpu *f = cpu->arch.fpu_loaded;
    if (!f || (cpu->arch.fpu_regs && cpu->arch.fpu_regs->vector == REGS_SYSCALL))
        return;
    fpu_save(f);
}

uint32_t fpu_size[2];

void fpu_init_cpu(void)
{
    struct cpu *cpu = this_cpu();
    xsetbv(features.xcr0);
    cpu->arch.fpu_xcr0 = features.xcr0;
    // CPUID tells the sizes for what XCR0 holds. The offsets of the standard form are the CPU's.
    if (cpu->id == 0) {
        fpu_size[0] = cpuid_word(0xd, 0, 1);
        fpu_size[1] = cpuid_word(0xd, 1, 1);
    }
    if (fpu_size[0] > FPU_SIZE)
        panic("an XSAVE area takes %u bytes, and %u are set aside", fpu_size[0], FPU_SIZE);
    cpu->arch.fpu_loaded = NULL;
    fpu_restore(&fpu_initial);
}

void fpu_use_thread(struct cpu *cpu, struct thread *t)
{
    struct fpu *f = &t->arch.fpu;
    if (cpu->arch.fpu_loaded == f) {
        set_xcr0(cpu, features.xcr0);
        return;
    }
    save_loaded(cpu);
    fpu_restore(t->arch.regs.vector == REGS_SYSCALL ? (const void *)&fpu_initial : f);
    cpu->arch.fpu_loaded = f;
    cpu->arch.fpu_regs = &t->arch.regs;
}

void fpu_leave(struct cpu *cpu, const struct fpu *f)
{
    if (cpu->arch.fpu_loaded != f)
        return;
    save_loaded(cpu);
    cpu->arch.fpu_loaded = NULL;
    cpu->arch.fpu_regs = NULL;
}

void fpu_use_vcpu(struct cpu *cpu, struct vcpu *v)
{
    if (cpu->arch.fpu_loaded != v->arch.fpu) {
        save_loaded(cpu);
        fpu_restore(v->arch.fpu);
        cpu->arch.fpu_loaded = v->arch.fpu;
        cpu->arch.fpu_regs = NULL;
    }
    set_xcr0(cpu, v->arch.xcr0);
}
