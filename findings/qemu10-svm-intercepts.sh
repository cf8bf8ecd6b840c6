#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# QEMU 10.0's TCG (of Debian 13) has a new decoder, and with it intercepts of SVM that differ from
# AMD's manual (APM volume 2, "Instruction Intercepts": simple exceptions, such as #UD and #GP for
# the privilege level, come before intercepts) and from QEMU 7.2's:
# - A read of any control register is intercepted by CR0's bit, and exits with CR0's code. With
#   CR4's bit alone MOV from CR4 goes through, and the guest reads what its hypervisor would hide.
# - XSETBV exits though CR4.OSXSAVE is clear, and WBINVD at CPL 3, before #UD and #GP. An exit
#   handler that leaves these checks to the CPU finds them undone.
# A multiboot kernel of its own is the hypervisor and the guest; no operating system is in it.
# Needs binutils, apt-get with Debian 13 among its sources, and the libraries of qemu-system-x86.
set -euo pipefail
version=1:10.0.13+ds-0+deb13u1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 . # apt's own user writes here
apt-get download -qq "qemu-system-x86=$version" "qemu-system-common=$version" \
    "qemu-system-data=$version" seabios=1.16.3-2 >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" root; done
qemu=root/usr/bin/qemu-system-x86_64
missing=$(ldd "$qemu" | grep 'not found' || true)
[ -z "$missing" ] || { echo "libraries are missing: $missing" >&2; exit 2; }

# To port 0xe9: the exit code of each guest, lower 16 bits; each intercepts #UD and #GP as well.
cat > boot.S <<'END'
.set V, 0x200000
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
    mov %cr4, %eax
    or $0x200, %eax
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x1000, %eax
    wrmsr
    mov $0xc0010117, %ecx
    mov $(V + 0x1000), %eax
    xor %edx, %edx
    wrmsr
    clgi
    mov $1, %ebx                # CR0's bit
    mov $read_cr4, %ecx
    call one
    mov $0x10, %ebx             # CR4's
    call one
    mov $0x10 << 16, %ebx       # of writes
    mov $write_cr4, %ecx
    call one
    xor %ebx, %ebx
    mov $set_xcr0, %ecx
    call one
    mov $flush, %ecx
    call one
    mov $0, %al
    out %al, $0xf4
5:  hlt
    jmp 5b

one: push %ecx
    call prepare
    pop %ecx
    mov %ebx, V
    mov %ecx, V + 0x578
    cmp $flush, %ecx
    jne 1f
    movb $3, V + 0x4cb          # CPL
    movl $0x0cfb000b, V + 0x410
    movl $0x0cf30013, V + 0x420
1:  push %ecx
    mov $V, %eax
    sti
    nop
    vmrun
    cli
    mov V + 0x70, %edx
    mov $4, %ecx
    rol $16, %edx
3:  rol $4, %edx
    mov %dl, %al
    and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe 4f
    add $('a' - '9' - 1), %al
4:  out %al, $0xe9
    loop 3b
    pop %ecx
    ret

prepare: mov $V, %edi
    xor %eax, %eax
    mov $1024, %ecx
    rep stosl
    movl $0x2040, V + 0x08      # #UD, #GP
    movl $0x2203, V + 0x10      # VMRUN, VMMCALL, WBINVD, XSETBV
    movl $1, V + 0x58           # ASID
    .irp at, 0x400, 0x420, 0x430
    movl $0x0c930010, V + \at
    movl $-1, V + \at + 4
    .endr
    movl $0x0c9b0008, V + 0x410
    movl $-1, V + 0x414
    movl $31, V + 0x464
    movl $gdt, V + 0x468
    movl $0x1000, V + 0x4d0
    movl $0x11, V + 0x558
    movl $0x400, V + 0x560
    movl $0xffff0ff0, V + 0x568
    movl $0x202, V + 0x570
    movl $guest_stack, V + 0x5d8
    mov $V, %eax
    ret

read_cr4: mov %cr4, %ebx
    vmmcall
write_cr4: xor %ebx, %ebx
    mov %ebx, %cr4
    vmmcall
set_xcr0: mov $1, %eax
    xor %edx, %edx
    xor %ecx, %ecx
    xsetbv
    vmmcall
flush: wbinvd
    vmmcall
.data
.balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x0000893000000067
gdtr: .word 31
    .long gdt
.bss
.skip 4096
guest_stack:
.skip 4096
stack:
END
as --32 -march=+svme -o boot.o boot.S 2>/dev/null || as --32 -o boot.o boot.S
ld -m elf_i386 -Ttext 0x100000 -e _start -o boot.elf boot.o 2>/dev/null
export QEMU_MODULE_DIR=$dir/root/usr/lib/x86_64-linux-gnu/qemu
timeout 60 "$qemu" -L root/usr/share/seabios -L root/usr/share/qemu -nodefaults -display none \
    -accel tcg -cpu max -kernel boot.elf -debugcon file:out \
    -device isa-debug-exit,iobase=0xf4,iosize=1 || [ $? = 1 ] # which is what it asks for

echo "qemu-system-x86 $version"
result=$(cat out)
echo "MOV from CR4: with CR0's bit exit ${result:0:4}, with CR4's ${result:4:4} (0081: its VMMCALL)"
echo "MOV to CR4: with its own bit ${result:8:4}"
echo "XSETBV without CR4.OSXSAVE: ${result:12:4} (0046: #UD)"
echo "WBINVD at CPL 3: ${result:16:4} (004d: #GP)"
[ "$result" = 000000810014008d0089 ] || { echo "it was otherwise" >&2; exit 1; }
