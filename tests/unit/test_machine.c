// SPDX-License-Identifier: BSD-2-Clause
//
// The board as a whole: everything is wired, nothing overlaps, and interrupts arrive where the
// tables say.
#include "board.h"

#include "vmm/board/machine.h"

struct world {
    struct machine machine;
    struct fake_host host;
    unsigned msis;
    uint64_t msi_address;
    uint32_t msi_data;
    bool msi_level;
};

// Devices call back with the context that machine_host names: a struct world. Time and console are
// those of the shared fake host.
static uint64_t world_now(void *ctx)
{
    return ((struct world *)ctx)->host.now_ns;
}

static void world_arm(void *ctx, uint64_t deadline_ns)
{
    ((struct world *)ctx)->host.armed_ns = deadline_ns;
}

static const struct clock_ops world_clock = { .now_ns = world_now, .arm = world_arm };

static bool world_msi(void *ctx, uint64_t addr, uint32_t data, bool level)
{
    struct world *w = ctx;

    w->msis++;
    w->msi_address = addr;
    w->msi_data = data;
    w->msi_level = level;
    return false;
}

static const struct ioapic_ops world_msi_ops = { .msi = world_msi };

static void world_intr(void *ctx, unsigned n, bool level)
{
    (void)n;
    ((struct world *)ctx)->host.level = level;
}

static const struct irq_ops world_intr_ops = { .set = world_intr };

static bool world_put(void *ctx, uint8_t byte)
{
    struct world *w = ctx;

    if (w->host.output_count >= sizeof(w->host.output))
        return false;
    w->host.output[w->host.output_count++] = byte;
    return true;
}

static int world_get(void *ctx)
{
    struct world *w = ctx;

    return w->host.input_taken < w->host.input_count ? w->host.input[w->host.input_taken++] : -1;
}

static const struct stream_ops world_stream = { .put = world_put, .get = world_get };

static struct world world;

static struct machine *board_of(uint8_t *testdev_ram, bool watchdog)
{
    struct machine_host host = {
        .clock = &world_clock, .msi = &world_msi_ops, .intr = { &world_intr_ops, &world, 0 },
        .console = { &world_stream, &world }, .ctx = &world, .wall_seconds = 1700000000,
        .hpet = true, .testdev_ram = testdev_ram, .watchdog = watchdog, .watchdog_bitten = watchdog,
        .watchdog_start_ns = 5 * NS_PER_SEC,
    };

    memset(&world, 0, sizeof(world));
    if (!machine_init(&world.machine, &host, 64 << 20, 0))
        fail_msg("%s", bus_error(&world.machine.bus));
    return &world.machine;
}

static uint8_t ram[TESTDEV_RAM_SIZE];

static struct machine *board_with(uint8_t *testdev_ram) { return board_of(testdev_ram, false); }
static struct machine *board(void) { return board_with(ram); }
static struct machine *board_with_watchdog(void) { return board_of(NULL, true); }

static void out(uint16_t port, unsigned size, uint32_t value)
{
    assert_int_equal(bus_port_write(&world.machine.bus, port, size, value), BUS_OK);
}

static uint32_t in(uint16_t port, unsigned size)
{
    return bus_port_read(&world.machine.bus, port, size);
}

static void nothing_fires(void)
{
    world.host.level = false;
    world.msis = 0;
}

static void test_all_is_there(void **state)
{
    (void)state;
    board();
    assert_int_equal(in(0x64, 1), 0x1C);
    assert_int_equal(in(0xE9, 1), 0xE9);
    assert_int_equal(in(0x3FD, 1), 0x60);
    out(0xCF8, 4, 0x80000008);
    assert_int_equal(in(0xCFE, 2), 0x0600);
    assert_int_equal(in(0x21, 1), 0xF8 & in(0x21, 1)); // timer, keyboard and cascade unmasked
    out(0x3D4, 2, 0x5A0F);
    assert_int_equal(in(0x3D4, 2), 0x5A0F); // the cursor's place
    assert_int_equal(in(0x5555, 4), 0xFFFFFFFF);
    out(0xE9, 1, '!');
    out(0x3F8, 1, '?');
    assert_memory_equal(world.host.output, "!?", 2);
    assert_int_equal(bus_mmio_read(&world.machine.bus, 0xFEC00000, 4) >> 8, 0);
    assert_true(bus_mmio_claimed(&world.machine.bus, 0xFEC00FFF));
    assert_false(bus_mmio_claimed(&world.machine.bus, 0xFEE00000));
}

