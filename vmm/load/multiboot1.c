// SPDX-License-Identifier: BSD-2-Clause
//
// Multiboot 1: ELF of both classes or the header's own address fields. Follows the Multiboot
// Specification 0.6.96, "Header layout", "Machine state" and "Boot information format".
// Keeps no state; runs on the VMM's only thread.
#include <inttypes.h>
#include <string.h>
#include "vmm/load/elf.h"
#include "vmm/load/load.h"

#define HEADER_MAGIC   0x1BADB002u
#define LOADER_MAGIC   0x2BADB002u
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

// What lies at BOOT_STRINGS.
struct mb_area {
    struct mb_module module;
    struct mb_mmap mmap[E820_MAX];
    char loader[32];
    char module_name[64];
};

struct mb_header {
    uint64_t offset; // in the file
    uint64_t flags;
    uint64_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

static bool find_header(const struct load_file *file, struct mb_header *header)
{
    for (uint64_t at = 0; at + 12 <= HEADER_SEARCH; at += 4) {
        uint64_t magic, checksum;
        if (!load_get(file, at, 4, &magic) || !load_get(file, at + 4, 4, &header->flags) ||
            !load_get(file, at + 8, 4, &checksum))
            return false;
        header->offset = at;
        if (magic == HEADER_MAGIC && (uint32_t)(magic + header->flags + checksum) == 0)
            return true;
    }
    return false;
}

bool multiboot1_detect(const struct load_file *file)
{
    struct mb_header header;

    return find_header(file, &header);
}

// The address fields ("a.out kludge"): one part of the file goes to one place.
static bool load_addresses(struct load *load, struct mb_header *h, uint64_t *entry, uint64_t *end)
{
    const struct load_file *file = &load->image;
    uint64_t at = h->offset, offset, bytes;

    if (!load_get(file, at + 12, 4, &h->header_addr) ||
        !load_get(file, at + 16, 4, &h->load_addr) ||
        !load_get(file, at + 20, 4, &h->load_end_addr) ||
        !load_get(file, at + 24, 4, &h->bss_end_addr) ||
        !load_get(file, at + 28, 4, &h->entry_addr))
        return load_fail(load, "the multiboot header at offset %" PRIu64 " is cut off", at);
    if (h->load_addr > h->header_addr || h->header_addr - h->load_addr > at)
        return load_fail(load, "multiboot header: load address 0x%" PRIx64
                         " does not fit header address 0x%" PRIx64 " and its offset %" PRIu64,
                         h->load_addr, h->header_addr, at);
    offset = at - (h->header_addr - h->load_addr);
    bytes = file->bytes - offset;
    if (h->load_end_addr != 0) {
        if (h->load_end_addr < h->load_addr)
            return load_fail(load, "multiboot header: load end 0x%" PRIx64
                             " is below the load address", h->load_end_addr);
        bytes = h->load_end_addr - h->load_addr;
    }
    *end = h->load_addr + bytes;
    if (h->bss_end_addr > *end)
        *end = h->bss_end_addr;
    *entry = h->entry_addr;
    return load_part(load, "multiboot image", offset, bytes, h->load_addr, *end - h->load_addr);
}

static bool load_segments(struct load *load, uint64_t *entry, uint64_t *end)
{
    struct elf_file elf;

    if (!elf_detect(&load->image))
        return load_fail(load, "the multiboot header has no address fields (flag 16), and the "
                         "image is not ELF");
    return elf_open(load, &elf) && elf_load(load, &elf, entry, end);
}

static void copy_string(char *to, size_t room, const char *from)
{
    size_t length = strlen(from);

    length = length < room ? length : room - 1;
    memcpy(to, from, length);
    to[length] = 0;
}

#define AREA_FIELD(field) ((uint32_t)BOOT_STRINGS + (uint32_t)offsetof(struct mb_area, field))

static void fill_mmap(const struct load *load, struct mb_info *info, struct mb_area *area)
{
    struct e820_entry entry[E820_MAX];
    unsigned count = ram_e820(load->ram, entry);

    for (unsigned i = 0; i < count; i++) {
        area->mmap[i] = (struct mb_mmap){
            .size = sizeof(struct mb_mmap) - sizeof(uint32_t), // it does not count itself
            .base_low = (uint32_t)entry[i].base, .base_high = (uint32_t)(entry[i].base >> 32),
            .length_low = (uint32_t)entry[i].bytes,
            .length_high = (uint32_t)(entry[i].bytes >> 32),
            .type = entry[i].type,
        };
    }
    info->flags |= INFO_MMAP;
    info->mmap_addr = AREA_FIELD(mmap);
    info->mmap_length = count * (uint32_t)sizeof(struct mb_mmap);
}

static bool fill_module(struct load *load, uint64_t floor, struct mb_info *info,
                        struct mb_area *area)
{
    uint64_t gpa;

    if (load->initrd.data == NULL)
        return true;
    if (!load_initrd(load, floor, RAM_LOW_MAX, &gpa))
        return false;
    copy_string(area->module_name, sizeof(area->module_name), load->initrd.name);
    area->module = (struct mb_module){
        .start = (uint32_t)gpa, .end = (uint32_t)(gpa + load->initrd.bytes),
        .string = AREA_FIELD(module_name),
    };
    info->flags |= INFO_MODULES;
    info->mods_count = 1;
    info->mods_addr = AREA_FIELD(module);
    return true;
}

static bool write_info(struct load *load, uint64_t end)
{
    struct mb_info info = { .flags = INFO_MEMORY | INFO_CMDLINE | INFO_NAME };
    struct mb_area area = { 0 };

    info.mem_lower = RAM_EBDA >> 10;
    info.mem_upper = (uint32_t)((load->ram->low_end - RAM_EXTENDED) >> 10);
    info.cmdline = BOOT_CMDLINE;
    info.boot_loader_name = AREA_FIELD(loader);
    copy_string(area.loader, sizeof(area.loader), "Bulkhead");
    fill_mmap(load, &info, &area);
    return fill_module(load, end, &info, &area) &&
           load_cmdline(load, load->image.name, BOOT_CMDLINE_MAX - 1) &&
           ram_write(load->ram, BOOT_STRINGS, &area, sizeof(area)) &&
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
    if (!(header.flags & HEADER_ADDRESS ? load_addresses(load, &header, &entry, &end)
                                        : load_segments(load, &entry, &end)))
        return false;
    if (entry > UINT32_MAX)
        return load_fail(load, "the entry point 0x%" PRIx64 " is not below 4 GB", entry);
    if (!write_info(load, end) || !load_state_flat32(load))
        return false;
    load->state.sregs.rip = entry;
    load->state.gpr[GPR_RAX] = LOADER_MAGIC;
    load->state.gpr[GPR_RBX] = BOOT_PARAMS;
    load->format = "multiboot 1";
    return true;
}
