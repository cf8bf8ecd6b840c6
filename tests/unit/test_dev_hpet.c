// SPDX-License-Identifier: BSD-2-Clause
//
// HPET, against the tables of the IA-PC HPET specification 1.0a: which bits can be written;
// comparators, one-shot and periodic, of 64 and 32 bits; edge and level; routes; ticks owed.
#include "tests/unit/board.h"

#include "vmm/dev/hpet.h"

enum {
    ISA = 0,
    REPLACE = 2,
    PINS = 3, // of timer 0, then of the others
    LEVEL = 2,
    ENABLE = 4,
    PERIODIC = 8,
    SET_VALUE = 0x40,
    ONLY_32 = 0x100,
};
#define ROUTE(pin) ((pin) << 9)

static struct fake_host host;
static struct hpet hpet;
static uint32_t high;       // lines
static unsigned rises[16];  // by line

static void note_line(void *ctx, unsigned n, bool level)
{
    (void)ctx;
    rises[n] += level && (high >> n & 1) == 0;
    high = (high & ~(1u << n)) | (uint32_t)level << n;
}

static unsigned pin_line(unsigned n, unsigned pin)
{
    return PINS + n * HPET_PINS + pin - HPET_FIRST_PIN;
}

static int setup(void **state)
{
    static const struct irq_ops ops = {.set = note_line};
    struct hpet_lines lines = {.replace = {.ops = &ops, .n = REPLACE}};

    (void)state;
    fake_host_init(&host);
    high = 0;
    memset(rises, 0, sizeof(rises));
    for (unsigned n = 0; n < HPET_LEGACY_TIMERS; n++)
        lines.isa[n] = (struct irq_line){.ops = &ops, .n = ISA + n};
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        for (unsigned pin = 20; pin < 24; pin++)
            lines.pin[n][pin - 20] = (struct irq_line){.ops = &ops, .n = pin_line(n, pin)};
    }
    hpet_init(&hpet, &host.clock, &lines);
    return hpet_register(&hpet, &host.bus) ? 0 : -1;
}

static uint64_t get(unsigned reg)
{
    return bus_mmio_read(&host.bus, HPET_BASE + reg, 8);
}

static uint32_t get32(unsigned reg)
{
    return (uint32_t)bus_mmio_read(&host.bus, HPET_BASE + reg, 4);
}

static void put(unsigned reg, uint64_t value)
{
    assert_int_equal(bus_mmio_write(&host.bus, HPET_BASE + reg, 8, value), BUS_OK);
}

static void put32(unsigned reg, uint32_t value)
{
    assert_int_equal(bus_mmio_write(&host.bus, HPET_BASE + reg, 4, value), BUS_OK);
}

static unsigned config_of(unsigned n) { return 0x100 + 0x20 * n; }
static unsigned compare_of(unsigned n) { return 0x108 + 0x20 * n; }

// The timer's configuration and comparator, and then the counter runs.
static void begin(unsigned n, uint32_t config, uint64_t compare)
{
    put32(config_of(n), config);
    put(compare_of(n), compare);
    put32(0x10, 1);
}

static void ticks(uint64_t count)
{
    fake_advance(&host, count * HPET_TICK_NS);
}

// "Register Overview": each register after reset, and what is left of ones written to it.
static void registers(void **state)
{
    static const struct {
        uint16_t reg;
        uint64_t reset, ones; // with all bits written
    } table[] = {
        {0x000, 0x009896808086A201, 0x009896808086A201},
        {0x008, 0, 0},
        {0x018, 0, 0},
        {0x020, 0, 0},
        {0x0F0, 0, UINT64_MAX},
        {0x0F8, 0, 0},
        {0x100, 0x00F0000000000030, 0x00F000000000013E},
        {0x120, 0x00F0000000000030, 0x00F000000000013E},
        {0x140, 0x00F0000000000030, 0x00F000000000013E},
        {0x110, 0, 0}, // no FSB delivery
        {0x118, 0, 0},
        {0x160, 0, 0}, // no timer 3
        {0x168, 0, 0},
        {0x3F8, 0, 0},
        {0x010, 0, 3},
    };
    (void)state;

    for (unsigned n = 0; n < HPET_TIMERS; n++)
        assert_true(get(compare_of(n)) == UINT64_MAX);
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_true(get(table[i].reg) == table[i].reset);
        put(table[i].reg, UINT64_MAX);
        assert_true(get(table[i].reg) == table[i].ones);
    }
    assert_true(bus_mmio_claimed(&host.bus, HPET_BASE + 0x3FF));
    assert_false(bus_mmio_claimed(&host.bus, HPET_BASE + 0x400));
}

