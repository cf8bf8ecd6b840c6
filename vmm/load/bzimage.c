// SPDX-License-Identifier: BSD-2-Clause
//
// Linux bzImage, boot protocol 2.06 and later: the 64-bit entry where the kernel has one, else the
// 32-bit entry. Follows Documentation/x86/boot.rst of the kernel, "The Linux/x86 Boot Protocol",
// and zero-page.rst. Keeps no state; runs on the VMM's only thread.
#include <inttypes.h>
#include <string.h>
#include "config/linux.h"
#include "vmm/load/load.h"

// Offsets of the setup header's fields, the same in the file and in the zero page.
enum {
    SETUP_START = 0x1F1, // setup_sects
    SETUP_BOOT_FLAG = 0x1FE,
    SETUP_JUMP = 0x201,  // its operand: the header's length behind 0x202
    SETUP_MAGIC = 0x202,
    SETUP_VERSION = 0x206,
    SETUP_TYPE_OF_LOADER = 0x210,
    SETUP_LOADFLAGS = 0x211,
    SETUP_CODE32_START = 0x214,
    SETUP_RAMDISK_IMAGE = 0x218,
    SETUP_RAMDISK_SIZE = 0x21C,
    SETUP_CMD_LINE_PTR = 0x228,
    SETUP_INITRD_ADDR_MAX = 0x22C,
    SETUP_KERNEL_ALIGNMENT = 0x230,
    SETUP_RELOCATABLE = 0x234,
    SETUP_XLOADFLAGS = 0x236,
    SETUP_CMDLINE_SIZE = 0x238,
    SETUP_PREF_ADDRESS = 0x258,
    SETUP_INIT_SIZE = 0x260,
    SETUP_END_MAX = 0x290, // of the space that the zero page has for it
};

// Fields of the zero page outside the header.
enum {
    PARAMS_RSDP = 0x70,
    PARAMS_E820_ENTRIES = 0x1E8,
    PARAMS_E820_TABLE = 0x2D0,
    PARAMS_E820_BYTES = 20,
};

#define BOOT_FLAG         0xAA55u
#define HEADER_MAGIC      0x53726448u // "HdrS"
#define LOADER_UNDEFINED  0xFF
#define LOADED_HIGH       1u
#define XLF_KERNEL_64     1u
#define ENTRY_64          0x200u

struct setup {
    uint64_t sectors, version, loadflags, initrd_max, alignment, relocatable, xloadflags;
    uint64_t cmdline_size, pref_address, init_size, header_end;
    uint64_t code;   // offset in the file of the protected-mode code
    uint64_t target; // where it goes
    bool entry64;
};

bool bzimage_detect(const struct load_file *file)
{
    uint64_t flag, magic;

    return load_get(file, SETUP_BOOT_FLAG, 2, &flag) && flag == BOOT_FLAG &&
           load_get(file, SETUP_MAGIC, 4, &magic) && magic == HEADER_MAGIC;
}

static bool read_setup(struct load *load, struct setup *s)
{
    const struct load_file *file = &load->image;
    uint64_t jump = 0;

    if (!load_get(file, SETUP_START, 1, &s->sectors) ||
        !load_get(file, SETUP_JUMP, 1, &jump) ||
        !load_get(file, SETUP_VERSION, 2, &s->version) ||
        !load_get(file, SETUP_LOADFLAGS, 1, &s->loadflags) ||
        !load_get(file, SETUP_INITRD_ADDR_MAX, 4, &s->initrd_max) ||
        !load_get(file, SETUP_KERNEL_ALIGNMENT, 4, &s->alignment) ||
        !load_get(file, SETUP_RELOCATABLE, 1, &s->relocatable) ||
        !load_get(file, SETUP_XLOADFLAGS, 2, &s->xloadflags) ||
        !load_get(file, SETUP_CMDLINE_SIZE, 4, &s->cmdline_size) ||
        !load_get(file, SETUP_PREF_ADDRESS, 8, &s->pref_address) ||
        !load_get(file, SETUP_INIT_SIZE, 4, &s->init_size))
        return load_fail(load, "the Linux setup header is cut off");
    if (s->version < 0x206)
        return load_fail(load, "Linux boot protocol %" PRIu64 ".%02" PRIu64
                         " (offset 0x206); 2.06 or later is needed",
                         s->version >> 8, s->version & 0xFF);
    if (!(s->loadflags & LOADED_HIGH))
        return load_fail(load, "a zImage, which loads below 1 MB (offset 0x211); a bzImage is "
                         "needed");
    s->header_end = SETUP_MAGIC + jump;
    if (s->header_end > SETUP_END_MAX)
        s->header_end = SETUP_END_MAX;
    // The header says itself how long it is; what lies behind it is not a field.
    if (s->version < 0x20A)
        s->pref_address = s->init_size = 0;
    s->entry64 = s->version >= 0x20C && (s->xloadflags & XLF_KERNEL_64) && !load->entry32;
    s->code = ((s->sectors != 0 ? s->sectors : 4) + 1) * 512;
    if (s->code >= file->bytes)
        return load_fail(load, "%" PRIu64 " setup sectors (offset 0x1F1) fill the whole file",
                         s->sectors);
    return true;
}

