# SPDX-License-Identifier: BSD-2-Clause
"""./bulkhead run and iso, as people and scripts call them."""

import os
import shutil
import subprocess

import pexpect
import pytest

HELLO = "[vm one]\nimage = hello\nmemory = 8M\n"
KILLED = "[vm two]\nimage = test-isolation\ncmdline = end=idt\nmemory = 8M\n"


@pytest.fixture
def bulkhead(config_dir):
    """The command, and where it is."""
    return os.path.join(os.path.dirname(config_dir), "bulkhead")


@pytest.fixture
def run(bulkhead, tmp_path, kind):
    """run(config, arguments…) calls ./bulkhead run --batch on a machine of one core, from
    elsewhere; returns the finished process."""
    def call(text, *arguments):
        config = tmp_path / "some.conf"
        config.write_text(text)
        return subprocess.run(
            [bulkhead, "run", "--on", kind.emulator, "--batch", "--cores", "1", "--memory", "128",
             *arguments, "some.conf"],
            check=False, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    return call


@pytest.mark.only("qemu", "Bochs boots by disc and network in other tests, and no other way")
@pytest.mark.parametrize("medium, board", [
    pytest.param(medium, board, marks=[pytest.mark.long] * (board == "pc" and medium != "cd"))
    for medium in ("cd", "usb", "pxe") for board in ("q35", "pc")])
@pytest.mark.parametrize("firmware", ("bios", "uefi"))
def test_qemu(run, firmware, medium, board):
    """Each way to boot in QEMU ends at running guests, with the kernel's words."""
    result = run(HELLO, "--firmware", firmware, "--boot", medium, "--board", board,
                 "--memory", "256", "--kernel-args", "without=pcid turbo", "--timeout", "120",
                 "--until", r"^one\| hello: up 1\.")
    assert result.returncode == 0, result.stdout + result.stderr
    medium = {"cd": "a disc", "usb": "a USB stick", "pxe": "the network"}[medium]
    assert (f"[bulkhead] qemu, 1 core, 256 MB, model max, {board}, {firmware.upper()} from {medium}"
            in result.stderr), result.stderr
    assert "kernel option 'turbo' is not known" in result.stdout, result.stdout


def test_until(run):
    result = run(HELLO, "--until", r"^one\| hello: up 2\.\d+ s, .*pi=3.1415\d$")
    assert result.returncode == 0, result.stderr
    assert "hello: up 2." in result.stdout and "hello: up 4." not in result.stdout


def test_timeout(run):
    result = run(HELLO, "--until", "never said", "--timeout", "4")
    assert result.returncode == 124, result.stderr
    assert "not done after 4 s" in result.stderr


def test_killed(run):
    result = run(HELLO.replace("hello\n", "hello\ncmdline = count=1\n") + KILLED)
    assert result.returncode == 1, result.stderr
    assert "two| [vmm] killed: the CPU itself accesses gpa " in result.stdout
    assert "one| hello: up 1." in result.stdout


def test_halted_for_good(run):
    """HLT with interrupts off is said, and when nobody is left who could go on, that is the end:
    what was waited for will not come."""
    halting = "[vm two]\nimage = test-hog\ncmdline = mode=hlt\nmemory = 8M\n"
    result = run(HELLO.replace("hello\n", "hello\ncmdline = count=2\n") + halting,
                 "--until", "never said")
    assert result.returncode == 1, result.stderr
    assert "each VM that is left has halted for good" in result.stderr
    lines = result.stdout.replace("\r", "").split("\n")
    assert lines.count("two| [vmm] the guest has halted with interrupts off: "
                       "it will never go on") == 1, result.stdout
    halted = lines.index("bulkhead| VM 'two' has halted for good (HLT with interrupts off)")
    off = lines.index("bulkhead| VM 'one' powered off")
    stuck = lines.index("bulkhead| no VM can go on: each that is left has halted for good")
    assert halted < off and halted < stuck, result.stdout


def test_kernel_args(run):
    """Words for the kernel: what it knows it does, what nobody knows is said."""
    result = run(HELLO.replace("hello\n", "hello\ncmdline = count=1\n"), "--kernel-args",
                 "assume=mds,nothing without=pcid turbo")
    assert result.returncode == 0, result.stderr
    assert "boot: MDS (mds): NOT mitigated: " in result.stdout, result.stdout
    assert "bulkhead| kernel option assume=: there is no 'nothing'; there are " in result.stdout
    assert ("bulkhead| kernel option 'turbo' is not known, and does nothing; known are "
            "assume=NAME,..., without=pcid, without=x2apic, ") in result.stdout, result.stdout


def test_images_beside_the_config(bulkhead, tmp_path, boot):
    """An ISO of a config elsewhere, with images of its own, found relative to the config."""
    images = os.path.join(os.path.dirname(bulkhead), "build", "images")
    folder = tmp_path / "my vms"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(os.path.join(images, "hello"), folder / "sub" / "mine.elf")
    (folder / "my.conf").write_text("[vm own]\nimage = sub/mine.elf\nmemory = 8M\n")
    iso = tmp_path / "out.iso"
    result = subprocess.run([bulkhead, "iso", "my vms/my.conf", "-o", str(iso)], check=False,
                            cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    machine = boot(None, iso=str(iso), cores=1, memory=128)
    machine.expect(r"^own\| hello: up 1\.", 120)


def test_terminal(bulkhead, tmp_path, kind):
    """A person's terminal: the console's keys reach it, and Ctrl-A x ends the machine."""
    config = tmp_path / "some.conf"
    config.write_text(HELLO)
    words = ["run", "--on", kind.emulator, "--cores", "1", "--memory", "128", str(config)]
    child = pexpect.spawn(bulkhead, words, timeout=120, encoding="utf-8")
    try:
        child.expect_exact("Ctrl-] ? lists the console's keys; Ctrl-A x ends the machine")
        child.expect(r"\r\none\| hello: up 1\.")
        child.send("\x1dm")
        child.expect_exact("[monitor; Ctrl-] a: all VMs, Ctrl-] ?: help]")
        child.expect_exact("bulkhead> ")
        child.send("vm list\r")
        child.expect(r"one +running +0")
        child.send("\x01x")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
    finally:
        child.close(force=True)
