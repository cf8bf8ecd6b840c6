#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""./bulkhead bench: what paths through the system cost, in Bochs, where a tick is an instruction.

Measured as the guests see it (a system call: as the manager sees it), with model skylake_x (one
path also on a model without APIC virtualisation), one core and no neighbour at work. The privileged
operations of each path are counted in a second boot: who measures runs one round between two magic
breakpoints, and Bochs' debugger traces every instruction in between, the kernel's and ring 3's too.
An operation by an MSR area of a VMCS would be none of these; the kernel has no such area.

The status is 1 if a path could not be measured or its median is above its bar.

With --on qemu it is SVM in place of VMX: bench_qemu.py.

With --linux it is the boot of stock Linux, beside the same on the bare machine: bench_linux.py.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from typing import NamedTuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bench_linux  # noqa: E402  pylint: disable=wrong-import-position
import bench_qemu  # noqa: E402  pylint: disable=wrong-import-position
import ending  # noqa: E402  pylint: disable=wrong-import-position
from arguments import Parser  # noqa: E402  pylint: disable=wrong-import-position
from machine import (  # noqa: E402  pylint: disable=wrong-import-position
    ROOT, Expired, Machine, MachineError)

BOOT_TIMEOUT = 300      # wall seconds for one boot
MAX_TRACED = 64         # pairs of magic breakpoints in one boot

# The most that the median of a path may be, in ticks.
BARS = {
    "hypercall": 80, "cpuid.1": 110, "cpuid.7": 115, "cpuid.d.1": 115, "out.vmm": 185,
    "out.vmm.linux": 185, "mmio.vmm": 395, "tpr": 5, "eoi": 5, "self-ipi": 14,
    "vm-switch": 301, "vm-switch.barriers": 1233, "syscall": 40, "hlt-timer": 497,
    "timer-irq": 376, "lapic.xapic": 232, "lapic.xapic.vmm": 541, "ept-map": 495,
    "level-irq": 1878, "ipi.running": 800, "ipi.halted": 1500, "shootdown": 915,
    "spin-wait": 9300, "boot.hello": 6_000_000,
}
# What counts as a privileged operation: its name, and what Bochs' disassembler calls it.
OPERATIONS = {
    "VMREAD": r"vmread\b", "VMWRITE": r"vmwrite\b", "RDMSR": r"rdmsr\b", "WRMSR": r"wrmsr\b",
    "CR2": r"mov cr2\b", "CR3": r"mov cr3\b",
    "CR": r"mov (\w+, cr\d|cr[048])\b", "DR": r"mov .*\bdr\d", "INVEPT": r"invept\b",
    "INVVPID": r"invvpid\b",
    "XSAVE": r"xsave", "XRSTOR": r"xrstor", "XSETBV": r"xsetbv\b", "LTR": r"ltr\b",
    "LGDT": r"lgdt\b", "SWAPGS": r"swapgs\b", "CLTS": r"clts\b",
    "VMENTRY": r"vm(resume|launch)\b", "SYSENTER": r"sysenter\b", "SYSEXIT": r"sysexit\b",
}
# What one of them takes on a CPU beside the two ticks to a cycle, in cycles: docs/testing.md has
# the sources, and which of these are assumed.
CYCLES = {
    "VMREAD": 6, "VMWRITE": 25, "RDMSR": 19, "WRMSR": 63, "CR2": 70, "CR3": 186, "CR": 40,
    "DR": 150, "INVEPT": 150,
    "INVVPID": 150, "XSAVE": 232, "XRSTOR": 659, "XSETBV": 90, "LTR": 60, "LGDT": 60, "SWAPGS": 26,
    "CLTS": 30, "VMENTRY": 1000, "SYSENTER": 82, "SYSEXIT": 75,
}
OPERATIONS = {name: re.compile(pattern) for name, pattern in OPERATIONS.items()}


class Run(NamedTuple):
    """A config to boot, the VM in it that measures, on which model; `only` one path of it, which
    then is named `name`; words for the kernel; cores: on several no round is traced."""
    config: str
    vm: str
    model: str = "skylake_x"
    only: str = ""
    name: str = ""
    words: str = ""
    cores: int = 1


RUNS = (
    Run("bench.conf", "bench"),
    Run("bench-switch.conf", "a"),
    Run("bench-switch.conf", "a", only="vm-switch", name="vm-switch.barriers", words="assume=all"),
    Run("bench.conf", "bench", "ivy_bridge", "lapic.xapic", "lapic.xapic.vmm"),
    Run("bench-spin.conf", "bench"),
    Run("bench-smp.conf", "bench", cores=4),
)
QEMU_RUNS = (
    Run("bench.conf", "bench", bench_qemu.MODEL),
    Run("bench-switch.conf", "a", bench_qemu.MODEL),
)
BOOT_CONFIG = "bench-boot.conf"
CONFIGS = os.path.join(ROOT, "config")
RESULT = re.compile(r"\bpath=(\S+)((?: \w+=\d+)+)")
ENTRY = re.compile(r"\bboot: .* ticks since entry at (\d+), (\d+) of them calibration")
MONITOR_MEMORY = b"\x1dmmemory\r"
ZEROING = r"zeroing memory has taken (\d+) ticks"
# When, CS, RIP, text.
TRACED = re.compile(
    r"^\(\d+\)\.\[(\d+)\] \[0x[0-9a-f]+\] ([0-9a-f]+):([0-9a-f]+) \([^)]*\): (.*?) *;")


