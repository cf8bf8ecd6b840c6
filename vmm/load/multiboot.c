// SPDX-License-Identifier: BSD-2-Clause
//
// What both versions of multiboot have in common; see multiboot.h. Follows "The address fields of
// Multiboot header" and "Machine state" of the Multiboot Specification 0.6.96, and the same of
// version 2.0. Keeps no state; runs on the VMM's only thread.
#include "vmm/load/multiboot.h"

#include <inttypes.h>

bool multiboot_part(struct load *load, const struct multiboot_addresses *a,
                    struct multiboot_part *part)
{
    uint64_t offset, bytes, end;

    if (a->load > a->header || a->header - a->load > a->header_offset)
        return load_fail(load, "multiboot header: load address 0x%" PRIx64
                         " does not fit header address 0x%" PRIx64 " and its offset %" PRIu64,
                         a->load, a->header, a->header_offset);
    offset = a->header_offset - (a->header - a->load);
    bytes = load->image.bytes - offset;
    if (a->load_end != 0) {
        if (a->load_end < a->load)
            return load_fail(load, "multiboot header: load end 0x%" PRIx64
                             " is below the load address", a->load_end);
        bytes = a->load_end - a->load;
    }
    end = a->load + bytes;
    if (a->bss_end > end)
        end = a->bss_end;
    *part = (struct multiboot_part){ offset, bytes, a->load, end - a->load };
    return true;
}

bool multiboot_state(struct load *load, uint64_t entry, uint32_t magic, uint64_t information)
{
    if (entry > UINT32_MAX)
        return load_fail(load, "the entry point 0x%" PRIx64 " is not below 4 GB", entry);
    if (!load_state_flat32(load))
        return load_fail(load, "no memory for the boot area");
    load->state.sregs.rip = entry;
    load->state.gpr[GPR_RAX] = magic;
    load->state.gpr[GPR_RBX] = information;
    return true;
}
