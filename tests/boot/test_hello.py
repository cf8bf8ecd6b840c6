# SPDX-License-Identifier: BSD-2-Clause
"""Two hello guests beside each other, on every CPU model and number of cores."""

import re

import pytest

BEATS = 3
MEMORY = 8  # MB of each
CONFIG = f"""
[vm one]
image   = hello
cmdline = name=first count={BEATS}
memory  = {MEMORY}M

[vm two]
image   = hello
cmdline = name=second count={BEATS}
memory  = {MEMORY}M
"""


def check_two_hellos(boot, cores, **arguments):
    machine = boot(CONFIG, cores=cores, memory=256, **arguments)
    assert machine.wait(180) == 0, machine.ending
    text = machine.text
    for vm, name in (("one", "first"), ("two", "second")):
        beats = re.findall(rf"^{vm}\| {name}: up (\d+\.\d+) s, malloc ok, pi=3\.14159$", text,
                           re.MULTILINE)
        assert len(beats) == BEATS, text
        for second, beat in enumerate(beats, 1):
            assert abs(float(beat) - second) < 0.01, beats
        # Its end is told after all that it said.
        assert text.index(f"VM '{vm}' powered off") > text.index(f"{name}: up {BEATS}."), text
    # Every line is somebody's: nothing is torn, and nothing comes without a name.
    ours = [line for line in machine.lines if "malloc ok" in line]
    assert all(re.match(r"(one\| first|two\| second): ", line) for line in ours), ours
    # The boot's audit comes when both have their memory, and finds nothing shared.
    audit = re.search(r"^bulkhead\| isolation audit: (\d+) frames, "
                      r"no frame reachable from two VMs$", text, re.MULTILINE)
    assert audit and int(audit.group(1)) > 2 * MEMORY * 256, text
    assert f"boot: {cores} core" in text, text


def test_quick(boot):
    check_two_hellos(boot, 2)


@pytest.mark.models(long=("haswell",))
@pytest.mark.parametrize("cores", (1, 2, 4))
def test_two_hellos(boot, cores):
    check_two_hellos(boot, cores)
