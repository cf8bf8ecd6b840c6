// SPDX-License-Identifier: BSD-2-Clause
// Which VMs there are, by name, and what is known of each: tables and counters. Keeps no state. The
// manager's thread only.
#include <stdio.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

// Adds up. Of several vCPUs on one core each has run what their common context has.
static void add_counters(struct vcpu_stats *sum, const struct vcpu_stats *one, uint64_t *cores)
{
    uint64_t core = 1ull << one->core % 64;
    for (uint32_t i = 0; i < EXIT_CLASS_COUNT; i++) {
        sum->exits[i] += one->exits[i];
    }
    sum->injected += one->injected;
    sum->halt_tsc += one->halt_tsc;
    sum->halted &= one->halted;
    sum->run_tsc += (*cores & core) == 0 ? one->run_tsc : 0;
    sum->now = one->now;
    *cores |= core;
}

uint32_t list_counters(const struct manager_vm *vm, struct vcpu_stats *stats)
{
    struct vcpu_stats one;
    uint64_t cores = 0;
    uint32_t found = 0;
    for (uint64_t i = 0; kcall_system_stats(BOOT_HANDLE_SYSTEM, i, &one) == 1; i++) {
        if (vm->spawned.process == 0 || one.process != vm->process) {
            continue;
        }
        if (found++ == 0) {
            *stats = one;
            cores = 1ull << one.core % 64;
        } else {
            add_counters(stats, &one, &cores);
        }
    }
    return found;
}

static unsigned tsc_ms(uint64_t tsc)
{
    return (unsigned)(tsc_to_ns(tsc) / 1000000);
}

#define STATE_NAME_SIZE 12

// Of an end with a status that is told too. -> `text`
static const char *state_name(char text[STATE_NAME_SIZE], const struct manager_vm *vm)
{
    static const char *const names[] = {"running", "stopping", "off", "reset", "exit", "killed",
                                        "hung", "panicked", "failed", "waiting"};
    if (vm->state == VM_EXITED) {
        snprintf(text, STATE_NAME_SIZE, "exit %u", (unsigned)vms_exit_status(vm));
    } else {
        bool runs = vm->spawned.process != 0;
        snprintf(text, STATE_NAME_SIZE, "%s", runs && vm->halted ? "halted"
                 : runs && vm->paused ? "paused" : runs && vm->panicked ? "panicked"
                 : names[vm->state]);
    }
    return text;
}

static uint64_t vm_uptime_tsc(const struct manager_vm *vm)
{
    if (vm->start_tsc == 0) {
        return 0;
    }
    return (vm->end_tsc != 0 ? vm->end_tsc : tsc_read()) - vm->start_tsc;
}

static void list_vm(struct manager *manager, const struct manager_vm *vm)
{
    struct vcpu_stats stats;
    char share[8] = "-", cpu[8] = "-", state[STATE_NAME_SIZE], cores[MOVE_TEXT] = "-";
    const struct move_cores on = move_cores_of(vm);
    uint64_t uptime = vm_uptime_tsc(vm);
    uint64_t ms = tsc_to_ns(uptime) / 1000000;
    if (vm->config->share != 0) {
        snprintf(share, sizeof(share), "%u%%", (unsigned)vm->config->share % 1000);
    }
    if (on.count != 0) {
        move_cores_text(cores, &on, false);
    }
    if (uptime != 0 && list_counters(vm, &stats) != 0) {
        uint64_t permille = stats.run_tsc / (uptime / 1000 + 1);
        snprintf(cpu, sizeof(cpu), "%u.%u", (unsigned)(permille / 10) % 1000,
                 (unsigned)(permille % 10));
    }
    report(manager, "%-15s %-8s %4s %5s %6u MB %6u.%03u s %6s\n", vm->config->name,
           state_name(state, vm), cores, share,
           (unsigned)(vm->config->memory >> 20), (unsigned)(ms / 1000), (unsigned)(ms % 1000),
           cpu);
}

void list_vms(struct manager *manager)
{
    report(manager, "%-15s %-8s %4s %5s %9s %12s %6s\n", "name", "state", "core", "share",
           "memory", "uptime", "cpu %");
    for (uint32_t i = 0; i < manager->vms; i++) {
        list_vm(manager, &manager->vm[i]);
    }
}

struct manager_vm *list_find(struct manager *manager, const char *name)
{
    for (uint32_t i = 0; i < manager->vms; i++) {
        if (strcmp(manager->vm[i].config->name, name) == 0) {
            return &manager->vm[i];
        }
    }
    report(manager, name[0] != '\0' ? "no VM is called '%s': see vm list\n"
                                    : "the name of a VM is missing%s: see vm list\n", name);
    return NULL;
}

int list_find_running(struct manager *manager, const char *name)
{
    struct manager_vm *vm = list_find(manager, name);
    if (vm == NULL) {
        return -1;
    }
    if (vm->spawned.process == 0) {
        report(manager, "VM '%s' does not run\n", name);
        return -1;
    }
    return (int)(vm - manager->vm);
}

void list_stats(struct manager *manager, const struct manager_vm *vm)
{
    static const char *const names[] = {
#define X(name, text) text,
        EXIT_CLASSES(X)
#undef X
    };
    struct vcpu_stats stats;
    struct process_status process;
    const struct move_cores on = move_cores_of(vm);
    char state[STATE_NAME_SIZE], cores[MOVE_TEXT];
    uint32_t vcpus = list_counters(vm, &stats);
    if (vcpus == 0) {
        report(manager, "%s: no vCPU (%s)\n", vm->config->name, state_name(state, vm));
        return;
    }
    uint64_t total = 0;
    for (uint32_t i = 0; i < EXIT_CLASS_COUNT; i++) {
        total += stats.exits[i];
    }
    report(manager, "%s: %s, ran %u ms, halted %u ms, %llu exits, %llu injected\n",
           vm->config->name, move_cores_text(cores, &on, true), tsc_ms(stats.run_tsc),
           tsc_ms(stats.halt_tsc), (unsigned long long)total, (unsigned long long)stats.injected);
    if (kcall_process_status(vm->spawned.process, &process) == OK) {
        report(manager, "  its VMM has used %u KB of %u KB, its memory among them\n",
               (unsigned)(process.used >> 10), (unsigned)(process.quota >> 10));
    }
    if (stats.halted != 0) {
        report(manager, "  it is in HLT with interrupts off%s\n",
               vm->halted ? ", for good" : ": only an NMI ends that");
    }
    for (uint32_t i = 0; i < EXIT_CLASS_COUNT; i++) {
        if (stats.exits[i] != 0) {
            report(manager, "  %-18s %12llu\n", names[i], (unsigned long long)stats.exits[i]);
        }
    }
}

void list_cores(struct manager *manager)
{
    struct system_info info;
    if (kcall_system_info(BOOT_HANDLE_SYSTEM, &info) != OK) {
        return;
    }
    for (uint32_t i = 0; i < info.cores; i++) {
        report(manager, "core %u: idle for %u ms, without interrupts for %llu ticks at most\n",
               (unsigned)i, tsc_ms(info.idle_tsc[i]), (unsigned long long)info.irqs_off[i]);
    }
}
