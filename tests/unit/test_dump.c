// SPDX-License-Identifier: BSD-2-Clause
//
// How a VM shows itself: once when it dies, whatever its other vCPUs do, and as often as it is
// asked while it lives. One vCPU's thread is the test's; it plays the others.
#include "exit_world.h"

#include "libc/time.h"

#define BIT(id) (1u << (id))

static int setup(void **state)
{
    world_setup_heard(state);
    world->page.sregs.rip = 0x1000;
    world->page.sregs.cs.selector = 8;
    return 0;
}

static unsigned lines(const char *start)
{
    const char *said = world_said();
    unsigned found = 0;

    for (const char *at = said; (at = strstr(at, start)) != NULL; at++)
        found += at == said || at[-1] == '\n';
    return found;
}

static void test_one_dies(void **state)
{
    (void)state;
    world->script[0] = (struct exit){ VM_EXIT_PIO, PORT_WORD(0x5000, 1, 0), { 0 } };
    world->script[1] = (struct exit){ .kind = VM_EXIT_KILLED, .exit.killed = {
        VM_KILLED_ENTRY, 0x80000021, { 1, 2, 3, 4 } } };
    world->script_length = 2;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_KILLED);
    assert_int_equal(lines("killed: the CPU does not enter the guest: reason 80000021, 1 2 3 4\n"),
                     1);
    assert_int_equal(lines("vcpu "), 1);
    assert_non_null(strstr(world_said(), " outb 5000 "));
    // After its age, which is the host's.
    assert_non_null(strstr(world_said(), " killed 1 80000021\n"));
    assert_int_equal(world->waits, 0);
}

// What vcpu_run() itself refuses, and an exit of a kind that nobody knows.
static void test_refused(void **state)
{
    (void)state;
    world->script[0] = (struct exit){ .kind = ERR_STATE };
    world->script_length = 1;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_KILLED);
    assert_int_equal(lines("killed: vcpu_run was refused: status -10\n"), 1);
    world->script[1] = (struct exit){ .kind = 99 };
    world->script_length = 2;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_KILLED);
    assert_int_equal(lines("killed: exit of unknown kind 99\n"), 1);
}

// Alive: the guest goes on where it was, the exit that was being handled is as it was.
static void test_alive(void **state)
{
    struct vcpu_page *page = &world->page;
    (void)state;

    memset(world->lapic, 0, sizeof(world->lapic));
    world->lapic[0xF] = 0x1FF;
    world->lapic[0x20 + 7] = 1u << 12; // IRR
    world->lapic[0x10] = 1u << 31;     // ISR
    world->lapic[0x39] = 0x1234;
    page->entry.lapic.offset = 0x80;
    world->kind = VM_EXIT_EVENT;
    page->exit.event.bits = VMM_BIT_TIMER | VMM_BIT_DUMP(0);
    page->exit.rip = 0x4321;
    struct vm_exit exit = page->exit;
    expect_entry(0);
    assert_memory_equal(&page->exit, &exit, sizeof(exit));
    assert_int_equal(page->entry.lapic.offset, 0x80);
    assert_int_equal(world->sregs_writes, 0);
    assert_int_equal(world->runs, 0);
    assert_int_equal(lines("asked for by the monitor:\n"), 1);
    assert_int_equal(lines("vcpu 0: running, real mode, cpl 0, rflags=00000000\n"), 1);
    assert_int_equal(lines("apic tpr=00 svr=1ff lint0=00000 lvtt=00000 tmcct=00001234 irr=ec "
                           "isr=1f\n"), 1);
    expect_entry(0);
    assert_int_equal(lines("asked for by the monitor:\n"), 2);
}

// While the console has no room for the guest, which waits in the middle of an OUT.
static uint64_t ask_then_room(uint64_t mask)
{
    assert_true(mask & VMM_BIT_CONSOLE);
    if (world->waits == 1)
        return VMM_BIT_DUMP(0);
    drain_console();
    return VMM_BIT_CONSOLE & mask;
}

