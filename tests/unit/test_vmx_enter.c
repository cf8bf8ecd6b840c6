// SPDX-License-Identifier: BSD-2-Clause
// What a core has loaded when it enters a guest: its VMM's tables, for the next exit loads these
// and believes that they are what cpu->space says; the VM's own tables; and between two protection
// domains, a VMM's process on its own among them, the barriers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "kernel/arch/x86/mce.h"
#include "kernel/arch/x86/vmx/vmx.h"

// this_cpu() is at GS. (The names of <sys/syscall.h> are those of our own calls.)
#define ARCH_PRCTL  158
#define ARCH_SET_GS 0x1001

uint64_t fake_vmcs[FAKE_FIELDS], fake_dr6;
struct mitigations mitigations;
static struct cpu cpu;
static struct thread thread[2]; // of each
static struct process owner[2]; // of two VMs, with one vCPU each
static struct vm vm[2];
static struct vcpu vcpu[2];
static struct vcpu_page page;
static jmp_buf out;
static unsigned loads, syncs, injects, barriers, faults;
static bool launched; // the entry was by VMLAUNCH
static bool mce_ends;

// What the kernel's other files do here.
void cr3_use(struct cpu *c, struct space *s) { c->space = s; loads++; }
void space_sync(struct space *s, uint32_t core) { s->seen[core] = s->generation; syncs++; }
void vmx_load(struct vcpu *v) { (void)v; }
void vmx_inject_pending(struct vcpu *v) { (void)v; injects++; }
void fpu_use_vcpu(struct cpu *c, struct vcpu *v) { (void)c; (void)v; }
void context_load(struct cpu *c, struct vcpu *v) { c->arch.context = v; }
void context_syscall_msrs(struct cpu *c, const struct vcpu *v) { (void)c; (void)v; }
void vmx_enter(struct vcpu *v)
{
    launched = v->arch.fresh;
    v->arch.fresh = 0;
    longjmp(out, 1);
}
void vcpu_return(struct vcpu *v, int64_t kind, uint64_t word)
{
    (void)v;
    (void)kind;
    (void)word;
    longjmp(out, 2);
}
void arch_vcpu_leave(struct vcpu *v)
{
    v->arch.fresh = 1;
    cpu.arch.ready = NULL;
}
int64_t vmx_lapic_answer(struct vcpu *v) { (void)v; return 0; }
bool mce_handled(void) { return mce_ends; }
void rsb_fill(void) { barriers++; }

void vmx_inject(struct vcpu *v, uint32_t type, uint8_t vector)
{
    (void)v;
    (void)type;
    (void)vector;
}

enum exit_action vmx_inject_fault(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
    (void)v;
    (void)vector;
    (void)has_error;
    (void)error;
    faults++;
    return EXIT_RESUME;
}

void panic(const char *format, ...) { fail_msg("%s", format); abort(); }

void vmcs_access_failed(const char *insn, enum vmcs_field field, const char *name,
                        const char *caller)
{
    panic("%s of %s (%x) in %s", insn, name, field, caller);
}

static int setup(void **state)
{
    (void)state;
    memset(&cpu, 0, sizeof(cpu));
    memset(owner, 0, sizeof(owner));
    memset(vm, 0, sizeof(vm));
    memset(vcpu, 0, sizeof(vcpu));
    memset(&mitigations, 0, sizeof(mitigations));
    loads = syncs = injects = barriers = 0;
    mce_ends = false;
    cpu.arch.self = &cpu;
    for (uint32_t i = 0; i < 2; i++) {
        owner[i].object.id = i + 1;
        vcpu[i].object.owner = &owner[i];
        vcpu[i].vm = &vm[i];
        vcpu[i].page = &page;
    }
    return (int)syscall(ARCH_PRCTL, ARCH_SET_GS, &cpu);
}

static void enter(struct vcpu *v)
{
    int how = setjmp(out);
    cpu.current = &thread[v - vcpu];
    if (how == 0)
        vmx_resume(v);
    assert_int_equal(how, 1);
    assert_ptr_equal(cpu.space, &v->object.owner->space);
    assert_ptr_equal(cpu.guest_space, &v->vm->space);
}

// Another process ran last on this core, or none: a flush that is asked for while the guest runs,
// or in one of its exits, is to find what the exit has loaded.
static void an_exit_lands_in_the_vmm(void **state)
{
    (void)state;
    enter(&vcpu[0]);
    assert_int_equal(loads, 1);
    enter(&vcpu[0]); // its own VMM ran: nothing to do
    assert_int_equal(loads, 1);
    cpu.space = &owner[1].space;
    cpu.arch.ready = NULL; // as context_leave() does
    enter(&vcpu[0]);
    cpu.space = NULL;
    cpu.arch.ready = NULL;
    enter(&vcpu[0]);
    assert_int_equal(loads, 3);
    enter(&vcpu[1]);
    assert_int_equal(loads, 4);
}

