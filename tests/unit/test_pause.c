// SPDX-License-Identifier: BSD-2-Clause
//
// A VM that is paused: no vCPU enters its guest, whatever its thread was at, and each goes on where
// it was. One vCPU's thread is the test's; it plays the others.
#include "exit_world.h"

#define WAITS_FOR (VMM_BIT_RESUME | VMM_BITS_DUMP)

static unsigned nmis;

static bool take_msi(void *ctx, uint64_t addr, uint32_t data, bool level)
{
    (void)ctx;
    assert_int_equal(addr, 0xFEEFF000);
    assert_int_equal(data, 0x400);
    assert_false(level);
    nmis++;
    return false;
}

// First for its registers, which are shown, and then to go on.
static uint64_t dump_then_resume(uint64_t mask)
{
    assert_int_equal(mask, WAITS_FOR);
    assert_int_equal(world->runs, 1);
    return world->waits == 1 ? VMM_BIT_DUMP(0) : VMM_BIT_RESUME;
}

static void test_one(void **state)
{
    (void)state;
    world->script[0] = (struct exit){ .kind = VM_EXIT_EVENT,
                                      .exit.event.bits = VMM_BIT_PAUSE | VMM_BIT_TIMER };
    world->script_length = 1;
    world->meanwhile = dump_then_resume;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_POWEROFF);
    assert_int_equal(world->waits, 2);
    assert_false(world->vmm.paused);
}

// While the console has no room: the byte is written once there is, and the VM goes on.
static uint64_t pause_then_room(uint64_t mask)
{
    switch (world->waits) {
    case 1:
        assert_true(mask & VMM_BIT_PAUSE);
        return VMM_BIT_PAUSE;
    case 2:
        assert_int_equal(mask, WAITS_FOR);
        drain_console();
        return VMM_BIT_RESUME;
    default:
        return VMM_BIT_CONSOLE & mask;
    }
}

static void test_in_an_out(void **state)
{
    (void)state;
    while (line_write(&world->vmm.host.line, "x", 1) == 1) {
    }
    world->page.gpr[GPR_RAX] = 'y';
    world->script[0] = (struct exit){ VM_EXIT_PIO, PORT_WORD(0xE9, 1, 0), { 0 } };
    world->script_length = 1;
    world->meanwhile = pause_then_room;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_POWEROFF);
    assert_int_equal(world->waits, 2);
}

// Each is told; the one that leaves its guest for that waits without the lock.
static uint64_t resumed_by_the_board(uint64_t mask)
{
    assert_int_equal(mask, VMM_BIT_ASK);
    assert_int_equal(world->page.holds_lock, 0);
    assert_true(lock_try(&world->vmm.lock));
    if (world->waits == 2)
        exit_events(&world->vmm, VMM_BIT_RESUME);
    lock_release(&world->vmm.lock);
    return VMM_BIT_ASK;
}

static void test_several(void **state)
{
    (void)state;
    world_vcpus(2);
    exit_events(&world->vmm, VMM_BIT_PAUSE);
    assert_int_equal(world->asked, 0x4040);
    world->kind = VM_EXIT_EVENT;
    world->page.exit.event.bits = VMM_BIT_ASK;
    world->meanwhile = resumed_by_the_board;
    assert_true(lock_try(&world->vmm.lock));
    assert_int_equal(exit_handle(&world->vmm.vcpu[1], world->kind, 0), 0);
    assert_int_equal(world->waits, 2);
    assert_false(lock_try(&world->vmm.lock)); // it has it again
}

// One that waited for the lock was told there, and would not be told again.
static uint64_t paused_at_the_lock(uint64_t mask)
{
    struct vmm *vmm = &world->vmm;

    switch (world->waits) {
    case 1:
        assert_int_equal(mask, VMM_BIT_LOCK | VMM_BIT_ASK);
        exit_events(vmm, VMM_BIT_PAUSE);
        lock_release(&vmm->lock);
        return VMM_BIT_ASK;
    case 2:
        assert_int_equal(mask, VMM_BIT_ASK);
        assert_true(lock_try(&vmm->lock)); // free, and it does not take it
        exit_events(vmm, VMM_BIT_RESUME);
        lock_release(&vmm->lock);
        return VMM_BIT_ASK;
    default:
        fail();
        return 0;
    }
}

static void test_at_the_lock(void **state)
{
    (void)state;
    world_vcpus(2);
    assert_true(lock_try(&world->vmm.lock));
    world->meanwhile = paused_at_the_lock;
    vmm_lock(&world->vmm, 1);
    assert_int_equal(world->waits, 2);
    assert_false(lock_try(&world->vmm.lock));
}

// The board is never held up.
static void test_board(void **state)
{
    (void)state;
    world_vcpus(2);
    world->vmm.paused = true;
    vmm_lock_slow(&world->vmm, VMM_THREAD_BOARD);
    assert_int_equal(world->waits, 0);
}

static void test_nmi(void **state)
{
    static const struct ioapic_ops ops = { .msi = take_msi };
    (void)state;
    nmis = 0;
    world->vmm.machine.ioapic.ops = &ops;
    exit_events(&world->vmm, VMM_BIT_NMI);
    assert_int_equal(nmis, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one), TEST(test_in_an_out), TEST(test_several),
        TEST(test_at_the_lock), TEST(test_board), TEST(test_nmi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
