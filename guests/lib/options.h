// SPDX-License-Identifier: BSD-2-Clause
//
// The command line: words `key=value` or plain `flag`, parted by blanks. Words that nobody asks for
// (the image's own name, which some loaders put in front) are ignored.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_SIZE 512 // bytes of command line that are kept

// Copies the command line; NULL means an empty one.
void options_init(const char *command_line);

// The value of the last `key=value`, or NULL. Valid until the guest ends.
const char *option(const char *key);

// True if the plain word is there.
bool option_flag(const char *flag);

// A decimal or 0x number. A value that is no number in [min, max] ends the guest with a message.
uint64_t option_number(const char *key, uint64_t otherwise, uint64_t min, uint64_t max);
