// SPDX-License-Identifier: BSD-2-Clause
// Which core a VM runs on, once it runs: moved by the monitor, or by the balancer. The manager's
// thread only. The kernel takes the VM along when its core next looks; it is never paused.
#include "libc/kcall.h"
#include "vmm/manager/manager.h"

#define BUDGET_PERIOD_US 10000u

int64_t move_budget(const struct manager_vm *vm, uint32_t core)
{
    if (vm->config->share == 0) {
        return 0;
    }
    return kcall_budget_create(core, vm->config->share * 10, BUDGET_PERIOD_US);
}

static void budget_end(handle_t budget)
{
    if (budget != 0) {
        kcall_object_destroy(budget);
        kcall_handle_close(budget);
    }
}

void move_budget_end(struct manager_vm *vm)
{
    budget_end(vm->budget);
    vm->budget = 0;
}

// The VM has a budget on the new core before it gives up the old one, so it is never best effort
// for longer than its way there.
static int64_t send(struct manager_vm *vm, uint32_t core)
{
    int64_t budget = move_budget(vm, core);
    if (budget < 0) {
        return budget;
    }
    int64_t status = kcall_thread_move(vm->spawned.thread, core, (handle_t)budget);
    if (status < 0) {
        budget_end((handle_t)budget);
        return status;
    }
    budget_end(vm->budget);
    vm->budget = (handle_t)budget;
    vm->core = core;
    return OK;
}

static bool may_use(const struct config_vm *config, uint32_t core)
{
    for (uint32_t i = 0; i < config->n_cores; i++) {
        if (config->cores[i] == core) {
            return true;
        }
    }
    return config->n_cores == 0;
}

// A guest would see time jump.
static bool time_differs(uint32_t from, uint32_t to)
{
    struct system_info info;
    return from != to && kcall_system_info(BOOT_HANDLE_SYSTEM, &info) == OK &&
           ((info.time_apart >> from | info.time_apart >> to) & 1) != 0;
}

void vms_move(struct manager *manager, uint32_t index, uint32_t core)
{
    struct manager_vm *vm = &manager->vm[index];
    const char *name = vm->config->name;
    if (core >= manager->boot->cores) {
        report(manager, "core %u does not exist: this machine has %u\n", (unsigned)core,
               (unsigned)manager->boot->cores);
        return;
    }
    if (!may_use(vm->config, core)) {
        report(manager, "core %u is not among the `cores` of VM '%s' in the config\n",
               (unsigned)core, name);
        return;
    }
    if (time_differs(vm->core, core)) {
        report(manager, "VM '%s' cannot go from core %u to core %u: their clocks differ\n", name,
               (unsigned)vm->core, (unsigned)core);
        return;
    }
    if (core == vm->core) {
        report(manager, "VM '%s' is on core %u\n", name, (unsigned)core);
        return;
    }
    int64_t status = send(vm, core);
    if (status == ERR_BUSY) {
        report(manager, "VM '%s' cannot go to core %u: its share of %u%% does not fit there, or it "
               "is still on its way\n", name, (unsigned)core, (unsigned)vm->config->share);
    } else if (status < 0) {
        report(manager, "VM '%s' cannot go to core %u: %s\n", name, (unsigned)core,
               report_status(status));
    } else {
        report(manager, "VM '%s' goes to core %u\n", name, (unsigned)core);
    }
}

uint32_t vms_balance(struct manager *manager)
{
    uint32_t moved = 0;
    for (uint32_t i = 0; i < manager->vms; i++) {
        struct config_vm *config = &manager->config.vms[manager->vm[i].config -
                                                        manager->config.vms];
        config->ended = manager->vm[i].spawned.process == 0;
    }
    config_place(&manager->config, manager->boot->cores);
    for (uint32_t i = 0; i < manager->vms; i++) {
        const struct manager_vm *vm = &manager->vm[i];
        if (!vm->config->ended && vm->core != (uint32_t)vm->config->core) {
            vms_move(manager, i, (uint32_t)vm->config->core);
            moved++;
        }
    }
    return moved;
}
