# SPDX-License-Identifier: BSD-2-Clause
"""The paths that `./bulkhead bench --on qemu` measures, with fewer rounds, against the same bars;
and what one round of some of them executes."""

import os

import bench
import bench_qemu
import pytest

ROUNDS = 2000


@pytest.fixture(scope="module", name="figures")
def fixture_figures(tmp_path_factory):
    """{path: {"min", "median", "max"}}, measured once for all tests of this file."""
    return bench.measure_run(bench.QEMU_RUNS[0], str(tmp_path_factory.mktemp("bench")),
                             f"rounds={ROUNDS}", emulator="qemu", model=bench_qemu.MODEL, icount=0)


@pytest.mark.parametrize("path", sorted(bench_qemu.BARS))
def test_path(figures, path):
    assert figures[path]["median"] <= bench_qemu.BARS[path]


@pytest.mark.parametrize("path", bench_qemu.TRACED)
def test_traced(figures, path):
    """The log has as many instructions for a round as the clock, so none is overlooked; it enters
    the guest once, and moves none of what VMRUN leaves alone."""
    ticks, operations = bench_qemu.trace(path, bench.make_iso, bench.with_options,
                                         os.path.join(bench.CONFIGS, bench.QEMU_RUNS[0].config))
    assert ticks == figures[path]["median"], operations
    assert operations["VMRUN"] == 1 and operations["WRGSBASE"] == 2, operations
    assert not any(operations[name] for name in bench_qemu.FORBIDDEN), operations
