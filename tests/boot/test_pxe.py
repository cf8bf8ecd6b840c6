# SPDX-License-Identifier: BSD-2-Clause
"""./bulkhead pxe: the tree, its updates, what it refuses, and machines that boot from it by BIOS
and by UEFI, each with its config."""

import functools
import os
import re
import shutil
import subprocess

import pytest

HELLO = "[vm {name}]\nimage = hello\nmemory = 8M\n"
MAC = "52:54:00:12:34:56"
FOLDER = "01-52-54-00-12-34-56"
BASE = "boot/bulkhead"
IPS = 10_000_000   # the card's ROM spends seconds on waiting: let them have few instructions
LACKS = "boot: this CPU lacks "


def config(directory, name, image="hello"):
    """Writes NAME.conf, which has one VM of that name, and returns its path."""
    path = directory / f"{name}.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HELLO.format(name=name).replace("hello", image))
    return str(path)


def call_pxe(config_dir, folder, *arguments):
    script = os.path.join(os.path.dirname(config_dir), "tools", "pxe.sh")
    return subprocess.run([script, *map(str, arguments)], check=False, cwd=folder,
                          capture_output=True, text=True, timeout=120)


@pytest.fixture(name="pxe")
def pxe_fixture(tmp_path, config_dir):
    """pxe(arguments…) makes a tree; returns the finished process."""
    return functools.partial(call_pxe, config_dir, tmp_path)


@pytest.fixture(scope="module", name="made")
def made_fixture(tmp_path_factory, config_dir):
    """A folder with a tree, which takes seconds to make, and its configs. It stays as it is."""
    folder = tmp_path_factory.mktemp("made")
    result = call_pxe(config_dir, folder, config(folder, "def"), f"{MAC}={config(folder, 'lab')}",
                      "-o", "my tree")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(name="tree")
def tree_fixture(made, tmp_path):
    """A tree in 'my tree' with the default config def.conf, and lab.conf for MAC."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "my tree"


def content(tree):
    """All files below a folder: path -> bytes."""
    return {str(path.relative_to(tree)): path.read_bytes()
            for path in tree.rglob("*") if path.is_file()}


def modules(tree, machine):
    """What a machine's list loads: (role, path below boot/bulkhead)."""
    text = (tree / BASE / "machines" / machine / "modules.cfg").read_text()
    return re.findall(rf"^load (\w+) '/{BASE}/(.+)'$", text, re.MULTILINE)


# Booting ---------------------------------------------------------------------------------------

@pytest.mark.slow("qemu")
@pytest.mark.parametrize("mac,name", (
    pytest.param(MAC, "lab", id="by-mac"),
    pytest.param("52:54:00:ab:cd:ef", "def", id="default", marks=pytest.mark.long)))
def test_runs_guests(boot, tree, mac, name):
    """By a BIOS and the network card's ROM, with the config that is meant."""
    check_guests(boot, tree, mac, name)


@pytest.mark.long
@pytest.mark.only("qemu", "Bochs has no UEFI")
def test_runs_guests_by_uefi(boot, tree):
    check_guests(boot, tree, MAC, "lab", uefi=True)


def check_guests(boot, tree, mac, name, **arguments):
    machine = boot(None, tree=tree, mac=mac, cores=1, memory=128, ips=IPS, icount=None,
                   **arguments)
    machine.expect(rf"^{name}\| hello: up 1\.\d+ s, malloc ok, pi=3\.14159$", 240)
    assert re.findall(r"VM '(\w+)' started", machine.text) == [name], machine.text


@pytest.mark.long
def test_runs_guests_on_a_large_machine(boot, tree):
    # With a network card, Bochs has not enough timers for 15 cores.
    machine = boot(None, tree=tree, mac=MAC, cores=14, memory=2048, ips=IPS, icount=None)
    machine.expect(r"^boot: 14 cores, 20\d\d MB free", 1500)
    machine.expect(r"^lab\| hello: up 1\.\d+ s, malloc ok", 600)


@pytest.mark.long
@pytest.mark.only("qemu", "what Bochs' CPUs can, no setting takes from them")
@pytest.mark.parametrize("uefi", (False, True), ids=("bios", "uefi"))
def test_lacks_vmx(boot, tree, uefi):
    """QEMU without VMX and SVM gets as far as from an ISO."""
    machine = boot(None, tree=tree, emulator="qemu", model="max,-svm", uefi=uefi, cores=2,
                   memory=512)
    assert machine.wait(180) == 2, machine.ending
    assert LACKS in machine.text
    assert LACKS + ("VT-x (VMX) and AMD-V (SVM): guests run in one of them\n"
                    "Bulkhead cannot run here; the machine ") in machine.text


