# SPDX-License-Identifier: BSD-2-Clause
"""The test board of a VM with `testdev = yes`: what is on it, and how a VM ends by it."""

import os
import subprocess

import pytest

BOARD = "[vm {0}]\nimage = test-testdev\nmemory = 16M\ntestdev = yes\ncmdline = end={1}\n"


@pytest.fixture
def run(config_dir, tmp_path, kind):
    """run(config) calls ./bulkhead run --batch on a machine of one core; returns the finished
    process."""
    def call(text, *arguments):
        config = tmp_path / "some.conf"
        config.write_text(text)
        return subprocess.run(
            [os.path.join(os.path.dirname(config_dir), "bulkhead"), "run", "--on", kind.emulator,
             "--batch", "--cores", "1", "--memory", "128", "--timeout", "180", *arguments,
             str(config)],
            check=False, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    return call


def passed(text, name):
    """The guest's verdict on what it has tried."""
    return f"{name}| done " in text and ", 0 failed" in text and f"{name}| FAIL" not in text


def test_exit(run):
    """The status of the last VM is the machine's, whatever its value; and it goes without the
    emulator's exit port."""
    result = run(BOARD.format("one", "exit value=0x10"), "--kernel-args", "without=exit-port")
    assert passed(result.stdout, "one"), result.stdout
    assert result.returncode == 33, result.stdout + result.stderr
    assert "one| [vmm] the guest wrote 0x10 to port 0xf4: status 33" in result.stdout
    assert "bulkhead| VM 'one' ended with status 33, by its test board" in result.stdout
    assert "the status of VM 'one' is 33" in result.stderr, result.stderr


def test_not_the_last(run):
    """Of a VM that others outlive, the status is told and no more; the word is a power-off; and
    where there is no test board, nobody hears what is written."""
    quick = BOARD.format("one", "exit").replace("memory", "share = 50%\nmemory")
    rest = BOARD.format("two", "word delay=3000")
    none = BOARD.format("none", "none").replace("testdev = yes\n", "")
    result = run(quick + rest + none)
    for name in ("one", "two", "none"):
        assert passed(result.stdout, name), result.stdout
    assert result.returncode == 0, result.stdout + result.stderr
    assert "bulkhead| VM 'one' ended with status 1, by its test board" in result.stdout
    assert "bulkhead| VM 'two' powered off" in result.stdout
    assert "still here" not in result.stdout, result.stdout
