// SPDX-License-Identifier: BSD-2-Clause
//
// Multiboot 2: its header's tags, and where the image goes; the information that it gets is in
// multiboot2_info.c. Follows the Multiboot2 Specification 2.0, "OS image format" and "Machine
// state". Keeps no state; runs on the VMM's only thread.
#include "vmm/load/multiboot2.h"

#include <inttypes.h>
#include "vmm/load/elf.h"
#include "vmm/load/multiboot.h"

#define HEADER_MAGIC  0xE85250D6u
#define LOADER_MAGIC  0x36D76289u
#define HEADER_SEARCH 32768u
#define HEADER_BYTES  16u
#define TAG_BYTES     8u
#define TAG_OPTIONAL  1u
#define LOAD_FROM_START 0xFFFFFFFFu // as load address: the file from its first byte

enum {
    TAG_END, TAG_INFORMATION, TAG_ADDRESS, TAG_ENTRY, TAG_CONSOLE, TAG_FRAMEBUFFER,
    TAG_MODULE_ALIGN, TAG_EFI_BOOT_SERVICES, TAG_EFI_ENTRY_386, TAG_EFI_ENTRY_X86_64,
    TAG_RELOCATABLE,
};
enum { CONSOLE_REQUIRED = 1 };
enum { PREFER_LOWEST = 1, PREFER_HIGHEST = 2 };

struct header {
    uint64_t offset, bytes; // in the file
    bool has_addresses, has_entry, relocatable;
    struct multiboot_addresses addresses;
    uint64_t entry;
    uint64_t min, max, align, preference; // of a relocatable image
};

struct tag {
    uint64_t offset, type, flags, bytes;
};

static bool find_header(const struct load_file *file, struct header *h)
{
    for (uint64_t at = 0; at + HEADER_BYTES <= HEADER_SEARCH; at += 8) {
        uint64_t architecture, checksum;
        if (!load_is_word(file, at, HEADER_MAGIC))
            continue;
        if (!load_get(file, at + 4, 4, &architecture) ||
            !load_get(file, at + 8, 4, &h->bytes) || !load_get(file, at + 12, 4, &checksum))
            return false;
        h->offset = at;
        // Architecture 0 is the i386 in protected mode; 4 would be a MIPS.
        if (architecture == 0 && (uint32_t)(HEADER_MAGIC + h->bytes + checksum) == 0)
            return true;
    }
    return false;
}

bool multiboot2_detect(const struct load_file *file)
{
    struct header header;

    return find_header(file, &header);
}

// A 32-bit field of a tag, by its offset in it; the tag's bytes have been checked.
static bool tag_get(struct load *load, const struct tag *tag, unsigned at, uint64_t *value)
{
    if (at + 4 <= tag->bytes && load_get(&load->image, tag->offset + at, 4, value))
        return true;
    load_fail(load, "the multiboot 2 tag of type %" PRIu64 " at offset %" PRIu64 " is cut off",
              tag->type, tag->offset);
    return false;
}

// Types that the loader knows need not be there on this machine; others it may not pass over.
static bool check_request(struct load *load, const struct tag *tag)
{
    uint64_t type;

    for (unsigned at = TAG_BYTES; at + 4 <= tag->bytes; at += 4) {
        if (!tag_get(load, tag, at, &type))
            return false;
        if (!multiboot2_info_known(type) && !(tag->flags & TAG_OPTIONAL))
            return load_fail(load, "the multiboot 2 tag at offset %" PRIu64 " requires information "
                             "of type %" PRIu64 ", which is not given", tag->offset, type);
    }
    return true;
}

