# SPDX-License-Identifier: BSD-2-Clause
"""Config mistakes: a message that says where, no hang, and the good VMs run."""

import random

import pytest

GOOD = """
[vm good]
image   = hello
cmdline = count=2
memory  = 8M
"""
BEAT = r"^good\| hello: up 1\.\d+ s, malloc ok"

# What is wrong, the text of a VM that has it, and what the message must match.
MISTAKES = {
    "unknown-key": ("[vm bad]\nimage = hello\nmemroy = 8M\n",
                    r"test\.conf:3:1: .*memroy.*memory"),
    "bad-number": ("[vm bad]\nimage = hello\nmemory = 8Q\n", r"test\.conf:3:\d+: "),
    "missing-image": ("[vm bad]\nimage = nowhere\nmemory = 8M\n", r"test\.conf:2:\d+: .*nowhere"),
    "unknown-format": ("[vm bad]\nimage = garbage\nmemory = 8M\n", r"test\.conf:2:\d+: .*garbage"),
    "too-much-memory": ("[vm bad]\nimage = hello\nmemory = 64G\n", r"test\.conf:3:\d+: "),
    "no-vcpus": ("[vm bad]\nimage = hello\nvcpus = 0\n", r"test\.conf:3:\d+: "),
    "duplicate-name": ("[vm good]\nimage = hello\nmemory = 8M\n", r"test\.conf:\d+:\d+: .*good"),
}
FILES = {"garbage": b"this is no kernel " * 1000}


@pytest.mark.parametrize("mistake", sorted(MISTAKES))
def test_mistake(boot, mistake):
    text, message = MISTAKES[mistake]
    # A second VM of a name is the mistake, so that one comes last.
    config = GOOD + text if mistake == "duplicate-name" else text + GOOD
    machine = boot(config, files=FILES, memory=256, cores=1)
    machine.expect_all((message, BEAT), 120)
    assert "bad|" not in machine.text


def test_shares_over_one_core(boot):
    vm = "[vm {0}]\nimage = hello\nmemory = 8M\ncores = 0\nshare = {1}%\n"
    machine = boot(vm.format("good", 60) + vm.format("bad", 50), memory=256, cores=1)
    machine.expect_all((r"test\.conf:\d+:\d+: .*", BEAT), 120)
    assert "bad|" not in machine.text


@pytest.mark.parametrize("text", ("", "[system]\nlog = info\n"), ids=("empty", "no-vm"))
def test_nothing_to_run(boot, text):
    machine = boot(text, options=["batch"], memory=256, cores=1)
    machine.expect(r"test\.conf:\d+: .*(is empty|no VM)", 120)
    assert machine.wait(60) in (0, 1)


def test_noise(boot):
    noise = random.Random(1).randbytes(1 << 20)
    machine = boot(noise, options=["batch"], memory=256, cores=1)
    machine.expect(r"test\.conf:\d+:\d+: ", 120)
    assert machine.wait(120) in (0, 1)
