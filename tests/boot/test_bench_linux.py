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
    """But for a page: Linux notes that the bare machine has an HPET, and ACPI tables in RAM."""
    bare, guest = (figures["mem_total_kb"] for figures in boots)
    assert 0 <= guest - bare <= 4 and bare > 0, (bare, guest)


def test_believable(boots):
    """Neither slept its boot away, and both were ticked as often as that took."""
    for figures in boots:
        assert figures["halted"] < figures["ticks"] / 100
        # CONFIG_HZ is 250. While Linux unpacks itself it has no clock, and then for up to 1.7 s a
        # clock that nothing ticks. On the bare machine it then begins with the PIT's IRQ 0.
        assert 0 < figures["clock"] < figures["ticks"]
        due = figures["clock"] / 50_000_000 * 250
        assert due - 500 < figures["local_timer"] + figures["irq0"] < 1.02 * due


def test_exits(boots):
    guest = boots[1]
    assert guest["injected"] >= guest["local_timer"]
    assert guest["exits"]["local apic"] >= guest["local_timer"]  # an EOI each
    # Nothing is searched through the VMM, page after page.
    assert guest["exits"]["mmio"] < 5000
