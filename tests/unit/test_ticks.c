// SPDX-License-Identifier: BSD-2-Clause
//
// Ticks that a guest missed: one for all of them, or with `ticks = catch-up` one after the other,
// those of a second at most. PIT and RTC, through the PIC and through the IOAPIC.
#include "tests/unit/board.h"

#include "vmm/board/irq_router.h"
#include "vmm/dev/i8254.h"
#include "vmm/dev/i8259.h"
#include "vmm/dev/ioapic.h"
#include "vmm/dev/mc146818.h"

#define HZ          1000
#define PIT_COUNT   ((uint16_t)(I8254_HZ / HZ))
#define VECTOR      0x40
#define INDEX_REDIR 0x10
#define SECOND      NS_PER_SEC

static struct fake_host host;
static struct i8259 pic;
static struct ioapic ioapic;
static struct irq_router router;
static struct i8254 pit;
static struct mc146818 rtc;
static bool vector_waits; // in the local APIC
static unsigned ticks;    // what the guest has counted

static bool take_msi(void *ctx, uint64_t addr, uint32_t data, bool level)
{
    bool waited = vector_waits;

    (void)ctx;
    (void)addr;
    (void)level;
    assert_int_equal(data & 0xFF, VECTOR);
    vector_waits = true;
    return waited;
}

static int setup(void **state)
{
    static const struct ioapic_ops ops = {.msi = take_msi};

    (void)state;
    fake_host_init(&host);
    vector_waits = false;
    ticks = 0;
    i8259_init(&pic, fake_line(&host));
    ioapic_init(&ioapic, &ops, NULL);
    router = (struct irq_router){.pic = &pic, .ioapic = &ioapic};
    i8254_init(&pit, &host.clock, irq_router_isa(&router, ISA_IRQ_PIT));
    mc146818_init(&rtc, &host.clock, 0, irq_router_isa(&router, ISA_IRQ_RTC));
    pit.ticks.catch_up = rtc.ticks.catch_up = true;
    return i8259_register(&pic, &host.bus) && ioapic_register(&ioapic, &host.bus) &&
                   i8254_register(&pit, &host.bus) && mc146818_register(&rtc, &host.bus)
               ? 0
               : -1;
}

static void start_pit(uint16_t count)
{
    out8(&host, 0x43, 0x34);
    out8(&host, 0x40, (uint8_t)count);
    out8(&host, 0x40, (uint8_t)(count >> 8));
}

static void route(unsigned pin, uint32_t low)
{
    bus_mmio_write(&host.bus, IOAPIC_BASE, 4, INDEX_REDIR + 2 * pin);
    bus_mmio_write(&host.bus, IOAPIC_BASE + 0x10, 4, low);
}

// Masks of both chips; automatic EOI.
static void start_pic(uint8_t master, uint8_t slave)
{
    static const uint8_t words[] = {0x11, 0x30, 0x04, 0x03};
    for (unsigned i = 0; i < 4; i++) {
        out8(&host, i == 0 ? 0x20 : 0x21, words[i]);
        out8(&host, i == 0 ? 0xA0 : 0xA1, i == 2 ? 2 : words[i]);
    }
    out8(&host, 0x21, master);
    out8(&host, 0xA1, slave);
}

static void use_pic(void)
{
    start_pic(0xFE, 0xFF);
}

static void use_ioapic(void)
{
    start_pic(0xFF, 0xFF);
    route(GSI_PIT, VECTOR);
}

// The guest takes what waits.
static void take(void)
{
    if (vector_waits || i8259_intr(&pic)) {
        if (!vector_waits)
            (void)i8259_ack(&pic);
        vector_waits = false;
        ticks++;
    }
}

// The guest runs, and looks every 10 us.
static void run(uint64_t ns)
{
    for (uint64_t at = 0; at < ns; at += 10 * US) {
        fake_advance(&host, 10 * US);
        take();
    }
}

static void parked_for_most_of_the_time(void)
{
    for (unsigned i = 0; i < 300; i++) { // 20% of each 10 ms
        run(2 * MS);
        fake_sleep(&host, 8 * MS);
    }
}

static void pit_by_pic(void **state)
{
    (void)state;
    use_pic();
    start_pit(PIT_COUNT);
    parked_for_most_of_the_time();
    run(MS);
    assert_in_range(ticks, 3 * HZ - 3, 3 * HZ + 3);
}

static void pit_by_ioapic(void **state)
{
    (void)state;
    use_ioapic();
    start_pit(PIT_COUNT);
    parked_for_most_of_the_time();
    run(MS);
    assert_in_range(ticks, 3 * HZ - 3, 3 * HZ + 3);
    // A PIC that was left unmasked, and is never heard, does not stand in the way.
    out8(&host, 0x21, 0xFE);
    fake_advance(&host, 2 * MS);
    vector_waits = false;
    ticks = 0;
    for (unsigned i = 0; i < 100; i++) {
        fake_sleep(&host, 8 * MS);
        for (unsigned j = 0; j < 200; j++, fake_advance(&host, 10 * US)) {
            ticks += vector_waits;
            vector_waits = false;
        }
    }
    assert_in_range(ticks, HZ - 9, HZ + 9);
}

