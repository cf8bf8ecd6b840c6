# SPDX-License-Identifier: BSD-2-Clause
"""A guest tries all that it could reach for, and finds nothing of its neighbours'; others end
themselves in all sorts of ways. The neighbours' memory and registers stay as they are, and so does
their heartbeat, by the console's stamps."""

import re

import pytest

from stamps import TIMES, stamped

SENTRIES = ("sentry-a", "sentry-b")
ENDS = ("idt", "gdt", "cr3")
RESETS = ("cr3",)  # what is a triple fault on a CPU, too
STAMP = r"^ *(?:\d+\.\d{6} )?"
BEAT = r"beat (\d+), (\d+) passes of (\d+) words, sum ([0-9a-f]{16})"


def sentry(name, core, key):
    return (f"[vm {name}]\nimage = sentry\nmemory = 4M\ncores = {core}\nshare = 30%\n"
            f"cmdline = key={key}\n")


def hostile(core, options=""):
    """One sentry shares its core with the guest that tries everything, the other has those beside
    it that end."""
    text = (f"[vm test]\nimage = test-isolation\nmemory = 16M\nhpet = yes\ncores = {core}\n"
            f"cmdline = delay=1500 {options}\n")
    text += sentry(SENTRIES[0], core, 1) + sentry(SENTRIES[1], 1 - core, 2)
    for place, end in enumerate(ENDS):
        text += (f"[vm {end}]\nimage = test-isolation\nmemory = 4M\ncores = {1 - core}\n"
                 f"cmdline = end={end} delay={2000 + 100 * place}\n")
    return text


def check_ends(machine):
    """Each ended, for a reason that its VMM gave, and none otherwise than by that."""
    for end in ENDS:
        assert re.search(rf"{STAMP}{end}\| end {end}$", machine.text, re.MULTILINE), machine.text
        why, how = (("triple fault: this is a reset", "asked for a reboot")
                    if end in RESETS else ("killed", "killed"))
        assert re.search(rf"{STAMP}{end}\| \[vmm\] {why}", machine.text, re.MULTILINE), end
        assert re.search(rf"{STAMP}bulkhead\| VM '{end}' {how}: ", machine.text,
                         re.MULTILINE), end


def check_sentry(machine, name, beats):
    """None of its lines missing, checksums equal, stamps as many seconds apart as they should."""
    lines = re.findall(rf"{STAMP}{name}\| {BEAT}$", machine.text, re.MULTILINE)
    assert [int(line[0]) for line in lines] == list(range(1, len(lines) + 1)), lines
    assert all(int(line[1]) == 4 * int(line[0]) for line in lines), lines
    assert len({line[3] for line in lines}) == 1 and int(lines[0][2]) > 300_000, lines
    stamps = [(int(match.group(1)), stamp) for stamp, match in stamped(machine.text, name, BEAT)]
    assert len(stamps) >= beats, machine.text
    late = [abs(next_stamp - stamp - (next_beat - beat))
            for (beat, stamp), (next_beat, next_stamp) in zip(stamps, stamps[1:])]
    print(f"{name}: at most {max(late):.6f} s late")
    assert max(late) < 0.01, stamps
    return lines[0][3]


def tcg(kind):
    """The option that has the guest judge QEMU's way of faulting."""
    return "" if kind.on_bochs else " tcg"


def run(boot, config, timeout, beats):
    # In QEMU a core that exits without end keeps its turn: the shorter its instructions, the less.
    machine = boot(config, cores=2, memory=256, icount=1)
    machine.expect_all([rf"^{name}\| beat 1, " for name in SENTRIES], 120)
    machine.send(TIMES)
    machine.expect(rf"{STAMP}test\| done ", timeout)
    for name in SENTRIES:  # what was done last must have time to show
        machine.expect(rf"{STAMP}{name}\| beat ", 60)
        machine.expect(rf"{STAMP}{name}\| beat ", 60)
        while len(stamped(machine.text, name, BEAT)) < beats:
            machine.expect(rf"{STAMP}{name}\| beat ", 60)
    failures = re.findall(r"^.*\| (?:FAIL|GUEST-FAIL) .*$", machine.text, re.MULTILINE)
    assert not failures, "\n".join(failures)
    assert re.search(rf"{STAMP}test\| done [1-9]\d* passed, 0 failed, 0 skipped$", machine.text,
                     re.MULTILINE), machine.text
    check_ends(machine)
    sums = {check_sentry(machine, name, beats) for name in SENTRIES}
    assert len(sums) == len(SENTRIES), sums  # each has data of its own


@pytest.mark.models(long=("haswell", "ivy_bridge", "EPYC"))
def test_sample(boot, kind):
    """Everything, but a sample of the pages below 4 GB and of those above."""
    step = 16 if kind.model == "skylake_x" else 64 if kind.on_bochs else 1024
    options = f"sample={step}"
    run(boot, hostile(0, options + tcg(kind)), 300, 5 if kind.on_bochs else 3)


@pytest.mark.long
def test_all(boot, kind):
    """Each page below 4 GB, and one in each 2 MB above."""
    run(boot, hostile(1, "all" + tcg(kind)), 1800, 60)


YIELDERS = "".join(f"[vm {name}]\nimage = bench\nmemory = 16M\ncores = 0\n"
                   f"cmdline = peer={name} no-xsave rounds=500\n" for name in "ab")


@pytest.mark.parametrize("options", ([], ["without=pcid"]), ids=("pcid", "no-pcid"))
def test_sse_without_xsave(boot, options):
    """Two guests that never touched XCR0 yield to each other, XMM0 in use: each keeps its own."""
    machine = boot(YIELDERS, options=options, cores=1, memory=256)
    machine.expect(r"^[ab]\| (bench done|.*FPU.*)$", 120)
    assert "the FPU registers changed" not in machine.text, machine.text
    assert re.search(r"^a\| path=vm-switch ", machine.text, re.MULTILINE), machine.text
