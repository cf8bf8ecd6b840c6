# SPDX-License-Identifier: BSD-2-Clause
"""File names: what `check` takes is found at boot, however it is spelled."""

import os
import subprocess

import pytest

CONFIG_NAME = "my \"odd\" it's \\ 100% $config.conf"
NAMES = (
    "two words", "it's", 'a "b" c', "back\\slash\\", "$x ${y} $(z)", "#hash;semi", "(z)",
    "[a-b]{c}|", " lead", "trail ", "-o", "--option", "@", "*", "key=value, more",
    "image:colon", "tilde~", "\u00fcml\u00e4ut",
    "n" * 255, "q" + "'" * 199, "\\" * 200, "w" + " " * 198 + "w",
)
REFUSED = {".hidden": "begins with a dot", "ta\tb": "has a tab", "n" * 256: "longer than 255"}


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def vm(number, name):
    return f"[vm n{number}]\nimage = {quoted(name)}\ncmdline = count=1\nmemory = 8M\n"


@pytest.fixture
def check(config_dir):
    """check(config) -> what ./bulkhead check ends with and says."""
    def run(config):
        build = os.path.join(os.path.dirname(config_dir), "build")
        return subprocess.run([os.path.join(build, "host", "bulkhead-check"), "--path",
                               os.path.join(build, "images"), "--", config], check=False,
                              capture_output=True, text=True, timeout=30)
    return run


def test_all(check, boot, tmp_path, config_dir):
    root = os.path.dirname(config_dir)
    with open(os.path.join(root, "build", "images", "hello"), "rb") as file:
        hello = file.read()
    for name in NAMES:
        (tmp_path / name).write_bytes(hello)
    config = tmp_path / CONFIG_NAME
    config.write_text("".join(vm(*pair) for pair in enumerate(NAMES)), encoding="utf-8")
    checked = check(str(config))
    assert checked.returncode == 0, checked.stderr
    iso = tmp_path / "an iso, \"quoted\".iso"
    made = subprocess.run([os.path.join(root, "tools", "iso.sh"), str(config), "-o", str(iso)],
                          check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    machine = boot(None, iso=str(iso), memory=1024, cores=1)
    status = machine.wait(240)
    for number in range(len(NAMES)):
        assert f"n{number}| hello: up 1.0" in machine.text, machine.text
    assert status == 0, machine.text


@pytest.mark.parametrize("name", sorted(REFUSED), ids=("dot", "long", "tab"))
def test_refused(check, tmp_path, name):
    """GRUB's pattern for all files of a folder leaves out those that begin with a dot."""
    config = tmp_path / "some.conf"
    config.write_text(vm(1, name))
    if len(name) < 256:
        (tmp_path / name).write_bytes(b"x")
    checked = check(str(config))
    assert checked.returncode == 1 and REFUSED[name] in checked.stderr, checked.stderr


@pytest.mark.parametrize("name", (".conf", "new\nline.conf", "a\tb.conf"))
def test_refused_config(check, tmp_path, name):
    (tmp_path / name).write_text("[vm one]\nimage = hello\n")
    checked = check(str(tmp_path / name))
    assert checked.returncode == 1 and "the name of this file" in checked.stderr, checked.stderr