static void test_alive_while_it_waits(void **state)
{
    (void)state;
    while (line_write(&world->vmm.host.line, "x", 1) == 1) {
    }
    world->page.gpr[GPR_RAX] = 'y';
    world->script[0] = (struct exit){ VM_EXIT_PIO, PORT_WORD(0xE9, 1, 0), { 0 } };
    world->script_length = 1;
    world->meanwhile = ask_then_room;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_POWEROFF);
    assert_int_equal(lines("asked for by the monitor:\n"), 1);
    assert_non_null(strstr(world_said(), " outb e9\n"));
}

static void three(void)
{
    world_vcpus(3);
    world->vmm.vcpu[2].waits = true;
}

// The others leave their guests, do not get the lock, and answer; the last one is dead, too.
static uint64_t all_answer(uint64_t mask)
{
    assert_int_equal(mask, VMM_BIT_ANSWER);
    assert_int_equal(world->vmm.dump.asked, BIT(0) | BIT(2));
    assert_int_equal(world->asked, VMM_BIT_ASK | (uint64_t)VMM_BIT_ASK << 16);
    assert_false(lock_try(&world->vmm.lock));
    world->page.sregs.rip = 0x2000;
    dump_answer(&world->vmm, 0);
    world->asked = 0;
    dump_answer(&world->vmm, 0); // it is not asked any more
    world->page.sregs.rip = 0x3000;
    dump_answer(&world->vmm, 2);
    assert_int_equal(world->asked, (uint64_t)VMM_BIT_ANSWER << 8); // to the one that dies
    return VMM_BIT_ANSWER;
}

static void test_one_of_several_dies(void **state)
{
    (void)state;
    three();
    world->meanwhile = all_answer;
    world->vmm.dump.asked = BIT(1); // the monitor has been asking
    world->script[0] = (struct exit){ .kind = VM_EXIT_SHUTDOWN };
    world->script_length = 1;
    assert_int_equal(vmm_run_locked(&world->vmm.vcpu[1]), VMM_END_RESET);
    assert_int_equal(world->waits, 1);
    assert_int_equal(lines("triple fault: this is a reset\nvcpu 1: running, "), 1);
    assert_int_equal(lines("r15=0000000000000000 rip=0000000000001000 "), 1);
    assert_int_equal(lines("vcpu 0: 0008:0000000000002000 cr3=0000000000000000 running\n"
                           "vcpu 2: 0008:0000000000003000 cr3=0000000000000000 waits for start-up "
                           "IPI\n"), 1);
    assert_int_equal(lines("vcpu "), 3);
    assert_false(lock_try(&world->vmm.lock)); // nobody else says anything
}

static uint64_t nobody_answers(uint64_t mask)
{
    (void)mask;
    dump_answer(&world->vmm, 0);
    return 0; // the deadline
}

static void test_silence(void **state)
{
    (void)state;
    three();
    world->meanwhile = nobody_answers;
    assert_int_equal(exit_kill(&world->vmm.vcpu[1], "%s", "for a test"), EXIT_KILL);
    assert_int_equal(lines("killed: for a test\nvcpu 1: "), 1);
    assert_int_equal(lines("vcpu 2: does not answer\n"), 1);
    assert_int_equal(lines("vcpu 0: 0008:"), 1);
}

// A vCPU that waits for the lock answers there, and then gets the lock.
static uint64_t asked_at_the_lock(uint64_t mask)
{
    assert_int_equal(mask, VMM_BIT_LOCK | VMM_BIT_ASK);
    if (world->waits == 1) {
        world->vmm.dump.asked = BIT(0) | BIT(1);
        return VMM_BIT_ASK;
    }
    assert_int_equal(world->vmm.dump.asked, BIT(0));
    lock_release(&world->vmm.lock);
    return VMM_BIT_LOCK;
}

