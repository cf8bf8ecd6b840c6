# SPDX-License-Identifier: BSD-2-Clause
"""Config mistakes, on the host and at boot: a message that says where, no hang, and the good VMs
run. One boot has all mistakes in one file."""

import os
import random
import re
import subprocess

import pytest

# Each mistake: the VM that has it (its lines are numbered from 1), and what the message says. The
# first VM is good, and takes 60% of core 0.
GOOD = "[vm good]\nimage = hello\nmemory = 8M\ncores = 0\nshare = 60%\ncmdline = count=2\n"
MISTAKES = {
    "unknown-key": ("[vm bad1]\nimage = hello\nmemroy = 8M\n",
                    r"{3}:1: unknown key 'memroy' in \[vm bad1\] \(did you mean 'memory'\?\)"),
    "bad-number": ("[vm bad2]\nimage = hello\nmemory = 8Q\n", r"{3}:10: bad size '8Q'"),
    "missing-image": ("[vm bad3]\nimage = nowhere\nmemory = 8M\n",
                      r"{2}:9: image 'nowhere' not found"),
    "unknown-format": ("[vm bad4]\nimage = garbage\nmemory = 8M\n",
                       r"{2}:9: image 'garbage' has an unknown format"),
    "too-much-memory": ("[vm bad5]\nimage = hello\nmemory = 64G\n",
                        r"{3}:10: memory = 64G is more than there is: \d+M"),
    "no-vcpus": ("[vm bad6]\nimage = hello\nmemory = 8M\nvcpus = 0\n",
                 r"{4}:9: vcpus = 0: a VM needs at least one"),
    "shares": ("[vm bad7]\nimage = hello\nmemory = 8M\ncores = 0\nshare = 50%\n",
               r"{5}:9: shares of core 0 add up to 120% with \[vm bad7\]"),
    "duplicate-name": ("[vm good]\nimage = hello\nmemory = 8M\n", r"{1}:5: VM 'good' again"),
    "no-such-core": ("[vm bad8]\nimage = hello\nmemory = 8M\ncores = 7\n",
                     r"{4}:9: core 7 does not exist"),
    "no-image": ("[vm bad9]\nmemory = 8M\n", r"{1}:\d+: .*\bimage\b"),
    "bad-name": ("[vm b@d]\nimage = hello\n", r"{1}:6: bad VM name 'b@d'"),
    "no-sense": ("what is this\n", r"{1}:1: expected 'key = value' or a section header"),
}
FINE = "[vm fine]\nimage = hello\nmemory = 8M\ncmdline = count=2\n"
FILES = {"garbage": b"this is no kernel " * 1000}
NOTHING = {"empty": "", "no-vm": "[system]\nlog = info\n"}


def at_line(message, line):
    """The message with its line numbers, for a mistake whose first line is `line`."""
    return re.sub(r"^\{(\d)\}", lambda match: str(line + int(match.group(1)) - 1), message)


def all_mistakes():
    """The file with all mistakes between two good VMs, and the patterns of the messages."""
    text = GOOD
    patterns = []
    for mistake, message in MISTAKES.values():
        patterns.append(rf"test\.conf:{at_line(message, text.count(chr(10)) + 1)}")
        text += mistake
    return text + FINE, patterns


def noise():
    return random.Random(1).randbytes(1 << 20)


@pytest.fixture
def check(tmp_path, config_dir):
    """check(text) runs the host's checker, as ./bulkhead check does; -> its status and words."""
    def run(text):
        build = os.path.join(os.path.dirname(config_dir), "build")
        config = tmp_path / "test.conf"
        config.write_bytes(text if isinstance(text, bytes) else text.encode())
        for name, content in FILES.items():
            (tmp_path / name).write_bytes(content)
        result = subprocess.run(
            [os.path.join(build, "host", "bulkhead-check"), "--path",
             os.path.join(build, "images"), "--memory", "256", "--cores", "1", str(config)],
            check=False, capture_output=True, text=True, errors="replace", timeout=30)
        return result.returncode, result.stdout + result.stderr
    return run


@pytest.mark.parametrize("mistake", sorted(MISTAKES))
def test_host(check, mistake):
    text, message = MISTAKES[mistake]
    status, said = check(GOOD + text)
    line = GOOD.count("\n") + 1
    assert status == 1, said
    assert re.search(rf"test\.conf:{at_line(message, line)}", said), said
    assert len(said.splitlines()) == 1, said


def test_host_all(check):
    text, patterns = all_mistakes()
    status, said = check(text)
    assert status == 1
    for pattern in patterns:
        assert re.search(pattern, said), f"{pattern}\n{said}"
    assert len(said.splitlines()) == len(patterns), said


def test_host_good(check):
    status, said = check(GOOD + FINE)
    assert status == 0 and "no mistake, 2 VMs" in said


def test_host_nothing(check):
    for text in (*NOTHING.values(), noise()):
        status, said = check(text)
        assert status == 1 and re.search(r"test\.conf:\d+:", said), said


def test_boot_all(boot):
    text, patterns = all_mistakes()
    machine = boot(text, files=FILES, memory=256, cores=1)
    assert machine.wait(180) == 0, machine.ending
    said = machine.text
    for pattern in patterns:
        assert re.search(rf"^bulkhead\| {pattern}", said, re.MULTILINE), f"{pattern}\n{said}"
    for name in ("good", "fine"):
        assert re.search(rf"^{name}\| hello: up 2\.0\d\d s, malloc ok", said, re.MULTILINE), said
    started = re.findall(r"^bulkhead\| VM '(\S+)' started", said, re.MULTILINE)
    assert started == ["good", "fine"], said
    assert not re.search(r"^b[a@]d\d?\|", said, re.MULTILINE), said


@pytest.mark.parametrize("name", sorted(NOTHING))
def test_boot_nothing(boot, name):
    machine = boot(NOTHING[name], memory=256, cores=1)
    assert machine.wait(60) == 1, machine.ending
    assert re.search(r"^bulkhead\| test\.conf:\d+: (the file is empty|no VM is defined): "
                     r"add a \[vm NAME\]", machine.text, re.MULTILINE), machine.text


def test_boot_noise(boot):
    machine = boot(noise(), memory=256, cores=1)
    assert machine.wait(120) == 1, machine.ending
    assert re.search(r"^bulkhead\| test\.conf:\d+:\d+: ", machine.text, re.MULTILINE)
    assert re.search(r"^bulkhead\| test\.conf: \d+ more mistakes", machine.text, re.MULTILINE)
    assert "no VM could be started" in machine.text