static void test_scratch(void **state)
{
    struct machine *m = board();
    (void)state;

    out(0xB0F, 1, 0x5A);
    assert_int_equal(in(0xB0F, 1), 0x5A);
    out(0x80, 1, 0x11);
    assert_int_equal(in(0x80, 1), 0x11);
    bus_mmio_write(&m->bus, BENCH_MMIO_BASE + 8, 4, 0x12345678);
    assert_int_equal(bus_mmio_read(&m->bus, BENCH_MMIO_BASE, 4), 0x12345678);
    assert_int_equal(bus_mmio_read(&m->bus, BENCH_MMIO_BASE + 2, 2), 0x1234);
    bus_mmio_write(&m->bus, BENCH_MMIO_BASE + 1, 1, 0xFF);
    assert_int_equal(bus_mmio_read(&m->bus, BENCH_MMIO_BASE + 0xFFC, 4), 0x1234FF78);
    // Behind all others.
    assert_int_equal(m->bus.port_owner[BENCH_PORT], m->bus.nr_ports - 1);
}

// Without the key no port and no address of the test board is anybody's. (Nor is there a TPM,
// where a PC has its.)
static void test_no_test_board(void **state)
{
    static const uint16_t ports[] = { 0xE0, 0xE3, 0xE4, 0xF4, 0xF7, 0x2000, 0x2017, 0x8900, 0xB0F };
    struct machine *m = board_with(NULL);
    (void)state;

    for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        assert_int_equal(m->bus.port_owner[ports[i]], 0);
        out(ports[i], 1, 0);
        assert_int_equal(in(ports[i], 4), 0xFFFFFFFF);
    }
    for (const char *word = "Shutdown"; *word != '\0'; word++)
        out(0x8900, 1, (uint8_t)*word);
    assert_false(m->power_pending);
    assert_false(bus_mmio_claimed(&m->bus, BENCH_MMIO_BASE));
    assert_false(bus_mmio_claimed(&m->bus, TESTDEV_RAM_BASE));
    assert_int_equal(bus_mmio_read(&m->bus, BENCH_MMIO_BASE, 4), 0xFFFFFFFF);
}

// Without the key its slot is empty, and so is the memory that it would have.
static void test_watchdog(void **state)
{
    struct machine *m = board();
    (void)state;

    out(0xCF8, 4, 0x8000E800);
    assert_int_equal(in(0xCFC, 4), 0xFFFFFFFF);
    assert_false(bus_mmio_claimed(&m->bus, 0xFEBFF000));
    machine_pause(m, true);
    machine_pause(m, false);
    m = board_with_watchdog();
    out(0xCF8, 4, 0x8000E800);
    assert_int_equal(in(0xCFC, 4), 0x25AB8086);
    assert_int_equal(bus_mmio_read(&m->bus, 0xFEBFF000, 4), 0xFFFFF);
    assert_int_equal(bus_mmio_read(&m->bus, 0xFEBFF00C, 2), 0x200); // it has ended the last run
    machine_pause(m, true);
    world.host.now_ns += 100 * NS_PER_SEC;
    clock_run(&m->clock, world.host.now_ns);
    assert_false(m->power_pending);
    machine_pause(m, false);
    world.host.now_ns += 5 * NS_PER_SEC;
    clock_run(&m->clock, world.host.now_ns);
    assert_true(m->power_pending);
    assert_int_equal(m->power, POWER_HUNG);
}

static void test_panic_port(void **state)
{
    struct machine *m = board();
    (void)state;

    assert_int_equal(in(0x505, 1), 3);
    out(0x505, 1, 1);
    assert_true(m->power_pending);
    assert_int_equal(m->power, POWER_PANIC);
}

static void route(unsigned pin, unsigned vector)
{
    bus_mmio_write(&world.machine.bus, 0xFEC00000, 4, 0x10 + 2 * pin);
    bus_mmio_write(&world.machine.bus, 0xFEC00010, 4, vector);
}

// Its lines reach what a chip's would: ISA interrupts both controllers, the others the IOAPIC.
static void test_test_board_lines(void **state)
{
    struct machine *m = board();
    (void)state;

    for (unsigned n = 0; n < 24; n++) {
        bool isa = n < 16 && n != 2;
        board();
        out(0x21, 1, 0); // all but the cascade's two
        out(0xA1, 1, 0);
        route(n == 0 ? 2 : n, 0x40 + n);
        nothing_fires();
        out((uint16_t)(0x2000 + n), 1, 1);
        assert_int_equal(world.msis, 1);
        assert_int_equal(world.msi_data & 0xFF, 0x40 + n);
        assert_int_equal(world.host.level, isa);
        if (isa)
            assert_int_equal(i8259_ack(&m->pic), (n < 8 ? 0x08 : 0x70) + (n & 7));
        out((uint16_t)(0x2000 + n), 1, 0);
        assert_int_equal(m->ioapic.lines, 0);
    }
}