static void coalesced_unless_asked_for(void **state)
{
    (void)state;
    pit.ticks.catch_up = false;
    use_pic();
    start_pit(PIT_COUNT);
    parked_for_most_of_the_time();
    assert_in_range(ticks, 600, 1000); // two or three of ten
    assert_int_equal(pit.ticks.owed, 0);
}

// Interrupts are off in the guest for long: nothing is lost, but for more than a second's.
static void a_second_and_no_more(void **state)
{
    static const unsigned away_ms[] = {50, 900, 5000};
    (void)state;
    use_pic();
    start_pit(PIT_COUNT);
    for (unsigned i = 0; i < 3; i++) {
        ticks = 0;
        for (unsigned ms = 0; ms < away_ms[i]; ms++)
            fake_advance(&host, MS); // it runs, and does not take them
        unsigned expected = away_ms[i] < 1000 ? away_ms[i] : 1000;
        run(SECOND);
        assert_in_range(ticks, HZ + expected - 3, HZ + expected + 3);
        assert_int_equal(pit.ticks.owed, 0);
    }
}

// At most sixteen times as fast as it was set to, and 50 us apart.
static void no_faster_than_stated(void **state)
{
    (void)state;
    use_pic();
    start_pit(PIT_COUNT * 10); // 100 Hz
    fake_sleep(&host, SECOND);
    run(50 * MS);
    assert_in_range(ticks, 75, 80 + 5); // and those of these 50 ms
    setup(NULL);
    use_pic();
    start_pit(PIT_COUNT / 5); // 5000 Hz
    fake_sleep(&host, SECOND);
    run(10 * MS);
    assert_in_range(ticks, 140, 200 + 50);
}

static void another_rate_forgets(void **state)
{
    (void)state;
    use_pic();
    start_pit(PIT_COUNT);
    fake_sleep(&host, SECOND / 2);
    assert_in_range(pit.ticks.owed, HZ / 2 - 3, HZ / 2);
    out8(&host, 0x43, 0x00); // to look at the count changes nothing
    (void)in8(&host, 0x40);
    (void)in8(&host, 0x40);
    assert_in_range(pit.ticks.owed, HZ / 2 - 3, HZ / 2);
    start_pit(PIT_COUNT);
    assert_int_equal(pit.ticks.owed, 0);
    fake_sleep(&host, SECOND / 2);
    out8(&host, 0x40, 0x00); // a new count in the same mode
    out8(&host, 0x40, 0x10);
    assert_int_equal(pit.ticks.owed, 0);
    fake_sleep(&host, SECOND / 2);
    i8254_reset(&pit);
    assert_int_equal(pit.ticks.owed, 0);
    // Where nobody listens nothing is owed for long.
    start_pic(0xFF, 0xFF);
    start_pit(PIT_COUNT);
    fake_sleep(&host, SECOND / 2);
    run(SECOND / 10);
    assert_in_range(pit.ticks.owed, 0, 1);
}

static uint8_t rtc_read(uint8_t reg)
{
    out8(&host, 0x70, reg);
    return in8(&host, 0x71);
}

static void rtc_write(uint8_t reg, uint8_t value)
{
    out8(&host, 0x70, reg);
    out8(&host, 0x71, value);
}

static void rtc_run(uint64_t ns)
{
    for (uint64_t at = 0; at < ns; at += 10 * US) {
        fake_advance(&host, 10 * US);
        if (i8259_intr(&pic)) {
            (void)i8259_ack(&pic);
            ticks += (rtc_read(0x0C) & 0x40) != 0;
        }
    }
}

static void rtc_by_pic(void **state)
{
    (void)state;
    start_pic(0xFB, 0xFE);
    rtc_write(0x0A, 0x26); // 1024 Hz
    rtc_write(0x0B, 0x42);
    for (unsigned i = 0; i < 300; i++) {
        rtc_run(2 * MS);
        fake_sleep(&host, 8 * MS);
    }
    rtc_run(MS);
    assert_in_range(ticks, 3 * 1024 - 3, 3 * 1024 + 3);
    fake_sleep(&host, 5 * SECOND);
    ticks = 0;
    rtc_run(SECOND);
    assert_in_range(ticks, 2 * 1024 - 4, 2 * 1024 + 4);
    // Off and on again, another rate, a reset: nothing is owed.
    fake_sleep(&host, SECOND);
    rtc_write(0x0B, 0x02);
    assert_int_equal(rtc.ticks.owed, 0);
    rtc_write(0x0B, 0x42);
    fake_sleep(&host, SECOND);
    rtc_write(0x0A, 0x27);
    assert_int_equal(rtc.ticks.owed, 0);
    fake_sleep(&host, SECOND);
    mc146818_reset(&rtc);
    assert_int_equal(rtc.ticks.owed, 0);
}

static void rtc_coalesced(void **state)
{
    (void)state;
    rtc.ticks.catch_up = false;
    start_pic(0xFB, 0xFE);
    rtc_write(0x0B, 0x42);
    for (unsigned i = 0; i < 300; i++) {
        rtc_run(2 * MS);
        fake_sleep(&host, 8 * MS);
    }
    assert_in_range(ticks, 600, 1000);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pit_by_pic),
        TEST(pit_by_ioapic),
        TEST(coalesced_unless_asked_for),
        TEST(a_second_and_no_more),
        TEST(no_faster_than_stated),
        TEST(another_rate_forgets),
        TEST(rtc_by_pic),
        TEST(rtc_coalesced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
