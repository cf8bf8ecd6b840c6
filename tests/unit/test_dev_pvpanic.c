// SPDX-License-Identifier: BSD-2-Clause
//
// The port by which a guest says that it has panicked, as QEMU's document has it.
#include "tests/unit/board.h"

#include "vmm/dev/pvpanic.h"

static enum power_event events[4];
static unsigned count;

static void note(void *ctx, enum power_event event)
{
    (void)ctx;
    assert_in_range(count, 0, 3);
    events[count++] = event;
}

static void test_events(void **state)
{
    static const struct { uint32_t value; unsigned size; int event; } writes[] = {
        { 0x00, 1, -1 },          { 0x01, 1, POWER_PANIC }, { 0x02, 1, POWER_CRASH },
        { 0x03, 1, POWER_PANIC }, { 0xFC, 1, -1 },          { 0xFF, 1, POWER_PANIC },
        { 0xFE, 1, POWER_CRASH }, { 0x0100, 2, -1 },        { 0xFF01, 2, POWER_PANIC },
    };
    static const struct power_ops ops = { .request = note };
    struct fake_host host;
    struct pvpanic panic;
    (void)state;

    fake_host_init(&host);
    pvpanic_init(&panic, (struct power_sink){ .ops = &ops });
    assert_true(pvpanic_register(&panic, &host.bus));
    assert_int_equal(in8(&host, 0x505), 0x03);
    assert_int_equal(bus_port_read(&host.bus, 0x504, 4), 0xFFFF03FF);
    for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        count = 0;
        bus_port_write(&host.bus, 0x505, writes[i].size, writes[i].value);
        assert_int_equal(count, writes[i].event >= 0);
        if (count != 0)
            assert_int_equal((int)events[0], writes[i].event);
    }
    assert_int_equal(in8(&host, 0x505), 0x03);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_events) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
