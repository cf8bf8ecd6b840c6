// SPDX-License-Identifier: BSD-2-Clause
// The boot story, one step a line.
#include "kernel/arch/x86/hvm.h"
#include "kernel/arch/x86/x86.h"
#include "kernel/core/boot.h"

static struct boot_facts facts;

// The table of frame owners goes where the first usable run is large enough for it.
static void frames_setup(void)
{
    uint64_t frames = boot_memory.ram_end / PAGE_SIZE;
    uint64_t bytes = align_up(frames * sizeof(uint32_t), PAGE_SIZE);
    for (uint32_t i = 0; i < boot_memory.usable_count; i++) {
        struct ram_range *r = &boot_memory.usable[i];
        if (r->end - r->base < bytes || r->end > 4ull << 30)
            continue;
        frames_init(HPA(r->base), frames);
        r->base += bytes;
        return;
    }
    panic("no room for the frame table of %lu bytes", bytes);
}

// boot.S maps the first 4 GB; frames above can be touched after paging_init().
#define BOOT_MAP_END (4ull << 30)
static void frames_add_range(uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < boot_memory.usable_count; i++) {
        uint64_t base = max_u64(boot_memory.usable[i].base, from);
        uint64_t end = min_u64(boot_memory.usable[i].end, to);
        if (base < end)
            frames_add(HPA(base), (end - base) / PAGE_SIZE);
    }
}

NORETURN void boot_main(uint32_t magic, uint32_t info)
{
    serial_init();
    log_print("Bulkhead\n");
    facts.entry_tsc = boot_tsc;
    multiboot_parse(magic, info, &facts);    // memory map, modules, RSDP
    acpi_parse(boot_memory.rsdp);            // cores, IOAPICs, ISA interrupts
    if (!cpu_check_features()) {             // before anything is switched on
        log_print("Bulkhead cannot run here; the machine stops.\n");
        arch_off(2);
    }
    frames_setup();
    frames_add_range(0, BOOT_MAP_END);
    paging_init(max_u64(boot_memory.ram_end, BOOT_MAP_END));
    frames_add_range(BOOT_MAP_END, UINT64_MAX);
    cpu_init(0, cpuid_word(0xb, 0, 3));      // GDT, TSS, IDT, control registers, MSRs
    apic_init_cpu();
    apic_init_io();
    clock_calibrate();                       // TSC against the PIT
    clock_read_rtc(facts.rtc, &facts.wall_tsc);
    const char *failed = hvm->enable_core(this_cpu());
    if (failed)
        panic("%s could not be switched on: %s", hvm->name, failed);
    sched_init_cpu(this_cpu());
    smp_start();                             // all others, each compared with this one
    facts.log_port = 0x3f8;
    facts.log_gsi = acpi.isa[4].gsi;
    log_print("boot: %u cores, %lu MB free, TSC %lu kHz, %lu ticks since entry at %lu, "
              "%lu of them calibration\n", cpu_count, frames_count_free() >> 8,
              clock_tsc_hz / 1000, rdtsc() - facts.entry_tsc, facts.entry_tsc, clock_calibration);
    if (!(features.arch_caps & 1))
        log_print("boot: this CPU does not claim RDCL_NO: "
                  "ring 3 is not confined against Meltdown\n");
    core_start(&facts);                      // the manager; does not return
}
