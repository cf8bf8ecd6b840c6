#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Puts mended defects back, one at a time, and sees whether a test notices.

Each tests/mutants/NAME.patch is a defect: a line `Noticed by: TEST`, why it was one, and a patch
with paths from the root. It is applied, without any fuzz, to a copy of the tree in build/mutants;
what the test needs is built there, and the test must fail within a minute. A patch that does not
apply any more, or what does not build, is a failure: the defect must be put back in another way.
"""

import os
import re
import subprocess
import sys
import time

import ending

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATCHES = os.path.join(ROOT, "tests", "mutants")
TREE = os.path.join(ROOT, "build", "mutants", "tree")
SECONDS = 60      # for the test
BUILD_SECONDS = 600
# All that a boot test needs: neither the tests of the host nor what they are linked with.
BOOTED = [f"{part}/all" for part in ("kernel", "libc", "config", "vmm", "drivers", "guests",
                                     "tests/hostile")]


def command(arguments, seconds, **options):
    """Status and output; None: it took too long."""
    try:
        result = subprocess.run(arguments, cwd=TREE, check=False, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace",
                                timeout=seconds, **options)
    except subprocess.TimeoutExpired:
        return None, f"more than {seconds} s"
    return result.returncode, result.stdout


def restore():
    """Makes the copy's sources what ours are; what does not differ is not written, nor built."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    names = {name for name in names if name and os.path.lexists(os.path.join(ROOT, name))}
    for directory, _, files in os.walk(TREE):
        where = os.path.relpath(directory, TREE)
        if where.split(os.sep)[0] == "build":
            continue
        for file in files:
            if os.path.normpath(os.path.join(where, file)) not in names:
                os.remove(os.path.join(directory, file))
    for name in names:
        source, copy = os.path.join(ROOT, name), os.path.join(TREE, name)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        if os.path.islink(source):
            if not os.path.islink(copy):
                os.symlink(os.readlink(source), copy)
            continue
        with open(source, "rb") as file:
            text = file.read()
        if not os.path.exists(copy) or open(copy, "rb").read() != text:
            with open(copy, "wb") as file:
                file.write(text)
            os.chmod(copy, os.stat(source).st_mode)


def build(test):
    """Builds what the test needs; None, or what is wrong."""
    kind, name = test.split(".", 1)
    if test.startswith("boot.tools."): # nothing is booted
        return None
    if not os.path.exists(os.path.join(TREE, "build", "build.ninja")):
        status, output = command(["cmake", "--preset", "default"], BUILD_SECONDS)
        if status != 0:
            return output
    target = {"unit": ["test-" + name.removesuffix("_pcids")], "torture": ["torture"]}
    status, output = command(["ninja", "-C", "build"] + target.get(kind, BOOTED), BUILD_SECONDS)
    return None if status == 0 else output


def fails(test):
    """Runs the test: does it fail? And what it printed."""
    if test.startswith("boot."):
        arguments = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "--tb=short",
                     "tests/boot", f"--only={test}"]
    else:
        arguments = ["ctest", "--test-dir", "build", "--output-on-failure", "--no-tests=error",
                     "-R", f"^{re.escape(test)}$"]
    status, output = command(arguments, SECONDS,
                             env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
    if test.startswith("boot.") and status not in (None, 0, 1):
        return False, output # nothing ran
    return status != 0, output


def judge(path, known):
    """None, or why this one does not count as noticed. known: tests that pass without a mutant."""
    with open(path, encoding="utf-8") as file:
        found = re.search(r"^Noticed by: (\S+)$", file.read(), re.MULTILINE)
    if not found:
        return "no line `Noticed by: TEST`"
    test = found.group(1)
    if test not in known:
        trouble = build(test)
        known[test] = trouble or (fails(test)[0] and "fails")
    if known[test]:
        return f"without it, {test}: {known[test][-2000:]}"
    status, output = command(["patch", "-p1", "-F0", "--no-backup-if-mismatch", "-i", path], 60)
    if status != 0:
        return f"does not apply: {output}"
    trouble = build(test)
    if trouble:
        return f"does not build: {trouble[-2000:]}"
    noticed, output = fails(test)
    return None if noticed else f"{test} does not notice"


def run(wanted):
    """Yields name, whether it was noticed, seconds, and detail of each that is wanted."""
    known = {}
    for file in sorted(os.listdir(PATCHES)):
        name = "mutants." + file.removesuffix(".patch")
        if not file.endswith(".patch") or not wanted(name):
            continue
        start = time.monotonic()
        restore()
        trouble = judge(os.path.join(PATCHES, file), known)
        yield name, trouble is None, time.monotonic() - start, trouble or ""


def main():
    words = sys.argv[1:]
    status = 0
    for name, noticed, seconds, detail in run(
            lambda name: not words or any(word in name for word in words)):
        print(f"{'PASS' if noticed else 'FAIL'} {name} ({seconds:.1f} s)", flush=True)
        if not noticed:
            print("    " + detail.strip().replace("\n", "\n    "), flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(ending.call(main))
