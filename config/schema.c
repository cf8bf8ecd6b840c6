// SPDX-License-Identifier: BSD-2-Clause
//
// What keys there are, and what their values mean. Adding a key is one row in config_schema, one
// function that stores it, one member of struct config_vm. No state of its own.
#include "config/schema.h"

#include <string.h>

bool config_value_is(const struct config_value *value, const char *word)
{
    return value->length == strlen(word) && memcmp(value->text, word, value->length) == 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

enum config_number config_parse_number(const char *text, size_t length, uint64_t *number)
{
    uint64_t sum = 0;
    bool too_large = false;

    if (length == 0)
        return NUMBER_BAD;
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i]))
            return NUMBER_BAD;
        sum = sum * 10 + (uint64_t)(text[i] - '0');
        if (sum >= UINT64_C(1) << 60) {
            too_large = true;
            sum = 0;
        }
    }
    *number = sum;
    return too_large ? NUMBER_TOO_LARGE : NUMBER_OK;
}

static void set_log(const struct config_target *target, const struct config_value *value)
{
    char quote[CONFIG_QUOTE_SIZE];

    if (config_value_is(value, "quiet"))
        target->config->log = CONFIG_LOG_QUIET;
    else if (config_value_is(value, "info"))
        target->config->log = CONFIG_LOG_INFO;
    else if (config_value_is(value, "debug"))
        target->config->log = CONFIG_LOG_DEBUG;
    else
        config_error(target->log, value->pos, "unknown log level '%s': quiet, info or debug",
                     config_quote(quote, value->text, value->length));
}

static void set_path(const struct config_target *target, const struct config_value *value,
                     const char *key, char *path)
{
    char quote[CONFIG_QUOTE_SIZE];

    if (value->length > CONFIG_PATH_MAX) {
        config_error(target->log, value->pos, "path of %s is longer than %d bytes", key,
                     CONFIG_PATH_MAX);
        return;
    }
    memcpy(path, value->text, value->length);
    path[value->length] = '\0';
    const char *name = config_module_name(path);
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        path[0] = '\0';
        config_error(target->log, value->pos, "%s '%s' names a folder, not a file", key,
                     config_quote(quote, value->text, value->length));
    } else if (name[0] == '.' || strchr(name, '\t') != NULL) {
        config_error(target->log, value->pos, "%s '%s': %s, so it would not be found at boot: "
                     "rename it", key, config_quote(quote, value->text, value->length),
                     name[0] == '.' ? "its name begins with a dot" : "its name has a tab");
        path[0] = '\0';
    }
}

static void set_image(const struct config_target *target, const struct config_value *value)
{
    set_path(target, value, "image", target->vm->image);
}

static void set_initrd(const struct config_target *target, const struct config_value *value)
{
    set_path(target, value, "initrd", target->vm->initrd);
}

static size_t skip_blanks(const struct config_value *value, size_t at)
{
    while (at < value->length && is_blank(value->text[at]))
        at++;
    return at;
}

// The first word is the file, the rest its command line; the blanks between them are left out.
static void set_module(const struct config_target *target, const struct config_value *value)
{
    struct config_vm *vm = target->vm;
    size_t start = skip_blanks(value, 0), end = start, rest;
    char path[CONFIG_PATH_MAX + 1];

    while (end < value->length && !is_blank(value->text[end]))
        end++;
    rest = skip_blanks(value, end);
    if (end == start) {
        config_error(target->log, value->pos, "module names no file");
        return;
    }
    const struct config_value file = {value->text + start, end - start, value->pos};
    path[0] = '\0';
    set_path(target, &file, "module", path);
    if (path[0] == '\0')
        return;
    if (vm->n_modules == CONFIG_MAX_MODULES) {
        config_error(target->log, value->pos, "more than %d modules in one VM",
                     CONFIG_MAX_MODULES);
        return;
    }
    size_t length = value->length - rest;
    if (file.length + length + 2 > CONFIG_MODULE_TEXT - vm->module_text_used) {
        config_error(target->log, value->pos,
                     "the modules of this VM take more than %d bytes of text", CONFIG_MODULE_TEXT);
        return;
    }
    // The text is zeroed, so each part has its end.
    struct config_module *module = &vm->modules[vm->n_modules++];
    module->pos = value->pos;
    module->path = (uint16_t)vm->module_text_used;
    module->cmdline = (uint16_t)(module->path + file.length + 1);
    memcpy(vm->module_text + module->path, path, file.length);
    memcpy(vm->module_text + module->cmdline, value->text + rest, length);
    vm->module_text_used = (uint32_t)(module->cmdline + length + 1);
}

static void set_cmdline(const struct config_target *target, const struct config_value *value)
{
    struct config_vm *vm = target->vm;

    memcpy(vm->cmdline, value->text, value->length);
    vm->cmdline[value->length] = '\0';
}

