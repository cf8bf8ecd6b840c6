// SPDX-License-Identifier: BSD-2-Clause
//
// What all loaders share: bounded reads, placement in guest RAM, and the choice of the loader.
// Runs on the VMM's only thread, before the first vCPU does.
#include "vmm/load/load.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "vmm/load/elf.h"

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
    memcpy(value, file->data + offset, size);
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
        return load_fail(load, "%s at offset %" PRIu64 ": %" PRIu64 " bytes in memory are less "
                         "than the %" PRIu64 " in the file", what, offset, memory_bytes, bytes);
    if (!load_may_use(load, gpa, memory_bytes))
        return load_fail(load, "%s at offset %" PRIu64 ": %" PRIu64 " bytes at address 0x%" PRIx64
                         " do not fit into the VM's memory; give it more, or link it elsewhere",
                         what, offset, memory_bytes, gpa);
    ram_write(load->ram, gpa, file->data + offset, bytes);
    ram_zero(load->ram, gpa + bytes, memory_bytes - bytes);
    return true;
}

static uint64_t page_up(uint64_t bytes)
{
    return (bytes + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

// `needed`: where RAM below 4 GB would have to end.
static bool no_room(struct load *load, const char *what, const struct load_file *file,
                    uint64_t floor, uint64_t needed)
{
    char mend[64] = "they must lie below 3 GB";

    if (needed <= RAM_LOW_MAX)
        snprintf(mend, sizeof(mend), "give the VM at least %" PRIu64 "K of memory", needed >> 10);
    return load_fail(load, "no room for the %s '%s' (%" PRIu64 " bytes) behind the image, which "
                     "ends at 0x%" PRIx64 "; %s", what, file->name, file->bytes, floor, mend);
}

// To the highest page that leaves room below the limit.
bool load_initrd(struct load *load, uint64_t floor, uint64_t limit, uint64_t *gpa)
{
    const struct load_file *file = &load->initrd;
    uint64_t needed;

    floor = page_up(floor < RAM_EXTENDED ? RAM_EXTENDED : floor);
    needed = floor + page_up(file->bytes);
    if (needed > limit && limit < load->ram->low_end)
        return load_fail(load, "no room for the initrd '%s' (%" PRIu64 " bytes) between the image, "
                         "which ends at 0x%" PRIx64 ", and 0x%" PRIx64 ", below which the image "
                         "wants it", file->name, file->bytes, floor, limit);
    if (needed > load->ram->low_end)
        return no_room(load, "initrd", file, floor, needed);
    if (limit > load->ram->low_end)
        limit = load->ram->low_end;
    *gpa = (limit - file->bytes) & ~(PAGE_SIZE - 1);
    return ram_write(load->ram, *gpa, file->data, file->bytes);
}

// The files that go behind an image, in their order. -> count
static unsigned list_modules(const struct load *load, const struct load_file *file[LOAD_PLACED_MAX])
{
    unsigned n = 0;

    if (load->initrd.data != NULL)
        file[n++] = &load->initrd;
    for (unsigned i = 0; i < load->modules && n < LOAD_PLACED_MAX; i++)
        file[n++] = &load->module[i].file;
    return n;
}

// What they take, each on pages of its own.
static uint64_t modules_bytes(const struct load *load)
{
    const struct load_file *file[LOAD_PLACED_MAX];
    unsigned count = list_modules(load, file);
    uint64_t bytes = 0;

    for (unsigned i = 0; i < count; i++)
        bytes += page_up(file[i]->bytes);
    return bytes;
}

uint64_t load_image_limit(const struct load *load)
{
    uint64_t bytes = modules_bytes(load);

    return bytes <= load->ram->low_end - RAM_EXTENDED ? load->ram->low_end - bytes : 0;
}

bool load_modules(struct load *load, uint64_t end, struct load_placed placed[LOAD_PLACED_MAX],
                  unsigned *count)
{
    const struct load_file *file[LOAD_PLACED_MAX];
    uint64_t start = page_up(end < RAM_EXTENDED ? RAM_EXTENDED : end), at = start;
    unsigned n = list_modules(load, file);

    for (unsigned i = 0; i < n; i++) {
        bool initrd = file[i] == &load->initrd;
        if (at > load->ram->low_end || file[i]->bytes > load->ram->low_end - at)
            return no_room(load, initrd ? "initrd" : "module", file[i], end,
                           start + modules_bytes(load));
        placed[i] = (struct load_placed){
            .gpa = at, .bytes = file[i]->bytes, .name = file[i]->name,
            .cmdline = initrd ? "" : load->module[i - (load->initrd.data != NULL)].cmdline,
        };
        ram_write(load->ram, at, file[i]->data, file[i]->bytes);
        at += page_up(file[i]->bytes);
    }
    *count = n;
    return true;
}

// "PREFIX TEXT", or the one of them that is not empty; -> its length, which may be beyond the room
static int join(char text[BOOT_CMDLINE_MAX], const char *prefix, const char *rest)
{
    return snprintf(text, BOOT_CMDLINE_MAX, "%s%s%s", prefix, *prefix && *rest ? " " : "", rest);
}

bool load_cmdline(struct load *load, const char *prefix, uint64_t max)
{
    char text[BOOT_CMDLINE_MAX];
    int length = join(text, prefix, load->cmdline);

    if (length < 0 || (size_t)length >= sizeof(text) || (uint64_t)length > max)
        return load_fail(load, "the command line of %d bytes is longer than the %" PRIu64
                         " that this image takes", length,
                         max < sizeof(text) ? max : sizeof(text) - 1);
    return ram_write(load->ram, BOOT_CMDLINE, text, (uint64_t)length + 1);
}

uint64_t load_put(struct load *load, const void *data, uint64_t bytes)
{
    uint64_t gpa = (load->put + 7) & ~7ull;

    if (bytes > BOOT_STRINGS_END - gpa || !ram_write(load->ram, gpa, data, bytes)) {
        load_fail(load, "more boot information than the %llu bytes there are for it: modules with "
                  "shorter command lines would fit", BOOT_STRINGS_END - BOOT_STRINGS);
        return 0;
    }
    load->put = gpa + bytes;
    return gpa;
}

uint64_t load_put_text(struct load *load, const char *prefix, const char *rest)
{
    char text[BOOT_CMDLINE_MAX];
    int length = join(text, prefix, rest);

    if (length < 0 || (size_t)length >= sizeof(text)) {
        load_fail(load, "a command line of %d bytes", length);
        return 0;
    }
    return load_put(load, text, (uint64_t)length + 1);
}

// In the order in which an image is compared with them. config/image.c has the same order.
static const struct load_format {
    const char *name;
    bool (*detect)(const struct load_file *file);
    bool (*load)(struct load *load);
} load_formats[] = {
    { "Linux bzImage", bzimage_detect, bzimage_load },
    { "multiboot 2", multiboot2_detect, multiboot2_load },
    { "multiboot 1", multiboot1_detect, multiboot1_load },
    { "PVH ELF", pvh_detect, pvh_load },
};

// What the config says that is not for this format.
static bool suits(struct load *load, const struct load_format *format)
{
    if (load->flat)
        return load_fail(load, "load = 0x%" PRIx64 " is for a flat binary, and this is %s",
                         load->flat_gpa, format->name);
    return !load->entry32 || format->load == bzimage_load ||
           load_fail(load, "entry = 32 is for a Linux bzImage, and this is %s", format->name);
}

bool load_image(struct load *load)
{
    load->error[0] = 0;
    load->pic_masked = false;
    load->put = BOOT_STRINGS;
    for (unsigned i = 0; i < sizeof(load_formats) / sizeof(load_formats[0]); i++) {
        const struct load_format *format = &load_formats[i];
        if (format->detect(&load->image))
            return suits(load, format) && format->load(load);
    }
    if (load->flat && elf_detect(&load->image))
        return load_fail(load, "load = 0x%" PRIx64 " is for a flat binary, and this is ELF",
                         load->flat_gpa);
    if (load->flat && load->entry32)
        return load_fail(load, "entry = 32 is for a Linux bzImage, and this is a flat binary");
    if (load->flat)
        return flat_load(load);
    return load_fail(load, "unknown image format: no Linux bzImage (\"HdrS\" at offset 0x202), no "
                     "multiboot 2 (0xE85250D6 in the first 32768 bytes) or multiboot 1 image "
                     "(0x1BADB002 in the first 8192 bytes, with ELF or address fields), no PVH ELF "
                     "(Xen note 18); a flat binary needs load = ADDRESS");
}
