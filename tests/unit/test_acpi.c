// SPDX-License-Identifier: BSD-2-Clause
//
// The firmware's tables: found as an operating system finds them, checksummed, and true to the
// board.
#include "guest.h"

#include "vmm/board/acpi.h"
#include "vmm/board/irq_router.h"
#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/hpet.h"
#include "vmm/dev/ioapic.h"

static struct guest_ram ram;
static uint64_t rsdp;

static int setup(void **state)
{
    (void)state;
    guest_ram_new(&ram, 64 << 20);
    return firmware_write(&ram, 2, true, &rsdp) ? 0 : -1;
}

static uint64_t get(uint64_t gpa, unsigned size)
{
    return guest_get(&ram, gpa, size);
}

static void expect_sum(uint64_t gpa, uint64_t bytes)
{
    assert_true(bytes > 0 && ram_at(&ram, gpa, bytes) != NULL);
    assert_int_equal(firmware_checksum(ram_at(&ram, gpa, bytes), bytes), 0);
}

static void expect_signature(uint64_t gpa, const char *signature)
{
    assert_memory_equal(ram_at(&ram, gpa, strlen(signature)), signature, strlen(signature));
}

// The table of that name in the XSDT; the RSDT must have it too.
static uint64_t find_table(const char *signature)
{
    uint64_t rsdt = get(rsdp + 16, 4), xsdt = get(rsdp + 24, 8);

    for (unsigned i = 0; 36 + 8 * i < get(xsdt + 4, 4); i++) {
        uint64_t table = get(xsdt + 36 + 8 * i, 8);
        assert_int_equal(get(rsdt + 36 + 4 * i, 4), table);
        if (memcmp(ram_at(&ram, table, 4), signature, 4) == 0) {
            expect_sum(table, get(table + 4, 4));
            return table;
        }
    }
    fail_msg("no table %s", signature);
    return 0;
}

static void test_root(void **state)
{
    (void)state;
    assert_int_equal(rsdp % 16, 0);
    assert_true(rsdp >= 0xE0000 && rsdp < 0x100000);
    expect_signature(rsdp, "RSD PTR ");
    expect_sum(rsdp, 20);
    expect_sum(rsdp, 36);
    expect_signature(get(rsdp + 16, 4), "RSDT");
    expect_signature(get(rsdp + 24, 8), "XSDT");
    expect_sum(get(rsdp + 16, 4), get(get(rsdp + 16, 4) + 4, 4));
    expect_sum(get(rsdp + 24, 8), get(get(rsdp + 24, 8) + 4, 4));
}

static void test_fadt(void **state)
{
    uint64_t fadt = find_table("FACP");
    (void)state;

    assert_int_equal(get(fadt + 8, 1), 5);
    uint64_t facs = get(fadt + 36, 4), dsdt = get(fadt + 40, 4);
    expect_signature(facs, "FACS");
    assert_int_equal(facs % 64, 0);
    expect_signature(dsdt, "DSDT");
    expect_sum(dsdt, get(dsdt + 4, 4));
    assert_int_equal(get(fadt + 140, 8), dsdt);
    assert_int_equal(get(fadt + 46, 2), ISA_IRQ_SCI);
    assert_int_equal(get(fadt + 48, 4), 0);               // SMI_CMD
    assert_int_equal(get(fadt + 56, 4), ACPI_PM1A_EVT);
    assert_int_equal(get(fadt + 64, 4), ACPI_PM1A_CNT);
    assert_int_equal(get(fadt + 76, 4), ACPI_PM_TMR);
    assert_int_equal(get(fadt + 88, 1), 4);
    assert_int_equal(get(fadt + 89, 1), 2);
    assert_int_equal(get(fadt + 91, 1), 4);
    assert_int_equal(get(fadt + 109, 2), 7);              // legacy devices, 8042, no VGA
    assert_int_equal(get(fadt + 112, 4) & 0x521, 0x521);  // WBINVD, reset register, 32-bit timer
    assert_int_equal(get(fadt + 116, 1), 1);              // reset register: I/O
    assert_int_equal(get(fadt + 120, 8), 0xCF9);
    assert_int_equal(get(fadt + 128, 1), 6);
    assert_int_equal(get(fadt + 152, 8), ACPI_PM1A_EVT);
    assert_int_equal(get(fadt + 212, 8), ACPI_PM_TMR);
}

static void test_madt(void **state)
{
    uint64_t madt = find_table("APIC"), at = madt + 44, stop = madt + get(madt + 4, 4);
    unsigned lapics = 0, ioapics = 0, overrides = 0, nmis = 0;
    (void)state;

    assert_int_equal(get(madt + 36, 4), 0xFEE00000);
    assert_int_equal(get(madt + 40, 4), 1);
    for (; at < stop; at += get(at + 1, 1)) {
        assert_true(get(at + 1, 1) >= 6);
        switch (get(at, 1)) {
        case 0:
            assert_int_equal(get(at + 3, 1), lapics++);
            assert_int_equal(get(at + 4, 4), 1);
            break;
        case 1:
            ioapics++;
            assert_int_equal(get(at + 4, 4), IOAPIC_BASE);
            assert_int_equal(get(at + 8, 4), 0);
            break;
        case 2:
            overrides++;
            if (get(at + 3, 1) == 0)
                assert_int_equal(get(at + 4, 4), GSI_PIT);
            else
                assert_int_equal(get(at + 8, 2), 0xD); // SCI: level
            break;
        case 4:
            nmis++;
            assert_int_equal(get(at + 5, 1), 1);
            break;
        default:
            fail_msg("entry of type %lu", get(at, 1));
        }
    }
    assert_int_equal(at, stop);
    assert_int_equal(lapics * 1000 + ioapics * 100 + overrides * 10 + nmis, 2121);
}

