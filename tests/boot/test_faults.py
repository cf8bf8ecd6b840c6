# SPDX-License-Identifier: BSD-2-Clause
"""The CPU's own faults: what the boot log says of each, and that everything runs with all that can
be done against them, which Bochs' CPUs do not need or have no registers for."""

import re

import pytest

CONFIG = """
[vm first]
image   = hello
cmdline = count=2
memory  = 8M
cores   = 0

[vm second]
image   = hello
cmdline = count=2
memory  = 8M
cores   = 0
"""
NAMES = ("meltdown l1tf mds taa rfds v1 v2 bhi swapgs itlb buslock smt hle").split()


@pytest.mark.parametrize("assume,count", (("all", len(NAMES)), ("mds,v2", 2)))
def test_assumed(boot, assume, count):
    machine = boot(CONFIG, options=["assume=" + assume], cores=2, memory=256)
    assert machine.wait(180) == 0, machine.ending
    lines = re.findall(r"^boot: [^(\n]+\((\w+)\): (not affected|mitigated: .+|NOT mitigated: .+)$",
                       machine.text, re.MULTILINE)
    assert [name for name, _ in lines] == NAMES, machine.text
    states = dict(lines)
    assert len([1 for state in states.values() if state.endswith("; asked for")]) == count, lines
    assert states["mds"] == ("NOT mitigated: no MD_CLEAR: a guest may sample what its core did for "
                             "others; asked for"), lines
    assert states["v1"].startswith("mitigated: indices"), lines
    open_ones = [name for name, state in lines if state.startswith("NOT")]
    assert f"boot: {len(open_ones)} faults of this CPU are not mitigated" in machine.text
    for name in ("first", "second"):
        beats = re.findall(rf"^{name}\| hello: up \d+\.\d+ s, malloc ok", machine.text,
                           re.MULTILINE)
        assert len(beats) == 2, machine.text


def test_quiet(boot):
    """Without being asked the boot does not print the list."""
    machine = boot(CONFIG, cores=1, memory=128)
    assert machine.wait(180) == 0, machine.ending
    assert re.search(r"^boot: \d+ faults of this CPU are not mitigated: see the log$",
                     machine.text, re.MULTILINE), machine.text
    assert "(mds): " not in machine.text, machine.text
