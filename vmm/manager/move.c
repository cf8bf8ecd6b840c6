// SPDX-License-Identifier: BSD-2-Clause
// Which cores a VM runs on, once it runs: moved by the monitor, or by the balancer. The manager's
// thread only. The kernel takes each of the VM's threads along when its core next looks; the VM is
// never paused. Until the last has left, the VM keeps the context, and so the share, that it had.
#include <stdio.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

#define SYSTEM_CORE 0u
#define MOVE_LOOK_NS 20000000ull
#define MOVE_LATE_NS 2000000000ull // then it is said

const char *move_cores_text(char text[MOVE_TEXT], const struct move_cores *cores, bool word)
{
    uint64_t set = 0;
    int len = 0;
    for (uint32_t i = 0; i < cores->count; i++) {
        set |= 1ull << cores->core[i];
    }
    const char *between = !word ? "" : cores->count == 1 ? "core " : "cores ";
    for (unsigned core = 0; set >> core != 0; core++) {
        unsigned last = core;
        if ((set >> core & 1) == 0) {
            continue;
        }
        while (last < 63 && (set >> (last + 1) & 1) != 0) {
            last++;
        }
        len += snprintf(text + len, MOVE_TEXT - (size_t)len, "%s%u", between, core);
        if (last != core) {
            len += snprintf(text + len, MOVE_TEXT - (size_t)len, "%s%u",
                            last > core + 1 ? "-" : ",", last);
        }
        core = last;
        between = ",";
        if (core == 63) {
            break;
        }
    }
    return text;
}

struct move_cores move_cores_of(const struct manager_vm *vm)
{
    struct move_cores cores = {.count = vm->here};
    for (uint32_t i = 0; i < vm->here; i++) {
        cores.core[i] = (uint8_t)vm->context[i].core;
    }
    return cores;
}

static void context_end(handle_t *sc)
{
    if (*sc != 0) {
        kcall_object_destroy(*sc);
    }
    *sc = 0;
}

static bool is_among(const struct manager_context *context, uint32_t count, handle_t sc)
{
    for (uint32_t i = 0; i < count; i++) {
        if (context[i].sc == sc) {
            return true;
        }
    }
    return false;
}

static void contexts_end(struct manager_context *context, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        context_end(&context[i].sc);
    }
}

void move_contexts_keep(struct manager_vm *vm)
{
    if (vm->contexts > vm->here) {
        contexts_end(vm->context + vm->here, vm->contexts - vm->here);
        vm->contexts = vm->here;
    }
    memset(vm->left_sc, 0, sizeof(vm->left_sc));
    vm->left_tsc = 0;
}

void move_contexts_end(struct manager_vm *vm)
{
    move_contexts_keep(vm);
    contexts_end(vm->context, vm->contexts);
    vm->contexts = 0;
}

handle_t move_context_of(const struct manager_vm *vm, uint32_t thread)
{
    return vm->context[(thread == 0 ? 0 : thread - 1) % vm->here].sc;
}

// Those of these cores: of `old`, or made. -> a status; what was made is ended again if it is bad.
static int64_t contexts_make(const struct manager_vm *vm, const struct move_cores *cores,
                             struct manager_context *to)
{
    const uint32_t share = vm->config->share * 10;
    for (uint32_t i = 0; i < cores->count; i++) {
        to[i] = (struct manager_context){.core = cores->core[i]};
        for (uint32_t k = 0; k < vm->here; k++) {
            to[i].sc = vm->context[k].core == to[i].core ? vm->context[k].sc : to[i].sc;
        }
        if (to[i].sc != 0) {
            continue;
        }
        int64_t status = kcall_sc_create(BOOT_HANDLE_SYSTEM, to[i].core, share,
                                         share ? vm->config->period_us : 0, 0);
        if (status >= 0) {
            to[i].sc = (handle_t)status;
            continue;
        }
        while (i-- > 0) {
            if (!is_among(vm->context, vm->here, to[i].sc)) {
                context_end(&to[i].sc);
            }
        }
        return status;
    }
    return OK;
}

