// SPDX-License-Identifier: BSD-2-Clause
//
// What a multiboot 2 image is told. Follows the Multiboot2 Specification 2.0, "Boot information
// format". Keeps no state; runs on the VMM's only thread, before the guest does.
#include <string.h>
#include "vmm/load/multiboot2.h"

enum {
    INFO_END, INFO_CMDLINE, INFO_LOADER, INFO_MODULE, INFO_MEMORY, INFO_BOOT_DEVICE, INFO_MMAP,
    INFO_VBE, INFO_FRAMEBUFFER, INFO_ELF_SYMBOLS, INFO_APM,
    INFO_ACPI_OLD = 14, INFO_ACPI_NEW = 15, INFO_LOAD_BASE = 21, INFO_LAST = INFO_LOAD_BASE,
};
enum { RSDP_OLD_BYTES = 20, RSDP_NEW_BYTES = 36 };

// The command lines of image and modules are as GRUB 2 gives them: without a file's name in front.
// Kernels that are also started by older loaders, such as Xen, drop the first word, unless they
// find the name of GRUB here, a blank, and a version that does not begin with a 0.
#define LOADER_NAME "GRUB 2 (Bulkhead)"

// The largest tag has a text: a command line.
enum { TAG_FIXED_MAX = E820_MAX * 24 + 16, TAG_TEXT_MAX = BOOT_CMDLINE_MAX };

struct mb2_mmap {
    uint64_t base, bytes;
    uint32_t type, reserved;
};

bool multiboot2_info_known(uint64_t type)
{
    // The symbols of an ELF file could be given, and are not.
    return type >= INFO_CMDLINE && type <= INFO_LAST && type != INFO_ELF_SYMBOLS;
}

// A tag: type, size, `bytes` of fixed content, then a text with its zero (NULL: none).
static bool put_tag(struct load *load, uint32_t type, const void *fixed, uint32_t bytes,
                    const char *text)
{
    uint8_t tag[8 + TAG_FIXED_MAX + TAG_TEXT_MAX];
    size_t length = text != NULL ? strlen(text) + 1 : 0;

    if (length > TAG_TEXT_MAX)
        return load_fail(load, "a command line of %zu bytes is longer than the %u that this image "
                         "takes", length - 1, TAG_TEXT_MAX - 1);
    uint32_t head[2] = { type, (uint32_t)(8 + bytes + length) };
    memcpy(tag, head, sizeof(head));
    if (bytes > 0)
        memcpy(tag + 8, fixed, bytes);
    if (length > 0)
        memcpy(tag + 8 + bytes, text, length);
    return load_put(load, tag, head[1]) != 0;
}

static bool put_memory(struct load *load)
{
    struct e820_entry entry[E820_MAX];
    struct {
        uint32_t entry_bytes, entry_version;
        struct mb2_mmap entry[E820_MAX];
    } map = { .entry_bytes = sizeof(struct mb2_mmap) };
    const uint32_t size[2] = {
        RAM_EBDA >> 10, (uint32_t)((load->ram->low_end - RAM_EXTENDED) >> 10),
    };
    unsigned count = ram_e820(load->ram, entry);

    for (unsigned i = 0; i < count; i++)
        map.entry[i] = (struct mb2_mmap){ entry[i].base, entry[i].bytes, entry[i].type, 0 };
    return put_tag(load, INFO_MEMORY, size, sizeof(size), NULL) &&
           put_tag(load, INFO_MMAP, &map, 8 + count * (uint32_t)sizeof(map.entry[0]), NULL);
}

static bool put_modules(struct load *load, uint64_t floor)
{
    struct load_placed placed[LOAD_PLACED_MAX];
    unsigned count = 0;

    if (!load_modules(load, floor, placed, &count))
        return false;
    for (unsigned i = 0; i < count; i++) {
        const uint32_t range[2] = {
            (uint32_t)placed[i].gpa, (uint32_t)(placed[i].gpa + placed[i].bytes),
        };
        if (!put_tag(load, INFO_MODULE, range, sizeof(range), placed[i].cmdline))
            return false;
    }
    return true;
}

// The board's RSDP is one of ACPI 2.0, whose beginning is one of ACPI 1.0.
static bool put_rsdp(struct load *load)
{
    const void *rsdp = ram_at(load->ram, load->rsdp, RSDP_NEW_BYTES);

    return rsdp == NULL || (put_tag(load, INFO_ACPI_OLD, rsdp, RSDP_OLD_BYTES, NULL) &&
                            put_tag(load, INFO_ACPI_NEW, rsdp, RSDP_NEW_BYTES, NULL));
}

bool multiboot2_info(struct load *load, uint64_t end, const uint64_t *base, uint64_t *gpa)
{
    uint32_t head[2] = { 0, 0 }; // total size, reserved

    *gpa = load_put(load, head, sizeof(head));
    if (*gpa == 0 || !put_tag(load, INFO_CMDLINE, NULL, 0, load->cmdline) ||
        !put_tag(load, INFO_LOADER, NULL, 0, LOADER_NAME) || !put_memory(load) ||
        !put_modules(load, end) || !put_rsdp(load))
        return false;
    if (base != NULL) {
        uint32_t low = (uint32_t)*base;
        if (!put_tag(load, INFO_LOAD_BASE, &low, sizeof(low), NULL))
            return false;
    }
    if (!put_tag(load, INFO_END, NULL, 0, NULL))
        return false;
    head[0] = (uint32_t)(load->put - *gpa);
    return ram_write(load->ram, *gpa, head, sizeof(head));
}
