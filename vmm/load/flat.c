// SPDX-License-Identifier: BSD-2-Clause
//
// A flat binary: the whole file goes to the address that the config gives, and is entered at its
// first byte in 32-bit protected mode, as if a multiboot 1 header had said so. EAX and EBX are
// multiboot 1's too: a binary that wants to know how much memory there is can look there.
// Keeps no state; runs on the VMM's only thread.
#include "vmm/load/multiboot.h"

bool flat_load(struct load *load)
{
    uint64_t bytes = load->image.bytes, gpa = load->flat_gpa;

    if (load->modules != 0)
        return load_fail(load, "a flat binary takes no modules ('%s')", load->module[0].file.name);
    if (load->initrd.data != NULL)
        return load_fail(load, "a flat binary takes no initrd ('%s')", load->initrd.name);
    load->format = "flat binary";
    return load_part(load, "flat binary", 0, bytes, gpa, bytes) &&
           multiboot1_info(load, gpa + bytes) &&
           multiboot_state(load, gpa, MULTIBOOT1_LOADER_MAGIC, BOOT_PARAMS);
}
