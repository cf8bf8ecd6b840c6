# SPDX-License-Identifier: BSD-2-Clause
"""Ring 3 that enters the kernel in every way that it should not: the kernel goes on, and so does
whoever did nothing but that; a fault ends that process only."""

import os
import re

from conftest import ROOT

# How each VM's process enters, and the exception that ends it, if one does.
WAYS = {"df": None, "nt": None, "ac": None, "tf": None, "rip": 14, "rsp": 14, "syscall": 6,
        "int1": 1}


def test_hostile_entries(boot, monkeypatch):
    monkeypatch.setenv("BULKHEAD_VMM", os.path.join(ROOT, "build", "boot", "hostile"))
    text = "".join(f"[vm {name}]\nimage = hello\nmemory = 4M\n" for name in WAYS)
    machine = boot(text, cores=2, memory=256)
    assert machine.wait(120) == 1, machine.text
    for name, exception in WAYS.items():
        end = (f"killed: its VMM caused exception {exception} at rip .*" if exception else
               "powered off")
        assert re.search(rf"^bulkhead\| VM '{name}' {end}", machine.text, re.M), machine.text
