# SPDX-License-Identifier: BSD-2-Clause
"""Bochs: what its machines can be, its settings for one of them, and what differs between one Bochs
and another: Debian 12 has 2.7, Debian 13 has 3.0, and BULKHEAD_BOCHS names any other."""

import functools
import os
import re
import shutil
import subprocess

VARIABLE = "BULKHEAD_BOCHS"
# iPXE, for Bochs' BIOS has no network code of its own: in an e1000 card's ROM, of Debian 12; or
# on a disc, for the 107 KB of Debian 13's ROM do not fit between a VGA BIOS and 0xE0000.
NETWORK_ROM = "/usr/lib/ipxe/qemu/pxe-e1000.rom"
NETWORK_DISC = "/usr/lib/ipxe/ipxe.iso"
DISC_SETTINGS = """ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path={}, status=inserted
boot: cdrom
"""

MODELS = {
    "skylake_x": "corei7_skylake_x",
    "haswell": "corei7_haswell_4770",
    "ivy_bridge": "corei7_ivy_bridge_3770k",
}
MODEL = "skylake_x"
IPS = 50_000_000  # emulated instructions per second
# It handles 1 to 15 CPUs, and slows to a crawl with more memory. With a network card, it has not
# enough timers for 15.
MAX_CORES = 15
MAX_CORES_NETWORK = 14
MIN_MEMORY = 32
MAX_MEMORY = 2048
DATE = 946684800  # of the RTC at power-on: 2000-01-01, in seconds since 1970

# Names in the machine's directory.
SETTINGS, COMMANDS, LOG, VNET, ROMS = "bochsrc", "debugger.rc", "bochs.log", "vnet", "roms"

# In its log, when the guest has gone to ACPI's S5.
POWERED_OFF = "ACPI control: soft power off"


def program():
    """The Bochs to run."""
    name = os.environ.get(VARIABLE) or "bochs"
    return os.path.abspath(name) if os.sep in name else name


def default_model():
    """The CPU of a machine that names none."""
    return MODEL


def not_there():
    """What to say if that is not there."""
    if os.environ.get(VARIABLE):
        return f"{VARIABLE} names '{program()}', and there is no such program"
    return "bochs is not installed: run ./bulkhead setup"


@functools.lru_cache
def _help(name, *topic):
    if shutil.which(name) is None:
        return ""
    return subprocess.run([name, "--help", *topic], check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace").stdout


def loop_arguments():
    """The arguments that make Bochs run in its debugger's loop: five instructions of each CPU in
    turn, and five ticks. 2.7 knows no other. 3.0 does without if it is not asked to debug, and
    then runs each CPU up to its next branch while the clock advances by the mean of them all, so
    that a CPU in a short loop gets a sixth of what its neighbour gets."""
    return ["-debugger"] if re.search(r"^ +-debugger ", _help(program()), re.MULTILINE) else []


def roms():
    """The folder of its BIOSes: of the same installation, or else Debian's."""
    found = os.path.realpath(shutil.which(program()) or program())
    own = os.path.join(os.path.dirname(os.path.dirname(found)), "share", "bochs")
    return own if os.path.isdir(own) else "/usr/share/bochs"


def cannot(machine):
    """Why Bochs cannot be such a machine, by its attributes; None: it can."""
    most = MAX_CORES_NETWORK if machine.tree else MAX_CORES
    model = machine.model or MODEL
    if model not in MODELS and not re.search(rf"^{re.escape(model)}$", _help(program(), "cpu"),
                                             re.MULTILINE):
        return f"Bochs knows no CPU model {model}: 'bochs --help cpu' has a list"
    if machine.uefi:
        return "Bochs' firmware is a BIOS; --on qemu has UEFI"
    if machine.usb:
        return "Bochs does not boot from USB; --on qemu does"
    if machine.board is not None:
        return "Bochs has one board; --on qemu has q35 and pc"
    if not 1 <= machine.cores <= most:
        return (f"Bochs can have 1 to {most} cores" + " with a network card" * bool(machine.tree)
                + "; --on qemu has more")
    if not MIN_MEMORY <= machine.memory <= MAX_MEMORY:
        return (f"Bochs can have {MIN_MEMORY} to {MAX_MEMORY} MB of memory; --on qemu can have "
                "more")
    return None


def command(machine, port):
    """Its command line; the serial line goes to that TCP port. Writes its settings."""
    with open(os.path.join(machine.directory, COMMANDS), "w", encoding="ascii") as file:
        file.write("".join(f"{line}\n" for line in machine.breaks or ["c"]))
    with open(os.path.join(machine.directory, SETTINGS), "w", encoding="ascii") as file:
        file.write(_settings(machine, port) + _boot(machine))
    os.symlink(roms(), os.path.join(machine.directory, ROMS))
    return [program(), "-q", *loop_arguments(), "-f", SETTINGS, "-rc", COMMANDS]


def _settings(machine, port):
    model = MODELS.get(machine.cpu, machine.cpu)
    return f"""config_interface: textconfig
display_library: rfb, options="timeout=0, hideIPS"
cpu: model={model}, count={machine.cores}, ips={machine.ips or IPS}, quantum=16, \
reset_on_triple_fault=0, ignore_bad_msrs={1 if machine.lenient else 0}
memory: guest={machine.memory}, host={machine.memory}
romimage: file={ROMS}/BIOS-bochs-latest, options=fastboot
vgaromimage: file={ROMS}/VGABIOS-lgpl-latest
vga: extension=vbe, update_freq=1
pci: enabled=1, chipset=i440fx{', slot1=e1000' if machine.tree else ''}
clock: sync={'slowdown' if machine.paced else 'none'}, time0={DATE}, rtc_sync=0
com{machine.com}: enabled=1, mode=socket-client, dev=127.0.0.1:{port}
port_e9_hack: enabled=0
magic_break: enabled={1 if machine.breaks else 0}
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
log: {LOG}
logprefix: %t%e%d
debugger_log: /dev/null
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
"""


def _boot(machine):
    """The settings of what it boots from."""
    if not machine.tree:
        return DISC_SETTINGS.format(machine.DISC)
    with open(os.path.join(machine.directory, VNET), "w", encoding="ascii") as file:
        file.write(f"# vnet config\nbootfile = {machine.boot_file}\n")
    card = (f"e1000: enabled=1, mac={machine.mac}, ethmod=vnet, ethdev={machine.TREE}, "
            f"script={VNET}")
    if os.path.exists(NETWORK_ROM):
        return f"{card}, bootrom={NETWORK_ROM}\nboot: network\n"
    return card + "\n" + DISC_SETTINGS.format(NETWORK_DISC)


def last_words(path):
    """By its log: why it ended, "" if it does not say; and BL of a guest that asked for that at the
    shutdown port, else None."""
    log = ""
    if os.path.exists(path): # else it has not even begun one
        with open(path, encoding="latin-1") as file:
            log = file.read()
    panic = re.search(r"p\[.*PANIC.*", log)
    if panic is None:
        return "", None
    asked = "Shutdown port" in panic.group(0)
    register = re.search(r"[ER]BX=([0-9a-fA-F]+)", log[panic.start():]) if asked else None
    return panic.group(0).strip(), int(register.group(1)[-2:], 16) if register else None
