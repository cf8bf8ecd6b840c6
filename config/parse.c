// SPDX-License-Identifier: BSD-2-Clause
//
// Reads the text of a config file: lines, comments, quotes, sections and keys. The input is not
// trusted and may be noise; each line is looked at a bounded number of times. State is a struct
// parser on the stack of config_parse and the caller's struct config.
#include "config/schema.h"

#include <stdio.h>
#include <string.h>

// The longest value of all keys.
#define VALUE_SIZE CONFIG_CMDLINE_MAX

struct parser {
    struct config_target target;
    struct config_log log;
    enum config_section section;
    char section_text[CONFIG_QUOTE_SIZE];    // "[vm web]"
    uint32_t line;
    const char *text;                        // of the line, from the first to the last byte
    size_t length;
    uint32_t vm_headers;                     // seen, sensible or not
    char value[VALUE_SIZE];                  // of the line, unquoted
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '-';
}

static struct config_pos pos_at(const struct parser *parser, size_t offset)
{
    return (struct config_pos){parser->line, (uint32_t)offset + 1};
}

static size_t skip_blanks(const struct parser *parser, size_t at)
{
    while (at < parser->length && is_blank(parser->text[at]))
        at++;
    return at;
}

// Where the comment starts that follows `at`, or the end of the line; blanks before it are left
// out. A comment starts at the first # that begins the line or follows a blank.
static size_t end_before_comment(const struct parser *parser, size_t at)
{
    size_t end = at;

    while (end < parser->length &&
           !(parser->text[end] == '#' && (end == 0 || is_blank(parser->text[end - 1]))))
        end++;
    while (end > at && is_blank(parser->text[end - 1]))
        end--;
    return end;
}

// Reports the first byte in [at, end) that no text holds.
static bool has_control(struct parser *parser, size_t at, size_t end)
{
    for (; at < end; at++) {
        if (!is_control(parser->text[at]))
            continue;
        unsigned byte = (unsigned char)parser->text[at];
        config_error(&parser->log, pos_at(parser, at), "%s (0x%02x): is this a text file?",
                     byte == 0 ? "NUL byte" : "control character", byte);
        return true;
    }
    return false;
}

// After an error, the keys of the section are passed over: they may belong anywhere.
static void enter_unknown(struct parser *parser)
{
    parser->section = CONFIG_SECTION_UNKNOWN;
    parser->target.vm = NULL;
}

static const struct config_vm *find_vm(const struct config *config, const char *name,
                                       size_t length)
{
    for (uint32_t i = 0; i < config->n_vms; i++) {
        const struct config_vm *vm = &config->vms[i];
        if (strlen(vm->name) == length && memcmp(vm->name, name, length) == 0)
            return vm;
    }
    return NULL;
}

// Whether [vm NAME] may become a VM; if not, says why.
static bool name_is_good(struct parser *parser, size_t at, size_t length)
{
    char quote[CONFIG_QUOTE_SIZE];
    const char *name = parser->text + at;
    bool only_digits = true;

    config_quote(quote, name, length);
    for (size_t i = 0; i < length; i++) {
        if (!is_name(name[i])) {
            config_error(&parser->log, pos_at(parser, at + i),
                         "bad VM name '%s': letters, digits, _ and - make a name", quote);
            return false;
        }
        only_digits = only_digits && name[i] >= '0' && name[i] <= '9';
    }
    if (length > CONFIG_NAME_MAX) {
        config_error(&parser->log, pos_at(parser, at), "VM name '%s' is longer than %d characters",
                     quote, CONFIG_NAME_MAX);
        return false;
    }
    if (only_digits) {
        config_error(&parser->log, pos_at(parser, at),
                     "VM name '%s' has digits only: these select a console; add a letter", quote);
        return false;
    }
    if (length == strlen(CONFIG_MANAGER_NAME) && memcmp(name, CONFIG_MANAGER_NAME, length) == 0) {
        config_error(&parser->log, pos_at(parser, at),
                     "VM name '%s' is the manager's own: choose another", quote);
        return false;
    }
    const struct config_vm *first = find_vm(parser->target.config, name, length);
    if (first != NULL) {
        config_error(&parser->log, pos_at(parser, at), "VM '%s' again (first defined at line %u)",
                     quote, (unsigned)first->pos.line);
        return false;
    }
    if (parser->target.config->n_vms == CONFIG_MAX_VMS) {
        config_error(&parser->log, pos_at(parser, at), "VM '%s' is one too many: at most %d",
                     quote, CONFIG_MAX_VMS);
        return false;
    }
    return true;
}