kernel_args = []  # of --kernel-args, for each boot


def say(text):
    print(f"[bulkhead] {text}", file=sys.stderr, flush=True)


def make_iso(config, directory, options=()):
    iso = os.path.join(directory, os.path.basename(config) + ".iso")
    command = [os.path.join(ROOT, "tools", "iso.sh"), config, "-o", iso]
    command += ["--kernel-args", " ".join((*options, *kernel_args))]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return iso


def boot(iso, until, cores=1, **arguments):
    """Boots an ISO until the expression is seen; returns the serial text, and the debugger's
    output."""
    with Machine(iso, cores=cores, **arguments) as machine:
        machine.expect(until, BOOT_TIMEOUT)
        machine.expect(r"\n|$", 1)
        with open(machine.debugger_output, encoding="latin-1") as file:
            return machine.text, file.read()


def results_of(text):
    """{name: {figure: value}} of the lines that give a path's figures."""
    found = {}
    for name, figures in RESULT.findall(text):
        values = {key: int(value) for key, value in (pair.split("=") for pair in figures.split())}
        found[name] = {key: values[key] for key in ("min", "median", "max")}
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


def traced_round(part, ahead):
    """(ticks, {operation: count}) of what the debugger traced between the first RDTSC and the last
    of who measures, as in the figures; `ahead`: the path begins so many ticks after the first."""
    code = [(int(when), (cs, rip[0] == "f"), text) for when, cs, rip, text in
            (match.groups() for match in map(TRACED.match, part.split("\n")) if match)]
    stamps = [when for when, who, text in code if who == code[0][1] and text.startswith("rdtsc")]
    if not stamps:
        raise MachineError("a trace has no RDTSC in it")
    start, end = stamps[0] + ahead, stamps[-1]
    path = [text for when, _, text in code if start <= when <= end]
    return end - start, {name: sum(1 for text in path if pattern.match(text))
                         for name, pattern in OPERATIONS.items()}


def traced_rounds(text, output):
    """{path: traced_round()}, from the order of the `trace NAME` lines and of the traced parts of
    the debugger's output."""
    names = re.findall(r"\| trace (\S+)(?: ahead=(\d+))?$", text, re.MULTILINE)
    parts = re.findall(r"^Tracing enabled.*?\n(.*?)^Tracing disabled", output,
                       re.MULTILINE | re.DOTALL)
    if len(names) != len(parts):
        raise MachineError(f"{len(names)} paths were to be traced, {len(parts)} were")
    return {name: traced_round(part, int(ahead or 0))
            for (name, ahead), part in zip(names, parts)}


def only_wanted(run, found):
    """The paths that this run is for, as they are named."""
    return {run.name: found[run.only]} if run.only else found


def measure_run(run, directory, options="", **arguments):
    """{path: {"min", "median", "max"}} of one boot; `options` are for the VM that measures."""
    arguments = arguments or {"model": run.model}
    say(f"measuring {run.config} on {arguments['model']} {run.words}".rstrip())
    if run.only:
        options += f" only={run.only}"
    path = os.path.join(CONFIGS, run.config)
    if options:
        path = with_options(path, run.vm, options, directory)
    iso = make_iso(path, directory, run.words.split())
    text, _ = boot(iso, rf"^{run.vm}\| bench done", run.cores, **arguments)
    return only_wanted(run, results_of(text))


def trace_run(run, directory):
    """{path: traced_round()} of one boot."""
    say(f"tracing {run.config} on {run.model} {run.words}".rstrip())
    options = "trace rounds=10" + (f" only={run.only}" if run.only else "")
    path = with_options(os.path.join(CONFIGS, run.config), run.vm, options, directory)
    breaks = ["c"] + ["trace on", "c", "trace off", "c"] * MAX_TRACED
    iso = make_iso(path, directory, ["trace", *run.words.split()])
    text, output = boot(iso, rf"^{run.vm}\| bench done", model=run.model, breaks=breaks)
    return only_wanted(run, traced_rounds(text, output))


