# SPDX-License-Identifier: BSD-2-Clause
"""Which emulator `run` takes when nobody says which. No emulator runs here: stand-ins take part in
the race."""

import json
import os

import pytest

import emulator
from machine import EMULATORS, Machine, MachineError
from test_tools import STAND_IN, program

SHELL = b"linux| / # "
SLOW = "time.sleep(60)"
QUICK = "time.sleep(1)\nline.sendall(" + repr(SHELL) + ")\ntime.sleep(60)"
GONE = "sys.exit(1)"


@pytest.fixture(name="race")
def race_fixture(tmp_path, monkeypatch):
    """race(bochs, qemu) -> what is taken, and how often it was said that there is a race, with
    stand-ins that do that."""
    monkeypatch.setattr(emulator, "REMEMBERED", str(tmp_path / "emulator"))
    monkeypatch.setattr(emulator.qemu, "nested_vmx", lambda: False)
    path = os.environ["PATH"]
    monkeypatch.delenv("BULKHEAD_BOCHS", raising=False)

    def call(bochs, qemu):
        for name, ends in (("bochs", bochs), ("qemu-system-x86_64", qemu)):
            text = STAND_IN.format(says=b"Bulkhead\r\n", ends=ends, options="")
            if not (tmp_path / "bin" / name).exists() or \
                    (tmp_path / "bin" / name).read_text() != text:
                program(tmp_path / "bin", name, text)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{path}")
        said = []
        taken, why = emulator.choose(Machine("some.iso"), said.append)
        return taken, why, len(said)
    return call


@pytest.mark.parametrize("winner", EMULATORS)
@pytest.mark.parametrize("loser", (SLOW, GONE), ids=("slow", "gone"))
def test_race(race, winner, loser):
    taken, why, raced = race(*(QUICK if name == winner else loser for name in EMULATORS))
    assert (taken, raced) == (winner, 1)
    other = next(name for name in EMULATORS if name != winner)
    assert why.startswith("the first to have Linux at its shell here, in "), why
    assert why.endswith(f"; --on {other} takes the other"), why


@pytest.mark.parametrize("begins", ("x86", " "), ids=("7.2", "10.0"))
def test_models_of_qemu(tmp_path, monkeypatch, begins):
    """Whose list has another form in each Debian release."""
    said = (f"Available CPUs:\n{begins} 486-v1       \n{begins} max   Enables all features\n"
            "\nRecognized CPUID flags:\n  3dnow 3dnowext\n")
    environment = program(tmp_path / "bin", "qemu-system-x86_64", f"#!/bin/sh\necho '{said}'\n")
    monkeypatch.setenv("PATH", environment["PATH"])
    # pylint: disable-next=protected-access
    assert emulator.qemu._models.__wrapped__() == {"486-v1", "max"}


def test_remembered(race, tmp_path):
    """There is one race, until an emulator is another one or nothing is remembered any more."""
    assert race(SLOW, QUICK)[::2] == ("qemu", 1)
    assert race(SLOW, QUICK)[::2] == ("qemu", 0)
    assert race(QUICK, SLOW)[::2] == ("bochs", 1)
    assert race(QUICK, SLOW)[::2] == ("bochs", 0)
    known = json.loads((tmp_path / "emulator").read_text())
    for nonsense in ("", "[]", "{}", json.dumps(dict(known, taken="vmware"))):
        (tmp_path / "emulator").write_text(nonsense)
        assert race(QUICK, SLOW)[::2] == ("bochs", 1)


def test_both_lose(race):
    taken, why, _ = race(GONE, GONE)
    assert taken == "bochs" and why.startswith("neither had Linux at its shell here"), why


@pytest.mark.parametrize("wish, taken, says", (
    ({"uefi": True}, "qemu", "Bochs' firmware is a BIOS"), ({"usb": True}, "qemu", "from USB"),
    ({"cores": 16}, "qemu", "1 to 15 cores"), ({"memory": 4096}, "qemu", "2048 MB"),
    ({"board": "pc"}, "qemu", "one board"), ({"model": "EPYC"}, "qemu", "no CPU model EPYC"),
    ({"model": "haswell"}, "bochs", "no CPU model haswell"),
    ({"ips": 20_000_000}, "bochs", "instructions per second"),
    ({"memory": 32}, "bochs", "64 to 16384 MB")), ids=str)
def test_only_one_can(wish, taken, says):
    """There is no race, and who cannot is said."""
    def never(_text):
        raise AssertionError("a race")
    name, why = emulator.choose(Machine("some.iso", **wish), never)
    assert name == taken and says in why, why


def test_none_can():
    with pytest.raises(MachineError, match="BIOS.*instructions per second"):
        emulator.choose(Machine("some.iso", uefi=True, ips=20_000_000), print)
