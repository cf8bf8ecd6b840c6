# SPDX-License-Identifier: BSD-2-Clause
"""What a VM costs, and that `check --memory` says what a machine of that size says."""

import os
import re
import subprocess

import pytest

MOST = 768      # KB that a VM may take beside its memory
MACHINE = 512   # MB


def vm(name, memory, more=""):
    return f"[vm {name}]\nimage = hello\nmemory = {memory}M\n{more}"


def free_kb(boot, text, vms):
    """KB of free memory once that many VMs run."""
    machine = boot(text, cores=1, memory=MACHINE)
    machine.expect_all([rf"^v{i}\| hello: up 1\." for i in range(vms)], 120)
    machine.send("\x1dm")
    machine.expect(r"^bulkhead> $", 30)
    machine.send("memory\r")
    return int(machine.expect(r"^(\d+) KB of \d+ KB free", 30).group(1))


@pytest.mark.parametrize("memory", (8, 256))
def test_beside_its_memory(boot, memory):
    one = free_kb(boot, vm("v0", 8), 1)
    two = free_kb(boot, vm("v0", 8) + vm("v1", memory), 2)
    cost = one - two - (memory << 10)
    assert 0 < cost <= MOST, cost


@pytest.fixture
def check(config_dir, tmp_path):
    """check(text) -> status and words of the checker for the machine."""
    def run(text):
        build = os.path.join(os.path.dirname(config_dir), "build")
        (tmp_path / "test.conf").write_text(text)
        result = subprocess.run(
            [os.path.join(build, "host", "bulkhead-check"), "--path", os.path.join(build, "images"),
             "--memory", str(MACHINE), "--cores", "1", str(tmp_path / "test.conf")], check=False,
            capture_output=True, text=True, timeout=30)
        return result.returncode, result.stdout + result.stderr
    return run


def test_many(check, boot, tmp_path, config_dir):
    """As many VMs and files as there can be, with shares: 59 and 60."""
    images = os.path.join(os.path.dirname(config_dir), "build", "images")
    with open(os.path.join(images, "hello"), "rb") as file:
        hello = file.read()
    text = ""
    for i in range(60):
        (tmp_path / f"image{i}").write_bytes(hello)
        text += f"[vm v{i}]\nimage = image{i}\nmemory = 4M\ncores = 0\nshare = 1%\n"
    status, said = check(text)
    assert status == 1 and said.count("\n") == 1, said
    assert "[vm v59] is one too many: 59 VMs can be run" in said
    assert re.search(r"module 'sentry' is one file too many: 60 can be loaded at boot",
                     check(text + "[vm v60]\nimage = hello\nmodule = sentry\n")[1])
    machine = boot(text.replace("image59", "image0"), cores=1, memory=MACHINE)
    machine.expect(r"isolation audit: \d+ frames, no frame", 200)
    assert "one too many: 59 VMs can be run" in machine.text
    assert len(re.findall(r"^bulkhead\| VM 'v\d+' started", machine.text, re.MULTILINE)) == 59
    assert "cannot be started" not in machine.text, machine.text