// The name is the bytes [at, at + length) of the line; `header` is the offset of the bracket.
static void enter_vm(struct parser *parser, size_t header, size_t at, size_t length)
{
    struct config *config = parser->target.config;
    struct config_vm *vm = &config->vms[config->n_vms];
    char quote[CONFIG_QUOTE_SIZE];

    parser->vm_headers++;
    if (length == 0) {
        config_error(&parser->log, pos_at(parser, header), "VM without a name: write [vm NAME]");
        enter_unknown(parser);
        return;
    }
    config_schema_defaults(vm);
    vm->pos = pos_at(parser, header);
    parser->section = CONFIG_SECTION_VM;
    parser->target.vm = vm;
    snprintf(parser->section_text, sizeof(parser->section_text), "[vm %.50s]",
             config_quote(quote, parser->text + at, length));
    if (!name_is_good(parser, at, length))
        return;
    memcpy(vm->name, parser->text + at, length);
    vm->name[length] = '\0';
    config->n_vms++;
}

static void enter_other(struct parser *parser, size_t header, size_t start, size_t end)
{
    static const char *const words[] = {"system", "vm"};
    char quote[CONFIG_QUOTE_SIZE], hint[CONFIG_QUOTE_SIZE];
    size_t word_end = start;

    while (word_end < end && !is_blank(parser->text[word_end]))
        word_end++;
    if (word_end - start == 6 && memcmp(parser->text + start, "system", 6) == 0) {
        if (word_end != end) {
            config_error(&parser->log, pos_at(parser, header), "[system] has no name");
            enter_unknown(parser);
            return;
        }
        parser->section = CONFIG_SECTION_SYSTEM;
        parser->target.vm = NULL;
        memcpy(parser->section_text, "[system]", sizeof("[system]"));
        return;
    }
    config_error(&parser->log, pos_at(parser, header), "unknown section [%s]%s",
                 config_quote(quote, parser->text + start, end - start),
                 config_suggest(hint, parser->text + start, word_end - start, words, 2));
    enter_unknown(parser);
}

static void parse_header(struct parser *parser, size_t at, size_t end)
{
    size_t start = skip_blanks(parser, at + 1);
    const char *close = memchr(parser->text + at, ']', end - at);

    if (has_control(parser, at, end)) {
        enter_unknown(parser);
        return;
    }
    if (close == NULL) {
        config_error(&parser->log, pos_at(parser, at), "section header without ]");
        enter_unknown(parser);
        return;
    }
    size_t stop = (size_t)(close - parser->text);
    if (stop + 1 != end) {
        config_error(&parser->log, pos_at(parser, stop + 1),
                     "text after the section header: a key goes on a line of its own");
        enter_unknown(parser);
        return;
    }
    while (stop > start && is_blank(parser->text[stop - 1]))
        stop--;
    bool is_vm = stop >= start + 2 && memcmp(parser->text + start, "vm", 2) == 0 &&
                 (stop == start + 2 || is_blank(parser->text[start + 2]));
    if (is_vm) {
        size_t name = skip_blanks(parser, start + 2);
        enter_vm(parser, at, name, name < stop ? stop - name : 0);
    } else {
        enter_other(parser, at, start, stop);
    }
}

// Unquotes the value that starts with a quote at `at` into parser->value. When `value->length`
// comes out larger than the buffer, the value is too long and only its start was stored.
static bool parse_quoted(struct parser *parser, size_t at, struct config_value *value)
{
    size_t open = at++;

    for (;; at++) {
        if (at == parser->length) {
            config_error(&parser->log, pos_at(parser, open), "quote is not closed on this line");
            return false;
        }
        char c = parser->text[at];
        if (c == '"')
            break;
        if (c == '\\') {
            char next = '\0';
            if (at + 1 < parser->length)
                next = parser->text[at + 1];
            if (next != '"' && next != '\\') {
                config_error(&parser->log, pos_at(parser, at),
                             "in quotes a backslash stands only before \" and \\");
                return false;
            }
            c = next;
            at++;
        }
        if (value->length < VALUE_SIZE)
            parser->value[value->length] = c;
        value->length++;
    }
    if (has_control(parser, open, at))
        return false;
    size_t rest = skip_blanks(parser, at + 1);
    if (rest == parser->length || (parser->text[rest] == '#' && rest > at + 1))
        return true;
    config_error(&parser->log, pos_at(parser, rest), "text after the closing quote");
    return false;
}

static bool parse_value(struct parser *parser, size_t at, struct config_value *value)
{
    at = skip_blanks(parser, at);
    value->text = parser->value;
    value->length = 0;
    value->pos = pos_at(parser, at);
    if (at < parser->length && parser->text[at] == '"') {
        value->pos = pos_at(parser, at + 1);
        if (!parse_quoted(parser, at, value))
            return false;
    } else {
        size_t end = end_before_comment(parser, at);
        if (has_control(parser, at, end))
            return false;
        value->length = end - at;
        memcpy(parser->value, parser->text + at,
               value->length < VALUE_SIZE ? value->length : VALUE_SIZE);
    }
    if (value->length <= CONFIG_CMDLINE_MAX)
        return true;
    config_error(&parser->log, value->pos, "value is longer than %d bytes", CONFIG_CMDLINE_MAX);
    return false;
}

