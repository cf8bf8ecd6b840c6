# SPDX-License-Identifier: BSD-2-Clause
"""Stock Linux whose processes keep their vector registers full, by whatever CPUID shows it for
saving them, on each CPU model."""

import re

import pytest

BYTES = {"skylake_x": 2048}  # of the registers; elsewhere 512
PROCESSES = 6
CONFIG = """
[vm linux]
image   = vmlinuz
initrd  = vectors-initrd.img
cmdline = console=ttyS0 quiet loglevel=4 rounds={rounds}
memory  = 96M

[vm sentry]
image   = sentry
cmdline = key=5
memory  = 4M
"""


def run_linux(boot, kind, rounds):
    machine = boot(CONFIG.format(rounds=rounds), cores=1, memory=256)
    found = machine.expect(r"^linux\| vectors: registers of (\d+) bytes, rounds (\d+), "
                           r"wrong (\d+), processes failed (\d+)$", 180 + rounds)
    assert [int(number) for number in found.groups()] == [BYTES.get(kind.model, 512),
                                                          PROCESSES * rounds, 0, 0]
    machine.expect(r"^bulkhead\| VM 'linux' powered off$", 60)
    assert "xsave" not in machine.text, machine.text  # Linux has found nothing at odds
    assert not re.search(r"^sentry\| .*(?:changed|FAIL)", machine.text, re.MULTILINE), machine.text


@pytest.mark.models(long=("haswell", "ivy_bridge", "EPYC"))
def test_registers_kept(boot, kind):
    run_linux(boot, kind, 20)


@pytest.mark.long
@pytest.mark.models
def test_registers_kept_long(boot, kind):
    run_linux(boot, kind, 1000)
