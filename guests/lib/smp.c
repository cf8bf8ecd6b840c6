// SPDX-License-Identifier: BSD-2-Clause
//
// See smp.h. State: what the start code loads, written by the boot processor before it sends an
// IPI; and a struct for each processor. Of that, `entry`, `function` and `argument` are written by
// the boot processor while the other one cannot look; `stage` and `work` are the hand-over, with
// release and acquire.

#include "guests/lib/smp.h"

#include <stddef.h>
#include <string.h>

#include "guests/lib/apic.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/power.h"
#include "guests/lib/trap.h"

#define STACK_SIZE     0x4000
#define SECOND_SIPI_NS (10 * NS_PER_MS)
#define RSDP_START     0xE0000u
#define RSDP_END       0x100000u
#define CR3_TABLE      0xFFFFF000ul // without PCID
#define EFER_LMA       (1ul << 10)

enum { IDLE, ARMED, ARRIVED };     // stage
enum { WORK_NONE, WORK_THERE }; // work

struct processor {
    struct trap_ap trap; // first: its GDT tells whose it is
    uint8_t stack[STACK_SIZE] __attribute__((aligned(16)));
    unsigned int stage;
    smp_entry *entry;
    smp_function *function;
    void *argument;
    unsigned int work;
};

// ACPI: "Root System Description Pointer", "System Description Table Header", "Multiple APIC
// Description Table".
struct rsdp {
    char signature[8], checksum, oem[6], revision;
    uint32_t rsdt;
} __attribute__((packed));
struct sdt {
    char signature[4];
    uint32_t length;
    uint8_t rest[28];
};
struct madt_entry {
    uint8_t type, length, processor, apic_id;
    uint32_t flags;
};
enum { MADT_FIRST = 44, MADT_LOCAL_APIC = 0, MADT_ENABLED = 1 };

extern const uint8_t smp_page[], smp_page_end[];
extern uint64_t boot_gdt[];

uint32_t smp_cr0, smp_cr3, smp_efer;
uint8_t *smp_stack_top[SMP_MAX];

static struct processor processors[SMP_MAX];
static uint64_t start_cr4, start_xcr0;
static enum apic_mode start_mode;

void smp_main(unsigned int id);

static const struct sdt *find_madt(void)
{
    for (uintptr_t at = RSDP_START; at < RSDP_END; at += 16) {
        const struct rsdp *rsdp = (const struct rsdp *)at;
        if (memcmp(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature)) != 0)
            continue;
        const struct sdt *rsdt = (const struct sdt *)(uintptr_t)rsdp->rsdt;
        const uint32_t *pointer = (const uint32_t *)(rsdt + 1);
        for (size_t n = (rsdt->length - sizeof(*rsdt)) / 4; n > 0; n--, pointer++) {
            const struct sdt *table = (const struct sdt *)(uintptr_t)*pointer;
            if (memcmp(table->signature, "APIC", sizeof(table->signature)) == 0)
                return table;
        }
    }
    return NULL;
}

unsigned int smp_count(void)
{
    const struct sdt *madt = find_madt();
    unsigned int count = 0;
    if (madt == NULL)
        return 1;
    const uint8_t *first = (const uint8_t *)madt, *end = first + madt->length;
    for (const uint8_t *at = first + MADT_FIRST; at < end && at[1] != 0; at += at[1]) {
        const struct madt_entry *entry = (const struct madt_entry *)at;
        count += entry->type == MADT_LOCAL_APIC && (entry->flags & MADT_ENABLED);
    }
    return count;
}

unsigned int smp_id(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) gdtr;
    __asm__ volatile("sgdt %0" : "=m"(gdtr));
    if (gdtr.base == (uintptr_t)boot_gdt)
        return 0;
    return (unsigned int)((gdtr.base - (uintptr_t)processors) / sizeof(processors[0]));
}

// --- On the other processor ---

