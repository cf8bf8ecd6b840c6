// SPDX-License-Identifier: BSD-2-Clause
//
// Guests that hang, by the watchdog, and guests that say that they have panicked: what becomes of
// the VM, and what is said. One vCPU's thread is the test's, or the board's is.
#include "exit_world.h"

#define MEMORY 0xFEBFF000ull // of the watchdog
#define FED    "hung: its watchdog was not fed in time\n"
#define ON     "hung: its watchdog was not switched on in time\n"

static unsigned count(const char *text)
{
    unsigned found = 0;

    for (const char *at = world_said(); (at = strstr(at, text)) != NULL; at++)
        found++;
    return found;
}

static void config(uint32_t offset, unsigned size, uint32_t value)
{
    bus_port_write(&world->vmm.machine.bus, 0xCF8, 4, 0x8000E800 | offset);
    bus_port_write(&world->vmm.machine.bus, 0xCFC, size, value);
}

static void preload(uint64_t offset, uint32_t value)
{
    struct bus *bus = &world->vmm.machine.bus;

    bus_mmio_write(bus, MEMORY + 0x0C, 1, 0x80);
    bus_mmio_write(bus, MEMORY + 0x0C, 1, 0x86);
    bus_mmio_write(bus, MEMORY + offset, 4, value);
}

// Host time is the machine's that the test runs on.
static void pass_stage(void)
{
    const struct machine *m = &world->vmm.machine;

    assert_true(m->watchdog.alarm.deadline_ns != CLOCK_NEVER);
    while (clock_now(&m->clock) <= m->watchdog.alarm.deadline_ns) {
    }
}

// Two stages as short as they can be.
static void switch_on(void)
{
    config(0x60, 2, 0x04);
    preload(0x00, 1);
    preload(0x04, 1);
    config(0x68, 1, 2);
}

static void first_stage_ends(void)
{
    switch_on();
    pass_stage();
    exit_events(&world->vmm, VMM_BIT_TIMER);
    assert_false(world->vmm.machine.power_pending);
    pass_stage();
}

static void test_not_fed(void **state)
{
    (void)state;
    first_stage_ends();
    world->page.sregs.rip = 0x1234;
    world->script[0] = (struct exit){ .kind = VM_EXIT_EVENT, .exit.event.bits = VMM_BIT_TIMER };
    world->script_length = 1;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_WATCHDOG);
    assert_int_equal(count(FED), 1);
    assert_int_equal(count("rip=0000000000001234 "), 1); // where it hangs
    assert_int_equal(world->runs, 1);
}

static void test_not_switched_on(void **state)
{
    (void)state;
    world->vmm.machine.watchdog.start_ns = 1;
    i6300esb_reset(&world->vmm.machine.watchdog);
    pass_stage();
    world->script[0] = (struct exit){ .kind = VM_EXIT_EVENT, .exit.event.bits = VMM_BIT_TIMER };
    world->script_length = 1;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_WATCHDOG);
    assert_int_equal(count(ON), 1);
}

// What it wanted to print last has no room, and never gets any.
static uint64_t only_time(uint64_t mask)
{
    assert_true(mask & VMM_BIT_TIMER);
    assert_int_equal(world->waits, 1);
    return VMM_BIT_TIMER;
}

static void test_while_it_prints(void **state)
{
    (void)state;
    first_stage_ends();
    while (line_write(&world->vmm.host.line, "x", 1) == 1) {
    }
    world->script[0] = (struct exit){ VM_EXIT_PIO, PORT_WORD(0xE9, 1, 0), { 0 } };
    world->script_length = 1;
    world->meanwhile = only_time;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_WATCHDOG);
    assert_int_equal(count(FED), 1);
}

// Who is paused hangs for others.
static void test_paused(void **state)
{
    struct vmm *vmm = &world->vmm;
    (void)state;
    switch_on();
    pass_stage();
    exit_events(vmm, VMM_BIT_PAUSE);
    for (unsigned i = 0; i < 3; i++)
        exit_events(vmm, VMM_BIT_TIMER);
    assert_int_equal(vmm->machine.watchdog.stage, I6300ESB_FIRST);
    exit_events(vmm, VMM_BIT_RESUME);
    pass_stage();
    exit_events(vmm, VMM_BIT_TIMER);
    assert_int_equal(vmm->machine.watchdog.stage, I6300ESB_SECOND);
}

