#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""initrd.py OUT [INIT]: writes the Linux guest's initramfs: a cpio archive ("newc") with busybox,
its commands, tools/init, and the device nodes that the kernel wants before devtmpfs is mounted.
With INIT, a static program, that is /init and there is no busybox.

The archive is written here, for cpio(1) would need root for the nodes. It stays uncompressed:
inflating it takes the guest longer than loading it takes the boot loader.
"""

import os
import stat
import subprocess
import sys

BUSYBOX = "/bin/busybox"
TOOLS = os.path.dirname(os.path.abspath(__file__))
DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sys", "tmp")
DEVICES = {"dev/console": (5, 1), "dev/null": (1, 3), "dev/ttyS0": (4, 64)}
FILES = {
    "etc/passwd": b"root::0:0:root:/root:/bin/sh\n",
    "etc/group": b"root:x:0:\n",
}


class Archive:
    """A newc archive. Every entry belongs to root and has time 0, so that the same input makes
    the same bytes."""

    def __init__(self):
        self.data = bytearray()
        self.inode = 0

    def add(self, name, mode, content=b"", device=(0, 0)):
        self.inode += 1
        path = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        self._align()
        self.data += content
        self._align()

    def _align(self):
        self.data += bytes(-len(self.data) % 4)


def add_busybox(archive):
    with open(BUSYBOX, "rb") as file:
        archive.add("bin/busybox", stat.S_IFREG | 0o755, file.read())
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True)
    for applet in sorted(set(applets.stdout.split()) - {"busybox"}):
        archive.add(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: initrd.py OUT [INIT]")
    init = sys.argv[2] if len(sys.argv) == 3 else None
    archive = Archive()
    for name in DIRECTORIES:
        archive.add(name, stat.S_IFDIR | 0o755)
    for name, device in DEVICES.items():
        archive.add(name, stat.S_IFCHR | 0o600, device=device)
    for name, content in FILES.items():
        archive.add(name, stat.S_IFREG | 0o644, content)
    with open(init or os.path.join(TOOLS, "init"), "rb") as file:
        archive.add("init", stat.S_IFREG | 0o755, file.read())
    if init is None:
        add_busybox(archive)
    archive.add("TRAILER!!!", 0)
    temporary = f"{sys.argv[1]}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(archive.data)
    os.replace(temporary, sys.argv[1])


if __name__ == "__main__":
    main()
