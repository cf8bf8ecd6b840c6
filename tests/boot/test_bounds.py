# SPDX-License-Identifier: BSD-2-Clause
"""A VMM that asks the kernel for all that it may have and keeps it busy in every way, with a
thousand threads, a hundred thousand objects and four thousand timers: its neighbours on the same
core get what they were promised, no core is long without interrupts, and it is ended at once."""

import os
import re

import pytest

from conftest import ROOT
from stamps import MERGED, MONITOR, interrupts_off, stamped
from test_shares import greatest, hog, percent, sample

IPS = 300_000_000  # slower than any real core; what the kernel may take are 67 us then
SHARE = 25
SAMPLE_MS = 10
SAMPLES = 150
CONFIG = (hog("fair", "spin", 1, SHARE, 4_000_000)  # with lines, for a console that slept
          + "[vm task]\nimage = test-latency\nmemory = 8M\nshare = 10%\nperiod = 1ms\ncores = 1\n"
          + "cmdline = period=1000 warm=500 count=1500 delay=1000\n"
          + "[vm bad]\nimage = hello\nmemory = 64M\ncores = 1\n")


def check_kill(machine):
    """Ends the VM in the monitor, which has the screen: the manager says so first, and when all is
    gone what memory is free. Their stamps show in the merged view."""
    machine.send("memory\r")
    objects = machine.expect(r"^\d+ KB of \d+ KB free, (\d+) kernel objects", 60)
    assert int(objects.group(1)) > 100_000, objects.group(0)
    machine.expect(r"^console: ", 60)
    machine.send("vm kill ")
    machine.expect(r"vm kill $", 60)
    machine.send("bad\r" + MERGED)
    machine.expect(r" bulkhead\|.* \d+ MB of \d+ MB free$", 60)
    killed = stamped(machine.text, "bulkhead", r".*VM 'bad' killed by the monitor")[-1][0]
    freed, memory = stamped(machine.text, "bulkhead", r".*?(\d+) MB of \d+ MB free")[-1]
    print(f"killed in {freed - killed:.3f} s, {memory.group(1)} MB are free then")
    assert 0 < freed - killed <= 1


@pytest.mark.only("bochs", "QEMU's cores take turns, and each waits for the other's")
def test_mutiny(boot, monkeypatch):
    monkeypatch.setenv("BULKHEAD_VMM", os.path.join(ROOT, "build", "boot", "mutiny"))
    machine = boot(CONFIG, options=["many-objects"], cores=2, memory=256, ips=IPS)
    machine.expect(r"^fair\| hog spin$", 180)
    pairs = sample(machine, ["fair"], SAMPLE_MS, SAMPLES)["fair"]
    most = machine.expect(r"task\| latency: mean \d+ ticks, max (\d+) ticks, (\d+) ns$", 300)
    print("\n".join(re.findall(r"task\| (latency .*)$", machine.text, re.MULTILINE)))
    print(f"fair ran {percent(pairs):.2f}%, at most {greatest(pairs, SAMPLE_MS):.2f}% of 100 ms; "
          f"{most.group(0)}")
    machine.expect(r"VM 'task' powered off$", 60)
    machine.send(MONITOR)
    machine.expect(r"bulkhead> ?$", 60)
    check_kill(machine)
    machine.send(MONITOR)
    machine.expect(r"bulkhead> ?$", 60)
    interrupts_off(machine)
    assert abs(percent(pairs) - SHARE) <= 0.5, pairs
    assert greatest(pairs, SAMPLE_MS) <= 27, pairs
    assert int(most.group(2)) <= 100_000, machine.text