static uint64_t both_answer(uint64_t mask)
{
    if (world->waits == 1)
        return VMM_BIT_TIMER;
    assert_int_equal(mask, VMM_BIT_ANSWER);
    for (unsigned i = 0; i < 2; i++) {
        world->page.sregs.rip = 0x1000 * (i + 1);
        dump_answer(&world->vmm, i);
    }
    return VMM_BIT_ANSWER;
}

static uint64_t one_answers(uint64_t mask)
{
    if (world->waits == 1)
        return VMM_BIT_TIMER;
    assert_int_equal(mask, VMM_BIT_ANSWER);
    dump_answer(&world->vmm, 1);
    return 0;
}

static void test_several(void **state)
{
    (void)state;
    first_stage_ends();
    world_vcpus(2);
    world->meanwhile = both_answer;
    assert_int_equal(vmm_run_board(&world->vmm), VMM_END_WATCHDOG);
    assert_int_equal(count(FED), 1);
    assert_int_equal(count("rip=0000000000001000 "), 1);
    assert_int_equal(count("vcpu 1: 0000:0000000000002000 "), 1);
    assert_false(lock_try(&world->vmm.lock)); // nobody does anything more
}

static void test_silent(void **state)
{
    (void)state;
    first_stage_ends();
    world_vcpus(2);
    world->meanwhile = one_answers;
    assert_int_equal(vmm_run_board(&world->vmm), VMM_END_WATCHDOG);
    assert_int_equal(count(FED), 1);
    assert_int_equal(count("vcpu 0: does not answer\n"), 1);
    assert_int_equal(count("vcpu 1: 0000:"), 1);
}

static void write_port(uint8_t value)
{
    world->vmm.machine.power_pending = false;
    world->page.gpr[GPR_RAX] = value;
    world->script[0] = (struct exit){ VM_EXIT_PIO, PORT_WORD(0x505, 1, 0), { 0 } };
    world->script_length = 1;
    world->script_at = 0;
}

// With restart = never it goes on, and its manager is told.
static void test_panic_goes_on(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        write_port(1);
        assert_int_equal(vmm_run(&world->vmm), VMM_END_POWEROFF);
        assert_int_equal(world->panic_notes, 1); // a guest may write it in a loop
        assert_int_equal(world->halt_signals, 1);
        assert_int_equal(count("the guest says that it has panicked\n"), 1);
    }
}

static void test_panic_ends(void **state)
{
    (void)state;
    world->vmm.panic_ends = true;
    write_port(2);
    assert_int_equal(vmm_run(&world->vmm), VMM_END_POWEROFF);
    assert_int_equal(count("panicked, and starts its own kernel for that case\n"), 1);
    write_port(1);
    assert_int_equal(vmm_run(&world->vmm), VMM_END_PANIC);
    assert_int_equal(count("the guest says that it has panicked\n"), 1);
    assert_int_equal(world->panic_notes + world->halt_signals, 0);
}

// Of several vCPUs the manager finds out whether all have halted for good, and has it said.
static void test_several_halted(void **state)
{
    static const char text[] = "the guest has halted with interrupts off: it will never go on\n";

    (void)state;
    world->vmm.vcpus = 2;
    world->vmm.halted = 1u << 1;
    world->kind = VM_EXIT_HALTED;
    expect_entry(0);
    assert_int_equal(world->halt_signals, 1);
    assert_int_equal(count(text), 0);
    exit_events(&world->vmm, VMM_BIT_HALTED);
    assert_int_equal(count(text), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEARD(test_not_fed), HEARD(test_not_switched_on), HEARD(test_while_it_prints),
        HEARD(test_paused), HEARD(test_several), HEARD(test_silent), HEARD(test_panic_goes_on),
        HEARD(test_panic_ends), HEARD(test_several_halted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
