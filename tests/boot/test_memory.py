# SPDX-License-Identifier: BSD-2-Clause
"""Memory in many pieces, and memory to the last page: VMs get what is free, wherever it lies, and
the checker knows how much that is."""

import os
import re
import subprocess

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
    for _ in range(2):
        machine.expect(r"^two\| beat \d+, ", 60)
    assert not re.search(r"^(one|two)\| FAIL", machine.text, re.MULTILINE), machine.text


def vm(name, kb):
    return f"[vm {name}]\nimage = hello\ncmdline = count=2\nmemory = {kb}K\n"


def check(directory, text, memory, cores):
    """What the host's checker says of a config for such a machine; its status, its words."""
    build = os.path.join(os.path.dirname(__file__), "..", "..", "build")
    config = directory / "check" / "test.conf"
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)
    result = subprocess.run(
        [os.path.join(build, "host", "bulkhead-check"), "--path", os.path.join(build, "images"),
         "--memory", str(memory), "--cores", str(cores), str(config)],
        check=False, capture_output=True, text=True, timeout=30)
    return result.returncode, (result.stdout + result.stderr).replace(f"{config.parent}/", "")


def largest(directory, memory, cores):
    """KB that a VM can have there, says the checker."""
    good, bad = 4096, memory << 10
    while bad - good > 4:
        middle = (good + bad) // 8 * 4
        if check(directory, vm("max", middle), memory, cores)[0] == 0:
            good = middle
        else:
            bad = middle
    return good


def test_last_page(boot, tmp_path):
    """A VM with all memory that the checker lets it have, to the page, starts and runs; with a page
    more it is refused, and so is another one, by the same words here and there."""
    kb = largest(tmp_path, 256, 2)
    text = vm("over", kb + 4) + vm("max", kb) + vm("more", 4096)
    status, said = check(tmp_path, text, 256, 2)
    assert status == 1 and len(said.splitlines()) == 2, said
    machine = boot(text, memory=256, cores=2)
    assert machine.wait(180) == 0, machine.ending
    for line in said.splitlines():
        assert re.match(r"test\.conf:\d+:\d+: memory = \S+ is more than is left: ", line), said
        assert f"bulkhead| {line}\n" in machine.text, f"{said}\n{machine.text}"
    started = re.findall(r"^bulkhead\| VM '(\S+)' started", machine.text, re.MULTILINE)
    assert started == ["max"], machine.text
    assert "max| hello: up 2.0" in machine.text, machine.text
    assert "less than such a machine" not in machine.text, machine.text
