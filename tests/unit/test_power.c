// SPDX-License-Identifier: BSD-2-Clause
// How the machine ends, on a chipset that takes nothing for granted: it sleeps only in ACPI mode,
// when both halves of PM1 were told the kind of sleep before either was told to sleep, and when
// nothing else in them was touched; any port that it does not have ends the test.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "kernel/arch/x86/x86.h"

static uint64_t fake_rdtsc(void);
static void chip_out8(uint16_t port, uint8_t v);
static uint16_t chip_in16(uint16_t port);
static void chip_out16(uint16_t port, uint16_t v);
NORETURN static void halted(void);
#define rdtsc fake_rdtsc
#define out8  chip_out8
#define in16  chip_in16
#define out16 chip_out16
#define halt_for_good halted
#include "kernel/arch/x86/power.c" // NOLINT(bugprone-suspicious-include)

#define PM1A 0x1804
#define PM1B 0x2804
#define SMI  0xb2
#define OTHERS 0x0202 // of PM1: bits that are to stay
#define S5_A 5
#define S5_B 3
#define REGISTER 0xfea00200

struct acpi_facts acpi;
uint32_t cpu_count;
struct cpu *cpus[CPU_MAX];
uint64_t cr3_kernel, clock_tsc_hz;

enum end { HALTED, OFF, RESET };
static jmp_buf ended;
static const char *options;
static char said[256];
static struct {
    uint64_t now;
    uint64_t acpi_from;       // when ACPI mode is on; UINT64_MAX: it is not
    uint64_t takes;           // ticks to switch it on
    uint16_t pm1[2];
    bool two;                 // halves
    uint8_t cf9;
    bool has_cf9;
    uint8_t memory[2];        // sleep and reset register
    uint8_t low[2];           // the same, by the boot page tables
} chip;

static uint64_t fake_rdtsc(void) { return chip.now += 1000000; }

NORETURN static void end(enum end how) { longjmp(ended, 1 + (int)how); }
NORETURN static void halted(void) { end(HALTED); }

static unsigned half_of(uint16_t port)
{
    assert_true(port == PM1A || (port == PM1B && chip.two));
    return port == PM1B;
}

static uint16_t chip_in16(uint16_t port)
{
    unsigned half = half_of(port);
    return chip.pm1[half] | (half == 0 && chip.now >= chip.acpi_from);
}

static void chip_out16(uint16_t port, uint16_t v)
{
    unsigned half = half_of(port);
    const uint16_t types[2] = { S5_A << 10, S5_B << 10 };
    assert_int_equal(v & ~(7 << 10 | 1 << 13), OTHERS | (half == 0 && chip.now >= chip.acpi_from));
    if (chip.now < chip.acpi_from)
        return; // the firmware keeps it to itself
    if (v & 1 << 13)
        for (unsigned i = 0; i <= chip.two; i++)
            assert_int_equal(chip.pm1[i] & 7 << 10, types[i]);
    assert_int_equal(v & 7 << 10, types[half]);
    chip.pm1[half] = v & (uint16_t)~1;
    if ((chip.pm1[0] & 1 << 13) && (!chip.two || (chip.pm1[1] & 1 << 13)))
        end(OFF);
}

static void chip_out8(uint16_t port, uint8_t v)
{
    if (port == SMI) {
        assert_int_equal(v, 0xa1);
        chip.acpi_from = chip.now + chip.takes;
    } else {
        assert_int_equal(port, 0xcf9);
        assert_true(chip.has_cf9);
        if ((v & 6) == 6 && chip.cf9 == 2) // the bit has to rise
            end(RESET);
        chip.cf9 = v;
    }
}

const char *boot_option(const char *key)
{
    const char *at = strstr(options, key);
    return at ? at + strlen(key) : NULL;
}

void apic_icr(uint32_t apic_id, uint32_t command) { fail_msg("%u %u", apic_id, command); }

void arch_log(const char *text, size_t bytes) { strncat(said, text, bytes); }

void *paging_map_mmio(struct hpa a)
{
    assert_true(a.v == REGISTER || a.v == REGISTER + 1);
    return &chip.memory[a.v - REGISTER];
}

void *arch_ptr(struct hpa a)
{
    assert_int_equal(cr3_kernel, 0);
    assert_true(a.v == REGISTER || a.v == REGISTER + 1);
    return &chip.low[a.v - REGISTER];
}

uint32_t frames_owner(struct hpa a) { return a.v < 1 << 20 ? FRAME_POOL : FRAME_RESERVED; }

static int setup(void **state)
{
    (void)state;
    memset(&chip, 0, sizeof(chip));
    memset(&acpi, 0, sizeof(acpi));
    chip.pm1[0] = chip.pm1[1] = OTHERS;
    chip.has_cf9 = true;
    options = "";
    said[0] = 0;
    cr3_kernel = 0x1000;
    clock_tsc_hz = 0;
    acpi.sleeps = true;
    acpi.sleep_type[0] = S5_A;
    acpi.sleep_type[1] = S5_B;
    acpi.fadt.pm1_cnt[0] = PM1A;
    return 0;
}

static enum end off(int status)
{
    int how = setjmp(ended);
    if (!how)
        arch_off(status);
    return (enum end)(how - 1);
}