int64_t move_contexts(struct manager_vm *vm)
{
    struct move_cores cores = {.count = vm->config->n_places};
    memcpy(cores.core, vm->config->places, sizeof(cores.core));
    int64_t status = contexts_make(vm, &cores, vm->context);
    vm->contexts = vm->here = status < 0 ? 0 : cores.count;
    return status;
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

static void say_late(struct manager *manager, struct manager_vm *vm)
{
    char text[MOVE_TEXT];
    const struct move_cores cores = move_cores_of(vm);
    if (vm->left_tsc != 0 && tsc_to_ns(tsc_read() - vm->left_tsc) >= MOVE_LATE_NS) {
        vm->left_tsc = 0;
        report(manager, "VM '%s' is still on its way to %s: the kernel works for it\n",
               vm->config->name, move_cores_text(text, &cores, true));
    }
}

static bool is_on_its_way(const struct manager_vm *vm)
{
    bool leaves = vm->contexts > vm->here;
    for (uint32_t i = 0; i <= vm->spawned.threads && !leaves; i++) {
        leaves = vm->left_sc[i] != 0;
    }
    return leaves;
}

// Asks again those that have not left. The contexts that it leaves end behind the last; threads
// that its VMM has made itself are sent to the first of the new ones.
static bool move_one(struct manager *manager, struct manager_vm *vm)
{
    bool there = true;
    for (uint32_t i = 0; i <= vm->spawned.threads; i++) {
        const handle_t from = vm->left_sc[i], thread = vm->spawned.thread[i];
        if (from != 0 && kcall_sc_move_thread(from, move_context_of(vm, i), thread) > 0) {
            there = false;
        } else {
            vm->left_sc[i] = 0;
        }
    }
    for (uint32_t i = vm->here; i < vm->contexts && there; i++) {
        there = kcall_sc_move(vm->context[i].sc, vm->context[0].sc) <= 0;
    }
    if (!there) {
        say_late(manager, vm);
        return false;
    }
    contexts_end(vm->context + vm->here, vm->contexts - vm->here);
    vm->contexts = vm->here;
    vm->left_tsc = 0;
    return true;
}

// The VM has contexts on the new cores before it gives up the old ones.
static int64_t send(struct manager *manager, struct manager_vm *vm, const struct move_cores *cores)
{
    struct manager_context to[2 * CONFIG_MAX_VCPUS];
    uint32_t count = cores->count;
    if (count == 0) {
        return ERR_RANGE;
    }
    if (is_on_its_way(vm) && !move_one(manager, vm)) {
        return ERR_STATE;
    }
    int64_t status = contexts_make(vm, cores, to);
    if (status < 0) {
        return status;
    }
    for (uint32_t i = 0; i <= vm->spawned.threads; i++) {
        vm->left_sc[i] = move_context_of(vm, i);
    }
    for (uint32_t i = 0; i < vm->here; i++) {
        if (!is_among(to, cores->count, vm->context[i].sc)) {
            to[count++] = vm->context[i];
        }
    }
    memcpy(vm->context, to, count * sizeof(to[0]));
    vm->contexts = count;
    vm->here = cores->count;
    vm->left_tsc = tsc_read();
    for (uint32_t i = 0; i <= vm->spawned.threads; i++) {
        if (vm->left_sc[i] == move_context_of(vm, i)) {
            vm->left_sc[i] = 0;
        }
    }
    move_one(manager, vm);
    return OK;
}

uint64_t moves_run(struct manager *manager)
{
    bool all = true;
    for (uint32_t i = 0; i < manager->vms; i++) {
        if (is_on_its_way(&manager->vm[i]) && manager->vm[i].spawned.process != 0) {
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

static bool has_core(const struct move_cores *cores, uint32_t core)
{
    for (uint32_t i = 0; i < cores->count; i++) {
        if (cores->core[i] == core) {
            return true;
        }
    }
    return false;
}

static bool same_cores(const struct move_cores *a, const struct move_cores *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; i < a->count && same; i++) {
        same = has_core(b, a->core[i]);
    }
    return same;
}

void moves_report_shares(struct manager *manager)
{
    for (uint32_t core = 0; core < manager->boot->cores; core++) {
        unsigned share = core == 0 ? manager->config.system_share : 0;
        for (uint32_t i = 0; i < manager->vms; i++) {
            const struct manager_vm *vm = &manager->vm[i];
            const struct move_cores on = move_cores_of(vm);
            bool holds = vm->config->n_cores != 0 ? may_use(vm->config, core) : has_core(&on, core);
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

// Says why it cannot be there. -> false
static bool can_go(struct manager *manager, const struct manager_vm *vm, uint32_t core)
{
    const char *name = vm->config->name;
    if (core >= manager->boot->cores) {
        report(manager, "core %u does not exist: this machine has %u\n", (unsigned)core,
               (unsigned)manager->boot->cores);
        return false;
    }
    if (!may_use(vm->config, core)) {
        report(manager, "core %u is not among the `cores` of VM '%s' in the config\n",
               (unsigned)core, name);
        return false;
    }
    for (uint32_t i = 0; i < vm->here; i++) {
        if (time_differs(vm->context[i].core, core)) {
            report(manager, "VM '%s' cannot go from core %u to core %u: their clocks differ\n",
                   name, (unsigned)vm->context[i].core, (unsigned)core);
            return false;
        }
    }
    return true;
}

void vms_move(struct manager *manager, uint32_t index, const struct move_cores *cores)
{
    struct manager_vm *vm = &manager->vm[index];
    const struct move_cores old = move_cores_of(vm);
    const char *name = vm->config->name;
    char to[MOVE_TEXT], from[MOVE_TEXT];
    for (uint32_t i = 0; i < cores->count; i++) {
        if (!can_go(manager, vm, cores->core[i])) {
            return;
        }
    }
    move_cores_text(to, cores, true);
    move_cores_text(from, &old, true);
    if (same_cores(&old, cores)) {
        report(manager, "VM '%s' is on %s\n", name, to);
        return;
    }
    if (cores->count > vm->config->vcpus) {
        report(manager, "VM '%s' has %u vCPU%s: so many cores at most\n", name,
               (unsigned)vm->config->vcpus, vm->config->vcpus == 1 ? "" : "s");
        return;
    }
    int64_t status = send(manager, vm, cores);
    if (status == ERR_BUSY) {
        report(manager, "VM '%s' cannot go to %s: its share of %u%% does not fit there\n",
               name, to, (unsigned)vm->config->share);
    } else if (status == ERR_STATE) {
        report(manager, "VM '%s' cannot go to %s: it is still on its way to %s\n", name, to, from);
    } else if (status < 0) {
        report(manager, "VM '%s' cannot go to %s: %s\n", name, to, report_status(status));
    } else {
        report(manager, "VM '%s' goes to %s\n", name, to);
    }
}

// Where the VMs belong that have contexts, and this one. One that starts again keeps its.
static void place(struct manager *manager, const struct manager_vm *also)
{
    for (uint32_t i = 0; i < manager->vms; i++) {
        const struct manager_vm *vm = &manager->vm[i];
        struct config_vm *config = &manager->config.vms[vm->config - manager->config.vms];
        config->ended = vm->contexts == 0 && vm != also;
    }
    config_place(&manager->config, manager->boot->cores);
}

int64_t move_contexts_again(struct manager *manager, struct manager_vm *vm)
{
    if (vm->contexts != 0) {
        return OK;
    }
    place(manager, vm);
    return vm->config->n_places == 0 ? ERR_BUSY : move_contexts(vm);
}

uint32_t vms_balance(struct manager *manager)
{
    uint32_t moved = 0;
    place(manager, NULL);
    for (uint32_t i = 0; i < manager->vms; i++) {
        const struct manager_vm *vm = &manager->vm[i];
        const struct move_cores on = move_cores_of(vm);
        struct move_cores cores = {.count = vm->config->n_places};
        memcpy(cores.core, vm->config->places, sizeof(cores.core));
        // One whose share fits nowhere now stays where it is.
        if (vm->spawned.process != 0 && cores.count != 0 && !same_cores(&on, &cores)) {
            vms_move(manager, i, &cores);
            moved++;
        }
    }
    return moved;
}
