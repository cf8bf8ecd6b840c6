// SPDX-License-Identifier: BSD-2-Clause
//
// ELF32 and ELF64 executables for x86. Fields are read by their offsets, one table per class.
// Keeps no state; runs on the VMM's only thread.
#include "vmm/load/elf.h"

#include <inttypes.h>
#include <string.h>

enum { ELF_CLASS_32 = 1, ELF_CLASS_64 = 2, ELF_LITTLE = 1, ELF_EXEC = 2, ELF_DYN = 3 };
enum { ELF_PT_LOAD = 1, ELF_PT_NOTE = 4 };
enum { ELF_MACHINE_386 = 3, ELF_MACHINE_X86_64 = 62 };
// Of all note segments together; Linux has about thirty. Else a file could keep us busy for hours.
enum { ELF_NOTE_MAX = 4096 };

// Offsets of the fields that differ between the classes, and sizes.
struct elf_layout {
    uint8_t word;                                // bytes of an address
    uint8_t entry, phoff, phentsize, phnum;      // in the ELF header
    uint8_t offset, vaddr, paddr, filesz, memsz; // in a program header
    uint8_t align;
    uint8_t phdr_bytes;
};

static const struct elf_layout elf32_layout = { 4, 24, 28, 42, 44, 4, 8, 12, 16, 20, 28, 32 };
static const struct elf_layout elf64_layout = { 8, 24, 32, 54, 56, 8, 16, 24, 32, 40, 48, 56 };

bool elf_detect(const struct load_file *file)
{
    return file->bytes >= 4 && memcmp(file->data, "\177ELF", 4) == 0;
}

// A position-independent executable (type DYN), which many compilers make if they are not told
// otherwise, goes where its physical addresses say, like any other: its relocations are its own.
static const struct elf_layout *elf_layout_of(struct load *load)
{
    uint64_t class = 0, data = 0, type = 0, machine = 0;
    const struct load_file *file = &load->image;

    if (!load_get(file, 4, 1, &class) || !load_get(file, 5, 1, &data) ||
        !load_get(file, 16, 2, &type) || !load_get(file, 18, 2, &machine)) {
        load_fail(load, "the ELF header is cut off");
    } else if (data != ELF_LITTLE || (type != ELF_EXEC && type != ELF_DYN)) {
        load_fail(load, "ELF header: not a little-endian executable (data %" PRIu64
                  " at offset 5, type %" PRIu64 " at offset 16)", data, type);
    } else if (class == ELF_CLASS_32 && machine == ELF_MACHINE_386) {
        return &elf32_layout;
    } else if (class == ELF_CLASS_64 && machine == ELF_MACHINE_X86_64) {
        return &elf64_layout;
    } else {
        load_fail(load, "ELF header: class %" PRIu64 " with machine %" PRIu64
                  " (offset 18) is not x86", class, machine);
    }
    return NULL;
}

static bool elf_read_segment(struct load *load, const struct elf_layout *l, uint64_t at,
                             struct elf_segment *s, uint64_t *type)
{
    const struct load_file *file = &load->image;

    if (load_get(file, at, 4, type) && load_get(file, at + l->offset, l->word, &s->offset) &&
        load_get(file, at + l->vaddr, l->word, &s->virtual_address) &&
        load_get(file, at + l->paddr, l->word, &s->physical_address) &&
        load_get(file, at + l->filesz, l->word, &s->file_bytes) &&
        load_get(file, at + l->memsz, l->word, &s->memory_bytes))
        return true;
    return load_fail(load, "the program header at offset %" PRIu64 " is cut off", at);
}

bool elf_open(struct load *load, struct elf_file *elf)
{
    const struct elf_layout *l = elf_layout_of(load);
    uint64_t phoff = 0, phnum = 0, entry_bytes = 0, type = 0;

    elf->segments = 0;
    if (l == NULL)
        return false;
    if (!load_get(&load->image, l->entry, l->word, &elf->entry) ||
        !load_get(&load->image, l->phoff, l->word, &phoff) ||
        !load_get(&load->image, l->phentsize, 2, &entry_bytes) ||
        !load_get(&load->image, l->phnum, 2, &phnum))
        return load_fail(load, "the ELF header is cut off");
    if (entry_bytes < l->phdr_bytes)
        return load_fail(load, "ELF header: program headers of %" PRIu64 " bytes (offset %u)",
                         entry_bytes, l->phentsize);
    // Beyond the file nothing can be read, so the offset cannot wrap unnoticed.
    if (phoff > load->image.bytes)
        return load_fail(load, "the program headers at offset %" PRIu64
                         " lie behind the end of the file", phoff);
    for (uint64_t i = 0; i < phnum; i++) {
        struct elf_segment s = { 0 };
        if (!elf_read_segment(load, l, phoff + i * entry_bytes, &s, &type))
            return false;
        if (type != ELF_PT_LOAD || s.memory_bytes == 0)
            continue;
        if (elf->segments == ELF_SEGMENT_MAX)
            return load_fail(load, "more than %u loadable segments", ELF_SEGMENT_MAX);
        elf->segment[elf->segments++] = s;
    }
    return elf->segments > 0 || load_fail(load, "the ELF file has nothing to load");
}