static bool read_relocatable(struct load *load, const struct tag *tag, struct header *h)
{
    h->relocatable = true;
    if (!tag_get(load, tag, 8, &h->min) || !tag_get(load, tag, 12, &h->max) ||
        !tag_get(load, tag, 16, &h->align) || !tag_get(load, tag, 20, &h->preference))
        return false;
    return (h->align != 0 && (h->align & (h->align - 1)) == 0) ||
           load_fail(load, "the relocatable tag at offset %" PRIu64 " asks for alignment 0x%" PRIx64
                     ", which is no power of two", tag->offset, h->align);
}

static bool check_console(struct load *load, const struct tag *tag)
{
    uint64_t flags = 0;

    if (!tag_get(load, tag, 8, &flags))
        return false;
    return !(flags & CONSOLE_REQUIRED) || (tag->flags & TAG_OPTIONAL) ||
           load_fail(load, "the console tag at offset %" PRIu64 " requires a screen, and a VM has "
                     "none; let the image mark the tag as optional", tag->offset);
}

static bool read_tag(struct load *load, const struct tag *tag, struct header *h)
{
    switch (tag->type) {
    case TAG_INFORMATION:
        return check_request(load, tag);
    case TAG_ADDRESS:
        h->has_addresses = true;
        return tag_get(load, tag, 8, &h->addresses.header) &&
               tag_get(load, tag, 12, &h->addresses.load) &&
               tag_get(load, tag, 16, &h->addresses.load_end) &&
               tag_get(load, tag, 20, &h->addresses.bss_end);
    case TAG_ENTRY:
        h->has_entry = true;
        return tag_get(load, tag, 8, &h->entry);
    case TAG_CONSOLE:
        return check_console(load, tag);
    case TAG_FRAMEBUFFER:
        return (tag->flags & TAG_OPTIONAL) ||
               load_fail(load, "the framebuffer tag at offset %" PRIu64 " requires a screen, and a "
                         "VM has none; let the image mark the tag as optional", tag->offset);
    case TAG_RELOCATABLE:
        return read_relocatable(load, tag, h);
    case TAG_MODULE_ALIGN: // always done
    case TAG_EFI_BOOT_SERVICES:
    case TAG_EFI_ENTRY_386:
    case TAG_EFI_ENTRY_X86_64: // for a loader that runs on EFI
        return true;
    default:
        return (tag->flags & TAG_OPTIONAL) ||
               load_fail(load, "the multiboot 2 tag at offset %" PRIu64 " is required, and its "
                         "type %" PRIu64 " is not known", tag->offset, tag->type);
    }
}

static bool read_header(struct load *load, struct header *h)
{
    uint64_t end, at;

    if (!find_header(&load->image, h))
        return load_fail(load, "no multiboot 2 header in the first %u bytes", HEADER_SEARCH);
    at = h->offset + HEADER_BYTES;
    end = h->offset + h->bytes;
    if (h->bytes < HEADER_BYTES || end > HEADER_SEARCH || end > load->image.bytes)
        return load_fail(load, "the multiboot 2 header at offset %" PRIu64 " of %" PRIu64
                         " bytes does not end in the first %u bytes of the file", h->offset,
                         h->bytes, HEADER_SEARCH);
    while (end - at >= TAG_BYTES) {
        struct tag tag = { .offset = at };
        load_get(&load->image, at, 2, &tag.type);
        load_get(&load->image, at + 2, 2, &tag.flags);
        load_get(&load->image, at + 4, 4, &tag.bytes);
        if (tag.bytes < TAG_BYTES || tag.bytes > end - at)
            return load_fail(load, "the multiboot 2 tag at offset %" PRIu64 " has %" PRIu64
                             " bytes, and the header ends at offset %" PRIu64, at, tag.bytes, end);
        if (tag.type == TAG_END)
            return true;
        if (!read_tag(load, &tag, h))
            return false;
        at += (tag.bytes + 7) & ~7ull;
        if (at > end)
            break;
    }
    return load_fail(load, "the multiboot 2 header at offset %" PRIu64 " has no end tag",
                     h->offset);
}

