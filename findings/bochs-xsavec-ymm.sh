#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Bochs 2.7 (of Debian 12): XSAVEC with AVX in use stores an image from which XRSTOR does not give
# the upper halves of YMM back; XSAVE does, and XSAVEC of x87 and SSE alone does. CPUID leaf 0DH
# is at odds with itself in the same model: EBX of subleaf 1, the size of the compacted image, is
# that of the standard one, more than the parts of subleaves 2 and up add up to. (Linux looks at
# this and then goes without XSAVE.) A boot sector tries both; no operating system is in it.
# Needs gcc's assembler, apt-get with Debian 12 among its sources, and the libraries of bochs.
set -euo pipefail
version=2.7+dfsg-4+deb12u1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 . # apt's own user writes here
apt-get download -qq "bochs=$version" "bochsbios=$version" vgabios=0.8a+ds-2 >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" root; done
missing=$(ldd root/usr/bin/bochs-bin | grep 'not found' || true)
[ -z "$missing" ] || { echo "libraries are missing: $missing" >&2; exit 2; }

cat > boot.S <<'END'
.code16
.global _start
_start: cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7000, %sp
    mov $0x0204, %ax            # read four more sectors behind this one
    mov $0x0002, %cx
    xor %dh, %dh                # the drive is in DL
    mov $0x7e00, %bx
    int $0x13
    lgdt gdtr
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmp $8, $start32
gdtr: .word 23
    .long gdt
.balign 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
.org 510
    .word 0xaa55
.code32
start32:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $0x7000, %esp
    mov $0x40600, %eax          # OSFXSR, OSXMMEXCPT, OSXSAVE
    mov %eax, %cr4
    mov %cr0, %eax
    and $~4, %eax
    or $2, %eax
    mov %eax, %cr0
    # All components of the model, for what CPUID says of their size.
    mov $0xd, %eax
    xor %ecx, %ecx
    cpuid
    mov %eax, components
    xor %edx, %edx
    xor %ecx, %ecx
    xsetbv
    mov $0xd, %eax
    mov $1, %ecx
    cpuid
    mov %ebx, claimed
    movl $576, parts
    mov $2, %esi
1:  bt %esi, components
    jnc 2f
    mov $0xd, %eax
    mov %esi, %ecx
    cpuid
    bt $1, %ecx                 # the compacted form aligns it
    jnc 3f
    addl $63, parts
    andl $~63, parts
3:  add %eax, parts
2:  inc %esi
    cmp $32, %esi
    jb 1b
    mov $'c', %al
    out %al, $0xe9
    mov claimed, %eax
    call hex
    mov $'p', %al
    out %al, $0xe9
    mov parts, %eax
    call hex
    # x87, SSE, AVX from here on.
    mov $7, %eax
    xor %edx, %edx
    xor %ecx, %ecx
    xsetbv
    mov $7, %ebp
    mov $'X', %al
    mov $0, %edi
    call try
    mov $'C', %al
    mov $1, %edi
    call try
    mov $3, %ebp                # of them x87 and SSE only
    mov $'S', %al
    mov $1, %edi
    call try
    mov $0x8900, %edx
    mov $word, %esi
    mov $8, %ecx
    rep outsb
3:  hlt
    jmp 3b
# AL: a letter; EDI: 0 XSAVE, 1 XSAVEC; EBP: the components. Prints the letter, then whether the
# lower and the upper half of YMM0 came back (1) or not (0).
try: out %al, $0xe9
    push %edi
    mov $0x10000, %edi          # an area of zeros
    xor %eax, %eax
    mov $1024, %ecx
    rep stosl
    pop %edi
    vmovdqu pattern, %ymm0
    mov %ebp, %eax
    xor %edx, %edx
    test %edi, %edi
    jnz 1f
    xsave 0x10000
    jmp 2f
1:  xsavec 0x10000
2:  vzeroall
    mov %ebp, %eax
    xor %edx, %edx
    xrstor 0x10000
    vmovdqu %ymm0, result
    mov pattern, %eax
    cmp result, %eax
    call bit
    mov pattern + 16, %eax
    cmp result + 16, %eax
bit: sete %al
    add $'0', %al
    out %al, $0xe9
    ret
hex: mov $8, %ecx
1:  rol $4, %eax
    push %eax
    and $15, %eax
    mov digits(%eax), %al
    out %al, $0xe9
    pop %eax
    loop 1b
    ret
digits: .ascii "0123456789abcdef"
word: .ascii "Shutdown"
.balign 32
pattern: .long 0x11111111, 0x22222222, 0x33333333, 0x44444444
    .long 0x55555555, 0x66666666, 0x77777777, 0x88888888
result: .skip 32
components: .long 0
claimed: .long 0
parts: .long 0
.org 2560
END
gcc -m32 -c boot.S -o boot.o
ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o boot.bin boot.o 2>/dev/null
cp boot.bin floppy.img
truncate -s 1474560 floppy.img

run() { # model
    cat > bochsrc <<END
display_library: rfb, options="timeout=0, hideIPS"
cpu: model=$1, count=1, ips=50000000
memory: guest=32, host=32
romimage: file=$dir/root/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=$dir/root/usr/share/vgabios/vgabios.bin
floppya: 1_44=floppy.img, status=inserted
boot: floppy
clock: sync=none
port_e9_hack: enabled=1
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
log: bochs.log
panic: action=fatal
END
    echo c > rc
    # (Bochs always ends with status 1 when the guest asks it to end.)
    BXSHARE=$dir/root/usr/share/bochs timeout 60 root/usr/bin/bochs-bin -q -f bochsrc -rc rc \
        </dev/null >out 2>&1 || true
    grep -ao 'c[0-9a-f]\{8\}p[0-9a-f]\{8\}X[01]\{2\}C[01]\{2\}S[01]\{2\}' out
}

echo "bochs $version"
got=$(run corei7_skylake_x) || { tail -3 bochs.log >&2; exit 2; }
half() { [ "$1" = 1 ] && echo kept || echo LOST; }
echo "corei7_skylake_x: the compacted image takes $((16#${got:1:8})) bytes by CPUID 0DH.1 EBX," \
    "$((16#${got:10:8})) by its parts"
x=${got#*X} c=${got#*C} s=${got#*S}
echo "XSAVE,  x87+SSE+AVX, XRSTOR: XMM0 $(half "${x:0:1}"), upper half of YMM0 $(half "${x:1:1}")"
echo "XSAVEC, x87+SSE+AVX, XRSTOR: XMM0 $(half "${c:0:1}"), upper half of YMM0 $(half "${c:1:1}")"
echo "XSAVEC, x87+SSE,     XRSTOR: XMM0 $(half "${s:0:1}")"
want='c00000a80p00000980X11C10S1'
[[ $got == "$want"* ]] || { echo "it was: $want.; now: $got" >&2; exit 1; }
