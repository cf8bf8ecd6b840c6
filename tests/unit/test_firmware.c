// SPDX-License-Identifier: BSD-2-Clause
// What the boot core reads of the loader and of the firmware, sane and hostile.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/arch/x86/acpi.h"
#include "kernel/arch/x86/multiboot.h"
#include "tests/unit/low_memory.h"

#define RSDP 0xf0000u
#define RSDT 0xf1000u
#define XSDT 0xf2000u
#define MADT 0xf3000u
#define INFO 0x8000u
#define MAGIC 0x36d76289u

static int setup(void **state)
{
    (void)state;
    low_start();
    return 0;
}

static void put32(uint64_t at, uint32_t v) { memcpy(low + at, &v, 4); }
static void put64(uint64_t at, uint64_t v) { memcpy(low + at, &v, 8); }

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

// Tags of Multiboot2.
static uint32_t info_bytes;

static void *tag(uint32_t type, uint32_t bytes)
{
    uint32_t at = INFO + info_bytes;
    put32(at, type);
    put32(at + 4, bytes);
    info_bytes += (bytes + 7) & ~7u;
    put32(INFO, info_bytes);
    return low + at + 8;
}

static void info_start(void)
{
    info_bytes = 8;
    put32(INFO, 8);
}

static void ranges(const uint64_t (*r)[3], uint32_t n)
{
    uint8_t *p = tag(6, 16 + 24 * n);
    const uint32_t head[2] = { 24, 0 };
    memcpy(p, head, 8);
    for (uint32_t i = 0; i < n; i++)
        memcpy(p + 8 + 24 * i, r[i], 24);
}

static const char *boot(struct boot_facts *facts)
{
    const struct ram_range image = { 0x100000, 0x180000 };
    memset(facts, 0, sizeof(*facts));
    return multiboot_parse(MAGIC, INFO, image, facts);
}

static void test_loader(void **state)
{
    (void)state;
    static struct boot_facts f;
    static const uint64_t map[][3] = {
        { 0, 0x9fc00, 1 }, { 0x100000, 0x7f00000, 1 }, { 0x4000000, 0x1000, 2 },
        { 5ull << 30, 1ull << 30, 1 }, { 1ull << 43, UINT64_MAX, 1 }, { 0x9f800, 0x800, 20 },
    };
    info_start();
    memcpy(tag(1, 8 + 11), "assume=mds", 11);
    ranges(map, 6);
    uint8_t *m = tag(3, 16 + 9);
    const uint32_t at[2] = { 0x200000, 0x201234 };
    memcpy(m, at, 8);
    memcpy(m + 8, "bin:vmm\0", 9);
    memset(tag(14, 8 + 20), 'o', 20);
    memset(tag(15, 8 + 36), 'n', 36);
    // As GRUB writes what grub.cfg calls "image:it's a \"b\" \c".
    static const char quoted[] = "\"image:it\\'s a \\\"b\\\" \\\\c\"";
    memcpy((uint8_t *)tag(3, 16 + sizeof(quoted)) + 8, quoted, sizeof(quoted));
    // The longest name that there can be, each of its bytes with a backslash before it.
    static char longest[16 + 6 + 2 * 255 + 1] = { [8] = 'i', 'm', 'a', 'g', 'e', ':' };
    for (unsigned i = 14; i < 14 + 2 * 255; i++)
        longest[i] = i % 2 == 0 ? '\\' : '\'';
    memcpy(tag(3, 8 + sizeof(longest) - 8), longest, sizeof(longest) - 8);
    memcpy((uint8_t *)tag(3, 16 + 13) + 8, "option:trace", 13);
    tag(0, 8);
    assert_null(boot(&f));
    assert_string_equal(f.info.options, "assume=mds trace ");
    assert_int_equal(f.info.modules, 4);
    assert_string_equal(f.info.module[1].name, "image:it's a \"b\" \\c");
    assert_int_equal(strlen(f.info.module[2].name), 6 + 255);
    assert_string_equal(strchr(f.info.module[2].name, 0) - 2, "\'\'");
    assert_string_equal(f.info.module[0].name, "bin:vmm");
    assert_int_equal(f.info.module[0].bytes, 0x1234);
    assert_int_equal(boot_memory.rsdp_bytes, 36);
    assert_int_equal(boot_memory.trampoline, 0x9e000);
    const struct memmap *u = &boot_memory.usable;
    static const uint64_t want[][2] = {
        { 0x180000, 0x200000 }, { 0x202000, 0x4000000 }, { 0x4001000, 0x8000000 },
        { 5ull << 30, 6ull << 30 }, { 1ull << 43, 1ull << 44 },
    };
    assert_int_equal(u->count, 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(u->range[i].base, want[i][0]);
        assert_int_equal(u->range[i].end, want[i][1]);
    }
    assert_int_equal(u->top, 1ull << 44);
    // What is usable, whoever uses it.
    assert_int_equal(f.info.ram, 0x9f000 + 0x7f00000 - 0x1000 + (1ull << 30) + (1ull << 43));
}

