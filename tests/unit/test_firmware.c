// SPDX-License-Identifier: BSD-2-Clause
// What the boot core reads of the firmware's tables, sane and hostile.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/arch/x86/acpi.h"
#include "tests/unit/low_memory.h"

#define RSDP 0xf0000u
#define RSDT 0xf1000u
#define XSDT 0xf2000u
#define MADT 0xf3000u

static int setup(void **state)
{
    (void)state;
    low_start();
    return 0;
}

static void sum(uint64_t at, uint32_t bytes, uint64_t where)
{
    uint8_t s = 0;
    low[where] = 0;
    for (uint32_t i = 0; i < bytes; i++)
        s += low[at + i];
    low[where] = (uint8_t)-s;
}

static void table(uint64_t at, const char *sig, uint32_t bytes)
{
    memcpy(low + at, sig, 4);
    put32(at + 4, bytes);
    sum(at, bytes, at + 9);
}

static void rsdp(uint8_t rev, uint32_t rsdt, uint64_t xsdt)
{
    memcpy(low + RSDP, "RSD PTR ", 8);
    memcpy(low + RSDP + 9, "TEST  ", 6);
    low[RSDP + 15] = rev;
    put32(RSDP + 16, rsdt);
    put32(RSDP + 20, 36);
    put64(RSDP + 24, xsdt);
}

static const char *parse(uint32_t bytes) { return acpi_parse(low + RSDP, bytes); }

// An RSDT and a MADT whose entries are given: `bytes` of them from 0xf4000 on are put behind it.
static uint32_t madt_bytes;
static void madt_start(void)
{
    madt_bytes = 44;
    rsdp(0, RSDT, 0);
    put32(RSDT + 36, MADT);
    table(RSDT, "RSDT", 40);
}

static void entry(const uint8_t *e, uint8_t bytes)
{
    memcpy(low + MADT + madt_bytes, e, bytes);
    low[MADT + madt_bytes + 1] = bytes;
    madt_bytes += bytes;
}

static void core(uint8_t id, uint8_t flags)
{
    const uint8_t e[8] = { 0, 8, 7, id, flags };
    entry(e, 8);
}

static void core_x2(uint32_t id, uint8_t flags)
{
    uint8_t e[16] = { 9, 16, 0, 0, 0, 0, 0, 0, flags };
    memcpy(e + 4, &id, 4);
    entry(e, 16);
}

static void madt_end(void) { table(MADT, "APIC", madt_bytes); }

static void test_madt(void **state)
{
    (void)state;
    madt_start();
    core(0, 1);
    core(2, 0); // not enabled
    core(0xff, 1);
    core(4, 1);
    const uint8_t nmi[6] = { 4, 6, 0xff, 0, 0, 1 };
    entry(nmi, 6);
    const uint8_t ioapic[12] = { 1, 12, 9, 0, 0, 0, 0xc0, 0xfe, 24 };
    entry(ioapic, 12);
    const uint8_t isa[10] = { 2, 10, 0, 0, 2, 0, 0, 0, 13 };
    entry(isa, 10);
    madt_end();
    assert_null(parse(20));
    assert_int_equal(acpi.cores, 2);
    assert_int_equal(acpi.apic_id[1], 4);
    assert_int_equal(acpi.ioapics, 1);
    assert_int_equal(acpi.ioapic[0].address, 0xfec00000);
    assert_int_equal(acpi.ioapic[0].gsi_base, 24);
    assert_int_equal(acpi.isa[0].gsi, 2);
    assert_int_equal(acpi.isa[0].flags, 13);
    assert_int_equal(acpi.isa[4].gsi, 4);
    assert_string_equal(log_said, "");
}

// Firmware may list all cores as x2APIC entries, small ids too, or in both forms.
static void test_x2apic_entries(void **state)
{
    (void)state;
    madt_start();
    for (unsigned i = 0; i < 4; i++)
        core_x2(2 * i, 1);
    core_x2(0x1000, 1);
    core_x2(UINT32_MAX, 1);
    core_x2(12, 0);
    for (unsigned i = 0; i < 5; i++)
        core((uint8_t)(2 * i), 1);
    madt_end();
    assert_null(parse(20));
    static const uint32_t ids[] = { 0, 2, 4, 6, 0x1000, 8 };
    assert_int_equal(acpi.cores, 6);
    assert_memory_equal(acpi.apic_id, ids, sizeof(ids));
}

