// SPDX-License-Identifier: BSD-2-Clause
//
// Multiboot 1: ELF of both classes or the header's own address fields. Follows the Multiboot
// Specification 0.6.96, "Header layout", "Machine state" and "Boot information format".
// Keeps no state; runs on the VMM's only thread.
#include <inttypes.h>
#include <string.h>
#include "vmm/load/elf.h"
#include "vmm/load/load.h"
#include "vmm/load/multiboot.h"

#define HEADER_MAGIC   0x1BADB002u
#define HEADER_SEARCH  8192u

// Header flags. The loader must know the low 16; those it may ignore are above.
#define HEADER_ALIGN   (1u << 0)  // modules on page boundaries: always done
#define HEADER_MEMORY  (1u << 1)  // memory information: always given
#define HEADER_VIDEO   (1u << 2)  // a wish for a video mode; there is no screen
#define HEADER_ADDRESS (1u << 16) // the address fields are valid
#define HEADER_KNOWN   (HEADER_ALIGN | HEADER_MEMORY | HEADER_VIDEO)

// Information structure: what is valid in it.
enum { INFO_MEMORY = 1, INFO_CMDLINE = 4, INFO_MODULES = 8, INFO_MMAP = 64, INFO_NAME = 512 };

struct mb_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
    uint32_t mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
    uint32_t drives_length, drives_addr, config_table, boot_loader_name, apm_table;
};
_Static_assert(sizeof(struct mb_info) == 72, "as in the specification, without VBE");

struct mb_module {
    uint32_t start, end, string, reserved;
};

struct mb_mmap {
    uint32_t size, base_low, base_high, length_low, length_high, type;
};

struct mb_header {
    uint64_t offset; // in the file
    uint64_t flags;
};

// A header is one only with what it describes: address fields, or an ELF file around it.
static bool find_header(const struct load_file *file, struct mb_header *header)
{
    for (uint64_t at = 0; at + 12 <= HEADER_SEARCH; at += 4) {
        uint64_t checksum;
        if (!load_is_word(file, at, HEADER_MAGIC))
            continue;
        if (!load_get(file, at + 4, 4, &header->flags) || !load_get(file, at + 8, 4, &checksum))
            return false;
        header->offset = at;
        if ((uint32_t)(HEADER_MAGIC + header->flags + checksum) == 0)
            return (header->flags & HEADER_ADDRESS) || elf_detect(file);
    }
    return false;
}

bool multiboot1_detect(const struct load_file *file)
{
    struct mb_header header;

    return find_header(file, &header);
}

// The address fields ("a.out kludge"): one part of the file goes to one place.
static bool load_addresses(struct load *load, const struct mb_header *h, uint64_t *entry,
                           uint64_t *end)
{
    const struct load_file *file = &load->image;
    struct multiboot_addresses a = { .header_offset = h->offset };
    struct multiboot_part part;
    uint64_t at = h->offset;

    if (!load_get(file, at + 12, 4, &a.header) || !load_get(file, at + 16, 4, &a.load) ||
        !load_get(file, at + 20, 4, &a.load_end) || !load_get(file, at + 24, 4, &a.bss_end) ||
        !load_get(file, at + 28, 4, entry))
        return load_fail(load, "the multiboot header at offset %" PRIu64 " is cut off", at);
    if (!multiboot_part(load, &a, &part))
        return false;
    *end = part.gpa + part.memory_bytes;
    return load_part(load, "multiboot image", part.offset, part.bytes, part.gpa,
                     part.memory_bytes);
}

static bool load_segments(struct load *load, uint64_t *entry, uint64_t *end)
{
    struct elf_file elf;

    return elf_open(load, &elf) && elf_load(load, &elf, 0, end) && elf_entry(load, &elf, entry);
}

static bool put_mmap(struct load *load, struct mb_info *info)
{
    struct e820_entry entry[E820_MAX];
    struct mb_mmap mmap[E820_MAX];
    unsigned count = ram_e820(load->ram, entry);

    for (unsigned i = 0; i < count; i++) {
        mmap[i] = (struct mb_mmap){
            .size = sizeof(struct mb_mmap) - sizeof(uint32_t), // it does not count itself
            .base_low = (uint32_t)entry[i].base, .base_high = (uint32_t)(entry[i].base >> 32),
            .length_low = (uint32_t)entry[i].bytes,
            .length_high = (uint32_t)(entry[i].bytes >> 32),
            .type = entry[i].type,
        };
    }
    info->flags |= INFO_MMAP;
    info->mmap_length = count * (uint32_t)sizeof(struct mb_mmap);
    info->mmap_addr = (uint32_t)load_put(load, mmap, info->mmap_length);
    return info->mmap_addr != 0;
}

static bool put_modules(struct load *load, uint64_t floor, struct mb_info *info)
{
    struct load_placed placed[LOAD_PLACED_MAX];
    struct mb_module module[LOAD_PLACED_MAX];
    unsigned count = 0;

    if (!load_modules(load, floor, placed, &count))
        return false;
    if (count == 0)
        return true;
    for (unsigned i = 0; i < count; i++) {
        module[i] = (struct mb_module){
            .start = (uint32_t)placed[i].gpa, .end = (uint32_t)(placed[i].gpa + placed[i].bytes),
            .string = (uint32_t)load_put_text(load, placed[i].name, placed[i].cmdline),
        };
        if (module[i].string == 0)
            return false;
    }
    info->flags |= INFO_MODULES;
    info->mods_count = count;
    info->mods_addr = (uint32_t)load_put(load, module, count * sizeof(module[0]));
    return info->mods_addr != 0;
}

// The command line begins with the image's name, and a module's text with the module's, as from
// QEMU and from GRUB before version 2. Kernels that are also started by GRUB 2, which leaves the
// names out, know that by the loader's name: so this must not look like GRUB's.
#define LOADER_NAME "Bulkhead"

bool multiboot1_info(struct load *load, uint64_t end)
{
    struct mb_info info = { .flags = INFO_MEMORY | INFO_CMDLINE | INFO_NAME };

    info.mem_lower = RAM_EBDA >> 10;
    info.mem_upper = (uint32_t)((load->ram->low_end - RAM_EXTENDED) >> 10);
    info.cmdline = BOOT_CMDLINE;
    info.boot_loader_name = (uint32_t)load_put_text(load, "", LOADER_NAME);
    return info.boot_loader_name != 0 && put_mmap(load, &info) && put_modules(load, end, &info) &&
           load_cmdline(load, load->image.name, BOOT_CMDLINE_MAX - 1) &&
           ram_write(load->ram, BOOT_PARAMS, &info, sizeof(info));
}

bool multiboot1_load(struct load *load)
{
    struct mb_header header = { 0 };
    uint64_t entry = 0, end = 0;
    uint32_t unknown;

    if (!find_header(&load->image, &header))
        return load_fail(load, "no multiboot header in the first %u bytes", HEADER_SEARCH);
    unknown = (uint32_t)header.flags & 0xFFFF & ~HEADER_KNOWN;
    if (unknown != 0)
        return load_fail(load, "the multiboot header at offset %" PRIu64
                         " requires features that are not known: flags 0x%" PRIx32,
                         header.offset, unknown);
    load->format = "multiboot 1";
    return (header.flags & HEADER_ADDRESS ? load_addresses(load, &header, &entry, &end)
                                          : load_segments(load, &entry, &end)) &&
           multiboot1_info(load, end) &&
           multiboot_state(load, entry, MULTIBOOT1_LOADER_MAGIC, BOOT_PARAMS);
}
