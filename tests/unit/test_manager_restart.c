// SPDX-License-Identifier: BSD-2-Clause
//
// VMs that start again: after which ends, when, how often, and what stays theirs meanwhile; and VMs
// that are started by the monitor.
#include "tests/unit/manager_world.h"

#include "libc/time.h"

#define VM(name, keys) "[vm " name "]\nimage = hello\nmemory = 8M\nvcpus = 1\n" keys

static unsigned ends;        // of VM one, so far
static int32_t how[8];       // it ends, time after time
static unsigned how_many;
static handle_t context;     // of VM one

static unsigned count(const char *text)
{
    unsigned found = 0;

    for (const char *at = said; (at = strstr(at, text)) != NULL; at++)
        found++;
    return found;
}

// Ends VM one as often as it is there, and then VM two; waits for VM one in between.
static bool script_ends(int at)
{
    const struct manager_vm *one = &manager.vm[0];
    (void)at;

    if (context == 0)
        context = one->context[0].sc;
    if (one->spawned.process == 0 && one->restart.due_tsc != 0) {
        assert_int_equal(one->context[0].sc, context); // so nobody can take its place
        return false;
    }
    if (one->spawned.process != 0 && ends < how_many) {
        end_vm(0, how[ends++]);
        return true;
    }
    if (manager.vm[1].spawned.process != 0) {
        end_vm(1, VMM_END_POWEROFF);
        return true;
    }
    return false;
}

static void play_ends(const char *config, unsigned number, const int32_t *statuses, uint32_t status)
{
    ends = 0;
    context = 0;
    how_many = number;
    memcpy(how, statuses, number * sizeof(how[0]));
    play(script_ends, config, status);
    assert_int_equal(ends, number);
}

static void test_limit(void **state)
{
    static const int32_t killed[] = { VMM_END_KILLED, VMM_END_KILLED, VMM_END_KILLED };
    (void)state;

    play_ends(VM("one", "restart = on-failure\nrestart-limit = 2 per 10m\n") VM("two", ""), 3,
              killed, 1);
    expect("VM 'one' killed: the reason is on its console\r\n");
    expect("VM 'one' starts again in 0.1 s: 1 of 2 times in 600 s\r\n");
    expect("VM 'one' starts again in 0.2 s: 2 of 2 times in 600 s\r\n");
    expect("VM 'one' stays off: it was started again 2 times in 600 s\r\n");
    assert_int_equal(count("VM 'one' started: core"), 3);
    assert_int_equal(count("VM 'one' killed: "), 3);
}

// A window later the limit has forgotten, and the first delay is short again.
static void test_limit_forgets(void **state)
{
    struct manager_vm vm = { .config = &(struct config_vm){
        .restart = CONFIG_RESTART_ALWAYS, .restarts = 2, .restart_window_s = 60 } };
    const uint64_t now = tsc_read();
    (void)state;

    vm.state = VM_ENDED;
    vm.restart.count = 2;
    vm.restart.at_tsc[0] = now - ns_to_tsc(59000000000ull);
    vm.restart.at_tsc[1] = now - ns_to_tsc(10000000000ull);
    assert_false(restart_plan(&vm));
    assert_true(vm.restart.refused);
    vm.restart.at_tsc[0] = now - ns_to_tsc(61000000000ull);
    vm.restart.at_tsc[1] = vm.restart.at_tsc[0];
    assert_true(restart_plan(&vm));
    assert_false(vm.restart.refused);
    assert_in_range(vm.restart.due_tsc, now + 99999999, tsc_read() + 100000000);
}

