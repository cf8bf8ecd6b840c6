# SPDX-License-Identifier: BSD-2-Clause
"""The HPET of a VM with `hpet = yes`: judged by a guest, and as the only timer of Linux."""

import re

import pytest

GUEST = "[vm guest]\nimage = test-hpet\nmemory = 16M\nhpet = yes\ncmdline = delay=500{0}\n"
# A stock kernel whose local APIC's timer is not to be used has the PIT only if it has no TSC
# deadline; here it has nothing but the HPET.
LINUX = """[vm linux]
image   = vmlinuz
initrd  = initrd.img
cmdline = console=ttyS0 nolapic_timer
memory  = 256M
hpet    = yes
"""
PROMPT = r"^linux\| / # ?"


@pytest.mark.models(long=("haswell", "ivy_bridge", "EPYC"))
def test_guest(boot, kind):
    machine = boot(GUEST.format("" if kind.on_bochs else " tcg"), cores=1, memory=256)
    machine.wait(200)
    failures = re.findall(r"^guest\| (?:FAIL|GUEST-FAIL) .*$", machine.text, re.MULTILINE)
    assert not failures, "\n".join(failures)
    assert re.search(r"^guest\| done [1-9]\d* passed, 0 failed", machine.text,
                     re.MULTILINE), machine.text
    assert machine.status == 0, machine.ending


@pytest.mark.slow("bochs")
def test_linux_without_another_timer(boot):
    """To its shell, where it sleeps and wakes, by the HPET's interrupts."""
    machine = boot(LINUX, cores=1, memory=512)
    machine.expect(PROMPT, 400)
    machine.send(b"cat /sys/devices/system/clockevents/clockevent0/current_device\r")
    machine.expect(r"^linux\| hpet$", 60)
    machine.send(b"sleep 1; echo slept $?\r")
    machine.expect(r"^linux\| slept 0$", 60)
    machine.send(b"grep ' 0: ' /proc/interrupts\r")
    count = machine.expect(r"^linux\| +0: +(\d+) .*(?:timer|hpet)", 60).group(1)
    assert int(count) > 250, count
    machine.send(b"poweroff -f\r")
    machine.wait(60)
    for trouble in (r"Call Trace", r"soft lockup", r"clocksource.*skew", r"nobody cared"):
        assert not re.search(trouble, machine.text), machine.text
