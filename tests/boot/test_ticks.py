# SPDX-License-Identifier: BSD-2-Clause
"""A guest that tells the time by its ticks, with a fifth of a core beside a spinner: the time that
it counts, by the stamps that the console puts on its lines."""

import pytest
from stamps import TIMES, stamped

SECONDS = 3
SHARE = 20


def pace(boot, kind, source, ticks):
    """How many seconds pass while the guest counts one, over several of them."""
    machine = boot(f"[vm clock]\nimage = test-ticks\nmemory = 8M\ncores = 0\nshare = {SHARE}%\n"
                   f"ticks = {ticks}\nhpet = yes\ncmdline = delay=500 source={source}\n"
                   "[vm spinner]\nimage = test-hog\nmemory = 8M\ncores = 0\n"
                   "cmdline = mode=spin\n", cores=1, memory=256,
                   icount=None if kind.on_bochs else 2)
    machine.expect(r"^spinner\| hog spin$", 60)
    machine.send(TIMES)
    for _ in range(SECONDS + 1):
        machine.expect(r"^ *\d+\.\d+ clock\| ticks \d+$", 120)
    beats = [time for time, _ in stamped(machine.text, "clock", r"ticks \d+")]
    second = (beats[-1] - beats[0]) / (len(beats) - 1)
    print(f"{source}, {ticks}: a second takes {second:.4f} s")
    return second


@pytest.mark.parametrize("source", ("pit", "ioapic", "rtc", "hpet"))
def test_caught_up(boot, kind, source):
    assert abs(pace(boot, kind, source, "catch-up") - 1) < 0.01


@pytest.mark.models(long=("haswell", "EPYC"))
def test_caught_up_everywhere(boot, kind):
    assert abs(pace(boot, kind, "apic", "catch-up") - 1) < 0.01


@pytest.mark.slow("qemu")
@pytest.mark.parametrize("source", (
    "pit", pytest.param("apic", marks=pytest.mark.long), "hpet"))
def test_coalesced(boot, kind, source):
    assert pace(boot, kind, source, "coalesce") > 2