static void test_answers_at_the_lock(void **state)
{
    (void)state;
    three();
    world->meanwhile = asked_at_the_lock;
    assert_true(lock_try(&world->vmm.lock));
    vmm_lock(&world->vmm, 1);
    assert_int_equal(world->waits, 2);
    assert_false(lock_try(&world->vmm.lock));
    assert_int_equal(world->vmm.dump.view[1].sregs.rip, 0x1000);
}

// The board's thread asks, and prints when the last one has answered; the vCPUs run on meanwhile.
static void test_several_alive(void **state)
{
    struct vmm *vmm = &world->vmm;
    (void)state;
    three();
    exit_events(vmm, VMM_BIT_DUMP(2));
    assert_int_equal(vmm->dump.asked, BIT(0) | BIT(1) | BIT(2));
    assert_int_equal(world->asked, 0x404040);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(world->own_signals, 0);
        exit_events(vmm, VMM_BIT_ANSWER); // not yet
        assert_int_equal(lines("vcpu "), 0);
        world->page.sregs.rip = 0x1000 * (i + 1);
        world->page.exit.event.bits = VMM_BIT_ASK | VMM_BIT_CONSOLE;
        assert_int_equal(exit_handle(&vmm->vcpu[i], VM_EXIT_EVENT, 0), 0);
    }
    assert_int_equal(world->own_signals, 1);
    world->page.sregs.rip = 0xBAD;
    exit_events(vmm, VMM_BIT_ANSWER);
    assert_int_equal(lines("asked for by the monitor:\nvcpu 2: waits for start-up IPI, "), 1);
    assert_int_equal(lines("r15=0000000000000000 rip=0000000000003000 "), 1);
    assert_int_equal(lines("vcpu 0: 0008:0000000000001000 "), 1);
    assert_int_equal(lines("vcpu 1: 0008:0000000000002000 "), 1);
    assert_int_equal(lines("vcpu "), 3);
    exit_events(vmm, VMM_BIT_ANSWER); // a stale one
    assert_int_equal(lines("vcpu "), 3);
}

// The PIC's interrupt is on its way through the VMM: a read of the local APIC would have the kernel
// forget it.
static void test_interrupt_is_kept(void **state)
{
    (void)state;
    three();
    world->lapic[2] = 0;
    exit_ring_put(&world->vmm.vcpu[0].exits, &world->vmm.vcpu[0].exits, VM_EXIT_INTR_ACK, 0);
    world->vmm.dump.asked = BIT(0) | BIT(1);
    dump_answer(&world->vmm, 0);
    assert_false(world->vmm.dump.view[0].lapic.seen);
    dump_answer(&world->vmm, 1);
    assert_true(world->vmm.dump.view[1].lapic.seen);
}

// An event wakes nobody from HLT: what has halted for good still has.
static void test_halted_stays(void **state)
{
    (void)state;
    three();
    world->vmm.halted = BIT(1);
    world->script[0] = (struct exit){ .kind = VM_EXIT_EVENT, .exit.event.bits = VMM_BIT_ASK };
    world->script_length = 1;
    world->meanwhile = nobody_answers;
    assert_int_equal(vmm_run_locked(&world->vmm.vcpu[1]), VMM_END_POWEROFF);
    assert_int_equal(world->vmm.halted, 0); // by the OUT that ends the script
    world->vmm.machine.power_pending = true; // after the first exit
    world->vmm.halted = BIT(1);
    world->vmm.lock.taken = 0;
    world->script_at = 0;
    vmm_run_locked(&world->vmm.vcpu[1]);
    assert_int_equal(world->vmm.halted, BIT(1));
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown_heard)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_dies), TEST(test_refused), TEST(test_alive),
        TEST(test_alive_while_it_waits), TEST(test_one_of_several_dies), TEST(test_silence),
        TEST(test_answers_at_the_lock), TEST(test_several_alive), TEST(test_interrupt_is_kept),
        TEST(test_halted_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
