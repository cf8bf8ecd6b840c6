// SPDX-License-Identifier: BSD-2-Clause
//
// The bus: ranges, overlaps, widths, and what unclaimed space answers.
#include "tests/unit/board.h"

struct probe {
    uint8_t bytes[16];
    uint64_t last_offset;
    uint64_t last_value;
    unsigned last_size;
    unsigned calls;
    bool blocked;
};

static uint64_t probe_read(void *dev, uint64_t offset, unsigned size)
{
    struct probe *p = dev;
    uint64_t value = 0;

    p->last_offset = offset;
    p->last_size = size;
    p->calls++;
    memcpy(&value, &p->bytes[offset], size);
    return value | (size < 8 ? UINT64_MAX << (size * 8) : 0); // junk above must not be seen
}

static enum bus_result probe_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct probe *p = dev;

    if (p->blocked)
        return BUS_BLOCKED;
    p->last_offset = offset;
    p->last_size = size;
    p->last_value = value;
    p->calls++;
    memcpy(&p->bytes[offset], &value, size);
    return BUS_OK;
}

static const struct device_ops narrow = {"narrow", 1, probe_read, probe_write};
static const struct device_ops wide = {"wide", 4, probe_read, probe_write};
static const struct device_ops huge = {"huge", 8, probe_read, probe_write};

static int setup(void **state)
{
    static struct bus bus;

    bus_init(&bus);
    *state = &bus;
    return 0;
}

static void unclaimed_ports_read_all_ones(void **state)
{
    struct bus *bus = *state;

    assert_int_equal(bus_port_read(bus, 0x80, 1), 0xFF);
    assert_int_equal(bus_port_read(bus, 0x80, 2), 0xFFFF);
    assert_int_equal(bus_port_read(bus, 0x80, 4), 0xFFFFFFFF);
    assert_int_equal(bus_port_read(bus, 0, 1), 0xFF);
    assert_int_equal(bus_port_read(bus, 0xFFFF, 4), 0xFFFFFFFF);
    assert_int_equal(bus_port_write(bus, 0xFFFF, 4, 0), BUS_OK);
}

static void ports_reach_their_device_at_any_base(void **state)
{
    struct bus *bus = *state;
    static struct probe p[3];

    memset(p, 0, sizeof(p));
    assert_true(bus_add_ports(bus, &wide, &p[0], 0, 4));
    assert_true(bus_add_ports(bus, &wide, &p[1], 0x3F8, 8));
    assert_true(bus_add_ports(bus, &wide, &p[2], 0xFFFC, 4));
    assert_int_equal(bus_port_write(bus, 0x3FA, 2, 0xBEEF), BUS_OK);
    assert_int_equal(p[1].last_offset, 2);
    assert_int_equal(p[1].last_size, 2);
    assert_int_equal(p[1].last_value, 0xBEEF);
    assert_int_equal(bus_port_read(bus, 0x3FA, 1), 0xEF);
    assert_int_equal(bus_port_read(bus, 0x3FA, 2), 0xBEEF);
    assert_int_equal(bus_port_write(bus, 0, 4, 0x12345678), BUS_OK);
    assert_int_equal(bus_port_read(bus, 0, 4), 0x12345678);
    assert_int_equal(bus_port_write(bus, 0xFFFC, 4, 0xCAFEF00D), BUS_OK);
    assert_int_equal(bus_port_read(bus, 0xFFFC, 4), 0xCAFEF00D);
    assert_int_equal(p[0].calls, 2);
}

