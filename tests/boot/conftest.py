# SPDX-License-Identifier: BSD-2-Clause
"""Boot tests: each makes its own config and ISO, boots it in an emulator, and reads the serial
line.

They need `./bulkhead build` to have run. `--only WORD` (repeatable) selects tests by a part of
their name boot.FILE.TEST, as `./bulkhead test` does. Tests marked `long` run with `--long` only.

Each test that boots runs on every kind of machine: in Bochs, whose CPUs have VMX, and in QEMU,
whose CPUs have SVM; if it is marked `models`, on several models of each. One that does not run on
all of them is marked `only`, with the emulator that it runs in and the reason why it does not in
the other: there it is skipped, and that is told.
"""

import os
import subprocess
import sys
from typing import NamedTuple

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))

from boot_names import boot_name  # noqa: E402  pylint: disable=wrong-import-position
from machine import Machine  # noqa: E402  pylint: disable=wrong-import-position


class Kind(NamedTuple):
    """A kind of machine."""
    name: str
    emulator: str
    model: str

    @property
    def on_bochs(self):
        """Whether it is Bochs', with VMX, rather than QEMU's, with SVM."""
        return self.emulator == "bochs"

    def arguments(self, cores):
        """Those of a Machine of this kind. In QEMU, one core has 62 M instructions a second, about
        as many as in Bochs. Several take turns that are as long, in instructions, whatever a second
        has: with 250 M they are short enough for what the tests say of time."""
        icount = None if self.on_bochs else 4 if cores == 1 else 2
        return {"emulator": self.emulator, "model": self.model, "icount": icount}


KINDS = (Kind("bochs", "bochs", "skylake_x"), Kind("qemu", "qemu", "max"))
MODELS = tuple(Kind(model, "bochs", model) for model in ("skylake_x", "haswell", "ivy_bridge")) + \
    tuple(Kind(f"qemu-{model}", "qemu", model) for model in ("max", "EPYC"))


def pytest_addoption(parser):
    parser.addoption("--only", action="append", default=[], metavar="WORD")
    parser.addoption("--long", action="store_true", help="also the tests that take many minutes")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes many minutes; runs with --long only")
    config.addinivalue_line("markers", "models(long=()): runs on several models of CPUs, on "
                            "those that have such a word in their name with --long only")
    config.addinivalue_line("markers", "slow(emulator): takes so long in that one that it runs in "
                            "the other, and in both with --long")
    config.addinivalue_line("markers", "only(emulator, reason): does not run in the other one")


def pytest_generate_tests(metafunc):
    if "kind" not in metafunc.fixturenames:
        return
    models = metafunc.definition.get_closest_marker("models")
    only = metafunc.definition.get_closest_marker("only")
    emulator, reason = only.args if only else (None, "")
    slow = metafunc.definition.get_closest_marker("slow")
    long = models.kwargs.get("long", ()) if models else ()

    def marks(kind):
        skipped = emulator not in (None, kind.emulator)
        return ([pytest.mark.skip(reason=reason)] if skipped else []) + \
            [pytest.mark.long for word in long if word in kind.name] + \
            ([pytest.mark.long] if slow and slow.args[0] == kind.emulator else [])
    metafunc.parametrize("kind", [pytest.param(kind, id=kind.name, marks=marks(kind))
                                  for kind in (MODELS if models else KINDS)],
                         indirect=True, scope="module")


def some(values, always):
    """For parametrize: all the values, of which these always run, and the others with --long."""
    return [value if value in always else pytest.param(value, marks=pytest.mark.long)
            for value in values]


def name_of(item):
    return boot_name(os.path.basename(str(item.fspath)).removesuffix(".py"), item.name)


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


def boots(directory, kind):
    """Yields boot(text, files=…, options=…, **machine), which boots a config, or iso=FILE or
    tree=FOLDER, on a machine of that kind, and returns the running Machine; stops what was started.

    In QEMU, time passes by instructions unless icount=None or paced=True: then it is the host's,
    the cores run side by side, and what else the host does shows. A number of instructions per
    second is for Bochs. With `emulator` it is that one, whatever the kind."""
    machines = []

    def start(text, files=None, options=(), iso=None, **arguments):
        if iso is None and "tree" not in arguments:
            iso = build_iso(directory, text, files, options)
        if "emulator" not in arguments:
            arguments = kind.arguments(arguments.get("cores", 2)) | arguments
            if not kind.on_bochs:
                arguments.pop("ips", None)
                if arguments.get("paced"):
                    arguments["icount"] = None
        machine = Machine(iso, **arguments)
        machines.append(machine)
        machine.start()
        return machine
    yield start
    for machine in machines:
        machine.stop()


@pytest.fixture(scope="module", name="kind")
def kind_fixture(request):
    """The kind of machine that a test runs on."""
    return request.param


@pytest.fixture
def boot(tmp_path, kind):
    """A boot for one test."""
    yield from boots(tmp_path, kind)


@pytest.fixture(scope="module")
def boot_module(tmp_path_factory, kind):
    """A boot for all tests of a file."""
    yield from boots(tmp_path_factory.mktemp("boot"), kind)


@pytest.fixture(scope="session")
def config_dir():
    """Where the project's own configs are."""
    return os.path.join(ROOT, "config")
