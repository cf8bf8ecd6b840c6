// SPDX-License-Identifier: BSD-2-Clause
// The other cores: INIT, SIPI, one after the other through one trampoline page; each is compared
// with the boot core before it may run anything. (SDM, "Multiple-Processor (MP) Initialization".)
#include "kernel/arch/x86/hvm.h"
#include "kernel/arch/x86/x86.h"

#define ICR_INIT 0x4500u
#define ICR_SIPI 0x4600u

extern char ap_trampoline[], ap_trampoline_end[];
extern uint64_t boot_pml4[];
extern uint64_t boot_stack, boot_next; // where boot.S goes on in C

static uint32_t ap_id;         // the one that is coming up
static uint32_t ap_state;      // atomic: AP_*
enum { AP_WAITING, AP_READY, AP_BAD };
static uint32_t ap_go;         // atomic: all cores are up, start scheduling

NORETURN void ap_main(void)
{
    cpu_init(ap_id, acpi.apic_id[ap_id]);
    apic_init_cpu();
    const char *differs = cpu_compare_features();
    if (!differs)
        differs = hvm->enable_core(this_cpu());
    if (differs) {
        log_print("core %u: %s differs from core 0 or fails: it is not used\n", ap_id, differs);
        __atomic_store_n(&ap_state, AP_BAD, __ATOMIC_RELEASE);
        for (;;)
            __asm__ volatile("cli; hlt");
    }
    sched_init_cpu(this_cpu());
    __atomic_store_n(&ap_state, AP_READY, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&ap_go, __ATOMIC_ACQUIRE))
        __builtin_ia32_pause();
    sched_run();
}

static bool start_one(uint32_t slot, uint32_t apic_id)
{
    ap_id = slot;
    acpi.apic_id[slot] = apic_id;
    boot_stack = (uint64_t)(cpu_blocks[slot].stack + KERNEL_STACK_SIZE);
    __atomic_store_n(&ap_state, AP_WAITING, __ATOMIC_RELEASE);
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        apic_icr(apic_id, ICR_SIPI | (uint32_t)(boot_memory.trampoline >> 12));
        uint64_t end = rdtsc() + clock_tsc_hz / 10; // 100 ms
        while (rdtsc() < end && __atomic_load_n(&ap_state, __ATOMIC_ACQUIRE) == AP_WAITING)
            __builtin_ia32_pause();
        if (__atomic_load_n(&ap_state, __ATOMIC_ACQUIRE) != AP_WAITING)
            return __atomic_load_n(&ap_state, __ATOMIC_ACQUIRE) == AP_READY;
    }
    log_print("core with APIC id %u does not start: it is not used\n", apic_id);
    return false;
}

// With the tables that boot.S made: identity-mapped low memory, and the kernel's address.
static void place_trampoline(void)
{
    size_t size = (size_t)(ap_trampoline_end - ap_trampoline);
    ASSERT(size <= PAGE_SIZE);
    __builtin_memcpy(arch_ptr(HPA(boot_memory.trampoline)), ap_trampoline, size);
    paging_share_kernel(boot_pml4);
    boot_next = (uint64_t)ap_main;
}

void smp_start(void)
{
    uint32_t others[CPU_MAX], n = 0, up = 1;
    for (uint32_t i = 0; i < acpi.cores; i++)
        if (acpi.apic_id[i] != this_cpu()->arch.apic_id)
            others[n++] = acpi.apic_id[i];
    cpu_count = 1;
    if (n && !boot_memory.trampoline) {
        log_print("no free page below 640 KB: only core 0 is used\n");
        n = 0;
    }
    if (n) {
        place_trampoline();
        for (uint32_t i = 0; i < n; i++)
            apic_icr(others[i], ICR_INIT);
        clock_delay_us(10000);
    }
    for (uint32_t i = 0; i < n; i++)
        up += start_one(up, others[i]);
    cpu_count = up;
    __atomic_store_n(&ap_go, 1, __ATOMIC_RELEASE);
}
