#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Prints how much of the code the unit tests reach.

coverage.py [--missed] [--as-counted]: builds and runs them, and prints one row per part and per
file; --missed: also the lines that no test reached; --as-counted: what has run since the counters
were put to nothing (forget()) is enough. Status 1 if a part is below GOAL.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import ending  # noqa: E402  pylint: disable=wrong-import-position
import locks  # noqa: E402  pylint: disable=wrong-import-position

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOAL = 85  # percent of the lines
# What is judged: a name, and which files belong to it. The rest is left to boot tests and fuzzers.
PARTS = {
    "kernel/core": r"kernel/core/[^/]+\.[ch]",
    "local APIC": r"kernel/arch/x86/vlapic[^/]*\.[ch]",
    "vmm/dev": r"vmm/dev/[^/]+\.[ch]",
    "config": r"config/[^/]+\.[ch]",
}
BUILD = os.path.join(ROOT, "build")
# The program around the part, which the tests do not link.
LEFT_OUT = {"config/check_main.c"}


def find(extension):
    """In this build tree alone: others below it have counters of their own."""
    found = []
    for folder, folders, names in os.walk(BUILD):
        folders[:] = [name for name in folders
                      if not os.path.exists(os.path.join(folder, name, "CMakeCache.txt"))]
        found += [os.path.join(folder, name) for name in names if name.endswith(extension)]
    return found


def run(*command):
    """Runs a command, and ends with what it said if it fails."""
    result = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace")
    if result.returncode != 0:
        sys.exit(f"{result.stdout}\ncoverage: failed: {' '.join(command)}")


def forget():
    """Puts the counters to nothing."""
    for counters in find(".gcda"):
        os.remove(counters)


def count():
    """{file: {line: times}} over all objects; one that no test links counts with zeros."""
    output = subprocess.run(["gcov", "--json-format", "--stdout", *find(".gcno")], cwd=BUILD,
                            check=True, capture_output=True, text=True).stdout
    lines = collections.defaultdict(lambda: collections.defaultdict(int))
    for document in output.splitlines():
        report = json.loads(document)
        for entry in report["files"]:
            path = os.path.join(report["current_working_directory"], entry["file"])
            path = os.path.relpath(os.path.normpath(path), ROOT)
            for line in entry["lines"]:
                lines[path][line["line_number"]] += line["count"]
    return lines


def ranges(numbers):
    """'3-5 9' of [3, 4, 5, 9]."""
    parts = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(f"{a}-{b}" if a != b else str(a) for a, b in parts)


def row(name, reached, total):
    return f"{name:<32}{reached:>6} of {total:>5}  {100 * reached / total:6.1f}%"


def main():
    parser = argparse.ArgumentParser(prog="coverage.py")
    parser.add_argument("--missed", action="store_true", help="name the lines not reached")
    parser.add_argument("--as-counted", action="store_true", help="do not run the tests again")
    options = parser.parse_args()
    if not options.as_counted:
        run(os.path.join(ROOT, "bulkhead"), "build")
    with locks.build_tree(BUILD), locks.build_tree(BUILD, True, "ctest.lock"):
        if not options.as_counted:
            forget()
            run("ctest", "--test-dir", BUILD, "-L", "unit", "-j", str(os.cpu_count()),
                "--output-on-failure")
        lines = count()
    low = []
    for part, pattern in PARTS.items():
        files = sorted(f for f in lines if re.fullmatch(pattern, f) and f not in LEFT_OUT)
        total = sum(len(lines[f]) for f in files)
        reached = sum(1 for f in files for times in lines[f].values() if times)
        if not total or 100 * reached < GOAL * total:
            low.append(part)
        print(row(part, reached, total) if total else f"{part}: no lines")
        for name in files:
            hit = sum(1 for times in lines[name].values() if times)
            missed = [number for number, times in sorted(lines[name].items()) if not times]
            print("  " + row(name, hit, len(lines[name]))
                  + (f"  {ranges(missed)}" if options.missed and missed else ""))
    for part in low:
        print(f"below {GOAL}%: {part}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(ending.call(main))
