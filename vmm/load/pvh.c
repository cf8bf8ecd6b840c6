// SPDX-License-Identifier: BSD-2-Clause
//
// PVH: an ELF file whose note XEN_ELFNOTE_PHYS32_ENTRY gives a 32-bit entry point. Follows Xen's
// "x86/HVM direct boot ABI" and the layouts of its public header arch-x86/hvm/start_info.h.
// Keeps no state; runs on the VMM's only thread.
#include <inttypes.h>
#include <string.h>
#include "vmm/load/elf.h"
#include "vmm/load/load.h"

#define START_INFO_MAGIC   0x336EC578u
#define START_INFO_VERSION 1 // with the memory map

static const struct elf_note_key phys32_entry = { .name = "Xen", .name_bytes = 4, .type = 18 };

struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "version 1");

struct hvm_module {
    uint64_t address, bytes, cmdline, reserved;
};

struct hvm_memmap {
    uint64_t base, bytes;
    uint32_t type, reserved;
};

bool pvh_detect(const struct load_file *file)
{
    struct elf_note note;

    return elf_detect(file) && elf_find_note(file, &phys32_entry, &note);
}

static bool put_modules(struct load *load, uint64_t floor, struct hvm_start_info *info)
{
    struct load_placed placed[LOAD_PLACED_MAX];
    struct hvm_module module[LOAD_PLACED_MAX];
    unsigned count = 0;

    if (!load_modules(load, floor, placed, &count))
        return false;
    if (count == 0)
        return true;
    for (unsigned i = 0; i < count; i++) {
        module[i] = (struct hvm_module){ .address = placed[i].gpa, .bytes = placed[i].bytes };
        // None is told by an address of 0, which is nobody's.
        if (placed[i].cmdline[0] != 0) {
            module[i].cmdline = load_put_text(load, "", placed[i].cmdline);
            if (module[i].cmdline == 0)
                return false;
        }
    }
    info->nr_modules = count;
    info->modlist = load_put(load, module, count * sizeof(module[0]));
    return info->modlist != 0;
}

static bool put_memmap(struct load *load, struct hvm_start_info *info)
{
    struct e820_entry entry[E820_MAX];
    struct hvm_memmap map[E820_MAX];
    unsigned count = ram_e820(load->ram, entry);

    for (unsigned i = 0; i < count; i++)
        map[i] = (struct hvm_memmap){ entry[i].base, entry[i].bytes, entry[i].type, 0 };
    info->memmap_entries = count;
    info->memmap = load_put(load, map, count * sizeof(map[0]));
    return info->memmap != 0;
}

static bool write_info(struct load *load, uint64_t end)
{
    struct hvm_start_info info = {
        .magic = START_INFO_MAGIC, .version = START_INFO_VERSION,
        .cmdline = BOOT_CMDLINE, .rsdp = load->rsdp,
    };

    return put_memmap(load, &info) && put_modules(load, end, &info) &&
           load_cmdline(load, "", BOOT_CMDLINE_MAX - 1) &&
           ram_write(load->ram, BOOT_PARAMS, &info, sizeof(info));
}

bool pvh_load(struct load *load)
{
    struct elf_note note = { 0 };
    struct elf_file elf;
    uint64_t end = 0;

    if (!elf_find_note(&load->image, &phys32_entry, &note))
        return load_fail(load, "no Xen note of type 18");
    if (note.bytes != 4 && note.bytes != 8)
        return load_fail(load, "the PVH note at offset %" PRIu64 " has %" PRIu64
                         " bytes; an entry point has 4 or 8", note.offset, note.bytes);
    if (!elf_open(load, &elf) || !elf_load(load, &elf, 0, &end))
        return false;
    if (note.value > UINT32_MAX || !elf_holds(&elf, note.value))
        return load_fail(load, "the PVH entry point 0x%" PRIx64 " (note at offset %" PRIu64
                         ") lies in no segment below 4 GB", note.value, note.offset);
    if (!write_info(load, end))
        return false;
    if (!load_state_flat32(load))
        return load_fail(load, "no memory for the boot area");
    load->state.sregs.rip = note.value;
    load->state.gpr[GPR_RBX] = BOOT_PARAMS;
    // Whom no BIOS has started expects none of its interrupts: where this protocol comes from there
    // is no PIC at all, and no timer runs.
    load->pic_masked = true;
    load->format = "PVH ELF";
    return true;
}
