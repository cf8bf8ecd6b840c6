#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""font.py HEADER: writes the 256 characters of code page 437, 8 x 16 pixels each, as a C table.

They are the ones that VGA's text mode has, out of Debian's VGA BIOS (package vgabios, or the one of
QEMU's in package seabios, which has the same), in whose source they are marked as public domain: so
the screen looks the same in text and in pixels.
"""

import os
import sys

ROMS = ("/usr/share/vgabios/vgabios.bin", "/usr/share/seabios/vgabios-stdvga.bin")
WIDTH, HEIGHT, CHARACTERS = 8, 16, 256
# An empty character, then the white smiling face: with these the table begins.
START = bytes(HEIGHT) + bytes.fromhex("00007e81a58181bd9981817e00000000")


def glyphs():
    """The bytes of each character, a row a byte, the leftmost pixel in bit 7."""
    rom = next((name for name in ROMS if os.path.exists(name)), None)
    if rom is None:
        sys.exit(f"font.py: there is neither {' nor '.join(ROMS)}: run ./bulkhead setup")
    with open(rom, "rb") as file:
        data = file.read()
    start = data.find(START)
    table = data[start:start + CHARACTERS * HEIGHT]
    if start < 0 or len(table) < CHARACTERS * HEIGHT or any(table[HEIGHT * ord(" "):][:HEIGHT]):
        sys.exit(f"font.py: there is no 8 x 16 font in {rom}: is its package complete?")
    return [table[at:at + HEIGHT] for at in range(0, len(table), HEIGHT)]


def main():
    header, = sys.argv[1:]
    lines = ["// Made by tools/font.py.", "#pragma once", "#include <stdint.h>",
             f"#define FONT_WIDTH  {WIDTH}u", f"#define FONT_HEIGHT {HEIGHT}u",
             f"static const uint8_t font[{CHARACTERS}][{HEIGHT}] = {{"]
    for glyph in glyphs():
        lines.append("    {" + ", ".join(f"{row:#04x}" for row in glyph) + "},")
    with open(header, "w", encoding="ascii") as file:
        file.write("\n".join([*lines, "};", ""]))


if __name__ == "__main__":
    main()
