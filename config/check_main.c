// SPDX-License-Identifier: BSD-2-Clause
//
// bulkhead-check, a program of the host, which ./bulkhead check calls: says what the manager will
// say about a config file at boot, and lists the images that belong into an ISO. One thread, state
// in struct options and struct store below main.
#include "config/config.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define COMMAND "./bulkhead check" // by which people call it
#define MAX_DIRS 16

enum exit_status { STATUS_GOOD = 0, STATUS_MISTAKES = 1, STATUS_FAILED = 2, STATUS_USAGE = 64 };

struct options {
    const char *config;
    bool images, help;
    uint64_t memory_mb;
    uint32_t cores;
};

// Where files are looked for, and the last one that was found.
struct store {
    char config_dir[PATH_MAX];
    const char *dirs[MAX_DIRS];
    unsigned n_dirs;
    char found[PATH_MAX];
    uint8_t head[CONFIG_IMAGE_HEAD];
};

static const char usage_text[] =
    "usage: " COMMAND " [OPTION…] CONFIG\n"
    "Checks a Bulkhead config file; exit status 1 when it has a mistake.\n"
    "\n"
    "  --path DIR     look for images in DIR too, after the folder of CONFIG (repeatable)\n"
    "  --images       print NAME, a tab and the path of each image that exists; no checks\n"
    "  --memory MB    the memory that the machine will have\n"
    "  --cores N      the cores that the machine will have\n"
    "  --help         this text\n";

// Whether DIR and NAME together lead to a regular file or, with `any`, to whatever there is.
static bool try_path(struct store *store, const char *dir, const char *name, bool any,
                     struct stat *info)
{
    const char *slash = dir[0] != '\0' && dir[strlen(dir) - 1] != '/' ? "/" : "";
    int length = snprintf(store->found, sizeof(store->found), "%s%s%s", dir, slash, name);

    return length > 0 && (size_t)length < sizeof(store->found) &&
           stat(store->found, info) == 0 && (any || S_ISREG(info->st_mode));
}

static bool try_dirs(struct store *store, const char *name, bool any, struct stat *info)
{
    if (name[0] == '/')
        return try_path(store, "", name, any, info);
    if (try_path(store, store->config_dir, name, any, info))
        return true;
    for (unsigned i = 0; i < store->n_dirs; i++) {
        if (try_path(store, store->dirs[i], name, any, info))
            return true;
    }
    return false;
}

// A folder beside the config does not hide the image of that name that lies elsewhere.
static bool store_resolve(struct store *store, const char *name, struct stat *info)
{
    return try_dirs(store, name, false, info) || try_dirs(store, name, true, info);
}

static enum config_find store_find(void *ctx, const char *path, struct config_image *image)
{
    struct store *store = ctx;
    struct stat info;

    if (!store_resolve(store, path, &info))
        return CONFIG_MISSING;
    if (!S_ISREG(info.st_mode)) {
        image->problem = S_ISDIR(info.st_mode) ? "it is a folder" : "it is not a regular file";
        return CONFIG_UNREADABLE;
    }
    FILE *file = fopen(store->found, "rb");
    if (file == NULL) {
        image->problem = strerror(errno);
        return CONFIG_UNREADABLE;
    }
    image->size = (uint64_t)info.st_size;
    image->head = store->head;
    image->head_size = fread(store->head, 1, sizeof(store->head), file);
    bool failed = ferror(file) != 0;
    fclose(file);
    if (failed) {
        image->problem = "read error";
        return CONFIG_UNREADABLE;
    }
    return CONFIG_FOUND;
}

static void print_diag(void *ctx, const struct config_diag *diag)
{
    char line[1024];

    config_diag_format(line, sizeof(line), diag);
    fprintf(ctx, "%s\n", line);
}

static void drop_diag(void *ctx, const struct config_diag *diag)
{
    (void)ctx;
    (void)diag;
}

