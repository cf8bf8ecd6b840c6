# SPDX-License-Identifier: BSD-2-Clause
"""VMs with several vCPUs: Debian's unmodified kernel brings them all up, on as many cores, on fewer
and on one; uses them at once; takes them off and brings them back; and goes on while it is moved.
"""

import hashlib
import re

import pytest

from stamps import MERGED
from test_linux import FOCUS_LINUX, PROMPT, Shell, check_log

MONITOR = b"\x1dm"
CONFIG = """
[vm linux]
image   = vmlinuz
initrd  = initrd.img
cmdline = console=ttyS0
memory  = 256M
vcpus   = {vcpus}
"""
# (vCPUs, cores): what an emulator of instructions boots in less than a minute, and the rest in the
# faster one.
BOTH = ((2, 2), (4, 1))
FAST = [(4, 4), (16, 1), (16, 4)]
LONG_FAST = [pytest.param(*pair, marks=pytest.mark.long) for pair in ((2, 1), (4, 2), (16, 2))]


def start(boot, vcpus, cores):
    machine = boot(CONFIG.format(vcpus=vcpus), cores=cores, memory=1024)
    machine.expect(PROMPT, 900)
    return machine


def focus(machine):
    machine.send(FOCUS_LINUX)
    machine.expect(r"^\[linux; ", 30)
    return Shell(machine)


def check_up(shell, kind, vcpus):
    """They are all there, and are one package's cores."""
    assert shell.run("nproc").strip() == str(vcpus)
    log = check_log(shell, kind)
    assert re.search(rf"smp: Brought up 1 node, {vcpus} CPUs", log), log
    assert re.search(r"Max logical packages: 1\b", log), log
    cores = shell.run("cat /sys/devices/system/cpu/cpu*/topology/core_id").split()
    assert sorted(map(int, cores)) == list(range(vcpus))


@pytest.mark.parametrize("vcpus, cores", BOTH)
def test_boots(boot, kind, vcpus, cores):
    machine = start(boot, vcpus, cores)
    check_up(focus(machine), kind, vcpus)
    machine.send(MERGED)
    machine.expect(r"^\[all VMs; keys go to linux\]$", 30)
    machine.send(b"poweroff -f\r")
    machine.expect(r"^bulkhead\| VM 'linux' powered off$", 120)


@pytest.mark.only("qemu", "a boot of Linux takes a minute in Bochs, and longer with every vCPU")
@pytest.mark.parametrize("vcpus, cores", FAST + LONG_FAST)
def test_boots_on(boot, kind, vcpus, cores):
    check_up(focus(start(boot, vcpus, cores)), kind, vcpus)


LOAD = ("for i in {jobs}; do (x=$(dd if=/dev/zero bs=1k count={size} 2>/dev/null | sha256sum); "
        "echo sum-$i ${{x%% *}}) & done; wait; echo all-$((1+1))")


def expected_sum(size):
    return hashlib.sha256(bytes(size * 1024)).hexdigest()


def test_load_while_it_is_moved(boot, kind):
    """Processes that hash on all of them come to the right sums, while the VM goes from core to
    core, from many to one and back."""
    jobs, size = (8, 4096) if not kind.on_bochs else (4, 192)
    vcpus, cores = (4, 4) if not kind.on_bochs else (2, 2)
    machine = start(boot, vcpus, cores)
    shell = focus(machine)
    machine.send(LOAD.format(jobs=" ".join(map(str, range(jobs))), size=size) + "\r")
    machine.send(MONITOR)
    machine.expect(r"^bulkhead> $", 60)
    places = [str(i % cores) for i in range(cores)] + [",".join(map(str, range(cores)))]
    for place in places * 3:
        machine.send(f"vm move linux {place}\r")
        machine.expect(r"^VM 'linux' (?:goes to|is on|cannot go) .*$", 60)
    machine.send(FOCUS_LINUX)
    machine.expect(r"^all-2$", 600)
    sums = re.findall(r"^sum-(\d+) ([0-9a-f]{64})$", machine.text, re.MULTILINE)
    assert dict(sums) == {str(i): expected_sum(size) for i in range(jobs)}
    check_log(shell, kind)
    machine.send(MONITOR + b"vm kill linux\r")
    machine.expect(r"^(?:bulkhead\| )?VM 'linux' killed by the monitor$", 60)


def test_a_cpu_goes_off_and_on(boot, kind):
    """By sysfs, again and again: INIT and start-up IPIs to a vCPU that has run."""
    rounds = 100 if not kind.on_bochs else 5
    shell = focus(start(boot, 2, 2))
    shell.run("dmesg -n 1")
    online = "/sys/devices/system/cpu/cpu1/online"
    out = shell.run(f"n=0; for i in $(seq {rounds}); do echo 0 > {online} && echo 1 > {online} && "
                    f"n=$((n+1)); done; echo done-$n; nproc", 600)
    assert re.search(rf"^done-{rounds}$\s^2$", out, re.MULTILINE), out
    check_log(shell, kind)


def test_a_share_on_each_core(boot):
    """A VM with a share has it on each of the cores of its vCPUs, and the config's list says which
    these are."""
    machine = boot("""
[vm pair]
image  = test-hog
memory = 8M
vcpus  = 2
cores  = 0 1
share  = 25%
""", cores=2, memory=512)
    machine.expect(r"^bulkhead\| VM 'pair' started: cores 0,1, 2 vCPUs, 8 MB$", 120)
    machine.expect(r"^bulkhead\| core 0: \d+% of its time in shares", 60)
    machine.expect(r"^bulkhead\| core 1: 25% of its time in shares, 75% left$", 60)
