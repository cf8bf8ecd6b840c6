// SPDX-License-Identifier: BSD-2-Clause
// The monitor, which is a part of the manager: its commands, VMs that move, samples, power-off.
#include "libc/time.h"
#include "tests/unit/manager_world.h"

static const struct fake_object *context_of(uint32_t vm)
{
    return &fake.object[fake_handle(manager.vm[vm].spawned.thread[0])->sc];
}

static bool script_monitor(int at)
{
    static const char *const commands[] = {
        "help\r", "vm list\r", "stats\r", "audit\r", "memory\r", "log\r", "frobnicate\r",
        "vm   stop  one\r", "vm stop nobody\r", "vm kill\r", "helpp\b\r", "log now\r",
        "vm kill two more\r", "stats one  two three\r", "vm kill two\r", "vm kill two\r",
    };
    if (at == 0) {
        stats_of(0)->core = 1;
        stats_of(0)->exits[EXIT_CPUID] = 7;
    }
    if ((size_t)at < sizeof(commands) / sizeof(commands[0])) {
        type(commands[at]);
        return true;
    }
    end_vm(0, VMM_END_POWEROFF);
    return true;
}

static void test_monitor(void **state)
{
    (void)state;
    play(script_monitor, two_vms, 1); // one was killed
    expect("bulkhead> help\r\n");
    expect("vm stop NAME          asks the VM");
    expect("one             running     1   25%      8 MB");
    expect("one: core 1, ran 0 ms, halted 0 ms, 7 exits, 0 injected\r\n");
    expect("  cpuid                         7\r\n");
    expect("two: no vCPU (running)\r\n");
    expect("bulkhead> log\r\nkernel: 2 cores\r\nkernel: ready\r\n");
    static char memory[160];
    uint64_t taken = (24 << 20) + (24 << 20) / 256 + 2 * CONFIG_VM_OVERHEAD + 4 * 12288;
    snprintf(memory, sizeof(memory),
             "for VMs %llu KB (check --memory 1024 --cores 2), of which the config gives them "
             "%llu KB\r\n",
             (unsigned long long)manager.vm_memory >> 10, (unsigned long long)taken >> 10);
    expect(memory);
    expect("core 0: idle for");
    expect("unknown command 'frobnicate': help lists them\r\n");
    expect("VM 'one' is asked to power off\r\n");
    assert_int_equal(fake_handle(manager.vm[0].event)->bits & VMM_BIT_STOP, VMM_BIT_STOP);
    expect("no VM is called 'nobody': see vm list\r\n");
    expect("the name of a VM is missing: see vm list\r\n");
    expect("bulkhead> helpp\b \b\r\n");
    expect("'log' takes no argument\r\n");
    expect("> vm kill two more\r\n'more' is one word too many: vm kill NAME\r\n");
    expect("'two three' is 2 words too many: stats [NAME]\r\n");
    expect("VM 'two' killed by the monitor\r\n");
    expect("VM 'two' does not run\r\n");
    // A message that comes while the prompt stands there takes its place, and brings it back.
    expect("\r\033[KVM 'one' powered off\r\nbulkhead> ");
}

// Its VMM is told, and of which vCPU; of one that is not there, or that does not run, nobody is.
static bool script_dump(int at)
{
    static const char *const commands[] = {
        "vm dump\r", "vm dump nobody\r", "vm dump one 1\r", "vm dump one x\r", "vm dump one +0\r",
        "vm dump one 0x0\r", "vm dump one 0 0\r", "vm dump one\r", "vm dump two 0\r",
        "vm kill two\r", "vm dump two\r",
    };
    if (at == 7) {
        assert_int_equal(fake_handle(manager.vm[0].event)->bits & VMM_BITS_DUMP, 0);
    }
    if ((size_t)at < sizeof(commands) / sizeof(commands[0])) {
        type(commands[at]);
        return true;
    }
    assert_int_equal(fake_handle(manager.vm[0].event)->bits & VMM_BITS_DUMP, VMM_BIT_DUMP(0));
    assert_int_equal(fake_handle(manager.vm[1].event)->bits & VMM_BITS_DUMP, VMM_BIT_DUMP(0));
    end_vm(0, VMM_END_POWEROFF);
    return true;
}