static void test_off(void **state)
{
    (void)state;
    assert_int_equal(off(0), OFF);
    assert_string_equal(said, "");
    setup(NULL);
    assert_int_equal(off(1), OFF);
    setup(NULL);
    chip.two = true;
    acpi.fadt.pm1_cnt[1] = PM1B;
    assert_int_equal(off(0), OFF);
}

static void test_acpi_mode(void **state)
{
    (void)state;
    acpi.fadt.smi_cmd = SMI;
    acpi.fadt.acpi_enable = 0xa1;
    chip.acpi_from = UINT64_MAX;
    chip.takes = 900000000;
    assert_int_equal(off(0), OFF);
    setup(NULL);
    acpi.fadt.smi_cmd = SMI; // the clock is known, and the firmware soon done
    acpi.fadt.acpi_enable = 0xa1;
    chip.acpi_from = UINT64_MAX;
    chip.takes = 20000000;
    clock_tsc_hz = 1000000000;
    assert_int_equal(off(0), OFF);
    assert_true(chip.now < 100000000);
    setup(NULL); // or never: it is tried all the same
    acpi.fadt.smi_cmd = SMI;
    acpi.fadt.acpi_enable = 0xa1;
    chip.acpi_from = UINT64_MAX;
    chip.takes = 1ull << 40;
    assert_int_equal(off(0), HALTED);
    setup(NULL); // it is on already: the firmware is left alone
    acpi.fadt.smi_cmd = SMI;
    acpi.fadt.acpi_enable = 0xee;
    assert_int_equal(off(0), OFF);
}

// Nobody knows how: what could be wrong is not tried, and it is said that a hand is needed.
static void test_no_way(void **state)
{
    (void)state;
    acpi.sleeps = false;
    assert_int_equal(off(0), HALTED);
    assert_non_null(strstr(said, "can be switched off"));
    setup(NULL);
    acpi.fadt.pm1_cnt[0] = 0;
    assert_int_equal(off(0), HALTED);
    assert_non_null(strstr(said, "can be switched off"));
}

static void test_panic(void **state)
{
    (void)state;
    assert_int_equal(off(2), HALTED); // its text is to be read
    assert_int_equal(chip.pm1[0], OTHERS);
    assert_non_null(strstr(said, "can be switched off"));
    options = "panic=off";
    assert_int_equal(off(2), OFF);
    setup(NULL);
    options = "panic=reset";
    assert_int_equal(off(2), RESET);
    setup(NULL); // these are for panics only
    options = "panic=reset";
    assert_int_equal(off(0), OFF);
}

static void test_reset(void **state)
{
    (void)state;
    assert_int_equal(off(SYSTEM_RESET), RESET);
    setup(NULL);
    acpi.fadt.flags = FADT_RESET_REG;
    acpi.fadt.reset = (struct gas){ .space = GAS_PORT, .address = SMI };
    acpi.fadt.reset_value = 0xa1;
    assert_int_equal(off(SYSTEM_RESET), RESET); // which does nothing here, so the chipset's
    assert_int_not_equal(chip.acpi_from, 0);
    setup(NULL);
    acpi.fadt.flags = FADT_RESET_REG;
    acpi.fadt.reset = (struct gas){ .space = 2, .address = 0xcf8 }; // PCI configuration space
    assert_int_equal(off(SYSTEM_RESET), RESET);
    setup(NULL); // an emulator that is to be a machine like others
    acpi.emulator = true;
    options = "without=exit-port";
    assert_int_equal(off(1), OFF);
    setup(NULL);
    acpi.emulator = true; // there is no status for that
    assert_int_equal(off(SYSTEM_RESET), RESET);
}

// Reduced hardware has none of the ports.
static void reduced(void)
{
    setup(NULL);
    chip.has_cf9 = false;
    acpi.fadt.flags = FADT_HW_REDUCED | FADT_RESET_REG;
    acpi.fadt.sleep_control = (struct gas){ .space = GAS_MEMORY, .address = REGISTER };
    acpi.fadt.reset = (struct gas){ .space = GAS_MEMORY, .address = REGISTER + 1 };
    acpi.fadt.reset_value = 0x42;
}

static void test_reduced(void **state)
{
    (void)state;
    reduced();
    power_init();
    assert_int_equal(off(0), HALTED); // for here it does not end by itself
    assert_int_equal(chip.memory[0], 0x20 | S5_A << 2);
    assert_int_equal(chip.memory[1], 0);
    assert_int_equal(off(SYSTEM_RESET), HALTED);
    assert_int_equal(chip.memory[1], 0x42);
    sleep_memory = reset_memory = NULL;
    reduced();
    cr3_kernel = 0; // before the kernel has its own page tables
    assert_int_equal(off(SYSTEM_RESET), HALTED);
    assert_int_equal(chip.low[1], 0x42);
    reduced(); // between the two nothing is mapped
    assert_int_equal(off(0), HALTED);
    assert_int_equal(chip.memory[0] | chip.low[0], 0);
    reduced();
    acpi.fadt.sleep_control.address = 0x80000; // RAM: not to be mapped
    acpi.fadt.reset.address = 0;
    power_init();
    assert_int_equal(off(0), HALTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_off, setup),
        cmocka_unit_test_setup(test_acpi_mode, setup),
        cmocka_unit_test_setup(test_no_way, setup),
        cmocka_unit_test_setup(test_panic, setup),
        cmocka_unit_test_setup(test_reset, setup),
        cmocka_unit_test_setup(test_reduced, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
