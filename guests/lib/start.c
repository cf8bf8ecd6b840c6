// SPDX-License-Identifier: BSD-2-Clause
//
// Start of a guest in C: devices quiet, traps on, the clock, the heap, then main(). Any guest takes
// the option delay=MS, which waits before main(): for those that judge time, while the machine
// around them still starts.
// Runs once on the boot processor, interrupts off until main() wants them. State: the size of RAM.

#include "guests/lib/start.h"

#include <stdlib.h>

#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/options.h"
#include "guests/lib/pic.h"
#include "guests/lib/power.h"
#include "guests/lib/trap.h"
#include "guests/lib/uart.h"

#define MULTIBOOT_LOADER_MAGIC 0x2BADB002u
#define MULTIBOOT_HAS_MEMORY   (1u << 0)
#define MULTIBOOT_HAS_CMDLINE  (1u << 2)
#define MULTIBOOT_HAS_MODULES  (1u << 3)
#define HIGH_MEMORY            0x100000u
#define MAPPED_RAM_END         0xC0000000u
#define PAGE_MASK              4095u
#define DELAY_MAX_MS           60000u

// "Boot information format" of the Multiboot Specification, version 0.6.96; the part that is used.
struct multiboot_information {
    uint32_t flags;
    uint32_t mem_lower; // KB
    uint32_t mem_upper; // KB from 1 MB
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t mods_count;
    uint32_t mods_addr;
};

struct multiboot_module {
    uint32_t start, end, string, reserved;
};

extern uint8_t image_end[];
extern int main(int argc, char **argv);
extern void __libc_init_array(void);

static uintptr_t ram_end;

uintptr_t guest_ram_end(void)
{
    return ram_end;
}

// The heap runs from above the image and the modules to the end of RAM.
static void heap_init(const struct multiboot_information *info)
{
    uintptr_t start = (uintptr_t)image_end;
    if (info->flags & MULTIBOOT_HAS_MODULES) {
        const struct multiboot_module *modules = (const void *)(uintptr_t)info->mods_addr;
        for (uint32_t i = 0; i < info->mods_count; i++) {
            if (modules[i].end > start)
                start = modules[i].end;
        }
    }
    start = (start + PAGE_MASK) & ~(uintptr_t)PAGE_MASK;
    uintptr_t end = HIGH_MEMORY + (uintptr_t)info->mem_upper * 1024;
    if (end > MAPPED_RAM_END)
        end = MAPPED_RAM_END;
    ram_end = end;
    newlib_heap_init(start, end > start ? end : start);
}

void guest_start(uint32_t magic, uint32_t information, uint64_t entry_tsc)
{
    pic_init();
    uart_init();
    trap_init();
    cpu_fpu_init();
    if (magic != MULTIBOOT_LOADER_MAGIC)
        guest_die("the loader is not a multiboot 1 loader: EAX is not 0x2badb002");

    const struct multiboot_information *info = (const void *)(uintptr_t)information;
    if (!(info->flags & MULTIBOOT_HAS_MEMORY))
        guest_die("the loader does not tell the size of memory");
    const char *command_line = NULL;
    if (info->flags & MULTIBOOT_HAS_CMDLINE)
        command_line = (const char *)(uintptr_t)info->cmdline;
    options_init(command_line);
    heap_init(info);
    clock_init(entry_tsc);
    __libc_init_array();
    clock_spin_ns(option_number("delay", 0, 0, DELAY_MAX_MS) * NS_PER_MS);

    static char name[] = "guest";
    static char *argv[] = {name, NULL};
    exit(main(1, argv));
}
