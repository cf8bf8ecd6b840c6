// SPDX-License-Identifier: BSD-2-Clause
// What the boot core reads of the firmware's tables, sane and hostile.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/arch/x86/acpi.h"
#include "tests/unit/low_memory.h"
#include "vmm/board/acpi.h"

#define RSDP 0xf0000u
#define RSDT 0xf1000u
#define XSDT 0xf2000u
#define MADT 0xf3000u
#define FADT 0xf5000u
#define DSDT 0xf6000u

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

// A MADT with one core, and a FADT of that length, whose fields the test puts.
static void fadt_start(void)
{
    low_start();
    madt_start();
    core(0, 1);
    madt_end();
    put32(RSDT + 40, FADT);
    table(RSDT, "RSDT", 44);
}

static void fadt_end(uint32_t bytes)
{
    table(FADT, "FACP", bytes);
    assert_null(parse(20));
}

static void put_gas(uint32_t at, uint8_t space, uint64_t address)
{
    low[FADT + at] = space;
    put64(FADT + at + 4, address);
}

static void dsdt(uint64_t at, const void *aml, uint32_t bytes)
{
    memcpy(low + at + 36, aml, bytes);
    table(at, "DSDT", 36 + bytes);
}

#define S5 "\x08_S5_\x12\x06\x04\x0a\x05\x0a\x03"

static void test_timer(void **state)
{
    (void)state;
    fadt_start();
    put32(FADT + 76, 0x608);
    low[FADT + 91] = 4;
    fadt_end(116);
    assert_int_equal(acpi.pm_timer, 0x608);
    put_gas(208, 1, 0x1808); // newer, but the table is not as long
    fadt_end(116);
    assert_int_equal(acpi.pm_timer, 0x608);
    fadt_end(244);
    assert_int_equal(acpi.pm_timer, 0x1808);
    put_gas(208, 0, 0xfed00000); // not a port: then the older field is right
    fadt_end(244);
    assert_int_equal(acpi.pm_timer, 0x608);
    fadt_end(80); // too short to have it
    assert_int_equal(acpi.pm_timer, 0);
    put32(FADT + 112, 1u << 20); // reduced hardware has none, whatever stands there
    fadt_end(268);
    assert_int_equal(acpi.pm_timer, 0);
}

// What the power code and the clock look at; of a table of the first edition zeros behind its end.
static void test_fadt(void **state)
{
    (void)state;
    fadt_start();
    for (uint32_t i = 36; i < 300; i++)
        low[FADT + i] = (uint8_t)i;
    put32(FADT + 48, 0xb2);
    low[FADT + 52] = 0xf1;
    put32(FADT + 64, 0x604);
    put32(FADT + 68, 0x704);
    low[FADT + 109] = 0x20;
    put32(FADT + 112, 1u << 10 | 1u << 20);
    put_gas(116, 1, 0xcf9);
    low[FADT + 128] = 6;
    put_gas(172, 1, 0x1804);
    put_gas(184, 0, 0);
    put_gas(244, 0, 0xfea00200);
    fadt_end(268);
    const struct fadt *f = &acpi.fadt;
    assert_int_equal(f->smi_cmd, 0xb2);
    assert_int_equal(f->acpi_enable, 0xf1);
    assert_int_equal(acpi_port(f->x_pm1_cnt[0], f->pm1_cnt[0]), 0x1804);
    assert_int_equal(acpi_port(f->x_pm1_cnt[1], f->pm1_cnt[1]), 0x704);
    assert_int_equal(f->boot_arch & FADT_NO_RTC, FADT_NO_RTC);
    assert_int_equal(f->flags, FADT_RESET_REG | FADT_HW_REDUCED);
    assert_int_equal(f->reset.space, GAS_PORT);
    assert_int_equal(f->reset.address, 0xcf9);
    assert_int_equal(f->reset_value, 6);
    assert_int_equal(f->sleep_control.space, GAS_MEMORY);
    assert_int_equal(f->sleep_control.address, 0xfea00200);
    put32(FADT + 112, 0);
    fadt_end(116);
    assert_int_equal(acpi_port(f->x_pm1_cnt[0], f->pm1_cnt[0]), 0x604);
    assert_int_equal(f->reset.address, 0);
    assert_int_equal(f->sleep_control.address, 0);
    memcpy(low + FADT, "FACX", 4); // none at all
    assert_null(parse(20));
    assert_int_equal(f->pm1_cnt[0], 0);
}

static void test_pics(void **state)
{
    (void)state;
    for (uint8_t flags = 0; flags < 4; flags++) {
        low_start();
        madt_start();
        core(0, 1);
        low[MADT + 40] = flags;
        madt_end();
        assert_null(parse(20));
        assert_int_equal(acpi.pics, flags & 1);
    }
}

