#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs clang-tidy over the C of the system, as build/clang compiles it. Status 1 on a finding.

tidy.py [--deep] [WORD...]: only files with such a word in their path. A file that was clean is not
looked at again until it, a header that it includes, its command line or .clang-tidy changes:
build/tidy keeps a hash of those. --deep: the analyzer, which takes nine tenths of the time, follows
a function's paths as long as it does by itself. The checks are those of .clang-tidy, which says why
some are left out.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys

import ending

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "clang")
CLEAN = os.path.join(ROOT, "build", "tidy")
FOLDERS = ("kernel", "vmm", "drivers", "libc", "config", "guests")
# The offsets for assembly files are compiled with -S, which clang-tidy does not need.
IGNORE_UNUSED = "--extra-arg=-Wno-unused-command-line-argument"
# After so many steps in a function's paths the analyzer ends; its own number is 225,000.
SHALLOW = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang",
                                              "max-nodes=25000")]
TIMEOUT = 300  # seconds for one file; the slowest takes a few


def sources(words):
    """[(path, compile command)], each file once: as it is shipped, where tests build it too."""
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    found = {}
    for entry in commands:
        entry["output"] = re.search(r" -o (\S+)", entry["command"])[1]
    for entry in sorted(commands, key=lambda entry: "-host.dir/" in entry["output"]):
        path = os.path.relpath(entry["file"], ROOT)
        if (path.endswith(".c") and path.split(os.sep)[0] in FOLDERS
                and (not words or any(word in path for word in words))):
            found.setdefault(path, entry)
    return sorted(found.items())


def dependencies():
    """{object: files it was made of}, from what ninja noted when it compiled them."""
    listing = subprocess.run(["ninja", "-C", BUILD, "-t", "deps"], check=True,
                             capture_output=True, text=True).stdout
    found, files = {}, []
    for line in listing.splitlines():
        if line.startswith("    "):
            files.append(os.path.join(BUILD, line.strip()))
        elif ": #deps" in line:
            files = found.setdefault(line.split(": #deps")[0], [])
    return found


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Hasher:
    """What a file's result depends on, as one number."""

    def __init__(self, options):
        version = subprocess.run(["clang-tidy", "--version"], check=True, capture_output=True)
        self.common = (version.stdout + " ".join(options).encode()
                       + read(os.path.join(ROOT, ".clang-tidy")))
        self.contents = {}
        self.deps = dependencies()

    def __call__(self, entry):
        total = hashlib.sha256(self.common + entry["command"].encode())
        for path in [entry["file"], *self.deps.get(entry["output"], [])]:
            if path not in self.contents:
                self.contents[path] = hashlib.sha256(read(path)).digest()
            total.update(path.encode() + self.contents[path])
        return total.hexdigest()


def check(path, options):
    """Whether a file is clean, and what was found."""
    command = ["clang-tidy", "--quiet", "-p", CLEAN, *options, os.path.join(ROOT, path)]
    result = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True, timeout=TIMEOUT)
    return result.returncode == 0, result.stdout.replace(ROOT + os.sep, "")


def main():
    os.makedirs(CLEAN, exist_ok=True)
    words = sys.argv[1:]
    deep = words[:1] == ["--deep"]
    options = [IGNORE_UNUSED] if deep else [IGNORE_UNUSED, *SHALLOW]
    hasher = Hasher(options)
    work = []
    files = sources(words[deep:])
    # With more than one command for a file it would look at it as often.
    with open(os.path.join(CLEAN, "compile_commands.json"), "w", encoding="utf-8") as file:
        json.dump([entry for _, entry in files], file)
    for path, entry in files:
        note, key = os.path.join(CLEAN, path.replace(os.sep, "_")), hasher(entry)
        if not os.path.exists(note) or read(note) != key.encode():
            work.append((path, note, key))
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda one: check(one[0], options), work)
        for (path, note, key), (clean, output) in zip(work, results):
            if clean:
                with open(note, "w", encoding="ascii") as file:
                    file.write(key)
            else:
                bad += 1
                print(output.strip() or f"{path}: clang-tidy failed", flush=True)
    print(f"clang-tidy: {len(files)} files, {len(work)} looked at, {bad} with findings")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(ending.call(main))
