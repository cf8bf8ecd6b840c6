#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""./bulkhead run: boots a config in an emulator, with the terminal or a script at its serial port.

Exit status of --batch: 0 REGEX was seen, or all VMs powered off; 1 a VM was killed, each that is
left has halted for good, or the machine ended before REGEX was seen; 2 the kernel panicked, or was
not started; 3 the emulator failed; 64 wrong arguments; 124 the time was over. If the last VM ended
by its test board: the status that it gave, which is odd.
"""

import os
import re
import select
import subprocess
import sys
import tempfile
import termios
import time
import tty

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bochs  # noqa: E402  pylint: disable=wrong-import-position
import emulator  # noqa: E402  pylint: disable=wrong-import-position
import ending  # noqa: E402  pylint: disable=wrong-import-position
from arguments import (  # noqa: E402  pylint: disable=wrong-import-position
    Parser, positive, seconds)
import qemu  # noqa: E402  pylint: disable=wrong-import-position
from machine import (  # noqa: E402  pylint: disable=wrong-import-position
    EMULATORS, ROOT, SETTLED, STATUS_EMULATOR, STATUS_OK, STATUS_PANIC, STATUS_VM_KILLED, Machine,
    MachineError)

STATUS_UNSEEN = 1
STATUS_HALTED = 1
STATUS_TIMEOUT = 124
# The manager's, who then waits for the monitor; and for how long others' last words are.
STUCK = b"\nbulkhead| no VM can go on: "
LAST_WORDS = 1.0
# The manager's too: the kernel has no way to hand such a status on. No VM's line begins so.
GIVEN = re.compile(r"^bulkhead\| .*: powering off, status (\d+) of (VM '\S+')$", re.MULTILINE)
ESCAPE_KEY = 0x01  # Ctrl-A, as QEMU's: Ctrl-] belongs to the machine's own console


def say(text):
    print(f"[bulkhead] {text}", file=sys.stderr, flush=True)


def count(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def parse_arguments():
    parser = Parser("run", "Boots a config.")
    parser.add_argument("config", nargs="?", help="default: config/demo.conf")
    parser.add_argument("--on", choices=EMULATORS,
                        help="default: qemu where the host has nested VMX, else the quicker one")
    parser.add_argument("--cores", type=positive, default=2)
    parser.add_argument("--memory", type=positive, default=1024, metavar="MB")
    parser.add_argument("--model", help="skylake_x, haswell, ivy_bridge, or an emulator's own name")
    parser.add_argument("--firmware", choices=("bios", "uefi"), default="bios",
                        help="uefi: in QEMU")
    parser.add_argument("--boot", choices=("cd", "usb", "pxe"), default="cd",
                        help="usb: in QEMU")
    parser.add_argument("--board", choices=qemu.BOARDS, help="of QEMU (default q35)")
    parser.add_argument("--ips", type=positive,
                        help=f"emulated instructions per second in Bochs (default {bochs.IPS})")
    parser.add_argument("--batch", action="store_true", help="no input; serial output to stdout")
    parser.add_argument("--until", metavar="REGEX", help="with --batch: end when a line matches")
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS",
                        help="with --batch: give up after so long")
    parser.add_argument("--kernel-args", metavar="WORDS", default="",
                        help="words for the kernel, such as 'assume=mds,taa'")
    parser.add_argument("--iso", metavar="FILE", help="boot this ISO instead of making one")
    options = parser.parse_args()
    if not options.batch and (options.until is not None or options.timeout):
        parser.error("--until and --timeout need --batch")
    if options.iso is not None and (options.config is not None or options.kernel_args):
        parser.error("a config and --kernel-args are for an ISO that is made, not with --iso")
    if options.iso is not None and options.boot == "pxe":
        parser.error("--boot pxe needs a tree of files, which is made of a config, not an --iso")
    if "/" in options.kernel_args:
        parser.error("--kernel-args: a word with a / cannot be a file's name, as each word is")
    if options.until is not None:
        try:
            options.until = re.compile(options.until, re.MULTILINE)
        except re.error as error:
            parser.error(f"--until: {error}")
    wrong = emulator.unable(machine_of(options))
    if options.on and wrong[options.on] or all(wrong.values()):
        parser.error(wrong[options.on] if options.on else "; ".join(wrong.values()))
    options.config = options.config or os.path.join(ROOT, "config", "demo.conf")
    return options


def make_medium(options, directory):
    """What to boot from: an ISO, or a folder for network boot; None: it cannot be made, and that
    has been said."""
    if options.iso is not None:
        return options.iso
    if options.boot == "pxe":
        medium = os.path.join(directory, "tree")
        command = [os.path.join(ROOT, "tools", "pxe.sh"), options.config, "-o", medium]
        for word in options.kernel_args.split():
            command += ["--option", word]
    else:
        medium = os.path.join(directory, "bulkhead.iso")
        command = [os.path.join(ROOT, "tools", "iso.sh"), options.config, "-o", medium,
                   "--kernel-args", options.kernel_args]
    return medium if ending.run(command, stdout=subprocess.DEVNULL) == 0 else None


def machine_of(options, medium=None):
    """The machine that is asked for; what it boots need not be there yet."""
    network = options.boot == "pxe"
    return Machine(None if network else medium, tree=(medium or ".") if network else None,
                   emulator=options.on, model=options.model, cores=options.cores,
                   memory=options.memory, ips=options.ips, paced=not options.batch,
                   uefi=options.firmware == "uefi", board=options.board,
                   usb=options.boot == "usb")


def name_of(machine):
    """What it is, for people."""
    qemus = machine.emulator == "qemu"
    parts = [count(machine.cores, "core"), f"{machine.memory} MB", f"model {machine.cpu}",
             *([machine.board or qemu.BOARDS[0]] if qemus else []),
             f"{'UEFI' if machine.uefi else 'BIOS'} from " +
             ("the network" if machine.tree else "a USB stick" if machine.usb else "a disc")]
    return f"{machine.emulator}, {', '.join(parts)}"


def run_batch(machine, options):
    deadline = time.monotonic() + options.timeout if options.timeout else None
    tail, stuck, heard = b"", False, time.monotonic()
    while machine.running:
        left = 1.0 if deadline is None else deadline - time.monotonic()
        if left <= 0:
            machine.keep = True
            say(f"not done after {options.timeout:g} s")
            return STATUS_TIMEOUT
        data = machine.read(min(left, SETTLED))
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        if options.until and machine.search(options.until):
            return 0
        if machine.gave_up:
            machine.keep = True
            say(f"nothing will run there: {machine.gave_up}")
            return STATUS_PANIC
        if data:
            heard = time.monotonic()
            tail += data
            stuck = stuck or STUCK in tail
            tail = tail[-len(STUCK):]
        elif stuck and time.monotonic() - heard > LAST_WORDS:
            say("each VM that is left has halted for good")
            return STATUS_HALTED
    say(f"the machine is off: {machine.ending}")
    given = GIVEN.search(machine.text)
    if given and machine.status in (STATUS_OK, STATUS_VM_KILLED):
        say(f"the status of {given.group(2)} is {given.group(1)}")
        return int(given.group(1))
    return machine.status or (STATUS_UNSEEN if options.until else 0)


class Terminal:
    """The user's terminal in raw mode, or whatever stands in for it on stdin."""

    def __init__(self):
        self.input = sys.stdin.fileno()
        self.is_tty = os.isatty(self.input)
        self.saved = termios.tcgetattr(self.input) if self.is_tty else None
        self.open = True
        self.escaped = False

    def __enter__(self):
        if self.is_tty:
            tty.setraw(self.input)
        return self

    def __exit__(self, *_):
        if self.is_tty:
            termios.tcsetattr(self.input, termios.TCSADRAIN, self.saved)

    def keys(self):
        """Bytes for the machine, or None when the user wants to leave."""
        data = os.read(self.input, 4096)
        if not data:
            self.open = False
            return b""
        if not self.is_tty:
            return data
        out = bytearray()
        for byte in data:
            if self.escaped:
                self.escaped = False
                if byte in b"xX":
                    return None
                if byte in b"aA\x01":
                    out.append(ESCAPE_KEY)
            elif byte == ESCAPE_KEY:
                self.escaped = True
            else:
                out.append(byte)
        return bytes(out)


