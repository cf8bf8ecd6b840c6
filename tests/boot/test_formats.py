# SPDX-License-Identifier: BSD-2-Clause
"""Image formats: one guest in each of them, side by side, which prints what the loader has told it;
and hostile images, each of which ends its own VM with a message while a good one goes on."""

import os
import re
import struct

import pytest

MODULES = {"one": b"first module\n", "two": bytes(range(256)) * 300 + b"end"}
MEMORY = 16  # MB of each
HIGH_KB = (MEMORY - 1) << 10
# VM: its image, further lines of its section, the protocol that its guest finds, and of each
# module: its file, and its text in that protocol. Multiboot 1 has names in front of texts.
FORMATS = {
    "mb1": ("test-boot", "module = one a  b\nmodule = two\n", "multiboot 1",
            [("one", "one a  b"), ("two", "two")]),
    "mb1rd": ("test-boot", "initrd = two\nmodule = one x=1\n", "multiboot 1",
              [("two", "initrd"), ("one", "one x=1")]),
    "mb2": ("test-boot-mb2", "module = one a  b\nmodule = two\n", "multiboot 2",
            [("one", "a  b"), ("two", "")]),
    "pvh": ("test-boot-pvh", "initrd = two\nmodule = one \"a  b\"\n", "PVH",
            [("two", ""), ("one", "\"a  b\"")]),
    "flat": ("test-boot-flat", "load = 0x100000\n", "multiboot 1", []),
}


def fnv(data):
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def section(name, image, more):
    return f"[vm {name}]\nimage = {image}\nmemory = {MEMORY}M\ncmdline = hi there\n{more}\n"


@pytest.mark.parametrize("cores", (1, 2))
def test_all(boot, cores):
    config = "".join(section(vm, image, more) for vm, (image, more, _, _) in FORMATS.items())
    machine = boot(config, files=MODULES, cores=cores, memory=256)
    assert machine.wait(180) == 0, machine.ending
    for vm, (image, _, protocol, modules) in FORMATS.items():
        said = re.findall(rf"^{vm}\| (.*)$", machine.text, re.MULTILINE)
        kind = {"PVH": "PVH ELF"}.get(protocol, protocol) if vm != "flat" else "flat binary"
        name = f"{image} " if protocol == "multiboot 1" else ""
        loader = {"PVH": "", "multiboot 2": "GRUB 2 (Bulkhead)"}.get(protocol, "Bulkhead")
        expected = [
            f"[vmm] {image}: {kind}, {MEMORY} MB of memory",
            f"protocol: {protocol}, loader '{loader}'",
            f"command line: '{name}hi there'",
            f"memory: {HIGH_KB} KB from 1 MB, {HIGH_KB + 639} KB in the map",
            f"PIC masks: {'ffff' if protocol == 'PVH' else 'fff8'}",
        ]
        expected += [f"module {i}: {len(MODULES[file])} bytes, hash {fnv(MODULES[file]):08x}, "
                     f"text '{text}'" for i, (file, text) in enumerate(modules)]
        expected += ["PASS modules begin on pages",
                     "PASS modules lie apart, behind the image and in RAM", "PASS the bss is zero"]
        expected += ["PASS the RSDP is one"] * (protocol != "multiboot 1")
        expected += [f"done {3 + (protocol != 'multiboot 1')} passed, 0 failed, 0 skipped",
                     "[vmm] the guest powered itself off"]
        assert said == expected, "\n".join(said)
    audit = re.search(r"isolation audit: (\d+) frames, no frame reachable from two VMs",
                      machine.text)
    assert audit, machine.text


def saying(text):
    """Code for both modes: prints a line on the debug port, then powers off."""
    code = b"".join(b"\xb0" + bytes([byte]) + b"\xe6\xe9" for byte in text.encode() + b"\n")
    return code + bytes.fromhex("66ba0406 66b80020 66ef f4 ebfd")


