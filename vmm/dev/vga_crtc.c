// SPDX-License-Identifier: BSD-2-Clause
//
// A VGA's registers. Owned by the VMM's only thread; no lock.
#include "vmm/dev/vga_crtc.h"

enum {
    PORT_BASE = 0x3C0, // the offsets are from here
    PORT_STATUS_1 = 0x3DA,

    OFFSET_ATTRIBUTE = 0x0,
    OFFSET_ATTRIBUTE_READ = 0x1,
    OFFSET_MISC_WRITE = 0x2, // read: input status 0
    OFFSET_ENABLE = 0x3,
    OFFSET_SEQUENCER = 0x4,
    OFFSET_SEQUENCER_DATA = 0x5,
    OFFSET_DAC_MASK = 0x6,
    OFFSET_DAC_READ = 0x7, // read: the DAC's state
    OFFSET_DAC_WRITE = 0x8,
    OFFSET_DAC_DATA = 0x9,
    OFFSET_FEATURE_READ = 0xA,
    OFFSET_MISC_READ = 0xC,
    OFFSET_GRAPHICS = 0xE,
    OFFSET_GRAPHICS_DATA = 0xF,
};

enum {
    STATUS_0_SENSE = 0x10, // a colour monitor
    STATUS_1_BLANK = 0x01, // neither border nor text: horizontal or vertical retrace
    STATUS_1_VERTICAL = 0x08,

    ATTRIBUTE_INDEX = 0x1F,
    ATTRIBUTE_INDEX_WRITABLE = 0x3F, // with the palette address source

    DAC_READS = 0x03,
    DAC_BITS = 0x3F,

    CRTC_OVERFLOW = 0x07,
    CRTC_OVERFLOW_OPEN = 0x10, // bit 8 of the line compare is never protected
    CRTC_VERTICAL_END = 0x11,
    CRTC_PROTECT = 0x80, // registers 0 to 7
};

// One read after the other: a guest that waits for an edge of either bit sees it after a few reads,
// however long its exits take. The length is a prime, so that it may also read several times in a
// loop and look at one of them.
static const uint8_t beam[5] = {
    0, STATUS_1_BLANK, 0, STATUS_1_BLANK, STATUS_1_BLANK | STATUS_1_VERTICAL,
};

static uint8_t indexed_read(const uint8_t *reg, unsigned count, uint8_t index)
{
    return index < count ? reg[index] : 0;
}

static void indexed_write(uint8_t *reg, unsigned count, uint8_t index, uint8_t value)
{
    if (index < count)
        reg[index] = value;
}

static uint8_t dac_read(struct vga_crtc *vga)
{
    uint8_t value = vga->dac[vga->dac_index][vga->dac_colour];

    vga->dac_colour = (vga->dac_colour + 1) % 3;
    vga->dac_index += vga->dac_colour == 0;
    return value;
}

static void dac_write(struct vga_crtc *vga, uint8_t value)
{
    vga->dac[vga->dac_index][vga->dac_colour] = value & DAC_BITS;
    vga->dac_colour = (vga->dac_colour + 1) % 3;
    vga->dac_index += vga->dac_colour == 0;
}

static void dac_start(struct vga_crtc *vga, uint8_t index, bool reading)
{
    vga->dac_index = index;
    vga->dac_colour = 0;
    vga->dac_reading = reading;
}

static uint64_t vga_read(void *dev, uint64_t offset, unsigned size)
{
    struct vga_crtc *vga = dev;

    (void)size;
    switch (offset) {
    case OFFSET_ATTRIBUTE:
        return vga->attribute_index;
    case OFFSET_ATTRIBUTE_READ:
        return indexed_read(vga->attribute, VGA_ATTRIBUTE_REGISTERS,
                            vga->attribute_index & ATTRIBUTE_INDEX);
    case OFFSET_MISC_WRITE:
        return STATUS_0_SENSE;
    case OFFSET_ENABLE:
        return 1;
    case OFFSET_SEQUENCER:
        return vga->sequencer_index;
    case OFFSET_SEQUENCER_DATA:
        return indexed_read(vga->sequencer, VGA_SEQUENCER_REGISTERS, vga->sequencer_index);
    case OFFSET_DAC_MASK:
        return vga->dac_mask;
    case OFFSET_DAC_READ:
        return vga->dac_reading ? DAC_READS : 0;
    case OFFSET_DAC_WRITE:
        return vga->dac_index;
    case OFFSET_DAC_DATA:
        return dac_read(vga);
    case OFFSET_FEATURE_READ:
        return vga->feature;
    case OFFSET_MISC_READ:
        return vga->misc;
    case OFFSET_GRAPHICS:
        return vga->graphics_index;
    case OFFSET_GRAPHICS_DATA:
        return indexed_read(vga->graphics, VGA_GRAPHICS_REGISTERS, vga->graphics_index);
    default:
        return UINT64_MAX;
    }
}

static void attribute_write(struct vga_crtc *vga, uint8_t value)
{
    if (vga->attribute_data)
        indexed_write(vga->attribute, VGA_ATTRIBUTE_REGISTERS,
                      vga->attribute_index & ATTRIBUTE_INDEX, value);
    else
        vga->attribute_index = value & ATTRIBUTE_INDEX_WRITABLE;
    vga->attribute_data = !vga->attribute_data;
}

