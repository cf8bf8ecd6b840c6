# SPDX-License-Identifier: BSD-2-Clause
"""The paths that `./bulkhead bench` measures, with fewer rounds, against the same bars."""

import bench
import pytest

ROUNDS = 2000


@pytest.fixture(scope="module", name="figures")
def fixture_figures(tmp_path_factory):
    """{path: {"min", "median", "max"}}, measured once for all tests of this file."""
    directory = str(tmp_path_factory.mktemp("bench"))
    found = {}
    for run in bench.RUNS:
        # The two that yield to each other must have been in step for most of the rounds.
        rounds = "" if run.vm == "a" else f"rounds={ROUNDS}"
        found |= bench.measure_run(run, directory, rounds)
    found["boot.hello"] = bench.measure_boot(directory)
    return found


@pytest.mark.parametrize("path", sorted(bench.BARS))
def test_path(figures, path):
    assert path in figures, f"{path} was not measured"
    assert figures[path]["median"] <= bench.BARS[path]


def test_switch_switches(figures):
    """A yield to nobody is not what vm-switch measures."""
    assert figures["vm-switch"]["median"] > 2 * figures["hypercall"]["median"]


def test_boot_parts(figures):
    parts = figures["boot.hello"]
    assert 0 < parts["calibration"] and 0 < parts["zeroing"]
    assert parts["calibration"] + parts["zeroing"] < parts["median"]


def test_traced(tmp_path):
    """The emulator's debugger writes a trace in which the operations of a round are found."""
    run = bench.Run("bench.conf", "bench", only="out.vmm", name="out.vmm")
    ticks, operations = bench.trace_run(run, str(tmp_path))["out.vmm"]
    assert 0 < ticks <= bench.BARS["out.vmm"]
    assert operations["VMENTRY"] == operations["SYSENTER"] == operations["SYSEXIT"] == 1, operations
    assert operations["VMREAD"] > 0 and operations["SWAPGS"] == 2, operations
