# SPDX-License-Identifier: BSD-2-Clause
"""config/demo.conf: Debian's unmodified kernel boots to its shell beside two others, and is used.

One boot serves all tests of this file, which run in their order.
"""

import os
import re

import pytest
from stamps import ENTRY, MERGED, TIMES, check_heartbeats, stamped

import bochs
import qemu

PROMPT = r"^linux\| / # ?(?:\[ *\d+\.\d+\] .*)?$"  # the kernel may have more to say behind it
TROUBLE = (r"WARN", r"unchecked MSR", r"Firmware Bug", r"nobody cared", r"Unable to calibrate",
           r"TSC unstable", r"Call Trace", r"BUG:", r"Oops", r"ACPI (?:BIOS )?Error",
           r"soft lockup", r"rcu.*stall", r"clocksource.*skew")
# Where QEMU's cores take turns, or run on the host's clock, another's turn falls into what an AMD's
# kernel measures.
OF_TIME = (r"Unable to calibrate",)
MEMORY = 256  # MB, as demo.conf says
FOCUS_LINUX = b"\x1dlinux\r"
BEATS = 5
IPS = 50_000_000  # in Bochs


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
        start = self.machine.expect(rf"^{begin}$", timeout).end()
        stop = self.machine.expect(rf"^{end}$", timeout).start()
        return self.machine.text[start:stop]


@pytest.fixture(scope="module")
def machine(boot_module, config_dir, kind):
    """The machine with demo.conf, Linux at its prompt, and some heartbeats."""
    with open(os.path.join(config_dir, "demo.conf"), encoding="ascii") as file:
        demo = file.read()
    if not kind.on_bochs:
        # Linux is at its prompt between two or three beats, and has its TSC calibrated before that.
        started = boot_module(demo, cores=2, memory=1024)
        started.expect_all((r"^bulkhead\| isolation audit: ", PROMPT,
                            rf"^hello\| hello: up {BEATS + 1}\."), 600)
        return started
    started = boot_module(demo, cores=2, memory=1024, ips=IPS)
    # Some heartbeats while Linux prints. Before, it unpacks itself: 250 M instructions and more, by
    # how it was compressed.
    started.expect_all((r"^bulkhead\| isolation audit: ", r"^linux\| \[ +0\.0"), 300)
    started.send(TIMES)
    for _ in range(BEATS + 1):
        started.expect(r"^ *\d+\.\d+ hello\| hello: up ", 120)
    started.send(TIMES)
    started.expect(PROMPT, 600)
    return started


@pytest.fixture(scope="module")
def frequency(kind):
    """Of the TSC, in Hz."""
    return IPS if kind.on_bochs else qemu.ICOUNT_HZ


@pytest.fixture(scope="module")
def shell(machine):
    machine.send(FOCUS_LINUX)
    machine.expect(r"^\[linux; ", 30)
    return Shell(machine)


def interrupts(table, row):
    """The count in a row of /proc/interrupts: of the line that ends in a device's name, or that
    begins with the row's own."""
    match = (re.search(rf"^ *\d+: +(\d+) .*\b{row}$", table, re.MULTILINE)
             or re.search(rf"^ *{row}: +(\d+)", table, re.MULTILINE))
    assert match, f"no {row} in:\n{table}"
    return int(match.group(1))


@pytest.mark.only("bochs", "Linux boots between two or three beats in QEMU")
def test_heartbeats_while_linux_boots(machine):
    """By the console's stamps; beside echo on its core, and while Linux prints all that it does."""
    check_heartbeats(machine.text, "hello", "hello", BEATS)
    beats = list(re.finditer(r"^ *\d+\.\d+ hello\|", machine.text, re.MULTILINE))
    first, last = machine.text.index("linux| [    0.0"), machine.text.index("linux| / #")
    assert first < beats[0].start() and beats[BEATS].start() < last


def free_memory(machine):
    """What the manager says next about free memory, in MB."""
    return int(machine.expect(r"^bulkhead\| (\d+) MB of \d+ MB free$", 120).group(1))


def test_neighbours_print_meanwhile(machine):
    before_prompt = machine.text
    assert len(re.findall(r"^hello\| hello: up \d+\.\d+ s, malloc ok", before_prompt,
                          re.MULTILINE)) >= 5, before_prompt
    assert re.search(r"^echo\| echo: \d+\.\d MB/s, \d+\.\d MB verified$", before_prompt,
                     re.MULTILINE), before_prompt


def test_audit(machine):
    """The boot's audit saw Linux' memory, too."""
    match = re.search(r"^bulkhead\| isolation audit: (\d+) frames, "
                      r"no frame reachable from two VMs$", machine.text, re.MULTILINE)
    assert match and int(match.group(1)) > MEMORY * 256, machine.text


