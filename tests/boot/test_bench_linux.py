# SPDX-License-Identifier: BSD-2-Clause
"""`./bulkhead bench --linux`: the boot of stock Linux as a guest, beside the bare machine."""

import bench_linux
import pytest


@pytest.fixture(scope="module", name="boots")
def fixture_boots(tmp_path_factory):
    """(bare, guest): the figures of both boots."""
    directory = str(tmp_path_factory.mktemp("linux"))
    return bench_linux.measure_bare(directory), bench_linux.measure_guest(directory)


def test_ratio(boots):
    ratio, busy = bench_linux.ratios(*boots)
    assert ratio <= bench_linux.BAR
    assert busy <= bench_linux.BAR


def test_same_memory(boots):
    bare, guest = boots
    assert bare["mem_total_kb"] == guest["mem_total_kb"] > 0


def test_believable(boots):
    """Neither slept its boot away, and both were ticked as often as that took."""
    for figures in boots:
        assert figures["halted"] < figures["ticks"] / 100
        # CONFIG_HZ is 250; the first seconds have no local timer yet.
        ticks_a_second = figures["ticks"] / 50_000_000 * 250
        assert 0.7 * ticks_a_second < figures["local_timer"] < 1.02 * ticks_a_second


def test_exits(boots):
    guest = boots[1]
    assert guest["injected"] >= guest["local_timer"]
    assert guest["exits"]["local apic"] >= guest["local_timer"]  # an EOI each
    # Nothing is searched through the VMM, page after page.
    assert guest["exits"]["mmio"] < 5000
