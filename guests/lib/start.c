// SPDX-License-Identifier: BSD-2-Clause
//
// Start of a guest in C: devices quiet, traps on, the clock, the heap, then main(). Any guest takes
// the option delay=MS, which waits before main(): for those that judge time, while the machine
// around them still starts; and no-xsave, which leaves XCR0 as it is at reset, for those that play
// a system that knows SSE but not XSAVE.
// Runs once on the boot processor, interrupts off until main() wants them. State: the size of RAM.

#include "guests/lib/start.h"

#include <stdlib.h>

#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/hypercall.h"
#include "guests/lib/loader.h"
#include "guests/lib/options.h"
#include "guests/lib/pic.h"
#include "guests/lib/power.h"
#include "guests/lib/trap.h"
#include "guests/lib/uart.h"

#define MAPPED_RAM_END         0xC0000000u
#define PAGE_MASK              4095u
#define DELAY_MAX_MS           60000u

extern uint8_t image_end[];
extern int main(int argc, char **argv);
extern void __libc_init_array(void);

static uintptr_t ram_end;

uintptr_t guest_ram_end(void)
{
    return ram_end;
}

// The heap is the larger of the two gaps: from the image to the modules, or from the modules to the
// end of RAM.
static void heap_init(const struct loader_info *info)
{
    uint64_t end = info->memory_end < MAPPED_RAM_END ? info->memory_end : MAPPED_RAM_END;
    uint64_t start = (uintptr_t)image_end, low = end, high = start;
    ram_end = end;
    for (unsigned int i = 0; i < info->modules; i++) {
        const struct loader_module *module = &info->module[i];
        if (module->start < low)
            low = module->start;
        if (module->start + module->bytes > high)
            high = module->start + module->bytes;
    }
    if (low < start || end - high > low - start)
        start = (high + PAGE_MASK) & ~(uint64_t)PAGE_MASK;
    else
        end = low;
    newlib_heap_init(start, end > start ? end : start);
}

// What else than the last byte differs, no CPU has to be told: nobody has come here before.
void hypercalls_init(void)
{
    extern uint8_t *const hypercalls_start[], *const hypercalls_end[];
    if (!cpu_is_amd())
        return;
    for (uint8_t *const *at = hypercalls_start; at < hypercalls_end; at++)
        (*at)[2] = 0xD9;
}

void guest_start(uint32_t magic, uint32_t information, uint64_t entry_tsc)
{
    pic_init();
    uart_init();
    trap_init();
    hypercalls_init();
    if (!loader_read(magic, information))
        guest_die("the loader speaks none of multiboot 1, multiboot 2 and PVH, or does not tell "
                  "the size of memory");
    options_init(loader_info()->command_line);
    if (!option_flag("no-xsave"))
        cpu_fpu_init();
    heap_init(loader_info());
    clock_init(entry_tsc);
    __libc_init_array();
    clock_spin_ns(option_number("delay", 0, 0, DELAY_MAX_MS) * NS_PER_MS);

    static char name[] = "guest";
    static char *argv[] = {name, NULL};
    exit(main(1, argv));
}
