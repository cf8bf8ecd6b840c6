# SPDX-License-Identifier: BSD-2-Clause
"""Debian's unmodified kernel boots to its shell beside another guest, and is used."""

import re

PROMPT = r"^linux\|.*/ # ?$"
TROUBLE = (r"WARN", r"unchecked MSR", r"Firmware Bug", r"nobody cared", r"Unable to calibrate",
           r"TSC unstable", r"Call Trace", r"BUG:", r"Oops")
CONFIG = """
[vm linux]
image   = vmlinuz
initrd  = initrd.img
cmdline = console=ttyS0
memory  = 256M

[vm hello]
image   = hello
memory  = 8M
"""
FOCUS_LINUX = b"\x1dlinux\r"
MERGED = b"\x1da"


class Shell:
    """The guest's shell, with the console focused on it, where lines have no prefix."""

    def __init__(self, machine):
        self.machine = machine
        self.count = 0

    def run(self, command, timeout=120):
        """Runs a command; returns its output. The markers are put together by the shell, so that
        the echo of the command does not look like them."""
        self.count += 1
        begin, end = f"<{self.count}", f"{self.count}>"
        self.machine.send(f"echo '<'{self.count}; {command}; echo {self.count}'>'\r")
        self.machine.expect(rf"^(linux\| )?{begin}$", timeout)
        start = len(self.machine.text)
        self.machine.expect(rf"^(linux\| )?{end}$", timeout)
        return self.machine.text[start:].rsplit(end, 1)[0]


def interrupts(table, row):
    """The first CPU's count in a row of /proc/interrupts."""
    match = re.search(rf"^.*?\b{row}.*$", table, re.MULTILINE)
    assert match, table
    return int(re.search(r":\s+(\d+)", match.group(0)).group(1))


def test_shell_and_poweroff(boot):
    machine = boot(CONFIG, model="skylake_x", cores=2, memory=1024)
    machine.expect(PROMPT, 600)
    for pattern in TROUBLE:
        assert not re.search(rf"^linux\|.*{pattern}", machine.text, re.MULTILINE), pattern
    assert re.search(r"^hello\| hello: up ", machine.text, re.MULTILINE)

    machine.send(FOCUS_LINUX)
    shell = Shell(machine)
    assert "hypervisor" in shell.run("grep -o -m1 hypervisor /proc/cpuinfo")
    before = shell.run("cat /proc/interrupts")
    after = shell.run("cat /proc/interrupts")
    line = r"(?:ttyS0|serial)"
    first = re.search(rf"^\D*\d+:\s+(\d+).*{line}", before, re.MULTILINE)
    second = re.search(rf"^\D*\d+:\s+(\d+).*{line}", after, re.MULTILINE)
    assert first and second, before + after
    assert int(second.group(1)) > int(first.group(1))
    assert interrupts(after, "LOC") > interrupts(before, "LOC")
    log = shell.run("dmesg")
    for pattern in TROUBLE:
        assert not re.search(pattern, log), pattern

    machine.send(b"poweroff -f\r")
    machine.expect(r"reboot: Power down", 60)
    machine.send(MERGED)
    # The neighbour's heart goes on.
    machine.expect(r"^hello\| hello: up ", 60)
    machine.expect(r"^hello\| hello: up ", 60)
    assert machine.running
