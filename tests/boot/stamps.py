# SPDX-License-Identifier: BSD-2-Clause
"""What the console's stamps say: when the first byte of each line left its VM, in seconds since the
kernel's entry, by the host's clock."""

import re

TIMES = "\x1dt"    # the console's key: stamps on or off
MONITOR = "\x1dm"
MERGED = "\x1da"
OFF_MAX = 20000    # ticks
ENTRY = r"boot: .* ticks since entry at (\d+),"


def stamped(text, vm, pattern):
    """[(time, match)] of the stamped lines of a VM that match the pattern as a whole."""
    lines = re.finditer(rf"^ *(\d+\.\d{{6}}) {vm}\| (.*)$", text, re.MULTILINE)
    found = ((float(line.group(1)), re.fullmatch(pattern, line.group(2))) for line in lines)
    return [(time, match) for time, match in found if match]


def check_heartbeats(text, vm, name, least):
    """Each beat of a hello is within 1% of a second behind the one before, and so are all of them
    together."""
    beats = [time for time, _ in stamped(text, vm, rf"{name}: up \d+\.\d+ s, malloc ok, .*")]
    assert len(beats) > least, text
    for before, beat in zip(beats, beats[1:]):
        assert abs(beat - before - 1) < 0.01, beats
    assert abs(beats[-1] - beats[0] - (len(beats) - 1)) < 0.01, beats


def interrupts_off(machine):
    """Asks the monitor, which has the screen, for the longest time without interrupts of each core,
    in ticks, and sees that it is short."""
    machine.send("stats\r")
    machine.expect(rf"^core {machine.cores - 1}: idle for .* ticks at most$", 60)
    longest = [int(ticks) for ticks in re.findall(r"without interrupts for (\d+) ticks at most",
                                                  machine.text)]
    print(f"longest time without interrupts, by core: {longest}")
    assert longest and max(longest) <= OFF_MAX, machine.text
    return longest


def ask_monitor(machine, command, answer):
    """A command in the monitor, and then the merged view again."""
    machine.send(MONITOR)
    machine.expect(r"bulkhead> $", 60)
    machine.send(command + "\r")
    machine.expect(answer, 60)
    machine.send(MERGED)
    machine.expect(r"^\[all VMs", 60)
