// SPDX-License-Identifier: BSD-2-Clause
//
// Bounded reading of ELF executables of both classes, normalised to 64 bits. Follows the System V
// ABI, "ELF Header" and "Program Header". Keeps no state; runs on the VMM's only thread.
#pragma once

#include "vmm/load/load.h"

enum { ELF_SEGMENT_MAX = 64 };

struct elf_segment {
    uint64_t offset, file_bytes;
    uint64_t virtual_address, physical_address, memory_bytes;
};

struct elf_file {
    uint64_t entry;
    unsigned segments; // loadable ones, empty ones left out
    struct elf_segment segment[ELF_SEGMENT_MAX];
};

bool elf_detect(const struct load_file *file);

// Reads the headers of load->image; what the segments say is not checked yet.
bool elf_open(struct load *load, struct elf_file *elf);

// Copies all segments to their physical addresses. -> *entry, as a physical address, and the end
// of the highest segment
bool elf_load(struct load *load, const struct elf_file *elf, uint64_t *entry, uint64_t *end);
