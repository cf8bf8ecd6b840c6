// SPDX-License-Identifier: BSD-2-Clause
// Boot modules, named ROLE:NAME. They are mapped read-only and stay so; nothing here is written
// after boot. The manager's thread only.
#include <stddef.h>
#include <string.h>
#include "libc/kcall.h"
#include "vmm/manager/manager.h"

// Each module has a window of 4 GB.
#define MODULE_VA     0x200000000000ull
#define MODULE_STRIDE (1ull << 32)

const char *module_name(const struct boot_info *boot, int index)
{
    const char *colon = memchr(boot->module[index].name, ':', sizeof(boot->module[index].name));
    return colon != NULL ? colon + 1 : boot->module[index].name;
}

int module_find(const struct boot_info *boot, const char *role, const char *name)
{
    size_t len = strlen(role);
    for (uint32_t i = 0; i < boot->modules && i < BOOT_MODULE_MAX; i++) {
        const char *full = boot->module[i].name;
        if (strncmp(full, role, len) == 0 && full[len] == ':' &&
            (name == NULL || strcmp(full + len + 1, name) == 0)) {
            return (int)i;
        }
    }
    return -1;
}

// Whether an editor, or a person, has put a file aside under this name.
static bool is_leftover(const char *name)
{
    static const char *const endings[] = {"~", ".old", ".bak", ".orig", ".swp"};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t ending = strlen(endings[i]);
        if (len >= ending && strcmp(name + len - ending, endings[i]) == 0) {
            return true;
        }
    }
    return name[0] == '#';
}

int module_find_config(const struct boot_info *boot, uint32_t *others)
{
    int found = -1;
    *others = 0;
    for (uint32_t i = 0; i < boot->modules && i < BOOT_MODULE_MAX; i++) {
        if (strncmp(boot->module[i].name, "config:", 7) != 0) {
            continue;
        }
        *others += found >= 0;
        if (found < 0 || (is_leftover(module_name(boot, found)) &&
                          !is_leftover(module_name(boot, (int)i)))) {
            found = (int)i;
        }
    }
    return found;
}

const void *module_map(const struct boot_info *boot, int index, uint64_t bytes)
{
    const struct boot_module *module = &boot->module[index];
    uint64_t va = MODULE_VA + (uint64_t)index * MODULE_STRIDE;
    if (bytes == 0 || bytes > module->bytes) {
        bytes = module->bytes;
    }
    bytes = (bytes + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    if (bytes == 0 || bytes > MODULE_STRIDE ||
        kcall_mem_map(HANDLE_SELF, module->handle, 0, bytes, va, PROT_READ) < 0) {
        return NULL;
    }
    return (const void *)(uintptr_t)va;
}

enum config_find module_config_find(void *opaque, const char *path, struct config_image *image)
{
    struct manager *manager = opaque;
    const struct boot_info *boot = manager->boot;
    int index = module_find(boot, "image", config_module_name(path));
    if (index < 0) {
        return CONFIG_MISSING;
    }
    image->size = boot->module[index].bytes;
    if (image->size == 0) {
        return CONFIG_FOUND;
    }
    // Two VMs may name the same image: the window may be there already.
    if (manager->image_head[index] == NULL) {
        manager->image_head[index] = module_map(boot, index, CONFIG_IMAGE_HEAD);
    }
    image->head = manager->image_head[index];
    image->head_size = image->size < CONFIG_IMAGE_HEAD ? image->size : CONFIG_IMAGE_HEAD;
    image->problem = "it cannot be mapped";
    return image->head != NULL ? CONFIG_FOUND : CONFIG_UNREADABLE;
}

bool program_find(struct manager *manager, struct program *program, const char *name)
{
    int index = module_find(manager->boot, "bin", name);
    const void *file = index >= 0 ? module_map(manager->boot, index, 0) : NULL;
    const char *problem = index < 0 ? "there is no such boot module"
                          : file == NULL ? "it cannot be mapped"
                          : program_load(program, file, manager->boot->module[index].bytes,
                                         (uint16_t)manager->boot->call_insn);
    if (problem != NULL) {
        report(manager, "bin:%s cannot be loaded: %s\n", name, problem);
    }
    return problem == NULL;
}
