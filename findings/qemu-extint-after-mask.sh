#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# QEMU 7.2's TCG (of Debian 12): an interrupt of the 8259 that waits behind a clear IF is not taken
# back when the local APIC's LINT0, through which it would come, is masked meanwhile. As soon as IF
# is set the CPU acknowledges it all the same, finds neither APIC nor PIC to ask, and delivers
# vector -1: in protected mode that is #GP with the error code of a gate of that number. On a PC
# nothing comes. Who masks the 8259 first and LINT0 then is spared: it withdraws its request while
# LINT0 still listens. Kernels that go from the 8259 to the IOAPIC do it in either order.
# A multiboot kernel of its own tries both; no operating system is in it.
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

# For each order a letter to port 0xe9; then the vector that #GP's error code names, as a digit
# below zero, and 'f'; 't' for the timer's own vector, 'o' for another, '-' when nothing came.
cat > boot.S <<'END'
.set LINT0, 0xfee00350
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
    mov %ax, %ss
    mov $idt, %edi
    mov $256, %ecx
2:  mov $other, %edx
    call gate
    loop 2b
    mov $(idt + 13 * 8), %edi
    mov $fault, %edx
    call gate
    mov $(idt + 32 * 8), %edi
    mov $timer, %edx
    call gate
    lidt idtr
    movl $0x1ff, 0xfee000f0
    mov $'a', %bl
    mov $0, %bh
    call try
    mov $'b', %bl
    mov $1, %bh
    call try
    mov $0, %al
    out %al, $0xf4
5:  hlt
    jmp 5b

gate:
    mov %dx, (%edi)
    movw $8, 2(%edi)
    movw $0x8e00, 4(%edi)
    push %edx
    shr $16, %edx
    mov %dx, 6(%edi)
    pop %edx
    add $8, %edi
    ret

try:
    mov %bl, %al
    out %al, $0xe9
    movl $0x700, LINT0
    mov $0x11, %al
    out %al, $0x20
    mov $32, %al
    out %al, $0x21
    mov $4, %al
    out %al, $0x21
    mov $1, %al
    out %al, $0x21
    mov $0xfe, %al
    out %al, $0x21
    mov $0x34, %al
    out %al, $0x43
    mov $64, %al
    out %al, $0x40
    xor %al, %al
    out %al, $0x40
    mov $0x0a, %al
    out %al, $0x20
3:  in $0x20, %al
    test $1, %al
    jz 3b
    test %bh, %bh
    jnz 4f
    movl $0x10700, LINT0
    mov $0xff, %al
    out %al, $0x21
    jmp 6f
4:  mov $0xff, %al
    out %al, $0x21
    movl $0x10700, LINT0
6:  mov $'-', %cl
    sti
    nop
    nop
    cli
    mov %cl, %al
    out %al, $0xe9
    ret
timer: mov $'t', %cl
    iret
other: mov $'o', %cl
    iret
fault: mov $'f', %cl
    pop %eax
    sar $3, %eax
    neg %eax
    add $'0', %al
    out %al, $0xe9
    iret
.balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: .word 23
    .long gdt
idtr: .word 2047
    .long idt
.bss
.balign 8
idt: .skip 2048
.skip 4096
stack:
END
as --32 -o boot.o boot.S
ld -m elf_i386 -Ttext 0x100000 -e _start -o boot.elf boot.o 2>/dev/null
export QEMU_MODULE_DIR=$dir/root/usr/lib/x86_64-linux-gnu/qemu
timeout 60 "$qemu" -L root/usr/share/seabios -L root/usr/share/qemu -nodefaults -display none \
    -accel tcg -cpu max -kernel boot.elf -debugcon file:out \
    -device isa-debug-exit,iobase=0xf4,iosize=1 || [ $? = 1 ] # which is what it asks for

echo "qemu-system-x86 $version"
result=$(cat out)
case $result in
a1f*) echo "LINT0 masked first, then the 8259: vector -1 comes" ;;
a-*) echo "LINT0 masked first, then the 8259: nothing comes" ;;
*) echo "LINT0 masked first, then the 8259: $result" ;;
esac
case $result in
*b-) echo "the 8259 masked first, then LINT0: nothing comes" ;;
*) echo "the 8259 masked first, then LINT0: $result" ;;
esac
[ "$result" = a1fb- ] || { echo "it was: vector -1, nothing" >&2; exit 1; }