// More than fits is cut, and ends.
static void test_many_options(void **state)
{
    (void)state;
    static struct boot_facts f;
    static const uint64_t map[][3] = { { 0x100000, 0x7f00000, 1 } };
    char text[201];
    memset(text, 'x', 200);
    text[200] = 0;
    for (unsigned count = 1; count < 4; count++) {
        memset(&f, 0, sizeof(f));
        info_start();
        ranges(map, 1);
        for (unsigned i = 0; i < count; i++)
            memcpy(tag(1, 8 + 201), text, 201);
        tag(0, 8);
        assert_null(boot(&f));
        assert_int_equal(strlen(f.info.options), count == 1 ? 201 : BOOT_OPTIONS_MAX - 1);
        assert_int_equal(f.info.options[200], ' ');
    }
}

static uint8_t *screen_tag(uint64_t at, uint32_t pitch, uint32_t width, uint32_t height,
                           uint8_t bits, uint8_t type)
{
    const uint32_t numbers[3] = { pitch, width, height };
    const uint8_t colours[6] = { 16, 8, 8, 8, 0, 8 };
    uint8_t *t = tag(8, type == 2 ? 32 : 38);
    memcpy(t, &at, 8);
    memcpy(t + 8, numbers, 12);
    t[20] = bits;
    t[21] = type;
    if (type != 2)
        memcpy(t + 24, colours, 6);
    return t;
}

static void screen_boot(struct boot_facts *f)
{
    static const uint64_t map[][3] = { { 0x100000, 0x7f00000, 1 }, { 5ull << 30, 1ull << 30, 1 } };
    log_said[0] = 0;
    ranges(map, 2);
    tag(0, 8);
    assert_null(boot(f));
    info_start();
}

// VGA's text mode, as GRUB 2.06 says it on a BIOS, and pixels, as on OVMF.
static void test_screen(void **state)
{
    (void)state;
    static struct boot_facts f;
    info_start();
    screen_boot(&f);
    assert_int_equal(f.info.screen.width, 0);
    screen_tag(0xb8000, 160, 80, 25, 16, 2);
    screen_boot(&f);
    assert_int_equal(f.info.screen.hpa, 0xb8000);
    assert_int_equal(f.info.screen.pitch, 160);
    assert_int_equal(f.info.screen.height, 25);
    assert_true(f.info.screen.text);
    screen_tag(7ull << 30, 5120, 1280, 800, 32, 1);
    screen_boot(&f);
    assert_int_equal(f.info.screen.hpa, 7ull << 30);
    assert_int_equal(f.info.screen.width, 1280);
    assert_false(f.info.screen.text);
    assert_int_equal(f.info.screen.colour[0], 16);
    assert_int_equal(f.info.screen.colour[1], 8);
    assert_int_equal(f.info.screen.colour[2], 0);
    assert_string_equal(log_said, "");
}

