# SPDX-License-Identifier: BSD-2-Clause
"""What a VM shows of itself: when it dies, and when the monitor asks it to."""

import re

import pytest

from stamps import MERGED, MONITOR

FOCUS = "\x1d1"
COLUMNS, LINES = 80, 24
ASKED = "asked for by the monitor:"
DEAD = "triple fault: this is a reset"
X = "[0-9a-f]"
EXIT = (rf" *(?:\d+|\.\d)(?:us|ms|s) (?:(?:rep )?(?:in|out)s?[bwl] {X}+|(?:read|write) {X}+ {X}+|"
        rf"event[ a-z]*|triple fault|HLT, interrupts off|INIT|start-up IPI {X}+|"
        rf"(?:EOI of vector|vector of the PIC|local APIC reads|rdmsr|wrmsr|decode)[ 0-9a-f]*)")
# The other vCPUs' code, by guests/test-dump: a loop, a HLT in one, nothing yet.
SPINS = rf"vcpu 1: 0800:0{{16}} cr3={X}{{16}} running"
HALTS = rf"vcpu 2: 0900:0{{15}}2 cr3={X}{{16}} HLT, interrupts off"
WAITS = rf"vcpu 3: {X}{{4}}:{X}{{16}} cr3={X}{{16}} waits for start-up IPI"


def guest(mode, more=""):
    return f"[vm dump]\nimage = test-dump\nmemory = 8M\ncmdline = mode={mode}\n{more}"


def general(rcx, rsp, rip, rax="0123456789abcdef"):
    """The six lines of general registers."""
    register = {"rax": rax, "rcx": rcx, "rdx": "2" * 16, "rbx": "3" * 16,
                "rsp": rsp, "rbp": "5" * 16, "rsi": "6" * 16, "rdi": "7" * 16, "rip": rip,
                "cr3": rf"0{{8}}{X}{{5}}000"}
    register |= {f"r{i}": f"{i:x}" * 16 for i in range(8, 16)}
    order = ("rax rbx rcx", "rdx rsi rdi", "rbp rsp r8", "r9 r10 r11", "r12 r13 r14", "r15 rip cr3")
    return [" ".join(f"{name:3}={register[name]}" for name in line.split()) for line in order]


# Registers that the guest's own library has set up, in 64-bit mode. In QEMU 10, which does not exit
# for a read of CR4, it takes over the host's MCE.
SEGMENTS = [
    r"cs 0008 0{8} ffffffff a09b ss 0010 0{8} ffffffff c093 cr0=80010033",
    r"ds 0010 0{8} ffffffff c093 es 0010 0{8} ffffffff c093 cr4=000[04]06[26]0",
    r"fs   0000 0{16} 0{8} ---- cr2=0{16} efer=0500",
    r"gs   0000 0{16} 0{8} ---- dr6=ffff0ff0 dr7=00000400",
    rf"tr   0040 0{{8}}{X}{{8}} 00000067 008[9b] gdtr=0{{8}}{X}{{8}}:0057",
    r"ldtr 0000 0{16} 0{8} ---- idtr={idtr}",
]
APIC = rf"apic tpr=00 svr=10f lint0=00700 lvtt=1{X}{{4}} tmcct=0{{8}} irr=-- isr=--"


def expected(why, state, registers, idtr, code):
    return [re.escape(why), state, *registers, *[line.replace("{idtr}", idtr) for line in SEGMENTS],
            APIC, rf"code {code}; last exits:"]


def shown(text, why):
    """The lines that the VM has shown, alone or in the merged view, each time that it gave this
    reason."""
    lines = [line.removeprefix("dump| ") for line in text.splitlines()]
    starts = [i for i, line in enumerate(lines) if line == f"[vmm] {why}"]
    screens = []
    for start in starts:
        end = start
        while end < len(lines) and re.match(r"\[vmm\] (?!the guest )", lines[end]):
            end += 1
        assert all(len(line) <= COLUMNS for line in lines[start:end]), lines[start:end]
        screens.append([line.removeprefix("[vmm] ") for line in lines[start:end]])
    return screens