// Within the image's own limits, and with room for its modules behind it.
static bool fits(const struct load *load, const struct header *h, uint64_t gpa, uint64_t bytes)
{
    uint64_t limit = load_image_limit(load);

    return gpa >= h->min && gpa <= h->max && bytes <= h->max - gpa &&
           gpa <= limit && bytes <= limit - gpa && load_may_use(load, gpa, bytes);
}

// Where a relocatable image of `bytes` that is linked for `link` goes. -> *base
static bool choose_base(struct load *load, const struct header *h, uint64_t link, uint64_t bytes,
                        uint64_t *base)
{
    uint64_t mask = ~(h->align - 1), extended = h->min > RAM_EXTENDED ? h->min : RAM_EXTENDED;
    uint64_t limit = load_image_limit(load), top = h->max < limit ? h->max : limit;

    *base = link;
    if (h->preference != PREFER_LOWEST && h->preference != PREFER_HIGHEST &&
        (link & ~mask) == 0 && fits(load, h, link, bytes))
        return true;
    *base = (top - bytes) & mask;
    if (h->preference == PREFER_HIGHEST && bytes <= top && fits(load, h, *base, bytes))
        return true;
    *base = (h->min + ~mask) & mask; // rounded up
    if (fits(load, h, *base, bytes))
        return true;
    *base = (extended + ~mask) & mask;
    return fits(load, h, *base, bytes) ||
           load_fail(load, "no place for the %" PRIu64 " bytes of this relocatable image between "
                     "0x%" PRIx64 " and 0x%" PRIx64 " with room for its modules behind it; give "
                     "the VM more memory", bytes, h->min, h->max);
}

struct placed {
    uint64_t entry, base, end;
};

static bool load_addresses(struct load *load, struct header *h, struct placed *placed)
{
    struct multiboot_part part;

    if (!h->has_entry)
        return load_fail(load, "the multiboot 2 header at offset %" PRIu64
                         " has an address tag, but no entry address tag", h->offset);
    h->addresses.header_offset = h->offset;
    if (h->addresses.load == LOAD_FROM_START)
        h->addresses.load = h->addresses.header - h->offset;
    if (!multiboot_part(load, &h->addresses, &part))
        return false;
    placed->base = part.gpa;
    if (h->relocatable && !choose_base(load, h, part.gpa, part.memory_bytes, &placed->base))
        return false;
    placed->entry = h->entry + (placed->base - part.gpa);
    placed->end = placed->base + part.memory_bytes;
    return load_part(load, "multiboot 2 image", part.offset, part.bytes, placed->base,
                     part.memory_bytes);
}

static bool load_segments(struct load *load, const struct header *h, struct placed *placed)
{
    struct elf_file elf;
    uint64_t low, high, entry = h->entry;

    if (!elf_detect(&load->image))
        return load_fail(load, "the multiboot 2 header at offset %" PRIu64
                         " has no address tag, and the image is not ELF", h->offset);
    if (!elf_open(load, &elf))
        return false;
    if (!elf_extent(&elf, &low, &high))
        return load_fail(load, "an ELF segment ends beyond the highest address");
    if (!h->has_entry && !elf_entry(load, &elf, &entry))
        return false;
    placed->base = low;
    if (h->relocatable && !choose_base(load, h, low, high - low, &placed->base))
        return false;
    placed->entry = entry + (placed->base - low);
    return elf_load(load, &elf, placed->base - low, &placed->end);
}

bool multiboot2_load(struct load *load)
{
    struct header header = { 0 };
    struct placed placed = { 0 };
    uint64_t info = 0;

    load->format = "multiboot 2";
    return read_header(load, &header) &&
           (header.has_addresses ? load_addresses(load, &header, &placed)
                                 : load_segments(load, &header, &placed)) &&
           multiboot2_info(load, placed.end, header.relocatable ? &placed.base : NULL, &info) &&
           multiboot_state(load, placed.entry, LOADER_MAGIC, info);
}
