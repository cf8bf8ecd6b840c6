// SPDX-License-Identifier: BSD-2-Clause
//
// Holds a parsed config against the machine: files, cores, shares, memory. VMs are served in the
// order of the file, so that adding one at the end never takes anything from those above it; only
// shares without a list of cores are placed by their size (place.c). State is a struct checker on
// the stack of config_check.
#include "config/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILE_TABLES (3 * UINT64_C(4096)) // page tables of a file, beside one page for 512 of it
#define SIZE_TEXT 24    // bytes of a format_size result

struct checker {
    struct config *config;
    const struct config_host *host;
    struct config_log log;
    uint32_t n_cores;    // that exist; 0: not known
    uint32_t n_vms;      // that are good so far
    uint32_t n_files;    // that are good so far, each name once
    uint16_t promised[CONFIG_MAX_CORES]; // percent of each core, to VMs with a list
};

// One of the files of a VM.
struct file_ref {
    const char *path;
    const char *key;
    struct config_pos pos;
};

static struct file_ref vm_file(const struct config_vm *vm, unsigned which)
{
    struct file_ref file = {config_vm_file(vm, which), "module", {0, 0}};

    if (which == 0) {
        file.key = "image";
        file.pos = vm->value_pos[CONFIG_KEY_IMAGE];
    } else if (which == 1) {
        file.key = "initrd";
        file.pos = vm->value_pos[CONFIG_KEY_INITRD];
    } else if (file.path[0] != '\0') {
        file.pos = vm->modules[which - 2].pos;
    }
    return file;
}