// Ever later, but never by more than ten seconds.
static void test_delays(void **state)
{
    static const unsigned tenths[] = { 1, 2, 4, 8, 16, 32, 64, 100, 100 };
    struct manager_vm vm = { .config = &(struct config_vm){
        .restart = CONFIG_RESTART_ALWAYS, .restarts = CONFIG_RESTARTS_MAX,
        .restart_window_s = 600 } };
    (void)state;

    for (unsigned i = 0; i < sizeof(tenths) / sizeof(tenths[0]); i++) {
        const uint64_t before = tsc_read();
        assert_true(restart_plan(&vm));
        assert_in_range(vm.restart.due_tsc, before + tenths[i] * 100000000ull - 10,
                        tsc_read() + tenths[i] * 100000000ull);
    }
}

static void test_on_failure(void **state)
{
    static const int32_t statuses[] = { VMM_END_RESET, VMM_END_SETUP, 77, VMM_END_POWEROFF };
    (void)state;

    play_ends(VM("one", "restart = on-failure\n") VM("two", ""), 4, statuses, 0);
    expect("VM 'one' asked for a reboot\r\n");
    expect("VM 'one' could not be set up: the reason is on its console\r\n");
    expect("VM 'one' killed: its VMM exited with status 77\r\n");
    expect("VM 'one' powered off\r\n");
    assert_int_equal(count("VM 'one' started: core"), 4);
    expect("all VMs are off: powering off\r\n"); // what became of it counts, not what was before
}

static void test_always(void **state)
{
    static const int32_t statuses[] = { VMM_END_POWEROFF, VMM_END_POWEROFF };
    (void)state;

    play_ends(VM("one", "restart = always\nrestart-limit = 1 per 1h\n") VM("two", ""), 2, statuses,
              0);
    assert_int_equal(count("VM 'one' started: core"), 2);
    expect("VM 'one' stays off: it was started again 1 times in 3600 s\r\n");
}

// The process of its VMM dies by itself.
static bool script_fault(int at)
{
    if (at == 0)
        fake_process_end(process_of(0), PROCESS_FAULT, 14);
    if (manager.vm[0].restart.count == 1 && manager.vm[0].spawned.process != 0) {
        end_vm(0, VMM_END_POWEROFF);
        return true;
    }
    return at == 0;
}

static void test_fault(void **state)
{
    (void)state;
    play(script_fault, VM("one", "restart = on-failure\n"), 0);
    expect("VM 'one' killed: its VMM caused exception 14 ");
    expect("VM 'one' starts again in 0.1 s: 1 of 5 times in 600 s\r\n");
}

// What the monitor ends stays off, and what it starts is new.
static bool script_monitor(int at)
{
    static const char *const commands[] = {
        "vm kill one\r", "vm list\r", "vm start one\r", "vm start one\r", "vm stop one\r",
    };
    if (at < 5) {
        type(commands[at]);
    } else if (at == 5) {
        assert_int_equal(fake_handle(manager.vm[0].event)->bits, VMM_BIT_STOP);
        end_vm(0, VMM_END_POWEROFF);
    } else if (at == 6) {
        type("vm restart one\r");
    } else if (at == 7) {
        assert_int_equal(fake_handle(manager.vm[0].event)->bits, 0); // nobody asks this one
        type("vm restart one\r");
    } else if (at == 8) {
        type("vm kill one\r");
    } else if (at == 9) {
        end_vm(1, VMM_END_POWEROFF);
    }
    return at < 10;
}

static void test_monitor(void **state)
{
    (void)state;
    play(script_monitor, VM("one", "restart = always\n") VM("two", ""), 1);
    expect("one             killed ");
    expect("VM 'one' runs\r\n");
    assert_int_equal(count("VM 'one' started: core"), 4);
    assert_int_equal(count("starts again"), 0);
    assert_int_equal(count("VM 'one' killed by the monitor\r\n"), 3);
}