// The UART and the test board have IRQ 4 together: neither takes the other's request away.
static void test_shared_line(void **state)
{
    struct machine *m = board();
    (void)state;

    out(0x21, 1, 0xEF);
    nothing_fires();
    out(0x3F9, 1, 0x02); // the transmitter is empty
    assert_true(world.host.level);
    out(0x2004, 1, 1);
    out(0x2004, 1, 0);
    assert_true(world.host.level);
    out(0x2004, 1, 1);
    out(0x3F9, 1, 0x00);
    assert_true(world.host.level);
    assert_int_equal(m->ioapic.lines, 1u << 4);
    out(0x2004, 1, 0);
    assert_false(world.host.level);
    assert_int_equal(m->ioapic.lines, 0);
}

static unsigned acks_of(struct machine *m, uint8_t vector, uint64_t ns)
{
    unsigned acks = 0;

    for (uint64_t end = world.host.now_ns + ns; world.host.now_ns < end;) {
        world.host.now_ns += MS / 10;
        if (world.host.armed_ns <= world.host.now_ns)
            clock_run(&m->clock, world.host.now_ns);
        if (!world.host.level)
            continue;
        assert_int_equal(i8259_ack(&m->pic), vector);
        out(0x20, 1, 0x20);
        acks++;
    }
    return acks;
}

// The HPET takes IRQ 0 from the PIT, which wakes nobody meanwhile, and gives it back.
static void test_hpet_replaces_the_pit(void **state)
{
    struct machine *m = board();
    (void)state;

    out(0x21, 1, 0xFE);
    out(0x43, 1, 0x34);
    out(0x40, 1, 1193 & 0xFF);
    out(0x40, 1, 1193 >> 8);
    assert_in_range(acks_of(m, 0x08, 100 * MS), 99, 101);
    bus_mmio_write(&m->bus, HPET_BASE + 0x10, 4, 3);
    assert_int_equal(acks_of(m, 0x08, 100 * MS), 0);
    assert_true(world.host.armed_ns == CLOCK_NEVER);
    bus_mmio_write(&m->bus, HPET_BASE + 0x100, 4, 0x4C);
    bus_mmio_write(&m->bus, HPET_BASE + 0x108, 8, 200 * MS / HPET_TICK_NS);
    bus_mmio_write(&m->bus, HPET_BASE + 0x108, 8, 5 * MS / HPET_TICK_NS);
    assert_in_range(acks_of(m, 0x08, 200 * MS), 20, 21);
    bus_mmio_write(&m->bus, HPET_BASE + 0x10, 4, 1);
    assert_in_range(acks_of(m, 0x08, 100 * MS), 99, 101);
    assert_int_equal(m->pit.ticks.owed, 0);
    bus_mmio_write(&m->bus, HPET_BASE + 0x10, 4, 0);
}

// Its pins are IOAPIC pins 20 to 23, of all timers. And there may be none.
static void test_hpet_pins(void **state)
{
    (void)state;
    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        for (unsigned pin = 20; pin < 24; pin++) {
            struct machine *m = board();
            uint64_t timer = HPET_BASE + 0x100 + 0x20 * n;
            route(pin, 0x8040 + pin);
            nothing_fires();
            bus_mmio_write(&m->bus, timer, 4, pin << 9 | 6); // level
            bus_mmio_write(&m->bus, timer + 8, 8, 100);
            bus_mmio_write(&m->bus, HPET_BASE + 0x10, 4, 1);
            world.host.now_ns += US;
            clock_run(&m->clock, world.host.now_ns);
            assert_int_equal(m->ioapic.lines, 1u << pin);
            assert_int_equal(world.msi_data & 0xFF, 0x40 + pin);
            bus_mmio_write(&m->bus, HPET_BASE + 0x20, 4, 1u << n);
            assert_int_equal(m->ioapic.lines, 0);
        }
    }
    struct machine_host none = {
        .clock = &world_clock, .msi = &world_msi_ops, .intr = { &world_intr_ops, &world, 0 },
        .console = { &world_stream, &world }, .ctx = &world,
    };
    assert_true(machine_init(&world.machine, &none, 64 << 20, 0));
    assert_false(bus_mmio_claimed(&world.machine.bus, HPET_BASE));
}

