// SPDX-License-Identifier: BSD-2-Clause
//
// The watchdog timer, against the data sheet of the 6300ESB and what QEMU's does: its registers,
// the sequence that unlocks them, the two stages; what Linux's driver does with it; the time by
// which it must be switched on, and pauses.
#include "tests/unit/board.h"

#include "vmm/dev/i6300esb.h"
#include "vmm/dev/pci_host.h"

#define BAR     0xFEBFF000U
#define TICK_NS (30ULL << 15)
#define FAST_NS (30ULL << 5)

static struct fake_host host;
static struct pci_host pci;
static struct i6300esb esb;

static int setup_with(bool bitten, uint64_t start_ns)
{
    fake_host_init(&host);
    pci_host_init(&pci, fake_power_sink(&host));
    i6300esb_init(&esb, &host.clock, fake_power_sink(&host), bitten, start_ns);
    return pci_host_register(&pci, &host.bus) && pci_host_plug(&pci, 29, &esb.pci, &host.bus) ? 0
                                                                                              : -1;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(false, 0);
}

static uint16_t config(uint32_t offset)
{
    bus_port_write(&host.bus, 0xCF8, 4, 0x8000E800 | (offset & 0xFC));
    return (uint16_t)(0xCFC + (offset & 3));
}

static uint32_t config_get(uint32_t offset, unsigned size)
{
    return bus_port_read(&host.bus, config(offset), size);
}

static void config_set(uint32_t offset, unsigned size, uint32_t value)
{
    assert_int_equal(bus_port_write(&host.bus, config(offset), size, value), BUS_OK);
}

static uint32_t get(uint32_t offset, unsigned size)
{
    return (uint32_t)bus_mmio_read(&host.bus, BAR + offset, size);
}

static void put(uint32_t offset, unsigned size, uint32_t value)
{
    assert_int_equal(bus_mmio_write(&host.bus, BAR + offset, size, value), BUS_OK);
}

static void unlock(void)
{
    put(0x0C, 1, 0x80);
    put(0x0C, 1, 0x86);
}

static void feed(void)
{
    unlock();
    put(0x0C, 2, 0x100);
}

static void preload(uint32_t first, uint32_t second)
{
    unlock();
    put(0x00, 4, first);
    unlock();
    put(0x04, 4, second);
}

// Nothing happens for that long, and then it does.
static void bites_after(uint64_t ns)
{
    fake_advance(&host, ns - 1);
    assert_int_equal(host.exits, 0);
    fake_advance(&host, 1);
    assert_int_equal(host.exits, 1);
    assert_int_equal(host.resets + host.power_offs, 0);
}

static void registers(void **state)
{
    static const struct { uint8_t offset, size; uint32_t first, written; } table[] = {
        { 0x00, 4, 0x25AB8086, 0x25AB8086 }, { 0x0A, 2, 0x0880, 0x0880 },
        { 0x10, 4, BAR, 0xFFFFFFF0 },        { 0x60, 2, 0, 0x27 },
        { 0x68, 1, 0, 0x07 },                { 0x64, 4, 0, 0 },
    };
    (void)state;

    assert_true(bus_mmio_claimed(&host.bus, BAR + 15) && !bus_mmio_claimed(&host.bus, BAR + 16));
    assert_int_equal(get(0x00, 4), 0xFFFFF);
    assert_int_equal(get(0x04, 4), 0xFFFFF);
    assert_int_equal(get(0x08, 4), 0);
    assert_int_equal(get(0x0C, 2), 0);
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(config_get(table[i].offset, table[i].size), table[i].first);
        config_set(table[i].offset, table[i].size, 0xFFFFFFFF);
        assert_int_equal(config_get(table[i].offset, table[i].size), table[i].written);
    }
}

