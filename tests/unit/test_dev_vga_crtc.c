// SPDX-License-Identifier: BSD-2-Clause
//
// The VGA's registers: what kernels that write to the text screen do with them.
// ("PS/2 Hardware Interface Technical Reference", Video Subsystem)
#include "tests/unit/board.h"

#include "vmm/dev/vga_crtc.h"

static struct fake_host host;
static struct vga_crtc vga;

enum {
    ATTRIBUTE = 0x3C0,
    ATTRIBUTE_READ = 0x3C1,
    MISC_WRITE = 0x3C2,
    SEQUENCER = 0x3C4,
    DAC_MASK = 0x3C6,
    DAC_READ = 0x3C7,
    DAC_WRITE = 0x3C8,
    DAC_DATA = 0x3C9,
    FEATURE = 0x3CA,
    MISC_READ = 0x3CC,
    GRAPHICS = 0x3CE,
    CRTC = 0x3D4,
    STATUS = 0x3DA,
};

static int setup(void **state)
{
    (void)state;
    fake_host_init(&host);
    vga_crtc_reset(&vga);
    return vga_crtc_register(&vga, &host.bus) ? 0 : -1;
}

static uint8_t get(uint16_t port, uint8_t index)
{
    out8(&host, port, index);
    return in8(&host, port + 1);
}

static void put(uint16_t port, uint8_t index, uint8_t value)
{
    out8(&host, port, index);
    out8(&host, port + 1, value);
}

static void mode_3_is_set(void **state)
{
    (void)state;
    assert_int_equal(in8(&host, MISC_READ), 0x67);       // colour: the ports are these
    assert_int_equal(get(CRTC, 0x01) + 1, 80);           // columns
    assert_int_equal((get(CRTC, 0x09) & 0x1F) + 1, 16);  // lines of a character
    assert_int_equal(get(CRTC, 0x12) | (get(CRTC, 0x07) & 0x02) << 7, 400 - 1);
    assert_int_equal(get(CRTC, 0x13) * 2, 80);           // a row to the next
    assert_int_equal(get(CRTC, 0x0A), 0x0D);
    assert_int_equal(get(CRTC, 0x0B), 0x0E);
    for (uint8_t i = 0x0C; i <= 0x0F; i++)
        assert_int_equal(get(CRTC, i), 0);               // start address and cursor
    assert_int_equal(get(GRAPHICS, 6) & 0x0D, 0x0C);     // text at 0xB8000
    assert_int_equal(get(SEQUENCER, 2), 0x03);
    assert_int_equal(in8(&host, 0x3C3), 1);
    assert_int_equal(in8(&host, MISC_WRITE) & 0x10, 0x10);
}

// As a word with the index below the data, and as two bytes; read back to where the cursor is.
static void cursor_and_start_are_kept(void **state)
{
    unsigned place = 12 * 80 + 34;

    (void)state;
    assert_int_equal(bus_port_write(&host.bus, CRTC, 2, (place >> 8) << 8 | 0x0E), BUS_OK);
    assert_int_equal(bus_port_write(&host.bus, CRTC, 2, (place & 0xFF) << 8 | 0x0F), BUS_OK);
    assert_int_equal(get(CRTC, 0x0E) << 8 | get(CRTC, 0x0F), place);
    put(CRTC, 0x0C, 0x07);
    put(CRTC, 0x0D, 0xD0);
    assert_int_equal(get(CRTC, 0x0C) << 8 | get(CRTC, 0x0D), 2000);
    put(CRTC, 0x0A, get(CRTC, 0x0A) | 0x20); // cursor off
    assert_int_equal(get(CRTC, 0x0A), 0x2D);
    assert_int_equal(in8(&host, CRTC), 0x0A);
    put(CRTC, 0x19, 0x55); // there is no such register
    assert_int_equal(get(CRTC, 0x19), 0);
    assert_int_equal(get(CRTC, 0xFF), 0);
    vga_crtc_reset(&vga);
    assert_int_equal(get(CRTC, 0x0F), 0);
}

static void protected_registers(void **state)
{
    (void)state;
    put(CRTC, 0x00, 0x11);
    assert_int_equal(get(CRTC, 0x00), 0x5F);
    put(CRTC, 0x07, 0x00);
    assert_int_equal(get(CRTC, 0x07), 0x0F); // bit 8 of the line compare is open
    put(CRTC, 0x11, 0x0E);
    put(CRTC, 0x00, 0x11);
    put(CRTC, 0x07, 0x00);
    assert_int_equal(get(CRTC, 0x00), 0x11);
    assert_int_equal(get(CRTC, 0x07), 0x00);
}

// Waits for the bit to be `level`, at most a few reads; `stride` of them in each turn of the loop.
static void wait_for(uint8_t bit, bool level, unsigned stride)
{
    for (unsigned turn = 0; turn < 6; turn++) {
        uint8_t status = 0;
        for (unsigned i = 0; i < stride; i++)
            status = in8(&host, STATUS);
        if (((status & bit) != 0) == level)
            return;
    }
    fail_msg("bit %u never becomes %d with %u reads a turn", bit, level, stride);
}

