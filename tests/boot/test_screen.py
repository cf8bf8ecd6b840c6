# SPDX-License-Identifier: BSD-2-Clause
"""The machine's screen, read as a person would: by the shapes on it."""

import pytest

import screen

HELLO = "[vm one]\nimage = hello\nmemory = 8M\n"


@pytest.mark.parametrize("uefi", (False, True), ids=("bios", "uefi"))
def test_lacks_vmx(boot, uefi):
    """What the kernel says when it stops, in VGA's text mode and in UEFI's pixels. QEMU without KVM
    has no VMX."""
    machine = boot(HELLO, emulator="qemu", model="max", uefi=uefi, cores=2, memory=512,
                   screen=True)
    rows = screen.expect(machine, "^bulkhead: all is stopped; the machine can be switched off", 120)
    start = next(i for i, row in enumerate(rows) if row.startswith("boot: this CPU lacks"))
    machine.expect("^bulkhead: all is stopped", 5)
    lines = machine.lines
    said = [line for line in lines[lines.index("Bulkhead") + 1:] if line]
    assert len(said) >= 4
    # Line for line as on the serial line, one that is too long in two rows.
    shown = "".join(row.ljust(160 if uefi else 80) for row in rows[start:])
    for line in said:
        assert line in shown, (line, rows)
    assert machine.running