// Reads at most one byte more than a config may have, so that the parser can refuse it.
static char *read_config(const char *path, size_t *length)
{
    size_t capacity = 1 << 16, size = 0;
    char *text = malloc(capacity);
    FILE *file = fopen(path, "rb");

    if (file == NULL || text == NULL)
        goto fail;
    for (;;) {
        size_t wanted = capacity - size;
        size_t got = fread(text + size, 1, wanted, file);
        size += got;
        if (got < wanted || size > CONFIG_FILE_MAX)
            break;
        capacity *= 2;
        char *larger = realloc(text, capacity);
        if (larger == NULL)
            goto fail;
        text = larger;
    }
    if (ferror(file))
        goto fail;
    fclose(file);
    *length = size;
    return text;

fail:
    fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
    if (file != NULL)
        fclose(file);
    free(text);
    return NULL;
}

static const char *vm_path(const struct config *config, uint32_t index)
{
    return config_vm_file(&config->vms[index / CONFIG_FILES_PER_VM], index % CONFIG_FILES_PER_VM);
}

// Whether an earlier file has the same module name. Then this one is either the same file or a
// mistake that the check reports.
static bool is_listed(const struct config *config, uint32_t index)
{
    const char *name = config_module_name(vm_path(config, index));

    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(config_module_name(vm_path(config, i)), name) == 0)
            return true;
    }
    return false;
}

static void list_images(const struct config *config, struct store *store)
{
    for (uint32_t i = 0; i < CONFIG_FILES_PER_VM * config->n_vms; i++) {
        const char *path = vm_path(config, i);
        struct stat info;
        if (path[0] == '\0' || is_listed(config, i))
            continue;
        if (store_resolve(store, path, &info) && S_ISREG(info.st_mode))
            printf("%s\t%s\n", config_module_name(path), store->found);
    }
}

static bool parse_positive(const char *text, uint64_t max, uint64_t *number)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *number = value;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && value > 0 &&
           value <= max;
}

static bool usage_error(const char *what, const char *argument)
{
    fprintf(stderr, "%s" COMMAND ": %s '%s'\n", usage_text, what, argument);
    return false;
}

static bool number_error(const char *option, const char *value, uint64_t max)
{
    fprintf(stderr, "%s" COMMAND ": %s '%s' is not from 1 to %llu\n", usage_text, option, value,
            (unsigned long long)max);
    return false;
}

// One option with a value.
static bool parse_option(struct options *options, struct store *store, const char *name,
                         const char *value)
{
    uint64_t number = 0;

    if (value == NULL)
        return usage_error("no value for option", name);
    if (strcmp(name, "--path") == 0) {
        if (store->n_dirs == MAX_DIRS)
            return usage_error("too many folders at --path", value);
        store->dirs[store->n_dirs++] = value;
    } else if (strcmp(name, "--memory") == 0) {
        if (!parse_positive(value, UINT32_MAX, &number))
            return number_error(name, value, UINT32_MAX);
        options->memory_mb = number;
    } else {
        if (!parse_positive(value, CONFIG_MAX_CORES, &number))
            return number_error(name, value, CONFIG_MAX_CORES);
        options->cores = (uint32_t)number;
    }
    return true;
}

static bool parse_arguments(struct options *options, struct store *store, char **argv)
{
    bool plain = false;

    for (argv++; *argv != NULL; argv++) {
        const char *argument = *argv;
        if (!plain && strcmp(argument, "--images") == 0) {
            options->images = true;
        } else if (!plain && (strcmp(argument, "-h") == 0 || strcmp(argument, "--help") == 0)) {
            options->help = true;
        } else if (!plain && strcmp(argument, "--") == 0) {
            plain = true;
        } else if (!plain && (strcmp(argument, "--path") == 0 ||
                              strcmp(argument, "--memory") == 0 ||
                              strcmp(argument, "--cores") == 0)) {
            if (!parse_option(options, store, argument, argv[1]))
                return false;
            argv++;
        } else if (!plain && argument[0] == '-' && argument[1] != '\0') {
            return usage_error("unknown option", argument);
        } else if (options->config != NULL) {
            return usage_error("more than one config file:", argument);
        } else {
            options->config = argument;
        }
    }
    if (options->config == NULL && !options->help) {
        fprintf(stderr, "%s" COMMAND ": no config file given\n", usage_text);
        return false;
    }
    return true;
}

