// SPDX-License-Identifier: BSD-2-Clause
// The other cores: INIT, SIPI, one after the other through one trampoline page; each is compared
// with the boot core before it may run anything. (SDM, "Multiple-Processor (MP) Initialization".)
//
// A core that is tried gets the next block, used or not; only one that is used gets the next
// number. So what is wrong with one core, or when it comes, is nothing to another. The boot core
// writes all that is in here but for tsc_compare()'s; the core that comes up reads it from its
// check-in on.
#include "kernel/arch/x86/clock_choose.h"
#include "kernel/arch/x86/multiboot.h"
#include "kernel/arch/x86/x86.h"

#define ICR_INIT 0x4500u
#define ICR_SIPI 0x4600u
#define TSC_ROUNDS 64u

extern char ap_trampoline[], ap_trampoline_end[];
extern uint64_t boot_pml4[];
extern uint64_t boot_stack, boot_next; // where boot.S goes on in C
extern uint32_t ap_apic_id;            // atomic: who may go on there; AP_NONE once it does
#define AP_NONE UINT32_MAX

static struct cpu_block *ap_block;
static uint32_t ap_number;
static uint32_t ap_verdict;    // atomic: of a core that has checked in, by itself
enum { AP_UNKNOWN, AP_GOOD, AP_BAD };
static uint32_t ap_go;         // atomic: all cores are up, start scheduling
static uint32_t tsc_turn;      // atomic: who is to read his TSC; odd: the other core

static uint64_t rdtsc_in_order(void)
{
    __asm__ volatile("lfence" : : : "memory");
    uint64_t tsc = rdtsc();
    __asm__ volatile("lfence" : : : "memory");
    return tsc;
}

// The two cores read in turn, the one that the other is compared with first and last.
static int64_t tsc_compare(bool first)
{
    static uint64_t tsc[2]; // each one's own, its last
    struct tsc_bounds bounds = TSC_BOUNDS_ALL;
    for (uint32_t turn = !first; turn < 2 * TSC_ROUNDS + first; turn += 2) {
        while (__atomic_load_n(&tsc_turn, __ATOMIC_ACQUIRE) != turn)
            __builtin_ia32_pause();
        uint64_t before = tsc[first];
        tsc[first] = rdtsc_in_order();
        if (turn > 1)
            tsc_bounds_narrow(&bounds, before, tsc[!first], tsc[first]);
        __atomic_store_n(&tsc_turn, turn + 1, __ATOMIC_RELEASE);
    }
    return tsc_apart(&bounds);
}

// A function of its own: the compiler takes this_cpu() for a constant, and must not read it before
// cpu_init().
NORETURN static __attribute__((noinline)) void ap_up(void)
{
    write_cr3(cr3_kernel & ~CR3_NO_FLUSH); // boot.S's tables map all memory, writable, executable
    apic_init_cpu();
    const char *differs = cpu_compare_features();
    if (!differs)
        differs = hvm->enable_core(this_cpu());
    if (differs) {
        log_print("core with APIC id %u: %s differs from core 0 or fails: it is not used\n",
                  this_cpu()->arch.apic_id, differs);
        apic_quiet();
        __atomic_store_n(&ap_verdict, AP_BAD, __ATOMIC_RELEASE);
        halt_for_good();
    }
    mce_init_cpu();
    sched_init_cpu(this_cpu());
    __atomic_store_n(&ap_verdict, AP_GOOD, __ATOMIC_RELEASE);
    (void)tsc_compare(false);
    // Halted, for a core that spins takes an emulator's time from those that come up. What ends it
    // is the interrupt of smp_start(), which STI does not let in before the HLT.
    while (!__atomic_load_n(&ap_go, __ATOMIC_ACQUIRE))
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    sched_run();
}

NORETURN void ap_main(void)
{
    cpu_init(ap_block, ap_number);
    ap_up();
}

