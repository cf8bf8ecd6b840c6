# SPDX-License-Identifier: BSD-2-Clause
"""The commands around the system: two at once, odd paths, and how they end, whatever happens. No
emulator runs here: a stand-in ends the way that is wanted."""

import os
import shutil
import signal
import subprocess
import time
from unittest import mock

import pytest

from machine import Machine

# Connects to the serial port that Bochs or QEMU was told, says SAYS, and does ENDS.
STAND_IN = """#!/usr/bin/python3
import os, re, signal, socket, sys, time
told = " ".join(sys.argv)
if told.endswith("--help"):
    print({options!r})
    sys.exit()
if os.path.exists("bochsrc"):
    with open("bochsrc", encoding="ascii") as file:
        told = file.read()
port = int(re.search(r"127.0.0.1(?:,port=|:)(\\d+)", told).group(1))
line = socket.create_connection(("127.0.0.1", port))
def log(text):
    with open("bochs.log", "w", encoding="ascii") as file:
        file.write(text)
line.sendall({says!r})
{ends}
"""
SHUTDOWN = "00001e[      ] EBX=0\\n00002p[UNMAP ] >>PANIC<< Shutdown port: shutdown requested\\n"
BOCHS_EXIT = "log('" + SHUTDOWN + "00003i[CPU0  ] | RBX={:016x}\\n'); sys.exit(1)"
# How the emulator ends, and what run --batch makes of it.
ENDS = {
    "qemu-said-off": ("qemu", "sys.exit(0x10 << 1 | 1)", 0),
    "qemu-said-killed": ("qemu", "sys.exit(0x11 << 1 | 1)", 1),
    "qemu-said-panic": ("qemu", "sys.exit(0x12 << 1 | 1)", 2),
    "qemu-said-nonsense": ("qemu", "sys.exit(0x17 << 1 | 1)", 3),
    "qemu-failed": ("qemu", "sys.exit(1)", 3),
    "qemu-failed-otherwise": ("qemu", "sys.exit(3)", 3),
    "qemu-killed": ("qemu", "os.kill(os.getpid(), signal.SIGKILL)", 3),
    "qemu-terminated": ("qemu", "print('qemu: terminating on signal 15 from pid 1')", 3),
    "qemu-reset": ("qemu", "pass", 2),
    "qemu-off": ("qemu", "print('1@2.3:qemu_system_shutdown_request reason=6')", 0),
    "bochs-said-off": ("bochs", BOCHS_EXIT.format(0x10), 0),
    "bochs-said-killed": ("bochs", BOCHS_EXIT.format(0x11), 1),
    "bochs-said-panic": ("bochs", BOCHS_EXIT.format(0x12), 2),
    "bochs-said-nonsense": ("bochs", BOCHS_EXIT.format(0), 3),
    "bochs-triple-fault": ("bochs", "log('1p[CPU0  ] >>PANIC<< exception(): 3rd (13) exception "
                                    "with no resolution\\n'); sys.exit(1)", 2),
    "bochs-off": ("bochs", "log('1p[ACPI  ] >>PANIC<< ACPI control: soft power off\\n'); "
                           "sys.exit(1)", 0),
    "bochs-panic": ("bochs", "log('1p[DEV   ] >>PANIC<< no such ROM\\n'); sys.exit(1)", 3),
    "bochs-killed": ("bochs",
                     "log('1i[CPU0  ] reset\\n'); os.kill(os.getpid(), signal.SIGSEGV)", 3),
}
TALKS = "\nwhile True:\n    line.sendall(b'hello\\r\\n' * 1000)\n    time.sleep(0.1)\n"
HELLO = "[vm one]\nimage = hello\nmemory = 8M\n"


@pytest.fixture
def bulkhead(config_dir):
    return os.path.join(os.path.dirname(config_dir), "bulkhead")