// A value gets in behind the whole sequence only, once, at its width.
static void unlocking(void **state)
{
    static const struct { bool opens; uint8_t writes, value[3]; } table[] = {
        { true, 2, { 0x80, 0x86 } },  { true, 3, { 0x80, 0x80, 0x86 } },
        { false, 0, { 0 } },          { false, 1, { 0x80 } },
        { false, 1, { 0x86 } },       { false, 2, { 0x86, 0x80 } },
        { false, 2, { 0x81, 0x86 } }, { false, 3, { 0x80, 0x00, 0x86 } },
        { false, 3, { 0x80, 0x86, 0x86 } },
    };
    (void)state;

    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        for (unsigned size = 1; size <= 4; size *= 2) {
            setup(NULL);
            for (unsigned n = 0; n < table[i].writes; n++)
                put(0x0C, size, table[i].value[n]);
            put(0x00, 4, 0x12345);
            assert_int_equal(get(0x00, 4), table[i].opens ? 0x12345 : 0xFFFFF);
            put(0x04, 4, 0x54321); // one write each
            assert_int_equal(get(0x04, 4), 0xFFFFF);
        }
    }
    unlock();
    put(0x00, 4, 0xFFF00001); // 20 bits
    assert_int_equal(get(0x00, 4), 1);
    unlock();
    put(0x00, 2, 7);
    assert_int_equal(get(0x00, 4), 1);
    assert_int_equal(get(0x01, 1), 0);
}

static void two_stages(void **state)
{
    (void)state;
    preload(100, 50);
    fake_advance(&host, 1000 * TICK_NS); // it is off
    config_set(0x68, 1, 2);
    fake_advance(&host, 100 * TICK_NS - 1);
    assert_int_equal(get(0x08, 4), 0);
    fake_advance(&host, 1);
    assert_int_equal(get(0x08, 4), 1);
    put(0x08, 4, 0);
    assert_int_equal(get(0x08, 4), 1);
    put(0x08, 4, 1);
    assert_int_equal(get(0x08, 4), 0);
    bites_after(50 * TICK_NS);
    assert_int_equal(get(0x0C, 2), 0x200);
    fake_advance(&host, 1000 * NS_PER_SEC); // and no more
    assert_int_equal(host.exits, 1);
}

static void feeding(void **state)
{
    (void)state;
    preload(100, 50);
    config_set(0x68, 1, 2);
    for (unsigned i = 0; i < 20; i++) {
        fake_advance(&host, (i % 2 == 0 ? 99 : 149) * TICK_NS); // in either stage
        feed();
    }
    put(0x0C, 2, 0x100); // locked: it does not count
    fake_advance(&host, 10 * TICK_NS);
    put(0x0C, 2, 0x100);
    bites_after(140 * TICK_NS);
}

static void fast_clock(void **state)
{
    (void)state;
    config_set(0x60, 2, 0x04);
    preload(500000, 400000);
    config_set(0x68, 1, 2);
    bites_after(900000 * FAST_NS);
}

// A change of the preload values counts from the next stage on.
static void preload_later(void **state)
{
    (void)state;
    preload(100, 100);
    config_set(0x68, 1, 2);
    preload(10, 10);
    bites_after(110 * TICK_NS);
}

static void switched_off(void **state)
{
    (void)state;
    preload(100, 50);
    config_set(0x68, 1, 2);
    fake_advance(&host, 120 * TICK_NS);
    config_set(0x68, 1, 0);
    feed();
    fake_advance(&host, 1000 * TICK_NS);
    assert_int_equal(host.exits, 0);
    config_set(0x68, 1, 2);
    bites_after(150 * TICK_NS);
}

static void locked(void **state)
{
    (void)state;
    preload(100, 50);
    config_set(0x68, 1, 3);
    config_set(0x68, 1, 0);
    assert_int_equal(config_get(0x68, 1), 3);
    config_set(0x60, 2, 0x03); // that one is not
    assert_int_equal(config_get(0x60, 2), 0x03);
    bites_after(150 * TICK_NS);
    i6300esb_reset(&esb);
    assert_int_equal(config_get(0x68, 1), 0);
    config_set(0x68, 1, 4);
    assert_int_equal(config_get(0x68, 1), 4);
}

// With bit 5 nothing ends; it stands, or begins anew.
static void without_output(void **state)
{
    (void)state;
    config_set(0x60, 2, 0x20);
    preload(100, 50);
    config_set(0x68, 1, 2);
    fake_advance(&host, 10000 * TICK_NS);
    assert_int_equal(host.exits, 0);
    put(0x08, 4, 1);
    fake_advance(&host, 10000 * TICK_NS);
    assert_int_equal(get(0x08, 4), 0);
    config_set(0x68, 1, 0);
    config_set(0x68, 1, 6);
    unsigned fires = host.fires;
    fake_advance(&host, 1500 * TICK_NS);
    assert_int_equal(host.fires - fires, 20);
    config_set(0x60, 2, 0);
    bites_after(150 * TICK_NS);
}

