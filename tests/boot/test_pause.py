# SPDX-License-Identifier: BSD-2-Clause
"""VMs stand still and go on when the monitor says so, beside others that do not notice; and an NMI
reaches each vCPU."""

import re

import pytest

from stamps import TIMES, ask_monitor, stamped
from test_linux import FOCUS_LINUX, PROMPT, Shell

HELLOS = "".join(f"[vm {name}]\nimage = hello\nmemory = 8M\ncores = 0\n" for name in ("one", "two"))
# Its clock goes on while it stands still, which its watchdogs take for a lockup.
LINUX = ("[vm linux]\nimage = vmlinuz\ninitrd = initrd.img\ncmdline = console=ttyS0 quiet "
         "nowatchdog rcupdate.rcu_cpu_stall_suppress=1\nmemory = 128M\nvcpus = 2\n")


def beats(text, name):
    """[(time, up)]: by the host's clock and by the guest's own, in seconds."""
    return [(time, float(match[1])) for time, match in
            stamped(text, name, r"hello: up (\d+\.\d+) s, malloc ok, .*")]


def check_on_time(found):
    """Each beat comes when the guest's clock says, as if nothing had been."""
    assert all(up % 1 == 0 for _, up in found), found
    starts = [time - up for time, up in found]
    assert max(starts) - min(starts) < 0.01, found


def test_neighbour_goes_on(boot):
    machine = boot(HELLOS, cores=1, memory=256)
    machine.expect_all([rf"^{name}\| hello: up 2\." for name in ("one", "two")], 120)
    machine.send(TIMES)
    machine.expect_all([rf"^ *\d+\.\d+ {name}\| hello: up " for name in ("one", "two")], 60)
    ask_monitor(machine, "vm pause one", r"^VM 'one' is paused$")
    ask_monitor(machine, "vm list", r"^one +paused ")
    still = len(beats(machine.text, "one"))
    for _ in range(4):
        machine.expect(r"^ *\d+\.\d+ two\| hello: up ", 60)
    assert len(beats(machine.text, "one")) == still, machine.text
    ask_monitor(machine, "vm resume one", r"^VM 'one' goes on$")
    for _ in range(3):
        machine.expect(r"^ *\d+\.\d+ one\| hello: up ", 60)
    one, two = beats(machine.text, "one"), beats(machine.text, "two")
    check_on_time(one[:still] + one[still + 1:]) # but for the one that it owed
    check_on_time(two)
    assert len(one) >= still + 3 and len(two) >= 5, machine.text


@pytest.mark.only("qemu", "a boot of Linux takes half a minute in Bochs")
def test_linux(boot):
    """With two vCPUs: pauses in the middle of work, and an NMI for each."""
    machine = boot(LINUX, cores=2, memory=512)
    machine.expect(PROMPT, 300)
    # The line ends at the shell, so that no key of it is on its way when the view changes.
    machine.send("for i in 1 2; do (until [ -e /stop ]; do dd if=/dev/zero bs=1k count=256 "
                 "2>/dev/null | sha256sum >>/sum$i; done) & done; echo begun-$((1+1))\r")
    machine.expect(r"^linux\| begun-2$", 120)
    for _ in range(5):
        ask_monitor(machine, "vm pause linux", r"^VM 'linux' is paused$")
        ask_monitor(machine, "vm resume linux", r"^VM 'linux' goes on$")
    machine.send(FOCUS_LINUX)
    machine.expect(r"^\[linux; ", 30)
    shell = Shell(machine)
    sums = shell.run("touch /stop; wait; cat /sum1 /sum2 | uniq -c")
    assert re.fullmatch(r" *\d+ [0-9a-f]{64}  -", sums.strip()), sums
    ask_monitor(machine, "vm nmi linux", r"^VM 'linux' gets an NMI$")
    machine.send(FOCUS_LINUX)
    machine.expect(r"^\[linux; ", 30)
    log = shell.run("dmesg | grep NMI")
    assert {0, 1} == set(map(int, re.findall(r"NMI received for unknown reason \w+ on CPU (\d)",
                                             log))), log