def program(folder, name, text):
    """A program of that name in the folder, which PATH then begins with; -> the environment."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}")


@pytest.fixture
def stand_in(bulkhead, tmp_path):
    """stand_in(emulator, ends, says) -> how to call ./bulkhead run with it: a dictionary for
    subprocess.Popen."""
    iso = tmp_path / "some.iso"
    iso.write_bytes(b"")

    def make(emulator, ends, says=b"", options=""):
        name = {"bochs": "bochs", "qemu": "qemu-system-x86_64"}[emulator]
        environment = program(tmp_path / "bin", name,
                              STAND_IN.format(says=says, ends=ends, options=options))
        return {"args": [bulkhead, "run", "--on", emulator, "--iso", str(iso)],
                "env": environment, "text": True, "errors": "replace"}
    return make


def test_two_at_once(config_dir, tmp_path):
    """Two commands build in one checkout, whose path and whose cache's have blanks, after a header
    was touched; both find it whole."""
    copy = copy_checkout(config_dir, tmp_path / "my checkout")
    cache = tmp_path / "my cache"
    original = subprocess.run(["bash", "-c", ". tools/common.sh && printf %s \"$cache\""],
                              check=True, cwd=copy, capture_output=True, text=True).stdout
    shutil.copytree(original, cache, symlinks=True, ignore=shutil.ignore_patterns("log", "lock"))
    presets = copy / "CMakePresets.json"
    gcc = '"CMAKE_C_COMPILER": "gcc",'
    presets.write_text(presets.read_text().replace(gcc, gcc + '"BULKHEAD_PARTS": "config",', 1))
    for _ in range(2):
        (copy / "config" / "config.h").touch()
        both = [subprocess.Popen(["./bulkhead", "check", "--cores", "1", "some.conf"], cwd=copy,
                                 env=dict(os.environ, BULKHEAD_CACHE=str(cache)), text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                for _ in range(2)]
        said = [one.communicate(timeout=300)[0] for one in both]
        assert [one.returncode for one in both] == [1, 1], said
        for text in said:
            assert "some.conf:2:9: image 'nowhere' not found" in text, said
        assert "waiting for another ./bulkhead that uses" in "".join(said), said


def copy_checkout(config_dir, copy):
    """The sources, without what was built."""
    shutil.copytree(os.path.dirname(config_dir), copy, symlinks=True,
                    ignore=shutil.ignore_patterns("build", ".git", "__pycache__"))
    (copy / "some.conf").write_text("[vm one]\nimage = nowhere\n")
    return copy


@pytest.mark.parametrize("name", ("a\"b", "it's", "a,b", "a;b", "a\nb"))
def test_refused_path(config_dir, tmp_path, name):
    """A path that the build tools cannot handle is refused before anything is done."""
    copy = tmp_path / name
    copy.mkdir()
    root = os.path.dirname(config_dir)
    shutil.copytree(os.path.join(root, "tools"), copy / "tools")
    shutil.copy(os.path.join(root, "bulkhead"), copy)
    result = subprocess.run(["./bulkhead", "build"], check=False, cwd=copy, capture_output=True,
                            text=True)
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("[bulkhead] error: the path of this checkout, "), result.stderr
    assert not (copy / "build").exists()
    result = subprocess.run([os.path.join(root, "bulkhead"), "build"], check=False,
                            env=dict(os.environ, BULKHEAD_CACHE=str(copy)), capture_output=True,
                            text=True)
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("[bulkhead] error: the path of the cache, "), result.stderr


@pytest.mark.parametrize("code, status", (
    (0x10 << 1 | 1, 0), (0x11 << 1 | 1, 1), (0x12 << 1 | 1, 2), (0x17 << 1 | 1, 3), (1, 3), (3, 3),
    (0, 2), (-9, 3)))
def test_said(monkeypatch, code, status):
    """What QEMU's status alone says. (Without ./bulkhead, which would build first.)"""
    machine = Machine("some.iso", emulator="qemu")
    monkeypatch.setattr(machine, "_process", mock.Mock(wait=lambda _: code))
    machine._ended()  # pylint: disable=protected-access
    assert machine.status == status, machine.ending


@pytest.mark.parametrize("how", sorted(ENDS))
def test_status(stand_in, how):
    emulator, ends, status = ENDS[how]
    call = stand_in(emulator, ends, b"one| hello\r\n")
    call["args"].append("--batch")
    result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
    assert result.returncode == status, result.stderr
    assert result.stdout == "one| hello\n", result.stdout
    assert "Traceback" not in result.stderr, result.stderr


STAYS = "time.sleep(300)"


@pytest.mark.parametrize("emulator", ("bochs", "qemu"))
@pytest.mark.parametrize("says", (
    b"\x1b[H\x1b[J\x1b[1;1HBulkhead was not started: this CPU has no 64-bit mode.\n\r",
    b"\r\nbulkhead: all is stopped; the machine can be switched off.\r\n"), ids=("menu", "kernel"))
