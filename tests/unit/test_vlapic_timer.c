// SPDX-License-Identifier: BSD-2-Clause
// The virtual local APIC's timer: one-shot, periodic and TSC-deadline, late and masked; and
// random accesses to everything.
#include "tests/unit/vlapic.h"

#define MSR_DEADLINE 0x6e0u

static void one_shot(void **state)
{
    (void)state;
    start(0, 2, 12345); // the guest's offset does not matter here
    vlapic_write(&v, APIC_TIMER_DIVIDE, 3, 1000); // by 16: 32 TSC ticks a count
    vlapic_write(&v, APIC_LVT_TIMER, 0x40, 1000);
    (void)taken();
    vlapic_write(&v, APIC_TIMER_INITIAL, 100, 1000);
    assert_true(taken() & VLAPIC_ACT_TIMER);
    assert_int_equal(vlapic_timer_deadline(&v), 1000 + 3200);
    assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, 1000), 100);
    assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, 1031), 100);
    assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, 1032), 99);
    assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, 4199), 1);
    vlapic_timer_fired(&v, 4199);
    assert_int_equal(irr_max(&v), -1);
    vlapic_timer_fired(&v, 4200);
    assert_int_equal(irr_max(&v), 0x40);
    assert_int_equal(vlapic_timer_deadline(&v), 0);
    assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, 4200), 0);
    assert_int_equal(vlapic_read(&v, APIC_TIMER_INITIAL, 4200), 100);
    vlapic_write(&v, APIC_TIMER_INITIAL, 100, 5000);
    vlapic_write(&v, APIC_TIMER_INITIAL, 0, 5001); // stops it
    assert_int_equal(vlapic_timer_deadline(&v), 0);
}

static void periods_coalesce(void **state)
{
    (void)state;
    vlapic_write(&v, APIC_TIMER_DIVIDE, 0xb, 0);
    vlapic_write(&v, APIC_LVT_TIMER, 0x20041, 0);
    vlapic_write(&v, APIC_TIMER_INITIAL, 50000, 0);
    vlapic_timer_fired(&v, 50000);
    assert_int_equal(irr_max(&v), 0x41);
    assert_int_equal(vlapic_timer_deadline(&v), 100000);
    vlapic_inject(&v, 0x41);
    assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, 330000), 20000); // late, not yet fired
    vlapic_timer_fired(&v, 330000);
    assert_int_equal(irr_max(&v), 0x41);
    assert_int_equal(vlapic_timer_deadline(&v), 350000); // still on the grid
    vlapic_inject(&v, 0x41);
    vlapic_timer_fired(&v, 340000);
    assert_int_equal(irr_max(&v), -1);

    vlapic_write(&v, APIC_LVT_TIMER, 0x41, 340000); // to one-shot: the count goes on
    assert_int_equal(vlapic_timer_deadline(&v), 350000);
    vlapic_timer_fired(&v, 350001);
    assert_int_equal(vlapic_timer_deadline(&v), 0);
}

// Missed periods come one by one: each when the one before was taken, a sixteenth apart at least.
static void periods_catch_up(void **state)
{
    const uint64_t period = 800000, pause = 50000, second = 50 * period;
    (void)state;
    v.catch_up = second;
    vlapic_write(&v, APIC_TIMER_DIVIDE, 0xb, 0);
    vlapic_write(&v, APIC_LVT_TIMER, 0x20041, 0);
    vlapic_write(&v, APIC_TIMER_INITIAL, (uint32_t)period, 0);
    uint64_t now = 4 * period + 100; // four are due
    for (unsigned i = 0; i < 4; i++) {
        vlapic_timer_fired(&v, now);
        assert_int_equal(irr_max(&v), 0x41);
        assert_true(taken() & VLAPIC_ACT_TIMER);
        assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, now), 4 * period + period - now);
        uint64_t next = i < 3 ? now + pause : 5 * period;
        assert_int_equal(vlapic_timer_deadline(&v), next);
        if (i == 1) { // not taken yet: it is asked again later, and nothing is lost
            vlapic_timer_fired(&v, next - 1);
            vlapic_timer_fired(&v, next);
            assert_int_equal(vlapic_timer_deadline(&v), next += pause);
        }
        vlapic_inject(&v, 0x41);
        vlapic_timer_fired(&v, next - 1);
        assert_int_equal(irr_max(&v), -1);
        now = next;
    }
    vlapic_timer_fired(&v, now); // the fifth, in time
    assert_int_equal(vlapic_timer_deadline(&v), 6 * period);
    vlapic_inject(&v, 0x41);
    // What is older than a second is dropped; the grid stays.
    now = 1006 * period + 1000;
    unsigned count = 0;
    for (; vlapic_timer_deadline(&v) <= now; now += pause, count++) {
        vlapic_timer_fired(&v, now);
        assert_int_equal(irr_max(&v), 0x41);
        vlapic_inject(&v, 0x41);
    }
    assert_in_range(count, 51 + 3, 51 + 4); // those that fell due meanwhile with them
    assert_int_equal(vlapic_timer_deadline(&v) % period, 0);
    // While the entry is masked nothing is missed; a new count forgets what was.
    vlapic_timer_fired(&v, now += 10 * period);
    vlapic_inject(&v, 0x41);
    vlapic_write(&v, APIC_LVT_TIMER, 0x30041, now);
    vlapic_write(&v, APIC_LVT_TIMER, 0x20041, now + 10 * period);
    assert_true(vlapic_timer_deadline(&v) > now + 10 * period);
    now = vlapic_timer_deadline(&v) + 10 * period;
    vlapic_timer_fired(&v, now);
    vlapic_inject(&v, 0x41);
    vlapic_write(&v, APIC_TIMER_INITIAL, 2 * (uint32_t)period, now + 1);
    assert_int_equal(vlapic_timer_deadline(&v), now + 1 + 2 * period);
}