// Halves; and what is no access by aligned 32 or 64 bits writes nothing.
static void halves(void **state)
{
    (void)state;
    put32(0xF0, 0x11223344);
    put32(0xF4, 0x55667788);
    assert_true(get(0xF0) == 0x5566778811223344);
    assert_int_equal(get32(0xF0), 0x11223344);
    assert_int_equal(get32(0xF4), 0x55667788);
    assert_int_equal(bus_mmio_read(&host.bus, HPET_BASE + 0xF2, 2), 0x1122);
    bus_mmio_write(&host.bus, HPET_BASE + 0xF0, 1, 0xFF);
    bus_mmio_write(&host.bus, HPET_BASE + 0xF0, 2, 0xFFFF);
    bus_mmio_write(&host.bus, HPET_BASE + 0xF2, 4, 0xFFFFFFFF);
    bus_mmio_write(&host.bus, HPET_BASE + 0xF4, 8, UINT64_MAX);
    assert_true(get(0xF0) == 0x5566778811223344);
    put32(compare_of(1), 0x100);
    put32(compare_of(1) + 4, 7);
    assert_true(get(compare_of(1)) == 0x700000100);
    // The upper half of a configuration is read-only, and leaves the lower one alone.
    put32(config_of(1), ENABLE | LEVEL);
    put32(config_of(1) + 4, 0);
    assert_true(get(config_of(1)) == 0x00F0000000000036);
}

static void the_counter(void **state)
{
    (void)state;
    ticks(100);
    assert_int_equal(get(0xF0), 0);
    put32(0x10, 1);
    ticks(100);
    assert_int_equal(get(0xF0), 100);
    host.now_ns += 9; // of a tick
    assert_int_equal(get(0xF0), 100);
    host.now_ns += 1;
    assert_int_equal(get(0xF0), 101);
    put32(0x10, 0);
    ticks(1000);
    assert_int_equal(get(0xF0), 101);
    put(0xF0, UINT64_MAX - 9);
    put32(0x10, 1);
    ticks(9);
    assert_true(get(0xF0) == UINT64_MAX);
    ticks(1);
    assert_int_equal(get(0xF0), 0);
    assert_int_equal(host.arms, 0); // nobody waits for anything
}

// "Non-Periodic Mode", by edge: one interrupt when the counter is what the comparator is.
static void one_shot(void **state)
{
    unsigned line = pin_line(2, 21);
    (void)state;

    begin(2, ENABLE | ROUTE(21), 1000);
    ticks(999);
    assert_int_equal(rises[line], 0);
    ticks(1);
    assert_int_equal(rises[line], 1);
    assert_int_equal(high, 0); // an edge of a pin of the IOAPIC's is over at once
    assert_int_equal(get(0x20), 0);
    assert_int_equal(get(compare_of(2)), 1000);
    ticks(1ull << 40);
    assert_int_equal(rises[line], 1);
    assert_true(host.armed_ns == CLOCK_NEVER);
    // The past is far away; the present is now.
    put(compare_of(2), get(0xF0) - 1);
    ticks(1ull << 40);
    assert_int_equal(rises[line], 1);
    put(compare_of(2), get(0xF0));
    fake_advance(&host, 0);
    assert_int_equal(rises[line], 2);
    // Another comparator in place of one that waits; a counter that is moved; a counter that halts.
    put(0xF0, 0);
    put(compare_of(2), 1000);
    put(compare_of(2), 2000);
    ticks(1500);
    assert_int_equal(rises[line], 2);
    put(0xF0, 1990);
    ticks(10);
    assert_int_equal(rises[line], 3);
    put(compare_of(2), 3000);
    ticks(990);
    put32(0x10, 0);
    ticks(5000);
    assert_int_equal(rises[line], 3);
    put32(0x10, 1);
    ticks(9);
    assert_int_equal(rises[line], 3);
    ticks(1);
    assert_int_equal(rises[line], 4);
}