// By its watchdog and by a panic, each a failure; the next run can see that the watchdog ended the
// last one.
static bool script_hangs(int at)
{
    static const int32_t ends_by[] = { VMM_END_WATCHDOG, VMM_END_PANIC, VMM_END_POWEROFF };
    static bool ended;
    (void)at;

    if (ended) {
        ended = false;
        type("vm list\r");
        return true;
    }
    if (manager.vm[0].spawned.process == 0 || ends == 3)
        return false;
    const struct start_vmm *start = &block_of(process_of(0))->vmm;
    assert_int_equal(start->watchdog, 1);
    assert_int_equal(start->watchdog_s, 30);
    assert_int_equal(start->watchdog_bitten, ends == 1);
    assert_int_equal(start->panic_ends, 1);
    end_vm(0, ends_by[ends++]);
    ended = ends < 3;
    return true;
}

static void test_hangs(void **state)
{
    (void)state;
    ends = 0;
    play(script_hangs, VM("one", "restart = on-failure\nwatchdog = 30s\n"), 0);
    assert_int_equal(ends, 3);
    expect("VM 'one' hung: its watchdog has ended it\r\n");
    expect("VM 'one' panicked\r\n");
    expect("one             hung     ");
    expect("one             panicked ");
    assert_int_equal(count("VM 'one' started: core"), 3);
    expect("all VMs are off: powering off\r\n");
}

// Both are failures of the machine, too; but no VM can hang by a watchdog that it has not.
static bool script_hangs_for_good(int at)
{
    if (at == 0) {
        assert_int_equal(block_of(process_of(0))->vmm.watchdog_s, 0);
        assert_int_equal(block_of(process_of(0))->vmm.panic_ends, 0);
        assert_int_equal(block_of(process_of(1))->vmm.watchdog, 0);
        end_vm(0, VMM_END_WATCHDOG);
    } else if (at == 1) {
        end_vm(1, VMM_END_WATCHDOG);
    }
    return at < 2;
}

static void test_hangs_for_good(void **state)
{
    (void)state;
    play(script_hangs_for_good, VM("one", "watchdog = yes\n") VM("two", ""), 1);
    expect("VM 'one' hung: its watchdog has ended it\r\n");
    expect("VM 'two' killed: its VMM exited with status 4\r\n");
    expect("no VM runs any more: powering off, status 1\r\n");
}

// A guest that goes on is only told of, once; started anew it has not panicked.
static bool script_panics(int at)
{
    switch (at) {
    case 0:
    case 1:
        fake_signal(fake_handle(manager.vm[0].notes), VMM_NOTE_PANIC);
        fake_signal(fake_handle(manager.event), 1);
        return true;
    case 2:
        type("vm list\r");
        return true;
    case 3:
        fake_signal(fake_handle(manager.vm[0].notes), VMM_NOTE_PANIC); // its last words
        type("vm restart one\r");
        return true;
    case 4:
        fake_signal(fake_handle(manager.event), 1); // left over from the last run
        type("vm list\r");
        return true;
    case 5:
        end_vm(0, VMM_END_POWEROFF);
        return true;
    default:
        return false;
    }
}

static void test_panics(void **state)
{
    (void)state;
    play(script_panics, VM("one", ""), 0);
    assert_int_equal(count("VM 'one' says that it has panicked\r\n"), 1);
    assert_int_equal(count("one             panicked "), 1);
    assert_int_equal(count("one             running "), 1);
}

// A VM that has halted for good has ended, if it may begin anew.
static bool script_halts(int at)
{
    struct manager_vm *one = &manager.vm[0];
    if (at == 0) {
        stats_of(0)->halted = 1;
        fake_signal(fake_handle(manager.event), 1);
        return true;
    }
    if (one->restart.count == 1 && one->spawned.process != 0) {
        assert_false(one->halted);
        end_vm(0, VMM_END_POWEROFF);
        return true;
    }
    return false;
}

static void test_halted(void **state)
{
    (void)state;
    play(script_halts, VM("one", "restart = on-failure\n"), 0);
    expect("VM 'one' has halted for good (HLT with interrupts off)\r\n");
    expect("VM 'one' starts again in 0.1 s: 1 of 5 times in 600 s\r\n");
    assert_int_equal(count("no VM can go on"), 0);
}

