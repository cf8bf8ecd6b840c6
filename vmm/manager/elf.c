// SPDX-License-Identifier: BSD-2-Clause
// ELF program headers; see elf.h. No state.
#include <stddef.h>
#include <string.h>
#include "kernel/abi/boot.h"
#include "libc/calls.h"
#include "vmm/manager/elf.h"
#include "vmm/manager/elf_format.h"

enum { ELF_PHDRS_MAX = 32 };

static const char *elf_check_header(const struct elf64_header *header, uint64_t len)
{
    if (memcmp(header->ident, ELF64_IDENT, 7) != 0) {
        return "it is no 64-bit little-endian ELF file";
    }
    if (header->type != ELF_EXEC || header->machine != ELF_X86_64) {
        return "it is no static executable for x86-64";
    }
    if (header->phentsize != sizeof(struct elf64_phdr) || header->phnum > ELF_PHDRS_MAX ||
        header->phoff > len || len - header->phoff < header->phnum * sizeof(struct elf64_phdr)) {
        return "its program headers are out of bounds";
    }
    return NULL;
}

static const char *elf_add_segment(struct elf_image *image, const struct elf64_phdr *phdr,
                                   uint64_t len)
{
    uint64_t lead = phdr->vaddr % PAGE_SIZE;
    if (image->segments == ELF_SEGMENTS_MAX) {
        return "it has too many segments";
    }
    if (phdr->filesz > phdr->memsz || phdr->offset > len || len - phdr->offset < phdr->filesz) {
        return "a segment is out of the file's bounds";
    }
    if (phdr->vaddr < ELF_VA_START || phdr->vaddr >= ELF_VA_END ||
        phdr->memsz > ELF_VA_END - phdr->vaddr) {
        return "a segment lies outside 4 MB to 256 MB";
    }
    if ((phdr->flags & PF_W) && (phdr->flags & PF_X)) {
        return "a segment is writable and executable";
    }
    struct elf_segment segment = {
        .offset = phdr->offset,
        .file_bytes = phdr->filesz,
        .va = phdr->vaddr - lead,
        .lead = lead,
        .bytes = (lead + phdr->memsz + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1),
        .prot = PROT_READ | (phdr->flags & PF_W ? PROT_WRITE : 0) |
                (phdr->flags & PF_X ? PROT_EXEC : 0),
    };
    if (image->segments > 0) {
        const struct elf_segment *last = &image->segment[image->segments - 1];
        if (segment.va < last->va + last->bytes) {
            return "its segments overlap or are not in order";
        }
    }
    image->segment[image->segments++] = segment;
    return NULL;
}

static const char *elf_check_entry(const struct elf_image *image)
{
    for (uint32_t i = 0; i < image->segments; i++) {
        const struct elf_segment *segment = &image->segment[i];
        if ((segment->prot & PROT_EXEC) && image->entry >= segment->va &&
            image->entry - segment->va < segment->bytes) {
            return NULL;
        }
    }
    return "its entry point is in no executable segment";
}

const char *elf_parse(struct elf_image *image, const void *file, uint64_t len)
{
    struct elf64_header header;
    *image = (struct elf_image){0};
    if (len < sizeof(header)) {
        return "it is too short for an ELF file";
    }
    memcpy(&header, file, sizeof(header));
    const char *problem = elf_check_header(&header, len);
    image->entry = header.entry;
    for (uint32_t i = 0; problem == NULL && i < header.phnum; i++) {
        struct elf64_phdr phdr;
        memcpy(&phdr, (const uint8_t *)file + header.phoff + i * sizeof(phdr), sizeof(phdr));
        if (phdr.type == PT_DYNAMIC || phdr.type == PT_INTERP) {
            problem = "it is linked dynamically";
        } else if (phdr.type == PT_LOAD && phdr.memsz > 0) {
            problem = elf_add_segment(image, &phdr, len);
        }
    }
    return problem != NULL ? problem : elf_check_entry(image);
}

// The file's bytes for this address, and of which segment they are; NULL: not so many are in one.
static const uint8_t *elf_at(const struct elf_image *image, const uint8_t *file, uint64_t va,
                             uint64_t bytes, uint32_t *segment)
{
    for (uint32_t i = 0; i < image->segments; i++) {
        const struct elf_segment *s = &image->segment[i];
        uint64_t at = va - (s->va + s->lead);
        if (va >= s->va + s->lead && at <= s->file_bytes && bytes <= s->file_bytes - at) {
            *segment = i;
            return file + s->offset + at;
        }
    }
    return NULL;
}

const char *elf_fit_calls(const struct elf_image *image, const void *file, uint32_t segment,
                          uint8_t *memory, uint16_t insn)
{
    struct call_table table;
    uint32_t in;
    const uint8_t *at = elf_at(image, file, image->entry - sizeof(table), sizeof(table), &in);
    if (at != NULL) {
        memcpy(&table, at, sizeof(table));
    }
    if (at == NULL || table.magic != CALL_MAGIC) {
        return "it has no table of its system calls, which this CPU needs";
    }
    at = elf_at(image, file, table.from, table.to - table.from, &in);
    if (at == NULL || (table.to - table.from) % sizeof(uint64_t) != 0) {
        return "its table of system calls is out of bounds";
    }
    for (uint64_t left = (table.to - table.from) / sizeof(uint64_t); left > 0; left--) {
        uint64_t va;
        uint16_t there;
        memcpy(&va, at, sizeof(va));
        at += sizeof(va);
        const uint8_t *code = elf_at(image, file, va, sizeof(there), &in);
        if (code == NULL || (image->segment[in].prot & PROT_EXEC) == 0) {
            return "its table of system calls names what is not in its code";
        }
        memcpy(&there, code, sizeof(there));
        if (there != CALL_INSN) {
            return "its table of system calls names what is none";
        }
        if (in == segment) {
            memcpy(memory + (va - image->segment[in].va), &insn, sizeof(insn));
        }
    }
    return NULL;
}
