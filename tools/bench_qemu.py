# SPDX-License-Identifier: BSD-2-Clause
"""./bulkhead bench --on qemu: what paths through the system cost on SVM, in instructions.

QEMU's CPU `max` with one core and `-icount shift=0`: the TSC counts nanoseconds, and an instruction
takes one, so a tick is an instruction (each turn of a REP is one). Measured by the same guests and
configs as in Bochs.

What a round executes is taken from QEMU's own log, switched on for a moment while the guest
measures one path: each block of code when it is translated, and each time that it is executed. The
round that came most often counts.
"""

import os
import re
import subprocess
import tempfile
import time
from collections import Counter

import screen
from machine import ROOT, Machine, MachineError

MODEL = "max"
BOOT_TIMEOUT = 300       # wall seconds for one boot
BARS = {
    "hypercall": 150, "cpuid.1": 200, "cpuid.7": 200, "cpuid.d.1": 200, "out.vmm": 300,
    "out.vmm.linux": 300,
}
TRACED = ("hypercall", "cpuid.1", "out.vmm")
# A round of these may have none: what the guest has loaded beside its registers stays.
FORBIDDEN = ("VMLOAD", "VMSAVE")
OPERATIONS = {name: re.compile(pattern) for name, pattern in {
    "VMRUN": r"vmrun", "VMLOAD": r"vmload", "VMSAVE": r"vmsave", "CLGI": r"clgi", "STGI": r"stgi",
    "INVLPGA": r"invlpga", "RDMSR": r"rdmsr", "WRMSR": r"wrmsr", "CR2": r"mov[lq]? .*%cr2",
    "CR3": r"mov[lq]? .*%cr3", "CR": r"mov[lq]? .*%cr[048]", "DR": r"mov[lq]? .*%d[br]\d",
    "XSAVE": r"xsave", "XRSTOR": r"xrstor", "XSETBV": r"xsetbv", "LTR": r"ltr", "LGDT": r"lgdt",
    "SWAPGS": r"swapgs", "CLTS": r"clts", "WRGSBASE": r"wrgsbase", "RDGSBASE": r"rdgsbase",
    "INT": r"int\b", "IRET": r"iret",
}.items()}
MANY_ROUNDS = 2_000_000  # more than the guest gets to do
MOMENT = 0.1             # wall seconds of tracing
LEAST_ROUNDS = 20
GUEST_END = 0x200000     # the guest's code lies below, that of its VMM and the kernel above
INSTRUCTION = re.compile(r"^0x[0-9a-f]+: +(?:[0-9a-f]{2} )+ +(\S.*?)\s*$")
EXECUTED = re.compile(r"^Trace \d+: (0x[0-9a-f]+) \[[0-9a-f]+/0*([0-9a-f]+)/")


def guest_code():
    """The guest's instructions, [(address, text)], which QEMU cannot list from its memory."""
    image = os.path.join(ROOT, "build", "images", "bench")
    listing = subprocess.run(["objdump", "-d", "-m", "i386:x86-64", image], check=True,
                             capture_output=True, text=True).stdout
    return [(int(address, 16), " ".join(text.split())) for address, text in
            re.findall(r"^ *([0-9a-f]+):\t[^\t\n]+\t(.*)$", listing, re.MULTILINE)]


def rounds_in(code):
    """{address behind a round's second RDTSC: how many instructions of the guest's own are between
    the two, with the second}. Its loops are straight code."""
    rounds = {}
    for at, (address, text) in enumerate(code):
        if text == "sub %r8d,%eax" and code[at - 1][1] == "rdtsc":
            first = next(i for i in range(at - 2, -1, -1) if code[i][1] == "rdtsc")
            rounds[address] = at - 1 - first
    return rounds


class Log:
    """QEMU's log as it grows. A block's instructions are listed when it is translated."""

    def __init__(self, machine):
        self.machine, self.known, self.rounds = machine, {}, rounds_in(guest_code())

    def moment(self):
        """Has QEMU log for a moment; -> [(the guest's own instructions, those of the others)] of
        each whole round in it."""
        before = os.path.getsize(self.machine.log)
        screen.qemu_monitor(self.machine.directory, "log exec,in_asm,nochain")
        time.sleep(MOMENT)
        screen.qemu_monitor(self.machine.directory, "log none")
        with open(self.machine.log, encoding="latin-1") as file:
            file.seek(before)
            return self._rounds(self._blocks(file))

    def _blocks(self, lines):
        """(address, instructions) of each block that was executed; none if it is a guest's."""
        listed = []
        for line in lines:
            instruction, executed = INSTRUCTION.match(line), EXECUTED.match(line)
            if line.startswith("IN:"):
                listed = []
            elif instruction:
                listed.append(" ".join(instruction.group(1).split()))
            elif executed:
                block, address = executed.groups()
                if listed or block not in self.known:
                    self.known[block] = tuple(listed)
                    listed = []
                yield int(address, 16), self.known[block]

    def _rounds(self, blocks):
        rounds, path = [], None
        for address, code in blocks:
            if address in self.rounds:
                if path is not None:
                    rounds.append((self.rounds[address], tuple(path)))
                path = []
            elif path is not None and address >= GUEST_END:
                path += code
        return rounds


def traced(machine):
    """The most frequent round of a guest that measures one path."""
    log, start = Log(machine), time.monotonic()
    while machine.running and time.monotonic() - start < BOOT_TIMEOUT:
        rounds = log.moment()
        if len(rounds) >= LEAST_ROUNDS:
            return Counter(rounds).most_common(1)[0][0]
        machine.read(0.1)
    raise MachineError("QEMU's log has no rounds in it")


def trace(path, make_iso, with_options, config):
    """(ticks, {operation: count}) of a path; the functions are those of bench.py."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-") as directory:
        options = f"only={path} rounds={MANY_ROUNDS}"
        iso = make_iso(with_options(config, "bench", options, directory), directory)
        with Machine(iso, emulator="qemu", model=MODEL, cores=1, icount=0,
                     screen=True) as machine:
            machine.expect(r"^bench\| entry tsc=", BOOT_TIMEOUT)
            own, code = traced(machine)
    operations = {name: sum(1 for text in code if pattern.match(text))
                  for name, pattern in OPERATIONS.items()}
    # QEMU's clock leaves out the guest's instruction that exits.
    return own + len(code) - operations["VMRUN"], operations