def test_keys_go_to_the_prompt(machine):
    """In the merged view, with nothing chosen, they are for the one that asks."""
    machine.send(b"echo he''re\r")
    machine.expect(r"^linux\| here$", 60)


def check_log(shell, kind):
    """Nothing that Linux would complain of, in its log or on its console; returns the log."""
    log = shell.run("dmesg")
    for pattern in (word for word in TROUBLE if kind.on_bochs or word not in OF_TIME):
        for text in (log, shell.machine.text):
            match = re.search(rf"^.*{pattern}.*$", text, re.MULTILINE)
            assert not match, match.group(0)
    return log


def test_log_is_clean(shell, kind):
    log = check_log(shell, kind)
    assert "Linux version" in log and "Run /init" in log


def test_clock(shell, frequency):
    """Linux takes the TSC's frequency from CPUID and calibrates nothing."""
    source = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    assert shell.run(f"cat {source}").strip() == "tsc"
    # The line of the TSC is there only where it differs from the base frequency of CPUID 16h.
    found = re.findall(r"tsc: Detected (\d+\.\d+) MHz (?:processor|TSC)", shell.machine.text)
    assert float(found[-1]) == pytest.approx(frequency / 1e6, rel=0.002)


def test_hypervisor_flag(shell):
    assert shell.run("grep -o -m1 hypervisor /proc/cpuinfo").strip() == "hypervisor"


def test_interrupts_grow(shell):
    first = shell.run("cat /proc/interrupts")
    second = shell.run("sleep 1; cat /proc/interrupts")
    assert interrupts(second, "ttyS0") > interrupts(first, "ttyS0")
    assert interrupts(second, "LOC") > interrupts(first, "LOC") + 1
    assert interrupts(second, "ERR") == 0 and interrupts(second, "SPU") == 0


def stamp_of(machine, pattern):
    """When the next line of linux that matches the pattern left its UART, in seconds."""
    machine.expect(rf"^ *\d+\.\d+ linux\| {pattern}$", 180)
    return stamped(machine.text, "linux", pattern)[-1]


def test_sleep(machine, shell, frequency):
    """Five seconds of Linux' are five of the host's, from byte to byte as they leave its UART, but
    for what the shell takes to run a program; and its date is what the host's clock had at power-on
    and the time since then."""
    shell.run("true")
    machine.send(MERGED + TIMES)
    machine.expect(r"^\[all VMs; keys go to linux\]$", 30)
    machine.send("sleep 0; echo A; sleep 5; echo B; sleep 0; echo C; date -u +date:%s\r")
    began, woken, ended = (stamp_of(machine, letter)[0] for letter in "ABC")
    program = ended - woken
    print(f"sleep 5: {woken - began:.6f} s, sleep 0: {program:.6f} s")
    assert abs(woken - began - program - 5) < 0.02 and program < 0.2, (began, woken, ended)
    now, date = stamp_of(machine, r"date:(\d+)")
    entry = int(re.search(ENTRY, machine.text).group(1)) / frequency
    # A clock in whole seconds was read three times: the host's, the guest's, and by date. To what
    # it has read of its RTC Linux adds half a second, the mean of what it cannot see (rtc_hctosys).
    late = bochs.DATE + entry + now - int(date.group(1))
    assert -0.5 <= late < 3, (date.group(0), entry, now)
    machine.send(TIMES)
    machine.send(FOCUS_LINUX)
    machine.expect(r"^\[linux; ", 30)


def test_poweroff_ends_this_vm_only(machine, shell):
    shell.run("true")
    before = int(re.findall(r"^bulkhead\| (\d+) MB of \d+ MB free$", machine.text,
                            re.MULTILINE)[-1])
    machine.send(MERGED)
    machine.expect(r"^\[all VMs; keys go to linux\]$", 30)
    machine.send(b"poweroff -f\r")
    machine.expect(r"^linux\| .*reboot: Power down$", 60)
    machine.expect(r"^linux\| \[vmm\] the guest powered itself off$", 60)
    machine.expect(r"^bulkhead\| VM 'linux' powered off$", 60)
    assert free_memory(machine) >= before + MEMORY
    for _ in range(2):
        machine.expect(r"^hello\| hello: up \d+\.\d+ s, malloc ok", 60)
        machine.expect(r"^echo\| echo: \d+\.\d MB/s", 60)
    # And nothing comes from the dead.
    end = machine.text.index("VM 'linux' powered off")
    assert not re.search(r"^linux\|", machine.text[end:], re.MULTILINE)
    assert machine.running
