// SPDX-License-Identifier: BSD-2-Clause
//
// PCI functions behind the host bridge: which bits of their configuration space can be written, how
// a BAR is sized, moved and switched off, as an operating system does it. ("PCI Local Bus
// specification", "Base Addresses"; Linux, pci_read_bases())
#include "tests/unit/board.h"

#include "vmm/dev/pci_host.h"

#define SLOT 3
#define HOME 0xFEBFF000U // the last page below the interrupt controllers
#define SIZE 0x20U

static struct fake_host host;
static struct pci_host pci;
static struct pci_function card, other;
static uint64_t seen[4]; // offset, size, value of the last access to its memory; and how many
static unsigned written[3]; // offset, size of the last write to its space; and how many

static uint64_t card_read(void *dev, uint64_t offset, unsigned size)
{
    (void)size;
    assert_ptr_equal(dev, &card);
    return 0xA0 + offset;
}

static enum bus_result card_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    assert_ptr_equal(dev, &card);
    seen[0] = offset;
    seen[1] = size;
    seen[2] = value;
    seen[3]++;
    return BUS_OK;
}

static const struct device_ops card_ops = {
    .name = "card", .max_size = 4, .read = card_read, .write = card_write,
};

static void card_written(void *dev, unsigned offset, unsigned size)
{
    assert_ptr_equal(dev, &card);
    written[0] = offset;
    written[1] = size;
    written[2]++;
}

static int setup(void **state)
{
    static const struct pci_id id = { .vendor = 0x1234, .device = 0x5678, .class = 0x0880 };
    static const struct pci_function_ops ops = { .written = card_written };
    (void)state;

    fake_host_init(&host);
    memset(seen, 0, sizeof(seen));
    memset(written, 0, sizeof(written));
    pci_host_init(&pci, fake_power_sink(&host));
    pci_function_init(&card, &id, &ops, &card);
    pci_function_add_bar(&card, 0, SIZE, &card_ops);
    card.writable[0x61] = 0x3C;
    return pci_host_register(&pci, &host.bus) && pci_host_plug(&pci, SLOT, &card, &host.bus) ? 0
                                                                                              : -1;
}

static uint16_t at(uint32_t slot, uint32_t offset)
{
    bus_port_write(&host.bus, 0xCF8, 4, 0x80000000 | slot << 11 | (offset & 0xFC));
    return (uint16_t)(0xCFC + (offset & 3));
}

static uint32_t get(uint32_t offset, unsigned size)
{
    return bus_port_read(&host.bus, at(SLOT, offset), size);
}

static void set(uint32_t offset, unsigned size, uint32_t value)
{
    assert_int_equal(bus_port_write(&host.bus, at(SLOT, offset), size, value), BUS_OK);
}

static bool claimed(uint32_t base)
{
    return bus_mmio_claimed(&host.bus, base) && bus_mmio_claimed(&host.bus, base + SIZE - 1) &&
           !bus_mmio_claimed(&host.bus, base - 1) && !bus_mmio_claimed(&host.bus, base + SIZE);
}

static void identity(void **state)
{
    (void)state;
    assert_int_equal(get(0, 4), 0x56781234);
    assert_int_equal(get(0x0A, 2), 0x0880);
    assert_int_equal(get(0x0E, 1), 0); // of one function
    assert_int_equal(get(0x3D, 1), 0); // without an interrupt
    // It is function 0 of its slot on bus 0 only, beside the bridge.
    for (uint32_t devfn = 0; devfn < 256; devfn++) {
        bus_port_write(&host.bus, 0xCF8, 4, 0x80000000 | devfn << 8);
        bool there = devfn == 0 || devfn == SLOT << 3;
        assert_int_equal(bus_port_read(&host.bus, 0xCFC, 4) != 0xFFFFFFFF, there);
    }
    bus_port_write(&host.bus, 0xCF8, 4, 0x80010000 | SLOT << 11);
    assert_int_equal(bus_port_read(&host.bus, 0xCFC, 4), 0xFFFFFFFF);
    bus_port_write(&host.bus, 0xCF8, 4, SLOT << 11); // not enabled
    assert_int_equal(bus_port_read(&host.bus, 0xCFC, 4), 0xFFFFFFFF);
}

// Every bit of every register: what can be written is what the table says.
static void writable_bits(void **state)
{
    (void)state;
    for (uint32_t offset = 0; offset < 256; offset += 4) {
        uint32_t before = get(offset, 4);
        uint32_t mask = offset == 0x04 ? 0x06 : offset == 0x10 ? ~(SIZE - 1)
                        : offset == 0x60 ? 0x3C00 : 0;
        set(offset, 4, 0xFFFFFFFF);
        assert_int_equal(get(offset, 4), before | mask);
        set(offset, 4, 0);
        assert_int_equal(get(offset, 4), before & ~mask);
        set(offset, 4, before);
    }
}