static void take_features(void)
{
    write_cr4(start_cr4);
    if (start_cr4 & CR4_OSXSAVE)
        __asm__ volatile("xsetbv"
                         :
                         : "c"(0), "a"((uint32_t)start_xcr0), "d"((uint32_t)(start_xcr0 >> 32))
                         : "memory");
    __asm__ volatile("fninit" ::: "memory");
}

// Called by smp_boot.S.
void smp_main(unsigned int id)
{
    struct processor *self = &processors[id];
    if (__atomic_load_n(&self->stage, __ATOMIC_ACQUIRE) != ARMED)
        return;
    take_features();
    trap_init_ap(&self->trap);
    apic_enable(start_mode);
    __atomic_store_n(&self->stage, ARRIVED, __ATOMIC_RELEASE);
    self->entry(id);
}

void smp_serve(unsigned int id)
{
    struct processor *self = &processors[id];
    for (;;) {
        while (!__atomic_load_n(&self->work, __ATOMIC_ACQUIRE))
            cpu_pause();
        self->function(self->argument);
        cpu_irq_disable();
        __atomic_store_n(&self->work, WORK_NONE, __ATOMIC_RELEASE);
    }
}

// --- On the boot processor ---

void smp_arm(unsigned int id, smp_entry *entry)
{
    struct processor *to = &processors[id];
    smp_cr0 = (uint32_t)read_cr0();
    smp_cr3 = (uint32_t)(read_cr3() & CR3_TABLE);
    smp_efer = (uint32_t)(rdmsr(MSR_EFER) & ~EFER_LMA);
    start_cr4 = read_cr4();
    start_mode = apic_mode();
    if (start_cr4 & CR4_OSXSAVE) {
        uint32_t lo, hi;
        __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
        start_xcr0 = (uint64_t)hi << 32 | lo;
    }
    smp_stack_top[id] = to->stack + sizeof(to->stack);
    to->entry = entry;
    to->work = WORK_NONE;
    __atomic_store_n(&to->stage, ARMED, __ATOMIC_RELEASE);
}

// Page 0 is one, too, where C has no object.
uint8_t smp_place(uint32_t page)
{
    const uint8_t *from = smp_page;
    uintptr_t to = page;
    size_t bytes = (size_t)(smp_page_end - smp_page);
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(bytes) : : "memory");
    return (uint8_t)(page >> 12);
}

static bool becomes(const unsigned int *word, unsigned int wanted, uint64_t ns)
{
    uint64_t start = rdtsc(), ticks = clock_ticks_of_ns(ns);
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != wanted) {
        if (rdtsc() - start > ticks)
            return false;
        cpu_pause();
    }
    return true;
}

bool smp_arrived(unsigned int id)
{
    return becomes(&processors[id].stage, ARRIVED, SMP_LIMIT_NS);
}

bool smp_start(unsigned int id, smp_entry *entry)
{
    if (id == 0 || id >= SMP_MAX)
        return false;
    uint32_t startup = APIC_ICR_STARTUP | APIC_ICR_ASSERT | smp_place(SMP_PAGE);
    apic_send(APIC_ICR_INIT | APIC_ICR_ASSERT, id);
    smp_arm(id, entry);
    apic_send(startup, id);
    if (becomes(&processors[id].stage, ARRIVED, SECOND_SIPI_NS))
        return true;
    apic_send(startup, id);
    return smp_arrived(id);
}

unsigned int smp_start_all(smp_entry *entry)
{
    unsigned int others = smp_count() - 1, came = 0;
    for (unsigned int id = 1; id <= others; id++)
        came += smp_start(id, entry);
    return came;
}

void smp_post(unsigned int id, smp_function *function, void *argument)
{
    struct processor *to = &processors[id];
    to->function = function;
    to->argument = argument;
    __atomic_store_n(&to->work, WORK_THERE, __ATOMIC_RELEASE);
}

bool smp_wait(unsigned int id)
{
    return becomes(&processors[id].work, WORK_NONE, SMP_LIMIT_NS);
}

void smp_call(unsigned int id, smp_function *function, void *argument)
{
    smp_post(id, function, argument);
    if (!smp_wait(id))
        guest_die("another processor did not do what it was told");
}
