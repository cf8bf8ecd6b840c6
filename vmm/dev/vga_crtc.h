// SPDX-License-Identifier: BSD-2-Clause
//
// The registers of a VGA in colour text mode 3, as its BIOS leaves them, without a picture: what is
// written can be read back, above all the cursor's place and the start address, and input status 1
// shows a beam. The text itself is plain RAM at 0xB8000; no register changes what is read there.
//
// Follows the IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", sections "General
// Registers", "Sequencer Registers", "CRT Controller Registers", "Graphics Controller Registers",
// "Attribute Controller Registers" and "Video Digital-to-Analog Converter". The ports of the
// monochrome mode (0x3B4, 0x3B5, 0x3BA) are nobody's, whatever bit 0 of Miscellaneous Output says.
//
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"

enum {
    VGA_SEQUENCER_REGISTERS = 5,
    VGA_GRAPHICS_REGISTERS = 9,
    VGA_CRTC_REGISTERS = 25,
    VGA_ATTRIBUTE_REGISTERS = 21,
    VGA_CRTC_BASE = 0x3D4, // as the BIOS data area tells it
};

struct vga_crtc {
    uint8_t misc;    // Miscellaneous Output
    uint8_t feature; // Feature Control
    uint8_t sequencer_index, sequencer[VGA_SEQUENCER_REGISTERS];
    uint8_t graphics_index, graphics[VGA_GRAPHICS_REGISTERS];
    uint8_t crtc_index, crtc[VGA_CRTC_REGISTERS];
    uint8_t attribute_index, attribute[VGA_ATTRIBUTE_REGISTERS];
    bool attribute_data; // the next write to 0x3C0 is data, not the index
    uint8_t beam;        // where the reads of input status 1 are in its cycle
    uint8_t dac_mask, dac_index;
    uint8_t dac_colour; // of the entry: 0 red, 1 green, 2 blue
    bool dac_reading;   // 0x3C7 was written last, not 0x3C8
    uint8_t dac[256][3];
};

// Mode 3: 80 by 25 characters of 16 lines, the cursor at 0, page 0.
void vga_crtc_reset(struct vga_crtc *vga);

// Claims 0x3C0-3CF, 0x3D4-3D5 and 0x3DA.
bool vga_crtc_register(struct vga_crtc *vga, struct bus *bus);
