# SPDX-License-Identifier: BSD-2-Clause
"""Ring 3 that enters the kernel in every way that it should not: the kernel goes on, and so does
whoever did nothing but that; a fault ends that process only."""

import os
import re

import pytest

from conftest import ROOT

# How each VM's process enters, and the exception that ends it, if one does.
WAYS = {"df": None, "nt": None, "ac": None, "tf": None, "rip": 14, "rsp": 14, "syscall": 6,
        "int1": 1, "sysenter": None, "gate": None, "sleep": None}
# QEMU's CPUs are AMD's, as far as their emulation goes, and have SYSENTER in 32-bit mode only.
# QEMU 7.2's have no INT1 either.
AMD = dict(WAYS, sysenter=6, int1="[16]")


def run_ways(boot, monkeypatch, ways, cores, **arguments):
    monkeypatch.setenv("BULKHEAD_VMM", os.path.join(ROOT, "build", "boot", "hostile"))
    text = "".join(f"[vm {name}]\nimage = hello\nmemory = 4M\ncores = {i % cores}\n"
                   for i, name in enumerate(ways))
    machine = boot(text, cores=cores, **arguments)
    assert machine.wait(240) == 1, machine.text
    for name, exception in ways.items():
        end = (f"killed: its VMM caused exception {exception} at rip .*" if exception else
               "powered off")
        assert re.search(rf"^bulkhead\| VM '{name}' {end}", machine.text, re.M), machine.text
    return machine.text


@pytest.mark.only("bochs", "on AMD's kind of CPU this is boot.ring3.amd")
@pytest.mark.parametrize("options", ([], ["without=sysenter"]), ids=("sysenter", "gate"))
def test_hostile_entries(boot, monkeypatch, options):
    run_ways(boot, monkeypatch, WAYS, 2, memory=256, options=options)


# Cores, memory in MB, UEFI, board
MACHINES = [(1, 128, False, "pc"), (2, 256, True, "q35"), (4, 4096, False, "q35")]
LONG_MACHINES = [(16, 1024, True, "q35"), (64, 1024, False, "q35")]


@pytest.mark.only("qemu", "on Intel's kind of CPU this is boot.ring3.hostile_entries")
@pytest.mark.parametrize("cores,memory,uefi,board", MACHINES + [
    pytest.param(*machine, marks=pytest.mark.long) for machine in LONG_MACHINES])
def test_amd(boot, monkeypatch, cores, memory, uefi, board):
    """The same on CPUs without x2APIC, TSC deadlines, PCIDs and SYSENTER; on each core, as far as
    there are ways, and no core is left out."""
    text = run_ways(boot, monkeypatch, AMD, cores, emulator="qemu", model="max", memory=memory,
                    uefi=uefi, board=board)
    assert re.search(rf"^boot: {cores} cores?, \d+ MB free", text, re.MULTILINE), text
    assert "isolation audit: " in text and "is not used" not in text, text
