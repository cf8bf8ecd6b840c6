// SPDX-License-Identifier: BSD-2-Clause
// The few facts that the kernel needs of ACPI: the cores, the IOAPICs and the ISA interrupts'
// wiring, all from the MADT. Read once at boot by the boot core. (ACPI specification, "Multiple
// APIC Description Table".) Tables come from firmware: lengths are bounded, nothing is believed.
#include "kernel/arch/x86/x86.h"

struct acpi_facts acpi;

#define PACKED __attribute__((packed))
struct PACKED rsdp { char sig[8], sum, oem[6], rev; uint32_t rsdt, length; uint64_t xsdt; };
struct PACKED sdt { char sig[4]; uint32_t length; char rest[28]; };

static const struct sdt *sdt_at(uint64_t hpa)
{
    if (hpa == 0 || hpa >= (4ull << 30) - PAGE_SIZE)
        return NULL;
    const struct sdt *t = arch_ptr(HPA(hpa));
    return t->length >= sizeof(*t) && t->length < (1u << 20) ? t : NULL;
}

static const struct sdt *find_table(const struct rsdp *rsdp, const char *sig)
{
    bool wide = rsdp->rev >= 2 && rsdp->xsdt;
    const struct sdt *root = sdt_at(wide ? rsdp->xsdt : rsdp->rsdt);
    if (!root)
        return NULL;
    uint64_t size = wide ? 8 : 4, count = (root->length - sizeof(*root)) / size;
    const uint8_t *p = (const uint8_t *)(root + 1);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t a = 0;
        __builtin_memcpy(&a, p + i * size, size);
        const struct sdt *t = sdt_at(a);
        if (t && __builtin_memcmp(t->sig, sig, 4) == 0)
            return t;
    }
    return NULL;
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void add_core(uint32_t apic_id, uint32_t flags)
{
    if ((flags & 1) && acpi.cores++ < CPU_MAX)
        acpi.apic_id[acpi.cores - 1] = apic_id;
}

static void madt_entry(const uint8_t *e)
{
    switch (e[0]) {
    case 0: // processor local APIC
        add_core(e[3], get32(e + 4));
        break;
    case 9: // processor local x2APIC
        if (e[1] >= 16 && get32(e + 4) > 0xfe)
            add_core(get32(e + 4), get32(e + 8));
        break;
    case 1: // IOAPIC
        if (e[1] >= 12 && acpi.ioapics < ARRAY_SIZE(acpi.ioapic)) {
            acpi.ioapic[acpi.ioapics].address = get32(e + 4);
            acpi.ioapic[acpi.ioapics++].gsi_base = get32(e + 8);
        }
        break;
    case 2: // interrupt source override
        if (e[1] >= 10 && e[3] < 16) {
            acpi.isa[e[3]].gsi = get32(e + 4);
            acpi.isa[e[3]].flags = (uint16_t)(e[8] | e[9] << 8);
        }
        break;
    }
}

void acpi_parse(const void *root)
{
    for (uint32_t i = 0; i < 16; i++)
        acpi.isa[i].gsi = i;
    const struct rsdp *rsdp = root;
    const struct sdt *madt = rsdp ? find_table(rsdp, "APIC") : NULL;
    if (!madt)
        panic("the firmware gives no ACPI MADT: the cores and interrupts cannot be found");
    acpi.emulator = __builtin_memcmp(rsdp->oem, "BOCHS ", 6) == 0;
    const uint8_t *p = (const uint8_t *)(madt + 1) + 8, *end = (const uint8_t *)madt + madt->length;
    for (; p + 2 <= end && p[1] >= 8 - 2 * (p[0] == 4) && p + p[1] <= end; p += p[1])
        madt_entry(p);
    if (acpi.cores <= CPU_MAX)
        return;
    log_print("cores: %u more than the %u that Bulkhead uses\n", acpi.cores - CPU_MAX, CPU_MAX);
    acpi.cores = CPU_MAX;
}
