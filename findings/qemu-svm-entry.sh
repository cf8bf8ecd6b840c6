#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# QEMU 7.2's TCG (of Debian 12) runs guests in SVM, and three things there are not as AMD's manual
# (APM volume 2, "Secure Virtual Machine") and CPUs have them:
# - STI directly before VMRUN, with GIF clear, holds interrupts off behind the guest's first
#   instruction, though the VMCB says that the guest is in no interrupt shadow. With one instruction
#   in between it does not. A hypervisor that lets a guest go on by single exits never sees it; one
#   that steps by interrupt windows finds each of them an instruction late.
# - A virtual interrupt is taken when its priority is that of V_TPR; it should be only above. Where
#   its interception asks for a window until TPR falls, the guest exits for ever and gets nowhere.
# - LTR marks the descriptor busy in memory, and what VMSAVE stores of TR is still available.
# A multiboot kernel of its own is the hypervisor and the guest; no operating system is in it.
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

# To port 0xe9, of each entry: how many of the guest's one-byte instructions were executed, and 'v'
# where it exited for the virtual interrupt, 'm' where it came to its VMMCALL.
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
    mov $0xc0000080, %ecx
    rdmsr
    or $0x1000, %eax
    wrmsr
    mov $0xc0010117, %ecx
    mov $(V + 0x1000), %eax
    xor %edx, %edx
    wrmsr
    clgi
    mov $0x100, %edx            # V_IRQ
    call prepare
    sti                         # directly before it
    vmrun
    cli
    call result
    mov $0x100, %edx
    orl $15 << 16, %edx
    call prepare
    sti
    nop                         # and not
    vmrun
    cli
    call result
    mov $0x1050104, %edx        # priority 5, TPR 4
    call one
    mov $0x1050105, %edx
    call one
    mov $0x1050106, %edx
    call one
    xor %edx, %edx
    call prepare
    movl $ltr_guest, V + 0x578
    vmrun
    mov $V, %eax
    vmsave
    mov V + 0x492, %al
    call type
    mov gdt + 29, %al
    call type
    mov $0, %al
    out %al, $0xf4
5:  hlt
    jmp 5b

type: and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe 1f
    add $('a' - '9' - 1), %al
1:  out %al, $0xe9
    ret

one: call prepare
    sti
    nop
    vmrun
    cli
    jmp result

prepare: mov $V, %edi
    xor %eax, %eax
    mov $1024, %ecx
    rep stosl
    movl $0x10, V + 0x0c        # VINTR
    movl $3, V + 0x10           # VMRUN, VMMCALL
    movl $1, V + 0x58           # ASID
    mov %edx, V + 0x60
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
    movl $guest, V + 0x578
    movl $guest_stack, V + 0x5d8
    mov $V, %eax
    ret

result: mov V + 0x578, %eax
    sub $guest, %eax
    add $'0', %al
    out %al, $0xe9
    mov $'v', %al
    cmpl $0x64, V + 0x70
    je 1f
    mov $'m', %al
1:  out %al, $0xe9
    ret

guest: nop
    nop
    nop
    vmmcall
ltr_guest: mov $24, %ax
    ltr %ax
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
echo "instructions before the window, STI directly before VMRUN: ${result:0:1}; not: ${result:2:1}"
echo "a virtual interrupt above, at, below V_TPR (v: taken, m: not): \
${result:5:1} ${result:7:1} ${result:9:1}"
echo "the TSS's type behind LTR: ${result:10:1} in the VMCB, ${result:11:1} in memory"
[ "$result" = 1v0v0v0v3m9b ] || { echo "it was: 1, 0; v, v, m; 9, b" >&2; exit 1; }
