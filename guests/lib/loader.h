// SPDX-License-Identifier: BSD-2-Clause
//
// What the boot loader told the guest, in whichever protocol: multiboot 1 (flat binaries too),
// multiboot 2, PVH.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LOADER_MODULES_MAX 20
#define LOADER_TEXT_SIZE   8192

struct loader_module {
    uint64_t start, bytes;
    const char *text;            // "" for none
};

struct loader_info {
    const char *protocol, *name; // name: the loader's, "" if it has not told it
    const char *command_line;
    uint64_t memory_end;         // of RAM from 1 MB up, below 4 GB
    uint64_t usable;             // bytes of RAM in the memory map
    uint64_t rsdp;               // gpa of ACPI's root pointer, or of a copy; 0: not told
    unsigned int modules;
    struct loader_module module[LOADER_MODULES_MAX];
};

// Reads what EAX and EBX held at the entry. False: no known protocol, or it lacks something.
bool loader_read(uint32_t magic, uint32_t information);

// What was read. Strings are copies; modules are where the loader has put them.
const struct loader_info *loader_info(void);
