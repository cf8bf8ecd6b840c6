// SPDX-License-Identifier: BSD-2-Clause
// The fake architecture's part of the kernel: what kernel/core/arch.h asks for, by the steps that
// kernel/arch/x86 takes, on the simulated hardware. Page tables: paging.c.
#include "tests/unit/arch/fake.h"
#include "kernel/lib/string.h"
#include "kernel/core/yield.h"
#include "tests/unit/arch/hardware.h"
#include "tests/unit/fake_x86/kernel/arch/x86/x86.h"

uint64_t arch_now(void) { return fake.now += fake.look; }
uint64_t arch_tsc_hz(void) { return fake.tsc_hz; }
uint64_t fake_indexed;

void arch_set_deadline(uint64_t tsc, uint64_t now)
{
    (void)now;
    fake.deadline[fake.core] = tsc;
    fake.deadline_writes[fake.core]++;
}

void arch_send_ipi(uint32_t core)
{
    __atomic_fetch_add(&cpus[core]->arch.ipis, 1, __ATOMIC_SEQ_CST);
}

void arch_kick(uint32_t core, bool posted)
{
    (void)posted;
    __atomic_fetch_add(&cpus[core]->arch.kicks, 1, __ATOMIC_SEQ_CST);
}

// Which tables are loaded, and when they are dropped: the real kernel's cr3.c.
void arch_space_flush(struct space *s)
{
    fake.flushes++;
    if (fake.no_flush)
        return;
    if (s->is_vm)
        hw_invept(fake.core, s->arch.root.v);
    else
        cr3_flush(s);
}

void arch_switch_to(struct thread *t)
{
    (void)t;
    fake.switches++;
}

// Threads
static void check_current(struct thread *t)
{
    struct cpu *cpu = this_cpu();
    if (cpu->current != t || t->core != fake.core || t->state != THREAD_RUNNABLE)
        panic("core %u resumes a thread that is not its current one", fake.core);
    for (uint32_t i = 0; i < cpu_count; i++)
        if (i != fake.core && cpus[i]->current == t && fake.state[i] != FAKE_KERNEL) // it lets go
            panic("core %u resumes a thread that core %u runs", fake.core, i);
    if (cpu->work)
        panic("core %u resumes a thread with work %u left", fake.core, cpu->work);
}

// A trap returns as it came: nothing is loaded on the way.
void fake_back_to_user(void)
{
    struct thread *t = this_cpu()->current;
    check_current(t);
    hw_check_user(fake.core, &t->process->space);
    fake_leave(FAKE_USER);
}

void arch_resume_user(struct thread *t)
{
    struct cpu *cpu = this_cpu();
    struct space *s = &t->process->space;
    check_current(t);
    if (cpu->space != s)
        cr3_use(cpu, s);
    fake_back_to_user();
}

static void load_vcpu(struct vcpu *v)
{
    if (!v->arch.live || v->core != fake.core)
        panic("core %u touches a vCPU that is not on it", fake.core);
    if (hw[fake.core].vmcs != v) {
        hw_vmptrld(fake.core, v);
        this_cpu()->arch.ready = NULL;
    }
    if (!v->arch.fresh)
        return;
    v->arch.fresh = 0;
    v->arch.host_core = fake.core;
    hw_invvpid(fake.core, v->arch.vpid);
}

// Straight back: as an exit that changes nothing does.
void fake_back_to_guest(struct vcpu *v)
{
    check_current(v->thread);
    if (this_cpu()->guest_space != &v->vm->space)
        panic("core %u enters a guest whose space it is not in", fake.core);
    hw_vm_entry(fake.core, v);
    v->arch.entries++;
    fake_leave(FAKE_GUEST);
}

void arch_resume_guest(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    struct space *s = &v->vm->space;
    check_current(v->thread);
    load_vcpu(v);
    if (cpu->space != &v->object.owner->space) // what the next exit loads
        cr3_use(cpu, &v->object.owner->space);
    if (cpu->guest_space != s && space_enter(&cpu->guest_space, s, cpu->id))
        space_sync(s, cpu->id);
    if (v->work & VCPU_WORK_EVENT) {
        v->page->exit.event.bits = vcpu_take_event(v);
        vcpu_return(v, VM_EXIT_EVENT, 0);
    }
    __atomic_fetch_and(&v->work, VCPU_WORK_EVENT, __ATOMIC_SEQ_CST);
    __atomic_store_n(&v->posted, 0, __ATOMIC_SEQ_CST);
    cpu->arch.ready = cpu->current;
    fake_back_to_guest(v);
}

// As vcpu_return_fast() of entry.S.
void fake_return_fast(struct vcpu *v)
{
    struct thread *t = this_cpu()->current;
    if (this_cpu()->work)
        vcpu_return(v, VM_EXIT_PIO, 0);
    t->mode = THREAD_USER;
    arch_thread_set_result(t, VM_EXIT_PIO, 0);
    fake_back_to_user();
}

// As vmx_run_on() of vmx/entry.S; returns where it is not to be.
void fake_run_on(void)
{
    struct cpu *cpu = this_cpu();
    struct vcpu *v = hw[fake.core].vmcs;
    if (cpu->arch.ready != cpu->current || v->work || cpu->work)
        return;
    cpu->current->mode = THREAD_GUEST;
    fake_back_to_guest(v);
}

