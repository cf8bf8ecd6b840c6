// SPDX-License-Identifier: BSD-2-Clause
// Two things that meet: one on core 1, which stops at some point of its way, and one on core 0,
// which goes all its way meanwhile, or stops too. From the same scene each time, so that all ways
// to meet can be gone through one after the other; chance comes to a gap of an instruction or two
// rarely.
#include "tests/torture/torture.h"
#include <stdio.h>

#define PAIR_MB     8
#define SETTLE_MAX  2000
#define CHILD_QUOTA (2ull << 20)
#define EVENT       100 // in the manager's table, as the names in a unit test's
#define VCPU        101
#define VM          102

static struct fake_process vmm;
static int64_t vm, event, vcpu; // its handles
static uint64_t there;          // a context on core 0, for it to go to

static void to_vmm(struct vcpu *v) { vcpu_return(v, VM_EXIT_EOI, 0); }

// On core 1
static void halts(uint32_t core, void *unused) { (void)unused; fake_exit(core, vcpu_halt); }
static void exits(uint32_t core, void *unused) { (void)unused; fake_exit(core, to_vmm); }

static void exits_fast(uint32_t core, void *unused)
{
    (void)unused;
    fake_exit(core, fake_return_fast);
}

static void runs(uint32_t core, void *unused)
{
    (void)unused;
    CALL(core, vcpu_run, (uint64_t)vcpu);
}

static void runs_on(uint32_t core, void *unused)
{
    (void)unused;
    fake_call(core, SYS_vcpu_run | SYSCALL_RUN_ON, (uint64_t)vcpu, 0, 0, 0, 0, 0);
}

static void waits(uint32_t core, void *unused)
{
    (void)unused;
    CALL(core, event_wait, (uint64_t)event, UINT64_MAX, 0);
}

static void waits_a_while(uint32_t core, void *unused)
{
    (void)unused;
    CALL(core, event_wait, (uint64_t)event, UINT64_MAX, fake.now + 3000000);
}

// On core 0: the scene is such that none is refused.
static void must(int64_t result)
{
    if (result < 0 && result != FAKE_BLOCKED)
        panic("refused: %lx", (uint64_t)result);
}

static void signals(uint32_t core, void *unused)
{
    (void)unused;
    must(CALL(core, event_signal, EVENT, 2));
}

static void raises(uint32_t core, void *unused)
{
    (void)unused;
    must(CALL(core, vcpu_intr, VCPU, 1));
}

static void sends(uint32_t core, void *unused)
{
    (void)unused;
    must(CALL(core, vm_msi, VM, 0xfee03000, 0x41, 0));
}

static void kills(uint32_t core, void *unused)
{
    (void)unused;
    must(CALL(core, object_destroy, vmm.thread_h));
}

static void destroys(uint32_t core, void *unused)
{
    (void)unused;
    must(CALL(core, object_destroy, VCPU));
}

static void ends(uint32_t core, void *unused)
{
    (void)unused;
    must(CALL(core, object_destroy, vmm.handle));
}

static void moves(uint32_t core, void *unused)
{
    (void)unused;
    must(CALL(core, sc_move, vmm.sc, there));
}

enum start { IN_GUEST, IN_VMM, BACK_FAST };

static const struct {
    const char *name;
    enum start from;
    void (*code)(uint32_t core, void *unused);
} ones[] = {
    { "a guest halts", IN_GUEST, halts }, { "a guest exits", IN_GUEST, exits },
    { "a guest exits by the short way", IN_GUEST, exits_fast },
    { "a guest is entered", IN_VMM, runs },
    { "a guest is entered by the short way", BACK_FAST, runs_on },
    { "a thread waits", IN_VMM, waits }, { "a thread waits for a time", IN_VMM, waits_a_while },
};
static const struct {
    const char *name;
    void (*code)(uint32_t core, void *unused);
} others[] = {
    { "its event is signalled", signals }, { "its INTR line rises", raises },
    { "it is sent an interrupt", sends }, { "its thread is killed", kills },
    { "its vCPU is destroyed", destroys }, { "its process is destroyed", ends },
    { "it is moved", moves },
};

unsigned pairs_count(void) { return ARRAY_SIZE(ones) * ARRAY_SIZE(others); }

static void set_scene(enum start from)
{
    fake_start(2, PAIR_MB);
    cores_reset(1);
    there = (uint64_t)fake_sc(0, 0, 0);
    vmm = fake_spawn(1, CHILD_QUOTA, 0);
    vm = CALL(1, vm_create, 0);
    int64_t page = CALL(1, mem_create, PAGE_SIZE, PAGE_SIZE, MEM_KERNEL);
    event = CALL(1, event_create, 0);
    vcpu = CALL(1, vcpu_create, (uint64_t)vm, 3, (uint64_t)page, (uint64_t)event);
    if (vcpu <= 0)
        panic("no scene: %lx", (uint64_t)vcpu);
    fake_manager->handles[EVENT] = vmm.process->handles[event];
    fake_manager->handles[VCPU] = vmm.process->handles[vcpu];
    fake_manager->handles[VM] = vmm.process->handles[vm];
    if (from == IN_VMM)
        return;
    CALL(1, vcpu_run, (uint64_t)vcpu);
    if (from == BACK_FAST)
        fake_exit(1, fake_return_fast);
}

// Who waits for a lock lets the other one go on.
static void finish(void)
{
    for (unsigned i = 0; core_inside(0) || core_inside(1); i++)
        if (core_inside(i % 2))
            core_resume_for(i % 2, UINT64_MAX);
}

// Until nobody has anything to do any more, but for what waits for a time.
static void settle(void)
{
    for (unsigned i = 0; i < SETTLE_MAX; i++) {
        for (uint32_t core = 0; core < 2; core++)
            if (core_has_interrupts(core))
                core_begin(core, "interrupts", core_take_interrupts, NULL);
        finish();
        if (!core_has_interrupts(0) && !core_has_interrupts(1) && fake_thread->op == OP_NONE)
            return;
        if (!core_has_interrupts(0) && !core_has_interrupts(1))
            fake.now = min_u64(fake.deadline[0], fake.deadline[1]);
    }
    panic("it does not come to an end");
}

bool pair_run(unsigned index, uint64_t points, uint64_t others_points)
{
    unsigned one = index / ARRAY_SIZE(others), other = index % ARRAY_SIZE(others);
    fprintf(stderr, "%s, %lu points, and %s, %ld points (-1: all): ", ones[one].name, points,
            others[other].name, (int64_t)others_points);
    set_scene(ones[one].from);
    core_begin(1, ones[one].name, ones[one].code, NULL);
    core_resume_for(1, points);
    if (!core_inside(1))
        return false;
    core_begin(0, others[other].name, others[other].code, NULL);
    core_resume_for(0, others_points);
    if (core_inside(1))
        core_resume_for(1, UINT64_MAX);
    finish();
    settle();
    hw_check();
    invariants_check();
    invariants_check_quiet();
    return true;
}