static void wide_accesses_to_narrow_devices_are_split(void **state)
{
    struct bus *bus = *state;
    static struct probe p;

    memset(&p, 0, sizeof(p));
    assert_true(bus_add_ports(bus, &narrow, &p, 0x40, 4));
    assert_int_equal(bus_port_write(bus, 0x40, 4, 0x44332211), BUS_OK);
    assert_int_equal(p.calls, 4);
    assert_int_equal(p.last_size, 1);
    assert_int_equal(p.bytes[0], 0x11);
    assert_int_equal(p.bytes[3], 0x44);
    assert_int_equal(bus_port_read(bus, 0x41, 2), 0x3322);
    // Past the end of the range, and into it from below.
    assert_int_equal(bus_port_read(bus, 0x42, 4), 0xFFFF4433);
    assert_int_equal(bus_port_read(bus, 0x3F, 2), 0x11FF);
    assert_int_equal(bus_port_write(bus, 0x3E, 4, 0xAABBCCDD), BUS_OK);
    assert_int_equal(p.bytes[0], 0xBB);
    assert_int_equal(p.bytes[1], 0xAA);
}

static void accesses_across_two_devices_reach_both(void **state)
{
    struct bus *bus = *state;
    static struct probe p[2];

    memset(p, 0, sizeof(p));
    assert_true(bus_add_ports(bus, &wide, &p[0], 0x100, 4));
    assert_true(bus_add_ports(bus, &wide, &p[1], 0x104, 4));
    assert_int_equal(bus_port_write(bus, 0x102, 4, 0x44332211), BUS_OK);
    assert_int_equal(p[0].bytes[2], 0x11);
    assert_int_equal(p[0].bytes[3], 0x22);
    assert_int_equal(p[1].bytes[0], 0x33);
    assert_int_equal(p[1].bytes[1], 0x44);
    assert_int_equal(bus_port_read(bus, 0x102, 4), 0x44332211);
}

static void overlap_is_refused_and_names_both(void **state)
{
    struct bus *bus = *state;
    static struct probe p;

    assert_true(bus_add_ports(bus, &narrow, &p, 0x60, 4));
    assert_false(bus_add_ports(bus, &wide, &p, 0x63, 2));
    assert_string_equal(bus_error(bus), "wide: ports 0x63-0x64 overlap narrow at 0x60-0x63");
    // Nothing of the refused range has been claimed.
    assert_int_equal(bus_port_read(bus, 0x64, 1), 0xFF);
    assert_true(bus_add_ports(bus, &wide, &p, 0x64, 1));

    assert_true(bus_add_mmio(bus, &huge, &p, 0xFEC00000, 0x1000));
    assert_false(bus_add_mmio(bus, &wide, &p, 0xFEBFFFFF, 2));
    assert_string_equal(bus_error(bus), "wide: addresses 0xfebfffff-0xfec00000 overlap huge at "
                                        "0xfec00000-0xfec00fff");
}

static void bad_ranges_are_refused(void **state)
{
    struct bus *bus = *state;
    static struct probe p;

    assert_false(bus_add_ports(bus, &narrow, &p, 0x60, 0));
    assert_false(bus_add_ports(bus, &narrow, &p, 0xFFFF, 2));
    assert_non_null(strstr(bus_error(bus), "narrow: bad port range"));
    assert_true(bus_add_ports(bus, &narrow, &p, 0xFFFF, 1));
    assert_false(bus_add_mmio(bus, &narrow, &p, 0x1000, 0));
    assert_false(bus_add_mmio(bus, &narrow, &p, UINT64_MAX, 2));
    assert_true(bus_add_mmio(bus, &narrow, &p, UINT64_MAX, 1));
    for (unsigned i = 2; i < BUS_MAX_PORT_RANGES; i++)
        assert_true(bus_add_ports(bus, &narrow, &p, (uint16_t)(i * 8), 1));
    assert_false(bus_add_ports(bus, &narrow, &p, 0x8000, 1));
    assert_non_null(strstr(bus_error(bus), "too many port ranges"));
    for (unsigned i = 1; i < BUS_MAX_MMIO_RANGES; i++)
        assert_true(bus_add_mmio(bus, &narrow, &p, i * 8, 1));
    assert_false(bus_add_mmio(bus, &narrow, &p, 0x8000, 1));
    assert_non_null(strstr(bus_error(bus), "too many memory ranges"));
}