static unsigned suffix_shift(char suffix)
{
    switch (suffix) {
    case 'K':
    case 'k':
        return 10;
    case 'M':
    case 'm':
        return 20;
    case 'G':
    case 'g':
        return 30;
    default:
        return 0;
    }
}

bool config_parse_hex(const char *text, size_t length, uint64_t *number)
{
    static const char digits[] = "0123456789abcdefABCDEF";

    *number = 0;
    for (size_t i = 0; i < length; i++) {
        const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        if (digit == NULL || *number >> 60 != 0)
            return false;
        uint64_t value = (uint64_t)(digit - digits);
        *number = *number << 4 | (value < 16 ? value : value - 6);
    }
    return length > 0;
}

static void set_load(const struct config_target *target, const struct config_value *value)
{
    char quote[CONFIG_QUOTE_SIZE];
    uint64_t number = 0;
    bool good = false;

    if (value->length > 2 && value->text[0] == '0' && (value->text[1] | 0x20) == 'x') {
        good = config_parse_hex(value->text + 2, value->length - 2, &number);
    } else {
        unsigned shift = suffix_shift(value->text[value->length - 1]);
        size_t digits = value->length - (shift != 0);
        good = config_parse_number(value->text, digits, &number) == NUMBER_OK &&
               number <= UINT64_MAX >> shift;
        number <<= shift;
    }
    config_quote(quote, value->text, value->length);
    if (!good) {
        config_error(target->log, value->pos,
                     "bad address '%s' for load: write 0x and hexadecimal digits, or digits and "
                     "K, M or G, such as 1M", quote);
        return;
    }
    if (number > UINT32_MAX) {
        config_error(target->log, value->pos, "load = %s is not below 4 GB", quote);
        return;
    }
    target->vm->flat = true;
    target->vm->flat_gpa = number;
}

static void set_memory(const struct config_target *target, const struct config_value *value)
{
    char quote[CONFIG_QUOTE_SIZE];
    uint64_t number = 0;
    unsigned shift = suffix_shift(value->text[value->length - 1]);
    size_t digits = value->length - (shift != 0);
    enum config_number result = config_parse_number(value->text, digits, &number);

    config_quote(quote, value->text, value->length);
    if (result == NUMBER_BAD) {
        config_error(target->log, value->pos,
                     "bad size '%s': write digits and K, M or G, such as 256M", quote);
        return;
    }
    if (result == NUMBER_TOO_LARGE || number > CONFIG_MEMORY_MAX >> shift) {
        config_error(target->log, value->pos, "memory = %s is too much: at most 512G", quote);
        return;
    }
    uint64_t size = number << shift;
    if (size < CONFIG_MEMORY_MIN) {
        const char *hint = shift == 0 && number != 0 ? "; a number alone means bytes" : "";
        config_error(target->log, value->pos, "memory = %s is too little: at least 4M%s", quote,
                     hint);
        return;
    }
    if (size % 4096 != 0) {
        config_error(target->log, value->pos, "memory = %s is not a multiple of 4K", quote);
        return;
    }
    target->vm->memory = size;
}

static void set_vcpus(const struct config_target *target, const struct config_value *value)
{
    char quote[CONFIG_QUOTE_SIZE];
    uint64_t number = 0;
    enum config_number result = config_parse_number(value->text, value->length, &number);

    config_quote(quote, value->text, value->length);
    if (result == NUMBER_BAD) {
        config_error(target->log, value->pos, "bad number '%s' for vcpus", quote);
        return;
    }
    if (result == NUMBER_TOO_LARGE || number > CONFIG_MAX_VCPUS) {
        config_error(target->log, value->pos,
                     "vcpus = %s is too many: a VM has at most %d", quote, CONFIG_MAX_VCPUS);
        return;
    }
    if (number == 0) {
        config_error(target->log, value->pos, "vcpus = 0: a VM needs at least one");
        return;
    }
    target->vm->vcpus = (uint32_t)number;
}

static void add_core(const struct config_target *target, struct config_pos pos, const char *text,
                     size_t length)
{
    struct config_vm *vm = target->vm;
    char quote[CONFIG_QUOTE_SIZE];
    uint64_t number = 0;
    enum config_number result = config_parse_number(text, length, &number);

    config_quote(quote, text, length);
    if (result == NUMBER_BAD) {
        config_error(target->log, pos,
                     "bad core number '%s': cores is a list of numbers, such as 0 1", quote);
        return;
    }
    if (result == NUMBER_TOO_LARGE || number >= CONFIG_MAX_CORES) {
        config_error(target->log, pos, "core %s is too large: cores are numbered 0 to %d", quote,
                     CONFIG_MAX_CORES - 1);
        return;
    }
    for (uint32_t i = 0; i < vm->n_cores; i++) {
        if (vm->cores[i] == number) {
            config_error(target->log, pos, "core %s is listed twice", quote);
            return;
        }
    }
    vm->cores[vm->n_cores++] = (uint8_t)number;
}

