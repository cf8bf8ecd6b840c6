# SPDX-License-Identifier: BSD-2-Clause
"""VMs go from core to core while they run: by the monitor, and by the balancer at boot."""

import hashlib
import re

import pytest

from stamps import MERGED, MONITOR, TIMES, stamped
from test_linux import OF_TIME, TROUBLE, Shell

KEY = "\x1d"  # Ctrl-]
MOVES = 1000
BATCH = 10    # commands typed at a time: the monitor reads ahead
BLOCKS = 200  # of 1,000 bytes: what is hashed
SUMS = 10     # of each kind, at least
ROUNDS = 5    # at most, of MOVES each
# QEMU's clock is the host's there, and a guest waits for its turn on that.
OF_HOST_TIME = (*OF_TIME, "TSC unstable", "clocksource.*skew")

LINUX = """
[vm linux]
image   = vmlinuz
initrd  = initrd.img
cmdline = console=ttyS0 quiet
memory  = 128M
cores   = 0 1

[vm hello]
image   = hello
memory  = 8M
cores   = 1
"""


SHARES = """
[vm hello]
image   = hello
memory  = 8M
share   = 30%

[vm full]
image   = test-hog
cmdline = mode=spin
memory  = 4M
cores   = 2
share   = 80%

[vm free]
image   = test-hog
cmdline = mode=spin
memory  = 4M
cores   = 0
"""


def move_a_thousand_times(machine):
    """From core to core and back, by the monitor, which says of each whether it could be done:
    where cores run side by side a VM may still be on its way when the next is typed."""
    machine.send(KEY + "m")
    machine.expect(r"bulkhead> $", 30)  # behind what is shown again
    moves = typed = 0
    while moves < MOVES - 1:
        machine.send("".join(f"vm move linux {i % 2}\r" for i in range(BATCH)))
        for _ in range(BATCH):
            found = machine.expect(r"^VM 'linux' (goes to core [01]$|is on core [01]$|"
                                   r"cannot go to core ([01]): it is still on its way to core "
                                   r"(?!\2)[01]$)", 120)
            moves += found.group(1).startswith("goes")
        typed += BATCH
        assert typed <= 10 * MOVES, f"{moves} moves by {typed} commands"
    print(f"{moves} moves by {typed} commands")


def check_linux_moved(boot, kind):
    """Linux hashes files while it is moved a thousand times; every sum is right, and its log has
    nothing to say. In QEMU the two cores run side by side."""
    machine = boot(LINUX, cores=2, memory=512, icount=None)
    machine.expect(r"^linux\| / # ?$", 300)
    machine.send(KEY + "linux\r")
    machine.expect(r"^\[linux; ", 30)
    shell = Shell(machine)
    shell.run(f"dd if=/bin/busybox of=/tmp/data bs=1000 count={BLOCKS}")
    shell.run("{ (while [ ! -e /tmp/stop ]; do sha256sum /tmp/data; cat /tmp/data | md5sum; done "
              "> /tmp/sums) & }")
    # A newer Linux takes longer for each program that it runs, and is moved for longer then.
    for _ in range(ROUNDS):
        move_a_thousand_times(machine)
        machine.send(KEY + "linux\r")
        machine.expect(r"^\[linux; ", 30)
        if int(shell.run("wc -l </tmp/sums")) > 2 * SUMS:
            break
    shell.run("touch /tmp/stop; wait")
    sums = shell.run("sort /tmp/sums | uniq -c")
    with open("/bin/busybox", "rb") as file:   # the same file that the initramfs has
        data = file.read(BLOCKS * 1000)
    counted = dict(reversed(match) for match in
                   re.findall(r"^ *(\d+) ([0-9a-f]+) ", sums, re.MULTILINE))
    expected = {hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()}
    assert set(counted) == expected, sums
    assert min(int(count) for count in counted.values()) >= SUMS, sums
    log = shell.run("dmesg")
    trouble = [word for word in TROUBLE if kind.on_bochs or word not in OF_HOST_TIME]
    assert not re.search("|".join(trouble), log), log
    machine.send(MERGED)
    for _ in range(5):
        machine.expect(r"^hello\| hello: up ", 30)


@pytest.mark.slow("bochs")
def test_linux_moved_a_thousand_times(boot, kind):
    check_linux_moved(boot, kind)


@pytest.mark.long
@pytest.mark.models
def test_linux_moved_on_every_model(boot, kind):
    check_linux_moved(boot, kind)


@pytest.mark.only("bochs", "QEMU's cores take turns, and each waits for the other's")
def test_share_goes_along(boot):
    """A VM takes its share to cores that have room for it, and keeps its time on the way; the
    balancer brings it back; a VM that ends leaves its room to others."""
    machine = boot(SHARES, cores=3, memory=256)
    machine.expect(r"^hello\| hello: up 1\.", 120)
    machine.send(TIMES)
    machine.expect(r"hello\| hello: up ", 30)

    def command(text, answer):
        """One command in the monitor, then a beat of hello's in the merged view."""
        machine.send(MONITOR + text + "\r")
        machine.expect(answer, 60)
        machine.send(MERGED)
        machine.expect(r"hello\| hello: up ", 30)

    command("vm move hello 2", r"VM 'hello' cannot go to core 2: its share of 30% does not fit")
    command("vm move hello 0", r"VM 'hello' goes to core 0$")
    command("vm list", r"^ *(?:\d+\.\d+ )?hello +running +0 +30%")
    command("vm balance", r"VM 'hello' goes to core 1$")
    command("vm kill full", r"VM 'full' killed by the monitor$")
    command("vm move hello 2", r"VM 'hello' goes to core 2$")
    beats = [(int(match.group(1)), time) for time, match in
             stamped(machine.text, "hello", r"hello: up (\d+)\.000 s, malloc ok, .*")]
    assert len(beats) >= 6, machine.text
    for (beat, time), (next_beat, next_time) in zip(beats, beats[1:]):
        assert abs(next_time - time - (next_beat - beat)) < 0.01, beats


BUSY = """
[vm busy]
image   = test-hog
memory  = 4M
cores   = 1
cmdline = mode=mmio report=20000
""" + "".join(f"[vm i{i}]\nimage = test-hog\nmemory = 4M\ncores = 1 0\ncmdline = mode=hlt\n"
              for i in range(4))


@pytest.mark.slow("qemu")
@pytest.mark.parametrize("options", ([], ["without=pcid"]), ids=("pcid", "no-pcid"))
@pytest.mark.parametrize("how", ("move", "kill"))
def test_neighbour_of_moved_goes_on(boot, how, options):
    """Idle VMs leave the core of one that is in its VMM nearly all the time: it does not notice."""
    machine = boot(BUSY, options=options, cores=2, memory=256)
    machine.expect(r"isolation audit", 60)
    machine.send(MONITOR)
    machine.expect(r"^bulkhead> $", 30)
    for turn in range(8 if how == "move" else 1):
        for i in range(4):
            machine.send(f"vm move i{i} {(turn + 1) % 2}\r" if how == "move" else f"vm kill i{i}\r")
            machine.expect(rf"VM 'i{i}' (goes to|is on|killed by) .*", 30)
    assert "killed: its VMM caused" not in machine.text, machine.text
    machine.send(MERGED)
    for _ in range(3):
        machine.expect(r"^busy\| .*\d", 60)
