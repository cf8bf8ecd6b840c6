// SPDX-License-Identifier: BSD-2-Clause
//
// What both versions of multiboot have: the address fields for images that are not ELF. And the
// information structure of version 1, which flat binaries get too.
// Keeps no state; runs on the VMM's only thread.
#pragma once

#include "vmm/load/load.h"

#define MULTIBOOT1_LOADER_MAGIC 0x2BADB002u

// As the header has them: 32-bit numbers.
struct multiboot_addresses {
    uint64_t header_offset; // in the file
    uint64_t header, load, load_end, bss_end;
};

// One part of the file, which goes to one place.
struct multiboot_part {
    uint64_t offset, bytes, gpa, memory_bytes;
};

// False: the fields contradict each other. What they say of the file's size is not checked yet.
bool multiboot_part(struct load *load, const struct multiboot_addresses *a,
                    struct multiboot_part *part);

// Writes the information structure of version 1, and copies the modules behind `end`.
bool multiboot1_info(struct load *load, uint64_t end);

// Registers and segments of "Machine state", the same in both versions. `entry` is where it begins.
bool multiboot_state(struct load *load, uint64_t entry, uint32_t magic, uint64_t information);
