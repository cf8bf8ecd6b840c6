// SPDX-License-Identifier: BSD-2-Clause
//
// The value of `console` in [system]: where the host's serial port is. No state of its own.
#include "config/schema.h"

#include <string.h>

// BAUD, behind the comma. False: that has been said.
static bool parse_baud(const struct config_target *target, const struct config_value *value,
                       size_t at, uint32_t *baud)
{
    char quote[CONFIG_QUOTE_SIZE];
    uint64_t number = 0;
    struct config_pos pos = value->pos;

    while (at < value->length && value->text[at] == ' ')
        at++;
    enum config_number result = config_parse_number(value->text + at, value->length - at, &number);
    if (result == NUMBER_OK && number >= 50 && number <= CONFIG_BAUD_MAX &&
        CONFIG_BAUD_MAX % number == 0) {
        *baud = (uint32_t)number;
        return true;
    }
    pos.column += (uint32_t)at;
    config_error(target->log, pos, "bad speed '%s' of the console's port: 115200 or a part of it, "
                 "such as 38400 or 9600",
                 config_quote(quote, value->text + at, value->length - at));
    return false;
}

// com1 to com4, pci, none or a port in hexadecimal; all but none with ",BAUD" if it is not 115200.
void config_set_console(const struct config_target *target, const struct config_value *value)
{
    static const struct {
        const char *name;
        uint16_t port;
        enum config_console_kind kind;
    } words[] = {
        {"com1", CONFIG_COM1, CONFIG_CONSOLE_PORT}, {"com2", CONFIG_COM2, CONFIG_CONSOLE_PORT},
        {"com3", CONFIG_COM3, CONFIG_CONSOLE_PORT}, {"com4", CONFIG_COM4, CONFIG_CONSOLE_PORT},
        {"pci", 0, CONFIG_CONSOLE_PCI}, {"none", 0, CONFIG_CONSOLE_NONE},
    };
    struct config_console console = {.baud = CONFIG_BAUD_MAX};
    const char *comma = memchr(value->text, ',', value->length);
    struct config_value first = *value;
    char quote[CONFIG_QUOTE_SIZE];
    uint64_t port = 0;
    bool known = false;

    first.length = comma != NULL ? (size_t)(comma - value->text) : value->length;
    config_quote(quote, value->text, first.length);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (config_value_is(&first, words[i].name)) {
            known = true;
            console.port = words[i].port;
            console.kind = words[i].kind;
        }
    }
    if (!known) {
        if (first.length < 3 || memcmp(first.text, "0x", 2) != 0 ||
            !config_parse_hex(first.text + 2, first.length - 2, &port)) {
            config_error(target->log, value->pos, "unknown console '%s': com1, com2, com3, com4, "
                         "pci, none, or the first I/O port of a 16550, such as 0x3f8", quote);
            return;
        }
        if (port < 0x100 || port > 0xfff8 || port % 8 != 0 || port == 0xcf8) {
            config_error(target->log, value->pos, "console = %s: a 16550 has eight I/O ports, the "
                         "first a multiple of 8 from 0x100 to 0xfff8, not 0xcf8", quote);
            return;
        }
        console.port = (uint16_t)port;
    }
    if (comma != NULL && console.kind == CONFIG_CONSOLE_NONE) {
        config_error(target->log, value->pos, "console = none has no speed");
        return;
    }
    if (comma == NULL || parse_baud(target, value, first.length + 1, &console.baud))
        target->config->console = console;
}
