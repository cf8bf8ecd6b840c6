// SPDX-License-Identifier: BSD-2-Clause
//
// What `./bulkhead bench --linux` compares with: GRUB starts this on the machine itself, and it
// loads Linux with the VMM's own loader, so that the zero page, the places of kernel, initrd and
// command line, and the state at the 64-bit entry are those of a guest. The memory map and the ACPI
// tables are the machine's. Modules: the bzImage, whose string is the command line, and the initrd.
// The last thing that it does is to print the TSC.
// Runs once on the boot processor, interrupts off; owns the whole machine.

#include <stdio.h>
#include <string.h>

#include "guests/bare/bare.h"
#include "guests/lib/cpu.h"
#include "guests/lib/power.h"
#include "guests/lib/start.h"
#include "guests/lib/trap.h"
#include "guests/lib/uart.h"
#include "vmm/load/load.h"

#define LOADER_MAGIC  0x2BADB002u
#define HAS_MODULES   (1u << 3)
#define HAS_MMAP      (1u << 6)
#define CMDLINE_SIZE  2048
#define HEAP_SIZE     0x10000
#define FIRMWARE      0xE0000ul // where a BIOS has its ACPI root pointer, up to 1 MB
#define RSDP_BYTES    20        // under its first checksum
#define SCRATCH_BELOW 64        // MB below the end of memory where the modules wait

// "Boot information format" of the Multiboot Specification, version 0.6.96; the part that is used.
struct information {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
    uint32_t mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
};

struct module {
    uint32_t start, end, string, reserved;
};

struct mmap_entry {
    uint32_t size; // of what follows
    uint64_t base, bytes;
    uint32_t type;
} __attribute__((packed));

static struct e820_entry map[E820_MAX];
static unsigned map_entries;
static char cmdline[CMDLINE_SIZE];
static uint8_t heap[HEAP_SIZE];

// The machine's memory, in the words of vmm/board/memory.h ----------------------------------------

unsigned ram_e820(const struct guest_ram *ram, struct e820_entry entry[E820_MAX])
{
    (void)ram;
    memcpy(entry, map, sizeof(map));
    return map_entries;
}

// Conventional memory, in which the loaders use the boot area only.
void *ram_at_low(const struct guest_ram *ram, uint64_t gpa, uint64_t bytes)
{
    return gpa >= BOOT_AREA && gpa < BOOT_AREA_END && bytes <= BOOT_AREA_END - gpa
           ? ram->base + gpa : NULL;
}

bool ram_write(const struct guest_ram *ram, uint64_t gpa, const void *data, uint64_t bytes)
{
    void *at = ram_at(ram, gpa, bytes);

    if (at != NULL)
        memcpy(at, data, bytes);
    return at != NULL;
}

bool ram_zero(const struct guest_ram *ram, uint64_t gpa, uint64_t bytes)
{
    void *at = ram_at(ram, gpa, bytes);

    if (at != NULL)
        memset(at, 0, bytes);
    return at != NULL;
}

// What the boot loader and the firmware left --------------------------------------------------

// -> end of the RAM that begins at 1 MB
static uint64_t read_map(const struct information *info)
{
    uint64_t low_end = 0;

    for (uint32_t at = 0; at < info->mmap_length;) {
        const struct mmap_entry *e = (const void *)(uintptr_t)(info->mmap_addr + at);
        if (map_entries == E820_MAX)
            guest_die("the machine's memory map is too long");
        map[map_entries++] = (struct e820_entry){ e->base, e->bytes, e->type };
        if (e->base == RAM_EXTENDED && e->type == E820_RAM)
            low_end = e->base + e->bytes;
        at += e->size + (uint32_t)sizeof(e->size);
    }
    return low_end;
}

static uint64_t find_rsdp(void)
{
    for (uintptr_t at = FIRMWARE; at < RAM_EXTENDED; at += 16) {
        const uint8_t *bytes = (const uint8_t *)at;
        uint8_t sum = 0;
        for (unsigned i = 0; i < RSDP_BYTES; i++)
            sum = (uint8_t)(sum + bytes[i]);
        if (sum == 0 && memcmp(bytes, "RSD PTR ", 8) == 0)
            return at;
    }
    guest_die("no ACPI root pointer");
}

// Moves a module to where neither the kernel nor the initrd is going to lie. -> behind it
static uint64_t take_module(struct load_file *file, const struct module *module, const char *name,
                            uint64_t to, uint64_t scratch)
{
    uint64_t bytes = module->end - module->start;

    if (module->end > scratch)
        guest_die("a module lies too high; give the machine more memory");
    memmove((void *)to, (const void *)(uintptr_t)module->start, bytes);
    *file = (struct load_file){ (const uint8_t *)to, bytes, name };
    return (to + bytes + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

static void take_modules(struct load *load, const struct information *info, uint64_t low_end)
{
    const struct module *module = (const void *)(uintptr_t)info->mods_addr;
    struct module kernel, initrd;
    uint64_t scratch = (low_end & ~(PAGE_2M - 1)) - ((uint64_t)SCRATCH_BELOW << 20);
    uint64_t next;

    if (info->mods_count != 2)
        guest_die("two modules are needed: the kernel and the initrd");
    // Copied, for all that GRUB left may lie where something is about to be put.
    kernel = module[0];
    initrd = module[1];
    snprintf(cmdline, sizeof(cmdline), "%s", (const char *)(uintptr_t)kernel.string);
    next = take_module(&load->image, &kernel, "kernel", scratch, scratch);
    take_module(&load->initrd, &initrd, "initrd", next, scratch);
    load->cmdline = cmdline;
}

void guest_start(uint32_t magic, uint32_t information, uint64_t entry_tsc)
{
    const struct information *info = (const void *)(uintptr_t)information;
    struct guest_ram ram = { .base = NULL, .high_end = RAM_HIGH };
    struct load load = { .ram = &ram };

    (void)entry_tsc;
    uart_init();
    trap_init();
    newlib_heap_init((uintptr_t)heap, (uintptr_t)heap + sizeof(heap));
    if (magic != LOADER_MAGIC || (info->flags & HAS_MODULES) == 0 || (info->flags & HAS_MMAP) == 0)
        guest_die("a multiboot 1 loader is needed, with a memory map and modules");
    ram.low_end = read_map(info);
    take_modules(&load, info, ram.low_end);
    load.rsdp = find_rsdp();
    if (!bzimage_detect(&load.image) || !bzimage_load(&load))
        guest_die(load.error);
    printf("bare: %s, memory up to 0x%llx\n", load.format, (unsigned long long)ram.low_end);
    fflush(stdout);
    uart_drain();
    bare_enter(&load.state);
}