static void a_tiny_period_cannot_storm(void **state)
{
    (void)state;
    vlapic_write(&v, APIC_TIMER_DIVIDE, 0xb, 0);
    vlapic_write(&v, APIC_LVT_TIMER, 0x20041, 0);
    vlapic_write(&v, APIC_TIMER_INITIAL, 7, 0);
    vlapic_timer_fired(&v, 1000000);
    assert_int_equal(irr_max(&v), 0x41);
    assert_in_range(vlapic_timer_deadline(&v), 1010000, 1030000);
    assert_int_equal(vlapic_timer_deadline(&v) % 7, 0);
    assert_in_range(vlapic_read(&v, APIC_TIMER_CURRENT, 1000003), 1, 7);
}

static void masked_timer_counts_silently(void **state)
{
    (void)state;
    vlapic_write(&v, APIC_TIMER_DIVIDE, 0xb, 0);
    vlapic_write(&v, APIC_LVT_TIMER, MASKED | 0x20041, 0);
    vlapic_write(&v, APIC_TIMER_INITIAL, 50000, 0);
    assert_int_equal(vlapic_timer_deadline(&v), 0);
    assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, 60000), 40000);
    vlapic_write(&v, APIC_LVT_TIMER, 0x20041, 120000); // what was missed stays missed
    assert_int_equal(irr_max(&v), -1);
    assert_int_equal(vlapic_timer_deadline(&v), 150000);
    vlapic_write(&v, APIC_LVT_TIMER, MASKED | 0x20041, 160000); // was due before it was masked
    assert_int_equal(irr_max(&v), 0x41);
}

static void divider_changes_in_flight(void **state)
{
    static const struct { uint32_t value, by; } divide[] = {
        { 0, 2 }, { 1, 4 }, { 2, 8 }, { 3, 16 }, { 8, 32 }, { 9, 64 }, { 10, 128 }, { 11, 1 },
    };
    (void)state;
    vlapic_write(&v, APIC_LVT_TIMER, 0x42, 0);
    for (size_t i = 0; i < ARRAY_SIZE(divide); i++) {
        vlapic_write(&v, APIC_TIMER_DIVIDE, divide[i].value, 0);
        vlapic_write(&v, APIC_TIMER_INITIAL, 1000, 0);
        assert_int_equal(vlapic_timer_deadline(&v), 1000 * divide[i].by);
    }
    vlapic_write(&v, APIC_TIMER_DIVIDE, 0, 400); // 600 counts left, now of 2 ticks
    assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, 400), 600);
    assert_int_equal(vlapic_timer_deadline(&v), 1600);
}