// Where the kernel goes: to where it would like to run, else to 1 MB. -> in *end the end of the
// memory that it takes, wherever it moves itself.
static bool choose_target(struct load *load, struct setup *s, uint64_t bytes, uint64_t *end)
{
    uint64_t start = linux_start(s->pref_address, s->relocatable != 0, s->alignment);

    if (s->relocatable && s->pref_address < LINUX_LOWEST &&
        (s->alignment & (s->alignment - 1)) != 0)
        return load_fail(load, "kernel alignment 0x%" PRIx64 " (offset 0x230) is no power of two",
                         s->alignment);
    s->target = s->pref_address >= LINUX_LOWEST ? s->pref_address : LINUX_LOWEST;
    if (start > RAM_LOW_MAX || bytes > RAM_LOW_MAX - start)
        return load_fail(load, "the kernel needs %" PRIu64 " KB of memory at 0x%" PRIx64
                         " (offsets 0x260 and 0x258), and they do not end below 3 GB", bytes >> 10,
                         start);
    *end = (start + bytes + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    return *end <= load->ram->low_end ||
           load_fail(load, "the kernel needs %" PRIu64 " KB of memory at 0x%" PRIx64 " to unpack "
                     "itself; give the VM at least %" PRIu64 "K of memory", bytes >> 10, start,
                     *end >> 10);
}

static bool load_kernel(struct load *load, struct setup *s, uint64_t *end)
{
    uint64_t bytes = load->image.bytes - s->code;

    // The kernel unpacks itself in the memory behind; that is not expected to be zero.
    return choose_target(load, s, s->init_size > bytes ? s->init_size : bytes, end) &&
           load_part(load, "kernel", s->code, bytes, s->target, bytes);
}

static void put(uint8_t *page, unsigned offset, unsigned size, uint64_t value)
{
    memcpy(page + offset, &value, size);
}

static void fill_e820(const struct load *load, uint8_t *page)
{
    struct e820_entry entry[E820_MAX];
    unsigned count = ram_e820(load->ram, entry);

    for (unsigned i = 0; i < count; i++) {
        unsigned at = PARAMS_E820_TABLE + i * PARAMS_E820_BYTES;
        put(page, at, 8, entry[i].base);
        put(page, at + 8, 8, entry[i].bytes);
        put(page, at + 16, 4, entry[i].type);
    }
    put(page, PARAMS_E820_ENTRIES, 1, count);
}

static bool write_params(struct load *load, const struct setup *s, uint64_t end)
{
    uint64_t limit = s->initrd_max < UINT32_MAX ? s->initrd_max + 1 : RAM_LOW_MAX;
    uint8_t page[4096] = { 0 };
    uint64_t initrd = 0;

    if (s->header_end > load->image.bytes)
        return load_fail(load, "the Linux setup header is cut off");
    memcpy(page + SETUP_START, load->image.data + SETUP_START, s->header_end - SETUP_START);
    put(page, SETUP_TYPE_OF_LOADER, 1, LOADER_UNDEFINED);
    put(page, SETUP_CODE32_START, 4, s->target);
    put(page, SETUP_CMD_LINE_PTR, 4, BOOT_CMDLINE);
    put(page, PARAMS_RSDP, 8, load->rsdp);
    fill_e820(load, page);
    if (load->initrd.data != NULL) {
        if (!load_initrd(load, end, limit, &initrd))
            return false;
        put(page, SETUP_RAMDISK_IMAGE, 4, initrd);
        put(page, SETUP_RAMDISK_SIZE, 4, load->initrd.bytes);
    } else {
        put(page, SETUP_RAMDISK_IMAGE, 8, 0);
    }
    return load_cmdline(load, "", s->cmdline_size != 0 ? s->cmdline_size : 255) &&
           ram_write(load->ram, BOOT_PARAMS, page, sizeof(page));
}

bool bzimage_load(struct load *load)
{
    struct setup setup = { 0 };
    uint64_t end = 0;

    if (load->modules != 0)
        return load_fail(load, "a Linux bzImage takes no modules ('%s'), only an initrd",
                         load->module[0].file.name);
    if (!read_setup(load, &setup) || !load_kernel(load, &setup, &end) ||
        !write_params(load, &setup, end))
        return false;
    if (!(setup.entry64 ? load_state_long64(load) : load_state_flat32(load)))
        return load_fail(load, "no memory for the boot area");
    load->state.sregs.rip = setup.target + (setup.entry64 ? ENTRY_64 : 0);
    load->state.gpr[GPR_RSI] = BOOT_PARAMS;
    load->format = setup.entry64 ? "Linux, 64-bit entry" : "Linux, 32-bit entry";
    return true;
}