static bool separates_cores(char c)
{
    return c == ' ' || c == '\t' || c == ',';
}

static void set_cores(const struct config_target *target, const struct config_value *value)
{
    uint32_t errors = target->log->errors;
    size_t at = 0;

    // One bad core is reported, not each: a long list of noise is one mistake.
    while (at < value->length && target->log->errors == errors) {
        if (separates_cores(value->text[at])) {
            at++;
            continue;
        }
        size_t start = at;
        while (at < value->length && !separates_cores(value->text[at]))
            at++;
        struct config_pos pos = value->pos;
        pos.column += (uint32_t)start;
        add_core(target, pos, value->text + start, at - start);
    }
    if (target->vm->n_cores == 0 && target->log->errors == errors)
        config_error(target->log, value->pos, "cores lists no core");
}

// -> percent, or 0, and that has been said
static uint32_t parse_share(const struct config_target *target, const struct config_value *value)
{
    char quote[CONFIG_QUOTE_SIZE];
    uint64_t number = 0;
    size_t digits = value->length;

    if (value->text[digits - 1] == '%')
        digits--;
    while (digits > 0 && value->text[digits - 1] == ' ')
        digits--;
    enum config_number result = config_parse_number(value->text, digits, &number);
    config_quote(quote, value->text, value->length);
    if (result == NUMBER_BAD) {
        config_error(target->log, value->pos, "bad share '%s': write a percentage, such as 25%%",
                     quote);
        return 0;
    }
    if (result == NUMBER_TOO_LARGE || number < 1 || number > 100) {
        config_error(target->log, value->pos, "share = %s is not from 1%% to 100%%", quote);
        return 0;
    }
    return (uint32_t)number;
}

static void set_share(const struct config_target *target, const struct config_value *value)
{
    target->vm->share = parse_share(target, value);
}

static void set_system_share(const struct config_target *target, const struct config_value *value)
{
    uint32_t share = parse_share(target, value);

    if (share != 0)
        target->config->system_share = share;
}

// Each divides the next, so shares of a core can be kept up to all of it.
static void parse_period(const struct config_target *target, const struct config_value *value,
                         uint32_t *period_us)
{
    char quote[CONFIG_QUOTE_SIZE];

    if (config_value_is(value, "1ms"))
        *period_us = 1000;
    else if (config_value_is(value, "2ms"))
        *period_us = 2000;
    else if (config_value_is(value, "10ms"))
        *period_us = 10000;
    else
        config_error(target->log, value->pos, "unknown period '%s': 1ms, 2ms or 10ms",
                     config_quote(quote, value->text, value->length));
}

static void set_period(const struct config_target *target, const struct config_value *value)
{
    parse_period(target, value, &target->vm->period_us);
}

static void set_system_period(const struct config_target *target, const struct config_value *value)
{
    parse_period(target, value, &target->config->system_period_us);
}

static void set_ticks(const struct config_target *target, const struct config_value *value)
{
    char quote[CONFIG_QUOTE_SIZE];

    if (!config_value_is(value, "coalesce") && !config_value_is(value, "catch-up"))
        config_error(target->log, value->pos, "unknown policy '%s' for ticks: coalesce or catch-up",
                     config_quote(quote, value->text, value->length));
    target->vm->catch_up = config_value_is(value, "catch-up");
}

static bool is_yes(const struct config_target *t, const struct config_value *value, const char *key)
{
    char quote[CONFIG_QUOTE_SIZE];

    if (!config_value_is(value, "yes") && !config_value_is(value, "no"))
        config_error(t->log, value->pos, "%s = %s is neither yes nor no", key,
                     config_quote(quote, value->text, value->length));
    return config_value_is(value, "yes");
}

static void set_hpet(const struct config_target *target, const struct config_value *value)
{
    target->vm->hpet = is_yes(target, value, "hpet");
}

static void set_autostart(const struct config_target *target, const struct config_value *value)
{
    target->vm->autostart = is_yes(target, value, "autostart");
}

static void set_testdev(const struct config_target *target, const struct config_value *value)
{
    target->vm->testdev = is_yes(target, value, "testdev");
}

