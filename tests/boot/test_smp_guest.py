# SPDX-License-Identifier: BSD-2-Clause
"""VMs with several vCPUs, judged from inside by test-smp, one line per assertion: each vCPU on a
core of its own, and all on one; on each CPU model, and where the kernel alone is the local APIC."""

import re

import pytest

DELAY_MS = 200
# Bochs is slow: few rounds there.
ROUNDS = {"bochs": 6, "qemu": 20}
FEW_ROUNDS = 2
CONFIG = """[vm smp]
image   = test-smp
memory  = 16M
vcpus   = {vcpus}
{cores}
testdev = yes
cmdline = delay={delay} vcpus={vcpus} rounds={rounds}{words}
"""


def run(boot, kind, vcpus, cores, pinned=None, options=(), only=None):
    """Boots a VM with so many vCPUs on a machine of so many cores, or on one of these."""
    words = " bochs" if kind.on_bochs else " tcg"
    if vcpus > cores or pinned is not None:
        words += " shared"
    if only is not None:
        words += f" only={only}"
    config = CONFIG.format(vcpus=vcpus, delay=DELAY_MS, words=words,
                           rounds=ROUNDS[kind.emulator] if only is None else FEW_ROUNDS,
                           cores="" if pinned is None else f"cores   = {pinned}")
    machine = boot(config, cores=cores, memory=256, options=options)
    machine.wait(400)
    failures = re.findall(r"^\S+\| (?:FAIL|GUEST-FAIL) .*$", machine.text, re.MULTILINE)
    assert not failures, "\n".join(failures)
    assert re.search(r"^smp\| done [1-9]\d* passed, 0 failed", machine.text, re.MULTILINE), \
        machine.text
    assert machine.status == 0, machine.ending


@pytest.mark.models(long=("haswell", "EPYC"))
def test_a_core_for_each(boot, kind):
    run(boot, kind, 4, 4)


def test_one_core_for_all(boot, kind):
    run(boot, kind, 4, 1)


@pytest.mark.models(long=("haswell", "EPYC"))
def test_two_on_a_core_of_their_own(boot, kind):
    """Nobody else is there, so how long one waits for the other is the scheduler's doing."""
    run(boot, kind, 2, 2, pinned=1)


@pytest.mark.long
@pytest.mark.only("qemu", "16 vCPUs take minutes in Bochs")
def test_sixteen(boot, kind):
    run(boot, kind, 16, 4, only="start,ipi,storm,halt")


@pytest.mark.only("bochs", "QEMU's CPUs do not virtualise the APIC")
@pytest.mark.parametrize("vcpus, cores", ((4, 4), (2, 1)))
def test_without_apicv(boot, kind, vcpus, cores):
    run(boot, kind, vcpus, cores, options=["apicv=off"])
