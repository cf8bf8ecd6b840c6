# SPDX-License-Identifier: BSD-2-Clause
"""What the commands take: wrong arguments give status 64 everywhere, with the command's usage, and
nothing is done; nor is anything made where nobody asked for it. No emulator runs here."""

import os
import subprocess

import pytest

HELLO = "[vm one]\nimage = hello\nmemory = 8M\n"
MAC = "52:54:00:12:34:56"
SCRIPTS = ("run", "bench", "test")  # that are run as tools/NAME.py
WRONG = {
    "run": (
        ["--nonsense"], ["--on", "vmware"], ["--cores", "0"], ["--cores", "16", "--on", "bochs"],
        ["--cores", "65", "--on", "qemu"], ["--memory", "-1"], ["--memory", "1e3"],
        ["--memory", "31", "--on", "bochs"], ["--memory", "2049", "--on", "bochs"],
        ["--memory", "63", "--on", "qemu"], ["--memory", "16385", "--on", "qemu"],
        ["--cores", "65"], ["--memory", "20000"], ["--model", "no-such"],
        ["--model", "skylake_x", "--on", "qemu"],
        ["--model", "max", "--on", "bochs"], ["--firmware", "coreboot"], ["--boot", "floppy"],
        ["--board", "amiga"], ["--boot", "pxe", "--iso", "some.iso"],
        ["--firmware", "uefi", "--ips", "50000000"],
        ["--ips", "x"], ["--batch", "--until", "("], ["--until", "x"], ["--until", ""],
        ["--timeout", "1"], ["--batch", "--timeout", "0"], ["--batch", "--timeout=-1"],
        ["--batch", "--timeout", "nan"], ["--batch", "--timeout", "inf"],
        ["--batch", "--timeout", "soon"], ["--kernel-args", "a/b"], ["one.conf", "two.conf"],
        ["some.conf", "--iso", "some.iso"]),
    "iso": (
        [], ["--nonsense"], ["some.conf", "some.conf"], ["some.conf", "-o"],
        ["some.conf", "-o", ""], ["some.conf", "--kernel-args"],
        ["some.conf", "--kernel-args", "a/b"]),
    "pxe": (
        [], ["--nonsense"], ["some.conf"], ["-o", "out"], ["some.conf", "-o"],
        ["some.conf", "some.conf", "-o", "out"], ["some.conf", f"{MAC}=", "-o", "out"],
        [f"{MAC}=some.conf", "-o", "out"], ["some.conf", "52:54=some.conf", "-o", "out"],
        ["some.conf", "-o", "out", "--server", "host"], ["some.conf", "-o", "out", "--option"]),
    "check": (
        [], ["--nonsense"], ["some.conf", "some.conf"], ["--cores", "0", "some.conf"],
        ["--cores", "65", "some.conf"], ["--cores", "+1", "some.conf"], ["some.conf", "--cores"],
        ["--memory", "0", "some.conf"], ["--memory", "-1", "some.conf"],
        ["--memory", "4294967296", "some.conf"]),
    "test": (["--nonsense"],),
    "bench": (["--nonsense"], ["more"], ["--linux", "--kernel-args", "trace"], ["--on", "xen"],
              ["--linux", "--on", "qemu"]),
    "lines": (["--nonsense"], ["more"]),
    "build": (["nonsense"], ["clang", "more"]),
    "setup": (["more"],),
    "clean": (["more"],),
    "help": (["more"],),
    "nonsense": ([],),
}


def call_in(directory, *command):
    return subprocess.run(command, check=False, cwd=directory, text=True, capture_output=True,
                          timeout=240)


@pytest.fixture
def bulkhead(config_dir, tmp_path):
    """bulkhead(word…) -> the finished command, called where some.conf is."""
    (tmp_path / "some.conf").write_text(HELLO)
    (tmp_path / "some.iso").write_bytes(b"")

    def call(*words):
        return call_in(tmp_path, os.path.join(os.path.dirname(config_dir), "bulkhead"), *words)
    return call


@pytest.fixture
def script(config_dir, tmp_path):
    def call(command, *words):
        path = os.path.join(os.path.dirname(config_dir), "tools", command + ".py")
        return call_in(tmp_path, "/usr/bin/python3", path, *words)
    return call


@pytest.mark.parametrize("command, words", [
    pytest.param(command, words, id=" ".join([command, *words]).replace("/", ":"))
    for command, several in WRONG.items() for words in several])
def test_wrong(bulkhead, script, tmp_path, command, words):
    """The first of each command through ./bulkhead, which looks first whether all is built."""
    before = sorted(tmp_path.iterdir())
    call = bulkhead if command not in SCRIPTS or words is WRONG[command][0] else script
    result = call(command, *words)
    assert result.returncode == 64, result.stderr
    assert result.stdout == "", result.stdout
    shown = "COMMAND" if command == "nonsense" else command
    assert f"usage: ./bulkhead {shown}" in result.stderr, result.stderr
    assert "bulkhead-check" not in result.stderr and "Traceback" not in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("words, says", (
    ("--firmware uefi", "Bochs' firmware is a BIOS; --on qemu has UEFI"),
    ("--boot usb", "Bochs does not boot from USB; --on qemu does"),
    ("--board pc", "Bochs has one board; --on qemu has q35 and pc"),
    ("--cores 16", "Bochs can have 1 to 15 cores; --on qemu has more"),
    ("--cores 15 --boot pxe", "Bochs can have 1 to 14 cores with a network card; --on qemu"),
    ("--memory 4096", "Bochs can have 32 to 2048 MB of memory; --on qemu can have more"),
    ("--model EPYC", "Bochs knows no CPU model EPYC: 'bochs --help cpu' has a list")))
def test_not_bochs(bulkhead, words, says):
    """What QEMU can and Bochs cannot is said so."""
    result = bulkhead("run", "--on", "bochs", *words.split(), "some.conf")
    assert result.returncode == 64 and says in result.stderr, result.stderr


@pytest.mark.parametrize("command", ("run", "iso", "pxe", "check", "test", "bench", "lines"))
def test_help(bulkhead, command):
    result = bulkhead(command, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: ./bulkhead {command}"), result.stdout


def test_largest(bulkhead):
    """What is just not too much."""
    result = bulkhead("check", "--cores", "64", "--memory", "4294967295", "some.conf")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("words, says", (
    (["iso", "some.conf", "-o", "no/where.iso"], "no/where.iso: there is no folder no"),
    (["iso", "some.conf", "-o", "new/"], "new/ is a folder's name"),
    (["iso", "some.conf", "-o", "some.iso/x"], "some.iso/x: there is no folder some.iso"),
    (["iso", "some.conf", "-o", "."], ". is a folder"),
    (["iso", "some.conf", "-o", "pipe"], "pipe is not a file"),
    (["pxe", "some.conf", "-o", "no/where"], "no/where: there is no folder no"),
    (["pxe", "some.conf", "-o", "some.iso/x"], "some.iso/x: there is no folder some.iso"),
), ids=lambda value: value if isinstance(value, str) else " ".join(value).replace("/", ":"))
def test_nowhere(bulkhead, tmp_path, words, says):
    """No folder is made on the way, and what is no file is not replaced."""
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    result = bulkhead(*words)
    assert result.returncode == 1 and says in result.stderr, result.stderr
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "pipe").is_fifo()
