// SPDX-License-Identifier: BSD-2-Clause
//
// Tells the format of a guest image by its first bytes, and its module name by its path. The
// bytes are not trusted; only reads inside the given size. No state.
#include "config/config.h"

#include <string.h>

// Multiboot Specification 0.6.96, "The layout of Multiboot header".
#define MULTIBOOT_MAGIC 0x1badb002u
#define MULTIBOOT_SEARCH 8192
#define MULTIBOOT_HEADER 12    // magic, flags, checksum
#define MULTIBOOT_ADDRESSES (1u << 16)

// Multiboot2 Specification 2.0, "The layout of Multiboot2 header".
#define MULTIBOOT2_MAGIC 0xe85250d6u
#define MULTIBOOT2_SEARCH 32768
#define MULTIBOOT2_HEADER 16   // magic, architecture, length, checksum

// System V ABI, "ELF Header", "Program Header", "Note Section".
#define ELF_64 2
#define ELF_PT_NOTE 4
#define ELF_NOTE_HEADER 12     // sizes of name and content, type
#define XEN_PHYS32_ENTRY 18

// The Linux/x86 Boot Protocol, "The real-mode kernel header".
#define LINUX_BOOT_FLAG 0x1fe
#define LINUX_HEADER 0x202

static uint32_t load32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t load16(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8;
}

static uint64_t load64(const uint8_t *at)
{
    return load32(at) | (uint64_t)load32(at + 4) << 32;
}

static bool is_elf(const uint8_t *head, size_t size)
{
    return size >= 64 && memcmp(head, "\177ELF", 4) == 0;
}

static bool has_multiboot_header(const uint8_t *head, size_t size)
{
    size_t end = size < MULTIBOOT_SEARCH ? size : MULTIBOOT_SEARCH;

    for (size_t at = 0; at + MULTIBOOT_HEADER <= end; at += 4) {
        uint32_t flags = load32(head + at + 4);
        if (load32(head + at) == MULTIBOOT_MAGIC &&
            MULTIBOOT_MAGIC + flags + load32(head + at + 8) == 0)
            return (flags & MULTIBOOT_ADDRESSES) != 0 || is_elf(head, size);
    }
    return false;
}

static bool has_multiboot2_header(const uint8_t *head, size_t size)
{
    size_t end = size < MULTIBOOT2_SEARCH ? size : MULTIBOOT2_SEARCH;

    for (size_t at = 0; at + MULTIBOOT2_HEADER <= end; at += 8) {
        if (load32(head + at) == MULTIBOOT2_MAGIC && load32(head + at + 4) == 0 &&
            MULTIBOOT2_MAGIC + load32(head + at + 8) + load32(head + at + 12) == 0)
            return true;
    }
    return false;
}

// Among the notes in a segment, which are padded to `align`. vmm/load/elf.c reads them alike.
static bool has_xen_note(const uint8_t *segment, size_t end, uint64_t align)
{
    uint64_t at = 0;

    while (at < end && end - at >= ELF_NOTE_HEADER) {
        const uint8_t *note = segment + at;
        uint64_t name = load32(note), content = load32(note + 4);
        uint64_t data = (at + ELF_NOTE_HEADER + name + align - 1) & ~(align - 1);
        if (data > end || content > end - data)
            return false;
        if (name == 4 && load32(note + 8) == XEN_PHYS32_ENTRY &&
            memcmp(note + ELF_NOTE_HEADER, "Xen", 4) == 0)
            return true;
        at = (data + content + align - 1) & ~(align - 1);
    }
    return false;
}

// Whether a note is there, or may be further back than the head reaches.
static bool may_be_pvh(const uint8_t *head, size_t size)
{
    bool wide = head[4] == ELF_64;
    uint64_t phoff = wide ? load64(head + 32) : load32(head + 28);
    uint32_t phentsize = load16(head + (wide ? 54 : 42)), count = load16(head + (wide ? 56 : 44));
    size_t phdr = wide ? 56 : 32;

    if (phentsize < phdr)
        return false;
    for (uint32_t i = 0; i < count; i++, phoff += phentsize) {
        if (phoff > size || phdr > size - phoff)
            return true;
        const uint8_t *at = head + phoff;
        if (load32(at) != ELF_PT_NOTE)
            continue;
        uint64_t offset = wide ? load64(at + 8) : load32(at + 4);
        uint64_t bytes = wide ? load64(at + 32) : load32(at + 16);
        uint64_t align = wide ? load64(at + 48) : load32(at + 28);
        if (offset > size || bytes > size - offset)
            return true;
        if ((align == 8 && has_xen_note(head + offset, bytes, 8)) ||
            has_xen_note(head + offset, bytes, 4))
            return true;
    }
    return false;
}

// vmm/load/load.c has the same order.
enum config_format config_image_format(const uint8_t *head, size_t size)
{
    if (size >= LINUX_HEADER + 4 && memcmp(head + LINUX_HEADER, "HdrS", 4) == 0 &&
        head[LINUX_BOOT_FLAG] == 0x55 && head[LINUX_BOOT_FLAG + 1] == 0xaa)
        return CONFIG_FORMAT_LINUX;
    if (has_multiboot2_header(head, size))
        return CONFIG_FORMAT_MULTIBOOT2;
    if (has_multiboot_header(head, size))
        return CONFIG_FORMAT_MULTIBOOT1;
    if (is_elf(head, size) && may_be_pvh(head, size))
        return CONFIG_FORMAT_PVH;
    return CONFIG_FORMAT_UNKNOWN;
}

const char *config_format_name(enum config_format format)
{
    static const char *const names[] = {
        [CONFIG_FORMAT_UNKNOWN] = "unknown",
        [CONFIG_FORMAT_LINUX] = "Linux bzImage",
        [CONFIG_FORMAT_MULTIBOOT2] = "multiboot 2",
        [CONFIG_FORMAT_MULTIBOOT1] = "multiboot 1",
        [CONFIG_FORMAT_PVH] = "PVH ELF",
        [CONFIG_FORMAT_FLAT] = "a flat binary",
    };

    return names[format];
}

const char *config_vm_file(const struct config_vm *vm, unsigned which)
{
    if (which == 0)
        return vm->image;
    if (which == 1)
        return vm->initrd;
    return which - 2 < vm->n_modules ? vm->module_text + vm->modules[which - 2].path : "";
}

const char *config_module_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}
