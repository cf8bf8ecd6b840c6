// SPDX-License-Identifier: BSD-2-Clause
// The boot story, one step a line.
#include "kernel/arch/x86/multiboot.h"
#include "kernel/arch/x86/x86.h"

static struct boot_facts facts;
extern char kernel_start[], kernel_end[];

// boot.S maps the first 4 GB; frames above can be touched after paging_init().
#define BOOT_MAP_END (4ull << 30)

// Without room for the owners of all frames, the RAM above is left out, and that is said.
static struct ram_range frames_setup(void)
{
    uint64_t base, all = boot_memory.usable.top / PAGE_SIZE;
    uint64_t frames = memmap_take_table(&boot_memory.usable, sizeof(struct frame),
                                        BOOT_MAP_END, &base);
    if (!frames)
        panic("no room for the frame table");
    frames_init(HPA(base), frames);
    if (frames < all) {
        log_print("boot: below 4 GB there is room for the frame table of %lu MB only: the RAM "
                  "above that, up to %lu MB, is not used\n", frames >> 8, all >> 8);
        memmap_cut(&boot_memory.usable, frames * PAGE_SIZE, all * PAGE_SIZE);
    }
    return (struct ram_range){ base, align_up(base + frames * sizeof(struct frame), PAGE_SIZE) };
}

static void frames_add_range(uint64_t from, uint64_t to)
{
    const struct memmap *m = &boot_memory.usable;
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t base = max_u64(m->range[i].base, from), end = min_u64(m->range[i].end, to);
        if (base < end)
            frames_add(HPA(base), (end - base) / PAGE_SIZE);
    }
}

// Memory map, modules, command line; then cores, IOAPICs, ISA interrupts, timers.
static void read_tables(uint32_t magic, uint32_t info)
{
    const struct ram_range image = { (uint64_t)kernel_start - KERNEL_VMA,
                                     (uint64_t)kernel_end - KERNEL_VMA };
    const char *wrong = multiboot_parse(magic, info, image, &facts);
    screen_init(&facts.info.screen);
    if (wrong)
        panic("%s", wrong);
    wrong = acpi_parse(boot_memory.rsdp, boot_memory.rsdp_bytes);
    if (wrong)
        panic("the firmware gives no ACPI %s: cores and interrupts cannot be found", wrong);
}

const char *boot_option(const char *key)
{
    for (const char *at = facts.info.options; *at; at++) {
        size_t n = 0;
        while (key[n] && at[n] == key[n])
            n++;
        if (!key[n] && (at == facts.info.options || at[-1] == ' '))
            return at + n;
    }
    return NULL;
}

// Logical CPUs of a core: AMD's older CPUs have no leaf 0BH, but the topology extensions.
static uint32_t siblings(void)
{
    if (features.amd && (features.ext1_ecx & (1u << 22)))
        return (cpuid_word(0x8000001e, 0, 1) >> 8 & 0xff) + 1;
    return cpuid_word(0xb, 0, 1) & 0xffff;
}

static void decide_mitigations(void)
{
    vuln_decide(&features, siblings(), bus_lock_exits, boot_option("assume="), &mitigations,
                &facts.info.faults);
    if (!mitigations.retpolines)
        cpu_plain_branches();
    if (!features.sysenter) {
        cpu_patch(sysexit_of_call_from, OPCODE_JMP, iret_for_sysexit);
        cpu_patch(sysexit_of_resume_from, OPCODE_JMP, iret_for_sysexit);
    }
    apic_choose();
    if (mitigations.hle_hole) // XACQUIRE in there can stop a core for good (XSA-282)
        memmap_cut(&boot_memory.usable, 1ull << 30, (1ull << 30) + (4 << 20));
}

// Bochs has no such MSR, nor fast strings: each turn of a REP takes an instruction's time. AMD's
// CPUs have no such MSR either, but CPUID's "enhanced REP MOVSB/STOSB".
static bool fast_strings(void)
{
    if (features.amd)
        return features.leaf7_ebx & (1u << 9);
    return !is_bochs() && (rdmsr(MSR_MISC_ENABLE) & 1);
}

// From here on this core has its struct cpu (see ap_up() in smp.c).
NORETURN static __attribute__((noinline)) void boot_up(void)
{
    apic_pic_off();
    apic_init_cpu();
    mce_init_cpu();
    apic_init_io();
    clock_calibrate();                       // TSC against the board's timers
    apic_calibrate();                        // and the local APIC's timer against the TSC
    facts.info.no_rtc = (acpi.fadt.boot_arch & FADT_NO_RTC) != 0;
    facts.info.fast_strings = fast_strings();
    facts.info.call_insn = features.sysenter ? CALL_SYSENTER : CALL_INSN;
    const char *failed = hvm->enable_core(this_cpu());
    if (failed)
        panic("%s could not be switched on: %s", hvm->name, failed);
    facts.info.apic_page = apic_accesses;
    sched_init_cpu(this_cpu());
    smp_start();                             // all others, each compared with this one
    facts.com_gsi[0] = acpi.isa[4].gsi;
    facts.com_gsi[1] = acpi.isa[3].gsi;
    log_print("boot: %u cores, %lu MB free, TSC %lu kHz by %s, %lu ticks since entry at "
              "%lu, %lu of them calibration\n", cpu_count, frames_count_free() >> 8,
              clock_tsc_hz / 1000, clock_source, rdtsc() - boot_tsc, boot_tsc, clock_calibration);
    core_start(&facts);                      // the manager; does not return
}

NORETURN void boot_main(uint32_t magic, uint32_t info)
{
    serial_init();
    log_print("Bulkhead\n");
    facts.info.entry_tsc = boot_tsc;
    read_tables(magic, info);
    if (!cpu_check_features()) {             // before anything is switched on
        log_print("Bulkhead cannot run here; the machine stops.\n");
        arch_off(2);
    }
    decide_mitigations();                    // what the CPU's own faults need
    struct ram_range table = frames_setup();
    frames_add_range(0, BOOT_MAP_END);
    paging_init(max_u64(boot_memory.usable.top, BOOT_MAP_END), table, &facts.info.screen);
    screen_at((char *)SCREEN_WINDOW);
    power_init();                            // where the registers for that are
    frames_add_range(BOOT_MAP_END, UINT64_MAX);
    paging_map_cpu(&cpu_blocks[0]);
    cpu_init(&cpu_blocks[0], 0);             // GDT, TSS, IDT, control registers, MSRs
    boot_up();
}