// No guest can have the VMM woken all the time.
static void shortest(void **state)
{
    (void)state;
    config_set(0x60, 2, 0x24);
    preload(0, 1);
    config_set(0x68, 1, 6);
    fake_advance(&host, NS_PER_SEC);
    assert_in_range(host.fires, 9000, 10000);
}

// esb_initdevice(), a heartbeat of 30 s, feeding, and the end of it: Linux's i6300esb.
static void linux_driver(void **state)
{
    (void)state;
    config_set(0x60, 2, 0x0003);
    assert_int_equal(config_get(0x68, 1) & 1, 0);
    config_set(0x68, 1, 0);
    unlock();
    assert_int_equal(get(0x0C, 2) & 0x200, 0);
    unlock();
    put(0x0C, 2, 0x300);
    preload(30 << 9, 30 << 9);
    feed();
    feed();
    config_set(0x68, 1, 2);
    for (unsigned i = 0; i < 10; i++) {
        fake_advance(&host, 29 * NS_PER_SEC);
        feed();
    }
    fake_advance(&host, 30 * NS_PER_SEC);
    assert_int_equal(host.exits, 0);
    fake_advance(&host, NS_PER_SEC);
    assert_int_equal(host.exits, 1);
}

// What it has done is told until the guest has seen it.
static void bitten(void **state)
{
    (void)state;
    setup_with(true, 0);
    assert_int_equal(get(0x0C, 2), 0x200);
    put(0x0C, 2, 0x200);
    assert_int_equal(get(0x0C, 2), 0x200);
    unlock();
    put(0x0C, 2, 0x200);
    assert_int_equal(get(0x0C, 2), 0);
}

static void switched_on_in_time(void **state)
{
    (void)state;
    setup_with(false, 60 * NS_PER_SEC);
    feed(); // is not enough
    preload(100, 50);
    bites_after(60 * NS_PER_SEC);
    setup_with(false, 60 * NS_PER_SEC);
    preload(100, 50);
    fake_advance(&host, 59 * NS_PER_SEC);
    config_set(0x68, 1, 2);
    config_set(0x68, 1, 0); // from now on it is the guest's
    fake_advance(&host, 1000 * NS_PER_SEC);
    assert_int_equal(host.exits, 0);
}

// A VM that is paused does not hang.
static void paused(void **state)
{
    (void)state;
    preload(100, 50);
    config_set(0x68, 1, 2);
    fake_advance(&host, 40 * TICK_NS);
    i6300esb_hold(&esb, true);
    i6300esb_hold(&esb, true);
    fake_advance(&host, 1000 * TICK_NS);
    i6300esb_hold(&esb, false);
    i6300esb_hold(&esb, false);
    bites_after(110 * TICK_NS);
    setup_with(false, 10 * NS_PER_SEC);
    i6300esb_hold(&esb, true);
    fake_advance(&host, 100 * NS_PER_SEC);
    config_set(0x68, 1, 2); // another vCPU's access, on its way when the pause came
    preload(100, 50);
    feed();
    fake_advance(&host, 1000 * NS_PER_SEC);
    i6300esb_hold(&esb, false);
    bites_after(150 * TICK_NS);
    setup(NULL);
    i6300esb_hold(&esb, true);
    i6300esb_hold(&esb, false);
    fake_advance(&host, 10000 * NS_PER_SEC);
    assert_int_equal(host.exits, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, setup),
        cmocka_unit_test_setup(unlocking, setup),
        cmocka_unit_test_setup(two_stages, setup),
        cmocka_unit_test_setup(feeding, setup),
        cmocka_unit_test_setup(fast_clock, setup),
        cmocka_unit_test_setup(preload_later, setup),
        cmocka_unit_test_setup(switched_off, setup),
        cmocka_unit_test_setup(locked, setup),
        cmocka_unit_test_setup(without_output, setup),
        cmocka_unit_test_setup(shortest, setup),
        cmocka_unit_test_setup(linux_driver, setup),
        cmocka_unit_test_setup(bitten, setup),
        cmocka_unit_test_setup(switched_on_in_time, setup),
        cmocka_unit_test_setup(paused, setup),
    };

    return cmocka_run_group_tests_name("i6300esb", tests, NULL, NULL);
}
