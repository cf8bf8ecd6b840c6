// SPDX-License-Identifier: BSD-2-Clause
//
// Fuzzes the image loaders: any bytes give an answer, without an access outside the file or outside
// what an image may touch of the guest's memory. There is one target for each format, FUZZ_FORMAT,
// which sets the marks and checksums that the format is told by, so that mutations get behind them;
// FUZZ_ANY changes nothing.
// The input begins with struct choices; what follows is the image.
#include <sanitizer/asan_interface.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/load/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_ANY, FUZZ_LINUX, FUZZ_MULTIBOOT1, FUZZ_MULTIBOOT2, FUZZ_PVH };

// Small, so that its end is near; exactly as large as the guest's memory is.
enum { MEMORY = RAM_MIN, RSDP = RAM_TABLES, RSDP_BYTES = 64 };

enum { WITH_INITRD = 1, WITH_FLAT = 2, WITH_LONG_TEXT = 4, WITH_ENTRY32 = 8 };

struct choices {
    uint8_t flags, modules;
    uint16_t mark; // offset in the image of the format's mark
    uint32_t flat_gpa;
};

static void set(uint8_t *image, size_t bytes, size_t at, uint64_t value, size_t size)
{
    if (at <= bytes && size <= bytes - at)
        memcpy(image + at, &value, size);
}

static uint32_t get(const uint8_t *image, size_t bytes, size_t at)
{
    uint32_t value = 0;

    if (at <= bytes && 4 <= bytes - at)
        memcpy(&value, image + at, 4);
    return value;
}

// The marks of a format, wherever they fit into the image.
static void set_marks(uint8_t *image, size_t bytes, size_t at)
{
    switch (FUZZ_FORMAT) {
    case FUZZ_LINUX:
        set(image, bytes, 0x1FE, 0xAA55, 2);
        set(image, bytes, 0x202, 0x53726448, 4);
        break;
    case FUZZ_MULTIBOOT1:
        at &= 0x1FFC;
        set(image, bytes, at, 0x1BADB002, 4);
        set(image, bytes, at + 8, 0u - (0x1BADB002u + get(image, bytes, at + 4)), 4);
        break;
    case FUZZ_MULTIBOOT2:
        at &= 0x7FF8;
        set(image, bytes, at, 0xE85250D6, 4);
        set(image, bytes, at + 4, 0, 4);
        set(image, bytes, at + 12, 0u - (0xE85250D6u + get(image, bytes, at + 8)), 4);
        break;
    case FUZZ_PVH:
        at &= 0xFFFC;
        set(image, bytes, 0, 0x464C457F, 4);
        set(image, bytes, at, 4, 4);
        set(image, bytes, at + 8, 18, 4);
        set(image, bytes, at + 12, 0x006E6558, 4);
        break;
    default:
        break;
    }
}

// Memory whose holes, and whose firmware tables but for the RSDP, nobody may touch.
static uint8_t *make_memory(void)
{
    uint8_t *memory = calloc(1, MEMORY);

    if (memory == NULL)
        abort();
    ASAN_POISON_MEMORY_REGION(memory + RAM_BASE_END, RAM_TEXT - RAM_BASE_END);
    ASAN_POISON_MEMORY_REGION(memory + RAM_TEXT_END, RAM_TABLES - RAM_TEXT_END);
    ASAN_POISON_MEMORY_REGION(memory + RSDP + RSDP_BYTES, RAM_TABLES_END - RSDP - RSDP_BYTES);
    return memory;
}

static void load(struct load *load, const struct choices *choices, struct load_file file)
{
    static char text[2000];

    if (text[0] == 0)
        memset(text, 'x', sizeof(text) - 1);
    load->image = file;
    load->flat = (choices->flags & WITH_FLAT) != 0;
    load->flat_gpa = choices->flat_gpa;
    load->entry32 = (choices->flags & WITH_ENTRY32) != 0;
    if (choices->flags & WITH_INITRD)
        load->initrd = (struct load_file){ file.data, file.bytes, "initrd" };
    load->modules = choices->modules % (LOAD_MODULE_MAX + 1);
    for (unsigned i = 0; i < load->modules; i++) {
        load->module[i].file = (struct load_file){ file.data, file.bytes, "module" };
        load->module[i].cmdline = choices->flags & WITH_LONG_TEXT ? text : "";
    }
    bool loaded = load_image(load);
    // Either it is loaded, or there is a message.
    if (loaded == (load->error[0] != 0) || memchr(load->error, 0, sizeof(load->error)) == NULL)
        abort();
    if (loaded && (load->format == NULL || load->state.sregs.rip > UINT32_MAX))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *memory;
    struct choices choices;
    struct guest_ram ram;
    struct load state = { .ram = &ram, .cmdline = "console=ttyS0", .rsdp = RSDP };

    if (memory == NULL)
        memory = make_memory();
    if (size <= sizeof(choices))
        return 0;
    memcpy(&choices, data, sizeof(choices));
    ram_init(&ram, memory, MEMORY);
    size_t bytes = size - sizeof(choices);
    uint8_t *image = malloc(bytes); // of its very size
    if (image == NULL)
        return 0;
    memcpy(image, data + sizeof(choices), bytes);
    set_marks(image, bytes, choices.mark);
    load(&state, &choices, (struct load_file){ image, bytes, "fuzz" });
    free(image);
    return 0;
}
