# SPDX-License-Identifier: BSD-2-Clause
"""Which emulator `run` takes when nobody says which.

Where only one can be the machine that is asked for, that one. Where QEMU can use the host's nested
VMX, QEMU. Else the one that has Linux at its shell first on this host: the two run a race once, and
build/emulator remembers who won, for as long as host and emulators stay what they are.
"""

import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time

import qemu
from machine import EMULATORS, ROOT, Machine, MachineError

REMEMBERED = os.path.join(ROOT, "build", "emulator")
LIMIT = 180  # seconds: by then it is a slow host, or neither gets there
CONFIG = """[vm linux]
image   = vmlinuz
initrd  = initrd.img
cmdline = console=ttyS0 quiet
memory  = 256M
"""
PROMPT = re.compile(r"^linux\| / # ?$", re.MULTILINE)


def unable(machine):
    """{name: why that one cannot be such a machine, or None}"""
    return {name: emulator.cannot(machine) for name, emulator in EMULATORS.items()}


def choose(machine, say):
    """(name, why) for a machine that has not been started, by its attributes; MachineError: neither
    can be it."""
    wrong = {name: reason or _missing(EMULATORS[name]) for name, reason in unable(machine).items()}
    able = [name for name in EMULATORS if not wrong[name]]
    if not able:
        raise MachineError("; ".join(wrong.values()))
    if len(able) == 1:
        return able[0], next(filter(None, wrong.values()))
    if qemu.nested_vmx():
        return "qemu", "this host has nested VMX"
    known = _recall()
    if known is None:
        say("which emulator is quicker here? Both boot Linux, just this once")
        known = dict(_host(), **_race())
        _remember(known)
    other = next(name for name in EMULATORS if name != known["taken"])
    return known["taken"], f"{known['why']}; --on {other} takes the other"


def _missing(emulator):
    return None if shutil.which(emulator.program()) else emulator.not_there()


def _host():
    """What the outcome of a race depends on."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        cpu = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
    host = {"cpu": cpu.group(1) if cpu else "", "cores": os.cpu_count()}
    for name, emulator in EMULATORS.items():
        program = os.path.realpath(shutil.which(emulator.program()))
        status = os.stat(program)
        host[name] = f"{program}, {status.st_size} bytes, {status.st_mtime_ns}"
    return host


def _recall():
    """What is remembered of the same host and emulators; None: nothing."""
    try:
        with open(REMEMBERED, encoding="utf-8") as file:
            known = json.load(file)
        same = all(known[key] == value for key, value in _host().items())
        return known if same and known["taken"] in EMULATORS and known["why"] else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _remember(known):
    with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(REMEMBERED), prefix="emulator-",
                                     delete=False, encoding="utf-8") as file:
        json.dump(known, file, indent=1)
    os.replace(file.name, REMEMBERED)


def _race():
    """{"taken", "why"} of both emulators side by side on the same ISO."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-") as directory:
        config, iso = (os.path.join(directory, name) for name in ("race.conf", "race.iso"))
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG)
        made = subprocess.run([os.path.join(ROOT, "tools", "iso.sh"), config, "-o", iso],
                              check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace")
        if made.returncode != 0:
            raise MachineError(made.stderr.strip())
        machines = [Machine(iso, emulator=name, cores=1, memory=512) for name in EMULATORS]
        try:
            for machine in machines:
                machine.start()
            return _winner(machines)
        finally:
            for machine in machines:
                machine.keep = False
                machine.stop()


def _winner(machines):
    start = time.monotonic()
    running = list(machines)
    while running and time.monotonic() - start < LIMIT:
        for machine in select.select(running, [], [], 0.5)[0]:
            machine.read(0)
        for machine in running:
            if machine.search(PROMPT):
                return {"taken": machine.emulator, "why":
                        f"the first to have Linux at its shell here, in {machine.elapsed():.1f} s "
                        f"on {time.strftime('%Y-%m-%d')}"}
        running = [machine for machine in running if machine.running]
    return {"taken": "bochs", "why": "neither had Linux at its shell here, in "
            f"{time.monotonic() - start:.0f} s on {time.strftime('%Y-%m-%d')}"}