static void test_dsdt(void **state)
{
    (void)state;
    fadt_start();
    dsdt(DSDT, S5, sizeof(S5) - 1);
    put32(FADT + 40, DSDT);
    fadt_end(116);
    assert_true(acpi.sleeps);
    assert_int_equal(acpi.sleep_type[0], 5);
    assert_int_equal(acpi.sleep_type[1], 3);
    low[DSDT + 36 + 9] = 4; // another one, at the newer field
    dsdt(DSDT + 0x800, "x" S5, sizeof(S5));
    put64(FADT + 140, DSDT + 0x800);
    fadt_end(244);
    assert_int_equal(acpi.sleep_type[0], 5);
    put64(FADT + 140, 5ull << 30); // above what is mapped: the older field
    fadt_end(244);
    assert_int_equal(acpi.sleep_type[0], 4);
    low[DSDT] = 'X';
    fadt_end(244);
    assert_false(acpi.sleeps);
    // At the very end of what is mapped.
    dsdt(LOW_BYTES - 36 - (sizeof(S5) - 1), S5, sizeof(S5) - 1);
    put64(FADT + 140, LOW_BYTES - 36 - (sizeof(S5) - 1));
    fadt_end(244);
    assert_true(acpi.sleeps);
    put64(FADT + 140, LOW_BYTES - 20); // a header that is not there
    put32(FADT + 40, 0);
    fadt_end(244);
    assert_false(acpi.sleeps);
}

// The bytes lie at the end of what can be read, and behind something else.
static int s5(const void *aml, uint32_t bytes)
{
    uint8_t type[2] = { 0xee, 0xee };
    uint8_t *at = low + LOW_BYTES - bytes;
    memset(at - 3, 0, 3);
    memcpy(at, aml, bytes);
    bool found = acpi_find_s5(at, bytes, type);
    assert_int_equal(acpi_find_s5(at - 3, bytes + 3, type), found);
    return found ? type[0] << 8 | type[1] : -1;
}
#define S5_OF(text) s5(text, sizeof(text) - 1)

static void test_s5(void **state)
{
    (void)state;
    assert_int_equal(S5_OF("xx" S5), 0x503);
    assert_int_equal(S5_OF("xx\x08\\_S5_\x12\x06\x04\x0a\x07\x0a\x07"), 0x707);
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x06\x04\x00\x01\x00\x00"), 0x001);
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x05\x01\x0a\x05\x00"), 0x500); // one element
    // The length in two, three and four bytes.
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x45\x00\x02\x01\x01"), 0x101);
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x86\x00\x00\x02\x01\x01"), 0x101);
    assert_int_equal(S5_OF("xx\x08_S5_\x12\xc7\x00\x00\x00\x02\x01\x01"), 0x101);
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x42\x01\x04\x0a\x05\x0a\x03\0\0\0\0\0\0\0\0\0\0\0"),
                     0x503);
    // What is none is passed over.
    assert_int_equal(S5_OF("xx_S5_xx\x0d_S5_\0xx\x08_S5_\x12\x02xx" S5), 0x503);
    assert_int_equal(S5_OF("xx\x08_S4_\x12\x06\x04\x0a\x06\x0a\x06" S5), 0x503);
    // As iasl has it, in a table with much else.
    assert_int_equal(s5(dsdt_aml_code, dsdt_aml_bytes), 0);
}

static void test_no_s5(void **state)
{
    (void)state;
    static const char whole[] = "xx" S5;
    for (uint32_t bytes = 0; bytes < sizeof(whole) - 1; bytes++)
        assert_int_equal(s5(whole, bytes), -1); // cut off anywhere
    assert_int_equal(S5_OF("_S5_\x12\x06\x04\x0a\x05\x0a\x03"), -1); // no NameOp before it
    assert_int_equal(S5_OF("xx_S5_\x12\x06\x04\x0a\x05\x0a\x03"), -1);
    assert_int_equal(S5_OF("xx\x08_S5_\x11\x06\x04\x0a\x05\x0a\x03"), -1); // a buffer
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x06\x04\x0a\x08\x0a\x03"), -1); // no sleep type
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x06\x04\x0a\x05\x0a\x08"), -1);
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x06\x04\x06\x05\x0a\x03"), -1); // not a number
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x06\x00\x0a\x05\x0a\x03"), -1); // no elements
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x05\x04\x0a\x05\x0a\x03"), -1); // they reach out of it
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x07\x04\x0a\x05\x0a\x03"), -1); // it does, of the table
    assert_int_equal(S5_OF("xx\x08_S5_\x12\xcf\xff\xff\xff\x04\x0a\x05\x0a\x03"), -1);
    assert_int_equal(S5_OF("xx\x08_S5_\x12\x00\x04\x0a\x05\x0a\x03"), -1);
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
        cmocka_unit_test_setup(test_fadt, setup),
        cmocka_unit_test_setup(test_pics, setup),
        cmocka_unit_test_setup(test_dsdt, setup),
        cmocka_unit_test_setup(test_s5, setup),
        cmocka_unit_test_setup(test_no_s5, setup),
        cmocka_unit_test_setup(test_no_tables, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
