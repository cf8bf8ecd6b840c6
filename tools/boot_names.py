# SPDX-License-Identifier: BSD-2-Clause
"""The names of boot tests."""

import re


def boot_name(module, name):
    """boot.FILE.TEST[…] of a pytest case. A machine of the kind `bochs` is not mentioned."""
    name = name.removeprefix("test_")
    name = re.sub(r"\[bochs(?:-(?=.)|(?=\]))", "[", name).removesuffix("[]")
    return f"boot.{module.removeprefix('test_')}.{name}"