static void byte_lanes(void **state)
{
    (void)state;
    set(0x61, 1, 0x14);
    assert_int_equal(get(0x60, 4), 0x1400);
    assert_int_equal(written[0], 0x61);
    assert_int_equal(written[1], 1);
    set(0x60, 2, 0xFFFF);
    assert_int_equal(get(0x61, 1), 0x3C);
    assert_int_equal(written[1], 2);
    set(0x12, 2, 0xC123); // half of a BAR
    assert_int_equal(get(0x10, 4), 0xC123F000);
    assert_true(claimed(0xC123F000));
    assert_int_equal(written[2], 3);
}

static void as_a_bios_leaves_it(void **state)
{
    (void)state;
    assert_int_equal(get(0x10, 4), HOME);
    assert_int_equal(get(0x04, 2), 0x02);
    assert_true(claimed(HOME));
}

// pci_read_bases(): decoding off, all ones, what is 0 of it is the size; back.
static void sizing(void **state)
{
    (void)state;
    set(0x04, 2, 0);
    assert_false(bus_mmio_claimed(&host.bus, HOME));
    set(0x10, 4, 0xFFFFFFFF);
    assert_int_equal(get(0x10, 4), ~(SIZE - 1));
    set(0x10, 4, HOME);
    assert_false(bus_mmio_claimed(&host.bus, HOME));
    set(0x04, 2, 2);
    assert_true(claimed(HOME));
    // Also with decoding on it is nowhere meanwhile.
    set(0x10, 4, 0xFFFFFFFF);
    assert_int_equal(host.bus.nr_mmio, 0);
    set(0x10, 4, 0);
    assert_int_equal(host.bus.nr_mmio, 0);
    for (uint32_t bar = 0x14; bar < 0x28; bar += 4) {
        set(bar, 4, 0xFFFFFFFF);
        assert_int_equal(get(bar, 4), 0);
    }
}

static void moving(void **state)
{
    (void)state;
    assert_int_equal(bus_mmio_read(&host.bus, HOME + 8, 4), 0xA8);
    set(0x10, 4, 0xC0000020);
    assert_int_equal(bus_mmio_read(&host.bus, HOME + 8, 4), 0xFFFFFFFF); // not by the last hit
    assert_true(claimed(0xC0000020));
    assert_int_equal(bus_mmio_read(&host.bus, 0xC0000028, 4), 0xA8);
    bus_mmio_write(&host.bus, 0xC000002C, 2, 0x1234);
    assert_int_equal(seen[0], 0xC);
    assert_int_equal(seen[1], 2);
    assert_int_equal(seen[2], 0x1234);
    pci_function_reset(&card);
    as_a_bios_leaves_it(NULL);
    assert_false(bus_mmio_claimed(&host.bus, 0xC0000020));
}

// Where another range is it is nowhere, until it is put elsewhere.
static void conflict(void **state)
{
    static const struct pci_id id = { .vendor = 0x1234, .device = 1, .class = 0x0880 };
    (void)state;

    pci_function_init(&other, &id, NULL, NULL);
    pci_function_add_bar(&other, 0, 0x2000, &card_ops);
    pci_function_add_bar(&other, 1, 0x10, &card_ops);
    assert_true(pci_host_plug(&pci, 4, &other, &host.bus));
    assert_int_equal(other.bar[0].base, 0xFEBFC000); // at a multiple of its size
    assert_int_equal(other.bar[1].base, 0xFEBFB000); // on a page of its own
    set(0x10, 4, 0xFEBFD000);
    assert_int_equal(host.bus.nr_mmio, 2);
    assert_int_equal(get(0x10, 4), 0xFEBFD000);
    bus_port_write(&host.bus, at(4, 4), 2, 0); // the other one goes
    assert_int_equal(host.bus.nr_mmio, 0);
    set(0x04, 2, 2);
    assert_true(claimed(0xFEBFD000));
    bus_port_write(&host.bus, at(4, 4), 2, 2);
    assert_int_equal(other.bar[0].base, 0);
    assert_int_equal(other.bar[1].base, 0xFEBFB000);
    assert_int_equal(host.bus.nr_mmio, 2);
}

// A board that gives the place away says so when it is made.
static void no_place(void **state)
{
    static const struct pci_id id = { .vendor = 0x1234, .device = 1, .class = 0x0880 };
    (void)state;

    assert_true(bus_add_mmio(&host.bus, &card_ops, &card, HOME - 0x1000, 0x10));
    pci_function_init(&other, &id, NULL, NULL);
    pci_function_add_bar(&other, 0, 0x10, &card_ops);
    assert_false(pci_host_plug(&pci, 4, &other, &host.bus));
    assert_non_null(strstr(bus_error(&host.bus), "overlap"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(identity, setup),
        cmocka_unit_test_setup(writable_bits, setup),
        cmocka_unit_test_setup(byte_lanes, setup),
        cmocka_unit_test_setup(as_a_bios_leaves_it, setup),
        cmocka_unit_test_setup(sizing, setup),
        cmocka_unit_test_setup(moving, setup),
        cmocka_unit_test_setup(conflict, setup),
        cmocka_unit_test_setup(no_place, setup),
    };

    return cmocka_run_group_tests_name("pci_function", tests, NULL, NULL);
}
