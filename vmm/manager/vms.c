// SPDX-License-Identifier: BSD-2-Clause
// The life of VMs as the manager sees it: the console line, the VMM's process with its handles and
// its start block, its end. The manager's thread only.
#include <stdio.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

#define VM_LINE_VA       0x61000000ull
#define VM_LINE_STRIDE   0x20000ull
_Static_assert(CONSOLE_LINE_BYTES <= VM_LINE_STRIDE, "lines do not overlap");
// Its own memory, one VM and what that needs; and no processes, so all that a VMM ever makes is on
// its VM's core and in its VM's name.
static const struct process_counts vmm_counts = {
    .mappings = 1024, .memories = 256, .threads = 4, .events = 4, .timers = 4, .vms = 1, .vcpus = 1,
};
// With the boot module "option:many-objects": for tests of what a VMM could do with more.
static const struct process_counts vmm_counts_many = {
    .mappings = 10000, .memories = 1000, .processes = 100, .threads = 2000, .events = 200000,
    .timers = 10000, .vms = 1, .vcpus = 1,
};

// Makes what outlives the VM's process: its events, its line and its scheduling context.
static int64_t vm_prepare(struct manager_vm *vm, uint64_t line_va)
{
    int64_t status = kcall_event_create();
    if (status < 0) {
        return status;
    }
    vm->event = (handle_t)status;
    status = kcall_event_create();
    if (status < 0) {
        return status;
    }
    vm->notes = (handle_t)status;
    status = kcall_mem_create(CONSOLE_LINE_BYTES, PAGE_SIZE, 0);
    if (status < 0) {
        return status;
    }
    vm->line = (handle_t)status;
    status = kcall_mem_map(HANDLE_SELF, vm->line, 0, CONSOLE_LINE_BYTES, line_va, PROT_READ);
    if (status < 0) {
        return status;
    }
    vm->output = (const struct ring *)(uintptr_t)line_va;
    return move_contexts(vm);
}

int64_t vms_prepare(struct manager *manager)
{
    for (uint32_t i = 0; i < manager->config.n_vms; i++) {
        const struct config_vm *config = &manager->config.vms[i];
        if (config->bad) {
            continue;
        }
        uint64_t line_va = VM_LINE_VA + manager->vms * VM_LINE_STRIDE;
        struct manager_vm *vm = &manager->vm[manager->vms++];
        *vm = (struct manager_vm){.config = config,
                                  .state = config->autostart ? VM_FAILED : VM_WAITING};
        int64_t status = vm_prepare(vm, line_va);
        if (status < 0) {
            return status;
        }
    }
    return OK;
}

// Its process, with what that is given, runs. -> a status
static int64_t vm_spawn(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    const struct start_block *block;
    handle_t sc[1 + START_THREADS_MAX];
    struct process_status process;
    struct spawn_limits limits = {
        .threads = vm->config->vcpus > 1 ? vm->config->vcpus : 0,
        .quota = (vm->config->memory + CONFIG_VMM_OVERHEAD + vm->config->tables) &
                 ~(PAGE_SIZE - 1),
        .counts = module_find(manager->boot, "option", "many-objects") >= 0 ? vmm_counts_many
                                                                            : vmm_counts,
    };
    limits.counts.threads += limits.threads;
    limits.counts.events += limits.threads;
    limits.counts.vcpus = vm->config->vcpus;
    for (uint32_t i = 0; i <= limits.threads; i++) {
        sc[i] = move_context_of(vm, i);
    }
    int64_t status = spawn_create(&vm->spawned, &manager->vmm_program, &limits, manager->event,
                                  1ull << index);
    if (status < 0) {
        return status;
    }
    status = wire_vmm(manager, index, vm->spawned.process, &block);
    if (status >= 0) {
        status = kcall_process_status(vm->spawned.process, &process);
        vm->process = process.id;
    }
    if (status >= 0) {
        vm->start_tsc = tsc_read();
        status = spawn_start(&vm->spawned, &manager->vmm_program, block, sc);
    }
    if (status < 0) {
        spawn_destroy(&vm->spawned);
    }
    return status;
}

// Nothing of how it was before.
static void vm_renew(struct manager_vm *vm)
{
    uint64_t left;
    vm->halted = vm->unreported = vm->paused = vm->panicked = false;
    vm->end_tsc = vm->restart.due_tsc = 0;
    kcall_event_wait(vm->event, UINT64_MAX, 1, &left); // what its last process was still told,
    kcall_event_wait(vm->notes, UINT64_MAX, 1, &left); // and has told
}

