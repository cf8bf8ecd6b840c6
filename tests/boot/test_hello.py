# SPDX-License-Identifier: BSD-2-Clause
"""Two hello guests beside each other, on every CPU model and number of cores."""

import re

import pytest

BEATS = 3
CONFIG = f"""
[vm one]
image   = hello
cmdline = name=first count={BEATS}
memory  = 8M

[vm two]
image   = hello
cmdline = name=second count={BEATS}
memory  = 8M
"""


def check_two_hellos(boot, model, cores):
    machine = boot(CONFIG, options=["batch"], model=model, cores=cores, memory=256)
    assert machine.wait(180) == 0, machine.ending
    for vm, name in (("one", "first"), ("two", "second")):
        beats = re.findall(rf"^{vm}\| {name}: up (\d+\.\d+) s, malloc ok, pi=3\.14159$",
                           machine.text, re.MULTILINE)
        assert len(beats) == BEATS, machine.text
        for second, beat in enumerate(beats, 1):
            assert abs(float(beat) - second) < 0.01, beats
    # Every line is somebody's: nothing is torn, and nothing comes without a name.
    ours = [line for line in machine.lines if "malloc ok" in line]
    assert all(re.match(r"(one\| first|two\| second): ", line) for line in ours), ours


def test_quick(boot):
    check_two_hellos(boot, "skylake_x", 2)


@pytest.mark.parametrize("cores", (1, 2, 4))
@pytest.mark.parametrize("model", ("skylake_x", "haswell", "ivy_bridge"))
def test_two_hellos(boot, model, cores):
    check_two_hellos(boot, model, cores)
