#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""./bulkhead test: builds with both compilers, then unit tests, fuzzers and boot tests.

Every test has a name: build.gcc, build.clang, check.style, check.tidy, check.coverage, unit.NAME,
torture.NAME, fuzz.NAME, boot.FILE.TEST, and with --long mutants.NAME.
The last line printed is `N passed, N failed`.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

import mutants

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import coverage  # noqa: E402  pylint: disable=wrong-import-position
import ending  # noqa: E402  pylint: disable=wrong-import-position
import locks  # noqa: E402  pylint: disable=wrong-import-position
from arguments import Parser  # noqa: E402  pylint: disable=wrong-import-position
from boot_names import boot_name  # noqa: E402  pylint: disable=wrong-import-position

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
PYTHON = "/usr/bin/python3"
EMULATORS = 4   # at most so many at a time
LONG_FUZZ = 60  # seconds for each fuzzer with --long
QUICK_BOOT = "boot.hello.quick"


class Suite:
    """Names of the tests that passed, failed and were skipped, and which were asked for."""

    def __init__(self, wanted, results):
        self.wanted = wanted
        self.results = results # a folder for the reports of the programs that run tests
        self.passed = []
        self.failed = []
        self.skipped = []

    def wants(self, name):
        return not self.wanted or any(word in name for word in self.wanted)

    def add(self, name, passed, seconds, detail=""):
        (self.passed if passed else self.failed).append(name)
        print(f"{'PASS' if passed else 'FAIL'} {name} ({seconds:.1f} s)", flush=True)
        if detail and not passed:
            print("    " + detail.strip().replace("\n", "\n    "), flush=True)

    def skip(self, name, reason):
        self.skipped.append(name)
        print(f"SKIP {name}: {reason}", flush=True)

    def command(self, name, command, show=False):
        """Runs a command as a test; show: what it prints is worth reading in any case."""
        print(f"[bulkhead] {name}", file=sys.stderr, flush=True)
        start = time.monotonic()
        result = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace")
        self.add(name, result.returncode == 0, time.monotonic() - start,
                 "\n".join(result.stdout.split("\n")[-60:]))
        if show and result.returncode == 0:
            print("    " + result.stdout.strip().replace("\n", "\n    "), flush=True)
        return result.returncode == 0


def script(name):
    """The command that runs one of our scripts."""
    return [PYTHON, os.path.join(ROOT, "tools", name)]


def ctest(suite, directory, label, seconds=0):
    """Runs the ctest tests with a label that are asked for, in a build tree, one on each core.
    seconds: how long a fuzzer runs at least."""
    listing = subprocess.run(["ctest", "-N", "-L", label], cwd=directory, check=True,
                             capture_output=True, text=True).stdout
    names = [name for name in re.findall(r" #\d+: (\S+)$", listing, re.MULTILINE)
             if suite.wants(name)]
    if not names:
        return
    print(f"[bulkhead] {label}: {len(names)} tests", file=sys.stderr, flush=True)
    report = os.path.join(suite.results, f"{label}.xml")
    # No build takes the programs away meanwhile; and ctest keeps a log in the tree.
    with locks.build_tree(directory), locks.build_tree(directory, True, "ctest.lock"):
        subprocess.run(["ctest", "-j", str(os.cpu_count() or 1), "--output-junit", report,
                        "-R", f"^({'|'.join(map(re.escape, names))})$"],
                       cwd=directory, check=False, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, BULKHEAD_FUZZ_SECONDS=str(seconds)))
    cases = list(xml.parse(report).iter("testcase")) if os.path.exists(report) else []
    for case in cases:
        suite.add(case.get("name"), case.get("status") == "run", float(case.get("time", 0)),
                  "\n".join((case.findtext("system-out") or "").split("\n")[-60:]))
    for name in set(names) - {case.get("name") for case in cases}:
        suite.add(name, False, 0, "ctest did not report it")


def boot_tests(suite, quick, long):
    """Runs the boot tests that are asked for; pytest prints its progress as it goes."""
    report = os.path.join(suite.results, "boot.xml")
    command = [PYTHON, "-m", "pytest", "-v", "-ra", "-p", "no:cacheprovider", "--tb=short",
               "-o", "junit_family=xunit1", f"--junitxml={report}", "tests/boot"]
    words = [QUICK_BOOT] if quick else suite.wanted
    command += [f"--only={word}" for word in words] + ["--long"] * long
    # An emulator keeps one core busy. A file's tests stay together: some share a machine.
    workers = min(os.cpu_count() or 1, EMULATORS)
    if workers > 1 and not quick:
        command += ["-n", str(workers), "--dist", "loadfile"]
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")
    status = subprocess.run(command, cwd=ROOT, check=False, env=environment,
                            stdout=sys.stderr).returncode
    cases = list(xml.parse(report).iter("testcase")) if os.path.exists(report) else []
    for case in cases:
        trouble = case.find("failure") if case.find("failure") is not None else case.find("error")
        detail = trouble.get("message", "") if trouble is not None else ""
        name = boot_name(case.get("classname").rsplit(".", 1)[-1], case.get("name"))
        if case.find("skipped") is None:
            suite.add(name, trouble is None, float(case.get("time", 0)), detail)
        else:
            suite.skip(name, case.find("skipped").get("message", ""))
    if status not in (0, 1, 5) or (quick and not cases):
        suite.add("boot", False, 0, f"pytest ended with status {status}")


def main():
    parser = Parser("test", "Builds with both compilers, and runs tests.")
    parser.add_argument("--quick", action="store_true",
                        help="build with gcc, unit tests, two hello guests in Bochs and in QEMU")
    parser.add_argument("--long", action="store_true",
                        help="also the proofs that take many minutes")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="only tests whose name contains NAME")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bulkhead-test-") as results:
        return run(options, Suite(options.names, results))


def run(options, suite):
    """Runs what is asked for; -> the status"""
    start = time.monotonic()
    bulkhead = os.path.join(ROOT, "bulkhead")

    # What the named tests run is built in any case; the builds count when they are asked for.
    built = suite.command("build.gcc", [bulkhead, "build"])
    if suite.wants("check.style"):
        suite.command("check.style", script("lines.py") + ["--check"])
    counted = not options.names and not options.quick # all unit tests, for check.coverage
    if built:
        if counted:
            coverage.forget()
        ctest(suite, BUILD, "unit")
    if built and not options.quick:
        if suite.wants("check.coverage"):
            suite.command("check.coverage", script("coverage.py") + ["--as-counted"] * counted,
                          show=True)
        ctest(suite, BUILD, "torture")
    clang = any(word.startswith("fuzz") or word in "build.clang check.tidy"
                for word in options.names)
    if not options.quick and (not options.names or clang):
        if suite.command("build.clang", [bulkhead, "build", "clang"]):
            if suite.wants("check.tidy"):
                suite.command("check.tidy", script("tidy.py") + ["--deep"] * options.long)
            ctest(suite, os.path.join(BUILD, "clang"), "fuzz", LONG_FUZZ if options.long else 0)
    if built:
        boot_tests(suite, options.quick, options.long)

    if built and options.long:
        for result in mutants.run(suite.wants):
            suite.add(*result)

    print(f"[bulkhead] {time.monotonic() - start:.0f} s", file=sys.stderr)
    for name in suite.failed:
        print(f"failed: {name}")
    if suite.skipped:
        print(f"{len(suite.skipped)} skipped, each for the reason above")
    print(f"{len(suite.passed)} passed, {len(suite.failed)} failed", flush=True)
    return 1 if suite.failed or not suite.passed else 0


if __name__ == "__main__":
    sys.exit(ending.call(main))