void vms_start(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    vm_renew(vm);
    int64_t status = move_contexts_again(manager, vm);
    if (status >= 0) {
        status = vm_spawn(manager, index);
    }
    if (status < 0) {
        vm->state = VM_FAILED;
        move_contexts_end(vm);
        report(manager, "VM '%s' cannot be started: %s (%lld)\n", vm->config->name,
               report_status(status), (long long)status);
        return;
    }
    vm->state = VM_RUNNING;
    manager->running++;
    manager->stuck = false;
    const struct move_cores cores = move_cores_of(vm);
    char vcpus[24] = "", text[MOVE_TEXT];
    if (vm->config->vcpus > 1) {
        snprintf(vcpus, sizeof(vcpus), ", %u vCPUs", (unsigned)vm->config->vcpus);
    }
    report(manager, "VM '%s' started: %s%s, %u MB\n", vm->config->name,
           move_cores_text(text, &cores, true), vcpus, (unsigned)(vm->config->memory >> 20));
}

bool vms_failed(const struct manager *manager)
{
    for (uint32_t i = 0; i < manager->vms; i++) {
        if (vm_state_failed(manager->vm[i].state)) {
            return true;
        }
    }
    return manager->none_started;
}

bool vms_wait(const struct manager *manager)
{
    for (uint32_t i = 0; i < manager->vms; i++) {
        if (manager->vm[i].state != VM_WAITING) {
            return false;
        }
    }
    return manager->vms != 0;
}

// Whether the VM's guest has run. By then it has all its memory; and what can wait, such as the
// audit, does not hold its start up.
static bool vm_entered(const struct manager_vm *vm)
{
    struct vcpu_stats stats;
    uint64_t exits = 0;
    if (!list_counters(vm, &stats)) {
        return false;
    }
    for (uint32_t i = 0; i < EXIT_CLASS_COUNT; i++) {
        exits += stats.exits[i];
    }
    return exits != 0;
}

bool vms_made(const struct manager *manager)
{
    for (uint32_t i = 0; i < manager->vms; i++) {
        if (manager->vm[i].spawned.process != 0 && !vm_entered(&manager->vm[i])) {
            return false;
        }
    }
    return true;
}

void vms_stop(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    if (vm->halted) {
        report(manager, "VM '%s' has halted for good, and hears nothing: vm kill ends it\n",
               vm->config->name);
        return;
    }
    if (vm->paused) {
        report(manager, "VM '%s' is paused, and hears nothing: vm resume, or vm kill\n",
               vm->config->name);
        return;
    }
    vm->state = VM_STOPPING;
    kcall_event_signal(vm->event, VMM_BIT_STOP);
    report(manager, "VM '%s' is asked to power off\n", vm->config->name);
}

// By vm->last. A VMM is believed only what its VM can do.
static enum manager_vm_state vm_state_after(const struct manager_vm *vm)
{
    const struct process_status *process = &vm->last;
    if (process->end != PROCESS_EXITED) {
        return VM_KILLED;
    }
    if (vm->config->testdev && (process->status & ~0xff) == VMM_END_EXIT) {
        return VM_EXITED;
    }
    switch (process->status) {
    case VMM_END_POWEROFF:
        return VM_ENDED;
    case VMM_END_RESET:
        return VM_RESET;
    case VMM_END_SETUP:
        return VM_FAILED;
    case VMM_END_WATCHDOG:
        return vm->config->watchdog ? VM_HUNG : VM_KILLED;
    case VMM_END_PANIC:
        return VM_PANICKED;
    default:
        return VM_KILLED;
    }
}

static void vm_gone(struct manager *manager, struct manager_vm *vm, enum manager_vm_state state)
{
    bool asked = vm->state == VM_STOPPING;
    vm->end_tsc = tsc_read();
    vm->state = state;
    vm->restart.refused = false;
    manager->last = vm;
    manager->running--;
    spawn_destroy(&vm->spawned);
    if (!asked && restart_plan(vm)) {
        move_contexts_keep(vm);
    } else {
        move_contexts_end(vm);
    }
}

