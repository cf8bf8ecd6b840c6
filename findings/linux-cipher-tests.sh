#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Most of the instructions of a boot of Debian 12's cloud kernel, up to /init, are tests of its own
# ciphers. They run in kernel threads beside the rest of the boot, so one CPU is never idle, and how
# much of them is done when /init starts is the scheduler's choice. Nothing is printed about it.
# `cryptomgr.notests` on the command line leaves them out.
# A machine whose time is its instructions (-icount) counts them: 1 ns each, from power-on.
# Needs binutils, Python, apt-get with Debian 12 among its sources, and the libraries of
# qemu-system-x86.
set -euo pipefail
version=1:7.2+dfsg-7+deb12u18
kernel=linux-image-6.1.0-56-cloud-amd64=6.1.192-2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 . # apt's own user writes here
apt-get download -qq "$kernel" "qemu-system-x86=$version+b3" "qemu-system-common=$version+b3" \
    "qemu-system-data=$version" seabios=1.16.2-1 >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" root; done
qemu=root/usr/bin/qemu-system-x86_64
missing=$(ldd "$qemu" | grep 'not found' || true)
[ -z "$missing" ] || { echo "libraries are missing: $missing" >&2; exit 2; }

# /init: the TSC, which is nanoseconds here, in hexadecimal; then power-off.
cat > init.S <<'END'
.global _start
_start: rdtsc
    shl $32, %rdx
    or %rdx, %rax
    mov $16, %ecx
    lea text + 15(%rip), %rdi
1:  mov %eax, %edx
    and $15, %edx
    cmp $10, %edx
    jb 2f
    add $39, %edx
2:  add $48, %edx
    mov %dl, (%rdi)
    dec %rdi
    shr $4, %rax
    loop 1b
    mov $1, %eax
    mov $1, %edi
    lea begin(%rip), %rsi
    mov $22, %edx
    syscall
    mov $169, %eax
    mov $0xfee1dead, %edi
    mov $672274793, %esi
    mov $0x4321fedc, %edx
    syscall
.data
begin: .ascii "init "
text: .ascii "0000000000000000\n"
END
as --64 init.S -o init.o
ld init.o -o init
python3 - <<'END'
def entry(name, mode, data=b""):
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
with open("init", "rb") as file:
    init = file.read()
with open("initrd", "wb") as file:
    file.write(entry(b"init", 0o100755, init) + entry(b"TRAILER!!!", 0))
END

# boot WORD…: the million instructions until /init
boot() {
    local hex
    hex=$(timeout 300 "$qemu" -L root/usr/share/qemu -L root/usr/share/seabios -accel tcg \
        -icount shift=0,sleep=off -cpu qemu64 -m 256 -nodefaults -display none -serial stdio \
        -no-reboot -kernel root/boot/vmlinuz-* -initrd initrd \
        -append "console=ttyS0 quiet loglevel=1 nokaslr $*" </dev/null | tr -d '\r' \
        | sed -n 's/.*init \([0-9a-f]\{16\}\)$/\1/p')
    echo $((0x${hex:?/init was not reached} / 1000000))
}
"$qemu" --version | head -1
echo "${kernel#linux-image-}"
with=$(boot)
without=$(boot cryptomgr.notests)
echo "million instructions until /init: $with, with cryptomgr.notests: $without"
if [ $((with * 10)) -gt $((without * 15)) ]; then
    echo "as found: tests of ciphers are more than a third of the boot"
else
    echo "CHANGED: the tests of ciphers are at most a third of the boot" >&2
    exit 1
fi
