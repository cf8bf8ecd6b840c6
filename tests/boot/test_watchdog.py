# SPDX-License-Identifier: BSD-2-Clause
"""VMs that hang end by their watchdog and begin anew, and those whose guests say that they have
panicked too, beside others that do not notice."""

import os
import re
import stat
import subprocess

import pytest

import initrd
from conftest import ROOT
from stamps import MERGED, TIMES, ask_monitor, check_heartbeats
from test_linux import FOCUS_LINUX, PROMPT, Shell
from test_restart import GOOD, run_until_off

BAD = ("[vm bad]\nimage = test-watchdog\nmemory = 16M\ncores = 0\nshare = 40%\n"
       "restart-limit = 2 per 1h\n{keys}\ncmdline = {cmdline}\n")


def check_starts_again(boot, keys, cmdline, cause, state):
    """It ends for that cause each time, and at last for good. -> the text"""
    machine = run_until_off(boot, BAD.format(keys=f"restart = on-failure\n{keys}", cmdline=cmdline),
                            2, rf"bulkhead\| {cause}$", 4, 240)
    text = machine.text
    ask_monitor(machine, "vm list", rf"^bad +{state} ")
    return text


def lines(text, pattern):
    """How many lines of the VM `bad` match as a whole."""
    return len(re.findall(rf"^ *(?:\d+\.\d+ )?bad\| {pattern}$", text, re.MULTILINE))


def test_not_fed(boot):
    """Fed for a while, then no more: two stages later it ends, and shows where it hung. The next
    run can see what ended the last one."""
    text = check_starts_again(boot, "watchdog = yes", "mode=hang stage=400 feeds=5",
                              r"VM 'bad' hung: its watchdog has ended it", "hung")
    assert lines(text, "watchdog: first run") == 1, text
    assert lines(text, "watchdog: it ended the last run") == 2, text
    assert lines(text, r"fed 5") == 3, text
    assert lines(text, r"\[vmm\] hung: its watchdog was not fed in time") == 3, text
    assert lines(text, r"\[vmm\] code .* <eb> fe .*") == 3, text


@pytest.mark.slow("bochs")
def test_not_switched_on(boot):
    text = check_starts_again(boot, "watchdog = 2s", "mode=late",
                              r"VM 'bad' hung: its watchdog has ended it", "hung")
    assert lines(text, r"\[vmm\] hung: its watchdog was not switched on in time") == 3, text


@pytest.mark.slow("bochs")
def test_panics(boot):
    text = check_starts_again(boot, "", "mode=panic after=1000", r"VM 'bad' panicked", "panicked")
    assert lines(text, r"\[vmm\] the guest says that it has panicked") == 3, text
    assert lines(text, "goes on") == 0, text


@pytest.mark.slow("qemu")
def test_others(boot):
    """What the watchdog is, by a guest that keeps it from ending the VM; a VM without one; a panic
    with restart = never, and a crash with another, which go on."""
    modes = {"judge": "watchdog = 5m", "none": "", "panic": "", "crash": "restart = on-failure"}
    machine = boot("".join(f"[vm {mode}]\nimage = test-watchdog\nmemory = 8M\n{keys}\n"
                           f"cmdline = mode={mode} delay=8000\n" for mode, keys in modes.items()),
                   cores=1, memory=256)
    machine.expect_all([r"^judge\| done \d+ passed, 0 failed, 0 skipped$",
                        r"^none\| done 1 passed, 0 failed, 0 skipped$",
                        r"^bulkhead\| VM 'panic' says that it has panicked$",
                        r"^crash\| \[vmm\] the guest says that it has panicked, and starts its own "
                        r"kernel for that case$"], 120)
    ask_monitor(machine, "vm list", r"^panic +panicked ")
    machine.expect_all([rf"^{name}\| goes on$" for name in ("panic", "crash")], 120)
    assert machine.wait(120) == 0, machine.ending
    for name in modes:
        assert f"VM '{name}' powered off" in machine.text, machine.text


@pytest.mark.slow("bochs")
def test_paused(boot):
    """A VM that is paused hangs for others: its watchdog waits."""
    machine = boot(BAD.format(keys="watchdog = yes", cmdline="mode=hang stage=1000 feeds=1000") +
                   GOOD, cores=1, memory=256)
    machine.expect(r"^bad\| fed 2$", 120)
    ask_monitor(machine, "vm pause bad", r"^VM 'bad' is paused$")
    for _ in range(5):
        machine.expect(r"^good\| hello: up ", 60)
    ask_monitor(machine, "vm resume bad", r"^VM 'bad' goes on$")
    fed = int(machine.expect(r"^bad\| fed (\d+)$", 60).group(1))
    machine.expect(rf"^bad\| fed {fed + 3}$", 60)
    assert "hung" not in machine.text, machine.text


def initrd_with_modules(*names):
    """The suite's initramfs, and behind it another one with these modules of the kernel's package:
    Linux unpacks both."""
    folder = subprocess.run([os.path.join(ROOT, "tools", "linux-image.sh"), "modules"], check=True,
                            capture_output=True, text=True).stdout.rstrip("\n")
    archive = initrd.Archive()
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            archive.add(name, stat.S_IFREG | 0o644, file.read())
    archive.add("TRAILER!!!", 0)
    with open(os.path.join(ROOT, "build", "images", "initrd.img"), "rb") as file:
        return file.read() + bytes(archive.data)


@pytest.mark.only("qemu", "a boot of Linux takes half a minute in Bochs")
def test_linux_panics(boot):
    """The stock driver finds the port by ACPI, and a panic is the end of this run of the VM."""
    modules = ("pvpanic.ko", "pvpanic-mmio.ko")
    machine = boot(GOOD + "[vm linux]\nimage = vmlinuz\ninitrd = initrd-modules.img\n"
                   "memory = 128M\ncmdline = console=ttyS0 quiet\nrestart = on-failure\n"
                   "watchdog = yes\n",
                   files={"initrd-modules.img": initrd_with_modules(*modules)}, cores=1, memory=256)
    machine.expect(PROMPT, 300)
    machine.send(TIMES)
    machine.expect(r"^ *\d+\.\d+ good\| hello: up ", 60)
    machine.send(FOCUS_LINUX)
    machine.expect(r"^\[linux; ", 30)
    shell = Shell(machine)
    shell.run("; ".join(f"insmod /{name}" for name in modules))
    assert "QEMU0001:00" in shell.run("ls /sys/bus/platform/drivers/pvpanic-mmio")
    assert "0505-0505" in shell.run("cat /proc/ioports")
    assert re.search(r"^0x8086\s+0x25ab$", shell.run("cd /sys/bus/pci/devices/0000:00:1d.0; "
                                                     "echo $(cat vendor device)"), re.MULTILINE)
    machine.send("echo c >/proc/sysrq-trigger\r")
    machine.send(MERGED)
    machine.expect(r"linux\| \[vmm\] the guest says that it has panicked$", 60)
    panicked = machine.expect(r"bulkhead\| VM 'linux' panicked$", 60).start()
    machine.expect(r"bulkhead\| VM 'linux' started: ", 60)
    for _ in range(5):
        machine.expect(r"good\| hello: up ", 60)
    check_heartbeats(machine.text[panicked:], "good", "hello", 4)
