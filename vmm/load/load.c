// SPDX-License-Identifier: BSD-2-Clause
//
// What all loaders share: bounded reads, placement in guest RAM, and the choice of the loader.
// Runs on the VMM's only thread, before the first vCPU does.
#include "vmm/load/load.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MULTIBOOT2_MAGIC 0xE85250D6u

bool load_fail(struct load *load, const char *format, ...)
{
    int used = snprintf(load->error, sizeof(load->error), "%s: ", load->image.name);
    va_list arguments;

    va_start(arguments, format);
    if (used >= 0 && (size_t)used < sizeof(load->error))
        vsnprintf(load->error + used, sizeof(load->error) - (size_t)used, format, arguments);
    va_end(arguments);
    return false;
}

bool load_get(const struct load_file *file, uint64_t offset, unsigned size, uint64_t *value)
{
    if (offset > file->bytes || size > file->bytes - offset)
        return false;
    *value = 0;
    for (unsigned i = size; i-- > 0;)
        *value = *value << 8 | file->data[offset + i];
    return true;
}

bool load_may_use(const struct load *load, uint64_t gpa, uint64_t bytes)
{
    if (ram_at(load->ram, gpa, bytes) == NULL)
        return false;
    return gpa >= RAM_EXTENDED || (gpa < BOOT_AREA && bytes <= BOOT_AREA - gpa);
}

bool load_part(struct load *load, const char *what, uint64_t offset, uint64_t bytes, uint64_t gpa,
               uint64_t memory_bytes)
{
    const struct load_file *file = &load->image;

    if (offset > file->bytes || bytes > file->bytes - offset)
        return load_fail(load, "%s: %" PRIu64 " bytes at offset %" PRIu64
                         " run past the end of the file (%" PRIu64 " bytes)",
                         what, bytes, offset, file->bytes);
    if (memory_bytes < bytes)
        return load_fail(load, "%s: %" PRIu64 " bytes in memory are less than the %" PRIu64
                         " in the file", what, memory_bytes, bytes);
    if (!load_may_use(load, gpa, memory_bytes))
        return load_fail(load, "%s: %" PRIu64 " bytes at address 0x%" PRIx64
                         " do not fit into the VM's memory; give it more, or link it elsewhere",
                         what, memory_bytes, gpa);
    ram_write(load->ram, gpa, file->data + offset, bytes);
    ram_zero(load->ram, gpa + bytes, memory_bytes - bytes);
    return true;
}

bool load_initrd(struct load *load, uint64_t floor, uint64_t limit, uint64_t *gpa)
{
    uint64_t bytes = load->initrd.bytes;

    if (limit > load->ram->low_end)
        limit = load->ram->low_end;
    if (floor < RAM_EXTENDED)
        floor = RAM_EXTENDED;
    floor = (floor + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    if (limit < floor || bytes > limit - floor)
        return load_fail(load, "no room for the initrd '%s' (%" PRIu64
                         " bytes) behind the image, which ends at 0x%" PRIx64
                         "; give the VM more memory", load->initrd.name, bytes, floor);
    *gpa = (limit - bytes) & ~(PAGE_SIZE - 1);
    return ram_write(load->ram, *gpa, load->initrd.data, bytes);
}

bool load_cmdline(struct load *load, const char *prefix, uint64_t max)
{
    char text[BOOT_CMDLINE_MAX];
    int length = snprintf(text, sizeof(text), "%s%s%s", prefix, *prefix ? " " : "", load->cmdline);

    if (length < 0 || (size_t)length >= sizeof(text) || (uint64_t)length > max)
        return load_fail(load, "the command line of %d bytes is longer than the %" PRIu64
                         " that this image takes", length,
                         max < sizeof(text) ? max : sizeof(text) - 1);
    return ram_write(load->ram, BOOT_CMDLINE, text, (uint64_t)length + 1);
}

static bool has_multiboot2(const struct load_file *file)
{
    for (uint64_t offset = 0; offset < 32768; offset += 8) {
        uint64_t magic, architecture, length, checksum;
        if (!load_get(file, offset, 4, &magic) || !load_get(file, offset + 4, 4, &architecture) ||
            !load_get(file, offset + 8, 4, &length) || !load_get(file, offset + 12, 4, &checksum))
            return false;
        if (magic == MULTIBOOT2_MAGIC && (uint32_t)(magic + architecture + length + checksum) == 0)
            return true;
    }
    return false;
}

bool load_image(struct load *load)
{
    load->error[0] = 0;
    if (bzimage_detect(&load->image))
        return bzimage_load(load);
    if (multiboot1_detect(&load->image))
        return multiboot1_load(load);
    return load_fail(load, "unknown image format%s; it takes a multiboot 1 image (magic 0x1BADB002 "
                     "in the first 8192 bytes) or a Linux bzImage (\"HdrS\" at offset 0x202)",
                     has_multiboot2(&load->image) ? ": multiboot 2 only" : "");
}
