// SPDX-License-Identifier: BSD-2-Clause
// What is said of VMs that have ended, each behind its own last words. The manager's thread only.
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

#define VM_LOOK_NS       20000000ull   // between looks at the line of a VM that has ended
#define VM_LAST_WORDS_NS 10000000000ull // how long its last words are waited for

static void vm_report_end(struct manager *manager, const struct manager_vm *vm)
{
    const struct process_status *process = &vm->last;
    const char *name = vm->config->name;
    if (process->end == PROCESS_FAULT) {
        report(manager, "VM '%s' killed: its VMM caused exception %d at rip %#llx, address %#llx, "
               "error %#llx\n", name, (int)process->status, (unsigned long long)process->rip,
               (unsigned long long)process->address, (unsigned long long)process->error);
        return;
    }
    if (process->end == PROCESS_KILLED) {
        report(manager, "VM '%s' killed: its process was ended\n", name);
        return;
    }
    if (vm->state == VM_EXITED) {
        report(manager, "VM '%s' ended with status %u, by its test board\n", name,
               (unsigned)vms_exit_status(vm));
        return;
    }
    if (vm->state == VM_HUNG) {
        report(manager, "VM '%s' hung: its watchdog has ended it\n", name);
        return;
    }
    switch (process->status) {
    case VMM_END_POWEROFF:
        report(manager, "VM '%s' powered off\n", name);
        break;
    case VMM_END_RESET:
        report(manager, "VM '%s' asked for a reboot%s\n", name,
               vm->config->restart == CONFIG_RESTART_NEVER
                   ? ": with restart = never it stays off" : "");
        break;
    case VMM_END_KILLED:
        report(manager, "VM '%s' killed: the reason is on its console\n", name);
        break;
    case VMM_END_PANIC:
        report(manager, "VM '%s' panicked\n", name);
        break;
    case VMM_END_SETUP:
        report(manager, "VM '%s' could not be set up: the reason is on its console\n", name);
        break;
    default:
        report(manager, "VM '%s' killed: its VMM exited with status %d\n", name,
               (int)process->status);
    }
}

// True if the VM's last words are on the console, or nobody takes them.
static bool vm_last_words_out(const struct manager *manager, const struct manager_vm *vm)
{
    return !manager->console_runs || ring_drained(vm->output) ||
           tsc_to_ns(tsc_read() - vm->end_tsc) >= VM_LAST_WORDS_NS;
}

uint64_t vms_report_ended(struct manager *manager)
{
    bool left = false;
    for (uint32_t i = 0; i < manager->vms; i++) {
        struct manager_vm *vm = &manager->vm[i];
        if (vm->unreported && !vm_last_words_out(manager, vm)) {
            left = true;
        } else if (vm->unreported) {
            vm->unreported = false;
            if (manager->config.log != CONFIG_LOG_QUIET) {
                report_kernel_log(manager, false); // it may know why
            }
            vm_report_end(manager, vm);
            restart_say(manager, vm);
            report_free_memory(manager, "");
        }
    }
    return left ? ns_to_tsc(time_host_ns() + VM_LOOK_NS) : 0;
}
