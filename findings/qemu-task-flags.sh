#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# QEMU 7.2's TCG switches tasks by hardware, but leaves three things out (Intel SDM, volume 3):
# - After a fault through a task gate the EFLAGS in the old TSS have RF clear ("Exception- or
#   Interrupt-Handler Procedures", "Resume Flag": a fault sets it in the saved image).
# - The T flag of a TSS raises no debug exception ("Task-Switch Exception Condition").
# - Registers of a 16-bit TSS are zero-extended, but for ESP, whose upper half stays the old task's.
#   (What is there the manual does not say; Bochs 2.7 puts ones there.)
# A multiboot kernel of its own is all that runs.
# Needs binutils, apt-get with Debian 12 among its sources, and the libraries of qemu-system-x86.
set -euo pipefail
version=1:7.2+dfsg-7+deb12u18
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 . # apt's own user writes here
apt-get download -qq "qemu-system-x86=$version+b3" "qemu-system-common=$version+b3" \
    "qemu-system-data=$version" seabios=1.16.2-1 >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" root; done
qemu=root/usr/bin/qemu-system-x86_64
missing=$(ldd "$qemu" | grep 'not found' || true)
[ -z "$missing" ] || { echo "libraries are missing: $missing" >&2; exit 2; }

# To port 0xe9, doublewords: EFLAGS of the task that UD2 left; DR6 after a task with the T flag has
# begun; EAX and ESP of one with a 16-bit TSS, which has 1234H and 4321H for them.
cat > boot.S <<'END'
.macro tss name eip esp trap=0
\name:  .fill 8, 4, 0
        .long \eip, 2, 0, 0, 0, 0, \esp, 0, 0, 0
        .long 16, 8, 16, 16, 16, 16, 0
        .word \trap, 0x68
.endm
.macro describe selector address type limit
    mov $\address, %eax
    mov %ax, gdt + \selector + 2
    shr $16, %eax
    mov %al, gdt + \selector + 4
    mov %ah, gdt + \selector + 7
    movb $\type, gdt + \selector + 5
    movw $\limit, gdt + \selector
.endm
.macro put source
    mov \source, %eax
    call out32
.endm
.text
.balign 4
.long 0x1badb002, 0, -0x1badb002
.global _start
_start: cli
    mov $stack, %esp
    lgdt gdtr
    ljmp $8, $1f
1:  mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    describe 24, main, 0x89, 0x67
    describe 32, ud, 0x89, 0x67
    describe 40, trapped, 0x89, 0x67
    describe 48, small, 0x81, 0x2b
    describe 56, code16, 0x9b, 0xffff
    mov $db, %eax
    mov %ax, idt + 8
    shr $16, %eax
    mov %ax, idt + 14
    lidt idtr
    mov $24, %ax
    ltr %ax
    ud2
    ljmp $40, $0
    ljmp $48, $0
    mov $0, %al
    out %al, $0xf4
2:  hlt
    jmp 2b
out32: mov $4, %ecx
3:  out %al, $0xe9
    shr $8, %eax
    loop 3b
    ret
on_ud: put main+0x24
    addl $2, main+0x20
    iret
db: mov %dr6, %eax
    call out32
    xor %eax, %eax
    mov %eax, %dr6
    ljmp $24, $0
on_trapped: mov %dr6, %eax
    call out32
    ljmp $24, $0
code16: mov %esp, %ebx          # at 0 of a segment of its own
    mov $stack2, %esp
    mov %eax, %edx
    ljmp $8, $on_small
on_small: put %edx
    put %ebx
    ljmp $24, $0
.data
.balign 16
gdt: .quad 0, 0xcf9b000000ffff, 0xcf93000000ffff, 0, 0, 0, 0, 0x40 << 48
gdtr: .word . - gdt - 1
    .long gdt
.balign 16
idt: .quad 0, 0x00008e0000080000, 0, 0, 0, 0, 0x0000850000200000
idtr: .word . - idt - 1
    .long idt
.balign 16
    tss main 0 0
    tss ud on_ud stack2
    tss trapped on_trapped stack2 1
small: .fill 7, 2, 0
    .word 0, 2, 0x1234, 0, 0, 0, 0x4321, 0, 0, 0, 16, 56, 16, 16, 0
.bss
    .skip 1024
stack: .skip 1024
stack2:
END
as --32 boot.S -o boot.o
ld -m elf_i386 -Ttext 0x100000 -e _start boot.o -o boot.elf
status=0
timeout 60 "$qemu" -L root/usr/share/qemu -L root/usr/share/seabios -accel tcg -cpu max \
    -nodefaults -display none -kernel boot.elf -debugcon file:out \
    -device isa-debug-exit,iobase=0xf4,iosize=1 -no-reboot </dev/null || status=$?
[ "$status" = 1 ] || { echo "the kernel ended with status $status" >&2; exit 2; }
"$qemu" --version | head -1
read -r flags dr6 eax esp < <(od -An -v -t x4 -w16 out)
echo "EFLAGS saved by UD2: $flags (RF is 00010000); DR6 with the T flag: $dr6 (BT is 00008000);"
echo "with a 16-bit TSS: EAX $eax, ESP $esp"
if [ $((0x$flags & 0x10000)) = 0 ] && [ $((0x$dr6 & 0x8000)) = 0 ] && [ "$eax" = 00001234 ] &&
    [ "${esp:4}" = 4321 ] && [ "${esp:0:4}" != 0000 ]; then
    echo "as found: no RF, no debug exception, zeros above AX and not above SP"
else
    echo "CHANGED" >&2
    exit 1
fi
