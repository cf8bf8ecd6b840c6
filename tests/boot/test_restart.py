# SPDX-License-Identifier: BSD-2-Clause
"""VMs start again: after an end that was none of their user's, as often as the config says, while
the others go on; and when the monitor starts them."""

import re

import pytest

from stamps import MERGED, MONITOR, TIMES, check_heartbeats
from test_linux import FOCUS_LINUX, PROMPT

GOOD = "[vm good]\nimage = hello\nmemory = 8M\ncores = 0\nshare = 40%\n"
# Shares of the core of the good one, which must be there again each time.
BAD = ("[vm bad]\nimage = {image}\nmemory = 16M\ncores = 0\nshare = 40%\n"
       "restart = on-failure\nrestart-limit = 3 per 1h\ncmdline = {cmdline}\n")
LINUX = ("[vm linux]\nimage = vmlinuz\ninitrd = initrd.img\ncmdline = console=ttyS0 quiet\n"
         "memory = 96M\nrestart = on-failure\n")
FREE = r"^ *(?:\d+\.\d+ )?bulkhead\| (\d+) MB of \d+ MB free$"


def run_until_off(boot, bad, times, cause, beats, timeout=120):
    """It ends for that cause each time, and stays off once it was started again so many times;
    beside it beats come on time. -> the machine"""
    machine = boot(GOOD + bad, cores=1, memory=256)
    machine.expect(r"^good\| hello: up 1\.", 120)
    machine.send(TIMES)
    machine.expect(rf"VM 'bad' stays off: it was started again {times} times in 3600 s$", timeout)
    for _ in range(3):
        machine.expect(r"good\| hello: up ", 60)
    text = machine.text
    for line in (r"VM 'bad' started: core 0, 16 MB$", cause):
        assert len(re.findall(line, text, re.MULTILINE)) == times + 1, text
    check_heartbeats(text, "good", "hello", beats)
    return machine


def check_starts_again(boot, image, cmdline, cause):
    """It ends at once each time. -> the machine"""
    machine = run_until_off(boot, BAD.format(image=image, cmdline=cmdline), 3, cause, 2)
    text = machine.text
    delays = re.findall(r"VM 'bad' starts again in (\d\.\d) s: (\d) of 3 times in 3600 s$", text,
                        re.MULTILINE)
    assert delays == [("0.1", "1"), ("0.2", "2"), ("0.4", "3")], text
    # Each time all of it came back.
    free = re.findall(FREE, text, re.MULTILINE)[-4:]
    assert len(free) == 4 and len(set(free)) == 1, text
    return machine


def test_reset(boot):
    check_starts_again(boot, "test-hog", "mode=triple", r"VM 'bad' asked for a reboot$")


def test_killed(boot):
    """By its VMM, for what it does; when it stays off, that is the machine's status."""
    machine = check_starts_again(boot, "test-isolation", "end=idt",
                                 r"VM 'bad' killed: the reason is on its console$")
    machine.send(MONITOR)
    machine.expect(r"^bulkhead> $", 30)
    machine.send("vm kill good\r")
    assert machine.wait(60) == 1, machine.ending


def test_halted_for_good(boot):
    machine = boot(GOOD + BAD.format(image="test-hog", cmdline="mode=hlt"), cores=1, memory=256)
    machine.expect(r"^bulkhead\| VM 'bad' starts again in 0\.4 s", 120)
    machine.expect(r"^bulkhead\| VM 'bad' stays off", 60)
    assert len(re.findall(r"^bad\| hog hlt$", machine.text, re.MULTILINE)) == 4, machine.text


@pytest.mark.long
@pytest.mark.only("qemu", "it takes a quarter of an hour of the guests' time")
def test_thousand_times(boot):
    """What a crash takes it gives back, and its neighbour never hears of one."""
    bad = BAD.format(image="test-hog", cmdline="mode=triple").replace("3 per 1h", "32 per 1s")
    machine = boot(GOOD + bad, cores=1, memory=256)
    machine.expect(r"^good\| hello: up 1\.", 120)
    machine.send(TIMES)
    for _ in range(1000):
        machine.expect(r"VM 'bad' started: core 0, 16 MB$", 120)
    for _ in range(3):
        machine.expect(r"good\| hello: up ", 60)
    check_heartbeats(machine.text, "good", "hello", 100)
    free = re.findall(FREE, machine.text, re.MULTILINE)
    assert len(free) >= 1000 and len(set(free[1:])) == 1, set(free)
    machine.send(MONITOR)
    machine.expect(r"^\[monitor; ", 30)
    machine.send("audit\r")
    machine.expect(r"^isolation audit: \d+ frames, no frame reachable from two VMs$", 60)


@pytest.mark.only("qemu", "a boot of Linux takes half a minute in Bochs")
def test_linux_reboots(boot):
    """A stock Linux that reboots is back at its shell; when it powers off it stays off."""
    machine = boot(LINUX, cores=1, memory=256)
    machine.expect(PROMPT, 300)
    for how in ("reboot -f", "echo c >/proc/sysrq-trigger"):
        machine.send(FOCUS_LINUX)
        machine.expect(r"^\[linux; ", 30)
        if "sysrq" in how:
            machine.send("echo 1 >/proc/sys/kernel/panic\r") # seconds until it resets itself
        machine.send(how + "\r")
        machine.send(MERGED)
        machine.expect(r"^bulkhead\| VM 'linux' asked for a reboot$", 60)
        machine.expect(r"^bulkhead\| VM 'linux' started: ", 60)
        machine.expect(PROMPT, 300)
    machine.send("poweroff -f\r")
    assert machine.wait(60) == 0, machine.ending


def test_monitor(boot):
    """A VM waits to be started; what the monitor has ended it starts anew."""
    machine = boot(GOOD.replace("40%", "80%") + "[vm late]\nimage = hello\nmemory = 16M\n"
                   "share = 20%\nautostart = no\n", cores=2, memory=256)
    machine.expect(r"^good\| hello: up 2\.", 120)
    machine.send(MONITOR)
    machine.expect(r"^bulkhead> $", 30)
    for command, answer in (("vm list", r"^late +waiting "),
                            ("vm start late", r"^VM 'late' started: core 1, 16 MB$"),
                            ("vm start late", r"^VM 'late' runs$"),
                            ("vm kill late", r"^VM 'late' killed by the monitor$"),
                            ("vm restart late", r"^VM 'late' started: core 1, 16 MB$"),
                            ("vm restart good", r"^VM 'good' started: core 0, 8 MB$")):
        machine.send(command + "\r")
        machine.expect(answer, 60)
    machine.send(MERGED)
    machine.expect_all([rf"^{name}\| hello: up \d+\.000 s, malloc ok" for name in ("late", "good")],
                       60)
