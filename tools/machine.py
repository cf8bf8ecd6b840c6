# SPDX-License-Identifier: BSD-2-Clause
"""One emulated PC: Bochs or QEMU on an ISO or a TFTP tree, its serial line, and how it ended.

A Machine belongs to one thread. It ends only the emulator that it started itself, and the kernel
ends that one too if this process dies first.
"""

import ctypes
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import bochs
import qemu

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN_DIR = os.path.join(ROOT, "build", "run")

# Network boot: what the boot server names to each firmware.
BOOT_FILE_BIOS = "boot/grub/i386-pc/core.0"
BOOT_FILE_UEFI = "boot/grub/x86_64-efi/core.efi"
MAC = "52:54:00:12:34:56"

EMULATORS = {"bochs": bochs, "qemu": qemu}

# How the machine ended. The kernel gives its own statuses with SAID added, which no emulator that
# fails comes up with.
SAID = 0x10
STATUS_OK = 0
STATUS_VM_KILLED = 1
STATUS_PANIC = 2
STATUS_EMULATOR = 3
STATUS_NAMES = {
    STATUS_OK: "all VMs powered off",
    STATUS_VM_KILLED: "a VM was killed, or none could be started",
    STATUS_PANIC: "the kernel stopped: a panic, or a CPU that lacks what it needs",
}
# By ACPI, and so without a status.
POWERED_OFF = "the machine powered itself off"

# Who gives up before the machine can be ended says so, and then it stays on: the boot menu, and the
# kernel as long as it does not know that this is an emulator.
GAVE_UP = re.compile(
    r"^(?:Bulkhead was not started: |bulkhead: all is stopped; ).*$", re.MULTILINE)

# Terminal control sequences say nothing about the text.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[=>78DMEHc]")

# A line without an end counts as it stands after so many seconds of silence.
SETTLED = 0.3

PR_SET_PDEATHSIG = 1


class MachineError(Exception):
    """The emulator could not be started, or ended in a way that is not the kernel's doing."""