static void stale_tables_are_flushed(void **state)
{
    (void)state;
    enter(&vcpu[0]);
    vm[0].space.generation = 7;
    enter(&vcpu[1]);
    assert_int_equal(syncs, 0);
    enter(&vcpu[0]);
    assert_int_equal(syncs, 1);
    enter(&vcpu[1]);
    enter(&vcpu[0]);
    assert_int_equal(syncs, 1);
}

static void work_that_waits_is_done(void **state)
{
    (void)state;
    enter(&vcpu[0]);
    assert_int_equal(injects, 0);
    vcpu[0].work = VCPU_WORK_NMI;
    enter(&vcpu[0]);
    vcpu[0].work = 0;
    vcpu[0].arch.inject = 1;
    enter(&vcpu[0]);
    vcpu[0].arch.inject = 0;
    vcpu[0].arch.halted = 1;
    enter(&vcpu[0]);
    assert_int_equal(injects, 3);
}

static void refused(uint64_t rip, uint32_t reason, int how)
{
    int now = setjmp(out);
    if (now == 0) {
        vmwrite(GUEST_RIP, rip);
        vcpu[0].arch.fresh = 0; // as the entry did that was refused
        vmx_entry_refused(&vcpu[0], reason);
    }
    assert_int_equal(now, how);
}

// A refused VMLAUNCH leaves the VMCS not launched, a refused VMRESUME launched: the next entry is
// right for both.
static void a_refused_entry_is_tried_again(void **state)
{
    const uint32_t invalid_state = 0x80000021, machine_check = 0x80000029;
    (void)state;
    enter(&vcpu[0]);
    refused(1ull << 32, invalid_state, 1); // it must wrap
    assert_int_equal(vmread(GUEST_RIP), 0);
    assert_true(launched);
    vmwrite(GUEST_CS_ACCESS, CS_LONG);
    refused(1ull << 47, invalid_state, 1); // #GP
    assert_int_equal(vmread(GUEST_RIP), ~0ull << 47);
    assert_true(launched);
    refused(0x1000, machine_check, 1); // it is over
    assert_true(launched);
    mce_ends = true;
    refused(0x1000, machine_check, 2);
    assert_int_equal(page.exit.killed.code, VM_KILLED_MACHINE_CHECK);
    refused(0x1000, invalid_state, 2);
    assert_int_equal(page.exit.killed.code, VM_KILLED_ENTRY);
    enter(&vcpu[0]);
    assert_true(launched);
}

// A task switch is the end of what was being delivered; an NMI blocks others from then on, and no
// shadow is left of the old task. A fault in it has to find the event: they may be a double fault.
static void a_task_is_switched(void **state)
{
    static const struct { uint64_t event, block, after; } cases[] = {
        { 0, BLOCK_STI, 0 },
        { 0x80000020, BLOCK_SS, 0 },
        { 0x80000202, 0, BLOCK_NMI },
        { 0x00000202, 0, 0 }, // it was delivered long ago
        { 0x80000b0d, BLOCK_NMI, BLOCK_NMI },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (uint32_t fault = 0; fault <= VM_ENTRY_FAULT; fault += VM_ENTRY_FAULT) {
            faults = 0;
            vmwrite(ENTRY_INTR_INFO, cases[i].event);
            vmwrite(GUEST_INTERRUPTIBILITY, cases[i].block);
            vmwrite(GUEST_PENDING_DEBUG, PENDING_STEP);
            page.entry.flags = VM_ENTRY_TASK | fault;
            assert_int_equal(vmx_answer(&vcpu[0], VM_RUN_PAGE), 0);
            assert_int_equal(vmread(ENTRY_INTR_INFO), fault ? cases[i].event : 0);
            assert_int_equal(vmread(GUEST_INTERRUPTIBILITY), cases[i].after);
            assert_int_equal(vmread(GUEST_PENDING_DEBUG), 0);
            assert_int_equal(faults, fault != 0);
        }
    }
}

// By process, not by guest: a VMM, or the console, may come between two runs of one guest.
static void barriers_between_domains(void **state)
{
    (void)state;
    barrier_enter(&cpu, &owner[0]);
    assert_int_equal(barriers, 1);
    barrier_enter(&cpu, &owner[0]);
    assert_int_equal(barriers, 1);
    barrier_enter(&cpu, &owner[1]);
    barrier_enter(&cpu, &owner[0]);
    assert_int_equal(barriers, 3);
    owner[0].object.generation++; // another process in the same place
    barrier_enter(&cpu, &owner[0]);
    assert_int_equal(barriers, 4);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_exit_lands_in_the_vmm), TEST(stale_tables_are_flushed),
        TEST(work_that_waits_is_done), TEST(barriers_between_domains),
        TEST(a_refused_entry_is_tried_again), TEST(a_task_is_switched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