// In 32-bit mode the upper halves do not count: it comes again each time the lower one wraps.
static void one_shot_of_32_bits(void **state)
{
    unsigned line = pin_line(0, 20);
    (void)state;

    put(compare_of(0), 0x500000100);
    put32(config_of(0), ENABLE | ONLY_32 | ROUTE(20));
    assert_int_equal(get(compare_of(0)), 0x100);
    put32(compare_of(0) + 4, 9);
    assert_int_equal(get(compare_of(0)), 0x100);
    put(0xF0, 0x2FFFFFF00);
    put32(0x10, 1);
    ticks(0x1FF);
    assert_int_equal(rises[line], 0);
    ticks(1);
    assert_int_equal(rises[line], 1);
    assert_true(get(0xF0) == 0x300000100);
    ticks((1ull << 32) - 1);
    assert_int_equal(rises[line], 1);
    ticks(1);
    assert_int_equal(rises[line], 2);
    fake_sleep(&host, 5 * (1ull << 32) * HPET_TICK_NS);
    assert_int_equal(rises[line], 3); // once, however often it was
    ticks((1ull << 32) - 1);
    assert_int_equal(rises[line], 3);
    ticks(1);
    assert_int_equal(rises[line], 4);
}

// "Periodic Mode": the comparator moves on by what was last written.
static void periodic(void **state)
{
    const unsigned line = pin_line(0, 22), period = 100000;
    (void)state;

    put32(config_of(0), ENABLE | PERIODIC | SET_VALUE | ROUTE(22));
    assert_int_equal(get32(config_of(0)) & SET_VALUE, 0); // reads 0
    put(compare_of(0), period);
    put32(0x10, 1);
    for (unsigned i = 1; i <= 10; i++) {
        ticks(period - 1);
        assert_int_equal(rises[line], i - 1);
        assert_int_equal(get(compare_of(0)), i * period);
        ticks(1);
        assert_int_equal(rises[line], i);
        assert_int_equal(get(compare_of(0)), (i + 1) * period);
    }
    // Late: one, and then in time again.
    fake_sleep(&host, 35ull * period * HPET_TICK_NS / 10);
    assert_int_equal(rises[line], 11);
    assert_int_equal(get(compare_of(0)), 14 * period);
    ticks(period / 2);
    assert_int_equal(rises[line], 12);
    // Another period, from the next match on; and a comparator of its own.
    put(compare_of(0), 2 * period);
    assert_int_equal(get(compare_of(0)), 15 * period);
    ticks(period);
    assert_int_equal(rises[line], 13);
    assert_int_equal(get(compare_of(0)), 17 * period);
    put32(config_of(0), ENABLE | PERIODIC | SET_VALUE | ROUTE(22));
    put(compare_of(0), 20 * period);
    put(compare_of(0), 3 * period);
    ticks(5 * period);
    assert_int_equal(rises[line], 14);
    assert_int_equal(get(compare_of(0)), 23 * period);
    // SET_VALUE holds for one write, halves one by one.
    put32(0x10, 0);
    put32(config_of(0), ENABLE | PERIODIC | SET_VALUE | ROUTE(22));
    put32(compare_of(0), 0x80);
    put32(config_of(0), ENABLE | PERIODIC | SET_VALUE | ROUTE(22));
    put32(compare_of(0) + 4, 1);
    assert_true(get(compare_of(0)) == 0x100000080);
    put(compare_of(0), 5);
    assert_true(get(compare_of(0)) == 0x100000080);
}

