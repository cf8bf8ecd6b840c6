# SPDX-License-Identifier: BSD-2-Clause
"""A build tree's lock, as tools/common.sh has it: shared while the tree is read, exclusive while it
is changed."""

import contextlib
import fcntl
import os
import sys


def _same(path, file):
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def build_tree(directory, exclusive=False, name="lock"):
    """Holds the lock of a build tree. Processes started meanwhile do not inherit it."""
    path = os.path.join(directory, name)
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    while True:
        os.makedirs(directory, exist_ok=True)
        with open(path, "ab") as file:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"[bulkhead] waiting for another ./bulkhead that uses {directory}",
                      file=sys.stderr, flush=True)
                fcntl.flock(file, kind)
            if _same(path, file): # whoever had it may have removed the file
                yield
                return