// What keeps the config file itself from being found at boot, or NULL.
static const char *bad_config_name(const char *name)
{
    if (name[0] == '.')
        return "begins with a dot";
    for (; *name != '\0'; name++) {
        if ((unsigned char)*name < 0x20 || *name == 0x7f)
            return "has a control character";
    }
    return NULL;
}

// All files that are there, each once.
static uint64_t file_bytes(const struct config *config, struct store *store)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < CONFIG_FILES_PER_VM * config->n_vms; i++) {
        struct stat info;
        if (vm_path(config, i)[0] != '\0' && !is_listed(config, i) &&
            store_resolve(store, vm_path(config, i), &info))
            bytes += config_file_bytes((uint64_t)info.st_size);
    }
    return bytes;
}

static void print_good(const struct config *config, const struct options *options,
                       uint64_t memory)
{
    printf("%s: no mistake, %u VM%s", options->config, (unsigned)config->n_vms,
           config->n_vms == 1 ? "" : "s");
    if (memory != 0)
        printf(", %" PRIu64 " KB of the %" PRIu64 " KB that there are for VMs",
               config->memory_taken >> 10, memory >> 10);
    printf("\n");
}

static int check(struct config *config, const struct options *options, struct store *store,
                 const char *text, size_t length)
{
    const struct config_sink sink = {print_diag, stderr};
    char looked_in[1024];
    int at = snprintf(looked_in, sizeof(looked_in), "beside the config file");
    struct config_host host = {
        .find = store_find,
        .ctx = store,
        .looked_in = looked_in,
        .vm_overhead = CONFIG_VM_OVERHEAD,
        .max_vms = CONFIG_RUN_MAX,
        .max_files = CONFIG_FILES_MAX,
        .cores = options->cores,
    };

    for (unsigned i = 0; i < store->n_dirs && at >= 0 && (size_t)at < sizeof(looked_in); i++)
        at += snprintf(looked_in + at, sizeof(looked_in) - (size_t)at, " or in %s",
                       store->dirs[i]);
    uint32_t mistakes = config_parse(config, options->config, text, length, &sink);
    if (options->memory_mb != 0) {
        const struct config_machine machine = {
            .ram = options->memory_mb << 20,
            .cores = options->cores,
            .files = file_bytes(config, store) + config_file_bytes(length),
        };
        host.memory = config_memory_for_vms(&machine);
    }
    mistakes += config_check(config, &host, &sink);
    const char *problem = bad_config_name(config_module_name(options->config));
    if (problem != NULL) {
        fprintf(stderr, "%s: the name of this file %s, so it would not be found at boot\n",
                options->config, problem);
        mistakes++;
    }
    if (mistakes > 0)
        return STATUS_MISTAKES;
    print_good(config, options, host.memory);
    return STATUS_GOOD;
}

int main(int argc, char **argv)
{
    static struct config config;
    static struct store store;
    struct options options = {0};
    size_t length = 0;

    (void)argc;
    if (!parse_arguments(&options, &store, argv))
        return STATUS_USAGE;
    if (options.help) {
        fputs(usage_text, stdout);
        return STATUS_GOOD;
    }
    size_t dir = (size_t)(config_module_name(options.config) - options.config);
    if (dir >= sizeof(store.config_dir)) {
        fprintf(stderr, COMMAND ": the path of the config file is too long\n");
        return STATUS_FAILED;
    }
    memcpy(store.config_dir, options.config, dir);
    char *text = read_config(options.config, &length);
    if (text == NULL)
        return STATUS_FAILED;
    int status = STATUS_GOOD;
    if (options.images) {
        const struct config_sink sink = {drop_diag, NULL};
        config_parse(&config, options.config, text, length, &sink);
        list_images(&config, &store);
    } else {
        status = check(&config, &options, &store, text, length);
    }
    free(text);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, COMMAND ": cannot write: %s\n", strerror(errno));
        return STATUS_FAILED;
    }
    return status;
}