static bool script_waits(int at)
{
    if (at == 0) {
        assert_int_equal(manager.vm[1].spawned.process, 0);
        type("vm list\r");
    } else if (at == 1) {
        type("vm start two\r");
    } else if (at < 4) {
        end_vm((uint32_t)at - 2, VMM_END_POWEROFF);
    }
    return at < 4;
}

static void test_autostart(void **state)
{
    (void)state;
    play(script_waits, VM("one", "") VM("two", "autostart = no\n"), 0);
    expect("two             waiting ");
    assert_int_equal(count("VM 'two' started: core"), 1);
}

// One that nobody has started does not keep the machine on.
static bool script_one_off(int at)
{
    if (at == 0)
        end_vm(0, VMM_END_POWEROFF);
    return at == 0;
}

static void test_nobody_starts_it(void **state)
{
    (void)state;
    play(script_one_off, VM("one", "") VM("two", "autostart = no\n"), 0);
    expect("all VMs are off: powering off\r\n");
}

static bool script_all_wait(int at)
{
    if (at == 0)
        type("vm start one\r");
    else if (at == 1)
        end_vm(0, VMM_END_POWEROFF);
    return at < 2;
}

static void test_all_wait(void **state)
{
    (void)state;
    play(script_all_wait, VM("one", "autostart = no\n") VM("two", "autostart = no\n"), 0);
    expect("no VM starts by itself: `vm start NAME` in the monitor (Ctrl-] m) does\r\n");
    assert_int_equal(count("no VM could be started"), 0);
}

// A VM that runs hears of each command; of those that it has not seen, whether it is paused, of the
// last one only.
static bool script_pause(int at)
{
    static const struct { const char *command; uint64_t bits; bool seen; } steps[] = {
        { "vm pause one\r", 0, true }, { "vm list\r", VMM_BIT_PAUSE, true },
        { "vm pause one\r", 0, true }, { "vm resume one\r", VMM_BIT_PAUSE, false },
        { "vm pause one\r", VMM_BIT_RESUME, false }, { "vm resume one\r", VMM_BIT_PAUSE, true },
        { "vm resume one\r", VMM_BIT_RESUME, true }, { "vm nmi one\r", 0, true },
        { "vm pause one\r", VMM_BIT_NMI, true }, { "vm stop one\r", VMM_BIT_PAUSE, true },
        { "vm restart one\r", 0, true }, { "vm list\r", 0, true },
    };
    const int count = sizeof(steps) / sizeof(steps[0]);
    struct fake_object *event = fake_handle(manager.vm[0].event);

    if (at < count) {
        assert_int_equal(event->bits, steps[at].bits);
        if (steps[at].seen)
            event->bits = 0;
        type(steps[at].command);
        return true;
    }
    if (manager.vm[0].spawned.process != 0)
        end_vm(0, VMM_END_POWEROFF);
    return at <= count;
}

static void test_pause(void **state)
{
    (void)state;
    play(script_pause, VM("one", ""), 0);
    expect("one             paused  ");
    assert_int_equal(count("VM 'one' is paused\r\n"), 4);
    assert_int_equal(count("VM 'one' goes on\r\n"), 2);
    expect("VM 'one' is paused, and hears nothing: vm resume, or vm kill\r\n");
    expect("VM 'one' is not paused\r\n");
    expect("VM 'one' gets an NMI\r\n");
    expect("one             running "); // anew
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_limit), TEST(test_limit_forgets), TEST(test_delays), TEST(test_on_failure),
        TEST(test_always), TEST(test_fault), TEST(test_monitor), TEST(test_halted),
        TEST(test_autostart), TEST(test_nobody_starts_it), TEST(test_all_wait),
        TEST(test_pause), TEST(test_hangs), TEST(test_hangs_for_good), TEST(test_panics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
