#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# GRUB 2.06 writes a module's arguments into the Multiboot2 information as one string, and does not
# hand them over as they are: one with a blank gets double quotes around it, and a backslash goes in
# front of each quote, apostrophe, backslash and double quote, inside of the quotes as well. The
# Multiboot2 specification says nothing of quoting. A kernel that looks for a module by its string
# must take it off again. Here a 32-bit kernel of a few lines prints the strings that it was given.
# Needs gcc with 32-bit assembly, apt-get with Debian 12 among its sources, and the libraries of
# the packages below.
set -euo pipefail
grub=2.06-13+deb12u2 qemu=1:7.2+dfsg-7+deb12u18
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 . # apt's own user writes here
apt-get download -qq "grub-pc-bin=$grub" "grub-common=$grub" "qemu-system-x86=$qemu+b3" \
    "qemu-system-common=$qemu+b3" "qemu-system-data=$qemu" seabios xorriso mtools >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" root; done
PATH=$dir/root/usr/bin:$PATH
for program in grub-mkrescue qemu-system-x86_64 xorriso; do
    missing=$(ldd "root/usr/bin/$program" 2>/dev/null | grep 'not found' || true)
    [ -z "$missing" ] || { echo "libraries of $program are missing: $missing" >&2; exit 2; }
done

cat > kernel.S <<'END'
.section .multiboot2, "a"
.balign 8
header: .long 0xe85250d6, 0, 24, -(0xe85250d6 + 24)
    .word 0, 0
    .long 8
.text
.global _start
_start: # EBX: the boot information
    lea 8(%ebx), %esi
1:  mov (%esi), %eax            # type
    mov 4(%esi), %ecx           # size
    test %eax, %eax
    jz 4f
    cmp $3, %eax                # a module: start, end, string
    jne 3f
    lea 16(%esi), %edi
2:  mov (%edi), %al
    inc %edi
    test %al, %al
    jnz 5f
    mov $'\n', %al
    out %al, $0xe9
    jmp 3f
5:  out %al, $0xe9
    jmp 2b
3:  add $7, %ecx
    and $~7, %ecx
    add %ecx, %esi
    jmp 1b
4:  xor %eax, %eax
    out %eax, $0xf4
    hlt
END
gcc -m32 -c kernel.S -o kernel.o
ld -m elf_i386 -Ttext 0x100000 -e _start -o kernel kernel.o
mkdir -p iso/boot/grub
cp kernel iso/boot/
echo x > iso/boot/module
cat > iso/boot/grub/grub.cfg <<'END'
multiboot2 /boot/kernel
module2 /boot/module plain
module2 /boot/module "two words"
module2 /boot/module "it's"
module2 /boot/module 'a"b' 'c\d'
module2 /boot/module "a 'b'"
boot
END
grub-mkrescue -d root/usr/lib/grub/i386-pc --fonts= --locales= --themes= -o boot.iso iso \
    >/dev/null 2>&1
QEMU_MODULE_DIR=$dir/root/usr/lib/x86_64-linux-gnu/qemu timeout 60 \
    qemu-system-x86_64 -L root/usr/share/seabios -L root/usr/share/qemu -m 64 -nic none \
    -display none -no-reboot -cdrom boot.iso -debugcon file:out \
    -device isa-debug-exit,iobase=0xf4,iosize=4 || true
echo "grub-pc-bin $grub, qemu-system-x86 $qemu"
paste -d'|' <(sed -n 's/^module2 .boot.module /grub.cfg: /p' iso/boot/grub/grub.cfg) \
    <(sed 's/^/ multiboot2: /' out)
cat > want <<'END'
plain
"two words"
it\'s
a\"b c\\d
"a \'b\'"
END
cmp -s want out || { echo "it was:" >&2; cat want >&2; exit 1; }