def test_linux_entries(boot):
    """The 64-bit entry of a bzImage, which lies 512 bytes behind the 32-bit one."""
    linux = bytearray(1024 + 512)
    linux[0x1F1] = 1
    struct.pack_into("<H", linux, 0x1FE, 0xAA55)
    linux[0x200:0x206] = b"\xeb\x66HdrS"
    struct.pack_into("<H", linux, 0x206, 0x20F)
    linux[0x211] = 1
    struct.pack_into("<H", linux, 0x236, 1)
    struct.pack_into("<Q", linux, 0x258, 0x200000)
    linux[1024:] = saying("by 32").ljust(512, b"\xf4") + saying("by 64")
    machine = boot(section("lin64", "linux", "") + section("lin32", "linux", "entry = 32\n"),
                   files={"linux": bytes(linux)}, cores=1, memory=256)
    assert machine.wait(120) == 0, machine.ending
    for bits in (32, 64):
        assert re.findall(rf"^lin{bits}\| (.*)$", machine.text, re.MULTILINE) == [
            f"[vmm] linux: Linux, {bits}-bit entry, {MEMORY} MB of memory", f"by {bits}",
            "[vmm] the guest powered itself off"], machine.text


def image_of(config_dir, name):
    path = os.path.join(os.path.dirname(config_dir), "build", "images", name)
    with open(path, "rb") as file:
        return bytearray(file.read())


def hostile(config_dir):
    """Images that the config checker lets pass: of each, its file, and what its VMM says."""
    mb1 = image_of(config_dir, "test-boot")
    phoff = struct.unpack_from("<I", mb1, 28)[0]
    struct.pack_into("<I", mb1, phoff + 12, 0x9F000)  # the first segment, over the boot area
    mb2 = image_of(config_dir, "test-boot-mb2")
    header = mb2.index(struct.pack("<I", 0xE85250D6))
    struct.pack_into("<I", mb2, header + 16 + 4, 0xFFFFFFF8)
    pvh = image_of(config_dir, "test-boot-pvh")
    note = pvh.index(struct.pack("<II", 4, 18) + b"Xen\0") + 12
    struct.pack_into("<I", pvh, note, 0xFFFFFFF0)
    linux = bytearray(4096)
    linux[0x1F1] = 255
    struct.pack_into("<H", linux, 0x1FE, 0xAA55)
    linux[0x201] = 0xFF
    linux[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", linux, 0x206, 0x20F)
    linux[0x211] = 1
    return {
        "evil-mb1": (mb1, r"ELF segment at offset 4096: \d+ bytes at address 0x9f000 do not fit "
                          r"into the VM's memory; give it more, or link it elsewhere"),
        "evil-mb2": (mb2, rf"the multiboot 2 tag at offset {header + 16} has 4294967288 bytes, and "
                          r"the header ends at offset \d+"),
        "evil-pvh": (pvh, rf"the PVH entry point 0xfffffff0 \(note at offset {note}\) lies in no "
                          "segment below 4 GB"),
        "evil-linux": (linux, r"255 setup sectors \(offset 0x1F1\) fill the whole file"),
        "evil-flat": (bytearray(b"\xf4" * 5000), "flat binary at offset 0: 5000 bytes at address "
                                                 "0xfff000 do not fit into the VM's memory; .*"),
    }


def test_hostile(boot, config_dir):
    images = hostile(config_dir)
    config = section("good", "hello", "share = 50%\n").replace("hi there", "count=4")
    for name in images:
        config += section(f"x{name}", name, "load = 0xfff000\n" if "flat" in name else "")
    machine = boot(config, files={name: bytes(data) for name, (data, _) in images.items()},
                   cores=1, memory=256)
    # Status 1: VMs could not be set up.
    assert machine.wait(180) == 1, machine.ending
    text = machine.text
    for name, (_, message) in images.items():
        said = re.findall(rf"^x{name}\| (.*)$", text, re.MULTILINE)
        assert len(said) == 1 and re.fullmatch(rf"\[vmm\] {name}: {message}", said[0]), said
        assert f"VM 'x{name}' could not be set up: the reason is on its console" in text, text
    beats = re.findall(r"^good\| hello: up (\d\.\d+) s, malloc ok, pi=3\.14159$", text,
                       re.MULTILINE)
    assert len(beats) == 4 and all(abs(float(beat) - second) < 0.01
                                   for second, beat in enumerate(beats, 1)), beats
    # It went on after them.
    assert text.index("hello: up 4.") > max(text.index(f"VM 'x{name}' could") for name in images)
    assert "VM 'good' powered off" in text, text
