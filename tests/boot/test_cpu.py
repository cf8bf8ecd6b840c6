# SPDX-License-Identifier: BSD-2-Clause
"""A machine that cannot run VMs says what it lacks, and stops: QEMU without KVM has no VMX, and its
SVM, or a part of it, is switched off."""

import os
import re
import subprocess

import pytest

pytestmark = pytest.mark.only("qemu", "what Bochs' CPUs can, no setting takes from them")


@pytest.fixture
def bulkhead(config_dir):
    return os.path.join(os.path.dirname(config_dir), "bulkhead")


# What is switched off, and what is named then.
LACKING = {
    "both": ("-svm", ["VT-x (VMX) and AMD-V (SVM): guests run in one of them"]),
    "parts": ("-npt,-fsgsbase", ["nested paging: isolates guest memory",
                                 "FSGSBASE: an exit finds its core by it"]),
}


@pytest.mark.parametrize("lacking", LACKING)
@pytest.mark.parametrize("uefi", (False, True), ids=("bios", "uefi"))
def test_lacks(boot, uefi, lacking):
    """The same ISO by both firmwares: one message that names all, and the machine is off."""
    switches, missing = LACKING[lacking]
    machine = boot("[vm one]\nimage = hello\nmemory = 8M\n", emulator="qemu",
                   model=f"max,{switches}", uefi=uefi, cores=2, memory=512)
    assert machine.wait(120) == 2, machine.ending
    lines = machine.lines
    assert lines.count("Bulkhead") == 1, machine.text  # it did not boot again
    end = lines.index("Bulkhead cannot run here; the machine stops.")
    named = lines[lines.index("Bulkhead") + 1:end]
    lacks = "boot: this CPU lacks "
    assert named and all(re.match(rf"{lacks}[^:]+: \w+", line) for line in named), machine.text
    assert named[-len(missing):] == [lacks + one for one in missing], named
    assert lines[end + 1:] in ([], [""]), machine.text


@pytest.mark.parametrize("emulator, model", (("qemu", "qemu32"), ("bochs", "pentium")))
def test_lacks_64_bit_mode(bulkhead, tmp_path, emulator, model):
    """The menu finds out, which can end no machine: the command does."""
    (tmp_path / "some.conf").write_text("[vm one]\nimage = hello\nmemory = 8M\n")
    result = subprocess.run(
        [bulkhead, "run", "--batch", "--on", emulator, "--model", model, "--cores", "1",
         "--memory", "256", "--timeout", "120", "some.conf"],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert result.returncode == 2, result.stderr
    assert "Bulkhead was not started: this CPU has no 64-bit mode." in result.stdout