static void blocked_writes_are_reported(void **state)
{
    struct bus *bus = *state;
    static struct probe p;

    memset(&p, 0, sizeof(p));
    p.blocked = true;
    assert_true(bus_add_ports(bus, &narrow, &p, 0x3F8, 8));
    assert_int_equal(bus_port_write(bus, 0x3F8, 1, 'x'), BUS_BLOCKED);
    assert_int_equal(bus_port_write(bus, 0x3F8, 4, 'x'), BUS_BLOCKED);
    assert_int_equal(p.calls, 0);
    p.blocked = false;
    assert_int_equal(bus_port_write(bus, 0x3F8, 1, 'x'), BUS_OK);
    assert_int_equal(p.bytes[0], 'x');
}

static void mmio_finds_any_range(void **state)
{
    struct bus *bus = *state;
    static struct probe p[5];
    static const uint64_t base[5] = {0xD0000000, 0x1000, 0xFEC00000, 0x8000000000, 0x2000};

    memset(p, 0, sizeof(p));
    for (unsigned i = 0; i < 5; i++)
        assert_true(bus_add_mmio(bus, &huge, &p[i], base[i], 16));
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 5; i++) {
            assert_true(bus_mmio_claimed(bus, base[i] + 15));
            assert_false(bus_mmio_claimed(bus, base[i] + 16));
            assert_false(bus_mmio_claimed(bus, base[i] - 1));
            uint64_t value = 0x1122334455667788 * (i + round);
            assert_int_equal(bus_mmio_write(bus, base[i] + 8, 8, value), BUS_OK);
            assert_true(bus_mmio_read(bus, base[i] + 8, 8) == value);
            assert_int_equal(bus_mmio_read(bus, base[i] + 8, 4), (uint32_t)value);
        }
    }
    assert_true(bus_mmio_read(bus, 0x3000, 8) == UINT64_MAX);
    assert_int_equal(bus_mmio_read(bus, 0x3000, 2), 0xFFFF);
    p[1].bytes[15] = 0x5A;
    assert_int_equal(bus_mmio_read(bus, 0x100F, 2), 0xFF5A);
    assert_int_equal(bus_mmio_write(bus, 0xFFF, 2, 0xAB00), BUS_OK);
    assert_int_equal(p[1].bytes[0], 0xAB);
    assert_true(bus_mmio_read(bus, UINT64_MAX, 8) == UINT64_MAX);
}

static void mmio_comes_and_goes(void **state)
{
    struct bus *bus = *state;
    struct probe p = {.calls = 0};

    for (uint64_t i = 0; i < 3; i++)
        assert_true(bus_add_mmio(bus, &wide, &p, 0x1000 * (i + 1), 0x10));
    assert_int_equal(bus_mmio_read(bus, 0x2008, 4), 0); // the last hit
    bus_remove_mmio(bus, 0x2000);
    assert_int_equal(bus_mmio_read(bus, 0x2008, 4), 0xFFFFFFFF);
    assert_true(bus_mmio_claimed(bus, 0x1000) && bus_mmio_claimed(bus, 0x300F));
    assert_true(bus_add_mmio(bus, &wide, &p, 0x1010, 0x1FF0)); // its place is free
    bus_remove_mmio(bus, 0x3000);
    bus_remove_mmio(bus, 0x1000);
    assert_false(bus_mmio_claimed(bus, 0x100F));
    assert_true(bus_mmio_claimed(bus, 0x1010) && bus_mmio_claimed(bus, 0x2FFF));
    assert_int_equal(bus->nr_mmio, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(unclaimed_ports_read_all_ones, setup),
        cmocka_unit_test_setup(ports_reach_their_device_at_any_base, setup),
        cmocka_unit_test_setup(wide_accesses_to_narrow_devices_are_split, setup),
        cmocka_unit_test_setup(accesses_across_two_devices_reach_both, setup),
        cmocka_unit_test_setup(overlap_is_refused_and_names_both, setup),
        cmocka_unit_test_setup(bad_ranges_are_refused, setup),
        cmocka_unit_test_setup(blocked_writes_are_reported, setup),
        cmocka_unit_test_setup(mmio_finds_any_range, setup),
        cmocka_unit_test_setup(mmio_comes_and_goes, setup),
    };

    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