def test_gives_up_early(stand_in, emulator, says):
    """Where nothing can end the machine, what is said does."""
    call = stand_in(emulator, STAYS, says)
    call["args"] += ["--batch", "--timeout", "30"]
    result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
    assert result.returncode == 2, result.stderr
    assert says.decode().strip().rsplit("\x1b[1;1H", maxsplit=1)[-1] in result.stdout


def test_gives_up_early_until(stand_in):
    """Who waits for this line has seen it."""
    call = stand_in("qemu", STAYS, b"Bulkhead was not started: see above.\n")
    call["args"] += ["--batch", "--until", "^Bulkhead was not", "--timeout", "30"]
    result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_a_guest_gives_up_early(stand_in):
    """What a VM says is behind its name, whatever else it says; the line is its own."""
    call = stand_in("qemu", STAYS, b"one| Bulkhead was not started: x\r\n"
                    b"one| \rbulkhead: all is stopped; x\r\nBulkhead was not started")
    call["args"] += ["--batch", "--timeout", "3"]
    result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
    assert result.returncode == 124, result.stderr


@pytest.mark.parametrize("options, given", (
    ("  -dbglog filename specify", 0), ("  -debugger        start Bochs internal debugger", 1)))
def test_bochs_debugger(stand_in, options, given):
    """Where Bochs has another loop beside its debugger's, it is told to take the debugger's."""
    ends = f"assert sys.argv.count('-debugger') == {given}, sys.argv\n" + BOCHS_EXIT.format(0x10)
    call = stand_in("bochs", ends, options=options)
    call["args"].append("--batch")
    result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_another_bochs(stand_in, tmp_path):
    """BULKHEAD_BOCHS names it, and its BIOSes are taken from beside it."""
    ends = ("assert open('roms/BIOS-bochs-latest').read() == 'its own'\n"
            + BOCHS_EXIT.format(0x11))
    call = stand_in("bochs", ends)
    call["args"].append("--batch")
    other, roms = tmp_path / "other one", tmp_path / "other one" / "share" / "bochs"
    roms.mkdir(parents=True)
    (roms / "BIOS-bochs-latest").write_text("its own")
    (tmp_path / "bin").rename(other / "bin")
    call["env"]["BULKHEAD_BOCHS"] = os.path.relpath(other / "bin" / "bochs")
    result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
    assert result.returncode == 1, result.stderr
    call["env"]["BULKHEAD_BOCHS"] = str(tmp_path / "nowhere")
    result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
    assert result.returncode == 3 and "BULKHEAD_BOCHS names " in result.stderr, result.stderr


def test_status_until(stand_in):
    """A line that was not seen is no success, nor is it the emulator's failure."""
    for ends, status in (("sys.exit(0x10 << 1 | 1)", 1), ("sys.exit(1)", 3)):
        call = stand_in("qemu", ends)
        call["args"] += ["--batch", "--until", "never"]
        result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
        assert result.returncode == status, result.stderr


@pytest.mark.parametrize("says, ends, status", (
    (b"bulkhead| all VMs are off: powering off, status 33 of VM 'a-1'\r\n", 0x10, 33),
    (b"bulkhead| no VM runs any more: powering off, status 1 of VM 'a'\r\n", 0x11, 1),
    (b"bulkhead| no VM runs any more: powering off, status 255 of VM 'a'\r\n", 0x11, 255),
    (b"bulkhead| all VMs are off: powering off, status 33 of VM 'a'\r\n", 0x12, 2),
    (b"a| bulkhead| all VMs are off: powering off, status 33 of VM 'a'\r\n"
     b"a| \rbulkhead| all VMs are off: powering off, status 33 of VM 'a'\r\n", 0x10, 0)),
    ids=("33", "1", "255", "panic", "a-guest"))
def test_status_given(stand_in, says, ends, status):
    """The last VM's, by the manager's line alone; but not of a kernel that panicked behind it."""
    call = stand_in("qemu", f"sys.exit({ends} << 1 | 1)", says)
    call["args"].append("--batch")
    result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
    assert result.returncode == status, result.stderr


