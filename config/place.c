// SPDX-License-Identifier: BSD-2-Clause
//
// Gives every VM a core, or one for each vCPU as far as there are so many. Lists come first, for
// they leave the least choice; then shares, first fit with the largest first; then what is best
// effort, to spread over what these leave. State is a struct placer on the stack of the caller.
#include "config/log.h"

// What has been promised of one core.
struct core_load {
    uint16_t share;    // percent
    uint16_t vms;
};

struct placer {
    struct config *config;
    uint32_t n_cores;
    struct config_log *log;    // NULL: nobody wants to know
    struct core_load cores[CONFIG_MAX_CORES];
};

static bool takes_part(const struct config_vm *vm)
{
    return !vm->bad && !vm->ended;
}

// Fewer VMs first, then less promised.
static bool is_emptier(const struct core_load *a, const struct core_load *b)
{
    return a->vms < b->vms || (a->vms == b->vms && a->share < b->share);
}

static bool has_place(const struct config_vm *vm, uint32_t core)
{
    for (uint32_t i = 0; i < vm->n_places; i++) {
        if (vm->places[i] == core)
            return true;
    }
    return false;
}

static void put(struct placer *placer, struct config_vm *vm, uint32_t core)
{
    vm->places[vm->n_places++] = (uint8_t)core;
    vm->core = vm->places[0];
    placer->cores[core].vms++;
}

// A share is a budget on each core of the list. Each vCPU has a core of its own, as far as there
// are so many.
static void place_listed(struct placer *placer, struct config_vm *vm)
{
    while (vm->n_places < vm->vcpus && vm->n_places < vm->n_cores) {
        int best = -1;
        for (uint32_t i = 0; i < vm->n_cores; i++) {
            if (!has_place(vm, vm->cores[i]) &&
                (best < 0 || is_emptier(&placer->cores[vm->cores[i]], &placer->cores[best])))
                best = vm->cores[i];
        }
        put(placer, vm, (uint32_t)best);
    }
}

static unsigned free_share(const struct placer *placer, uint32_t core)
{
    unsigned taken = placer->cores[core].share + (core == 0 ? placer->config->system_share : 0);

    return taken < 100 ? 100 - taken : 0;
}

// Core 0, where manager and console run, is the last to be tried.
static void place_share(struct placer *placer, struct config_vm *vm)
{
    unsigned most_free = 0;

    for (uint32_t i = 1; i <= placer->n_cores && vm->n_places < vm->vcpus; i++) {
        uint32_t core = i % placer->n_cores;
        unsigned room = free_share(placer, core);
        if (vm->share <= room) {
            placer->cores[core].share += (uint16_t)vm->share;
            put(placer, vm, core);
        } else if (room > most_free) {
            most_free = room;
        }
    }
    if (vm->n_places != 0)
        return;
    vm->bad = true;
    if (placer->log != NULL)
        config_error(placer->log, vm->value_pos[CONFIG_KEY_SHARE],
                     "share = %u%% of [vm %s] fits on no core: at most %u%% of one is left",
                     (unsigned)vm->share, vm->name, most_free);
}

static void place_best_effort(struct placer *placer, struct config_vm *vm)
{
    while (vm->n_places < vm->vcpus && vm->n_places < placer->n_cores) {
        int best = -1;
        for (uint32_t i = 0; i < placer->n_cores; i++) {
            if (!has_place(vm, i) &&
                (best < 0 || is_emptier(&placer->cores[i], &placer->cores[best])))
                best = (int)i;
        }
        put(placer, vm, (uint32_t)best);
    }
}

// Those without a list whose share is exactly this; 0: best effort.
static void place_all(struct placer *placer, uint32_t share)
{
    for (uint32_t i = 0; i < placer->config->n_vms; i++) {
        struct config_vm *vm = &placer->config->vms[i];
        if (!takes_part(vm) || vm->n_cores != 0 || vm->share != share)
            continue;
        if (share != 0)
            place_share(placer, vm);
        else
            place_best_effort(placer, vm);
    }
}

void config_place_logged(struct config *config, uint32_t cores, struct config_log *log)
{
    struct placer placer = {.config = config, .n_cores = cores, .log = log};

    for (uint32_t i = 0; i < config->n_vms; i++) {
        struct config_vm *vm = &config->vms[i];
        vm->n_places = takes_part(vm) ? 0 : vm->n_places;
        for (uint32_t k = 0; takes_part(vm) && k < vm->n_cores; k++)
            placer.cores[vm->cores[k]].share += (uint16_t)vm->share;
    }
    for (uint32_t i = 0; i < config->n_vms; i++) {
        struct config_vm *vm = &config->vms[i];
        if (takes_part(vm) && vm->n_cores != 0)
            place_listed(&placer, vm);
    }
    for (uint32_t share = 100; cores != 0 && share > 0; share--)
        place_all(&placer, share);
    if (cores != 0)
        place_all(&placer, 0);
}

void config_place(struct config *config, uint32_t cores)
{
    config_place_logged(config, cores < CONFIG_MAX_CORES ? cores : CONFIG_MAX_CORES, NULL);
}
