// SPDX-License-Identifier: BSD-2-Clause
//
// What the setup header of a Linux bzImage tells before it is loaded: whether it can be started,
// and the memory that it takes. vmm/load/bzimage.c holds it to the same. Only reads inside the
// image's head. And the key that chooses among a kernel's entries. No state.
#include "config/linux.h"
#include "config/schema.h"

#include <inttypes.h>
#include <stdio.h>

// The Linux/x86 Boot Protocol, "Details of Header Fields".
#define SETUP_SECTORS 0x1f1
#define VERSION 0x206
#define LOADFLAGS 0x211
#define LOADED_HIGH 1u
#define KERNEL_ALIGNMENT 0x230
#define RELOCATABLE 0x234
#define PREF_ADDRESS 0x258
#define INIT_SIZE 0x260

#define VERSION_MIN 0x206      // the first that tells the longest command line
#define VERSION_INIT_SIZE 0x20a // the first with PREF_ADDRESS and INIT_SIZE
#define PAGE UINT64_C(4096)

// 0 behind the end.
static uint64_t field(const struct config_image *image, size_t at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && at + i < image->head_size; i++)
        value |= (uint64_t)image->head[at + i] << (8 * i);
    return value;
}

const char *config_linux_problem(const struct config_image *image, char text[CONFIG_LINUX_TEXT])
{
    unsigned version = (unsigned)field(image, VERSION, 2);

    if (version < VERSION_MIN)
        snprintf(text, CONFIG_LINUX_TEXT, "has Linux boot protocol %u.%02u, and is started in real "
                 "mode: 2.06 or later is needed", version >> 8, version & 0xff);
    else if ((field(image, LOADFLAGS, 1) & LOADED_HIGH) == 0)
        snprintf(text, CONFIG_LINUX_TEXT, "is a zImage, which is loaded below 1 MB and started in "
                 "real mode: a bzImage is needed");
    else
        return NULL;
    return text;
}

uint64_t config_linux_end(const struct config_image *image)
{
    uint64_t sectors = field(image, SETUP_SECTORS, 1), setup, bytes;
    uint64_t preferred = 0, start;

    setup = ((sectors != 0 ? sectors : 4) + 1) * 512;
    bytes = image->size > setup ? image->size - setup : 0;
    if (field(image, VERSION, 2) >= VERSION_INIT_SIZE) {
        uint64_t init_size = field(image, INIT_SIZE, 4);
        preferred = field(image, PREF_ADDRESS, 8);
        if (bytes < init_size)
            bytes = init_size;
    }
    start = linux_start(preferred, field(image, RELOCATABLE, 1) != 0,
                        field(image, KERNEL_ALIGNMENT, 4));
    if (bytes > UINT64_MAX - PAGE || start > UINT64_MAX - PAGE - bytes)
        return UINT64_MAX;
    return (start + bytes + PAGE - 1) & ~(PAGE - 1);
}

void config_set_entry(const struct config_target *target, const struct config_value *value)
{
    char quote[CONFIG_QUOTE_SIZE];

    target->vm->entry32 = config_value_is(value, "32");
    if (!target->vm->entry32)
        config_error(target->log, value->pos, "entry = %s is not known: write 32 for the 32-bit "
                     "entry of a Linux kernel, or leave it out",
                     config_quote(quote, value->text, value->length));
}
