// SPDX-License-Identifier: BSD-2-Clause
// What GRUB left: memory map, modules, RSDP, command line (Multiboot2 specification, "Boot
// information format"). Read once by the boot core, while the first 4 GB are mapped. Also run on
// the host: tests/unit/test_multiboot.c, tests/fuzz/fuzz_firmware.c.
#pragma once
#include "kernel/arch/x86/memmap.h"
#include "kernel/core/boot.h"

struct boot_memory {
    struct memmap usable;          // what is left of GRUB's map after everything in use was cut out
    uint64_t trampoline;           // a free page below 640 KB; 0: none
    const void *map, *screen, *rsdp; // two tags; what is in the RSDP's
    uint32_t rsdp_bytes;
};
extern struct boot_memory boot_memory;

// NULL, or what is wrong. `image`: where the kernel itself lies.
const char *multiboot_parse(uint32_t magic, uint32_t info, struct ram_range image,
                            struct boot_facts *facts);