// Sends SIPI twice at most. A core that does not check in is put back to where only another SIPI
// would wake it, and from now on would find that nobody waits for it.
static bool wake(uint32_t apic_id)
{
    __atomic_store_n(&ap_apic_id, apic_id, __ATOMIC_RELEASE);
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        apic_icr(apic_id, ICR_SIPI | (uint32_t)(boot_memory.trampoline >> 12));
        uint64_t end = rdtsc() + clock_tsc_hz / 10; // 100 ms
        while (rdtsc() < end) {
            if (__atomic_load_n(&ap_apic_id, __ATOMIC_ACQUIRE) == AP_NONE)
                return true;
            __builtin_ia32_pause();
        }
    }
    if (__atomic_exchange_n(&ap_apic_id, AP_NONE, __ATOMIC_ACQ_REL) == AP_NONE)
        return true;
    apic_icr(apic_id, ICR_INIT);
    clock_delay_us(10000);
    return false;
}

static bool start_one(struct cpu_block *block, uint32_t number, uint32_t apic_id)
{
    paging_map_cpu(block);
    ap_block = block;
    ap_number = number;
    boot_stack = (uint64_t)(block->stack + KERNEL_STACK_SIZE);
    tsc_turn = 0;
    ap_verdict = AP_UNKNOWN;
    if (!wake(apic_id)) {
        log_print("core with APIC id %u does not start: it is not used\n", apic_id);
        return false;
    }
    while (__atomic_load_n(&ap_verdict, __ATOMIC_ACQUIRE) == AP_UNKNOWN)
        __builtin_ia32_pause(); // it is in our code now, which ends
    if (ap_verdict == AP_BAD)
        return false;
    int64_t apart = tsc_compare(true);
    uint64_t ticks = (uint64_t)(apart < 0 ? -apart : apart);
    // A move takes longer than a microsecond, so nobody sees time go back by less.
    if (ticks > clock_tsc_hz / 1000000) {
        log_print("core %u: its TSC is %lu ticks %s core 0's: no VM moves to or from it\n", number,
                  ticks, apart < 0 ? "behind" : "before");
        cpus[number]->time_apart = 1;
    }
    return true;
}

// With the tables that boot.S made: identity-mapped low memory, and the kernel's address.
static void place_trampoline(void)
{
    size_t size = (size_t)(ap_trampoline_end - ap_trampoline);
    ASSERT(size <= PAGE_SIZE);
    arch_write(HPA(boot_memory.trampoline), ap_trampoline, size);
    paging_share_kernel(boot_pml4);
    boot_next = (uint64_t)ap_main;
}

// In xAPIC mode an id has 8 bits, and the last means all.
static bool reachable(uint32_t apic_id) { return features.x2apic || apic_id < 0xff; }

void smp_start(void)
{
    uint32_t me = this_cpu()->arch.apic_id, up = 1, tried = 1;
    cpu_count = 1;
    if (acpi.cores < 2)
        return;
    if (!boot_memory.trampoline) {
        log_print("no free page below 640 KB: only core 0 is used\n");
        return;
    }
    place_trampoline();
    for (uint32_t i = 0; i < acpi.cores; i++)
        if (acpi.apic_id[i] != me && reachable(acpi.apic_id[i]))
            apic_icr(acpi.apic_id[i], ICR_INIT);
    clock_delay_us(10000);
    for (uint32_t i = 0; i < acpi.cores && tried < CPU_MAX; i++) {
        uint32_t id = acpi.apic_id[i];
        if (!reachable(id))
            log_print("core with APIC id %u: this CPU lacks x2APIC, which alone reaches it: it is "
                      "not used\n", id);
        else if (id != me)
            up += start_one(&cpu_blocks[tried++], up, id);
    }
    cpu_count = up;
    __atomic_store_n(&ap_go, 1, __ATOMIC_RELEASE);
    for (uint32_t core = 1; core < up; core++)
        arch_send_ipi(core);
}