// As switch_guest() of vmx/exit.c: with PCIDs, CR3 is left to the next exit.
NORETURN static void switch_guest(struct cpu *cpu, struct vcpu *n)
{
    struct space *own = &n->object.owner->space, *guest = &n->vm->space;
    if (n->work || n->arch.fresh || !hw_options.pcids)
        arch_resume_guest(n);
    load_vcpu(n);
    cpu->arch.ready = NULL;
    cr3_leave();
    __atomic_store_n(&cpu->space, own, __ATOMIC_RELAXED);
    if (space_enter(&cpu->guest_space, guest, cpu->id) || space_stale(own, cpu->id)) {
        cr3_use(cpu, own);
        space_sync(guest, cpu->id);
        arch_resume_guest(n);
    }
    fake_back_to_guest(n);
}

void fake_exit_yield(struct vcpu *v)
{
    struct cpu *cpu = this_cpu();
    uint64_t now = fake.now;
    bool busy = now >= cpu->deadline || (cpu->work | v->work);
    struct thread *next = busy ? NULL : sched_yield_to_guest(cpu, now);
    if (next)
        switch_guest(cpu, next->vcpu);
    sched_yield_current();
}

void arch_idle(void) { fake_leave(FAKE_IDLE); }

void arch_interrupt_window(void)
{
    struct cpu *cpu = this_cpu();
    fake.windows++;
    if (!fake.hold[fake.core] && __atomic_exchange_n(&cpu->arch.ipis, 0, __ATOMIC_SEQ_CST))
        cpu_ipi();
}

void arch_thread_init(struct thread *t, uint64_t entry, uint64_t sp, uint64_t arg)
{
    t->arch = (struct arch_thread){ .entry = entry, .sp = sp, .argument = arg };
}

void arch_thread_set_result(struct thread *t, int64_t status, uint64_t value)
{
    t->arch.status = status;
    t->arch.value = value;
}

void arch_thread_gone(struct thread *t) { t->arch.gone = 1; }

// Guests
enum status arch_vcpu_init(struct vcpu *v, uint32_t apic_id)
{
    const struct space *s = &v->object.owner->space;
    v->arch = (struct arch_vcpu){ .apic_id = apic_id, .fresh = 1, .vpid = (uint16_t)v->object.id,
                                  .host_cr3 = s->arch.cr3 & ~CR3_NO_FLUSH };
    v->arch.vmcs_owner = v->vm->object.id;
    if (!frames_alloc_kernel(1, v->arch.vmcs_owner, &v->arch.vmcs))
        return ERR_MEMORY;
    v->arch.live = 1;
    hw_vmclear(fake.core, v);
    load_vcpu(v);
    return OK;
}

void arch_vcpu_leave(struct vcpu *v)
{
    if (!v->arch.live || v->core != fake.core)
        panic("a vcpu leaves a core that it is not on");
    this_cpu()->arch.ready = NULL;
    hw_vmclear(fake.core, v);
    v->arch.fresh = 1;
    v->arch.left++;
}

void arch_vcpu_free(struct vcpu *v)
{
    if (!v->arch.live || v->arch.active || v->thread)
        panic("a vcpu is freed twice, or while a core has it");
    frames_free_kernel(v->arch.vmcs, 1);
    v->arch.live = 0;
}

enum status arch_vcpu_sregs(struct vcpu *v, bool write)
{
    load_vcpu(v);
    if (!write)
        v->page->sregs.rip = 0xfff0;
    return OK;
}

enum status arch_vcpu_fpu(struct vcpu *v, bool write)
{
    load_vcpu(v);
    if (!write)
        v->page->fpu[0] = 0x7f;
    return OK;
}

int64_t arch_vcpu_answer(struct vcpu *v, uint64_t run)
{
    (void)run;
    load_vcpu(v);
    return fake.answer;
}

void arch_vcpu_stats(struct vcpu *v, struct vcpu_stats *s) { s->exits[0] = v->arch.entries; }

int64_t arch_vm_msi(struct vm *vm, uint64_t address, uint32_t data, bool level)
{
    if (address >> 20 != 0xfee)
        return ERR_RANGE;
    fake.msis++;
    for (unsigned i = 0; i < VM_VCPUS; i++) { // to all of them
        struct vcpu *v = object_to(ref_get(vm->vcpu[i]), vcpu);
        if (v && vcpu_post(v, (uint8_t)data, level))
            return 1;
    }
    return 0;
}

// The rest
void arch_ports_granted(struct process *p) { (void)p; }
void arch_log_at(uint16_t port) { fake.log_port = port; }
void arch_irq_mask(uint32_t gsi, bool masked) { fake.irq_masked[gsi] = masked; }
enum status arch_irq_route(uint32_t gsi, uint32_t core)
{
    (void)core;
    return gsi < 24 ? OK : ERR_RANGE;
}

void arch_log(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes && fake.log_bytes + 1 < sizeof(fake.log); i++)
        fake.log[fake.log_bytes++] = text[i];
    fake.log[fake.log_bytes] = 0;
}

// A port with a FIFO, which takes a moment to send.
size_t arch_log_some(const char *text, size_t bytes)
{
    static uint64_t busy_until;
    if (busy_until > fake.now && busy_until < fake.now + 1000000)
        return 0;
    busy_until = fake.now + 1000;
    arch_log(text, min_u64(bytes, 16));
    return min_u64(bytes, 16);
}

void arch_off(int status)
{
    fake.off_status = status;
    fake_leave(FAKE_OFF);
}
