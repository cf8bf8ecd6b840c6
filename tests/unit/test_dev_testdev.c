// SPDX-License-Identifier: BSD-2-Clause
//
// The test board: what QEMU's pc-testdev and isa-debug-exit do, the word that powers off, memory
// that exits. Where its lines go is in test_machine.c.
#include "tests/unit/board.h"

#include "vmm/dev/testdev.h"

static struct fake_host host;
static struct testdev test;
static uint8_t ram[TESTDEV_RAM_SIZE];
static uint32_t levels; // of the lines' far ends

static void note_level(void *ctx, unsigned n, bool level)
{
    (void)ctx;
    levels = (levels & ~(1u << n)) | (uint32_t)level << n;
}

static int setup(void **state)
{
    static const struct irq_ops ops = { .set = note_level };
    struct irq_line line[TESTDEV_LINES];
    (void)state;

    fake_host_init(&host);
    memset(ram, 0, sizeof(ram));
    levels = 0;
    for (unsigned n = 0; n < TESTDEV_LINES; n++)
        line[n] = (struct irq_line){ .ops = &ops, .n = n };
    testdev_init(&test, ram, line, fake_power_sink(&host));
    return testdev_register(&test, &host.bus) ? 0 : -1;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
    assert_int_equal(bus_port_write(&host.bus, port, size, value), BUS_OK);
}

static uint32_t in(uint16_t port, unsigned size)
{
    return bus_port_read(&host.bus, port, size);
}

static void test_echo(void **state)
{
    (void)state;
    assert_int_equal(in(0xE0, 4), 0);
    out(0xE0, 4, 0x12345678);
    assert_int_equal(in(0xE0, 4), 0x12345678);
    for (uint16_t i = 0; i < 4; i++)
        assert_int_equal(in(0xE0 + i, 1), 0x12345678 >> 8 * i & 0xFF);
    assert_int_equal(in(0xE1, 2), 0x3456);
    out(0xE2, 2, 0xBEEF);
    assert_int_equal(in(0xE0, 4), 0xBEEF5678);
    out(0xE1, 1, 0xA5);
    assert_int_equal(in(0xE0, 4), 0xBEEFA578);
    out(0xE3, 2, 0x1122); // the second byte is the neighbour's
    assert_int_equal(in(0xE0, 4), 0x22EFA578);
    assert_int_equal(in(0xE2, 4), 0x000022EF);
}

static void test_flush(void **state)
{
    static uint8_t before[sizeof(test)];
    (void)state;

    memcpy(before, &test, sizeof(test));
    out(0xE4, 4, 0x100000);
    out(0xE4, 1, 0xFF);
    assert_memory_equal(before, &test, sizeof(test));
    assert_int_equal(in(0xE4, 4), 0);
    assert_int_equal(host.bus.port_owner[0xE8], 0);
}

static void test_exit(void **state)
{
    static const struct {
        uint16_t port;
        uint8_t size;
        uint32_t value;
        uint8_t status;
    } writes[] = {
        { 0xF4, 1, 0x00, 0x01 },       { 0xF4, 1, 0x10, 0x21 }, { 0xF4, 2, 0x31, 0x63 },
        { 0xF4, 4, 0x7F, 0xFF },       { 0xF4, 1, 0x80, 0x01 }, // a process's status has 8 bits
        { 0xF4, 4, 0x89ABCD12, 0x25 }, { 0xF7, 1, 2, 0x05 },
    };
    (void)state;

    assert_int_equal(in(0xF4, 4), 0);
    for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        setup(NULL);
        out(writes[i].port, writes[i].size, writes[i].value);
        assert_int_equal(host.exits, 1);
        assert_int_equal(host.power_offs + host.resets, 0);
        assert_int_equal(test.exit_value, writes[i].value);
        assert_int_equal(testdev_status(&test), writes[i].status);
        out(0xF4, 1, 0x55); // the rest of a string: it has gone by then
        assert_int_equal(testdev_status(&test), writes[i].status);
    }
    assert_int_equal(host.bus.port_owner[0xF3], 0);
    assert_int_equal(host.bus.port_owner[0xF8], 0);
}

static unsigned say(const char *letters)
{
    host.power_offs = 0;
    for (; *letters != '\0'; letters++)
        out(0x8900, 1, (uint8_t)*letters);
    return host.power_offs;
}

static void test_shutdown(void **state)
{
    (void)state;
    assert_int_equal(say("Shutdow"), 0);
    assert_int_equal(say("n"), 1);
    assert_int_equal(say("n"), 0);
    assert_int_equal(say("Shutdown"), 1);
    assert_int_equal(say("shutdown"), 0);
    assert_int_equal(say("ShutShutdow"), 0);
    assert_int_equal(say("ShutXdown"), 0);
    assert_int_equal(say("SShutdown"), 1); // the wrong letter begins it
    assert_int_equal(say("ShutShutdown"), 1);
    assert_int_equal(say("Shutd"), 0);
    testdev_reset(&test);
    assert_int_equal(say("own"), 0);
    assert_int_equal(host.exits + host.resets, 0);
    assert_int_equal(in(0x8900, 1), 0xFF);
}

static void test_lines(void **state)
{
    (void)state;
    for (unsigned n = 0; n < TESTDEV_LINES; n++) {
        out((uint16_t)(0x2000 + n), 1, n == 5 ? 0x80 : 1); // any but 0
        assert_int_equal(levels, 1u << n);
        out((uint16_t)(0x2000 + n), 1, 0);
        assert_int_equal(levels, 0);
    }
    out(0x2008, 4, 0x01000201); // bytes, as on the bus
    assert_int_equal(levels, 0xB00);
    testdev_reset(&test);
    assert_int_equal(levels, 0);
    assert_int_equal(host.bus.port_owner[0x2018], 0);
}

static void test_memory(void **state)
{
    struct bus *bus = &host.bus;
    const uint64_t value = 0x8877665544332211, base = TESTDEV_RAM_BASE;
    (void)state;

    for (unsigned size = 1; size <= 8; size *= 2) {
        for (uint64_t offset = 0; offset < 16; offset++) {
            assert_int_equal(bus_mmio_write(bus, base + offset, size, value), BUS_OK);
            assert_true(bus_mmio_read(bus, base + offset, size) ==
                        (size == 8 ? value : value & ((1ull << 8 * size) - 1)));
        }
    }
    bus_mmio_write(bus, base + 0x100, 8, value);
    assert_int_equal(bus_mmio_read(bus, base + 0x103, 2), 0x5544);
    // Its end: what is behind is nobody's, and 64 KB are all there is.
    bus_mmio_write(bus, base + 0xFFFC, 8, value);
    assert_true(bus_mmio_read(bus, base + 0xFFFC, 8) == 0xFFFFFFFF44332211);
    assert_int_equal(ram[0xFFFF], 0x44);
    assert_false(bus_mmio_claimed(bus, base - 1));
    assert_false(bus_mmio_claimed(bus, base + 0x10000));
    testdev_reset(&test);
    assert_int_equal(bus_mmio_read(bus, base + 0xFFFC, 4), 0x44332211);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_echo, setup),     cmocka_unit_test_setup(test_flush, setup),
        cmocka_unit_test_setup(test_exit, setup),     cmocka_unit_test_setup(test_shutdown, setup),
        cmocka_unit_test_setup(test_lines, setup),    cmocka_unit_test_setup(test_memory, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
