# SPDX-License-Identifier: BSD-2-Clause
"""VMs go from core to core while they run: by the monitor, and by the balancer at boot."""

import hashlib
import re

from test_linux import TROUBLE, Shell

KEY = "\x1d"  # Ctrl-]
MOVES = 1000
BATCH = 10    # commands typed at a time: the monitor reads ahead
BLOCKS = 200  # of 1,000 bytes: what is hashed

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


def test_linux_moved_a_thousand_times(boot):
    """Linux hashes files meanwhile; every sum is right, and its log has nothing to say."""
    machine = boot(LINUX, cores=2, memory=512)
    machine.expect(r"^linux\| / # ?$", 300)
    machine.send(KEY + "linux\r")
    machine.expect(r"^\[linux; ", 30)
    shell = Shell(machine)
    shell.run(f"dd if=/bin/busybox of=/tmp/data bs=1000 count={BLOCKS}")
    shell.run("{ (while [ ! -e /tmp/stop ]; do sha256sum /tmp/data; cat /tmp/data | md5sum; done "
              "> /tmp/sums) & }")
    machine.send(KEY + "m")
    machine.expect(r"^bulkhead> $", 30)
    start = len(machine.text)
    for batch in range(MOVES // BATCH):
        machine.send("".join(f"vm move linux {(batch * BATCH + i) % 2}\r" for i in range(BATCH)))
        for _ in range(BATCH):
            machine.expect(r"^VM 'linux' (?:goes to|is on) core [01]$", 120)
    assert machine.text[start:].count("VM 'linux' goes to core") >= MOVES - 1
    machine.send(KEY + "linux\r")
    machine.expect(r"^\[linux; ", 30)
    shell.run("touch /tmp/stop; wait")
    sums = shell.run("sort /tmp/sums | uniq -c")
    with open("/bin/busybox", "rb") as file:   # the same file that the initramfs has
        data = file.read(BLOCKS * 1000)
    counted = dict(reversed(match) for match in
                   re.findall(r"^ *(\d+) ([0-9a-f]+) ", sums, re.MULTILINE))
    expected = {hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()}
    assert set(counted) == expected, sums
    assert min(int(count) for count in counted.values()) >= 10, sums
    log = shell.run("dmesg")
    assert not re.search("|".join(TROUBLE), log), log
    text = machine.text
    assert len(re.findall(r"^hello\| hello: up ", text, re.MULTILINE)) >= 5