def test_reader_goes(stand_in):
    call = stand_in("bochs", TALKS)
    call["args"].append("--batch")
    with subprocess.Popen(**call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.readline()
        child.stdout.close()
        said = child.stderr.read()
        assert child.wait(60) == 128 + signal.SIGPIPE, said
    assert "Traceback" not in said and "Exception" not in said, said


@pytest.mark.parametrize("closed", ("<&-", ">&-", "2>&-"))
def test_closed(stand_in, closed):
    """No input, nobody to talk to: the machine runs all the same."""
    call = stand_in("qemu", "sys.exit(0x10 << 1 | 1)", b"one| hello\r\n")
    call["args"] = ["bash", "-c", f"\"$@\" {closed}", "-", *call["args"]]
    result = subprocess.run(**call, check=False, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    assert closed == ">&-" or result.stdout == "one| hello\n", result.stdout


@pytest.mark.parametrize("name", ("SIGINT", "SIGTERM", "SIGHUP"))
def test_signal(stand_in, name):
    """(Whoever runs the tests may have it ignored, as nohup does.)"""
    number = getattr(signal, name)
    call = stand_in("bochs", TALKS)
    call["args"] = ["env", f"--default-signal={name[3:]}", *call["args"], "--batch"]
    with subprocess.Popen(**call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.readline()
        child.send_signal(number)
        said = child.communicate(timeout=60)[1]
    assert child.returncode == 128 + number, said
    assert "Traceback" not in said, said


@pytest.mark.parametrize("name", ("SIGINT", "SIGTERM"))
def test_signal_while_the_iso_is_made(bulkhead, tmp_path, name):
    """Nothing is left behind. A terminal's Ctrl-C goes to all programs of the command."""
    begun = tmp_path / "begun"
    environment = program(tmp_path / "bin", "grub-mkrescue", f"#!/bin/sh\n>'{begun}'\nsleep 20\n")
    environment["TMPDIR"] = str(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "some.conf").write_text(HELLO)
    with subprocess.Popen([bulkhead, "run", "--batch", "some.conf"], cwd=tmp_path, text=True,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          start_new_session=True,  # and not ignored, as a job in the background has
                          preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),
                          ) as child:
        while not begun.exists():
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.1)
        os.killpg(child.pid, getattr(signal, name))
        said = child.communicate(timeout=60)[1]
    assert child.returncode == 128 + getattr(signal, name), said
    assert "Traceback" not in said, said
    assert not list((tmp_path / "tmp").iterdir())


def test_no_home(bulkhead):
    result = subprocess.run(["env", "-i", bulkhead, "help"], check=False, capture_output=True,
                            text=True)
    assert result.returncode == 0 and "usage: ./bulkhead" in result.stdout, result.stderr


def test_packages_are_installed(bulkhead, tmp_path):
    """setup installs what is missing, and no daemon of a package keeps the lock of the cache."""
    done, held = tmp_path / "done", tmp_path / "held"
    folder = tmp_path / "bin"
    program(folder, "dpkg-query",
            f"#!/bin/sh\n[ -e '{done}' ] && exec /usr/bin/dpkg-query \"$@\"\n")
    program(folder, "sudo", "#!/bin/sh\nexec \"$@\"\n")
    environment = program(folder, "apt-get", "#!/bin/sh\n[ $1 = install ] || exit 0\n"
                          f"ls -l /proc/self/fd >'{held}'\necho \"$@\" >'{done}'\n")
    result = subprocess.run([bulkhead, "setup"], check=False, env=environment, timeout=60,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert " grub-pc-bin " in done.read_text(), result.stderr
    assert held.read_text() and "/lock" not in held.read_text(), held.read_text()


@pytest.mark.skipif(os.getuid() != 0, reason="takes root to be somebody else")
def test_sudo(config_dir, tmp_path):
    """sudo ./bulkhead leaves nothing of root's in a checkout of somebody else's."""
    root, copy = os.path.dirname(config_dir), tmp_path / "theirs"
    (copy / "tools").mkdir(parents=True)
    shutil.copy(os.path.join(root, "bulkhead"), copy)
    for name in ("common.sh", "debian.sh"):
        shutil.copy(os.path.join(root, "tools", name), copy / "tools")
    (copy / "tools" / "lines.py").write_text(
        "import os, sys\nprint(os.getuid(), os.getgid(), os.environ['HOME'], *sys.argv[1:])\n")
    for folder in (copy, *copy.parents):
        if folder.owner() == "root" and folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)
    os.chown(copy, 65534, 65534)
    result = subprocess.run([copy / "bulkhead", "lines", "a b"], check=False, capture_output=True,
                            text=True, env=dict(os.environ, SUDO_UID="65534", SUDO_GID="65534",
                                                SUDO_USER="nobody"))
    assert result.returncode == 0, result.stderr
    assert result.stdout == "65534 65534 /nonexistent a b\n", result.stdout
    assert "going on as nobody" in result.stderr, result.stderr
