// SPDX-License-Identifier: BSD-2-Clause
//
// libFuzzer target: the input is a config file; parser and checks must keep their promises
// whatever it holds. The machine it is checked against derives from the input's last byte.
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    unsigned messages;
    unsigned notes;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void look(void *ctx, const struct config_diag *diag)
{
    struct seen *seen = ctx;
    char line[512];

    seen->messages++;
    seen->notes += diag->severity == CONFIG_NOTE;
    require(diag->pos.line != 0 || diag->pos.column == 0);
    config_diag_format(line, sizeof(line), diag);
    require(strlen(line) + 1 < sizeof(line));
    for (const char *c = line; *c != '\0'; c++)
        require(*c >= ' ' && *c < 0x7f);
}

// The input itself stands for every image whose name is short.
struct file {
    const uint8_t *data;
    size_t size;
};

static enum config_find find(void *ctx, const char *path, struct config_image *image)
{
    const struct file *file = ctx;
    size_t length = strlen(path);

    require(length > 0 && length <= CONFIG_PATH_MAX);
    if (length > 8)
        return length % 2 == 0 ? CONFIG_MISSING : CONFIG_UNREADABLE;
    image->head = file->data;
    image->head_size = file->size < CONFIG_IMAGE_HEAD ? file->size : CONFIG_IMAGE_HEAD;
    image->size = file->size;
    return CONFIG_FOUND;
}

static void require_sane_modules(const struct config_vm *vm)
{
    require(vm->n_modules <= CONFIG_MAX_MODULES);
    for (uint32_t i = 0; i < vm->n_modules; i++) {
        const struct config_module *module = &vm->modules[i];
        const char *path = config_vm_file(vm, 2 + i), *cmdline = vm->module_text + module->cmdline;
        require(module->path < module->cmdline && module->cmdline < CONFIG_MODULE_TEXT);
        require(path + strlen(path) + 1 == cmdline && path[0] != '\0');
        require(memchr(cmdline, 0, CONFIG_MODULE_TEXT - module->cmdline) != NULL);
        require(module->pos.line > vm->pos.line);
    }
    require(!vm->flat || vm->flat_gpa <= UINT32_MAX);
}

static void require_sane(const struct config *config, const struct config_host *host)
{
    uint64_t memory = 0;

    require(config->n_vms <= CONFIG_MAX_VMS);
    for (uint32_t i = 0; i < config->n_vms; i++) {
        const struct config_vm *vm = &config->vms[i];
        require(vm->pos.line != 0 && vm->name[0] != '\0');
        require_sane_modules(vm);
        if (vm->bad)
            continue;
        require(vm->image[0] != '\0' && vm->memory >= CONFIG_MEMORY_MIN);
        require(vm->vcpus == 1 && vm->share <= 100 && vm->n_cores <= CONFIG_MAX_CORES);
        require(host->cores == 0 || (vm->core >= 0 && vm->core < (int)host->cores));
        memory += vm->memory;
        require(host->memory == 0 || memory <= host->memory);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    struct seen seen = {0, 0};
    const struct config_sink sink = {look, &seen};
    uint8_t facts = size > 0 ? data[size - 1] : 0;
    struct file file = {data, size};
    const struct config_host host = {
        .find = (facts & 1) != 0 ? find : NULL,
        .ctx = &file,
        .memory = (uint64_t)(facts & 6) << 26,
        .vm_overhead = (uint64_t)(facts & 8) << 10,
        .cores = facts >> 4,
    };
    uint32_t errors = config_parse(&config, "fuzz.conf", (const char *)data, size, &sink);

    require((errors != 0) == (seen.messages != 0));
    require(seen.messages <= CONFIG_MAX_MESSAGES + 1 && seen.notes <= 1);
    seen = (struct seen){0, 0};
    errors = config_check(&config, &host, &sink);
    require((errors != 0) == (seen.messages != 0));
    require(seen.messages <= CONFIG_MAX_MESSAGES + 1 && seen.notes <= 1);
    require_sane(&config, &host);
    return 0;
}
