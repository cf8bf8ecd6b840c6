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

// Copies all segments to their physical addresses plus `shift`. -> the end of the highest one
// below 4 GB, or 0
bool elf_load(struct load *load, const struct elf_file *elf, uint64_t shift, uint64_t *end);

// The entry point of the ELF header as a physical address, without shift.
bool elf_entry(struct load *load, const struct elf_file *elf, uint64_t *entry);

// Whether a segment holds that physical address, without shift.
bool elf_holds(const struct elf_file *elf, uint64_t gpa);

// From the lowest to the highest physical address. False: an end lies beyond 2^64.
bool elf_extent(const struct elf_file *elf, uint64_t *low, uint64_t *high);

struct elf_note_key {
    const char *name;
    uint64_t name_bytes; // with the zero
    uint64_t type;
};

// The number that a note holds.
struct elf_note {
    uint64_t offset, bytes; // in the file
    uint64_t value;         // 0 unless it has 4 or 8 bytes
};

// Looks for a note in a file that elf_detect() took for ELF. False: there is none.
bool elf_find_note(const struct load_file *file, const struct elf_note_key *key,
                   struct elf_note *note);
