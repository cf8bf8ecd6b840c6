# SPDX-License-Identifier: BSD-2-Clause
"""Machines of 128 MB to 2 GB with 1 to 15 cores: all of it is found and can be used. One VM runs on
the last core, and has nearly all memory."""

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


@pytest.mark.parametrize("memory,cores", SIZES + [
    pytest.param(*size, marks=pytest.mark.long) for size in LONG_SIZES])
def test_size(boot, memory, cores):
    # The rest is for the kernel, the programs, the other VM, and what each VM costs.
    share = memory - 32 - memory // 128
    config = CONFIG.format(beats=BEATS, memory=share, core=cores - 1)
    machine = boot(config, memory=memory, cores=cores)
    assert machine.wait(900) == 0, machine.ending
    text = machine.text
    report = re.search(r"^boot: (\d+) cores?, (\d+) MB free", text, re.MULTILINE)
    assert report, text
    assert int(report.group(1)) == cores, text
    assert memory - 8 <= int(report.group(2)) <= memory, text
    assert "less than such a machine" not in text, text
    assert f"bulkhead| VM 'last' started: core {cores - 1}, {share} MB\n" in text, text
    assert f"last| [vmm] hello: multiboot 1, {share} MB of memory\n" in text, text
    for name in ("first", "last"):
        beats = re.findall(rf"^{name}\| hello: up (\d+\.\d+) s, malloc ok", text, re.MULTILINE)
        assert [round(float(beat), 1) for beat in beats] == [1.0, 2.0], text
    audit = re.search(r"isolation audit: (\d+) frames, no frame reachable from two VMs", text)
    assert audit and int(audit.group(1)) > share * 256, text
