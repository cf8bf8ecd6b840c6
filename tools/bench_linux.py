# SPDX-License-Identifier: BSD-2-Clause
"""./bulkhead bench --linux: the boot of stock Linux as a guest, beside that on the bare machine.

Both in Bochs, model haswell, one core, where a tick is an instruction: from the kernel's 64-bit
entry to the first instruction of /init. Kernel, initramfs, command line, the state at the entry and
the amount of memory are the same; on the bare machine guests/bare is the boot loader, with the
VMM's own code. The rest of the hardware is what each has.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from bochs import IPS
from machine import ROOT, Machine, MachineError

MODEL = "haswell"
# `quiet` alone lets errors through, and each of their bytes takes a UART's time: the bare machine
# has more of them. Linux' tests of its ciphers go on beside the boot, and how far they are when
# /init starts is chance.
CMDLINE = "console=ttyS0 quiet loglevel=1 nokaslr cryptomgr.notests"
BAR = 1.01                  # guest / bare
BARE_MEMORY = 256           # MB
# What Bochs' BIOS leaves of that below its ACPI tables. The loader says what it has found, and what
# Linux makes of it is compared.
GUEST_MEMORY = 0xFFF0000
BULKHEAD_MEMORY = 512       # MB, of the machine that runs the guest
BOOT_TIMEOUT = 600          # wall seconds for one boot
# Linux knows the guest's TSC and APIC timer from CPUID. On the bare machine it measures both: the
# TSC in at most 50 ms (MAX_QUICK_PIT_MS in its tsc.c), the timer in 100 ms (LAPIC_CAL_LOOPS).
CALIBRATION_MS = 150
IMAGES = os.path.join(ROOT, "build", "images")
GRUB_MODULES = "normal multiboot iso9660 boot search search_fs_file"

CONFIG = f"""[system]
log = debug