def measure_boot(directory):
    """The path boot.hello: from the kernel's entry to the first instruction of a VM that is alone.
    Its own stamp and the kernel's are of the same TSC."""
    say(f"measuring the boot of {BOOT_CONFIG}")
    iso = make_iso(os.path.join(CONFIGS, BOOT_CONFIG), directory)
    with Machine(iso, cores=1) as machine:
        first = int(machine.expect(r"^hello\| entry tsc=(\d+)\n", BOOT_TIMEOUT).group(1))
        start, calibration = map(int, ENTRY.search(machine.text).groups())
        machine.send(MONITOR_MEMORY)
        zeroing = int(machine.expect(ZEROING, BOOT_TIMEOUT).group(1))
    ticks = first - start
    return {"min": ticks, "median": ticks, "max": ticks,
            "calibration": calibration, "zeroing": zeroing}


def measure():
    """The list of paths, as --json prints it."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-") as directory:
        figures, traced = {}, {}
        for run in RUNS:
            figures |= measure_run(run, directory)
            if run.cores == 1:
                traced |= trace_run(run, directory)
        figures["boot.hello"] = measure_boot(directory)
    for name, (ticks, _) in traced.items():
        if name in figures and ticks != figures[name]["median"]:
            say(f"{name}: the traced round took {ticks} ticks, not the median")
    paths = [{"name": name, **figures[name], "ops": traced[name][1] if name in traced else {}}
             for name in list(BARS) + sorted(figures.keys() - BARS) if name in figures]
    for path in paths:
        path["cycles"] = cycles_of(path)
    return paths


def measure_qemu():
    """The same for QEMU."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-") as directory:
        figures = {}
        for run in QEMU_RUNS:
            figures |= measure_run(run, directory, emulator="qemu", model=run.model, icount=0)
    paths = []
    for name in list(bench_qemu.BARS) + sorted(figures.keys() - bench_qemu.BARS):
        operations = {}
        if name in bench_qemu.TRACED:
            say(f"tracing {name} in QEMU")
            ticks, operations = bench_qemu.trace(name, make_iso, with_options,
                                                 os.path.join(CONFIGS, QEMU_RUNS[0].config))
            if ticks != figures[name]["median"]:
                say(f"{name}: the traced round took {ticks} ticks, not the median")
        paths.append({"name": name, **figures[name], "ops": operations, "cycles": None})
    return paths


def cycles_of(path):
    """An estimate of the median in cycles; None where no round was traced."""
    if not path["ops"]:
        return None
    return path["median"] // 2 + sum(CYCLES[name] * n for name, n in path["ops"].items())


def verdict(path, bars):
    bar = bars.get(path["name"])
    if bar is None:
        return ""
    forbidden = bars is bench_qemu.BARS and any(path["ops"].get(name)
                                                for name in bench_qemu.FORBIDDEN)
    return "ok" if path["median"] <= bar and not forbidden else "OVER"


def print_table(paths, bars):
    print(f"{'path':18} {'min':>9} {'median':>9} {'max':>9} {'at most':>9}       "
          "est. cycles  privileged operations")
    for path in paths:
        bar = bars.get(path["name"], "-")
        counted = ", ".join(f"{count} {name}" for name, count in path["ops"].items() if count)
        extra = ", ".join(f"{path[part]} {part}" for part in ("calibration", "zeroing")
                          if part in path)
        print(f"{path['name']:18} {path['min']:9} {path['median']:9} {path['max']:9} {bar:>9}  "
              f"{verdict(path, bars):4} {path['cycles'] or '-':>11}  {counted or extra or '-'}")


def linux(as_json):
    """bench --linux; -> the status"""
    try:
        result = bench_linux.measure(say)
    except (MachineError, Expired, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    if as_json:
        print(json.dumps({"linux": result}))
    else:
        bench_linux.print_table(result)
    return 0 if result["ratio"] <= result["limit"] else 1


def main():
    parser = Parser("bench", "Measures paths through the system.")
    parser.add_argument("--on", choices=("bochs", "qemu"), default="bochs",
                        help="bochs: VMX (default); qemu: SVM")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--linux", action="store_true",
                        help="the boot of Linux, as a guest and on the bare machine")
    parser.add_argument("--kernel-args", metavar="WORDS", default="",
                        help="words for the kernel, such as assume=mds,taa")
    options = parser.parse_args()
    if options.linux and options.kernel_args:
        parser.error("--kernel-args: not with --linux")
    if options.linux and options.on == "qemu":
        parser.error("--linux: what is compared is there in Bochs only")
    kernel_args.extend(options.kernel_args.split())
    if options.linux:
        return linux(options.json)
    bars = bench_qemu.BARS if options.on == "qemu" else BARS
    try:
        paths = measure_qemu() if options.on == "qemu" else measure()
    except (MachineError, Expired, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    if options.json:
        print(json.dumps({"paths": paths}))
    else:
        print_table(paths, bars)
    missing = sorted(set(bars) - {path["name"] for path in paths})
    over = [path["name"] for path in paths if verdict(path, bars) == "OVER"]
    if missing:
        say("not measured: " + ", ".join(missing))
    if over:
        say("above the bar: " + ", ".join(over))
    return 1 if missing or over else 0


if __name__ == "__main__":
    sys.exit(ending.call(main))