// A comparator of 32 bits wraps; a period of 0 stays where it is; one too short comes at its pace.
static void odd_periods(void **state)
{
    const unsigned line = pin_line(1, 23);
    (void)state;

    begin(1, ENABLE | PERIODIC | SET_VALUE | ONLY_32 | ROUTE(23), 0x90000000);
    ticks(0x90000000);
    assert_int_equal(rises[line], 1);
    assert_int_equal(get(compare_of(1)), 0x20000000);
    ticks(0x90000000 - 1);
    assert_int_equal(rises[line], 1);
    ticks(1);
    assert_int_equal(rises[line], 2);

    setup(NULL);
    begin(1, ENABLE | PERIODIC | SET_VALUE | ROUTE(23), 0);
    ticks(100000000);
    assert_int_equal(rises[line], 1);

    setup(NULL);
    begin(1, ENABLE | PERIODIC | SET_VALUE | ROUTE(23), 1);
    ticks(TICKS_PAUSE_MIN_NS * 2 / HPET_TICK_NS * 10); // 1 ms
    assert_in_range(rises[line], 30, 40);
    assert_int_equal(get(compare_of(1)), get(0xF0) + 1);

    setup(NULL);
    begin(1, ENABLE | PERIODIC | SET_VALUE | ROUTE(23), UINT64_MAX);
    ticks(1ull << 50);
    assert_int_equal(rises[line], 0);
    assert_true(host.armed_ns == CLOCK_NEVER);
}

// "General Interrupt Status Register": the bit of a level stays until a one is written to it.
static void level(void **state)
{
    const unsigned line = pin_line(1, 20);
    (void)state;

    begin(1, ENABLE | LEVEL | PERIODIC | SET_VALUE | ROUTE(20), 10000);
    ticks(10000);
    assert_int_equal(get(0x20), 2);
    assert_int_equal(high, 1u << line);
    ticks(50000);
    assert_int_equal(rises[line], 1);
    put32(0x20, 0);
    put32(0x20, 5);
    assert_int_equal(high, 1u << line);
    put32(0x20, 2);
    assert_int_equal(high, 0);
    assert_int_equal(get(0x20), 0);
    ticks(10000);
    assert_int_equal(rises[line], 2);
    // Disabled, the status is there, but no interrupt; each switch lets it through or not.
    put32(config_of(1), LEVEL | PERIODIC | ROUTE(20));
    assert_int_equal(high, 0);
    assert_int_equal(get(0x20), 2);
    put32(0x20, 2);
    ticks(10000);
    assert_int_equal(get(0x20), 2);
    assert_int_equal(high, 0);
    put32(config_of(1), ENABLE | LEVEL | PERIODIC | ROUTE(20));
    assert_int_equal(high, 1u << line);
    put32(config_of(1), ENABLE | LEVEL | PERIODIC | ROUTE(23)); // elsewhere
    assert_int_equal(high, 1u << pin_line(1, 23));
    put32(0x10, 0);
    assert_int_equal(high, 0);
    assert_int_equal(get(0x20), 2); // stays
    put32(0x10, 1);
    assert_int_equal(high, 1u << pin_line(1, 23));
    put32(config_of(1), ENABLE | PERIODIC | ROUTE(23)); // an edge has no level
    assert_int_equal(high, 0);
    ticks(10000);
    assert_int_equal(rises[pin_line(1, 23)], 3);
}

// "Tn_INT_ROUTE_CNF": what cannot be does not change it.
static void routes(void **state)
{
    (void)state;
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        unsigned kept = 0;
        for (unsigned pin = 0; pin < 32; pin++) {
            put32(config_of(n), ROUTE(pin));
            kept = pin >= 20 && pin <= 23 ? pin : kept;
            assert_int_equal(get32(config_of(n)) >> 9 & 31, kept);
        }
    }
    setup(NULL); // without a route there is no interrupt
    begin(0, ENABLE, 10);
    ticks(100);
    assert_int_equal(high, 0);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(rises[i], 0);
    assert_int_equal(host.fires, 0);
}