static void test_exit(void **state)
{
    struct machine *m = board();
    (void)state;

    out(0xF4, 4, 0x10);
    assert_true(m->power_pending);
    assert_int_equal(m->power, POWER_EXIT);
    assert_int_equal(testdev_status(&m->testdev), 0x21);
    m = board();
    out(0xCF9, 1, 0x06);
    out(0xF4, 1, 0x10); // too late
    assert_int_equal(m->power, POWER_RESET);
}

static void test_pit_reaches_both_controllers(void **state)
{
    struct machine *m = board();
    (void)state;

    nothing_fires();
    // Pin 2 of the IOAPIC, vector 0x30, to APIC 0.
    bus_mmio_write(&m->bus, 0xFEC00000, 4, 0x14);
    bus_mmio_write(&m->bus, 0xFEC00010, 4, 0x30);
    world.host.now_ns = 60 * MS; // more than one period of 18.2 Hz
    clock_run(&m->clock, world.host.now_ns);
    assert_true(world.host.level);
    assert_int_equal(i8259_ack(&m->pic), 0x08);
    assert_true(world.msis >= 1);
    assert_int_equal(world.msi_data & 0xFF, 0x30);
    assert_false(world.msi_level);
}

static void test_uart_interrupt(void **state)
{
    struct machine *m = board();
    (void)state;

    out(0x21, 1, 0xEF); // only IRQ 4
    bus_mmio_write(&m->bus, 0xFEC00000, 4, 0x18);
    bus_mmio_write(&m->bus, 0xFEC00010, 4, 0x34);
    out(0x3F9, 1, 0x01);
    nothing_fires();
    world.host.input[0] = 'k';
    world.host.input_count = 1;
    uart16550_rx_poll(&m->com1);
    assert_true(world.host.level);
    assert_int_equal(i8259_ack(&m->pic), 0x0C);
    assert_int_equal(world.msis, 1);
    assert_int_equal(world.msi_data & 0xFF, 0x34);
    assert_int_equal(in(0x3F8, 1), 'k');
}

static void test_sci_is_a_level(void **state)
{
    struct machine *m = board();
    (void)state;

    bus_mmio_write(&m->bus, 0xFEC00000, 4, 0x10 + 2 * 9);
    bus_mmio_write(&m->bus, 0xFEC00010, 4, 0x8039);
    out(0x602, 2, 1 << 8); // enable the power button
    nothing_fires();
    acpi_pm_power_button(&m->pm);
    assert_int_equal(world.msis, 1);
    assert_true(world.msi_level);
    ioapic_eoi(&m->ioapic, 0x39); // not served yet: again
    assert_int_equal(world.msis, 2);
    out(0x600, 2, 1 << 8);
    ioapic_eoi(&m->ioapic, 0x39);
    assert_int_equal(world.msis, 2);
}

static void test_power(void **state)
{
    struct machine *m = board();
    (void)state;

    out(0xCF9, 1, 0x06);
    assert_true(m->power_pending);
    assert_int_equal(m->power, POWER_RESET);
    m = board();
    out(0x64, 1, 0xFE);
    assert_true(m->power_pending);
    assert_int_equal(m->power, POWER_RESET);
    m = board();
    out(0x604, 2, (ACPI_PM_S5_TYPE << 10) | (1 << 13));
    assert_true(m->power_pending);
    assert_int_equal(m->power, POWER_OFF);
    out(0xCF9, 1, 0x06); // too late
    assert_int_equal(m->power, POWER_OFF);
}

static void test_nvram_has_the_memory(void **state)
{
    (void)state;
    board();
    out(0x70, 1, 0x34);
    assert_int_equal(in(0x71, 1), 0x00);
    out(0x70, 1, 0x35);
    assert_int_equal(in(0x71, 1), 0x03); // 48 MB above 16 MB, in units of 64 KB
    out(0x70, 1, 0x16);
    assert_int_equal(in(0x71, 1), 0x02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_there),
        cmocka_unit_test(test_scratch),
        cmocka_unit_test(test_no_test_board),
        cmocka_unit_test(test_test_board_lines),
        cmocka_unit_test(test_shared_line),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_panic_port),
        cmocka_unit_test(test_hpet_replaces_the_pit),
        cmocka_unit_test(test_hpet_pins),
        cmocka_unit_test(test_exit),
        cmocka_unit_test(test_pit_reaches_both_controllers),
        cmocka_unit_test(test_uart_interrupt),
        cmocka_unit_test(test_sci_is_a_level),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_nvram_has_the_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
