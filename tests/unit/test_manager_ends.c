// SPDX-License-Identifier: BSD-2-Clause
// VMs that end with a status, by their test boards: what the manager tells of it, and of which one
// when the machine goes off.
#include "tests/unit/manager_world.h"

static const char test_boards[] = "[vm one]\nimage = hello\nmemory = 8M\ntestdev = yes\n"
                                  "[vm two]\nimage = hello\nmemory = 8M\ntestdev = yes\n";

static bool script_exits(int at)
{
    switch (at) {
    case 0:
        assert_int_equal(block_of(process_of(0))->vmm.testdev, 1);
        end_vm(0, VMM_END_EXIT + 0x21);
        return true;
    case 1:
        type("vm list\r");
        return true;
    case 2:
        end_vm(1, VMM_END_EXIT + 0xff);
        return true;
    default:
        return false;
    }
}

static void test_exit_status(void **state)
{
    (void)state;
    play(script_exits, test_boards, 0);
    expect("VM 'one' ended with status 33, by its test board\r\n");
    expect("one             exit 33     0");
    expect("VM 'two' ended with status 255, by its test board\r\n");
    expect("all VMs are off: powering off, status 255 of VM 'two'\r\n");
}

static bool script_exit_then_off(int at)
{
    if (at < 2) {
        end_vm((uint32_t)at, at == 0 ? VMM_END_EXIT + 1 : VMM_END_POWEROFF);
    }
    return at < 2;
}

static bool script_killed_then_exit(int at)
{
    if (at < 2) {
        end_vm((uint32_t)at, at == 0 ? VMM_END_KILLED : VMM_END_EXIT + 1);
    }
    return at < 2;
}

static void test_exit_of_another(void **state)
{
    (void)state;
    play(script_exit_then_off, test_boards, 0);
    expect("VM 'one' ended with status 1, by its test board\r\n");
    expect("all VMs are off: powering off\r\n");
}

static void test_exit_after_a_kill(void **state)
{
    (void)state;
    play(script_killed_then_exit, test_boards, 1);
    expect("no VM runs any more: powering off, status 1 of VM 'two'\r\n");
}

// A VMM whose VM has no test board tells of none.
static bool script_false_exit(int at)
{
    if (at < 2) {
        assert_int_equal(block_of(process_of((uint32_t)at))->vmm.testdev, 0);
        end_vm((uint32_t)at, at == 0 ? VMM_END_POWEROFF : VMM_END_EXIT + 0x21);
    }
    return at < 2;
}

static void test_exit_without_a_board(void **state)
{
    (void)state;
    play(script_false_exit, two_vms, 1);
    expect("VM 'two' killed: its VMM exited with status 289\r\n");
    expect("no VM runs any more: powering off, status 1\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exit_status), TEST(test_exit_of_another), TEST(test_exit_after_a_kill),
        TEST(test_exit_without_a_board),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
