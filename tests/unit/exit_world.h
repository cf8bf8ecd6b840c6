// SPDX-License-Identifier: BSD-2-Clause
//
// What the tests of the run loop share: a VMM on a kernel that exit_world.c plays. A test hands in
// exits and looks at what the VMM asks to be done before the next entry.
#pragma once

#include "guest.h"

#include "libc/kcall.h"
#include "vmm/cpu/exit.h"
#include "vmm/vmm.h"

#define VM  8 // the handle the VMM has of its VM
#define RAM 9 // of the memory object
#define MANAGER 10 // of its event, to signal HALTED_BIT there
#define HALTED_BIT 4
#define NOTES 11 // and of the one for VMM_NOTE_*
#define VCPU_EVENT(id) (20 + (id))

struct world {
    struct vmm vmm;
    struct vcpu_page page;
    unsigned runs, waits, own_signals, halt_signals, sregs_reads, sregs_writes;
    unsigned panic_notes;
    unsigned fpu_reads, fpu_writes;
    uint32_t lapic[64]; // what its registers, 16 bytes apart, read as; all ones at first
    // What the other threads do while this one waits for bits of its event, and those bits.
    uint64_t (*meanwhile)(uint64_t mask);
    uint64_t asked; // bits that vCPU i was signalled: 8 each
    unsigned script_at, script_length;
    struct exit { int64_t kind; uint64_t word; struct vm_exit exit; } script[8];
    int64_t kind; // of the exit in the page, and its word
    uint64_t word;
    unsigned skipped; // bytes, by the last expect_entry(); the CPU knows 2 of a port instruction
    unsigned maps, unmaps;
    uint64_t arguments[6]; // of the last call that maps or unmaps
    int64_t map_status;
    struct line console; // the other end of the VM's line
    uint8_t testdev_ram[TESTDEV_RAM_SIZE];
    _Alignas(64) uint8_t line[CONSOLE_LINE_BYTES];
};

// Of the test that runs; fresh for each.
extern struct world *world;

int world_setup(void **state);
int world_teardown(void **state);
// The same, and what the VMM prints is kept for world_said(), in place of the test's own output.
int world_setup_heard(void **state);
int world_teardown_heard(void **state);
// All of it up to now; valid until the next call.
const char *world_said(void);

// Has so many vCPUs, which share the page.
void world_vcpus(unsigned count);

// Takes what is on the VM's line, as the console would.
void drain_console(void);

// The word of an IN or OUT of `size` bytes.
#define PORT_WORD(port, size, flags) ((uint64_t)(port) << 16 | (flags) | ((size) - 1))

// Beside VM_ENTRY_*: it steps over the instruction.
#define SKIPS 1u

// Handles one exit; the result must be to enter the guest with these flags.
static inline void expect_entry(uint32_t flags)
{
    world->page.entry.flags = 0;
    int run = exit_handle(&world->vmm.vcpu[0], world->kind, world->word);
    assert_in_range(run, 0, VM_RUN_SKIP | VM_RUN_NEXT | VM_RUN_PAGE);
    world->skipped = run & VM_RUN_NEXT ? 2 : run & VM_RUN_SKIP;
    assert_int_equal(world->page.entry.flags | (world->skipped ? SKIPS : 0), flags);
    assert_int_equal((run & VM_RUN_PAGE) != 0, world->page.entry.flags != 0);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define HEARD(name) cmocka_unit_test_setup_teardown(name, world_setup_heard, world_teardown_heard)
