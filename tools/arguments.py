# SPDX-License-Identifier: BSD-2-Clause
"""Arguments of our scripts: what the numbers in them may be, and how wrong ones are refused."""

import argparse
import math
import sys

STATUS_USAGE = 64  # sysexits.h; common.sh and bulkhead-check have it too


class Parser(argparse.ArgumentParser):
    """That of ./bulkhead COMMAND. Its status for wrong arguments is none of the kernel's, nor that
    of a test that fails."""

    def __init__(self, command, description):
        super().__init__(prog=f"./bulkhead {command}", description=description)

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(STATUS_USAGE, f"{self.prog}: {message}\n")


def positive(text):
    """A whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def seconds(text):
    """A time that will be over."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return number
