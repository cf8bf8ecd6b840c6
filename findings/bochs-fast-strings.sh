#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Bochs 2.7 (of Debian 12): CPUID says that REP MOVSB and STOSB are enhanced (leaf 7 EBX bit 9), but
# there is no IA32_MISC_ENABLE: with ignore_bad_msrs, the default, it reads 0, so the bit by which
# firmware switches fast strings on is clear. The two contradict each other, and software that goes
# by the register (Linux does, on Intel's family 6) takes loops in place of string instructions;
# whoever shows the same CPUID to a guest, and the bit set, has it take the other ones. Each byte of
# a REP STOSB takes as long there as an instruction. A boot sector asks and measures; no operating
# system is in it.
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

# Prints, as words of eight digits: leaf 7 EBX, the register, the ticks of REP STOSB over 4,096
# bytes, and those of a loop of MOVL, ADD, DEC, JNZ over them.
cat > boot.S <<'END'
.code16
.global _start
_start: cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7000, %sp
    cld
    mov $7, %eax
    xor %ecx, %ecx
    cpuid
    mov %ebx, %eax
    call print
    mov $0x1a0, %ecx
    rdmsr
    call print
    rdtsc
    mov %eax, %esi
    mov $0x8000, %di
    mov $4096, %cx
    rep stosb
    rdtsc
    sub %esi, %eax
    call print
    rdtsc
    mov %eax, %esi
    mov $0x8000, %di
    mov $1024, %cx
1:  movl $0, (%di)
    add $4, %di
    dec %cx
    jnz 1b
    rdtsc
    sub %esi, %eax
    call print
    mov $0x8900, %dx
    mov $word, %si
    mov $8, %cx
    rep outsb
2:  hlt
    jmp 2b
print: mov $8, %cx
1:  rol $4, %eax
    mov %al, %bl
    and $15, %bx
    push %ax
    mov digits(%bx), %al
    out %al, $0xe9
    pop %ax
    loop 1b
    mov $'.', %al
    out %al, $0xe9
    ret
digits: .ascii "0123456789abcdef"
word: .ascii "Shutdown"
.org 510
    .word 0xaa55
END
gcc -m32 -c boot.S -o boot.o
ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o floppy.img boot.o 2>/dev/null
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
    grep -ao '\([0-9a-f]\{8\}\.\)\{4\}' out
}

echo "bochs $version"
status=0
for model in corei7_haswell_4770 corei7_skylake_x; do
    IFS=. read -r leaf register stos loop < <(run "$model") || { tail -3 bochs.log >&2; exit 2; }
    enhanced=$((16#$leaf >> 9 & 1)) fast=$((16#$register & 1))
    echo "$model: ERMS $enhanced, IA32_MISC_ENABLE 0x$register: fast strings $fast;" \
        "4,096 bytes: REP STOSB $((16#$stos)) ticks, a loop of words $((16#$loop))"
    [ "$enhanced$fast" = 10 ] && ((16#$stos >= 4096)) || status=1
done
[ $status = 0 ] || echo "it was: ERMS 1, fast strings 0, at least 4,096 ticks" >&2
exit $status