// `at` is the key, `equals` the offset of the equals sign.
static void parse_assignment(struct parser *parser, size_t at, size_t equals)
{
    struct config_target *target = &parser->target;
    struct config_value value;
    size_t end = equals;

    while (end > at && is_blank(parser->text[end - 1]))
        end--;
    struct config_pos pos = pos_at(parser, at);
    if (parser->section == CONFIG_SECTION_NONE) {
        config_error(&parser->log, pos, "key before the first section: [vm NAME] comes first");
        return;
    }
    if (end == at) {
        config_error(&parser->log, pos, "no key before the equals sign");
        return;
    }
    enum config_key key = config_schema_find(parser->section, parser->text + at, end - at);
    if (key == CONFIG_KEYS) {
        config_schema_unknown(&parser->log, pos, parser->section, parser->section_text,
                              parser->text + at, end - at);
        return;
    }
    struct config_pos *key_pos =
        target->vm != NULL ? target->vm->key_pos : target->config->system_pos;
    if (key_pos[key].line != 0 && !config_schema[key].repeatable) {
        config_error(&parser->log, pos, "key '%s' again in %s (first defined at line %u)",
                     config_schema[key].name, parser->section_text,
                     (unsigned)key_pos[key].line);
        return;
    }
    key_pos[key] = pos;
    if (!parse_value(parser, equals + 1, &value))
        return;
    if (target->vm != NULL)
        target->vm->value_pos[key] = value.pos;
    if (value.length == 0 && !config_schema[key].may_be_empty) {
        config_error(&parser->log, pos, "key '%s' has no value", config_schema[key].name);
        return;
    }
    config_schema[key].set(target, &value);
}

static void parse_line(struct parser *parser)
{
    size_t at = skip_blanks(parser, 0);
    size_t end = end_before_comment(parser, at);
    uint32_t errors = parser->log.errors;
    char quote[CONFIG_QUOTE_SIZE];

    if (at == end)
        return;
    if (parser->text[at] == '[') {
        parse_header(parser, at, end);
    } else if (parser->section != CONFIG_SECTION_UNKNOWN) {
        const char *equals = memchr(parser->text + at, '=', end - at);
        size_t key_end = equals != NULL ? (size_t)(equals - parser->text) : end;
        if (has_control(parser, at, key_end)) {
            // Said already.
        } else if (equals == NULL) {
            config_error(&parser->log, pos_at(parser, at),
                         "expected 'key = value' or a section header, found '%s'",
                         config_quote(quote, parser->text + at, end - at));
        } else {
            parse_assignment(parser, at, key_end);
        }
    }
    if (parser->log.errors != errors && parser->target.vm != NULL)
        parser->target.vm->bad = true;
}

static void parse_lines(struct parser *parser, const char *text, size_t length)
{
    const char *end = text + length;

    // Some editors start a UTF-8 file with a byte order mark.
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *next = newline != NULL ? newline + 1 : end;
        parser->line++;
        parser->text = text;
        parser->length = (size_t)((newline != NULL ? newline : end) - text);
        if (newline != NULL && parser->length > 0 && text[parser->length - 1] == '\r')
            parser->length--;
        parse_line(parser);
        text = next;
    }
}

// What can be said only when all lines have been seen.
static void parse_end(struct parser *parser)
{
    struct config *config = parser->target.config;

    for (uint32_t i = 0; i < config->n_vms; i++) {
        struct config_vm *vm = &config->vms[i];
        if (vm->key_pos[CONFIG_KEY_IMAGE].line != 0)
            continue;
        config_error(&parser->log, vm->pos, "VM '%s' has no image: add image = FILE", vm->name);
        vm->bad = true;
    }
    if (parser->vm_headers == 0) {
        struct config_pos pos = {parser->line != 0 ? parser->line : 1, 0};
        config_error(&parser->log, pos, "no VM is defined: add a [vm NAME] section with an image");
    }
}

uint32_t config_parse(struct config *config, const char *file, const char *text, size_t length,
                      const struct config_sink *sink)
{
    struct parser parser = {.section = CONFIG_SECTION_NONE};

    memset(config, 0, sizeof(*config));
    config->file = file;
    config->log = CONFIG_LOG_INFO;
    config->console = (struct config_console){.port = CONFIG_COM1, .baud = CONFIG_BAUD_MAX};
    config->system_share = CONFIG_SYSTEM_SHARE_DEFAULT;
    config->system_period_us = CONFIG_SYSTEM_PERIOD_DEFAULT;
    parser.log = (struct config_log){.file = file, .sink = sink};
    parser.target = (struct config_target){.config = config, .log = &parser.log};
    if (length == 0) {
        config_error(&parser.log, (struct config_pos){1, 0},
                     "the file is empty: add a [vm NAME] section with an image");
    } else if (length > CONFIG_FILE_MAX) {
        config_error(&parser.log, (struct config_pos){0, 0}, "the file is larger than %u MB",
                     CONFIG_FILE_MAX >> 20);
    } else {
        parse_lines(&parser, text, length);
        parse_end(&parser);
    }
    config_log_finish(&parser.log);
    return parser.log.errors;
}