class Expired(Exception):
    """What was expected did not come in time."""


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Machine:
    """A machine that boots ISO. Use it in a `with` statement: leaving it stops the emulator.

    iso        may be None if there is a tree

    emulator   bochs | qemu
    model      CPU model, a short name of bochs.MODELS or the emulator's own
    cores, memory (MB); of Bochs: ips, emulated instructions per second
    uefi       QEMU: UEFI firmware in place of a BIOS; board: q35 (default) | pc
    usb        QEMU: the ISO is a USB stick, not a disc
    tree       a folder to boot from by network: the emulator gives out an address, and serves it
               by TFTP
    mac        of the network card that is there with a tree
    screen     there is one, for screen.py. QEMU then goes on when the kernel has stopped
    com        which serial port is there: 1 to 4, or "pci" in QEMU
    icount     QEMU: if a number, time passes by instructions, each of 2**icount ns, and the cores
               take turns. When none has any to execute, time jumps
    paced      emulated time does not run ahead of real time (for people at a terminal); in QEMU not
               together with icount
    breaks     Bochs: `xchg bx, bx` stops in the debugger, which then runs these commands; what the
               debugger prints goes to debugger_output
    lenient    Bochs: unknown MSRs read 0 in place of #GP; Linux on the bare machine needs it, for
               Bochs lacks IA32_MISC_ENABLE
    """

    DISC, TREE = "disc.iso", "tree"  # in the machine's directory

    def __init__(self, iso, emulator="bochs", model=None, cores=2, memory=1024, ips=None,
                 uefi=False, paced=False, breaks=None, lenient=False, tree=None, mac=MAC,
                 screen=False, com=1, board=None, usb=False, icount=None):
        self.iso = os.path.abspath(iso) if iso else None
        self.tree = os.path.abspath(tree) if tree else None
        self.mac = mac
        self.emulator = emulator
        self.model = model
        self.cores = cores
        self.memory = memory
        self.ips = ips
        self.uefi, self.board, self.usb, self.icount = uefi, board, usb, icount
        self.paced = paced
        self.breaks, self.screen, self.com = breaks, screen, com
        self.lenient = lenient
        self.data = b""           # every byte received
        self.times = []           # (offset in data, seconds since start) of every read
        self.status = None        # the kernel's status, once the machine is off
        self.ending = ""          # how it ended, for people
        self.gave_up = None       # the line that says that nothing will run there
        self.directory = self.log = None
        self.debugger_output = None
        self.keep = False         # keep the run directory whatever happens
        self._process = None
        self._line = None
        self._listener = None
        self._position = 0        # search() looks from here on, in the text
        self._searched = 0        # and not again at what lies before this
        self._last_read = 0.0     # when the last bytes came, in seconds since the start
        self._start = None
        self._stopped = False
        self._finished = ""       # the text of all complete lines
        self._rest = b""          # the bytes of the unterminated line

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.keep = True
        self.stop()

    # Life ------------------------------------------------------------------------------------

    def start(self):
        if self.iso and not os.path.exists(self.iso):
            raise MachineError(f"no such ISO: {self.iso}")
        if self.tree and not os.path.isdir(self.tree):
            raise MachineError(f"no such folder: {self.tree}")
        if self.emulator not in EMULATORS:
            raise MachineError(f"unknown emulator '{self.emulator}': {' or '.join(EMULATORS)}")
        emulator = EMULATORS[self.emulator]
        wrong = emulator.cannot(self)
        if wrong:
            raise MachineError(wrong)
        self._make_directory()
        self.log = os.path.join(self.directory, emulator.LOG)
        self._listener = socket.create_server(("127.0.0.1", 0))
        command = emulator.command(self, self._listener.getsockname()[1])
        if shutil.which(command[0]) is None:
            raise MachineError(emulator.not_there())
        self.debugger_output = os.path.join(self.directory, "output")
        with open(self.debugger_output, "wb") as output:
            self._process = subprocess.Popen(  # pylint: disable=consider-using-with
                command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_die_with_parent)
        self._start = time.monotonic()
        self._accept()

    def _make_directory(self):
        """The emulator's working directory. What it boots is linked into it, so that no path from
        elsewhere need be quoted for a settings file or an option."""
        os.makedirs(RUN_DIR, exist_ok=True)
        self.directory = tempfile.mkdtemp(prefix="run-", dir=RUN_DIR)
        for target, name in ((self.iso, self.DISC), (self.tree, self.TREE)):
            if target:
                os.symlink(target, os.path.join(self.directory, name))

    def _accept(self):
        while True:
            if select.select([self._listener], [], [], 0.1)[0]:
                self._line = self._listener.accept()[0]
                self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._listener.close()
                return
            if self._process.poll() is not None or time.monotonic() - self._start > 30:
                self.keep = True
                tail = self._tail(self.debugger_output) or self._tail(self.log)
                self.stop()
                raise MachineError(f"{self.emulator} did not start:\n{tail}\n"
                                   f"its files are in {self.directory}")

    def stop(self):
        """Ends the emulator if it still runs; forgets the run directory unless it is needed."""
        if self._stopped:
            return
        self._stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()
        for connection in (self._line, self._listener):
            if connection is not None:
                connection.close()
        if self.keep and self.directory:
            with open(os.path.join(self.directory, "serial.log"), "wb") as file:
                file.write(self.data)
        elif self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def fileno(self):
        """The serial line, for select()."""
        return self._line.fileno()

    @property
    def cpu(self):
        """Its model of CPU."""
        return self.model or EMULATORS[self.emulator].default_model()

    @property
    def boot_file(self):
        """What it asks a boot server for."""
        return BOOT_FILE_UEFI if self.uefi else BOOT_FILE_BIOS

    @property
    def running(self):
        return self.status is None

    def elapsed(self):
        """Seconds since the start."""
        return time.monotonic() - self._start

    # The serial line -------------------------------------------------------------------------

    def read(self, timeout):
        """Takes what the machine sent within timeout seconds; returns it. Empty and not
        `running`: the machine is off, and `status` and `ending` are set."""
        if not self.running:
            return b""
        if not select.select([self._line], [], [], max(timeout, 0))[0]:
            return b""
        try:
            chunk = self._line.recv(65536)
        except ConnectionError:
            chunk = b""
        if chunk:
            self._last_read = self.elapsed()
            self.times.append((len(self.data), self._last_read))
            self.data += chunk
            lines, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
            finished = self._readable(lines + newline)
            self._finished += finished
            gave_up = GAVE_UP.search(finished)
            if gave_up:
                self.gave_up = gave_up.group(0)
        else:
            self._ended()
        return chunk

    def send(self, keys):
        """Sends bytes, or text, to the machine's serial port."""
        if isinstance(keys, str):
            keys = keys.encode()
        try:
            self._line.sendall(keys)
        except OSError:
            pass  # the machine went off meanwhile: read() finds out

    @property
    def text(self):
        """All that was received, as text without carriage returns and escape sequences."""
        return self._finished + self._readable(self._rest)

    @staticmethod
    def _readable(data):
        return ESCAPES.sub("", data.decode("utf-8", "replace").replace("\r", ""))

    @property
    def lines(self):
        """The lines of the text; the last one may be unterminated."""
        return self.text.split("\n")

    def time_of(self, offset):
        """When the byte at that offset of `data` came, in seconds since the start."""
        stamp = 0.0
        for start, when in self.times:
            if start > offset:
                break
            stamp = when
        return stamp

    def expect(self, pattern, timeout):
        """Waits for a line that matches the regular expression, after the last match; an
        unterminated line counts too, once nothing more comes. Returns the match object."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        while True:
            match = self.search(expression)
            if match:
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                self._fail(f"no '{pattern}' within {timeout} s")
            if not self.running:
                self._fail(f"no '{pattern}' until the machine was off ({self.ending})")
            self.read(min(left, SETTLED))

    def search(self, expression):
        """Looks for a compiled expression (MULTILINE) in what has been received after the last
        match. The unterminated line is looked at only when it has not grown for a while: its end
        may be where a chunk of bytes happens to end. Returns the match object or None."""
        settled = not self.running or self.elapsed() - self._last_read >= SETTLED
        text = self.text if settled else self._finished
        match = expression.search(text, max(self._position, self._searched))
        if match:
            self._position = match.end()
        else:
            # No line spans the seam: what was searched in full need not be searched again.
            self._searched = len(self._finished)
        return match

    def expect_all(self, patterns, timeout):
        """Waits until each pattern has matched somewhere after the last match, in any order."""
        start = self._position
        furthest = start
        deadline = time.monotonic() + timeout
        for pattern in patterns:
            self._position = self._searched = start
            self.expect(pattern, max(deadline - time.monotonic(), 0.01))
            furthest = max(furthest, self._position)
        self._position = furthest

    def wait(self, timeout):
        """Waits until the machine is off; returns its status."""
        deadline = time.monotonic() + timeout
        while self.running:
            left = deadline - time.monotonic()
            if left <= 0:
                self._fail(f"the machine was not off within {timeout} s")
            self.read(min(left, 0.5))
        return self.status

    def _fail(self, reason):
        self.keep = True
        tail = "\n".join(self.lines[-25:])
        raise Expired(f"{reason}; the log is in {self.directory}; last lines:\n{tail}")

    # How it ended ----------------------------------------------------------------------------

    def _ended(self):
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        said = self._qemu_said(code) if self.emulator == "qemu" else self._bochs_said()
        if said is not None:
            known = said - SAID in STATUS_NAMES and said - SAID != STATUS_EMULATOR
            self.status = said - SAID if known else STATUS_EMULATOR
            self.ending = STATUS_NAMES[self.status] if known else f"it said {said:#x}"
        if self.status != STATUS_OK:
            self.keep = True

    def _qemu_said(self, code):
        """What the kernel wrote to QEMU's exit device; None: nothing, and then `status` and
        `ending` are set. QEMU ends with (value << 1) | 1, with 0 after a reset or a power-off,
        and with 1 or a signal when it fails. At SIGTERM it says so, and ends with 0."""
        if code > 1 and code & 1:
            return code >> 1
        tail = self._tail(self.log)
        if code == 0 and "terminating on signal" not in tail:
            self.status, self.ending = ((STATUS_OK, POWERED_OFF) if qemu.POWERED_OFF in tail
                                        else (STATUS_PANIC, "the machine was reset"))
        else:
            how = f"signal {-code}" if code < 0 else f"status {code}"
            self.status, self.ending = STATUS_EMULATOR, f"QEMU failed ({how}): {tail}".rstrip(": ")
        return None

    def _bochs_said(self):
        """The same of Bochs, which always exits with 1."""
        reason, said = bochs.last_words(self.log)
        if said is not None:
            return said
        if bochs.POWERED_OFF in reason:
            self.status, self.ending = STATUS_OK, POWERED_OFF
        elif "exception" in reason:
            self.status, self.ending = STATUS_PANIC, "triple fault: " + reason
        else:
            self.status = STATUS_EMULATOR
            self.ending = "Bochs failed: " + (reason or self._tail(self.log))
        return None

    @staticmethod
    def _tail(path):
        if not path or not os.path.exists(path):
            return ""
        with open(path, encoding="latin-1") as file:
            return "".join(file.readlines()[-8:]).strip()
