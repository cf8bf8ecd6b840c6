# SPDX-License-Identifier: BSD-2-Clause
"""Memory in many pieces: VMs get what is free, wherever it lies."""

import re

from stamps import MERGED, MONITOR

MB = 1 << 20


def cut(monkeypatch, pairs):
    """From now on, the loader of what is booted takes pages out of the firmware's memory map: those
    whose addresses have the bits of the first number of a pair where the second has ones. (One
    command for all; with one for each the loader needs a minute.)"""
    words = ",".join(f"{number:#x}" for pair in pairs for number in pair)
    monkeypatch.setenv("BULKHEAD_GRUB_LINES", f"insmod mmap\nbadram {words}")


def sentry(name, memory, core):
    return (f"[vm {name}]\nimage = sentry\nmemory = {memory}M\ncores = {core}\n"
            f"cmdline = key={core + 1} passes=1\n")


def free_kb(machine):
    return int(machine.expect(r"^(\d+) KB of \d+ KB free, ", 60).group(1))


def test_pieces(boot, monkeypatch):
    """Some 180 ranges, of which only the lowest has more than 4 MB: two VMs have 80 MB each, which
    they fill and find whole; when one is gone, its memory is free again."""
    fours = 0x003ff000 # a page of each 4 MB; from 64 MB to 128 MB of each 512 KB
    cut(monkeypatch, [(32 * MB, 0xfe000000 | fours), (64 * MB, 0xfc07f000),
                      (128 * MB, 0xf8000000 | fours), (256 * MB, 0xf8000000 | fours)])
    machine = boot(sentry("one", 80, 0) + sentry("two", 80, 1), memory=288, cores=2)
    report = machine.expect(r"^boot: 2 cores, (\d+) MB free", 120)
    assert 272 <= int(report.group(1)) <= 284
    assert "too many pieces" not in machine.text
    machine.expect_all([r"isolation audit: (\d{5}) frames, no frame reachable from two VMs"] +
                       [rf"^{name}\| beat 2, 2 passes of 1\d{{7}} words" for name in
                        ("one", "two")], 300)
    pieces = re.findall(r"^(?:one|two)\| \[vmm\] sentry: multiboot 1, 80 MB of memory in (\d+) "
                        r"pieces$", machine.text, re.MULTILINE)
    assert len(pieces) == 2 and all(10 <= int(count) <= 70 for count in pieces), machine.text
    machine.send(MONITOR + "memory\r")
    before = free_kb(machine)
    machine.send("vm kill one\r")
    machine.expect(r"^\d+ MB of \d+ MB free$", 60)
    machine.send("memory\r")
    assert free_kb(machine) >= before + 80 * 1024
    machine.send(MERGED)
    machine.expect(r"^two\| beat 4, ", 60)
    assert not re.search(r"^(one|two)\| FAIL", machine.text, re.MULTILINE), machine.text
