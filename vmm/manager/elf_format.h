// SPDX-License-Identifier: BSD-2-Clause
// The parts of the ELF-64 format that a static executable for x86-64 has (System V ABI, "Object
// Files" and "Program Loading").
#pragma once
#include <stdint.h>

struct elf64_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf64_phdr {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
_Static_assert(sizeof(struct elf64_header) == 64 && sizeof(struct elf64_phdr) == 56, "the ABI's");

#define ELF64_IDENT "\177ELF\2\1\1" // 7 bytes: 64-bit, little-endian, version 1
enum { ELF_EXEC = 2, ELF_X86_64 = 62, PT_LOAD = 1, PT_DYNAMIC = 2, PT_INTERP = 3 };
enum { PF_X = 1, PF_W = 2 };