// One that cannot be drawn on, or lies where there is RAM, is not used, and that is said.
static void test_screen_refused(void **state)
{
    (void)state;
    static struct boot_facts f;
    static const struct {
        uint64_t at;
        uint32_t pitch, width, height;
        uint8_t bits, type;
        const char *why;
    } bad[] = {
        { 0xfd000000, 5120, 1280, 800, 24, 1, "pixels" },
        { 0xfd000000, 5120, 1280, 800, 32, 0, "pixels" }, // of a palette
        { 0xfd000000, 5116, 1280, 800, 32, 1, "cannot be" },
        { 0xfd000000, 5122, 1280, 800, 32, 1, "cannot be" },
        { 0xfd000800, 5120, 1280, 800, 32, 1, "cannot be" },
        { 0xfd000000, 5120, 1280, 0, 32, 1, "cannot be" },
        { 0xfd000000, 5120, 7, 800, 32, 1, "cannot be" },
        { 0xfd000000, UINT32_MAX & ~3u, 1280, 800, 32, 1, "cannot be" },
        { 0xfd000000, 0, 0x80000000, 800, 16, 2, "cannot be" },
        { 0xfd000000, 160, 80, UINT32_MAX, 16, 2, "cannot be" },
        { 0x200000, 5120, 1280, 800, 32, 1, "cannot be" },
        { (5ull << 30) - PAGE_SIZE, 5120, 1280, 800, 32, 1, "cannot be" },
        { 1ull << 44, 5120, 1280, 800, 32, 1, "cannot be" },
        { UINT64_MAX - 4095, 5120, 1280, 800, 32, 1, "cannot be" },
    };
    info_start();
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        screen_tag(bad[i].at, bad[i].pitch, bad[i].width, bad[i].height, bad[i].bits, bad[i].type);
        screen_boot(&f);
        assert_int_equal(f.info.screen.width, 0);
        assert_non_null(strstr(log_said, "the screen is not used: "));
        assert_non_null(strstr(log_said, bad[i].why));
    }
    screen_tag(0xfd000000, 5120, 1280, 800, 32, 1)[25] = 10; // bits of red
    screen_boot(&f);
    assert_non_null(strstr(log_said, "pixels"));
    memset(tag(8, 30), 1, 22);
    screen_boot(&f);
    assert_non_null(strstr(log_said, "neither text"));
}

static void test_damaged_tags(void **state)
{
    (void)state;
    static struct boot_facts f;
    static const uint64_t map[][3] = { { 0x100000, 0x7f00000, 1 } };
    info_start();
    ranges(map, 1);
    memcpy(tag(3, 16 + 4) - 8 + 16, "abcd", 4); // no NUL
    memcpy(tag(1, 8 + 4), "abcd", 4);
    uint8_t *m = tag(3, 16 + 2); // ends before it begins
    const uint32_t at[2] = { 0x300000, 0x200000 };
    memcpy(m, at, 8);
    assert_null(boot(&f));
    assert_int_equal(f.info.modules, 0);
    assert_string_equal(f.info.options, "");
    put32(INFO + info_bytes - 24 + 4, 0x7fffffff); // a tag beyond the end
    assert_null(boot(&f));
    static const uint32_t totals[] = { 0, 7, 0x200000, UINT32_MAX };
    for (unsigned i = 0; i < 4; i++) {
        put32(INFO, totals[i]);
        assert_non_null(boot(&f));
    }
    assert_string_equal(multiboot_parse(1, INFO, (struct ram_range){ 0, 0 }, &f),
                        "not started by a Multiboot2 loader");
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
        cmocka_unit_test_setup(test_loader, setup),
        cmocka_unit_test_setup(test_many_options, setup),
        cmocka_unit_test_setup(test_screen, setup),
        cmocka_unit_test_setup(test_screen_refused, setup),
        cmocka_unit_test_setup(test_damaged_tags, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
