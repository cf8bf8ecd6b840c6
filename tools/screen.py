# SPDX-License-Identifier: BSD-2-Clause
"""What an emulated machine shows on its screen: the picture, and the text in it.

The text is read by the font that Bulkhead draws with, which is also the one of VGA's text mode.
"""

import os
import re
import socket
import struct
import time

import font
from machine import Expired
from qemu import MONITOR

BOCHS_BAR = 32       # rows of buttons above the picture
VGA_TEXT = (720, 400) # a VGA shows each character nine pixels wide


class Picture:
    """width x height pixels; `lit` has a byte for each, 0 where it is black."""

    def __init__(self, width, height, lit):
        self.width, self.height, self.lit = width, height, lit

    def _cell(self, x, y):
        """What the font has for a character whose upper left corner is here."""
        rows = []
        for row in range(y, y + font.HEIGHT):
            start = row * self.width + x
            rows.append(sum(0x80 >> i for i, lit in enumerate(self.lit[start:start + font.WIDTH])
                            if lit))
        return bytes(rows)

    def lines(self):
        """The text, a string for each row without the blanks at its end; '\\ufffd' for what is no
        character."""
        known = {}
        for code, glyph in enumerate(font.glyphs()):
            known.setdefault(glyph, bytes([code]).decode("cp437") if code >= 32 else "\ufffd")
        known[bytes(font.HEIGHT)] = " "
        step = 9 if (self.width, self.height) == VGA_TEXT else font.WIDTH
        return ["".join(known.get(self._cell(x, y), "\ufffd")
                        for x in range(0, self.width - font.WIDTH + 1, step)).rstrip()
                for y in range(0, self.height - font.HEIGHT + 1, font.HEIGHT)]


def read_ppm(data):
    """A picture out of a portable pixmap of 8 bits a colour."""
    header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
    width, height = int(header.group(1)), int(header.group(2))
    colours = data[header.end():header.end() + 3 * width * height]
    lit = bytes(a | b | c for a, b, c in zip(colours[0::3], colours[1::3], colours[2::3]))
    return Picture(width, height, lit)


def qemu_monitor(directory, command):
    """Has QEMU's monitor do something, and waits until it has."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(30)
        monitor.connect(os.path.relpath(os.path.join(directory, MONITOR)))
        for text in (None, command):
            if text:
                monitor.sendall(text.encode() + b"\n")
            said = b""
            while not said.endswith(b"(qemu) "):
                said += monitor.recv(4096)


def _qemu_picture(directory):
    """What QEMU's display shows now."""
    qemu_monitor(directory, "screendump screen.ppm")
    with open(os.path.join(directory, "screen.ppm"), "rb") as file:
        return read_ppm(file.read())


def _receive(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("the display went away")
        data += part
    return data


def _bochs_picture(directory, log):
    """What Bochs' display shows now of VGA's text mode, by the Remote Framebuffer protocol (RFC
    6143)."""
    with open(os.path.join(directory, log), encoding="latin-1") as file:
        said = re.search(r"listening for connections on port (\d+)", file.read())
    if said is None:
        raise ConnectionError("Bochs has no display yet")
    with socket.create_connection(("127.0.0.1", int(said.group(1))), timeout=30) as display:
        _receive(display, 12)                   # its version
        display.sendall(b"RFB 003.003\n")
        if struct.unpack(">I", _receive(display, 4))[0] != 1:
            raise ConnectionError("Bochs' display asks for a password")
        display.sendall(b"\1")                  # others may look too
        width, height = struct.unpack(">HH", _receive(display, 4))
        pixel_bytes = _receive(display, 16)[0] // 8
        _receive(display, struct.unpack(">I", _receive(display, 4))[0])
        display.sendall(struct.pack(">BBHI", 2, 0, 1, 0))                      # raw pixels
        display.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))     # all of them
        lit, seen = bytearray(width * height), 0
        deadline = time.monotonic() + 30
        while seen < width * height and time.monotonic() < deadline:
            kind, _, rectangles = struct.unpack(">BBH", _receive(display, 4))
            if kind != 0:
                raise ConnectionError(f"Bochs' display sent message {kind}")
            for _ in range(rectangles):
                x, y, wide, high, _ = struct.unpack(">HHHHI", _receive(display, 12))
                data = _receive(display, wide * high * pixel_bytes)
                for row in range(high):
                    line = data[row * wide * pixel_bytes:(row + 1) * wide * pixel_bytes]
                    start = (y + row) * width + x
                    lit[start:start + wide] = bytes(
                        any(line[i:i + pixel_bytes]) for i in range(0, len(line), pixel_bytes))
                seen += wide * high
    start = BOCHS_BAR * width
    return Picture(*VGA_TEXT, bytes(lit[start:start + VGA_TEXT[0] * VGA_TEXT[1]]))


def picture(machine):
    """What is on the screen of a running machine."""
    if machine.emulator == "qemu":
        return _qemu_picture(machine.directory)
    return _bochs_picture(machine.directory, machine.log)


def save(machine, name):
    """Has QEMU write what is on its screen to a PNG file."""
    qemu_monitor(machine.directory, f"screendump {os.path.abspath(name)} -f png")


def expect(machine, pattern, timeout):
    """Waits until a row of the screen matches the regular expression; returns all rows."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            rows = picture(machine).lines()
        except OSError:  # it is not there yet
            rows = []
        if any(re.search(pattern, row) for row in rows):
            return rows
        if time.monotonic() > deadline or not machine.running:
            machine.keep = True
            raise Expired(f"no '{pattern}' on the screen within {timeout} s; it shows:\n"
                          + "\n".join(rows))
        machine.read(0.5)