static void test_dump(void **state)
{
    (void)state;
    play(script_dump, two_vms, 1); // one was killed
    expect("> vm dump\r\nthe name of a VM is missing: see vm list\r\n");
    expect("no VM is called 'nobody': see vm list\r\n");
    expect("VM 'one' has no vCPU '1': it has 1, from 0 on\r\n");
    expect("VM 'one' has no vCPU 'x': it has 1, from 0 on\r\n");
    expect("VM 'one' has no vCPU '+0': it has 1, from 0 on\r\n");
    expect("VM 'one' has no vCPU '0x0': it has 1, from 0 on\r\n");
    expect("'0' is one word too many: vm dump NAME [VCPU]\r\n");
    expect("> vm dump one\r\nVM 'one' is asked for its registers, which are on its console then"
           "\r\none: ");
    expect("> vm dump two\r\nVM 'two' does not run\r\n");
}

// A name that begins like that of a VM is not its name, however long both are.
static bool script_long_name(int at)
{
    static const char *const commands[] = {
        "vm dump abcdefghijklmnop\r", "vm move abcdefghijklmnop 1\r",
    };
    if ((size_t)at < sizeof(commands) / sizeof(commands[0])) {
        type(commands[at]);
        return true;
    }
    if (at == 2) {
        end_vm(0, VMM_END_POWEROFF);
    }
    return at == 2;
}

static void test_long_name(void **state)
{
    (void)state;
    play(script_long_name, "[vm abcdefghijklmno]\nimage = hello\nmemory = 8M\n", 0);
    expect("vm dump abcdefghijklmnop\r\nno VM is called 'abcdefghijklmnop': see vm list\r\n");
    expect("vm move abcdefghijklmnop 1\r\nno VM is called 'abcdefghijklmnop': see vm list\r\n");
}

// VM one (25%, core 1) goes to core 0 and is brought back by the balancer; two has a list.
static bool script_move(int at)
{
    static const char *const commands[] = {
        "vm move one 0\r", "vm list\r", "vm move one 0\r", "vm move one 2\r", "vm move one\r",
        "vm move one x\r", "vm move one +0\r", "vm move one -18446744073709551615\r",
        "vm move one 0 now\r", "vm move two 0\r", "vm balance\r", "vm balance\r",
    };
    const int count = sizeof(commands) / sizeof(commands[0]);
    if (at < count) {
        if (at == 1) {
            const struct fake_object *sc = context_of(0);
            assert_int_equal(sc->core, 0);
            assert_int_equal(sc->share, 250);
            assert_int_equal(fake_count(FAKE_SC), 3); // two VMs, the system; the old one is gone
        }
        type(commands[at]);
        return true;
    }
    if (at == count) {
        assert_int_equal(context_of(0)->core, 1);
    }
    return script_two_off(at - count);
}

static void test_move(void **state)
{
    (void)state;
    play(script_move, two_cores, 0);
    expect("VM 'one' started: core 1");
    expect("VM 'one' goes to core 0\r\n");
    expect("one             running     0   25%");
    expect("VM 'one' is on core 0\r\n");
    expect("core 2 does not exist: this machine has 2\r\n");
    expect("usage: vm move NAME CORE[,CORE...]\r\nbulkhead> vm move one x\r\nusage: vm move");
    expect("vm move one +0\r\nusage: vm move NAME CORE[,CORE...]\r\n");
    expect("vm move one -18446744073709551615\r\nusage: vm move NAME CORE[,CORE...]\r\n");
    expect("'now' is one word too many: vm move NAME CORE[,...]\r\n");
    expect("core 0 is not among the `cores` of VM 'two' in the config\r\n");
    expect("VM 'one' goes to core 1\r\n");
    expect("every VM is where it belongs\r\n");
    assert_int_equal(fake_count(FAKE_SC), 1); // ended VMs hold no time
}

// The kernel cannot let it go yet: the old context stays, and with it what is promised there.
static bool script_move_waits(int at)
{
    fake.moves_wait = at < 3;
    switch (at) {
    case 0:
        type("vm move one 0\r");
        return true;
    case 1:
        assert_int_equal(context_of(0)->core, 1);
        assert_int_equal(fake_count(FAKE_SC), 4);
        type("vm move one 1\r");
        return true;
    case 2:
        manager.vm[0].left_tsc -= 3000000000; // it is 3 s later
        return false;
    case 3: // the second call finds that it has left
    case 4:
        return false;
    case 5:
        assert_int_equal(context_of(0)->core, 0);
        assert_int_equal(fake_count(FAKE_SC), 3);
    }
    return script_two_off(at - 5);
}

static void test_move_waits(void **state)
{
    (void)state;
    play(script_move_waits, two_cores, 0);
    expect("VM 'one' goes to core 0\r\n");
    expect("VM 'one' cannot go to core 1: it is still on its way to core 0\r\n");
    expect("VM 'one' is still on its way to core 0: the kernel works for it\r\n");
    assert_int_equal(fake_count(FAKE_SC), 1);
}

