# SPDX-License-Identifier: BSD-2-Clause
"""QEMU: what its machines can be, and its command line for one of them.

Where the host has nested VMX, KVM runs those that name no model of a CPU. All others run in QEMU's
own emulation (TCG), whose CPUs have SVM and no VMX.
"""

import functools
import os
import re
import shutil
import subprocess

PROGRAM = "qemu-system-x86_64"
UEFI_FIRMWARE = "/usr/share/ovmf/OVMF.fd"
BOARDS = ("q35", "pc")
MAX_CORES = 64       # CPU_MAX of the kernel
MIN_MEMORY = 64      # MB, and what OVMF makes do with
MIN_MEMORY_UEFI = 128
MAX_MEMORY = 16384
# All that QEMU can emulate, and so the fewest things that guests do without. The models of AMD's
# CPUs boot and run the demo as well, and as quickly, and each lacks something of it.
MODEL = "max"

ICOUNT_HZ = 1_000_000_000   # of the TSC, where time goes by instructions
DATE = "2000-01-01T00:00:00"  # of the RTC at power-on, there

# Names in the machine's directory.
LOG, MONITOR = "output", "monitor"

# A trace event: the machine has been powered off by ACPI.
POWERED_OFF = "qemu_system_shutdown_request"


def nested_vmx():
    """True if QEMU can give a guest VMX here."""
    try:
        with open("/sys/module/kvm_intel/parameters/nested", encoding="ascii") as file:
            nested = file.read().strip() in ("Y", "1")
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            vmx = re.search(r"^flags\s*:.*\bvmx\b", file.read(), re.MULTILINE) is not None
    except OSError:
        return False
    return nested and vmx and os.access("/dev/kvm", os.R_OK | os.W_OK)


def program():
    """The QEMU to run."""
    return PROGRAM


def default_model():
    """The CPU of a machine that names none."""
    return "host" if nested_vmx() else MODEL


@functools.lru_cache
def _models():
    if shutil.which(PROGRAM) is None:
        return set()
    said = subprocess.run([PROGRAM, "-cpu", "help"], check=False, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace").stdout
    # One a line; Debian 12's QEMU begins each with "x86", and Debian 13's does not.
    models = said.partition("Recognized CPUID flags")[0]
    return set(re.findall(r"^(?:x86)? +(\S+)", models, re.MULTILINE))


def not_there():
    """What to say if it is not there."""
    return f"{PROGRAM} is not installed: run ./bulkhead setup"


def cannot(machine):
    """Why QEMU cannot be such a machine, by its attributes; None: it can."""
    least = MIN_MEMORY_UEFI if machine.uefi else MIN_MEMORY
    if not 1 <= machine.cores <= MAX_CORES:
        return f"QEMU's machines here have 1 to {MAX_CORES} cores"
    if not least <= machine.memory <= MAX_MEMORY:
        return f"QEMU's machines here have {least} to {MAX_MEMORY} MB of memory"
    if machine.ips:
        return "QEMU has no number of instructions per second"
    if machine.paced and machine.icount is not None:
        return "QEMU's time is the host's or passes by instructions, not both"
    if machine.model and machine.model.split(",")[0] not in _models():
        return f"QEMU knows no CPU model {machine.model}: '{PROGRAM} -cpu help' has a list"
    if machine.model == "host" and not nested_vmx():
        return "model host takes KVM with nested VMX, which this host has not"
    if machine.board not in (None, *BOARDS):
        return f"QEMU's boards here are {' and '.join(BOARDS)}"
    if machine.uefi and not os.path.exists(UEFI_FIRMWARE):
        return f"{UEFI_FIRMWARE} is missing: run ./bulkhead setup"
    return None


def command(machine, port):
    """Its command line; the serial line goes to that TCP port."""
    kvm = machine.cpu == "host"
    firmware = ["-bios", UEFI_FIRMWARE] if machine.uefi else []
    board = machine.board or BOARDS[0]
    # QEMU 10 ends with "Bad icount read" when RDMSR reads the count of an x2APIC's timer; 7.2 has
    # no x2APIC in TCG.
    cpu = machine.cpu + ",-x2apic" * (machine.icount is not None)
    return [PROGRAM, *firmware, "-nodefaults", "-display", "none", *_ending(machine),
            "-machine", f"{board},accel=" + ("kvm" if kvm else "tcg"), "-cpu", cpu,
            "-smp", str(machine.cores), "-m", str(machine.memory), "-no-reboot", *_boot(machine),
            *(_icount(machine) if machine.icount is not None else []),
            "-trace", POWERED_OFF, "-chardev", f"socket,id=com1,host=127.0.0.1,port={port}",
            *(["-device", "pci-serial,chardev=com1"] if machine.com == "pci" else
              ["-serial", "none"] * (machine.com - 1) + ["-serial", "chardev:com1"])]


def _icount(machine):
    """Time passes by instructions, and jumps when no core has any to execute. Runs are alike, and
    so is the date. With sleep=on in place of jumps, time and the machine stand still for good,
    every now and then, until a key or the like comes."""
    return ["-icount", f"shift={machine.icount},sleep=off", "-rtc", f"base={DATE},clock=vm"]


def _ending(machine):
    """A machine with a screen is watched by it, and stays on so that it can be."""
    if machine.screen:
        return ["-vga", "std", "-monitor", f"unix:{MONITOR},server,nowait"]
    return ["-monitor", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]


def _boot(machine):
    """The arguments for what it boots from."""
    if machine.tree:
        return ["-netdev", f"user,id=net,tftp={machine.TREE},bootfile={machine.boot_file}",
                "-device", f"e1000,netdev=net,mac={machine.mac},bootindex=1"]
    if machine.usb:
        return ["-drive", f"if=none,id=stick,format=raw,readonly=on,file={machine.DISC}",
                "-device", "qemu-xhci", "-device", "usb-storage,drive=stick,bootindex=1"]
    return ["-cdrom", machine.DISC, "-boot", "d"]
