// SPDX-License-Identifier: BSD-2-Clause
// Which of a PC's old devices the kernel touches: those that ACPI does not deny. Any other port
// ends the test.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "kernel/arch/x86/x86.h"

static uint64_t fake_rdtsc(void);
static uint32_t fake_cpuid_word(uint32_t leaf, uint32_t sub, unsigned word);
static void fake_out8(uint16_t port, uint8_t v);
static uint32_t fake_in32(uint16_t port);
#define rdtsc fake_rdtsc
#define cpuid_word fake_cpuid_word
#define out8  fake_out8
#define in32  fake_in32
#include "kernel/arch/x86/apic.c"  // NOLINT(bugprone-suspicious-include)
#include "kernel/arch/x86/clock.c" // NOLINT(bugprone-suspicious-include)

#define TSC_HZ 1000000000ull

struct acpi_facts acpi;
uint32_t cpu_count;
struct cpu *cpus[CPU_MAX];
const struct hvm_ops *hvm;

// The rest of apic.c, which nothing calls here, is linked with these.
struct features features;
uint32_t ap_apic_base;
const struct hvm_ops vmx_ops;
uint8_t *const apic_sites[1], *const apic_sites_end[1];

void cpu_patch(void *at, uint8_t opcode, const void *to) { fail_msg("%p %d %p", at, opcode, to); }

#define PM_TIMER 0x608
static struct {
    uint64_t now;
    bool stuck;          // the PM timer
    uint32_t first;      // what that begins with
    bool pics;           // were touched
    uint32_t leaf_15[4];
} pc;

static uint64_t fake_rdtsc(void) { return pc.now += 1000; }

static uint32_t fake_cpuid_word(uint32_t leaf, uint32_t sub, unsigned word)
{
    assert_int_equal(sub, 0);
    return leaf == 0x15 ? pc.leaf_15[word] : 0;
}

static void fake_out8(uint16_t port, uint8_t v)
{
    (void)v;
    assert_true((port & 0x7e) == 0x20); // 20H, 21H, A0H, A1H
    pc.pics = true;
}

// 24 bits; what is above them says nothing.
static uint32_t fake_in32(uint16_t port)
{
    assert_int_equal(port, PM_TIMER);
    uint64_t ticks = (unsigned __int128)pc.now * PM_TIMER_HZ / TSC_HZ;
    return 0xab000000 | (pc.stuck ? 5 : (pc.first + ticks) & 0xffffff);
}

void *paging_map_mmio(struct hpa a)
{
    fail_msg("%lx", a.v);
    return NULL;
}

void panic(const char *format, ...)
{
    print_error("%s\n", format);
    abort();
}

static int setup(void **state)
{
    (void)state;
    memset(&pc, 0, sizeof(pc));
    memset(&acpi, 0, sizeof(acpi));
    acpi.pm_timer = PM_TIMER;
    return 0;
}

static void test_clock(void **state)
{
    (void)state;
    clock_calibrate();
    assert_string_equal(clock_source, "PM timer");
    assert_true(clock_agree(clock_tsc_hz, TSC_HZ));
    pc.first = 0xfffff0; // it wraps
    clock_calibrate();
    assert_true(clock_agree(clock_tsc_hz, TSC_HZ));
    const uint32_t right[4] = { 1, 40, 25000000, 0 }, wrong[4] = { 1, 50, 25000000, 0 };
    memcpy(pc.leaf_15, wrong, sizeof(wrong));
    clock_calibrate();
    assert_string_equal(clock_source, "PM timer");
    memcpy(pc.leaf_15, right, sizeof(right)); // both
    clock_calibrate();
    assert_string_equal(clock_source, "CPUID 15H");
    assert_int_equal(clock_tsc_hz, TSC_HZ);
    acpi.pm_timer = 0; // none is promised, and nothing is asked in its place
    clock_calibrate();
    assert_string_equal(clock_source, "CPUID 15H");
    acpi.pm_timer = PM_TIMER; // or it does not run, for which it is not waited without end
    pc.stuck = true;
    clock_calibrate();
    assert_string_equal(clock_source, "CPUID 15H");
    assert_false(pc.pics);
}

static void test_pics(void **state)
{
    (void)state;
    apic_pic_off();
    assert_false(pc.pics);
    acpi.pics = true;
    apic_pic_off();
    assert_true(pc.pics);
}

// At half the TSC's rate: nothing, what has passed, what comes soon, what is cut short, and more
// than the counter holds.
static void test_count_down(void **state)
{
    static uint32_t page[PAGE_SIZE / 4];
    const uint32_t *count = &page[APIC_TIMER_INITIAL / 4];
    (void)state;
    xapic = page;
    timer_scale = 1ull << 31;
    page[APIC_TIMER_INITIAL / 4] = 5;
    apic_count_down(0);
    assert_int_equal(*count, 0);
    pc.now = 1000000;
    apic_count_down(5);
    assert_int_equal(*count, 1);
    apic_count_down(pc.now + 1000 + 3000); // the clock moves on by 1000 at each look
    assert_int_equal(*count, 1501);
    apic_count_down(pc.now + 1000 + (1ull << 25));
    assert_int_equal(*count, (1u << 24) + 1 - (1u << 16));
    apic_count_down(pc.now + (1ull << 60));
    assert_int_equal(*count, UINT32_MAX);
    apic_count_down(UINT64_MAX - 1);
    assert_int_equal(*count, UINT32_MAX);
    xapic = NULL;
}

// An NMI that is sent in the middle of another's leaves that one its destination.
static void test_icr(void **state)
{
    static uint32_t page[PAGE_SIZE / 4];
    (void)state;
    xapic = page;
    page[APIC_ICR2 / 4] = 7u << 24;
    xapic_icr(3, 0x400);
    assert_int_equal(page[APIC_ICR / 4], 0x400);
    assert_int_equal(page[APIC_ICR2 / 4], 7u << 24);
    xapic_icr(3, 0x1400); // as if it were never delivered: not waited for without end
    assert_int_equal(page[APIC_ICR2 / 4], 7u << 24);
    xapic = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_clock, setup),
        cmocka_unit_test_setup(test_count_down, setup),
        cmocka_unit_test_setup(test_icr, setup),
        cmocka_unit_test_setup(test_pics, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
