# SPDX-License-Identifier: BSD-2-Clause
"""The machine's screen, read as a person would: by the shapes on it. And serial ports other than
COM1."""

import os

import pytest

import screen
from machine import ROOT

HELLO = "[vm one]\nimage = hello\nmemory = 8M\n"
# One that ends, and one that halts for good: then nothing more is said.
QUIET = ("[vm one]\nimage = hello\ncmdline = count=2\nmemory = 8M\n"
         "[vm two]\nimage = test-hog\ncmdline = mode=hlt\nmemory = 8M\n")
LAST = "^bulkhead. no VM can go on: each that is left has halted for good"


@pytest.mark.only("qemu", "what Bochs' CPUs can, no setting takes from them")
@pytest.mark.parametrize("firmware,columns", (("bios", 80), ("bios-pixels", 128), ("uefi", 160)))
def test_lacks_vmx(boot, monkeypatch, firmware, columns):
    """What the kernel says when it stops, in VGA's text mode and in pixels. QEMU without KVM has no
    VMX, and SVM is switched off."""
    if firmware == "bios-pixels":
        monkeypatch.setenv("BULKHEAD_GRUB_LINES", "insmod vbe\nset screen=1024x768x32")
    machine = boot(HELLO, emulator="qemu", model="max,-svm", uefi=firmware == "uefi", cores=2,
                   memory=512, screen=True)
    rows = screen.expect(machine, "^bulkhead: all is stopped; the machine can be switched off", 120)
    start = next(i for i, row in enumerate(rows) if row.startswith("boot: this CPU lacks"))
    machine.expect("^bulkhead: all is stopped", 5)
    lines = machine.lines
    said = [line for line in lines[lines.index("Bulkhead") + 1:] if line]
    assert len(said) >= 3
    # Line for line as on the serial line, one that is too long in two rows.
    shown = "".join(row.ljust(columns) for row in rows[start:])
    for line in said:
        assert line in shown, (line, rows)
    assert machine.running


def in_rows(lines):
    """Lines as a terminal of 80 columns shows them."""
    return [line[at:at + 80].rstrip() for line in lines for at in range(0, max(len(line), 1), 80)]


def test_merged_view(boot):
    """All that the serial line has, from the kernel's first line on, also while one VM alone has
    the serial line."""
    machine = boot(QUIET, cores=1, memory=128, screen=True, paced=True)
    machine.expect(r"^one\| hello: up 1\.", 120)
    machine.send("\x1d2")
    rows = screen.expect(machine, LAST, 120)
    assert rows[0] == "Bulkhead", rows
    lines = machine.lines
    boot_report = in_rows(lines[:next(i for i, line in enumerate(lines) if "VM 'one'" in line)])
    assert rows[:len(boot_report)] == boot_report
    assert "two| [vmm] the guest has halted with interrupts off: it will never go on" in rows
    assert "bulkhead| VM 'one' powered off" in rows
    assert "powered off" not in machine.text
    machine.send("\x1da")
    machine.expect(r"^\[all VMs; keys go to two\]", 60)
    assert screen.picture(machine).lines() == rows


@pytest.mark.only("qemu", "Bochs shows its pixels to nobody else")
def test_picture(boot):
    """The demo by UEFI, whose picture docs/screen.png is: build/screen.png is the one of this
    run."""
    with open(os.path.join(ROOT, "config", "demo.conf"), encoding="utf-8") as file:
        demo = file.read()
    machine = boot(demo, emulator="qemu", uefi=True, cores=2, memory=1024, screen=True)
    rows = screen.expect(machine, "^linux. / #$", 300)
    assert len(rows) == 50 and all(len(row) <= 160 for row in rows)
    screen.save(machine, os.path.join(ROOT, "build", "screen.png"))


def test_without_serial_port(boot):
    """There is none, and the config does not say so; or it says so."""
    for console in ("com1", "none"):
        machine = boot(QUIET + f"[system]\nconsole = {console}\n", cores=1, memory=128,
                       screen=True, com=4 if console == "com1" else 1)
        rows = screen.expect(machine, LAST, 120)
        assert rows[0] == "Bulkhead", rows
        assert "one| hello: up 2.000 s, malloc ok, pi=3.14159" in rows
        machine.read(1)
        if console == "com1":
            assert machine.text == ""
        else:
            assert machine.text.startswith("Bulkhead\nboot: 1 cores") and "|" not in machine.text


@pytest.mark.parametrize("com,name", ((2, "com2"), (3, "0x3e8"), (4, "com4,57600")))
def test_other_port(boot, com, name):
    """The console and its keys on another port, which gets the kernel's log so far from it."""
    machine = boot(QUIET + f"[system]\nconsole = {name}\n", cores=1, memory=128, com=com)
    machine.expect(r"^bulkhead\| kernel: boot: 1 cores, ", 120)
    machine.expect(LAST, 60)
    machine.send("\x1dm")
    machine.expect("^bulkhead> ", 60)
    machine.send("vm kill two\r")
    assert machine.wait(60) == 1


@pytest.mark.only("qemu", "Bochs has no 16550 on PCI")
def test_pci_port(boot):
    machine = boot(QUIET + "[system]\nconsole = pci,57600\n", cores=1, memory=256, screen=True,
                   com="pci")
    screen.expect(machine, LAST, 300)
    machine.expect(r"^bulkhead\| console: the 16550 at PCI 00:\w\w\.\d, I/O port 0x\w+, polled", 30)
    machine.expect(r"^bulkhead\| kernel: boot: 1 cores, ", 30)
    machine.expect(LAST, 30)
    machine.send("\x1dm")
    machine.expect("^bulkhead> ", 60)


def test_no_pci_port(boot):
    """No 16550 is on PCI: that is said where it can be."""
    machine = boot(QUIET + "[system]\nconsole = pci\n", cores=1, memory=128, screen=True)
    rows = screen.expect(machine, LAST, 120)
    assert "bulkhead| console: there is no 16550 on PCI (class 07-00-02): no serial port" in rows
