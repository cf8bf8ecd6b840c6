// SPDX-License-Identifier: BSD-2-Clause
//
// The traces from the devices to the interrupt controllers: each is as high as any of its sources
// drives it, and goes where a PC's goes.
#include "tests/unit/board.h"

#include "vmm/board/irq_router.h"

static struct fake_host host;
static struct i8259 pic;
static struct ioapic ioapic;
static struct irq_router router;
static unsigned sent;
static uint8_t sent_vector;
static bool vector_waits;

static bool record_msi(void *ctx, uint64_t addr, uint32_t data, bool level)
{
    (void)ctx;
    (void)addr;
    (void)level;
    sent++;
    sent_vector = (uint8_t)data;
    return vector_waits;
}

static void route(unsigned pin, uint32_t low)
{
    bus_mmio_write(&host.bus, IOAPIC_BASE, 4, 0x10 + 2 * pin);
    bus_mmio_write(&host.bus, IOAPIC_BASE + 0x10, 4, low);
}

static int setup(void **state)
{
    static const struct ioapic_ops ops = {.msi = record_msi};

    (void)state;
    fake_host_init(&host);
    i8259_init(&pic, fake_line(&host));
    ioapic_init(&ioapic, &ops, NULL);
    router = (struct irq_router){.pic = &pic, .ioapic = &ioapic};
    vector_waits = false;
    if (!i8259_register(&pic, &host.bus) || !ioapic_register(&ioapic, &host.bus))
        return -1;
    out8(&host, 0x21, 0);
    out8(&host, 0xA1, 0);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        route(pin, 0x40 + pin);
    sent = 0;
    return 0;
}

static bool pic_pin(unsigned irq)
{
    return (pic.chip[irq >> 3].lines >> (irq & 7) & 1) != 0;
}

static uint16_t pic_pins(void)
{
    return (uint16_t)(pic.chip[0].lines | pic.chip[1].lines << 8);
}

static void each_trace_ends_where_a_pc_has_it(void **state)
{
    (void)state;
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        bool isa = n < 16 && n != 2;
        setup(NULL);
        struct irq_line line = isa ? irq_router_isa(&router, n) : irq_router_gsi(&router, n);
        irq_set(&line, true);
        assert_int_equal(pic_pins(), isa ? 1u << n : 0);
        assert_int_equal(ioapic.lines, 1u << (n == 0 ? 2 : n));
        assert_int_equal(sent, 1);
        irq_set(&line, false);
        assert_int_equal(pic_pins(), 0);
        assert_int_equal(ioapic.lines, 0);
    }
    irq_set(&(struct irq_line){0}, true); // connected to nothing
}

// Every order in which three sources go high and low: the line is their OR after each step, and
// rises once for each time that it was low.
static void high_while_any_source_is(void **state)
{
    enum { SOURCES = 3, STEPS = 6 };
    (void)state;

    for (unsigned trace = 3; trace < IOAPIC_PINS; trace++) {
        for (unsigned order = 0; order < 1u << (2 * STEPS); order++) {
            struct irq_line line[SOURCES];
            bool high[SOURCES] = {false};
            unsigned rises = 0;
            setup(NULL);
            for (unsigned i = 0; i < SOURCES; i++)
                line[i] = trace < 16 ? irq_router_isa(&router, trace)
                                     : irq_router_gsi(&router, trace);
            for (unsigned step = 0; step < STEPS; step++) {
                unsigned i = (order >> (2 * step) & 3) % SOURCES;
                bool before = high[0] || high[1] || high[2];
                high[i] = !high[i];
                bool after = high[0] || high[1] || high[2];
                rises += after && !before;
                irq_set(&line[i], high[i]);
                assert_int_equal(ioapic.lines, (uint32_t)after << trace);
                assert_int_equal(sent, rises);
                if (trace < 16)
                    assert_int_equal(pic_pin(trace), after);
            }
            if (trace != 4 && trace != 8 && trace != 17)
                break; // one order for the others
        }
    }
}

// A source says twice what it said, and it is as if it had been said once.
static void a_source_is_not_counted_twice(void **state)
{
    struct irq_line a, b;
    (void)state;

    a = irq_router_isa(&router, 5);
    b = irq_router_isa(&router, 5);
    irq_set(&a, true);
    irq_set(&a, true);
    irq_set(&b, false);
    irq_set(&b, false);
    assert_true(pic_pin(5));
    irq_set(&a, false);
    assert_false(pic_pin(5));
    irq_set(&b, true);
    irq_set(&a, false);
    assert_true(pic_pin(5));
}

