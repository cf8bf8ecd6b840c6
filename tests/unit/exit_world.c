// SPDX-License-Identifier: BSD-2-Clause
//
// The world of the run loop's tests: the kernel that answers the VMM's system calls, and the board.
#include "exit_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "libc/time.h"

#define EVENT 7 // the VMM's own

struct world *world;

static char *said;
static size_t said_length;
static FILE *real_stdout;

// vcpu_run() gives the next exit of the script; its end is a power-off by the guest.
static int64_t next_exit(uint64_t *word)
{
    world->runs++;
    world->page.entry.flags = 0;
    if (world->script_at < world->script_length) {
        const struct exit *next = &world->script[world->script_at++];
        world->page.exit = next->exit;
        *word = next->word;
        return next->kind;
    }
    world->page.gpr[GPR_RAX] = 1 << 13;
    *word = PORT_WORD(ACPI_PM1A_CNT, 2, 0);
    return VM_EXIT_PIO;
}

void drain_console(void)
{
    uint8_t bytes[4096];

    while (line_read(&world->console, bytes, sizeof(bytes)) > 0) {
    }
}

// Whether it is answered without the guest.
static bool lapic_read(uint64_t run)
{
    struct vcpu_page *page = &world->page;

    if (run != VM_RUN_PAGE || page->entry.flags != VM_ENTRY_LAPIC || page->entry.lapic.write)
        return false;
    page->entry.flags = 0;
    page->exit.lapic.value = world->lapic[page->entry.lapic.offset / 16];
    return true;
}

int64_t fake_trap(uint64_t number, const uint64_t a[6], uint64_t *second)
{
    switch (number) {
    case SYS_vcpu_run | SYSCALL_RUN_ON:
        return lapic_read(a[1]) ? VM_EXIT_LAPIC_READ : next_exit(second);
    case SYS_vcpu_sregs:
        world->sregs_reads += a[1] == 0;
        world->sregs_writes += a[1] == 1;
        world->fpu_reads += a[1] == 2;
        world->fpu_writes += a[1] == 3;
        return OK;
    case SYS_vm_map:
        world->maps++;
        memcpy(world->arguments, a, sizeof(world->arguments));
        return world->map_status;
    case SYS_vm_unmap:
        world->unmaps++;
        memcpy(world->arguments, a, sizeof(world->arguments));
        return OK;
    case SYS_event_wait:
        world->waits++;
        if (world->meanwhile != NULL) {
            *second = world->meanwhile(a[1]);
            return *second ? OK : ERR_TIMEOUT;
        }
        drain_console();
        *second = a[1] & VMM_BIT_CONSOLE;
        return OK;
    case SYS_event_signal:
        world->own_signals += a[0] == EVENT;
        if (a[0] >= VCPU_EVENT(0) && a[0] < VCPU_EVENT(8))
            world->asked |= (a[1] & 0xFF) << 8 * (a[0] - VCPU_EVENT(0));
        world->halt_signals += a[0] == MANAGER && a[1] == HALTED_BIT;
        world->panic_notes += a[0] == NOTES && a[1] == VMM_NOTE_PANIC;
        return OK;
    default:
        return OK;
    }
}

static void console_signal(void *opaque)
{
    (void)opaque;
}

void world_vcpus(unsigned count)
{
    world->vmm.vcpus = count;
    for (unsigned i = 0; i < count; i++) {
        world->vmm.vcpu[i].page = &world->page;
        world->vmm.vcpu[i].vmm = &world->vmm;
        world->vmm.vcpu[i].id = i;
    }
}

int world_setup(void **state)
{
    struct start_line console = { .name = "test" };
    struct machine_host wires = { 0 };
    (void)state;

    time_init(1000000000);
    world = calloc(1, sizeof(*world));
    struct vmm *vmm = &world->vmm;
    world_vcpus(1);
    host_init(&vmm->host, &console, world->line);
    vmm->host.event = vmm->host.self = EVENT;
    vmm->host.manager = MANAGER;
    vmm->host.manager_bit = HALTED_BIT;
    vmm->host.notes = NOTES;
    line_attach_console(&world->console, world->line, console_signal, NULL);
    guest_ram_new(&vmm->ram, 16 << 20);
    insn_cache_init(&vmm->insns);
    host_wires(&vmm->host, &wires);
    wires.testdev_ram = world->testdev_ram;
    wires.watchdog = true;
    assert_true(machine_init(&vmm->machine, &wires, 16 << 20, 0));
    vmm->demand = (struct demand){ VM, RAM };
    assert_true(demand_register(&vmm->demand, &vmm->machine.bus));
    world->page.exit.cpu.code_size = 8;
    memset(world->lapic, 0xFF, sizeof(world->lapic));
    for (unsigned i = 0; i < VM_VCPUS; i++)
        vmm->lock.event[i] = VCPU_EVENT(i);
    return 0;
}

int world_teardown(void **state)
{
    (void)state;
    guest_ram_free(&world->vmm.ram);
    free(world);
    return 0;
}

int world_setup_heard(void **state)
{
    real_stdout = stdout;
    stdout = open_memstream(&said, &said_length);
    assert_non_null(stdout);
    return world_setup(state);
}

int world_teardown_heard(void **state)
{
    fclose(stdout);
    stdout = real_stdout;
    free(said);
    return world_teardown(state);
}

const char *world_said(void)
{
    fflush(stdout);
    return said;
}