def check(screen, patterns, others=()):
    """Each line is as it should be; behind those are the exits, and then the other vCPUs."""
    for line, pattern in zip(screen, patterns):
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"
    rest = screen[len(patterns):]
    exits = rest[:len(rest) - len(others)]
    assert 1 <= len(exits) <= 8 and len(patterns) + len(exits) <= LINES, screen
    for line in exits:
        for cell in filter(None, (line[:38].rstrip(), line[38:])):
            assert re.fullmatch(EXIT, cell), cell
    for line, pattern in zip(rest[len(exits):], others, strict=True):
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"


def is_whole(screen, others):
    end = screen[len(screen) - others:]
    return (any(line.endswith("; last exits:") for line in screen) and
            all(re.match(rf"vcpu \d+: {X}{{4}}:", line) for line in end) and
            screen[-1 - others].endswith(" dump"))


def ask(machine, seen, others=0, vcpu=None):
    """Has the monitor ask, and looks at the VM's console: the screen that has not been seen."""
    machine.send(MONITOR)
    machine.expect(r"bulkhead> $", 30)
    machine.send("vm dump dump" + ("" if vcpu is None else f" {vcpu}") + "\r")
    machine.expect(r"^VM 'dump' is asked for its registers, which are on its console then$", 30)
    machine.expect(r"^dump: cores? .*, \d+ exits, \d+ injected$", 30)
    machine.expect(r"^bulkhead> $", 30)
    start = len(machine.text)
    machine.send(FOCUS)  # and what it has shown before is shown again
    screens = []
    while not screens:
        machine.expect(r"^\[vmm\] .*$", 60)
        lines = machine.text[start:].rpartition("\n")[0]
        screens = [screen for screen in shown(lines, ASKED)
                   if is_whole(screen, others) and screen not in seen]
    machine.send(MERGED)
    machine.expect(r"^\[all VMs; keys go to dump\]$", 30)
    seen.append(screens[0])
    return screens[0]


def check_dead(machine, others=()):
    here = re.search(rf"^die at ({X}+)$", machine.text.replace("dump| ", ""),
                     re.MULTILINE).group(1)
    screens = shown(machine.text, DEAD)
    assert len(screens) == 1, machine.text
    check(screens[0], expected(
        DEAD, "vcpu 0: running, 64-bit code, cpl 0, rflags=000[01]0[0-9a-f]+( [A-Z]+)*",
        general("1" * 16, "4" * 16, here.zfill(16)), "0{16}:0000",
        rf"(?:44 ){{6}}<0f> 0b(?: {X}{X}){{8}}"), others)
    assert re.search(r"(?:us|ms) triple fault$", screens[0][-1 - len(others)]), screens[0]


def test_dies(boot):
    """One screen, each line of it as the guest has set it, and then the manager's word."""
    machine = boot(guest("die"), memory=256, cores=1)
    assert machine.wait(120) == 0, machine.ending
    check_dead(machine)
    assert machine.text.index("VM 'dump' asked for a reboot") > \
        machine.text.rindex("dump| [vmm] ")


def loop_bounds(machine):
    found = machine.expect(rf"^dump\| loop from ({X}+) to ({X}+)$", 120)
    return [int(number, 16) for number in found.groups()]


def check_in_loop(screen, bounds, others=()):
    rip = int(re.search(rf"rip=({X}{{16}})", screen[7]).group(1), 16)
    assert bounds[0] <= rip < bounds[1], screen
    code = {0: r"<48> ff c9 75 fb", 3: r"48 ff c9 <75> fb"}[rip - bounds[0]]
    count = int(re.search(rf"rcx=({X}{{16}})", screen[2]).group(1), 16)
    check(screen, expected(
        ASKED, r"vcpu 0: running, 64-bit code, cpl 0, rflags=00000[02][0-9a-f]{2}( [A-Z]+)*",
        general(rf"{X}{{16}}", rf"0{{8}}{X}{{8}}", rf"{rip:016x}"),
        rf"0{{8}}{X}{{8}}:0fff", rf".*{code}.*"), others)
    return count


def check_rounds(machine, count):
    """The guest has come to its end, and has found its registers right each time."""
    machine.expect(rf"^(?:dump\| )?round {count} kept$", 300)
    assert machine.wait(60) == 0, machine.ending
    assert "CHANGED" not in machine.text, machine.text


def rounds(kind, mode, count):
    """Of about a second each."""
    size = 25_000_000 if kind.on_bochs else 1_000_000_000
    return f"{mode} count={count} size={size}"


