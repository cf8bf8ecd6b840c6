# SPDX-License-Identifier: BSD-2-Clause
"""Test guests judge the virtual PC from inside, one line per assertion; and bad neighbours."""

import re

import pytest

MODELS = ("skylake_x", "haswell", "ivy_bridge")
TEST_GUESTS = ("test-cpu", "test-apic", "test-pic", "test-mmio")
HOGS = ("cli-spin", "cpuid", "out", "mmio", "flood", "triple", "hlt")


def run_test_guest(boot, guest, model, cores):
    config = f"[vm test]\nimage = {guest}\nmemory = 16M\n"
    machine = boot(config, options=["batch"], model=model, cores=cores, memory=256)
    machine.wait(300)
    failures = re.findall(r"^test\| (?:FAIL|GUEST-FAIL) .*$", machine.text, re.MULTILINE)
    assert not failures, "\n".join(failures)
    assert re.search(r"^test\| done [1-9]\d* passed, 0 failed", machine.text, re.MULTILINE), \
        machine.text
    assert machine.status == 0, machine.ending


@pytest.mark.parametrize("guest", TEST_GUESTS)
@pytest.mark.parametrize("model", MODELS)
def test_guest(boot, guest, model):
    run_test_guest(boot, guest, model, 1)


@pytest.mark.parametrize("guest", TEST_GUESTS)
@pytest.mark.parametrize("cores", (2, 4))
def test_guest_cores(boot, guest, cores):
    run_test_guest(boot, guest, "skylake_x", cores)


def test_echo(boot):
    config = "[vm echo]\nimage = echo\nmemory = 16M\ncmdline = count=3\n"
    machine = boot(config, options=["batch"], memory=256)
    assert machine.wait(180) == 0, machine.ending
    rates = re.findall(r"^echo\| echo: (\d+\.\d) MB/s, (\d+\.\d) MB verified$", machine.text,
                       re.MULTILINE)
    assert len(rates) == 3 and float(rates[-1][1]) > 0, machine.text


@pytest.mark.parametrize("mode", HOGS)
def test_hog(boot, mode):
    """On one core with a bad neighbour, the good guest with a budget keeps its heartbeat."""
    config = (f"[vm hog]\nimage = test-hog\nmemory = 8M\ncores = 0\ncmdline = mode={mode}\n"
              "[vm good]\nimage = hello\nmemory = 8M\ncores = 0\nshare = 50%\n")
    machine = boot(config, memory=256, cores=1)
    for second in (1, 2, 3):
        machine.expect(rf"^good\| hello: up {second}\.0\d\d s, malloc ok", 180)


def test_triple_fault_is_a_killed_vm(boot):
    config = "[vm hog]\nimage = test-hog\nmemory = 8M\ncmdline = mode=triple\n"
    machine = boot(config, options=["batch"], memory=256, cores=1)
    assert machine.wait(120) == 1, machine.ending
