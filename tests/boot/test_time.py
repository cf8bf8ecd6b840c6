# SPDX-License-Identifier: BSD-2-Clause
"""The host's time, judged from outside the guests: by the kernel's report, and by the stamps that
the console puts on lines. (Linux' clocks are in test_linux.py, with its boot.)"""

import pytest
import qemu
from stamps import TIMES, check_heartbeats

ONE = "[vm one]\nimage = hello\nmemory = 8M\n"
FREQUENCIES = (20_000_000, 50_000_000, 77_000_000)
BEATS = 4
NEIGHBOURS = """
[vm good]
image   = hello
memory  = 8M
cores   = 0

[vm bench]
image   = bench
memory  = 16M
cores   = 0
cmdline = rounds=1000000

[vm spin]
image   = test-hog
memory  = 8M
cores   = 0
cmdline = mode=spin

[vm cli]
image   = test-hog
memory  = 8M
cores   = 0
cmdline = mode=cli-spin
"""


def check_frequency(boot, kind, cores, ips):
    """Bochs counts `ips` ticks in an emulated second, QEMU a thousand million: the kernel must find
    as many."""
    machine = boot(ONE, cores=cores, memory=256, ips=ips)
    ips = ips if kind.on_bochs else qemu.ICOUNT_HZ
    found = machine.expect(r"^boot: (\d+) cores?, .* TSC (\d+) kHz", 120)
    assert int(found.group(1)) == cores
    assert abs(int(found.group(2)) * 1000 / ips - 1) < 0.001, found.group(0)


@pytest.mark.parametrize("cores, ips", list(zip((1, 2, 4), FREQUENCIES)))
def test_frequency(boot, kind, cores, ips):
    check_frequency(boot, kind, cores, ips)


@pytest.mark.long
@pytest.mark.models
@pytest.mark.parametrize("ips", FREQUENCIES)
@pytest.mark.parametrize("cores", (1, 2, 4))
def test_every_frequency(boot, kind, cores, ips):
    check_frequency(boot, kind, cores, ips)


def check_beats_beside_spinners(boot, ips):
    machine = boot(NEIGHBOURS, cores=1, memory=256, ips=ips)
    machine.expect_all((r"^spin\| hog spin$", r"^cli\| hog cli-spin$", r"^good\| hello: up 1\."),
                       180)
    machine.send(TIMES)
    for _ in range(BEATS + 1):
        machine.expect(r"^ *\d+\.\d+ good\| hello: up ", 120)
    check_heartbeats(machine.text, "good", "hello", BEATS)
    assert "bench| path=" not in machine.text  # it has been at it all the time


def test_heartbeats_beside_spinners(boot):
    """On the only core with the bench and two spinners, without a budget."""
    check_beats_beside_spinners(boot, 20_000_000)


@pytest.mark.long
@pytest.mark.models
def test_heartbeats_at_full_speed(boot):
    check_beats_beside_spinners(boot, 50_000_000)