@pytest.mark.slow("qemu")
def test_alive(boot, kind):
    """A guest in a loop is looked at, again and again: its registers are as it has set them, it
    goes on, and has them afterwards."""
    machine = boot(guest(rounds(kind, "loop", 6)), memory=256, cores=1, paced=True)
    bounds = loop_bounds(machine)
    seen = []
    counts = [check_in_loop(ask(machine, seen), bounds) for _ in range(3)]
    assert all(0 < count <= 1_000_000_000 for count in counts) and len(set(counts)) == 3, counts
    check_rounds(machine, 6)


def test_halted(boot):
    """One that has halted for good can be looked at, and stays as it is."""
    machine = boot(guest("hlt"), memory=256, cores=1, paced=True)
    machine.expect(r"^bulkhead\| VM 'dump' has halted for good", 120)
    seen = []
    for _ in range(2):
        screen = ask(machine, seen)
        assert re.fullmatch(r"vcpu 0: HLT, interrupts off, 64-bit code, cpl 0, rflags=.*",
                            screen[1]), screen
        assert re.search(r" f4 <eb> fd ", screen[15]), screen
    machine.send(MONITOR)
    machine.expect(r"bulkhead> $", 30)
    machine.send("vm list\r")
    machine.expect(r"^dump +halted ", 30)


def test_heartbeat(boot, kind):
    """A guest that lives by its interrupts loses neither one nor time."""
    machine = boot("[vm dump]\nimage = hello\nmemory = 8M\n", memory=256, cores=1, paced=True)
    machine.expect(r"^dump\| hello: up 1\.", 120)
    seen = []
    for _ in range(4):
        screen = ask(machine, seen)
        assert re.match(r"vcpu 0: (?:HLT|running), 64-bit code, cpl 0, ", screen[1]), screen
    for _ in range(2):
        machine.expect(r"^dump\| hello: up ", 60)
    beats = re.findall(r"^(?:dump\| )?hello: up (\d+\.\d+) s, malloc ok, pi=3\.14159$",
                       machine.text, re.MULTILINE)
    late = max(abs(float(beat) - round(float(beat))) for beat in beats)
    assert late < (0.01 if kind.on_bochs else 0.1), beats  # QEMU's time is the host's here


@pytest.mark.slow("qemu")
def test_several(boot, kind):
    """Of four vCPUs the one that is named is shown, and of each other where it is; then the VM
    dies, and shows the same of its end."""
    machine = boot(guest(rounds(kind, "smp", 5), more="vcpus = 4\n"), memory=256, cores=2,
                   paced=True)
    bounds = loop_bounds(machine)
    seen = []
    check_in_loop(ask(machine, seen, 3), bounds, (SPINS, HALTS, WAITS))
    screen = ask(machine, seen, 3, vcpu=2)
    assert re.match(r"vcpu 2: HLT, interrupts off, real mode, cpl 0, ", screen[1]), screen
    assert re.match(r"cs 0900 00009000 0000ffff ", screen[8]), screen
    assert re.search(r"code (?:\?\?|[0-9a-f]{2} ){4}fa f4 <eb> fd ", screen[15]), screen
    assert re.fullmatch(rf"vcpu 0: 0008:{X}{{16}} cr3=0{{8}}{X}{{8}} running", screen[-3])
    assert re.fullmatch(SPINS, screen[-2]) and re.fullmatch(WAITS, screen[-1]), screen
    screen = ask(machine, seen, 3, vcpu=3)
    assert screen[1].startswith("vcpu 3: waits for start-up IPI, real mode, cpl 0, "), screen
    check_rounds(machine, 5)
    check_dead(machine, (SPINS, HALTS, WAITS))


def test_all_at_once(boot):
    """All vCPUs of a VM die: whoever is first is shown in full, once, and the others in a line."""
    machine = boot(guest("together", more="vcpus = 4\n"), memory=256, cores=2)
    assert machine.wait(120) == 0, machine.ending
    screens = shown(machine.text, DEAD)
    assert len(screens) == 1, machine.text
    vcpus = re.findall(r"^dump\| \[vmm\] vcpu (\d): (.*)$", machine.text, re.MULTILINE)
    assert sorted(vcpu for vcpu, _ in vcpus) == ["0", "1", "2", "3"], vcpus
    assert [line.startswith("vcpu ") for line in screens[0][-3:]] == [True] * 3, screens[0]
    assert machine.text.count("asked for a reboot") == 2, machine.text  # VMM's and manager's