bool elf_load(struct load *load, const struct elf_file *elf, uint64_t shift, uint64_t *end)
{
    *end = 0;
    for (unsigned i = 0; i < elf->segments; i++) {
        const struct elf_segment *s = &elf->segment[i];
        uint64_t gpa = s->physical_address + shift;
        if (!load_part(load, "ELF segment", s->offset, s->file_bytes, gpa, s->memory_bytes))
            return false;
        if (gpa < RAM_HIGH && gpa + s->memory_bytes > *end)
            *end = gpa + s->memory_bytes;
    }
    return true;
}

bool elf_holds(const struct elf_file *elf, uint64_t gpa)
{
    for (unsigned i = 0; i < elf->segments; i++) {
        if (gpa - elf->segment[i].physical_address < elf->segment[i].memory_bytes)
            return true;
    }
    return false;
}

bool elf_entry(struct load *load, const struct elf_file *elf, uint64_t *entry)
{
    for (unsigned i = 0; i < elf->segments; i++) {
        const struct elf_segment *s = &elf->segment[i];
        if (elf->entry - s->virtual_address < s->memory_bytes) {
            *entry = elf->entry - s->virtual_address + s->physical_address;
            return true;
        }
    }
    // Some kernels are linked high and give their entry point as a physical address.
    *entry = elf->entry;
    return elf_holds(elf, elf->entry) ||
           load_fail(load, "the entry point 0x%" PRIx64 " (offset 24) lies in no segment",
                     elf->entry);
}

bool elf_extent(const struct elf_file *elf, uint64_t *low, uint64_t *high)
{
    *low = UINT64_MAX;
    *high = 0;
    for (unsigned i = 0; i < elf->segments; i++) {
        const struct elf_segment *s = &elf->segment[i];
        if (s->memory_bytes > UINT64_MAX - s->physical_address)
            return false;
        if (s->physical_address < *low)
            *low = s->physical_address;
        if (s->physical_address + s->memory_bytes > *high)
            *high = s->physical_address + s->memory_bytes;
    }
    return true;
}

// Padding counts from the segment's start, which need not be aligned in the file.
static uint64_t padded(uint64_t start, uint64_t at, uint64_t align)
{
    return start + ((at - start + align - 1) & ~(align - 1));
}

// The notes in [start, end) of the file, which are padded to `align`; *left: how many more are
// looked at.
static bool find_padded(const struct load_file *file, uint64_t start, uint64_t end, uint64_t align,
                        const struct elf_note_key *key, unsigned *left, struct elf_note *note)
{
    uint64_t name_bytes, desc_bytes, type, at = start;

    for (; *left > 0 && at < end && end - at >= 12; (*left)--) {
        if (!load_get(file, at, 4, &name_bytes) || !load_get(file, at + 4, 4, &desc_bytes) ||
            !load_get(file, at + 8, 4, &type))
            return false;
        // 32-bit numbers, and an offset within the file: the sums cannot wrap.
        uint64_t name = at + 12, desc = padded(start, name + name_bytes, align);
        if (desc > end || desc_bytes > end - desc)
            return false;
        if (type == key->type && name_bytes == key->name_bytes &&
            memcmp(file->data + name, key->name, key->name_bytes) == 0) {
            *note = (struct elf_note){ .offset = desc, .bytes = desc_bytes };
            if (desc_bytes == 4 || desc_bytes == 8)
                load_get(file, desc, (unsigned)desc_bytes, &note->value);
            return true;
        }
        at = padded(start, desc + desc_bytes, align);
    }
    return false;
}

// A segment of alignment 8 has notes padded to 8, as the System V ABI wants it, but also notes
// padded to 4, which assemblers and linkers put into it all the same. Only one way leads to a note
// of that name and type.
static bool find_in_segment(const struct load_file *file, uint64_t start, uint64_t end,
                            uint64_t align, const struct elf_note_key *key, unsigned *left,
                            struct elf_note *note)
{
    return (align == 8 && find_padded(file, start, end, 8, key, left, note)) ||
           find_padded(file, start, end, 4, key, left, note);
}

bool elf_find_note(const struct load_file *file, const struct elf_note_key *key,
                   struct elf_note *note)
{
    uint64_t class = 0, phoff, phentsize, phnum, type, offset, bytes, align;
    const struct elf_layout *l;
    unsigned left = ELF_NOTE_MAX;

    load_get(file, 4, 1, &class);
    l = class == ELF_CLASS_32 ? &elf32_layout : &elf64_layout;
    if (!load_get(file, l->phoff, l->word, &phoff) ||
        !load_get(file, l->phentsize, 2, &phentsize) || !load_get(file, l->phnum, 2, &phnum) ||
        phoff > file->bytes || phentsize < l->phdr_bytes)
        return false;
    for (uint64_t i = 0; i < phnum; i++) {
        uint64_t at = phoff + i * phentsize;
        if (!load_get(file, at, 4, &type) || !load_get(file, at + l->offset, l->word, &offset) ||
            !load_get(file, at + l->filesz, l->word, &bytes) ||
            !load_get(file, at + l->align, l->word, &align))
            return false;
        if (type != ELF_PT_NOTE || offset > file->bytes || bytes > file->bytes - offset)
            continue;
        if (find_in_segment(file, offset, offset + bytes, align, key, &left, note))
            return true;
    }
    return false;
}
