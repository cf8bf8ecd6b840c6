#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# QEMU 7.2's TCG (of Debian 12; and 10.0's, of Debian 13) may deliver an interrupt twice that VMRUN
# injects by EVENTINJ. The vector stays in QEMU's own record of what a CPU has to raise, until
# something else is raised; when its execution loop is left for another reason, as for a timer's
# deadline with -icount, what is on record is raised again: in the middle of the handler, with
# interrupts off. The frame is pushed twice then; on a stack of the interrupt's own (IST) the second
# one overwrites the first, and a 64-bit guest's handler returns to itself. A virtual interrupt
# (V_IRQ with V_INTR_VECTOR, not intercepted) is delivered once.
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

# 1,000 times the guest is entered where it waits, with vector 30H to be delivered. The handler
# counts, works for a tenth of a millisecond, and exits. Deadlines come from the PIT, whose own
# interrupt is masked. To port 0xe9: how often the handler was entered, by either way.
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
    mov $handler, %eax
    mov %ax, idt + 0x180
    movl $0x80008, idt + 0x182
    movb $0x8e, idt + 0x185
    shr $16, %eax
    mov %ax, idt + 0x186
    mov $0xff, %al
    out %al, $0x21
    out %al, $0xa1
    mov $0x34, %al
    out %al, $0x43
    mov $1193 & 255, %al
    out %al, $0x40
    mov $1193 >> 8, %al
    out %al, $0x40
    mov $0xc0000080, %ecx
    rdmsr
    or $0x1000, %eax
    wrmsr
    mov $0xc0010117, %ecx
    mov $(V + 0x1000), %eax
    xor %edx, %edx
    wrmsr
    clgi
    mov $0x80000030, %esi       # EVENTINJ, and no V_IRQ
    xor %edi, %edi
    call thousand
    xor %esi, %esi
    mov $0x1f0100, %edi         # V_IRQ, its priority, whatever V_TPR
    call thousand
    mov $0, %al
    out %al, $0xf4
5:  hlt
    jmp 5b

thousand: movl $0, count
    mov $1000, %ebp
1:  call prepare
    sti
    nop                         # or the guest begins in STI's shadow
    vmrun
    cli
    cmpl $0x81, V + 0x70        # by VMMCALL, as the handler does
    jne 2f
    dec %ebp
    jnz 1b
2:  mov count, %edx
    mov $8, %ecx
3:  rol $4, %edx
    mov %dl, %al
    and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe 4f
    add $('a' - '9' - 1), %al
4:  out %al, $0xe9
    loop 3b
    ret

prepare: push %edi
    mov $V, %edi
    xor %eax, %eax
    mov $1024, %ecx
    rep stosl
    pop %edi
    movl $3, V + 0x10           # VMRUN, VMMCALL
    movl $1, V + 0x58           # ASID
    mov %edi, V + 0x60
    movl $0x30, V + 0x64        # V_INTR_VECTOR
    mov %esi, V + 0xa8
    .irp at, 0x400, 0x420, 0x430
    movl $0x0c930010, V + \at
    movl $-1, V + \at + 4
    .endr
    movl $0x0c9b0008, V + 0x410
    movl $-1, V + 0x414
    movl $31, V + 0x464
    movl $gdt, V + 0x468
    movl $0x7ff, V + 0x484
    movl $idt, V + 0x488
    movl $0x1000, V + 0x4d0
    movl $0x11, V + 0x558
    movl $0x400, V + 0x560
    movl $0xffff0ff0, V + 0x568
    movl $0x202, V + 0x570
    movl $guest, V + 0x578
    movl $guest_stack, V + 0x5d8
    mov $V, %eax
    ret

guest: jmp guest
handler: incl count
    mov $50000, %ecx
1:  loop 1b
    vmmcall
.data
.balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x0000893000000067
gdtr: .word 31
    .long gdt
count: .long 0
.bss
.balign 8
idt: .skip 2048
.skip 4096
guest_stack:
.skip 4096
stack:
END
as --32 -march=+svme -o boot.o boot.S 2>/dev/null || as --32 -o boot.o boot.S
ld -m elf_i386 -Ttext 0x100000 -e _start -o boot.elf boot.o 2>/dev/null
export QEMU_MODULE_DIR=$dir/root/usr/lib/x86_64-linux-gnu/qemu
timeout 60 "$qemu" -L root/usr/share/seabios -L root/usr/share/qemu -nodefaults -display none \
    -accel tcg -icount shift=0,sleep=off -cpu max -kernel boot.elf -debugcon file:out \
    -device isa-debug-exit,iobase=0xf4,iosize=1 || [ $? = 1 ] # which is what it asks for

echo "qemu-system-x86 $version"
result=$(cat out)
injected=$((16#${result:0:8})) virtual=$((16#${result:8:8}))
echo "interrupts injected by EVENTINJ: 1000; the handler was entered $injected times"
echo "virtual interrupts: 1000; the handler was entered $virtual times"
[ "$injected" -gt 1010 ] && [ "$virtual" = 1000 ] || {
    echo "it was: above 1010; 1000" >&2
    exit 1
}