void vms_kill(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    report(manager, "VM '%s' killed by the monitor\n", vm->config->name);
    vm->state = VM_STOPPING;
    vm_gone(manager, vm, VM_KILLED);
    report_free_memory(manager, "");
}

void vms_restart(struct manager *manager, uint32_t index)
{
    if (manager->vm[index].spawned.process != 0) {
        vms_kill(manager, index);
    }
    vms_start(manager, index);
}

// One that its VMM has not seen yet is taken back: it sees the last one only.
static void vm_tell_pause(struct manager_vm *vm, bool pause)
{
    uint64_t unseen;
    vm->paused = pause;
    kcall_event_wait(vm->event, VMM_BIT_PAUSE | VMM_BIT_RESUME, 1, &unseen);
    kcall_event_signal(vm->event, pause ? VMM_BIT_PAUSE : VMM_BIT_RESUME);
}

void vms_pause(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    vm_tell_pause(vm, true);
    report(manager, "VM '%s' is paused\n", vm->config->name);
}

void vms_resume(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    if (!vm->paused) {
        report(manager, "VM '%s' is not paused\n", vm->config->name);
        return;
    }
    vm_tell_pause(vm, false);
    report(manager, "VM '%s' goes on\n", vm->config->name);
}

void vms_nmi(struct manager *manager, uint32_t index)
{
    kcall_event_signal(manager->vm[index].event, VMM_BIT_NMI);
    report(manager, "VM '%s' gets an NMI\n", manager->vm[index].config->name);
}

void vms_dump(struct manager *manager, uint32_t index, uint32_t vcpu)
{
    struct manager_vm *vm = &manager->vm[index];
    kcall_event_signal(vm->event, VMM_BIT_DUMP(vcpu));
    report(manager, "VM '%s' is asked for its registers, which are on its console then\n",
           vm->config->name);
    list_stats(manager, vm);
}

// Its VMM has said so. The kernel is asked whether it is true: twice, for its vCPUs are looked at
// one after the other. Where none of them has exited in between, all had halted at once.
static bool vm_has_halted(const struct manager_vm *vm)
{
    struct vcpu_stats before, after;
    return list_counters(vm, &before) != 0 && before.halted != 0 &&
           list_counters(vm, &after) != 0 && after.halted != 0 &&
           memcmp(before.exits, after.exits, sizeof(before.exits)) == 0;
}

static void vm_look_halted(struct manager *manager, struct manager_vm *vm)
{
    if (vm->halted || !vm_has_halted(vm)) {
        return;
    }
    vm->halted = true;
    if (vm->config->vcpus > 1) {
        kcall_event_signal(vm->event, VMM_BIT_HALTED);
    }
    report(manager, "VM '%s' has halted for good (HLT with interrupts off)\n", vm->config->name);
    if (vm->config->restart != CONFIG_RESTART_NEVER) {
        vm_gone(manager, vm, VM_KILLED);
        restart_say(manager, vm);
    }
}

// It goes on, and does about it what it will.
static void vm_look_panicked(struct manager *manager, struct manager_vm *vm)
{
    uint64_t notes;
    if (kcall_event_wait(vm->notes, VMM_NOTE_PANIC, 1, &notes) != OK || vm->panicked) {
        return;
    }
    vm->panicked = true;
    report(manager, "VM '%s' says that it has panicked\n", vm->config->name);
}

void vms_look_stuck(struct manager *manager)
{
    uint32_t halted = 0;
    for (uint32_t i = 0; i < manager->vms; i++) {
        halted += manager->vm[i].spawned.process != 0 && manager->vm[i].halted;
    }
    if (!manager->stuck && halted != 0 && halted == manager->running) {
        manager->stuck = true;
        report(manager, "no VM can go on: each that is left has halted for good\n");
    }
}

void vms_ended(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    // A bit may be left over from a process that the monitor has killed.
    if (vm->spawned.process == 0 ||
        kcall_process_status(vm->spawned.process, &vm->last) != OK) {
        return;
    }
    if (vm->last.end == PROCESS_ALIVE) {
        vm_look_panicked(manager, vm);
        vm_look_halted(manager, vm);
        return;
    }
    if (manager->config.log == CONFIG_LOG_DEBUG) {
        list_stats(manager, vm); // its vCPU's counters go with its process
    }
    vm->unreported = true;
    vm_gone(manager, vm, vm_state_after(vm));
}