// Exact in the largest unit that divides it, or else rounded down to MB or KB.
static const char *format_size(char *buffer, uint64_t size)
{
    if (size >= UINT64_C(1) << 30 && size % (UINT64_C(1) << 30) == 0)
        snprintf(buffer, SIZE_TEXT, "%" PRIu64 "G", size >> 30);
    else if (size % (1 << 20) == 0 || size >= UINT64_C(16) << 20)
        snprintf(buffer, SIZE_TEXT, "%" PRIu64 "M", size >> 20);
    else
        snprintf(buffer, SIZE_TEXT, "%" PRIu64 "K", size >> 10);
    return buffer;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

// Steps over what does not change where a path leads: "./" and doubled slashes.
static const char *skip_idle(const char *path, bool at_start)
{
    for (;;) {
        if (path[0] == '/' && !at_start)
            path++;
        else if (path[0] == '.' && path[1] == '/')
            path += 2;
        else
            return path;
        at_start = false;
    }
}

static bool same_path(const char *a, const char *b)
{
    a = skip_idle(a, true);
    b = skip_idle(b, true);
    while (*a != '\0' && *a == *b) {
        bool slash = *a == '/';
        a++;
        b++;
        if (slash) {
            a = skip_idle(a, false);
            b = skip_idle(b, false);
        }
    }
    return *a == *b;
}

// At boot a file is a module with only its last name: two that share it cannot be told apart.
static bool name_is_taken(struct checker *checker, uint32_t vm_index, unsigned which)
{
    const struct config *config = checker->config;
    struct file_ref file = vm_file(&config->vms[vm_index], which);
    char quote[CONFIG_QUOTE_SIZE], other_quote[CONFIG_QUOTE_SIZE];

    for (uint32_t i = 0; i < vm_index * CONFIG_FILES_PER_VM + which; i++) {
        struct file_ref other =
            vm_file(&config->vms[i / CONFIG_FILES_PER_VM], i % CONFIG_FILES_PER_VM);
        if (!same_text(config_module_name(file.path), config_module_name(other.path)) ||
            same_path(file.path, other.path))
            continue;
        config_error(&checker->log, file.pos,
                     "%s '%s' has the same file name as '%s' at line %u: rename one", file.key,
                     config_quote(quote, file.path, strlen(file.path)),
                     config_quote(other_quote, other.path, strlen(other.path)),
                     (unsigned)other.pos.line);
        return true;
    }
    return false;
}

// Whether a VM above, or this one already, has a file of that name.
static bool is_counted(const struct config *config, uint32_t vm_index, unsigned which)
{
    const char *name = config_module_name(config_vm_file(&config->vms[vm_index], which));

    for (uint32_t i = 0; i < vm_index * CONFIG_FILES_PER_VM + which; i++) {
        const char *other = config_vm_file(&config->vms[i / CONFIG_FILES_PER_VM],
                                           i % CONFIG_FILES_PER_VM);
        if (same_text(name, config_module_name(other)))
            return true;
    }
    return false;
}

// At boot there is room for so many files.
static bool file_fits(struct checker *checker, uint32_t vm_index, unsigned which,
                      const struct file_ref *file)
{
    char quote[CONFIG_QUOTE_SIZE];
    uint32_t max = checker->host->max_files;

    if (max == 0 || is_counted(checker->config, vm_index, which) || ++checker->n_files <= max)
        return true;
    config_error(&checker->log, file->pos, "%s '%s' is one file too many: %u can be loaded at boot",
                 file->key, config_quote(quote, file->path, strlen(file->path)), (unsigned)max);
    return false;
}

// Says what keeps a file from being used. `image` is filled in when the answer is true.
static bool file_is_good(struct checker *checker, const struct file_ref *file,
                         struct config_image *image)
{
    const struct config_host *host = checker->host;
    char quote[CONFIG_QUOTE_SIZE];

    memset(image, 0, sizeof(*image));
    config_quote(quote, file->path, strlen(file->path));
    switch (host->find(host->ctx, file->path, image)) {
    case CONFIG_FOUND:
        break;
    case CONFIG_MISSING:
        config_error(&checker->log, file->pos, "%s '%s' not found%s%s", file->key, quote,
                     host->looked_in != NULL ? " " : "",
                     host->looked_in != NULL ? host->looked_in : "");
        return false;
    case CONFIG_UNREADABLE:
    default:
        config_error(&checker->log, file->pos, "%s '%s' cannot be read: %s", file->key, quote,
                     image->problem != NULL ? image->problem : "unknown reason");
        return false;
    }
    if (image->size == 0) {
        config_error(&checker->log, file->pos, "%s '%s' is empty", file->key, quote);
        return false;
    }
    return true;
}

// Without `load`, the image must be of a known format; with it, of none.
static void check_format(struct checker *checker, struct config_vm *vm,
                         const struct config_image *image)
{
    struct file_ref file = vm_file(vm, 0);
    char quote[CONFIG_QUOTE_SIZE];
    bool elf = image->head_size >= 4 && memcmp(image->head, "\177ELF", 4) == 0;

    vm->format = config_image_format(image->head, image->head_size);
    config_quote(quote, file.path, strlen(file.path));
    if (vm->flat && (vm->format != CONFIG_FORMAT_UNKNOWN || elf)) {
        config_error(&checker->log, vm->value_pos[CONFIG_KEY_LOAD],
                     "load is for a flat binary, and image '%s' is %s: remove it", quote,
                     vm->format != CONFIG_FORMAT_UNKNOWN ? config_format_name(vm->format) : "ELF");
        vm->bad = true;
    } else if (vm->flat) {
        vm->format = CONFIG_FORMAT_FLAT;
    } else if (vm->format == CONFIG_FORMAT_UNKNOWN) {
        config_error(&checker->log, file.pos,
                     "image '%s' has an unknown format%s: Linux bzImage, multiboot 2, multiboot 1 "
                     "and PVH ELF are known; for a flat binary write load = ADDRESS", quote,
                     elf ? " (ELF, but no multiboot header in its first 32 KB, nor a PVH note)"
                         : "");
        vm->bad = true;
    }
}

// Others have one entry only.
static void check_entry(struct checker *checker, struct config_vm *vm)
{
    if (!vm->entry32 || vm->format == CONFIG_FORMAT_LINUX || vm->format == CONFIG_FORMAT_UNKNOWN)
        return;
    config_error(&checker->log, vm->key_pos[CONFIG_KEY_ENTRY],
                 "entry is for a Linux bzImage, and the image is %s: remove it",
                 config_format_name(vm->format));
    vm->bad = true;
}

// Some formats have no place for what the config gives them.
static void check_modules(struct checker *checker, struct config_vm *vm)
{
    bool flat = vm->format == CONFIG_FORMAT_FLAT;

    if (flat && vm->initrd[0] != '\0') {
        config_error(&checker->log, vm->key_pos[CONFIG_KEY_INITRD],
                     "a flat binary takes no initrd");
        vm->bad = true;
    }
    if ((flat || vm->format == CONFIG_FORMAT_LINUX) && vm->n_modules != 0) {
        config_error(&checker->log, vm->modules[0].pos, "%s takes no modules%s",
                     flat ? "a flat binary" : "a Linux bzImage", flat ? "" : ", only an initrd");
        vm->bad = true;
    }
}

static struct config_pos memory_pos(const struct config_vm *vm)
{
    return vm->key_pos[CONFIG_KEY_MEMORY].line != 0 ? vm->value_pos[CONFIG_KEY_MEMORY] : vm->pos;
}

static const char *files_in_words(const struct config_vm *vm)
{
    if (vm->n_modules != 0)
        return vm->initrd[0] != '\0' ? "image, initrd and modules" : "image and modules";
    return vm->initrd[0] != '\0' ? "image and initrd" : "the image";
}

// Says what keeps a bzImage from being started. -> the memory that it takes
static uint64_t check_linux(struct checker *checker, struct config_vm *vm,
                            const struct config_image *image)
{
    struct file_ref file = vm_file(vm, 0);
    char quote[CONFIG_QUOTE_SIZE], text[CONFIG_LINUX_TEXT];
    const char *problem = config_linux_problem(image, text);

    if (problem == NULL)
        return config_linux_end(image);
    config_error(&checker->log, file.pos, "image '%s' %s",
                 config_quote(quote, file.path, strlen(file.path)), problem);
    vm->bad = true;
    return 0;
}

// size: of all files; linux_end: where a Linux kernel ends, or 0.
static void check_file_memory(struct checker *checker, struct config_vm *vm, uint64_t size,
                              uint64_t linux_end, uint64_t initrd)
{
    char need[SIZE_TEXT], have[SIZE_TEXT];
    uint64_t linux_need = UINT64_MAX - initrd > linux_end ? linux_end + initrd : UINT64_MAX;

    if (size > vm->memory) {
        config_error(&checker->log, memory_pos(vm), "memory = %s is less than the size of %s: %s",
                     format_size(have, vm->memory), files_in_words(vm), format_size(need, size));
        vm->bad = true;
    } else if (linux_end != 0 && linux_need > vm->memory) {
        config_error(&checker->log, memory_pos(vm), "memory = %s is less than this kernel needs to "
                     "unpack itself%s: %" PRIu64 "K", format_size(have, vm->memory),
                     initrd != 0 ? ", and its initrd behind it" : "", linux_need >> 10);
        vm->bad = true;
    }
}

// Also for VMs that are bad already: whoever mends one mistake wants to know the next.
static void check_files(struct checker *checker, uint32_t vm_index)
{
    struct config_vm *vm = &checker->config->vms[vm_index];
    struct config_image image;
    uint64_t size = 0, linux_end = 0, initrd = 0;

    vm->tables = vm->memory / 256 + (vm->testdev ? CONFIG_TESTDEV_BYTES : 0) +
                 (vm->vcpus - 1) * CONFIG_VCPU_BYTES;
    for (unsigned which = 0; which < CONFIG_FILES_PER_VM; which++) {
        struct file_ref file = vm_file(vm, which);
        if (file.path[0] == '\0')
            continue;
        if (name_is_taken(checker, vm_index, which)) {
            vm->bad = true;
            continue;
        }
        if (checker->host->find == NULL)
            continue;
        if (!file_is_good(checker, &file, &image) ||
            !file_fits(checker, vm_index, which, &file)) {
            vm->bad = true;
            continue;
        }
        if (which == 0)
            check_format(checker, vm, &image);
        if (which == 0 && vm->format == CONFIG_FORMAT_LINUX)
            linux_end = check_linux(checker, vm, &image);
        if (which == 1)
            initrd = image.size < UINT64_MAX - 4095 ? (image.size + 4095) & ~UINT64_C(4095)
                                                    : UINT64_MAX;
        size = image.size < UINT64_MAX - size ? size + image.size : UINT64_MAX;
        vm->tables += image.size / 512 + FILE_TABLES;
    }
    check_entry(checker, vm);
    check_modules(checker, vm);
    check_file_memory(checker, vm, size, linux_end, initrd);
}

static void check_cores_exist(struct checker *checker, struct config_vm *vm)
{
    if (checker->n_cores == 0)
        return;
    for (uint32_t i = 0; i < vm->n_cores; i++) {
        if (vm->cores[i] < checker->n_cores)
            continue;
        char range[24] = "only core 0";
        if (checker->n_cores > 1)
            snprintf(range, sizeof(range), "cores 0 to %u", (unsigned)(checker->n_cores - 1));
        config_error(&checker->log, vm->value_pos[CONFIG_KEY_CORES],
                     "core %u does not exist: this machine has %s", (unsigned)vm->cores[i], range);
        vm->bad = true;
        return;
    }
}

// A share is a budget on each core of the list.
static void check_share(struct checker *checker, struct config_vm *vm)
{
    if (vm->bad || vm->share == 0)
        return;
    for (uint32_t i = 0; i < vm->n_cores; i++) {
        unsigned taken = checker->promised[vm->cores[i]];
        if (taken + vm->share <= 100)
            continue;
        config_error(&checker->log, vm->value_pos[CONFIG_KEY_SHARE],
                     "shares of core %u add up to %u%% with [vm %s]: "
                     "%u%% are taken by %sthe VMs above",
                     (unsigned)vm->cores[i], taken + (unsigned)vm->share, vm->name, taken,
                     vm->cores[i] == 0 ? "[system] and " : "");
        vm->bad = true;
        return;
    }
}

static void check_period(struct checker *checker, struct config_vm *vm)
{
    if (vm->key_pos[CONFIG_KEY_PERIOD].line == 0 || vm->key_pos[CONFIG_KEY_SHARE].line != 0)
        return;
    config_error(&checker->log, vm->key_pos[CONFIG_KEY_PERIOD],
                 "period is that of a share, and [vm %s] has none: add share = PERCENT", vm->name);
    vm->bad = true;
}

// Counts what a VM that has passed all checks was promised.
static void take_share(struct checker *checker, const struct config_vm *vm)
{
    if (vm->bad)
        return;
    for (uint32_t i = 0; i < vm->n_cores; i++)
        checker->promised[vm->cores[i]] += (uint16_t)vm->share;
}

// Takes the VM's memory from *left, if it is there.
static void check_memory(struct checker *checker, struct config_vm *vm, uint64_t *left)
{
    const struct config_host *host = checker->host;
    char want[SIZE_TEXT], rest[SIZE_TEXT], total[SIZE_TEXT];
    const char *origin = vm->key_pos[CONFIG_KEY_MEMORY].line != 0 ? "" : " (the default)";

    if (host->memory == 0)
        return;
    format_size(want, vm->memory);
    format_size(total, host->memory);
    if (vm->memory > host->memory) {
        config_error(&checker->log, memory_pos(vm), "memory = %s%s is more than there is: %s",
                     want, origin, total);
        vm->bad = true;
        return;
    }
    if (vm->bad)
        return;
    uint64_t overhead = host->vm_overhead != 0 ? host->vm_overhead + vm->tables : 0;
    if (*left < overhead || vm->memory > *left - overhead) {
        uint64_t usable = *left > overhead ? *left - overhead : 0;
        config_error(&checker->log, memory_pos(vm), "memory = %s%s is more than is left: %s of %s",
                     want, origin, format_size(rest, usable), total);
        vm->bad = true;
        return;
    }
    *left -= vm->memory + overhead;
    checker->config->memory_taken += vm->memory + overhead;
}

static void check_count(struct checker *checker, struct config_vm *vm)
{
    uint32_t max = checker->host->max_vms;

    if (vm->bad || max == 0 || checker->n_vms < max)
        return;
    config_error(&checker->log, vm->pos, "[vm %s] is one too many: %u VMs can be run", vm->name,
                 (unsigned)max);
    vm->bad = true;
}

uint32_t config_check(struct config *config, const struct config_host *host,
                      const struct config_sink *sink)
{
    struct checker checker = {.config = config, .host = host};
    uint64_t left = host->memory;

    config->memory_taken = 0;
    checker.log = (struct config_log){.file = config->file, .sink = sink};
    checker.promised[0] = (uint16_t)config->system_share;
    checker.n_cores = host->cores < CONFIG_MAX_CORES ? host->cores : CONFIG_MAX_CORES;
    for (uint32_t i = 0; i < config->n_vms; i++) {
        struct config_vm *vm = &config->vms[i];
        check_files(&checker, i);
        check_cores_exist(&checker, vm);
        check_count(&checker, vm);
        check_period(&checker, vm);
        check_share(&checker, vm);
        check_memory(&checker, vm, &left);
        take_share(&checker, vm);
        checker.n_vms += !vm->bad;
    }
    config_place_logged(config, checker.n_cores, &checker.log);
    config_log_finish(&checker.log);
    return checker.log.errors;
}

uint32_t config_good_vms(const struct config *config)
{
    uint32_t good = 0;

    for (uint32_t i = 0; i < config->n_vms; i++)
        good += !config->vms[i].bad;
    return good;
}