static enum bus_result vga_write(void *dev, uint64_t offset, unsigned size, uint64_t data)
{
    struct vga_crtc *vga = dev;
    uint8_t value = (uint8_t)data;

    (void)size;
    switch (offset) {
    case OFFSET_ATTRIBUTE:
        attribute_write(vga, value);
        break;
    case OFFSET_MISC_WRITE:
        vga->misc = value;
        break;
    case OFFSET_SEQUENCER:
        vga->sequencer_index = value;
        break;
    case OFFSET_SEQUENCER_DATA:
        indexed_write(vga->sequencer, VGA_SEQUENCER_REGISTERS, vga->sequencer_index, value);
        break;
    case OFFSET_DAC_MASK:
        vga->dac_mask = value;
        break;
    case OFFSET_DAC_READ:
        dac_start(vga, value, true);
        break;
    case OFFSET_DAC_WRITE:
        dac_start(vga, value, false);
        break;
    case OFFSET_DAC_DATA:
        dac_write(vga, value);
        break;
    case OFFSET_GRAPHICS:
        vga->graphics_index = value;
        break;
    case OFFSET_GRAPHICS_DATA:
        indexed_write(vga->graphics, VGA_GRAPHICS_REGISTERS, vga->graphics_index, value);
        break;
    default:
        break; // read-only, or not there
    }
    return BUS_OK;
}

static uint64_t crtc_read(void *dev, uint64_t offset, unsigned size)
{
    const struct vga_crtc *vga = dev;

    (void)size;
    if (offset == 0)
        return vga->crtc_index;
    return indexed_read(vga->crtc, VGA_CRTC_REGISTERS, vga->crtc_index);
}

static enum bus_result crtc_write(void *dev, uint64_t offset, unsigned size, uint64_t data)
{
    struct vga_crtc *vga = dev;
    uint8_t value = (uint8_t)data;

    (void)size;
    if (offset == 0) {
        vga->crtc_index = value;
        return BUS_OK;
    }
    if (vga->crtc_index <= CRTC_OVERFLOW && (vga->crtc[CRTC_VERTICAL_END] & CRTC_PROTECT) != 0) {
        if (vga->crtc_index == CRTC_OVERFLOW)
            vga->crtc[CRTC_OVERFLOW] = (uint8_t)((vga->crtc[CRTC_OVERFLOW] & ~CRTC_OVERFLOW_OPEN) |
                                                 (value & CRTC_OVERFLOW_OPEN));
        return BUS_OK;
    }
    indexed_write(vga->crtc, VGA_CRTC_REGISTERS, vga->crtc_index, value);
    return BUS_OK;
}

static uint64_t status_read(void *dev, uint64_t offset, unsigned size)
{
    struct vga_crtc *vga = dev;

    (void)offset;
    (void)size;
    vga->attribute_data = false;
    vga->beam = (vga->beam + 1) % sizeof(beam);
    return beam[vga->beam];
}

// Feature Control is at the status register's port.
static enum bus_result status_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct vga_crtc *vga = dev;

    (void)offset;
    (void)size;
    vga->feature = (uint8_t)value;
    return BUS_OK;
}

static const struct device_ops vga_ops = {
    .name = "VGA registers",
    .max_size = 1,
    .read = vga_read,
    .write = vga_write,
};

static const struct device_ops crtc_ops = {
    .name = "VGA CRT controller",
    .max_size = 1,
    .read = crtc_read,
    .write = crtc_write,
};

static const struct device_ops status_ops = {
    .name = "VGA input status 1",
    .max_size = 1,
    .read = status_read,
    .write = status_write,
};

// What a BIOS programs for mode 3 with 400 lines. The cursor has lines 13 and 14 of a character.
static const struct vga_crtc bios_state = {
    .misc = 0x67,
    .sequencer = {0x03, 0x00, 0x03, 0x00, 0x02},
    .graphics = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0E, 0x00, 0xFF},
    .crtc = {0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0x00,
             0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF},
    .attribute = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3A,
                  0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x0C, 0x00, 0x0F, 0x08, 0x00},
    .attribute_index = 0x20, // the screen is on
    .dac_mask = 0xFF,
};

void vga_crtc_reset(struct vga_crtc *vga)
{
    *vga = bios_state;
    // The 64 colours of an EGA: bits 2 to 0 are two thirds of red, green and blue, bits 5 to 3 one.
    for (unsigned i = 0; i < 64; i++) {
        for (unsigned colour = 0; colour < 3; colour++)
            vga->dac[i][colour] =
                (uint8_t)((i >> (2 - colour) & 1) * 42 + (i >> (5 - colour) & 1) * 21);
    }
}

bool vga_crtc_register(struct vga_crtc *vga, struct bus *bus)
{
    return bus_add_ports(bus, &vga_ops, vga, PORT_BASE, 16) &&
           bus_add_ports(bus, &crtc_ops, vga, VGA_CRTC_BASE, 2) &&
           bus_add_ports(bus, &status_ops, vga, PORT_STATUS_1, 1);
}
