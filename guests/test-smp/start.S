// SPDX-License-Identifier: BSD-2-Clause
//
// The page of start.h. It uses nothing before it has written it down: CS alone is taken to be what
// a start-up IPI makes it. Nothing else is in a stack or another segment until then.

#include "guests/lib/layout.h"
#include "guests/test-smp/start.h"

#define MSR_APIC_BASE 0x1B
#define MSR_EFER      0xC0000080
#define MSR_FS_BASE   0xC0000100
#define MSR_GS_BASE   0xC0000101
#define CR0_PE        1
#define CR4_OSFXSR    0x200
#define CR4_OSXSAVE   0x40000
// Offset of a word in the page, and its address.
#define AT(label)     ((label) - probe_start)
#define IN_PAGE(label) (PROBE_PAGE + AT(label))

    .macro  keep source, words, n
    mov     \source, %eax
    movl    %eax, %cs:AT(\words) + 4 * \n
    .endm
    .macro  read_msr index, where
    mov     $\index, %ecx
    rdmsr
    movl    %eax, %cs:AT(p_msr) + 8 * \where
    movl    %edx, %cs:AT(p_msr) + 8 * \where + 4
    .endm

    .section .text.probe, "ax"
    .balign 16
    .code16
    .globl probe_start
probe_start:
    movl    %eax, %cs:AT(p_gpr)
    movl    %ebx, %cs:AT(p_gpr) + 4
    movl    %ecx, %cs:AT(p_gpr) + 8
    movl    %edx, %cs:AT(p_gpr) + 12
    movl    %esi, %cs:AT(p_gpr) + 16
    movl    %edi, %cs:AT(p_gpr) + 20
    movl    %ebp, %cs:AT(p_gpr) + 24
    movl    %esp, %cs:AT(p_gpr) + 28
    mov     %cs, %cs:AT(p_segments)
    mov     %ds, %cs:AT(p_segments) + 4
    mov     %es, %cs:AT(p_segments) + 8
    mov     %ss, %cs:AT(p_segments) + 12
    mov     %fs, %cs:AT(p_segments) + 16
    mov     %gs, %cs:AT(p_segments) + 20
    keep    %ds:PROBE_MARK, p_mark, 0
    keep    %es:PROBE_MARK, p_mark, 1
    keep    %ss:PROBE_MARK, p_mark, 2
    keep    %fs:PROBE_MARK, p_mark, 3
    keep    %gs:PROBE_MARK, p_mark, 4
    // The flags, by a stack of this page's.
    mov     %cs, %ax
    mov     %ax, %ss
    mov     $0xFF0, %sp
    pushfl
    popl    %eax
    movl    %eax, %cs:AT(p_flags)

    keep    %cr0, p_cr, 0
    keep    %cr2, p_cr, 1
    keep    %cr3, p_cr, 2
    keep    %cr4, p_cr, 3
    keep    %dr0, p_dr, 0
    keep    %dr1, p_dr, 1
    keep    %dr2, p_dr, 2
    keep    %dr3, p_dr, 3
    keep    %dr6, p_dr, 4
    keep    %dr7, p_dr, 5
    sgdtl   %cs:AT(p_gdtr)
    sidtl   %cs:AT(p_idtr)
    read_msr MSR_EFER, 0
    read_msr MSR_FS_BASE, 1
    read_msr MSR_GS_BASE, 2
    read_msr MSR_APIC_BASE, 3

    mov     $CR4_OSFXSR, %eax
    mov     %eax, %cr4
    fxsave  %cs:AT(p_fpu)
    testb   $PROBE_XSAVE, %cs:AT(p_how)
    jz      1f
    mov     $(CR4_OSFXSR | CR4_OSXSAVE), %eax
    mov     %eax, %cr4
    xor     %ecx, %ecx
    xgetbv
    movl    %eax, %cs:AT(p_xcr0)

    // Counts in the mode that it was told, until an INIT ends that.
1:  xor     %ax, %ax
    mov     %ax, %ds
    movl    $1, IN_PAGE(p_done)
    mov     %cs:AT(p_how), %al
    and     $3, %al
    cmp     $PROBE_REAL, %al
    je      3f
    ja      4f
2:  hlt
    jmp     2b
3:  incl    IN_PAGE(p_count)
    pause
    jmp     3b

4:  lgdtl   %cs:AT(p_gdt)
    mov     %cr0, %ebx
    or      $CR0_PE, %bl
    mov     %ebx, %cr0
    cmp     $PROBE_16, %al
    jne     6f
    ljmp    $SEL_CODE16, $IN_PAGE(5f)
5:  mov     $SEL_DATA16, %ax
    mov     %ax, %ds
    jmp     3b
6:  ljmpl   $SEL_CODE32, $IN_PAGE(7f)

    .code32
7:  mov     $SEL_DATA, %eax
    mov     %eax, %ds
8:  incl    IN_PAGE(p_count)
    pause
    jmp     8b

    .balign 4
p_gdt:      .word GDT_ENTRIES * 8 - 1
            .long boot_gdt

    .balign 16
    .globl probe_data
probe_data:
p_how:      .long 0
p_done:     .long 0
p_count:    .long 0
p_gpr:      .skip 8 * 4
p_flags:    .long 0
p_segments: .skip 6 * 4
p_mark:     .skip 5 * 4
p_cr:       .skip 4 * 4
p_dr:       .skip 6 * 4
p_msr:      .skip 4 * 8
p_xcr0:     .long 0
p_gdtr:     .skip 8
p_idtr:     .skip 8
            .balign 16
p_fpu:      .skip 512
    .globl probe_end
probe_end:

    .section .note.GNU-stack, "", @progbits
