// SPDX-License-Identifier: BSD-2-Clause
// Whether and when a VM that has ended starts again by itself. The state is struct
// manager_restart's, of each VM; the manager's thread only.
#include "libc/time.h"
#include "vmm/manager/manager.h"

#define FIRST_DELAY_NS 100000000ull // twice as long each time,
#define MOST_DELAY_NS  10000000000ull

// How many of its restarts lie in the time that the limit is about.
static uint32_t restarts_in_window(const struct manager_vm *vm, uint64_t now)
{
    const struct manager_restart *restart = &vm->restart;
    uint32_t found = 0;
    for (uint32_t i = 0; i < restart->count && i < CONFIG_RESTARTS_MAX; i++) {
        uint64_t seconds = tsc_to_ns(now - restart->at_tsc[i]) / 1000000000;
        found += seconds < vm->config->restart_window_s;
    }
    return found;
}

static bool is_wanted(const struct manager_vm *vm)
{
    switch (vm->config->restart) {
    case CONFIG_RESTART_ALWAYS:
        return true;
    case CONFIG_RESTART_ON_FAILURE: // who resets himself wants to begin anew
        return vm_state_failed(vm->state) || vm->state == VM_RESET;
    default:
        return false;
    }
}

bool restart_plan(struct manager_vm *vm)
{
    struct manager_restart *restart = &vm->restart;
    uint64_t now = tsc_read(), delay = FIRST_DELAY_NS;
    uint32_t recent = restarts_in_window(vm, now);
    bool wanted = is_wanted(vm);
    restart->refused = wanted && recent >= vm->config->restarts;
    if (!wanted || restart->refused) {
        return false;
    }
    for (uint32_t i = 0; i < recent && delay < MOST_DELAY_NS; i++) {
        delay *= 2;
    }
    restart->due_tsc = now + ns_to_tsc(delay < MOST_DELAY_NS ? delay : MOST_DELAY_NS);
    restart->at_tsc[restart->count++ % CONFIG_RESTARTS_MAX] = now;
    return true;
}

void restart_say(struct manager *manager, const struct manager_vm *vm)
{
    const struct manager_restart *restart = &vm->restart;
    uint32_t recent = restarts_in_window(vm, tsc_read());
    unsigned window = vm->config->restart_window_s;
    if (restart->due_tsc != 0) {
        uint64_t left = tsc_to_ns(restart->due_tsc - vm->end_tsc) / 100000000;
        report(manager, "VM '%s' starts again in %u.%u s: %u of %u times in %u s\n",
               vm->config->name, (unsigned)(left / 10), (unsigned)(left % 10), (unsigned)recent,
               (unsigned)vm->config->restarts, window);
    } else if (restart->refused) {
        report(manager, "VM '%s' stays off: it was started again %u times in %u s\n",
               vm->config->name, (unsigned)recent, window);
    }
}

uint64_t restarts_run(struct manager *manager)
{
    uint64_t next = 0;
    for (uint32_t i = 0; i < manager->vms; i++) {
        struct manager_vm *vm = &manager->vm[i];
        uint64_t due = vm->restart.due_tsc;
        if (due == 0 || vm->unreported) {
            continue; // its last words first
        }
        if (tsc_read() >= due) {
            vms_start(manager, i);
        } else if (next == 0 || due < next) {
            next = due;
        }
    }
    return next;
}
