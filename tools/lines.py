#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""./bulkhead lines: lines without blanks and comments, by folder, and the kernel's budget.

--check names every place where a source file breaks the rules of form, and exits with 1 if any
does: licence line, 100 columns, no tabs or trailing blanks, 500 lines a file, kernel size, no
vendor's words where guests run in any CPU's way.
"""

import os
import re
import sys

import ending
from arguments import STATUS_USAGE

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KERNEL_LIMIT = 11500
COLUMN_LIMIT = 100
FILE_LIMIT = 500
SKIPPED = {".git", "build", "__pycache__", ".pytest_cache", "corpus"}
# What only kernel/arch/x86 may know of.
VENDOR_WORDS = re.compile("VMX|VMCS|EPT|SVM|VMCB|NPT")
VENDOR_FREE = ("kernel/core/", "vmm/")
C_LIKE = (".c", ".h", ".S", ".ld", ".asl")
HASH_LIKE = (".py", ".sh", ".cmake", ".cfg", ".conf")
HASH_NAMES = ("CMakeLists.txt", "bulkhead", "init", "run")
# A literal is kept, a comment goes: whichever starts first.
C_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.DOTALL)


def kind_of(name):
    """'c', 'hash' or None, by how the file's comments look."""
    if name.endswith(C_LIKE):
        return "c"
    if name.endswith(HASH_LIKE) or name in HASH_NAMES:
        return "hash"
    return None


def sources():
    """Paths of all source files, from the root."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in sorted(names):
            path = os.path.join(folder, name)
            if kind_of(name) and not os.path.islink(path):
                yield os.path.relpath(path, ROOT)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def without_comments(text, kind):
    if kind == "hash":
        return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)

    def keep(match):
        token = match.group(0)
        return token if token[0] in "\"'" else "\n" * token.count("\n")
    return C_TOKEN.sub(keep, text)


def count(path):
    text = without_comments(read(path), kind_of(os.path.basename(path)))
    return sum(1 for line in text.split("\n") if line.strip())


def kernel_lines():
    """What the kernel's budget counts: C, assembly, the linker script; not what cmake reads."""
    return sum(count(path) for path in sources()
               if path.startswith("kernel" + os.sep) and kind_of(os.path.basename(path)) == "c")


def totals():
    """Lines and files of every folder, with everything below it."""
    result = {}
    for path in sources():
        lines = count(path)
        folder = os.path.dirname(path)
        while True:
            entry = result.setdefault(folder, [0, 0])
            entry[0] += lines
            entry[1] += 1
            if not folder:
                break
            folder = os.path.dirname(folder)
    return result


def report():
    counted = totals()
    print(f"{'lines':>7} {'files':>6}  folder")
    for folder, (lines, files) in sorted(counted.items()):
        if folder:
            print(f"{lines:7} {files:6}  {'  ' * folder.count('/')}{folder}")
    lines, files = counted.get("", (0, 0))
    print(f"{lines:7} {files:6}  all")
    print(f"\nkernel/, without what cmake reads: {kernel_lines()} of at most {KERNEL_LIMIT} lines")


def complaints():
    for path in sources():
        lines = read(path).split("\n")
        first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
        name = os.path.basename(path)
        if "SPDX-License-Identifier: BSD-2-Clause" not in first and not name.endswith(".conf"):
            yield f"{path}:1: the licence line is missing"
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMN_LIMIT:
                yield f"{path}:{number}: {len(line)} columns, at most {COLUMN_LIMIT}"
            if "\t" in line:
                yield f"{path}:{number}: a tab"
            if re.search(r"SHELL:[^\"]*\$\{", line):
                yield f"{path}:{number}: SHELL: with a path breaks where that has a blank"
            if path.startswith(VENDOR_FREE) and VENDOR_WORDS.search(line):
                yield f"{path}:{number}: a word of one vendor's way to run guests"
            if line != line.rstrip():
                yield f"{path}:{number}: blanks at the end"
        if len(lines) - 1 > FILE_LIMIT:
            yield f"{path}: {len(lines) - 1} lines, at most {FILE_LIMIT}"
        if name.endswith(".h") and "#pragma once" not in lines:
            yield f"{path}: no #pragma once"
    kernel = kernel_lines()
    if kernel > KERNEL_LIMIT:
        yield f"kernel/: {kernel} lines, at most {KERNEL_LIMIT}"


def main():
    if sys.argv[1:] == ["--check"]:
        found = list(complaints())
        print("\n".join(found))
        return 1 if found else 0
    if sys.argv[1:]:
        wrong = sys.argv[1:] not in (["-h"], ["--help"])
        print("usage: ./bulkhead lines [--check]", file=sys.stderr if wrong else sys.stdout)
        return STATUS_USAGE if wrong else 0
    report()
    return 0


if __name__ == "__main__":
    sys.exit(ending.call(main))