// The HPET's table says what its registers do; without one there are two root tables.
static void test_hpet(void **state)
{
    uint64_t hpet = find_table("HPET");
    (void)state;

    assert_int_equal(get(hpet + 4, 4), 56);
    assert_int_equal(get(hpet + 36, 4), 0x8086A201);
    assert_int_equal(get(hpet + 40, 1), 0); // memory
    assert_int_equal(get(hpet + 44, 8), HPET_BASE);
    assert_int_equal(get(hpet + 52, 1), 0);
    assert_int_equal(get(hpet + 53, 2), HPET_MIN_TICK);
    assert_int_equal(get(get(rsdp + 24, 8) + 4, 4), 36 + 3 * 8);
    guest_ram_new(&ram, 64 << 20);
    assert_true(firmware_write(&ram, 2, false, &rsdp));
    assert_int_equal(get(get(rsdp + 24, 8) + 4, 4), 36 + 2 * 8);
    assert_int_equal(get(get(rsdp + 16, 4) + 4, 4), 36 + 2 * 4);
    find_table("FACP");
    find_table("APIC");
}

static void test_mp_table(void **state)
{
    static const uint8_t length[5] = { 20, 8, 8, 8, 8 };
    uint64_t floating = MP_TABLE, config = get(floating + 4, 4), at = config + 44;
    unsigned count[5] = { 0 };
    (void)state;

    expect_signature(floating, "_MP_");
    expect_sum(floating, 16);
    expect_signature(config, "PCMP");
    expect_sum(config, get(config + 4, 2));
    for (unsigned i = 0; i < get(config + 34, 2); i++) {
        unsigned type = (unsigned)get(at, 1);
        assert_true(type < 5);
        count[type]++;
        at += length[type];
    }
    assert_int_equal(at, config + get(config + 4, 2));
    assert_int_equal(count[0], 2);
    assert_int_equal(count[2], 1);
    assert_int_equal(count[3], 15);
    assert_int_equal(count[4], 2);
}

static void test_bios_data(void **state)
{
    (void)state;
    assert_int_equal(get(0x400, 2), 0x3F8);
    assert_int_equal(get(0x40E, 2) << 4, RAM_EBDA);
    assert_int_equal(get(0x413, 2), 639);
    assert_int_equal(get(RAM_EBDA, 1), 1);
    assert_int_equal(get(0x410, 2), 0x220);  // one serial port; colour screen
    // The text screen: mode 3, 80 columns, 25 rows of 16 lines, page 0, the cursor in its corner.
    assert_int_equal(get(0x449, 1), 3);
    assert_int_equal(get(0x44A, 2), 80);
    assert_int_equal(get(0x44C, 2), 0x1000);
    assert_int_equal(get(0x44E, 2), 0);
    for (unsigned page = 0; page < 8; page++)
        assert_int_equal(get(0x450 + 2 * page, 2), 0);
    assert_int_equal(get(0x460, 2), 0x0607);
    assert_int_equal(get(0x462, 1), 0);
    assert_int_equal(get(0x463, 2), 0x3D4);
    assert_int_equal(get(0x465, 1), 0x29);
    assert_int_equal(get(0x484, 1), 24);
    assert_int_equal(get(0x485, 2), 16);
}

// As 16-bit code, and as 32-bit or 64-bit code: MOV to AL, MOV to DX or EDX, OUT.
static void test_reset_vector(void **state)
{
    (void)state;
    assert_int_equal(get(0xFFFF0, 2), 0x06B0);
    assert_int_equal(get(0xFFFF2, 1), 0xBA);
    assert_int_equal(get(0xFFFF3, 2), 0xCF9);
    assert_int_equal(get(0xFFFF5, 2), 0x9090);
    assert_int_equal(get(0xFFFF7, 1), 0xEE);
}

static void test_counts(void **state)
{
    uint64_t pointer;
    (void)state;

    assert_false(firmware_write(&ram, 0, true, &pointer));
    assert_false(firmware_write(&ram, ACPI_VCPU_MAX + 1, true, &pointer));
    assert_true(firmware_write(&ram, ACPI_VCPU_MAX, true, &pointer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root),     cmocka_unit_test(test_fadt),
        cmocka_unit_test(test_madt),     cmocka_unit_test(test_hpet),
        cmocka_unit_test(test_madt),     cmocka_unit_test(test_mp_table),
        cmocka_unit_test(test_bios_data), cmocka_unit_test(test_reset_vector),
        cmocka_unit_test(test_counts),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
