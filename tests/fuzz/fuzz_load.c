// SPDX-License-Identifier: BSD-2-Clause
//
// Fuzzes the image loaders: any bytes give an answer, without an access outside the file or the
// guest's memory. The first byte chooses whether there is an initrd.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/load/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Small, so that its end is near; exactly as large as the guest's memory is.
enum { MEMORY = 8 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *memory;
    struct guest_ram ram;
    struct load load = { .ram = &ram, .cmdline = "console=ttyS0", .rsdp = 0xE0000 };
    bool loaded;

    if (memory == NULL)
        memory = calloc(1, MEMORY);
    if (memory == NULL || size < 1)
        return 0;
    ram_init(&ram, memory, MEMORY);
    load.image = (struct load_file){ data + 1, size - 1, "fuzz" };
    if (data[0] & 1)
        load.initrd = (struct load_file){ data, size, "initrd" };
    loaded = load_image(&load);
    // Either it is loaded, or there is a message.
    if (loaded == (load.error[0] != 0) || memchr(load.error, 0, sizeof(load.error)) == NULL)
        abort();
    return 0;
}
