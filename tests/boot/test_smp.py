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
# (vCPUs, cores), beside the pair of which each kind of machine boots one. In Bochs a boot of Linux
# takes a minute, and longer with every vCPU.
FAST = [(16, 4)]
LONG = [pytest.param(*pair, marks=pytest.mark.long)
        for pair in ((2, 1), (4, 1), (4, 2), (16, 1), (16, 2))]


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
    assert re.search(r"Max\.? logical packages: +1\b", log), log
    cores = shell.run("cat /sys/devices/system/cpu/cpu*/topology/core_id").split()
    assert sorted(map(int, cores)) == list(range(vcpus))


@pytest.fixture(scope="module", name="machine")
def fixture_machine(boot_module, kind):
    """The tests with it run in their order: two vCPUs on two cores, and in QEMU four on four."""
    return start(boot_module, *((2, 2) if kind.on_bochs else (4, 4)))


@pytest.fixture(scope="module", name="shell")
def fixture_shell(machine):
    return focus(machine)


def test_boots(shell, kind):
    check_up(shell, kind, 2 if kind.on_bochs else 4)


LOAD = ("for i in {jobs}; do (x=$(dd if=/dev/zero bs=1k count={size} 2>/dev/null | sha256sum); "
        "echo sum-$i ${{x%% *}}) & done; wait; echo all-$((1+1))")


def expected_sum(size):
    return hashlib.sha256(bytes(size * 1024)).hexdigest()


def test_load_while_it_is_moved(machine, shell, kind):
    """Processes that hash on all of them come to the right sums, while the VM goes from core to
    core, from many to one and back."""
    jobs, size, cores = (8, 4096, 4) if not kind.on_bochs else (4, 96, 2)
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


def test_a_cpu_goes_off_and_on(shell, kind):
    """By sysfs, again and again: INIT and start-up IPIs to a vCPU that has run."""
    rounds = 100 if not kind.on_bochs else 2
    vcpus = shell.run("nproc").strip()
    shell.run("dmesg -n 1")
    online = "/sys/devices/system/cpu/cpu1/online"
    out = shell.run(f"n=0; for i in $(seq {rounds}); do echo 0 > {online} && echo 1 > {online} && "
                    f"n=$((n+1)); done; echo done-$n; nproc", 600)
    assert re.search(rf"^done-{rounds}$\s^{vcpus}$", out, re.MULTILINE), out
    check_log(shell, kind)


def test_powers_off(machine, shell):
    """Where its end is told: shell is used, so that it is the last of the machine's tests."""
    del shell
    machine.send(MERGED)
    machine.expect(r"^\[all VMs; keys go to linux\]$", 30)
    machine.send(b"poweroff -f\r")
    machine.expect(r"^bulkhead\| VM 'linux' powered off$", 120)


@pytest.mark.only("qemu", "a boot of Linux takes a minute in Bochs, and longer with every vCPU")
@pytest.mark.parametrize("vcpus, cores", FAST)
def test_boots_on(boot, kind, vcpus, cores):
    check_up(focus(start(boot, vcpus, cores)), kind, vcpus)


@pytest.mark.parametrize("vcpus, cores", LONG)
def test_boots_on_all(boot, kind, vcpus, cores):
    check_up(focus(start(boot, vcpus, cores)), kind, vcpus)


MAKE = ("seq {jobs} | xargs -n 1 -P {parallel} sh -c "
        "'dd if=/dev/zero bs=1k count={size} 2>/dev/null | sha256sum > /tmp/sum-$0'")


def seconds_of_load(boot, vcpus, jobs=32, size=64):
    """What a VM of as many cores takes, by its own clock, for the jobs of one like make."""
    shell = focus(start(boot, vcpus, vcpus))
    load = MAKE.format(jobs=jobs, parallel=vcpus, size=size)
    out = shell.run(f"cut -d' ' -f1 /proc/uptime; {load}; cut -d' ' -f1 /proc/uptime", 1800)
    begin, end = map(float, re.findall(r"^(\d+\.\d+)$", out, re.MULTILINE))
    sums = shell.run("cat /tmp/sum-*")
    assert re.findall(r"^[0-9a-f]{64}", sums, re.MULTILINE) == [expected_sum(size)] * jobs
    return end - begin


@pytest.mark.long
@pytest.mark.only("bochs", "QEMU's cores take turns")
def test_four_are_nearly_four_times_as_fast(boot):
    one, four = seconds_of_load(boot, 1), seconds_of_load(boot, 4)
    assert four <= 0.30 * one, f"{four} s on four vCPUs, {one} s on one"


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