static bool script_keys(int at)
{
    if (at == 0) {
        type("memo\x1b[A\x1bOC\x1b[1;5Dry now\r"); // arrow keys are no text
        return true;
    }
    if (at == 1) {
        for (int i = 0; i < 200; i++) {
            type(i == 0 ? "vm list" : " ");
        }
        type("\r");
        return true;
    }
    return script_two_off(at - 2);
}

static void test_keys(void **state)
{
    (void)state;
    play(script_keys, two_vms, 0);
    expect("> memory now\r\n'memory' takes no argument\r\n");
    expect("a command of more than 159 characters is not taken\r\n");
}

static bool script_apart(int at)
{
    static const char *const commands[] = { "vm move one 0\r", "vm move one 0\r" };
    fake.time_apart = at == 0; // core 0's against core 1's: a guest would see time jump
    if (at < 2) {
        type(commands[at]);
        return true;
    }
    return script_two_off(at - 2);
}

static void test_clocks_that_differ(void **state)
{
    (void)state;
    play(script_apart, two_cores, 0);
    expect("VM 'one' cannot go from core 1 to core 0: their clocks differ\r\n");
    expect("VM 'one' goes to core 0\r\n");
}

static bool script_sample(int at)
{
    static const char *const commands[] = {
        "sample\r", "sample one 0 3\r", "sample one 1 1001\r", "sample one 1 3x\r",
        "sample one 1 3 4\r", "sample one,nobody 1 3\r",
        "sample one,one,one,one,one 1 3\r", "sample one 1 3\r",
    };
    struct vcpu_stats *stats = stats_of(0);
    if ((size_t)at < sizeof(commands) / sizeof(commands[0])) {
        type(commands[at]);
        return true;
    }
    if (strstr(said, "sample: done") == NULL) {
        // Nothing happens until the next point is due; meanwhile the VM has run.
        const struct manager_sample *sample = &manager.sample;
        while (tsc_read() < sample->start_tsc + sample->taken * sample->period_tsc) {
        }
        stats->now += 1000 + sample->taken; // which is what counts, not when the manager looked
        stats->run_tsc += 100 * sample->taken;
        return false;
    }
    script = script_two_off;
    step = 1;
    return script_two_off(0);
}

static void test_sample(void **state)
{
    (void)state;
    play(script_sample, two_vms, 0);
    expect("> sample\r\n");
    expect("usage: sample NAME[,NAME...] MS COUNT: MS from 1 to 10000, COUNT from 1 to 1000\r\n");
    expect("'4' is one word too many: sample NAME MS COUNT\r\n");
    expect("no VM is called 'nobody'");
    expect("at most 4 VMs are sampled at a time\r\n");
    expect("sampling 3 times, every 1 ms\r\n");
    expect("sample one: 1001:100 1002:200 1003:300\r\n");
}

static const char *host_end;

static bool script_host_end(int at)
{
    if (at == 0) {
        type(host_end);
    } else if (fake.off >= 0) {
        return script_two_off(at - 1);
    }
    return true;
}

static void test_power_off(void **state)
{
    (void)state;
    script = script_host_end;
    host_end = "power-off\r";
    run(two_vms);
    assert_int_equal(fake.off, 0);
    expect("the machine is powered off by the monitor\r\n");
}

static void test_host_reset(void **state)
{
    (void)state;
    script = script_host_end;
    host_end = "reset one\rreset\r"; // it is not for VMs
    run(two_vms);
    assert_int_equal(fake.off, SYSTEM_RESET);
    expect("'reset' takes no argument\r\n");
    expect("the machine is reset by the monitor\r\n");
}

static bool script_reset(int at)
{
    if (at == 0) {
        end_vm(0, VMM_END_RESET);
    } else if (at == 1) {
        type("vm list\r");
    } else if (at == 2) {
        end_vm(1, VMM_END_POWEROFF);
    }
    return at < 3;
}

// It stays off, but an operator sees why; the run is no failure.
static void test_reset(void **state)
{
    (void)state;
    play(script_reset, two_vms, 0);
    expect("VM 'one' asked for a reboot: with restart = never it stays off\r\n");
    expect("one             reset ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_monitor), TEST(test_dump), TEST(test_long_name), TEST(test_move),
        TEST(test_move_waits), TEST(test_clocks_that_differ), TEST(test_keys),
        TEST(test_sample), TEST(test_power_off), TEST(test_host_reset), TEST(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
