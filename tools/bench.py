#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""./bulkhead bench: what paths through the system cost, in Bochs, where a tick is an instruction.

Measured as the guests see it, with model skylake_x, one core and no neighbour at work. The
privileged operations of each path are counted in a second boot: the guest runs one round between
two magic breakpoints, and Bochs' debugger traces every instruction in between, the kernel's and
ring 3's too. An operation by an MSR area of a VMCS is none of these; the kernel has no such area.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from machine import (  # noqa: E402  pylint: disable=wrong-import-position
    ROOT, Expired, Machine, MachineError)

BOOT_TIMEOUT = 300      # wall seconds for one boot
MAX_TRACED = 64         # pairs of magic breakpoints in one boot

# The most that the median of a path may be, in ticks.
BARS = {
    "hypercall": 100, "cpuid.1": 140, "cpuid.7": 140, "cpuid.d.1": 140, "out.vmm": 420,
    "mmio.vmm": 900, "tpr": 6, "eoi": 6, "self-ipi": 400, "vm-switch": 380, "syscall": 60,
    "boot.hello": 20_000_000,
}
# What counts as a privileged operation: its name, and what Bochs' disassembler calls it.
OPERATIONS = {
    "VMREAD": r"vmread\b", "VMWRITE": r"vmwrite\b", "RDMSR": r"rdmsr\b", "WRMSR": r"wrmsr\b",
    "CR": r"mov .*\bcr\d", "DR": r"mov .*\bdr\d", "INVEPT": r"invept\b", "INVVPID": r"invvpid\b",
    "XSAVE": r"xsave", "XRSTOR": r"xrstor", "XSETBV": r"xsetbv\b", "LTR": r"ltr\b",
    "LGDT": r"lgdt\b", "SWAPGS": r"swapgs\b",
}
OPERATIONS = {name: re.compile(pattern) for name, pattern in OPERATIONS.items()}
RESULT = re.compile(r"\bpath=(\S+)((?: \w+=\d+)+)")
TRACED = re.compile(r"^\(\d+\)\.\[\d+\] \[0x[0-9a-f]+\] [0-9a-f]+:[0-9a-f]+ \([^)]*\): (.*?) *;")


def say(text):
    print(f"[bulkhead] {text}", file=sys.stderr, flush=True)


def make_iso(config, directory):
    iso = os.path.join(directory, os.path.basename(config) + ".iso")
    command = [os.path.join(ROOT, "tools", "iso.sh"), config, "-o", iso]
    subprocess.run(command, check=True)
    return iso


def boot(config, directory, until, breaks=None):
    """Boots a config until the expression is seen; returns the serial text, and the debugger's
    output."""
    with Machine(make_iso(config, directory), cores=1, breaks=breaks) as machine:
        machine.expect(until, BOOT_TIMEOUT)
        machine.expect(r"\n|$", 1)
        with open(machine.debugger_output, encoding="latin-1") as file:
            return machine.text, file.read()


def results_of(text):
    """{name: {figure: value}} of the lines that give a path's figures."""
    found = {}
    for name, figures in RESULT.findall(text):
        found[name] = {key: int(value)
                       for key, value in (pair.split("=") for pair in figures.split())}
    return found


def with_options(config, section, options, directory):
    """A copy of the config in which the VM has more words on its command line."""
    with open(config, encoding="utf-8") as file:
        lines = file.read().split("\n")
    at = lines.index(f"[vm {section}]") + 1
    end = next((i for i in range(at, len(lines)) if lines[i].startswith("[")), len(lines))
    for i in range(at, end):
        if re.match(r"cmdline\s*=", lines[i]):
            lines[i] += " " + options
            break
    else:
        lines.insert(at, f"cmdline = {options}")
    path = os.path.join(directory, os.path.basename(config))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return path


def operations_of(text, output):
    """{path: {operation: count}}, from the order of the guest's `trace NAME` lines and of the
    traced parts of the debugger's output."""
    names = re.findall(r"\| trace (\S+)$", text, re.MULTILINE)
    parts = re.findall(r"^Tracing enabled.*?\n(.*?)^Tracing disabled", output,
                       re.MULTILINE | re.DOTALL)
    counts = {}
    for name, part in zip(names, parts):
        code = [match.group(1) for match in map(TRACED.match, part.split("\n")) if match]
        counts[name] = {operation: sum(1 for line in code if pattern.match(line))
                        for operation, pattern in OPERATIONS.items()}
        counts[name]["instructions"] = len(code)
    return counts


def measure():
    configs = os.path.join(ROOT, "config")
    runs = (("bench.conf", "bench"), ("bench-switch.conf", "a"))
    figures, operations = {}, {}
    breaks = ["c"] + ["trace on", "c", "trace off", "c"] * MAX_TRACED
    with tempfile.TemporaryDirectory(prefix="bulkhead-") as directory:
        for name, vm in runs:
            config = os.path.join(configs, name)
            done = rf"^{vm}\| bench done"
            say(f"measuring {name}")
            figures |= results_of(boot(config, directory, done)[0])
            say(f"tracing {name}")
            traced = with_options(config, vm, "trace rounds=10", directory)
            operations |= operations_of(*boot(traced, directory, done, breaks))
        say("measuring the boot of demo.conf")
        demo = os.path.join(configs, "demo.conf")
        figures |= results_of(boot(demo, directory, r"path=boot\.hello .*$")[0])
    paths = []
    for name, values in figures.items():
        paths.append({"name": name, **values, "ops": operations.get(name, {})})
    return paths


def print_table(paths):
    print(f"{'path':12} {'min':>10} {'median':>10} {'at most':>10}  privileged operations")
    for path in paths:
        bar = BARS.get(path["name"])
        mark = " OVER" if bar is not None and path["median"] > bar else ""
        counted = ", ".join(f"{count} {name}" for name, count in path["ops"].items() if count)
        print(f"{path['name']:12} {path['min']:10} {path['median']:10} {bar or '-':>10}  "
              f"{counted or '-'}{mark}")


def main():
    parser = argparse.ArgumentParser(prog="bulkhead bench")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    try:
        paths = measure()
    except (MachineError, Expired, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    if options.json:
        print(json.dumps({"paths": paths}))
    else:
        print_table(paths)
    missing = sorted(set(BARS) - {path["name"] for path in paths})
    if missing:
        say("not measured: " + ", ".join(missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