// IOAPIC pin 2 has two traces: IRQ 0's, and one of its own that no PIC sees.
static void two_traces_at_pin_2(void **state)
{
    struct irq_line timer, alone;
    (void)state;

    timer = irq_router_isa(&router, ISA_IRQ_PIT);
    alone = irq_router_gsi(&router, GSI_PIT);
    irq_set(&alone, true);
    assert_int_equal(ioapic.lines, 1u << 2);
    assert_int_equal(pic_pins(), 0);
    irq_set(&timer, true);
    assert_int_equal(sent, 1);
    assert_true(pic_pin(0));
    irq_set(&alone, false);
    assert_int_equal(ioapic.lines, 1u << 2);
    irq_set(&timer, false);
    assert_int_equal(ioapic.lines, 0);
    assert_false(pic_pin(0));
    irq_set(&timer, true);
    irq_set(&alone, true);
    irq_set(&timer, false);
    assert_int_equal(ioapic.lines, 1u << 2);
    assert_false(pic_pin(0));
}

// A pulse is an edge, unless another source holds the line.
static void a_pulse_beside_another_source(void **state)
{
    struct irq_line timer, other;
    (void)state;

    timer = irq_router_isa(&router, ISA_IRQ_PIT);
    other = irq_router_isa(&router, ISA_IRQ_PIT);
    assert_true(irq_pulse(&timer));
    assert_int_equal(sent, 1);
    assert_true(irq_pulse(&timer)); // the IOAPIC's was taken
    assert_int_equal(sent, 2);
    vector_waits = true;
    assert_false(irq_pulse(&timer)); // both controllers have one that waits
    assert_int_equal(sent, 3);
    assert_int_equal(i8259_ack(&pic), 0x08);
    assert_true(irq_pulse(&timer));
    vector_waits = false;
    sent = 0;

    irq_set(&other, true);
    assert_false(irq_pulse(&timer));
    assert_int_equal(sent, 0);
    irq_set(&other, false);
    assert_true(pic_pin(0)); // the pulse has left it high
    assert_true(irq_pulse(&timer));
    assert_int_equal(sent, 1);
    assert_int_equal(sent_vector, 0x42);

    // Of a GSI of the IOAPIC's alone.
    struct irq_line gsi = irq_router_gsi(&router, 20);
    assert_true(irq_pulse(&gsi));
    vector_waits = true;
    assert_false(irq_pulse(&gsi));
    route(20, 0x10000);
    assert_true(irq_pulse(&gsi)); // masked: nobody waits for it
}

// Behind a cut the line is low, whatever comes; it is as high as its near end when it is mended.
static void a_gate(void **state)
{
    struct irq_gate gate;
    struct irq_line near, other;
    (void)state;

    near = irq_gate_init(&gate, irq_router_isa(&router, ISA_IRQ_RTC));
    other = irq_router_isa(&router, ISA_IRQ_RTC);
    irq_set(&near, true);
    assert_true(pic_pin(8));
    irq_gate_cut(&gate, true);
    assert_false(pic_pin(8));
    irq_set(&near, false);
    irq_set(&near, true);
    assert_true(irq_pulse(&near));
    assert_false(pic_pin(8));
    irq_set(&other, true); // who shares the line is not cut off
    assert_true(pic_pin(8));
    irq_set(&other, false);
    sent = 0;
    irq_gate_cut(&gate, false);
    assert_true(pic_pin(8));
    assert_int_equal(sent, 1);
    irq_gate_cut(&gate, true);
    irq_set(&near, false);
    irq_gate_cut(&gate, false);
    assert_false(pic_pin(8));
    vector_waits = true;
    assert_true(irq_pulse(&near)); // the PIC's was forgotten as the line fell
    assert_false(irq_pulse(&near));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_trace_ends_where_a_pc_has_it, setup),
        cmocka_unit_test_setup(high_while_any_source_is, setup),
        cmocka_unit_test_setup(a_source_is_not_counted_twice, setup),
        cmocka_unit_test_setup(two_traces_at_pin_2, setup),
        cmocka_unit_test_setup(a_pulse_beside_another_source, setup),
        cmocka_unit_test_setup(a_gate, setup),
    };

    return cmocka_run_group_tests_name("irq_router", tests, NULL, NULL);
}
