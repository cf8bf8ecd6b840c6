# SPDX-License-Identifier: BSD-2-Clause
"""How the machine ends where no emulator's exit port is used: power-off and reset by ACPI, as on
real hardware. In QEMU, whose SVM is switched off, it is what comes when the kernel cannot run."""

import pytest

from machine import POWERED_OFF, SETTLED

QEMU = pytest.mark.only("qemu", "Bochs has one board, and its kernel always starts")
CONF = "[vm one]\nimage = hello\nmemory = 8M\n"
KEY = "\x1d"
# PIIX4's FADT is of the first edition and has no reset register; OVMF puts PM1 elsewhere.
MACHINES = [(board, uefi) for board in ("pc", "q35") for uefi in (False, True)]
NAMES = [f"{board}-{'uefi' if uefi else 'bios'}" for board, uefi in MACHINES]


def stopped(boot, options, board="q35", uefi=False):
    """A machine that says what it lacks; -> it, right behind that."""
    machine = boot(CONF, options=("without=exit-port", *options), emulator="qemu", model="max,-svm",
                   board=board, uefi=uefi, cores=2, memory=512)
    machine.expect("^Bulkhead cannot run here; the machine stops", 120)
    return machine


@QEMU
@pytest.mark.parametrize("board, uefi", MACHINES, ids=NAMES)
def test_off(boot, board, uefi):
    machine = stopped(boot, ["panic=off"], board, uefi)
    assert machine.wait(60) == 0 and machine.ending == POWERED_OFF, machine.ending
    assert "all is stopped" not in machine.text, machine.text


# By the chipset's register, and by the FADT's.
@pytest.mark.parametrize("board, uefi", (("pc", False), ("q35", True)), ids=("pc-bios", "q35-uefi"))
@QEMU
def test_reset(boot, board, uefi):
    machine = stopped(boot, ["panic=reset"], board, uefi)
    assert machine.wait(60) == 2 and machine.ending == "the machine was reset", machine.ending
    assert "all is stopped" not in machine.text, machine.text


@QEMU
def test_stays(boot):
    """So that its text can be read."""
    machine = stopped(boot, [])
    machine.expect("^bulkhead: all is stopped; the machine can be switched off", 60)
    machine.read(3 * SETTLED)
    assert machine.running, machine.ending


def test_last_vm(boot):
    """When the last VM has ended, the machine is off."""
    machine = boot(CONF + "cmdline = count=1\n", options=["without=exit-port"], cores=2)
    machine.expect(r"^bulkhead\| VM 'one' powered off", 60)
    assert machine.wait(60) == 0 and machine.ending == POWERED_OFF, machine.ending


def test_monitor(boot, kind):
    """The monitor resets the machine, with the exit port, too; which ends QEMU. (Bochs with one
    core, and no further than the kernel's own report: see docs/testing.md, "Emulators".)"""
    machine = boot(CONF, cores=1 if kind.on_bochs else 2)
    machine.expect(r"^one\| hello: up 1\.", 60)
    machine.send(KEY + "m")
    machine.expect(r"^bulkhead> $", 30)
    machine.send("reset\r")
    machine.expect(r"^the machine is reset by the monitor$", 30)
    if not kind.on_bochs:
        assert machine.wait(60) == 2 and machine.ending == "the machine was reset", machine.ending
        return
    machine.expect(r"^Bulkhead$", 60)
    machine.expect(r"^boot: 1 cores, ", 60)
    assert "all is stopped" not in machine.text, machine.text