def run_terminal(machine):
    say("Ctrl-] ? lists the console's keys; Ctrl-A x ends the machine, Ctrl-A a sends Ctrl-A")
    with Terminal() as terminal:
        while machine.running:
            sources = [machine] + ([terminal.input] if terminal.open else [])
            ready = select.select(sources, [], [], 1.0)[0]
            if machine in ready:
                sys.stdout.buffer.write(machine.read(0))
                sys.stdout.buffer.flush()
            if terminal.input in ready:
                keys = terminal.keys()
                if keys is None:
                    return 0
                machine.send(keys)
    say(f"the machine is off: {machine.ending}")
    return machine.status


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="bulkhead-") as directory:
        medium = make_medium(options, directory)
        if medium is None:
            return STATUS_EMULATOR
        machine = None
        try:
            why = ""
            if options.on is None:
                options.on, why = emulator.choose(machine_of(options, medium), say)
            machine = machine_of(options, medium)
            machine.start()
            say(name_of(machine) + (f" ({why})" if why else ""))
            status = run_batch(machine, options) if options.batch else run_terminal(machine)
        except MachineError as error:
            say(str(error))
            status = STATUS_EMULATOR
        finally:
            if machine:
                machine.stop()
    if machine and machine.keep and machine.directory:
        say(f"the emulator's log and the serial output are in {machine.directory}")
    return status


if __name__ == "__main__":
    sys.exit(ending.call(main))
