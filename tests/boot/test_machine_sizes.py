# SPDX-License-Identifier: BSD-2-Clause
"""Machines of 128 MB to 2 GB with 1 to 15 cores, and of 4 to 16 GB with up to 64 in QEMU: all of it
is found and can be used. One VM runs on the last core, and has nearly all memory."""

import re

import pytest

BEATS = 2
CONFIG = """
[vm first]
image   = hello
cmdline = count={beats}
memory  = 8M
cores   = 0

[vm last]
image   = hello
cmdline = count={beats}
memory  = {memory}M
cores   = {core}
"""
SIZES = [(128, 1), (512, 3)]
LONG_SIZES = [(128, 15), (256, 6), (1024, 4), (2048, 1), (2048, 15)]
LARGE = [(4096, 16)]  # in QEMU only
LONG_LARGE = [(128, 64), (1024, 2), (1024, 4), (1024, 64), (16384, 1), (16384, 64)]


def long(sizes):
    return [pytest.param(*size, marks=pytest.mark.long) for size in sizes]


@pytest.mark.parametrize("memory,cores", SIZES + long(LONG_SIZES))
def test_size(boot, memory, cores):
    check_size(boot, memory, cores)


@pytest.mark.only("qemu", "Bochs has at most 15 cores and 2 GB")
@pytest.mark.parametrize("memory,cores", LARGE + long(LONG_LARGE))
def test_large(boot, memory, cores):
    """A core of QEMU's that arms its timer loses its turn there and then, with interrupts off, and
    one that zeroes gigabytes keeps it until that timer is due: beats come late by that. At this
    many instructions a second the memory is zeroed before the first beat."""
    check_size(boot, memory, cores, icount=0)


def check_size(boot, memory, cores, **clock):
    # The rest is for the kernel, the programs, the other VM, and what each VM costs.
    share = memory - 32 - memory // 128
    config = CONFIG.format(beats=BEATS, memory=share, core=cores - 1)
    machine = boot(config, memory=memory, cores=cores, **clock)
    assert machine.wait(900) == 0, machine.ending
    text = machine.text
    report = re.search(r"^boot: (\d+) cores?, (\d+) MB free", text, re.MULTILINE)
    assert report, text
    assert int(report.group(1)) == cores, text
    # 8 MB, a word or two for each page, a little for each core.
    assert memory - 8 - memory // 200 - cores // 8 <= int(report.group(2)) <= memory, text
    assert "less than such a machine" not in text, text
    assert f"bulkhead| VM 'last' started: core {cores - 1}, {share} MB\n" in text, text
    assert re.search(rf"^last\| \[vmm\] hello: multiboot 1, {share} MB of memory( in 2 pieces)?$",
                     text, re.MULTILINE), text
    for name in ("first", "last"):
        beats = re.findall(rf"^{name}\| hello: up (\d+\.\d+) s, malloc ok", text, re.MULTILINE)
        assert [round(float(beat), 1) for beat in beats] == [1.0, 2.0], text
    audit = re.search(r"isolation audit: (\d+) frames, no frame reachable from two VMs", text)
    assert audit and int(audit.group(1)) > share * 256, text
    free, of = re.findall(r"^bulkhead\| (\d+) MB of (\d+) MB free$", text, re.MULTILINE)[-1]
    assert int(of) - 8 <= int(free), text
