// SPDX-License-Identifier: BSD-2-Clause
// Reads the program headers of a static ELF64 executable for x86-64 (System V ABI, "Program
// Loading"). Trusts nothing in the file. Pure logic.
#pragma once
#include <stdint.h>

#define ELF_SEGMENTS_MAX 8u
#define ELF_VA_START     0x400000ull   // above the start block
#define ELF_VA_END       0x10000000ull // below the heap

struct elf_segment {
    uint64_t offset;     // in the file
    uint64_t file_bytes; // to be copied; what follows is zero
    uint64_t va;         // of the first page
    uint64_t lead;       // where in the first page the file's bytes go, below PAGE_SIZE
    uint64_t bytes;      // of memory, whole pages
    uint32_t prot;       // PROT_*; never PROT_WRITE with PROT_EXEC
};

struct elf_image {
    uint64_t entry;
    uint32_t segments;
    struct elf_segment segment[ELF_SEGMENTS_MAX]; // by rising address, no two on one page
};

// Returns NULL, or what is wrong with the file.
const char *elf_parse(struct elf_image *image, const void *file, uint64_t len);

// Makes each system call that is in the code of this segment another instruction: `memory` is a
// copy of the segment, from its va on. Returns NULL, or what is wrong with the file's table of them
// (struct call_table).
const char *elf_fit_calls(const struct elf_image *image, const void *file, uint32_t segment,
                          uint8_t *memory, uint16_t insn);
