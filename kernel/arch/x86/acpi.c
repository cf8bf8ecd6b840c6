// SPDX-License-Identifier: BSD-2-Clause
// Tables come from firmware: lengths are bounded, nothing is believed. One with a wrong checksum is
// used all the same, and that is said: a machine that its owner can start is worth more than a
// strict one.
#include "kernel/arch/x86/acpi.h"
#include "kernel/core/arch.h"

struct acpi_facts acpi;

#define MAPPED (4ull << 30) // what boot.S maps
#define TABLE_MAX (1u << 20)
struct ACPI_PACKED rsdp { char sig[8]; uint8_t sum; char oem[6]; uint8_t rev; uint32_t rsdt, length;
                     uint64_t xsdt; };
struct ACPI_PACKED sdt { char sig[4]; uint32_t length; char rest[28]; };
#define RSDP_OLD_BYTES 20
#define MADT_PCAT_COMPAT 1u

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

static const struct sdt *sdt_at(uint64_t hpa)
{
    if (hpa == 0 || hpa > MAPPED - sizeof(struct sdt))
        return NULL;
    const struct sdt *t = arch_ptr(HPA(hpa));
    return t->length >= sizeof(*t) && t->length <= TABLE_MAX && t->length <= MAPPED - hpa ? t
                                                                                         : NULL;
}

static bool sum_is_right(const void *p, uint32_t bytes)
{
    uint8_t sum = 0;
    for (uint32_t i = 0; i < bytes; i++)
        sum += ((const uint8_t *)p)[i];
    return sum == 0;
}

// `size`: of an entry of the list.
static const struct sdt *find_table(const struct sdt *list, uint32_t size, const char *sig)
{
    for (uint32_t at = sizeof(*list); list && at + size <= list->length; at += size) {
        const uint8_t *p = (const uint8_t *)list + at;
        const struct sdt *t = sdt_at(size == 8 ? get64(p) : get32(p));
        if (!t || __builtin_memcmp(t->sig, sig, 4) != 0)
            continue;
        if (!sum_is_right(t, t->length))
            log_print("boot: the checksum of ACPI table %s is wrong\n", sig);
        return t;
    }
    return NULL;
}

static void add_core(uint32_t apic_id, uint32_t flags)
{
    if (!(flags & 1)) // not enabled
        return;
    for (uint32_t i = 0; i < acpi.cores; i++)
        if (acpi.apic_id[i] == apic_id)
            return; // firmware may list a core in both forms
    if (acpi.cores < CPU_MAX)
        acpi.apic_id[acpi.cores++] = apic_id;
    else
        acpi.more++;
}

static void madt_entry(const uint8_t *e)
{
    switch (e[0]) {
    case 0: // processor local APIC
        if (e[1] >= 8 && e[3] != 0xff)
            add_core(e[3], get32(e + 4));
        break;
    case 9: // processor local x2APIC
        if (e[1] >= 16 && get32(e + 4) != UINT32_MAX)
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

static void read_fadt(const struct sdt *table)
{
    struct fadt *f = &acpi.fadt;
    if (!table)
        return;
    __builtin_memcpy(f, table, min_u64(table->length, sizeof(*f)));
    if (f->pm_tmr_len == 4 && !(f->flags & FADT_HW_REDUCED))
        acpi.pm_timer = acpi_port(f->x_pm_tmr, f->pm_tmr);
    const struct sdt *dsdt = sdt_at(f->x_dsdt) ? sdt_at(f->x_dsdt) : sdt_at(f->dsdt);
    acpi.sleeps = dsdt && __builtin_memcmp(dsdt->sig, "DSDT", 4) == 0 &&
                  acpi_find_s5((const uint8_t *)dsdt, dsdt->length, acpi.sleep_type);
}

const char *acpi_parse(const void *root, uint32_t bytes)
{
    const struct rsdp *rsdp = root;
    __builtin_memset(&acpi, 0, sizeof(acpi));
    for (uint32_t i = 0; i < 16; i++)
        acpi.isa[i].gsi = i;
    if (!rsdp || bytes < RSDP_OLD_BYTES)
        return "RSDP";
    acpi.emulator = __builtin_memcmp(rsdp->oem, "BOCHS ", 6) == 0;
    // The XSDT, if there is one below 4 GB, else the RSDT, which lists the same tables.
    const struct sdt *xsdt = rsdp->rev >= 2 && bytes >= sizeof(*rsdp) ? sdt_at(rsdp->xsdt) : NULL;
    const struct sdt *list = xsdt ? xsdt : sdt_at(rsdp->rsdt);
    read_fadt(find_table(list, xsdt ? 8 : 4, "FACP"));
    const struct sdt *madt = find_table(list, xsdt ? 8 : 4, "APIC");
    if (!madt || madt->length < sizeof(*madt) + 8)
        return "MADT";
    acpi.pics = get32((const uint8_t *)(madt + 1) + 4) & MADT_PCAT_COMPAT;
    const uint8_t *p = (const uint8_t *)(madt + 1) + 8, *end = (const uint8_t *)madt + madt->length;
    for (; p + 2 <= end && p[1] >= 2 && p[1] <= end - p; p += p[1])
        madt_entry(p);
    if (acpi.more)
        log_print("cores: %u more than the %u that Bulkhead uses\n", acpi.more, CPU_MAX);
    return NULL;
}
