// SPDX-License-Identifier: BSD-2-Clause
// What the tests of the manager share: a boot on the fake kernel, in which the test is the console
// and the VMMs. It reads line 0, types at the monitor, and lets VMs end.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/fake/kernel.h"
#include "vmm/manager/manager.h"

#define IMAGE_BYTES 4096

// All of it is fresh for each test.
extern struct manager manager;
extern struct boot_info boot;
extern struct line console_side;
extern char said[1 << 17];       // on line 0, up to now
extern int step;                 // of the script
extern bool (*script)(int step); // runs when the manager waits; false: the script is over

// The first words of the configuration of PCI devices 0 to 2, two functions each; and accesses
// without the right to the ports.
#define PCI_WORDS 48
extern uint32_t pci_config[PCI_WORDS], ports_refused;
// The host's MC146818: 2026-11-28 12:34:56.
extern struct rtc {
    uint8_t byte[16], index;
    bool absent;
    uint32_t updating; // so many reads of status A say so
} rtc;

extern const char two_vms[]; // a config: VM one with a budget on core 1, VM two without
extern const char two_cores[]; // one with a budget and free to move, two on core 1

int manager_setup(void **state);
#define TEST(name) cmocka_unit_test_setup(name, manager_setup)

// Boots with this config, until the manager ends; its status.
uint32_t run(const char *config);
// The same with a script; the status must be this.
void play(bool (*scene)(int step), const char *config, uint32_t status);
// What the kernel's statistics say of a VM's vCPU, from now on.
struct vcpu_stats *stats_of(uint32_t vm);

// Plays the console: takes what is on line 0.
void read_line0(void);

// A script that powers VM one off, then VM two.
bool script_two_off(int at);

static inline struct fake_object *process_of(uint32_t vm)
{
    return fake_handle(manager.vm[vm].spawned.process);
}

// What the process was started with.
static inline const struct start_block *block_of(struct fake_object *process)
{
    const struct fake_mapping *mapping = fake_mapped(process, START_VA);
    assert_non_null(mapping);
    assert_int_equal(mapping->prot, PROT_READ);
    return (const struct start_block *)(fake.object[mapping->memory].view + mapping->offset);
}

static inline void end_vm(uint32_t vm, int32_t status)
{
    fake_process_end(process_of(vm), PROCESS_EXITED, status);
}

// Keys that a person types at line 0.
static inline void type(const char *keys)
{
    assert_int_equal(line_write(&console_side, keys, (uint32_t)strlen(keys)), strlen(keys));
}

// The text must have been on line 0.
static inline void expect(const char *text)
{
    if (strstr(said, text) == NULL) {
        fail_msg("'%s' is not in:\n%s", text, said);
    }
}
