// SPDX-License-Identifier: BSD-2-Clause
// Vector and x87 registers.
//
// The invariant: the registers hold the state of arch.fpu_vcpu, or else of arch.fpu_thread, or else
// nobody's. In ring 3 CR0.TS is set if and only if it is a vCPU's, and then one of the running
// thread's own process: nothing of another protection domain ever stands behind TS. An exit sets TS
// (HOST_CR0), so a VMM that uses general registers only costs its guest nothing; one that does not
// meets #NM, or #UD where the guest's XCR0 lacks the component, and gets its own (fpu_trapped()).
// XCR0 is the host's, but while a vCPU's state is loaded. All others are switched eagerly.
//
// A thread inside a system call has no state to keep: to its code the call clobbers all. It comes
// back to the initial state if its registers were taken. thread.fpu_saved: its memory holds what
// it was interrupted with. Each core on its own.
#include "kernel/arch/x86/x86.h"

// FCW 0x37f and MXCSR 0x1f80
const struct fpu fpu_initial = { { [0] = 0x7f, [1] = 3, [24] = 0x80, [25] = 0x1f } };

static void set_xcr0(struct cpu *cpu, uint64_t v)
{
    if (cpu->arch.fpu_xcr0 != v) {
        xsetbv(v);
        cpu->arch.fpu_xcr0 = v;
    }
}

// Leaf 80000008H EBX. Without it XSAVE and XRSTOR leave out where the last x87 instruction and its
// operand were, while no x87 exception waits: the next one would read that.
#define XSAVE_ERR_PTR (1u << 2)

// With all components enabled: a guest may have turned some off whose registers still hold data.
static void save_loaded(struct cpu *cpu)
{
    struct thread *t = cpu->arch.fpu_thread;
    cpu->arch.ready = NULL;
    clts();
    set_xcr0(cpu, features.xcr0);
    if (cpu->arch.fpu_vcpu) {
        fpu_save(cpu->arch.fpu_vcpu->arch.fpu);
    } else if (t && t->arch.regs.vector != REGS_SYSCALL) {
        fpu_save(&t->arch.fpu);
        t->arch.fpu_saved = 1;
    }
    if (features.amd && !(features.ext8_ebx & XSAVE_ERR_PTR))
        fninit();
    cpu->arch.fpu_vcpu = NULL;
    cpu->arch.fpu_thread = NULL;
}

void fpu_init_cpu(void)
{
    struct cpu *cpu = this_cpu();
    xsetbv(features.xcr0);
    cpu->arch.fpu_xcr0 = features.xcr0;
    // CPUID tells the size for what XCR0 holds. The offsets of the standard form are the CPU's.
    uint32_t size = cpuid_word(0xd, 0, 1);
    if (size > FPU_SIZE)
        panic("an XSAVE area takes %u bytes, and %u are set aside", size, FPU_SIZE);
    fpu_restore(&fpu_initial);
}

static void load_thread(struct cpu *cpu, struct thread *t)
{
    save_loaded(cpu);
    fpu_restore(t->arch.fpu_saved ? &t->arch.fpu : &fpu_initial);
    t->arch.fpu_saved = 0;
    cpu->arch.fpu_thread = t;
}

// t is about to run in ring 3.
void fpu_use_thread(struct cpu *cpu, struct thread *t)
{
    const struct vcpu *v = cpu->arch.fpu_vcpu;
    if (cpu->arch.fpu_thread != t && !(v && v->object.owner == t->process))
        load_thread(cpu, t);
}

// The running thread used registers that are its guest's in ring 3. False: it has its own already.
bool fpu_trapped(struct cpu *cpu)
{
    if (!cpu->arch.fpu_vcpu)
        return false;
    load_thread(cpu, cpu->current);
    return true;
}

// On its core: nothing that counts of this thread or vCPU is in its registers any more.
void fpu_leave(struct cpu *cpu, const void *owner)
{
    if (cpu->arch.fpu_thread == owner || cpu->arch.fpu_vcpu == owner)
        save_loaded(cpu);
    cpu->arch.user = NULL;
}

// Its guest is entered next; or its VMM runs again after all, without an exit that sets TS.
void fpu_use_vcpu(struct cpu *cpu, struct vcpu *v)
{
    if (cpu->arch.fpu_vcpu != v) {
        save_loaded(cpu);
        fpu_restore(v->arch.fpu);
        cpu->arch.fpu_vcpu = v;
        write_cr0(read_cr0() | CR0_TS);
    }
    set_xcr0(cpu, v->arch.xcr0);
}

// To or from the VMM's page. XRSTOR must not be refused, and a component that is not the guest's
// would not be switched: so of the header one word is taken, and MXCSR's upper half is not.
enum status arch_vcpu_fpu(struct vcpu *v, bool write)
{
    uint8_t *own = v->arch.fpu->area, *shared = v->page->fpu;
    (void)fpu_trapped(this_cpu()); // its VMM runs on this core: it is loaded here or nowhere
    if (!write) {
        __builtin_memcpy(shared, own, FPU_SIZE);
        return OK;
    }
    uint64_t *header = (uint64_t *)(own + 512), mine = *header | v->arch.xcr0 | 3;
    __builtin_memcpy(own, shared, 26);
    __builtin_memcpy(own + 32, shared + 32, FPU_SIZE - 32);
    __builtin_memset(header + 1, 0, 56);
    *header &= mine;
    return OK;
}