[vm linux]
image   = vmlinuz
initrd  = bench-initrd.img
cmdline = {CMDLINE}
memory  = {GUEST_MEMORY >> 10}K
cores   = 0
"""
MENU = f"""set timeout=0
multiboot /bare
module /vmlinuz {CMDLINE}
module /initrd
boot
"""
INIT = re.compile(r"init:((?: \w+=\d+)+)")
BARE_MAP = re.compile(r"^bare: .*, memory up to 0x([0-9a-f]+)", re.MULTILINE)
BARE_ENTRY = re.compile(r"^bare: entry tsc=0x([0-9a-f]{16})", re.MULTILINE)
GUEST_ENTRY = re.compile(r"\[vmm\] first entry tsc=(\d+)")
STATS = re.compile(r"\blinux: core 0, ran \d+ ms, halted \d+ ms, \d+ exits, (\d+) injected")
EXITS = re.compile(r"^bulkhead\|   (\S.*?) +(\d+)$", re.MULTILINE)
FIGURES = {"ticks": "entry to /init, ticks", "clock": "of them by Linux' clock",
           "halted": "of them in HLT",
           "local_timer": "local timer interrupts", "irq0": "interrupts of IRQ 0",
           "mem_total_kb": "MemTotal, KB"}


def bare_iso(directory):
    """An ISO that boots Linux on the bare machine."""
    tree = os.path.join(directory, "tree")
    os.makedirs(os.path.join(tree, "boot", "grub"))
    for name, path in (("bare", "bare"), ("vmlinuz", "vmlinuz"), ("initrd", "bench-initrd.img")):
        shutil.copy(os.path.join(IMAGES, path), os.path.join(tree, name))
    with open(os.path.join(tree, "boot", "grub", "grub.cfg"), "w", encoding="ascii") as file:
        file.write(MENU)
    iso = os.path.join(directory, "bare.iso")
    result = subprocess.run(
        ["grub-mkrescue", "-o", iso, "--fonts=", "--locales=", "--themes=",
         f"--install-modules={GRUB_MODULES}", tree],
        check=False, capture_output=True, text=True, errors="replace")
    if result.returncode != 0:
        raise MachineError(f"grub-mkrescue failed:\n{result.stderr}")
    return iso


def guest_iso(directory):
    config = os.path.join(directory, "linux.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write(CONFIG)
    iso = os.path.join(directory, "guest.iso")
    subprocess.run([os.path.join(ROOT, "tools", "iso.sh"), config, "-o", iso], check=True,
                   stdout=sys.stderr)
    return iso


def found(expression, text):
    match = expression.search(text)
    if match is None:
        raise MachineError(f"no '{expression.pattern}' in what was printed:\n{text[-2000:]}")
    return match


def figures(text, entry):
    """What /init printed, and the ticks since the entry."""
    said = {key: int(value) for key, value in
            (pair.split("=") for pair in found(INIT, text).group(1).split())}
    return {"ticks": said["tsc"] - entry,
            **{name: said[key] * IPS // 1_000_000_000
               for name, key in (("clock", "clock_ns"), ("halted", "idle_ns"))},
            **{key: said[key] for key in ("local_timer", "irq0", "mem_total_kb")}}


def measure_bare(directory):
    """The figures, and "calibration": the most that it takes, in ticks."""
    with Machine(bare_iso(directory), model=MODEL, cores=1, memory=BARE_MEMORY,
                 lenient=True) as machine:
        machine.wait(BOOT_TIMEOUT)
        text = machine.text
    if int(found(BARE_MAP, text).group(1), 16) != GUEST_MEMORY:
        raise MachineError("the bare machine has not as much memory as the guest")
    return figures(text, int(found(BARE_ENTRY, text).group(1), 16)) | {
        "calibration": CALIBRATION_MS * IPS // 1000}


def measure_guest(directory):
    """The figures, "exits" as {kind: count}, and "injected": until the VM had ended."""
    with Machine(guest_iso(directory), model=MODEL, cores=1, memory=BULKHEAD_MEMORY) as machine:
        machine.wait(BOOT_TIMEOUT)
        text = machine.text
    stats = found(STATS, text)
    exits = {kind: int(count) for kind, count in EXITS.findall(text[stats.end():])}
    return figures(text, int(found(GUEST_ENTRY, text).group(1))) | {
        "exits": exits, "injected": int(stats.group(1))}


def ratios(bare, guest):
    """(guest / bare, the same without the ticks in HLT and without bare's calibration)."""
    busy = bare["ticks"] - bare["halted"] - bare["calibration"]
    return (round(guest["ticks"] / bare["ticks"], 4),
            round((guest["ticks"] - guest["halted"]) / busy, 4))


def measure(say):
    """{"bare", "guest", "ratio", "ratio_busy", "limit"}, as --json prints it."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-") as directory:
        say("booting Linux on the bare machine")
        bare = measure_bare(directory)
        say("booting Linux as a guest")
        guest = measure_guest(directory)
    ratio, busy = ratios(bare, guest)
    return {"bare": bare, "guest": guest, "ratio": ratio, "ratio_busy": busy, "limit": BAR}


def print_table(result):
    bare, guest = result["bare"], result["guest"]
    print(f"{'boot of Linux':28} {'bare':>14} {'guest':>14}")
    for key, words in FIGURES.items():
        print(f"{words:28} {bare[key]:14,} {guest[key]:14,}")
    print(f"{'calibration, at most':28} {bare['calibration']:14,} {0:14,}")
    for kind, count in guest["exits"].items():
        print(f"{'exits: ' + kind:28} {'':14} {count:14,}")
    print(f"{'exits':28} {'':14} {sum(guest['exits'].values()):14,}")
    print(f"{'interrupts injected':28} {'':14} {guest['injected']:14,}")
    verdict = "ok" if result["ratio"] <= result["limit"] else "OVER"
    print(f"guest / bare: {result['ratio']:.4f}, at most {result['limit']}: {verdict}; "
          f"without HLT and calibration: {result['ratio_busy']:.4f}")
