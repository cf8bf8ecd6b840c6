// SPDX-License-Identifier: BSD-2-Clause
//
// Reads the boot information of three protocols. State: what was read, and copies of its strings,
// because the loader's lie in memory that may become heap; written once at start.

#include "guests/lib/loader.h"

#include <stddef.h>
#include <string.h>

#define MULTIBOOT1_MAGIC 0x2BADB002u
#define MULTIBOOT2_MAGIC 0x36D76289u
#define PVH_MAGIC        0x336EC578u
#define HIGH_MEMORY      0x100000u
#define FOUR_GB          0x100000000ull
#define TYPE_RAM         1u

static struct loader_info info;
static char text[LOADER_TEXT_SIZE];
static size_t text_used;

static const void *at(uint64_t gpa)
{
    return (const void *)(uintptr_t)gpa;
}

static const char *keep(const char *string)
{
    size_t length = strlen(string) + 1;
    char *copy = text + text_used;
    if (length > sizeof(text) - text_used)
        return "";
    memcpy(copy, string, length);
    text_used += length;
    return copy;
}

static void add_module(uint64_t start, uint64_t bytes, const char *string)
{
    if (info.modules < LOADER_MODULES_MAX)
        info.module[info.modules++] = (struct loader_module){start, bytes, keep(string)};
}

static void add_range(uint64_t base, uint64_t bytes, uint32_t type)
{
    if (type != TYPE_RAM)
        return;
    info.usable += bytes;
    if (base >= HIGH_MEMORY && base + bytes <= FOUR_GB && base + bytes > info.memory_end)
        info.memory_end = base + bytes;
}

// "Boot information format" of the Multiboot Specification, version 0.6.96; the part that is used.
struct multiboot1 {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
    uint32_t mmap_length, mmap_addr, drives[2], config_table, loader_name;
};
enum { HAS_MEMORY = 1, HAS_CMDLINE = 4, HAS_MODULES = 8, HAS_MMAP = 64, HAS_NAME = 512 };

struct __attribute__((packed)) multiboot1_range {
    uint32_t size;
    uint64_t base, bytes;
    uint32_t type;
};

static bool read_multiboot1(const struct multiboot1 *from)
{
    info.protocol = "multiboot 1";
    if (!(from->flags & HAS_MEMORY))
        return false;
    info.memory_end = HIGH_MEMORY + (uint64_t)from->mem_upper * 1024;
    if (from->flags & HAS_CMDLINE)
        info.command_line = keep(at(from->cmdline));
    if (from->flags & HAS_NAME)
        info.name = keep(at(from->loader_name));
    const uint32_t *module = at(from->mods_addr); // start, end, string, reserved
    for (uint32_t i = 0; (from->flags & HAS_MODULES) && i < from->mods_count; i++, module += 4)
        add_module(module[0], module[1] - module[0], module[2] != 0 ? at(module[2]) : "");
    uint32_t length = from->flags & HAS_MMAP ? from->mmap_length : 0;
    for (uint32_t offset = 0; offset < length;) {
        const struct multiboot1_range *range = at(from->mmap_addr + offset);
        add_range(range->base, range->bytes, range->type);
        offset += range->size + sizeof(range->size);
    }
    return true;
}

// "Boot information format" of the Multiboot2 Specification, version 2.0.
struct multiboot2_tag {
    uint32_t type, size;
    uint32_t word[];
};
enum {
    TAG_END, TAG_CMDLINE, TAG_NAME, TAG_MODULE, TAG_MEMORY, TAG_MMAP = 6, TAG_RSDP = 15,
};

static void read_multiboot2_map(const struct multiboot2_tag *tag)
{
    for (uint32_t offset = 16; offset < tag->size; offset += tag->word[0]) {
        const uint64_t *range = at((uintptr_t)tag + offset);
        add_range(range[0], range[1], (uint32_t)range[2]);
    }
}

static bool read_multiboot2(uint64_t gpa)
{
    info.protocol = "multiboot 2";
    for (gpa += 8;;) {
        const struct multiboot2_tag *tag = at(gpa);
        if (tag->type == TAG_END)
            return info.memory_end != 0;
        if (tag->type == TAG_CMDLINE)
            info.command_line = keep((const char *)tag->word);
        else if (tag->type == TAG_NAME)
            info.name = keep((const char *)tag->word);
        else if (tag->type == TAG_MODULE)
            add_module(tag->word[0], tag->word[1] - tag->word[0], (const char *)&tag->word[2]);
        else if (tag->type == TAG_MEMORY)
            info.memory_end = HIGH_MEMORY + (uint64_t)tag->word[1] * 1024;
        else if (tag->type == TAG_MMAP)
            read_multiboot2_map(tag);
        else if (tag->type == TAG_RSDP)
            info.rsdp = (uintptr_t)tag->word;
        gpa += (tag->size + 7u) & ~7u;
    }
}

// Xen's public header arch-x86/hvm/start_info.h, version 1.
struct pvh {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
};

static bool read_pvh(const struct pvh *from)
{
    info.protocol = "PVH";
    info.rsdp = from->rsdp;
    if (from->cmdline != 0)
        info.command_line = keep(at(from->cmdline));
    const uint64_t *module = at(from->modlist); // address, bytes, command line, reserved
    for (uint32_t i = 0; i < from->nr_modules; i++, module += 4)
        add_module(module[0], module[1], module[2] != 0 ? at(module[2]) : "");
    const uint64_t *range = at(from->memmap); // base, bytes, type
    for (uint32_t i = 0; from->version >= 1 && i < from->memmap_entries; i++, range += 3)
        add_range(range[0], range[1], (uint32_t)range[2]);
    return info.memory_end != 0;
}

bool loader_read(uint32_t magic, uint32_t information)
{
    info.name = info.command_line = "";
    if (magic == MULTIBOOT1_MAGIC)
        return read_multiboot1(at(information));
    if (magic == MULTIBOOT2_MAGIC)
        return read_multiboot2(information);
    // PVH says nothing of EAX.
    return *(const uint32_t *)at(information) == PVH_MAGIC && read_pvh(at(information));
}

const struct loader_info *loader_info(void)
{
    return &info;
}
