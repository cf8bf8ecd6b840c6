// SPDX-License-Identifier: BSD-2-Clause
// Small ELF files for tests of loaders: a header, program headers and recognisable bytes.
#pragma once
#include <stdint.h>
#include <string.h>

#define ELF_FILE_BYTES 0x3000u

struct elf_file_phdr {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

static inline void elf_file_put(uint8_t *file, uint32_t offset, uint64_t value, uint32_t size)
{
    memcpy(file + offset, &value, size);
}

static inline void elf_file_phdr(uint8_t *file, uint32_t index, struct elf_file_phdr phdr)
{
    memcpy(file + 64 + index * 56, &phdr, sizeof(phdr));
}

// Text at 0x400000 (R X), constants at 0x401000 (R), data and 64 KB of zeroes at 0x402010 (R W).
static inline void elf_file_make(uint8_t file[ELF_FILE_BYTES])
{
    memset(file, 0xcc, ELF_FILE_BYTES);
    memset(file, 0, 64 + 4 * 56);
    memcpy(file, "\177ELF\2\1\1", 7);
    elf_file_put(file, 16, 2, 2);         // ET_EXEC
    elf_file_put(file, 18, 62, 2);        // EM_X86_64
    elf_file_put(file, 20, 1, 4);
    elf_file_put(file, 24, 0x400200, 8);  // entry
    elf_file_put(file, 32, 64, 8);        // phoff
    elf_file_put(file, 54, 56, 2);
    elf_file_put(file, 56, 3, 2);         // phnum
    elf_file_phdr(file, 0, (struct elf_file_phdr){1, 5, 0, 0x400000, 0, 0x800, 0x800, 4096});
    elf_file_phdr(file, 1, (struct elf_file_phdr){1, 4, 0x1000, 0x401000, 0, 0x20, 0x20, 4096});
    elf_file_phdr(file, 2, (struct elf_file_phdr){1, 6, 0x2010, 0x402010, 0, 0x30, 0x10030, 4096});
    memcpy(file + 0x200, "code", 4);
    memcpy(file + 0x1000, "constant", 8);
    memcpy(file + 0x2010, "data", 4);
}