static void tsc_deadline(void **state)
{
    (void)state;
    start(0, 1, 1000000); // the guest's TSC is ahead
    assert_true(vlapic_wrmsr(&v, MSR_DEADLINE, 5, 0)); // not in that mode: ignored
    assert_int_equal(rdmsr(MSR_DEADLINE), 0);
    vlapic_write(&v, APIC_LVT_TIMER, 0x40043, 0);
    assert_true(vlapic_wrmsr(&v, MSR_DEADLINE, 1500000, 0));
    assert_int_equal(vlapic_timer_deadline(&v), 500000);
    assert_int_equal(rdmsr(MSR_DEADLINE), 1500000);
    vlapic_write(&v, APIC_TIMER_INITIAL, 99, 0); // not writable in this mode
    assert_int_equal(vlapic_read(&v, APIC_TIMER_INITIAL, 0), 0);
    assert_int_equal(vlapic_read(&v, APIC_TIMER_CURRENT, 0), 0);
    vlapic_timer_fired(&v, 499999);
    assert_int_equal(irr_max(&v), -1);
    vlapic_timer_fired(&v, 500000);
    assert_int_equal(irr_max(&v), 0x43);
    assert_int_equal(rdmsr(MSR_DEADLINE), 0);
    assert_int_equal(vlapic_timer_deadline(&v), 0);
    vlapic_inject(&v, 0x43);
    assert_true(vlapic_wrmsr(&v, MSR_DEADLINE, 1, 600000)); // in the past: at once
    assert_int_equal(irr_max(&v), 0x43);
    assert_true(vlapic_wrmsr(&v, MSR_DEADLINE, 9000000, 600000));
    v.tsc_offset = 2000000;
    assert_int_equal(vlapic_timer_deadline(&v), 7000000);
    v.tsc_offset = 20000000;
    assert_int_equal(vlapic_timer_deadline(&v), 1); // long past
    assert_true(vlapic_wrmsr(&v, MSR_DEADLINE, 0, 600000));
    assert_int_equal(vlapic_timer_deadline(&v), 0);
    v.tsc_offset = -(uint64_t)5000; // the guest is behind
    assert_true(vlapic_wrmsr(&v, MSR_DEADLINE, 600000, 600000));
    assert_int_equal(vlapic_timer_deadline(&v), 605000);
    assert_true(vlapic_wrmsr(&v, MSR_DEADLINE, UINT64_MAX - 1, 600000));
    assert_int_equal(vlapic_timer_deadline(&v), UINT64_MAX);
    vlapic_write(&v, APIC_LVT_TIMER, 0x43, 600000); // another mode disarms
    vlapic_write(&v, APIC_LVT_TIMER, 0x40043, 600000);
    assert_int_equal(rdmsr(MSR_DEADLINE), 0);
}

static void illegal_timer_vector(void **state)
{
    (void)state;
    vlapic_write(&v, APIC_LVT_TIMER, 0x04, 0);
    vlapic_write(&v, APIC_TIMER_INITIAL, 10, 0);
    vlapic_timer_fired(&v, 100);
    assert_int_equal(irr_max(&v), -1);
    vlapic_write(&v, APIC_ESR, 0, 200);
    assert_int_equal(vlapic_read(&v, APIC_ESR, 200), 0x40);
}

// Whatever a guest writes wherever: no undefined behaviour, and the invariants hold.
static void random_writes_are_harmless(void **state)
{
    uint64_t x = 88172645463325252ull, now = 0, value;
    bool ok = true;
    (void)state;
    for (int i = 0; i < 200000; i++, (void)ok) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint32_t offset = x >> 8 & 0x3f0, data = (uint32_t)(x >> 32);
        now += x & 0xffff;
        switch (x >> 20 & 7) {
        case 0: vlapic_write(&v, x & 8 ? offset : data, data ^ (uint32_t)x, now); break;
        case 1: (void)vlapic_read(&v, offset, now); break;
        case 2: page[offset / 4] = data; vlapic_written(&v, offset, now); break;
        case 3: ok = vlapic_wrmsr(&v, 0x800 + offset / 16, x & 8 ? x : data & 0x700ff, now); break;
        case 4: ok = vlapic_rdmsr(&v, 0x800 + offset / 16, now, &value); break;
        case 5: (void)vlapic_accept(&v, (uint8_t)data, x & 8); break;
        case 6: vlapic_timer_fired(&v, now); vlapic_eoi(&v); break;
        case 7:
            ok = vlapic_wrmsr(&v, x & 8 ? MSR_DEADLINE : MSR_BASE,
                              x & 8 ? now + data : APIC_BASE_ADDRESS | (data & 0xc00), now);
            break;
        }
        int vector = vlapic_highest(&v);
        if (vector >= 0) {
            assert_in_range(vector, 16, 255);
            vlapic_inject(&v, (uint8_t)vector);
            assert_int_equal(isr_max(&v), vector);
            assert_int_equal(vlapic_highest(&v), -1);
        }
        assert_true(vlapic_tpr_threshold(&v) <= (page[APIC_TPR / 4] & 0xff) >> 4);
    }
}

#define TEST(f) cmocka_unit_test_setup(f, setup)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_shot),
        TEST(periods_coalesce), TEST(periods_catch_up),
        TEST(a_tiny_period_cannot_storm),
        TEST(masked_timer_counts_silently),
        TEST(divider_changes_in_flight),
        TEST(tsc_deadline),
        TEST(illegal_timer_vector),
        TEST(random_writes_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