static void test_more_cores_than_fit(void **state)
{
    (void)state;
    madt_start();
    for (unsigned i = 0; i < 200; i++)
        core((uint8_t)i, 1);
    for (unsigned i = 0; i < 64; i++)
        core((uint8_t)i, 1); // again
    madt_end();
    assert_null(parse(20));
    assert_int_equal(acpi.cores, CPU_MAX);
    assert_int_equal(acpi.more, 200 - CPU_MAX);
    for (uint32_t i = 0; i < CPU_MAX; i++)
        assert_int_equal(acpi.apic_id[i], i);
}

// An entry of length 0, or one that goes beyond the table, ends the list.
static void test_damaged_entries(void **state)
{
    (void)state;
    static const uint8_t lengths[] = { 0, 1, 9, 255 };
    for (unsigned i = 0; i < sizeof(lengths); i++) {
        low_start();
        madt_start();
        core(0, 1);
        core(1, 1);
        low[MADT + madt_bytes - 8 + 1] = lengths[i];
        madt_end();
        assert_null(parse(20));
        assert_int_equal(acpi.cores, 1);
    }
}

// At the very end of what is mapped: one byte too far faults.
static void test_table_at_the_end(void **state)
{
    (void)state;
    const uint32_t bytes = 44 + 8, at = (uint32_t)(LOW_BYTES - bytes);
    rsdp(0, RSDT, 0);
    put32(RSDT + 36, at);
    table(RSDT, "RSDT", 40);
    low[at + 45] = 8;
    low[at + 48] = 1;
    table(at, "APIC", bytes);
    assert_null(parse(20));
    assert_int_equal(acpi.cores, 1);
    table(at, "APIC", bytes); // now with a length that reaches beyond
    put32(at + 4, bytes + 1);
    assert_string_equal(parse(20), "MADT");
    put32(RSDT + 36, (uint32_t)(LOW_BYTES - 4));
    assert_string_equal(parse(20), "MADT");
}

static void put_xsdt(uint64_t at, uint64_t madt)
{
    put64(at + 36, madt);
    table(at, "XSDT", 44);
}

static void test_which_list(void **state)
{
    (void)state;
    madt_start();
    core(5, 1);
    madt_end();
    // A second MADT that the XSDT has.
    memcpy(low + MADT + 0x800, low + MADT, 0x100);
    low[MADT + 0x800 + 47] = 6;
    table(MADT + 0x800, "APIC", madt_bytes);
    put_xsdt(XSDT, MADT + 0x800);
    rsdp(2, RSDT, XSDT);
    assert_null(parse(36));
    assert_int_equal(acpi.apic_id[0], 6);
    assert_null(parse(20)); // the loader gave the old part only: what lies behind is not read
    assert_int_equal(acpi.apic_id[0], 5);
    rsdp(2, RSDT, 5ull << 30); // above what is mapped
    assert_null(parse(36));
    assert_int_equal(acpi.apic_id[0], 5);
    rsdp(2, RSDT, XSDT);
    assert_string_equal(log_said, "");
    low[MADT + 0x800 + 9]++; // a wrong sum: used all the same, and said
    assert_null(parse(36));
    assert_int_equal(acpi.apic_id[0], 6);
    assert_non_null(strstr(log_said, "checksum of ACPI table APIC"));
}

static void test_timer(void **state)
{
    (void)state;
    madt_start();
    core(0, 1);
    madt_end();
    put32(RSDT + 36, MADT);
    put32(RSDT + 40, 0xf5000);
    table(RSDT, "RSDT", 44);
    put32(0xf5000 + 76, 0x608);
    low[0xf5000 + 91] = 4;
    table(0xf5000, "FACP", 244);
    assert_null(parse(20));
    assert_int_equal(acpi.pm_timer, 0x608);
    table(0xf5000, "FACP", 80); // too short to have it
    assert_null(parse(20));
    assert_int_equal(acpi.pm_timer, 0);
}

static void test_no_tables(void **state)
{
    (void)state;
    assert_string_equal(acpi_parse(NULL, 0), "RSDP");
    rsdp(0, RSDT, 0);
    assert_string_equal(parse(19), "RSDP");
    assert_string_equal(parse(20), "MADT");
    table(RSDT, "RSDT", 36);
    assert_string_equal(parse(20), "MADT");
    put32(RSDT + 4, 35); // shorter than its own header
    assert_string_equal(parse(20), "MADT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_madt, setup),
        cmocka_unit_test_setup(test_x2apic_entries, setup),
        cmocka_unit_test_setup(test_more_cores_than_fit, setup),
        cmocka_unit_test_setup(test_damaged_entries, setup),
        cmocka_unit_test_setup(test_table_at_the_end, setup),
        cmocka_unit_test_setup(test_which_list, setup),
        cmocka_unit_test_setup(test_timer, setup),
        cmocka_unit_test_setup(test_no_tables, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
