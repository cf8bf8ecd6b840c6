# SPDX-License-Identifier: BSD-2-Clause
"""Test guests judge the virtual PC from inside, one line per assertion, on each CPU model."""

import re

import pytest

DELAY_MS = 500
ALONE = pytest.mark.only("bochs", "QEMU's cores take turns: guests that judge time are alone")
# The manager and the console are on core 0: the first to get it is the one without a clock.
GUESTS = ("test-mmio", "test-cpu", "test-apic", "test-pic")
PAIRS = (("test-mmio", "test-apic"), ("test-cpu", "test-pic"))


def run_guests(boot, kind, guests, cores, options=()):
    """Boots one VM for each guest. Some judge time: so each gets a core of its own, and waits until
    the manager, on core 0, has made its audit."""
    config = "".join(f"[vm {guest}]\nimage = {guest}\nmemory = 16M\ncores = {core}\n"
                     f"cmdline = delay={DELAY_MS}{'' if kind.on_bochs else ' tcg'}\n"
                     f"testdev = {'yes' if guest == 'test-mmio' else 'no'}\n"
                     for core, guest in enumerate(guests))
    machine = boot(config, cores=cores, memory=256, options=options)
    machine.wait(300)
    failures = re.findall(r"^\S+\| (?:FAIL|GUEST-FAIL) .*$", machine.text, re.MULTILINE)
    assert not failures, "\n".join(failures)
    for guest in guests:
        assert re.search(rf"^{guest}\| done [1-9]\d* passed, 0 failed", machine.text,
                         re.MULTILINE), machine.text
    assert machine.status == 0, machine.ending


@pytest.mark.models(long=("haswell", "EPYC"))
@pytest.mark.parametrize("guest", GUESTS)
def test_one_core(boot, kind, guest):
    run_guests(boot, kind, (guest,), 1)


@ALONE
@pytest.mark.long
@pytest.mark.models
@pytest.mark.parametrize("guests", PAIRS, ids="+".join)
def test_two_cores(boot, kind, guests):
    run_guests(boot, kind, guests, 2)


@ALONE
@pytest.mark.models(long=("haswell", "ivy_bridge"))
def test_four_cores(boot, kind):
    run_guests(boot, kind, GUESTS, 4)


@pytest.mark.only("bochs", "QEMU 7.2's CPUs have none of these")
@pytest.mark.parametrize("options", (
    ["without=pcid", "without=x2apic", "without=tsc-deadline"],
    pytest.param(["without=pcid"], marks=pytest.mark.long),
    pytest.param(["without=x2apic"], marks=pytest.mark.long),
    pytest.param(["without=x2apic", "without=tsc-deadline"], marks=pytest.mark.long),
    pytest.param(["without=sysenter"], marks=pytest.mark.long)), ids="+".join)
def test_without(boot, kind, options):
    """Each load of a process's tables drops what was cached of the last one's; the host's local
    APICs in xAPIC mode, their timers counting down; system calls by the gate."""
    run_guests(boot, kind, GUESTS, 4, options)


@pytest.mark.only("bochs", "QEMU's CPUs do not virtualise the APIC")
@pytest.mark.parametrize("guests", PAIRS, ids="+".join)
def test_without_apicv(boot, kind, guests):
    """The local APIC by the kernel alone, on a CPU that could do much of it by itself."""
    run_guests(boot, kind, guests, 2, ["apicv=off"])


def test_echo(boot):
    config = "[vm echo]\nimage = echo\nmemory = 16M\ncmdline = count=3\n"
    machine = boot(config, cores=1, memory=256)
    assert machine.wait(180) == 0, machine.ending
    rates = re.findall(r"^echo\| echo: (\d+\.\d) MB/s, (\d+\.\d) MB verified$", machine.text,
                       re.MULTILINE)
    assert len(rates) == 3 and float(rates[-1][1]) > 0, machine.text
