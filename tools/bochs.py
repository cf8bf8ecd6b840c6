# SPDX-License-Identifier: BSD-2-Clause
"""What differs between one Bochs and another: Debian 12 has 2.7, Debian 13 has 3.0, and
BULKHEAD_BOCHS names any other."""

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

# In its log, when the guest has gone to ACPI's S5.
POWERED_OFF = "ACPI control: soft power off"


def program():
    """The Bochs to run."""
    name = os.environ.get(VARIABLE) or "bochs"
    return os.path.abspath(name) if os.sep in name else name


def not_there():
    """What to say if that is not there."""
    if os.environ.get(VARIABLE):
        return f"{VARIABLE} names '{program()}', and there is no such program"
    return "bochs is not installed: run ./bulkhead setup"


@functools.lru_cache
def _help(name):
    if shutil.which(name) is None:
        return ""
    return subprocess.run([name, "--help"], check=False, stdin=subprocess.DEVNULL,
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


def disc_boot(path):
    """The settings to boot from a disc."""
    return DISC_SETTINGS.format(path)


def network_boot(card):
    """The settings to boot from a network card, by its own settings."""
    if os.path.exists(NETWORK_ROM):
        return f"e1000: {card}, bootrom={NETWORK_ROM}\nboot: network\n"
    return f"e1000: {card}\n" + disc_boot(NETWORK_DISC)


def last_words(path):
    """By its log: why it ended, "" if it does not say; and BL of a guest that asked for that at the
    shutdown port, else None."""
    with open(path, encoding="latin-1") as file:
        log = file.read()
    panic = re.search(r"p\[.*PANIC.*", log)
    if panic is None:
        return "", None
    asked = "Shutdown port" in panic.group(0)
    register = re.search(r"[ER]BX=([0-9a-fA-F]+)", log[panic.start():]) if asked else None
    return panic.group(0).strip(), int(register.group(1)[-2:], 16) if register else None