static void loops_that_wait_for_retrace_end(void **state)
{
    (void)state;
    for (unsigned stride = 1; stride <= 4; stride++) {
        for (unsigned again = 0; again < 10; again++) {
            wait_for(0x08, false, stride);
            wait_for(0x08, true, stride);
            wait_for(0x01, false, stride);
            wait_for(0x01, true, stride);
        }
    }
    // In the vertical retrace nothing is shown; and there is more than it that is not.
    bool horizontal = false;
    for (unsigned i = 0; i < 20; i++) {
        uint8_t status = in8(&host, STATUS);
        assert_int_equal(status & ~0x09, 0);
        assert_int_not_equal(status, 0x08);
        horizontal |= status == 0x01;
    }
    assert_true(horizontal);
}

// How a kernel stops text from blinking: bit 3 of the mode control.
static void attribute_controller_has_one_port_for_both(void **state)
{
    (void)state;
    in8(&host, STATUS);
    out8(&host, ATTRIBUTE, 0x30);
    uint8_t mode = in8(&host, ATTRIBUTE_READ);
    assert_int_equal(mode, 0x0C);
    out8(&host, ATTRIBUTE, mode & ~0x08);
    assert_int_equal(in8(&host, ATTRIBUTE), 0x30);
    assert_int_equal(in8(&host, ATTRIBUTE_READ), 0x04);
    // An index, and then the status: the next one is an index again.
    out8(&host, ATTRIBUTE, 0x25);
    in8(&host, STATUS);
    out8(&host, ATTRIBUTE, 0x26);
    assert_int_equal(in8(&host, ATTRIBUTE_READ), 0x14);
    out8(&host, ATTRIBUTE, 0x15); // data
    assert_int_equal(in8(&host, ATTRIBUTE_READ), 0x15);
    out8(&host, ATTRIBUTE, 0x3F); // an index without a register
    out8(&host, ATTRIBUTE, 0x77);
    assert_int_equal(in8(&host, ATTRIBUTE_READ), 0);
}

static void palette(void **state)
{
    static const uint8_t brown[3] = {42, 21, 0}, white[3] = {63, 63, 63};

    (void)state;
    assert_int_equal(in8(&host, DAC_MASK), 0xFF);
    out8(&host, DAC_READ, 0x14);
    assert_int_equal(in8(&host, DAC_READ), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(in8(&host, DAC_DATA), brown[i]);
    out8(&host, DAC_READ, 0x3F);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(in8(&host, DAC_DATA), white[i]);
    assert_int_equal(in8(&host, DAC_DATA), 0); // on to the next entry
    out8(&host, DAC_WRITE, 0xFF);
    assert_int_equal(in8(&host, DAC_READ), 0);
    for (unsigned i = 1; i <= 6; i++)
        out8(&host, DAC_DATA, (uint8_t)(0x40 + i)); // six bits each; and round to entry 0
    assert_int_equal(in8(&host, DAC_WRITE), 1);
    out8(&host, DAC_READ, 0xFF);
    for (unsigned i = 1; i <= 6; i++)
        assert_int_equal(in8(&host, DAC_DATA), i);
    out8(&host, DAC_MASK, 0x0F);
    assert_int_equal(in8(&host, DAC_MASK), 0x0F);
}

static void the_rest_is_kept(void **state)
{
    (void)state;
    out8(&host, MISC_WRITE, 0x63);
    assert_int_equal(in8(&host, MISC_READ), 0x63);
    out8(&host, STATUS, 0x02);
    assert_int_equal(in8(&host, FEATURE), 0x02);
    put(SEQUENCER, 1, 0x21);
    assert_int_equal(get(SEQUENCER, 1), 0x21);
    assert_int_equal(in8(&host, SEQUENCER), 1);
    put(SEQUENCER, 5, 0x55);
    assert_int_equal(get(SEQUENCER, 5), 0);
    put(GRAPHICS, 8, 0x5A);
    assert_int_equal(get(GRAPHICS, 8), 0x5A);
    assert_int_equal(in8(&host, GRAPHICS), 8);
    put(GRAPHICS, 9, 0x55);
    assert_int_equal(get(GRAPHICS, 9), 0);
    // Neither register nor ports of another mode.
    out8(&host, 0x3C3, 0);
    assert_int_equal(in8(&host, 0x3C3), 1);
    assert_int_equal(in8(&host, 0x3CB), 0xFF);
    assert_int_equal(bus_port_read(&host.bus, 0x3B4, 2), 0xFFFF);
    assert_int_equal(in8(&host, 0x3BA), 0xFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(mode_3_is_set, setup),
        cmocka_unit_test_setup(cursor_and_start_are_kept, setup),
        cmocka_unit_test_setup(protected_registers, setup),
        cmocka_unit_test_setup(loops_that_wait_for_retrace_end, setup),
        cmocka_unit_test_setup(attribute_controller_has_one_port_for_both, setup),
        cmocka_unit_test_setup(palette, setup),
        cmocka_unit_test_setup(the_rest_is_kept, setup),
    };

    return cmocka_run_group_tests_name("vga_crtc", tests, NULL, NULL);
}
