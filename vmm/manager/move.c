// SPDX-License-Identifier: BSD-2-Clause
// Which core a VM runs on, once it runs: moved by the monitor, or by the balancer. The manager's
// thread only. The kernel takes each of the VM's threads along when its core next looks; the VM is
// never paused. Until the last has left, the VM keeps the context, and so the share, that it had.
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

#define SYSTEM_CORE 0u
#define MOVE_LOOK_NS 20000000ull
#define MOVE_LATE_NS 2000000000ull // then it is said

int64_t move_context(const struct manager_vm *vm, uint32_t core)
{
    uint32_t share = vm->config->share * 10;
    return kcall_sc_create(BOOT_HANDLE_SYSTEM, core, share, share ? vm->config->period_us : 0, 0);
}

static void context_end(handle_t *sc)
{
    if (*sc != 0) {
        kcall_object_destroy(*sc);
    }
    *sc = 0;
}

void move_context_end(struct manager_vm *vm)
{
    context_end(&vm->sc);
    context_end(&vm->left_sc);
}

void move_system(struct manager *manager)
{
    const struct config *config = &manager->config;
    handle_t first = BOOT_HANDLE_SC;
    int64_t sc = kcall_sc_create(BOOT_HANDLE_SYSTEM, SYSTEM_CORE, config->system_share * 10,
                                 config->system_period_us, SC_SOFT);
    manager->sc = first;
    if (sc < 0) {
        report(manager, "manager and console have no share of core 0: %s\n", report_status(sc));
        return;
    }
    manager->sc = (handle_t)sc;
    kcall_sc_move(first, manager->sc); // this thread, at the end of the call
    context_end(&first);
}

// Asks again those of its threads that were made meanwhile; ends the old context behind the last.
static bool move_one(struct manager *manager, struct manager_vm *vm)
{
    if (kcall_sc_move(vm->left_sc, vm->sc) > 0) {
        if (vm->left_tsc != 0 && tsc_to_ns(tsc_read() - vm->left_tsc) >= MOVE_LATE_NS) {
            vm->left_tsc = 0;
            report(manager, "VM '%s' is still on its way to core %u: the kernel works for it\n",
                   vm->config->name, (unsigned)vm->core);
        }
        return false;
    }
    context_end(&vm->left_sc);
    return true;
}

// The VM has a context on the new core before it gives up the old one.
static int64_t send(struct manager *manager, struct manager_vm *vm, uint32_t core)
{
    if (vm->left_sc != 0 && !move_one(manager, vm)) {
        return ERR_STATE;
    }
    int64_t sc = move_context(vm, core);
    if (sc < 0) {
        return sc;
    }
    handle_t to = (handle_t)sc;
    int64_t status = kcall_sc_move(vm->sc, to);
    if (status < 0) {
        context_end(&to);
        return status;
    }
    vm->left_sc = vm->sc;
    vm->left_tsc = tsc_read();
    vm->sc = to;
    vm->core = core;
    return OK;
}

uint64_t moves_run(struct manager *manager)
{
    bool all = true;
    for (uint32_t i = 0; i < manager->vms; i++) {
        if (manager->vm[i].left_sc != 0) {
            all &= move_one(manager, &manager->vm[i]);
        }
    }
    return all ? 0 : ns_to_tsc(time_host_ns() + MOVE_LOOK_NS);
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

void moves_report_shares(struct manager *manager)
{
    for (uint32_t core = 0; core < manager->boot->cores; core++) {
        unsigned share = core == 0 ? manager->config.system_share : 0;
        for (uint32_t i = 0; i < manager->vms; i++) {
            const struct manager_vm *vm = &manager->vm[i];
            bool holds = vm->config->n_cores != 0 ? may_use(vm->config, core) : vm->core == core;
            if (vm->spawned.process != 0 && holds) {
                share += vm->config->share;
            }
        }
        if (share != 0) {
            report(manager, "core %u: %u%% of its time in shares, %u%% left\n", (unsigned)core,
                   share, 100 - share);
        }
    }
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
    int64_t status = send(manager, vm, core);
    if (status == ERR_BUSY) {
        report(manager, "VM '%s' cannot go to core %u: its share of %u%% does not fit there\n",
               name, (unsigned)core, (unsigned)vm->config->share);
    } else if (status == ERR_STATE) {
        report(manager, "VM '%s' cannot go to core %u: it is still on its way to core %u\n", name,
               (unsigned)core, (unsigned)vm->core);
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
