// SPDX-License-Identifier: BSD-2-Clause
// What the typed keys mean: everything goes to a VM except what follows Ctrl-]. Pure logic.
//   Ctrl-] 1..9     that VM alone            Ctrl-] NAME Enter   likewise, by name or number
//   Ctrl-] a        all VMs (merged)         Ctrl-] m            the monitor
//   Ctrl-] t        times on or off          Ctrl-] ?            help
//   Ctrl-] Ctrl-]   a literal Ctrl-]         Esc, Ctrl-C         never mind
// A name that begins with a, m, t or a digit is typed behind `=`: Ctrl-] = alpine Enter.
#pragma once
#include <stdint.h>

#define KEYS_ESCAPE   0x1d // Ctrl-]
#define KEYS_NAME_MAX 15u

enum keys_action {
    KEYS_NONE,
    KEYS_BYTE,    // `byte` is for the VM
    KEYS_FOCUS,   // VM number `number`, 1 is the first
    KEYS_NAMED,   // the VM called `name`; `number` if the name is one, else 0
    KEYS_ALL,
    KEYS_MONITOR,
    KEYS_TIMES,
    KEYS_HELP,
    KEYS_UNKNOWN, // Ctrl-] and a key that means nothing
};

enum keys_state { KEYS_PLAIN, KEYS_COMMAND, KEYS_NAME };

// All zero at the start.
struct keys {
    uint8_t state;
    uint8_t byte;
    uint8_t len;
    uint32_t number;
    char name[KEYS_NAME_MAX + 1];
};

enum keys_action keys_feed(struct keys *keys, uint8_t byte);