const struct config_schema config_schema[CONFIG_KEYS] = {
    [CONFIG_KEY_LOG]     = {"log",     CONFIG_SECTION_SYSTEM, false, false, set_log},
    [CONFIG_KEY_CONSOLE] = {"console", CONFIG_SECTION_SYSTEM, false, false, config_set_console},
    [CONFIG_KEY_SYSTEM_SHARE]  = {"share",  CONFIG_SECTION_SYSTEM, false, false, set_system_share},
    [CONFIG_KEY_SYSTEM_PERIOD] = {"period", CONFIG_SECTION_SYSTEM, false, false,
                                  set_system_period},
    [CONFIG_KEY_IMAGE]   = {"image",   CONFIG_SECTION_VM,     false, false, set_image},
    [CONFIG_KEY_INITRD]  = {"initrd",  CONFIG_SECTION_VM,     false, false, set_initrd},
    [CONFIG_KEY_MODULE]  = {"module",  CONFIG_SECTION_VM,     false, true,  set_module},
    [CONFIG_KEY_LOAD]    = {"load",    CONFIG_SECTION_VM,     false, false, set_load},
    [CONFIG_KEY_ENTRY]   = {"entry",   CONFIG_SECTION_VM,     false, false, config_set_entry},
    [CONFIG_KEY_CMDLINE] = {"cmdline", CONFIG_SECTION_VM,     true,  false, set_cmdline},
    [CONFIG_KEY_MEMORY]  = {"memory",  CONFIG_SECTION_VM,     false, false, set_memory},
    [CONFIG_KEY_VCPUS]   = {"vcpus",   CONFIG_SECTION_VM,     false, false, set_vcpus},
    [CONFIG_KEY_CORES]   = {"cores",   CONFIG_SECTION_VM,     false, false, set_cores},
    [CONFIG_KEY_SHARE]   = {"share",   CONFIG_SECTION_VM,     false, false, set_share},
    [CONFIG_KEY_PERIOD]  = {"period",  CONFIG_SECTION_VM,     false, false, set_period},
    [CONFIG_KEY_TICKS]   = {"ticks",   CONFIG_SECTION_VM,     false, false, set_ticks},
    [CONFIG_KEY_RESTART] = {"restart", CONFIG_SECTION_VM,     false, false, config_set_restart},
    [CONFIG_KEY_RESTART_LIMIT] = {"restart-limit", CONFIG_SECTION_VM, false, false,
                                  config_set_restart_limit},
    [CONFIG_KEY_AUTOSTART] = {"autostart", CONFIG_SECTION_VM, false,  false, set_autostart},
    [CONFIG_KEY_HPET]    = {"hpet",    CONFIG_SECTION_VM,     false, false, set_hpet},
    [CONFIG_KEY_TESTDEV] = {"testdev", CONFIG_SECTION_VM,     false, false, set_testdev},
    [CONFIG_KEY_WATCHDOG] = {"watchdog", CONFIG_SECTION_VM,   false, false, config_set_watchdog},
};

enum config_key config_schema_find(enum config_section section, const char *name, size_t length)
{
    for (unsigned key = 0; key < CONFIG_KEYS; key++) {
        const struct config_schema *row = &config_schema[key];
        if (row->section == section && strlen(row->name) == length &&
            memcmp(row->name, name, length) == 0)
            return (enum config_key)key;
    }
    return CONFIG_KEYS;
}

void config_schema_unknown(struct config_log *log, struct config_pos pos,
                           enum config_section section, const char *section_text,
                           const char *name, size_t length)
{
    char quote[CONFIG_QUOTE_SIZE], hint[CONFIG_QUOTE_SIZE];
    const char *words[CONFIG_KEYS];
    size_t count = 0;
    enum config_section other =
        section == CONFIG_SECTION_VM ? CONFIG_SECTION_SYSTEM : CONFIG_SECTION_VM;

    config_quote(quote, name, length);
    if (config_schema_find(other, name, length) != CONFIG_KEYS) {
        config_error(log, pos, "key '%s' does not belong in %s but in %s", quote, section_text,
                     other == CONFIG_SECTION_VM ? "a [vm NAME] section" : "[system]");
        return;
    }
    for (unsigned key = 0; key < CONFIG_KEYS; key++) {
        if (config_schema[key].section == section)
            words[count++] = config_schema[key].name;
    }
    config_error(log, pos, "unknown key '%s' in %s%s", quote, section_text,
                 config_suggest(hint, name, length, words, count));
}

void config_schema_defaults(struct config_vm *vm)
{
    memset(vm, 0, sizeof(*vm));
    vm->memory = CONFIG_MEMORY_DEFAULT;
    vm->vcpus = 1;
    vm->period_us = CONFIG_PERIOD_DEFAULT;
    vm->restart = CONFIG_RESTART_NEVER;
    vm->restarts = CONFIG_RESTARTS_DEFAULT;
    vm->restart_window_s = CONFIG_RESTART_WINDOW_DEFAULT;
    vm->autostart = true;
    vm->format = CONFIG_FORMAT_UNKNOWN;
    vm->core = -1;
}
