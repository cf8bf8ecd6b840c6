# SPDX-License-Identifier: BSD-2-Clause
"""The console's keys and views, and the monitor, as somebody at the serial line uses them."""

import re

import pytest

CONFIG = """
[vm one]
image   = hello
cmdline = name=first
memory  = 8M

[vm two]
image   = hello
cmdline = name=second
memory  = 8M
share   = 30%
"""
KEY = "\x1d"  # Ctrl-]


@pytest.fixture(scope="module")
def machine(boot_module):
    """Two hellos on one core, at the pace of a person, for all tests of this file, which run in
    their order."""
    started = boot_module(CONFIG, memory=256, cores=1, paced=True)
    started.expect_all((r"^one\| first: up 1\.", r"^two\| second: up 1\."), 120)
    return started


def monitor(machine, command):
    """Types a command at the monitor's prompt; returns what it says."""
    start = len(machine.text)
    machine.send(command + "\r")
    machine.expect(rf"{re.escape(command)}$", 30)  # behind the prompt that was there
    machine.expect(r"^bulkhead> $", 30)
    return machine.text[start:]


def test_help(machine):
    machine.send(KEY + "?")
    machine.expect(r"^\[Ctrl-\] 1\.\.9 or name Enter: one VM alone   a: all VMs   m: monitor$", 30)
    machine.expect(r"^\[VMs: 1=one 2=two\]$", 30)


def test_focus_by_number(machine):
    """One VM alone, without prefixes, with its last lines shown again."""
    machine.send(KEY + "2")
    machine.expect(r"^\[two; Ctrl-\] a: all VMs, Ctrl-\] \?: help\]$", 30)
    machine.expect(r"^second: up 1\.", 30)
    start = len(machine.text)
    machine.expect(r"^second: up ", 30)
    machine.expect(r"^second: up ", 30)
    assert "first: " not in machine.text[start:] and "|" not in machine.text[start:]


def test_focus_by_name(machine):
    machine.send(KEY + "one\r")
    machine.expect(r"^\[one; ", 30)
    machine.expect(r"^first: up ", 30)
    machine.send(KEY + "=three\r")  # for names that begin with a command
    machine.expect(r"^\[no VM is called 'three'\]$", 30)
    machine.send(KEY + "7")
    machine.expect(r"^\[there is no VM 7\]$", 30)


def test_merged_again(machine):
    machine.send(KEY + "a")
    machine.expect(r"^\[all VMs; keys go to one\]$", 30)
    machine.expect_all((r"^one\| first: up ", r"^two\| second: up "), 30)


def test_times(machine):
    machine.send(KEY + "t")
    stamps = [float(machine.expect(r"^ *(\d+\.\d{6}) one\| first: up ", 30).group(1))
              for _ in range(3)]
    assert abs(stamps[2] - stamps[0] - 2) < 0.02, stamps
    machine.send(KEY + "t")
    machine.expect(r"^one\| first: up ", 30)


def test_monitor(machine):
    machine.send(KEY + "m")
    machine.expect(r"^\[monitor; ", 30)
    machine.expect(r"^bulkhead> $", 30)  # it asks without being asked
    said = monitor(machine, "help")
    for command in ("vm list", "vm stop NAME", "vm kill NAME", "stats", "sample NAME MS COUNT",
                    "audit", "memory", "log", "power-off", "reset"):
        assert re.search(rf"^{command} +\S", said, re.MULTILINE), said
    said = monitor(machine, "vm list")
    assert re.search(r"^one +running +0 +- +8 MB +\d+\.\d{3} s +\d+\.\d$", said, re.MULTILINE), said
    assert re.search(r"^two +running +0 +30% +8 MB ", said, re.MULTILINE), said
    said = monitor(machine, "stats two")
    assert re.search(r"^two: core 0, ran \d+ ms, halted \d+ ms, \d+ exits", said, re.MULTILINE)
    assert re.search(r"^  cpuid +\d+$", said, re.MULTILINE) and "one:" not in said, said
    assert re.search(r"^isolation audit: \d+ frames, no frame reachable", monitor(machine, "audit"),
                     re.MULTILINE)
    assert "kernel: boot: 1 core" in monitor(machine, "log")


def test_monitor_mistakes(machine):
    assert "unknown command 'frobnicate': help lists them" in monitor(machine, "frobnicate")
    assert "no VM is called 'nobody'" in monitor(machine, "vm kill nobody")
    assert "the name of a VM is missing" in monitor(machine, "vm stop")
    assert "'memory' takes no argument" in monitor(machine, "memory now")
    monitor(machine, "")
    machine.send("stat\x7f\x7f\x15audit\r")
    machine.expect(r"^isolation audit: ", 30)
    machine.expect(r"^bulkhead> $", 30)


def test_restart(machine):
    """Another process has the port: the VMs' beats go on, keys arrive, and each page of the old one
    is back."""
    free = [re.search(r"^(\d+) KB of", monitor(machine, "memory"), re.MULTILINE)]
    for _ in range(3):
        machine.send("console restart\r")
        machine.expect(r"^bulkhead\| the console was started again: what it remembered is ", 30)
        machine.expect_all((r"^one\| first: up \d+\.000 s, malloc ok",
                            r"^two\| second: up \d+\.000 s, malloc ok"), 60)
        machine.send(KEY + "m")
        machine.expect(r"bulkhead> $", 30)
        free.append(re.search(r"^(\d+) KB of", monitor(machine, "memory"), re.MULTILINE))
    assert len({match[1] for match in free}) == 1, free


def test_monitor_kills_and_powers_off(machine):
    def free():
        return int(re.search(r"^(\d+) MB of \d+ MB free", monitor(machine, "memory"),
                             re.MULTILINE).group(1))
    before = free()
    assert "VM 'two' killed by the monitor" in monitor(machine, "vm kill two")
    assert free() >= before + 8
    assert re.search(r"^two +killed ", monitor(machine, "vm list"), re.MULTILINE)
    assert "VM 'two' does not run" in monitor(machine, "vm kill two")
    machine.send(KEY + "a")
    start = len(machine.text)
    machine.expect(r"^one\| first: up ", 30)
    machine.expect(r"^one\| first: up ", 30)
    assert "second" not in machine.text[start:]
    machine.send(KEY + "m")
    # What is shown again ends with a prompt, which is then cleared away and drawn anew.
    machine.expect(r"bulkhead> $", 30)
    machine.send("power-off\r")
    machine.expect(r"^the machine is powered off by the monitor$", 30)
    assert machine.wait(30) == 1  # one VM was killed