// "LegacyReplacement Route": both bits, then timers 0 and 1 have IRQ 0 and 8, and timer 2 its pin.
static void legacy(void **state)
{
    (void)state;
    for (unsigned config = 0; config < 4; config++) {
        setup(NULL);
        put32(0x10, config);
        assert_int_equal(high, config == 3 ? 1u << REPLACE : 0);
        for (unsigned n = 0; n < HPET_TIMERS; n++) {
            put32(config_of(n), ENABLE | ROUTE(20));
            put(compare_of(n), 1000);
        }
        ticks(2000);
        assert_int_equal(rises[ISA], config == 3);
        assert_int_equal(rises[ISA + 1], config == 3);
        assert_int_equal(rises[pin_line(0, 20)], config == 1);
        assert_int_equal(rises[pin_line(1, 20)], config == 1);
        assert_int_equal(rises[pin_line(2, 20)], (config & 1) != 0);
    }
    // The PIC wants a line that stays high; it falls for the next edge, and when it is not ours.
    assert_int_equal(high, 1u << REPLACE | 1u << ISA | 1u << (ISA + 1));
    put(compare_of(0), 3000);
    ticks(1000);
    assert_int_equal(rises[ISA], 2);
    put32(config_of(0), ROUTE(20));
    assert_int_equal(high, 1u << REPLACE | 1u << (ISA + 1));
    put32(0x10, 1);
    assert_int_equal(high, 0);
    put32(0x10, 3);
    put(compare_of(1), 4000);
    ticks(1000);
    assert_int_equal(high, 1u << REPLACE | 1u << (ISA + 1));
    hpet_reset(&hpet);
    assert_int_equal(high, 0);
    assert_int_equal(get(0xF0) | get(0x10) | get(0x20), 0);
}

// Missed periods come later, a sixteenth of the period apart, if the guest is to get them all.
static void owed(void **state)
{
    const unsigned line = pin_line(0, 20), period = 1000000; // 10 ms
    (void)state;

    hpet.timer[0].ticks.catch_up = true;
    begin(0, ENABLE | PERIODIC | SET_VALUE | ROUTE(20), period);
    fake_sleep(&host, 55ull * period);
    assert_int_equal(rises[line], 1);
    ticks(period / 16);
    assert_int_equal(rises[line], 2);
    ticks(period / 16 * 4);
    assert_int_equal(rises[line], 5);
    ticks(period * 5);
    assert_int_equal(rises[line], 10);

    // A level is taken when its status is cleared.
    setup(NULL);
    hpet.timer[0].ticks.catch_up = true;
    begin(0, ENABLE | LEVEL | PERIODIC | SET_VALUE | ROUTE(20), period);
    fake_sleep(&host, 35ull * period);
    assert_int_equal(rises[line], 1);
    put32(0x20, 1);
    ticks(period / 16);
    assert_int_equal(rises[line], 2);
    put32(0x20, 1);
    ticks(period / 16);
    assert_int_equal(rises[line], 3);
    put32(0x20, 1);
    ticks(period / 16);
    assert_int_equal(rises[line], 3); // those were all
    // Another programme forgets them.
    fake_sleep(&host, 35ull * period);
    put32(0x20, 1);
    put(0xF0, 0);
    assert_int_equal(hpet.timer[0].ticks.owed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, setup),
        cmocka_unit_test_setup(halves, setup),
        cmocka_unit_test_setup(the_counter, setup),
        cmocka_unit_test_setup(one_shot, setup),
        cmocka_unit_test_setup(one_shot_of_32_bits, setup),
        cmocka_unit_test_setup(periodic, setup),
        cmocka_unit_test_setup(odd_periods, setup),
        cmocka_unit_test_setup(level, setup),
        cmocka_unit_test_setup(routes, setup),
        cmocka_unit_test_setup(legacy, setup),
        cmocka_unit_test_setup(owed, setup),
    };

    return cmocka_run_group_tests_name("hpet", tests, NULL, NULL);
}
