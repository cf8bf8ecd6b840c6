// SPDX-License-Identifier: BSD-2-Clause
//
// Where other processors begin: smp_page, which smp.c copies to a page below 1 MiB, in real mode at
// offset 0 of whatever page that is; then 32-bit protected and 64-bit mode at their own addresses,
// up to smp_main() on a stack of its own. Owns nothing: what it loads is smp.c's.

#include "guests/lib/layout.h"

#define CR0_PE_ET    0x11
#define CR4_PAE      0x20
#define MSR_EFER     0xC0000080

    .section .text.smp, "ax"
    .code16
    .globl smp_page
smp_page:
    cli
    lgdtl   %cs:(smp_gdt_pointer - smp_page)
    mov     $CR0_PE_ET, %eax
    mov     %eax, %cr0
    ljmpl   $SEL_CODE32, $entry32
    .balign 4
smp_gdt_pointer:
    .word   GDT_ENTRIES * 8 - 1
    .long   boot_gdt
    .globl smp_page_end
smp_page_end:

    .code32
entry32:
    mov     $SEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     $CR4_PAE, %eax
    mov     %eax, %cr4
    mov     smp_cr3, %eax
    mov     %eax, %cr3
    mov     $MSR_EFER, %ecx
    mov     smp_efer, %eax
    xor     %edx, %edx
    wrmsr
    mov     smp_cr0, %eax
    mov     %eax, %cr0
    ljmp    $SEL_CODE64, $entry64

    .code64
entry64:
    xor     %eax, %eax
    mov     %eax, %fs
    mov     %eax, %gs
    mov     $1, %eax
    cpuid
    shr     $24, %ebx                       // the initial APIC id
    cmp     $SMP_MAX, %ebx
    jae     1f
    mov     smp_stack_top(, %rbx, 8), %rsp
    mov     %ebx, %edi
    xor     %ebp, %ebp
    call    smp_main
1:  cli
    hlt
    jmp     1b

    .section .note.GNU-stack, "", @progbits
