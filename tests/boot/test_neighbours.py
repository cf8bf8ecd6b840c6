# SPDX-License-Identifier: BSD-2-Clause
"""Whatever a guest does, the one beside it goes on, and nothing that either prints is lost."""

import re

import pytest

from conftest import some
from stamps import MONITOR, interrupts_off

HOGS = ("cli-spin", "cpuid", "out", "mmio", "hlt")
BEATS = 3
GOOD = f"[vm good]\nimage = hello\nmemory = 8M\ncores = 0\ncmdline = count={BEATS}\n"
SHARED = GOOD + "share = 50%\n"
WAYS = ("cf9", "cf9-word", "kbc", "port92", "output-port", "init", "jump")
RESETS = {"triple": "mode=triple"} | {way: f"mode=reset how={way}" for way in WAYS}
FLOOD_LINES = {"bochs": 1500, "qemu": 4000}  # seconds of them: QEMU's UART takes no time
FLOOD = "of a line that is long enough to fill a buffer soon"


def hog(mode):
    return f"[vm hog]\nimage = test-hog\nmemory = 8M\ncores = 0\ncmdline = mode={mode}\n"


def good_beats(machine):
    """The uptimes that the good guest has printed, by its own clock."""
    return [float(beat) for beat in
            re.findall(r"^good\| hello: up (\d+\.\d+) s, malloc ok, pi=3\.14159$", machine.text,
                       re.MULTILINE)]


def check_beats(machine):
    beats = good_beats(machine)
    assert len(beats) == BEATS, machine.text
    for second, beat in enumerate(beats, 1):
        assert abs(beat - second) < 0.01, beats


@pytest.mark.parametrize("mode", some(HOGS, ("cli-spin", "out", "hlt")))
def test_hog(boot, mode):
    """On one core with a bad neighbour, the good guest with a budget keeps its heartbeat."""
    machine = boot(hog(mode) + SHARED, memory=256, cores=1)
    machine.expect(r"^bulkhead\| VM 'good' powered off$", 180)
    check_beats(machine)
    assert re.search(rf"^hog\| hog {mode}$", machine.text, re.MULTILINE), machine.text
    assert "killed" not in machine.text, machine.text


def test_flood(boot, kind):
    """A guest prints far more than the buffers hold: all of it arrives, in order and whole, and
    its neighbour's lines stand between."""
    count = FLOOD_LINES[kind.emulator]
    machine = boot(hog(f"flood count={count}") + SHARED, memory=256, cores=1)
    assert machine.wait(180) == 0, machine.ending
    numbers = []
    for line in machine.lines:
        match = re.fullmatch(rf"hog\| flood (\d+) {FLOOD}", line)
        if match:
            numbers.append(int(match.group(1)))
        else:
            assert "flood " not in line and "long enough" not in line, f"torn: {line}"
    assert numbers == list(range(1, count + 1))
    check_beats(machine)
    # The neighbour was heard during the flood, not after it, and the end comes last.
    flood_end = machine.text.index(f"hog| flood {count} ")
    assert machine.text.index("good| hello: up 2.0") < flood_end
    assert machine.text.index("bulkhead| VM 'hog' powered off") > flood_end


def test_killed(boot):
    """The guest is killed with a record of why, its memory comes back, the neighbour goes on, and
    the status of the run says so."""
    config = hog("").replace("test-hog", "test-isolation").replace("mode=", "end=idt")
    machine = boot(config + SHARED, memory=256, cores=1)
    assert machine.wait(120) == 1, machine.ending
    text = machine.text
    assert re.search(r"^hog\| \[vmm\] killed: the CPU itself accesses ", text, re.MULTILINE), text
    assert re.search(r"^hog\| \[vmm\] r15=[0-9a-f]{16} rip=[0-9a-f]{16} ", text, re.MULTILINE), text
    killed = re.search(r"^bulkhead\| VM 'hog' killed: .*\nbulkhead\| (\d+) MB of (\d+) MB free$",
                       text, re.MULTILINE)
    assert killed, text
    assert text.index("good| hello: up 3.0") > killed.end()
    check_beats(machine)


def test_guest_reset(boot):
    """Whichever way a guest resets itself, it ends, and that is no failure."""
    config = "".join(f"[vm {way}]\nimage = test-hog\nmemory = 4M\ncmdline = {cmdline}\n"
                     for way, cmdline in RESETS.items())
    machine = boot(config + SHARED, memory=256, cores=1)
    assert machine.wait(180) == 0, machine.ending
    for way in RESETS:
        assert re.search(rf"^bulkhead\| VM '{way}' asked for a reboot", machine.text,
                         re.MULTILINE), way
    assert "still here" not in machine.text, machine.text
    assert re.search(r"^triple\| \[vmm\] triple fault: this is a reset$", machine.text,
                     re.MULTILINE), machine.text
    assert re.search(r"^triple\| \[vmm\] r15=[0-9a-f]{16} rip=", machine.text, re.MULTILINE)
    check_beats(machine)


@pytest.mark.only("bochs", "QEMU's cores take turns, and the TSC runs on meanwhile")
def test_interrupts_are_let_in(boot):
    """VMs of all sorts start on two cores, are moved about, audited and killed, a large one among
    them: no core goes on for long without taking interrupts."""
    machine = boot(SHARED + hog("cli-spin") + "[vm out]\nimage = test-hog\nmemory = 8M\n"
                   "cores = 0 1\ncmdline = mode=out\n[vm flood]\nimage = test-hog\nmemory = 8M\n"
                   "cores = 1\ncmdline = mode=flood count=300\n"
                   "[vm big]\nimage = hello\nmemory = 150M\ncores = 0 1\n", memory=256, cores=2)
    machine.expect(r"^bulkhead\| isolation audit: \d+ frames, no frame", 120)
    machine.send(MONITOR)
    machine.expect(r"^bulkhead> $", 60)
    for command in ("vm move out 0", "audit", "vm move big 0", "vm move out 1", "vm kill hog",
                    "vm kill big", "audit"):
        machine.send(command + "\r")
    machine.expect(r"VM 'big' killed by the monitor", 120)
    machine.expect(r"isolation audit: \d+ frames, no frame", 120)
    interrupts_off(machine)