def test_incomplete(boot, tree):
    """A tree without lists, as if copied from an ISO, says that nothing was started."""
    shutil.rmtree(tree / BASE / "machines")
    machine = boot(None, tree=tree, cores=1, memory=256, ips=IPS, icount=None)
    machine.expect("Bulkhead was not started: see above, or whether /boot/bulkhead is complete",
                   240)


# The tree --------------------------------------------------------------------------------------

def test_content(tree, config_dir):
    """Programs and images are there once, and all can be read by a server without rights."""
    root = os.path.dirname(config_dir)
    files = content(tree)
    with open(os.path.join(root, "grub.cfg"), "rb") as file:
        assert files["boot/grub/grub.cfg"] == file.read()
    assert {"boot/grub/i386-pc/core.0", "boot/grub/x86_64-efi/core.efi", f"{BASE}/kernel"} \
        <= set(files)
    assert [path for path in files if path.endswith("/hello")] == [f"{BASE}/images/hello"]
    programs = [("bin", f"bin/{name}") for name in ("manager", "vmm", "console")]
    for machine, name in (("default", "def.conf"), (FOLDER, "lab.conf")):
        assert modules(tree, machine) == programs + [
            ("config", f"machines/{machine}/{name}"), ("image", "images/hello")]
    for path in (tree, *tree.rglob("*")):
        assert path.stat().st_mode & 0o005 == (0o005 if path.is_dir() else 0o004), path
    check = subprocess.run(["sha256sum", "-c", "--quiet", f"{BASE}/MANIFEST"], cwd=tree,
                           check=False, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
    assert not [name for name in os.listdir(tree) if name != "boot"]


def test_images_of_one_name(pxe, tmp_path, config_dir):
    """Two configs with different images of one name: each machine gets its own."""
    images = os.path.join(os.path.dirname(config_dir), "build", "images")
    paths = []
    for name, image in (("one", "hello"), ("two", "test-hog"), ("three", "hello")):
        paths.append(config(tmp_path / name, name, image="it's my kernel"))
        shutil.copy(os.path.join(images, image), tmp_path / name / "it's my kernel")
    one, two = ((tmp_path / name / "it's my kernel").read_bytes() for name in ("one", "two"))
    result = pxe(paths[0], f"{MAC}={paths[1]}", f"AA-BB-CC-00-11-22={paths[2]}", "-o", "tree")
    assert result.returncode == 0, result.stderr
    tree = tmp_path / "tree"
    quoted = "it'\\''s my kernel"
    shared = ("image", f"images/{quoted}")
    assert modules(tree, "default")[-1] == shared
    assert modules(tree, "01-aa-bb-cc-00-11-22")[-1] == shared
    assert modules(tree, FOLDER)[-1] == ("image", f"machines/{FOLDER}/{quoted}")
    assert (tree / BASE / "images" / "it's my kernel").read_bytes() == one
    assert (tree / BASE / "machines" / FOLDER / "it's my kernel").read_bytes() == two


def test_update(pxe, tree, tmp_path):
    """A second run replaces what changed, and removes what is no longer named."""
    before = content(tree)
    (tree / "notes").write_text("mine")
    (tree / BASE / "images" / "extra").write_text("mine too")
    path = config(tmp_path, "def")
    with open(path, "a", encoding="ascii") as file:
        file.write("cmdline = count=1\n")
    result = pxe(path, "-o", "my tree")
    assert result.returncode == 0, result.stderr
    after = content(tree)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    machines = f"{BASE}/machines"
    assert changed == {"notes", f"{BASE}/images/extra", f"{BASE}/MANIFEST",
                       f"{machines}/default/def.conf",
                       f"{machines}/{FOLDER}/lab.conf", f"{machines}/{FOLDER}/modules.cfg"}
    assert not (tree / machines / FOLDER).exists()
    assert after["notes"] == b"mine" and b"count=1" in after[f"{machines}/default/def.conf"]
    assert f"removed {machines}/{FOLDER}/lab.conf" in result.stderr


def test_changed_by_hand(pxe, tree, tmp_path):
    """What somebody has changed in the tree is kept when it is replaced, or would be removed."""
    edited = tree / BASE / "machines" / "default" / "def.conf"
    edited.write_text("# edited\n")
    left = tree / BASE / "machines" / FOLDER / "lab.conf"
    left.write_text("# edited\n")
    result = pxe(config(tmp_path, "def"), "-o", "my tree")
    assert result.returncode == 0, result.stderr
    assert edited.read_text() == HELLO.format(name="def")
    assert (edited.parent / "def.conf.old").read_text() == "# edited\n"
    assert "def.conf was changed by hand; what it was is kept as" in result.stderr
    assert left.read_text() == "# edited\n" and f"left {BASE}/machines/{FOLDER}" in result.stderr


# What dnsmasq gets -----------------------------------------------------------------------------

@pytest.mark.parametrize("server", ((), ("--server", "192.168.1.1")), ids=("dhcp", "proxy"))
def test_dnsmasq(pxe, tmp_path, server):
    """The lines are right for dnsmasq, as printed and the other way round."""
    result = pxe(config(tmp_path, "def"), "-o", "my tree", *server)
    assert result.returncode == 0, result.stderr
    assert f'tftp-root="{tmp_path}/my tree"\n' in result.stdout
    assert len(re.findall("^#?dhcp-boot=.*$", result.stdout, re.MULTILINE)) == 2
    assert ("\ndhcp-boot=" in result.stdout) == (not server)
    assert ("\npxe-service=" in result.stdout) == bool(server)
    for text in (result.stdout, re.sub(r"^#(?=[a-z-]+=)", "", result.stdout, flags=re.MULTILINE)):
        lines = tmp_path / "dnsmasq.conf"
        lines.write_text(text)
        check = subprocess.run(["/usr/sbin/dnsmasq", "--test", "-C", str(lines)], check=False,
                               capture_output=True, text=True)
        assert check.returncode == 0, check.stderr
    core = (tmp_path / "my tree" / "boot/grub/x86_64-efi/core.efi").read_bytes()
    assert (b"(tftp,192.168.1.1)/boot/grub\0" in core) == bool(server)


# What it refuses -------------------------------------------------------------------------------

REFUSED = {
    "no-config": (["none.conf", "-o", "out"], "no such config: none.conf"),
    "no-config-of-mac": (["def.conf", f"{MAC}=none.conf", "-o", "out"], "no such config: none"),
    "no-image": (["bad.conf", "-o", "out"],
                 r"bad.conf:2:9: image 'nowhere' not found(.|\n)*bad.conf has mistakes; nothing"),
    "file": (["def.conf", "-o", "lab.conf"], "lab.conf is not a folder"),
    "below-a-file": (["def.conf", "-o", "lab.conf/out"],
                     "cannot make lab.conf/out: there is no folder lab.conf"),
    "others": (["def.conf", "-o", "full"], "full has other things in it"),
}
MISUSED = {
    "nothing": ([], r"usage: ./bulkhead pxe CONFIG \[MAC=CONFIG\]… -o DIR"),
    "no-folder": (["def.conf"], "no folder for the tree"),
    "no-default": ([f"{MAC}=lab.conf", "-o", "out"], "no default config"),
    "two-defaults": (["def.conf", "lab.conf", "-o", "out"], "two default configs, def.conf and"),
    "empty-config": (["def.conf", f"{MAC}=", "-o", "out"], f"a config is missing after '{MAC}='"),
    "bad-mac": (["def.conf", "52:54:00:12:34=lab.conf", "-o", "out"],
                "bad MAC '52:54:00:12:34' in '.*': six pairs of hex digits"),
    "no-hex-mac": (["def.conf", "52:54:00:12:34:5g=lab.conf", "-o", "out"], "bad MAC '52:.*:5g'"),
    "mac-again": (["def.conf", f"{MAC}=lab.conf", f"{MAC.replace(':', '-')}=def.conf", "-o", "out"],
                  "MAC 52-54-00-12-34-56 has two configs"),
    "bad-server": (["def.conf", "-o", "out", "--server", "host"], "IPv4 address"),
    "option": (["def.conf", "-o", "out", "--what"], "unknown option --what"),
}


@pytest.mark.parametrize("case", sorted({**REFUSED, **MISUSED}))
def test_refuses(pxe, tmp_path, case):
    arguments, message = {**REFUSED, **MISUSED}[case]
    config(tmp_path, "def")
    config(tmp_path, "lab")
    config(tmp_path, "bad", image="nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    before = content(tmp_path)
    result = pxe(*arguments)
    assert result.returncode == (64 if case in MISUSED else 1) and result.stdout == ""
    assert re.search(message, result.stderr), result.stderr
    assert content(tmp_path) == before and not (tmp_path / "out").exists()


def test_not_writable(pxe, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("root can write everywhere")
    result = pxe(config(tmp_path, "def"), "-o", "out")
    assert result.returncode == 1 and "cannot write to the folder out" in result.stderr


def test_busy(pxe, tree, tmp_path):
    """Two runs do not work on one tree."""
    with subprocess.Popen(["flock", str(tree), "sleep", "60"]) as holder:
        try:
            while subprocess.run(["flock", "-n", str(tree), "true"], check=False).returncode == 0:
                pass
            result = pxe(config(tmp_path, "def"), "-o", "my tree")
        finally:
            holder.kill()
    assert result.returncode == 1 and "another ./bulkhead pxe is at work in" in result.stderr
