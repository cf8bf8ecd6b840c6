# SPDX-License-Identifier: BSD-2-Clause
"""Boot tests: each makes its own config and ISO, boots it in Bochs, and reads the serial line.

They need `./bulkhead build` to have run. `--only WORD` (repeatable) selects tests by a part of
their name boot.FILE.TEST, as `./bulkhead test` does. Tests marked `long` run with `--long` only.
"""

import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))

from machine import Machine  # noqa: E402  pylint: disable=wrong-import-position


def pytest_addoption(parser):
    parser.addoption("--only", action="append", default=[], metavar="WORD")
    parser.addoption("--long", action="store_true", help="also the tests that take many minutes")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes many minutes; runs with --long only")


def name_of(item):
    module = os.path.basename(str(item.fspath)).removesuffix(".py").removeprefix("test_")
    return f"boot.{module}.{item.name.removeprefix('test_')}"


def pytest_collection_modifyitems(config, items):
    words = config.getoption("--only")
    long = config.getoption("--long")
    chosen = [item for item in items
              if (long or not item.get_closest_marker("long"))
              and (not words or any(word in name_of(item) for word in words))]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def build_iso(directory, text, files=None, options=()):
    """Writes test.conf with the files beside it, and makes an ISO of it; returns its name."""
    config = directory / "test.conf"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    for name, content in (files or {}).items():
        (directory / name).write_bytes(content)
    iso = directory / "test.iso"
    command = [os.path.join(ROOT, "tools", "iso.sh"), str(config), "-o", str(iso)]
    command += ["--kernel-args", " ".join(options)]
    result = subprocess.run(command, check=False, capture_output=True, text=True,
                            errors="replace")
    assert result.returncode == 0, result.stderr
    return str(iso)


def boots(directory):
    """Yields boot(text, files=…, options=…, **machine), which boots a config, or iso=FILE or
    tree=FOLDER, and returns the running Machine; stops what was started."""
    machines = []

    def start(text, files=None, options=(), iso=None, **arguments):
        if iso is None and "tree" not in arguments:
            iso = build_iso(directory, text, files, options)
        machine = Machine(iso, **arguments)
        machines.append(machine)
        machine.start()
        return machine
    yield start
    for machine in machines:
        machine.stop()


@pytest.fixture
def boot(tmp_path):
    """A boot for one test."""
    yield from boots(tmp_path)


@pytest.fixture(scope="module")
def boot_module(tmp_path_factory):
    """A boot for all tests of a file."""
    yield from boots(tmp_path_factory.mktemp("boot"))


@pytest.fixture(scope="session")
def config_dir():
    """Where the project's own configs are."""
    return os.path.join(ROOT, "config")
