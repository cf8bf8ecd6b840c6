// SPDX-License-Identifier: BSD-2-Clause
//
// 32-bit protected mode with PAE and with 4 MB pages, and real mode; entered from 64-bit mode and
// left to it. Interrupts are off all the time. Register state on the way is kept in memory.

#include "guests/lib/layout.h"
#include "guests/lib/frame.h"
#include "guests/test-cpu/modes.h"

#define CR0_PE      0x00000001
#define CR0_CD      0x40000000
#define CR0_PG      0x80000000
#define CR4_PSE     0x00000010
#define CR4_PAE     0x00000020
#define MSR_EFER    0xC0000080
#define EFER_LME    0x100
#define EFER_LMA    0x400
#define PORT_NOBODY 0xB80
#define GIGABYTE    0x40000000
#define IOAPIC_SELECT       0xFEC00000
#define IOAPIC_WINDOW       0xFEC00010
#define IOAPIC_REG_VERSION  1
#define REAL(label) ((label) - real_start + REAL_BASE)

    .section .bss
    .balign 8
mode_target:    .skip 8
mode_rsp:       .skip 8
mode_cr0:       .skip 8
mode_cr3:       .skip 8
mode_cr4:       .skip 8
mode_efer:      .skip 8
mode_esp:       .skip 8
mode_idtr:      .skip 16

    .text
    .code64
    .globl mode_excursion
mode_excursion:
    frame_save
    mov     %rdi, mode_target
    mov     %rsp, mode_rsp
    mov     %cr0, %rax
    mov     %rax, mode_cr0
    mov     %cr3, %rax
    mov     %rax, mode_cr3
    mov     %cr4, %rax
    mov     %rax, mode_cr4
    mov     $MSR_EFER, %ecx
    rdmsr
    and     $~EFER_LMA, %eax
    mov     %eax, mode_efer
    mov     %edx, mode_efer + 4
    push    $SEL_CODE32
    push    $leave64
    lretq

    .code32
leave64:
    mov     $SEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     %cr0, %eax
    and     $~CR0_PG, %eax
    mov     %eax, %cr0
    mov     $MSR_EFER, %ecx
    rdmsr
    and     $~(EFER_LME | EFER_LMA), %eax
    wrmsr
    call    *mode_target

    mov     mode_cr4, %eax
    mov     %eax, %cr4
    mov     mode_cr3, %eax
    mov     %eax, %cr3
    mov     $MSR_EFER, %ecx
    mov     mode_efer, %eax
    mov     mode_efer + 4, %edx
    wrmsr
    mov     mode_cr0, %eax
    mov     %eax, %cr0
    ljmp    $SEL_CODE64, $enter64

    .code64
enter64:
    mov     $SEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     mode_rsp, %rsp
    frame_return

    // What both paged modes do once paging is on: an exit to the kernel, four to the VMM, two of
    // which it has to decode as 32-bit code.
    .code32
mode_exits:
    xor     %eax, %eax
    cpuid
    mov     %eax, mode_result
    mov     $PORT_NOBODY, %edx
    out     %eax, %dx
    in      %dx, %eax
    mov     %eax, mode_result + 4
    movl    $IOAPIC_REG_VERSION, IOAPIC_SELECT
    mov     IOAPIC_WINDOW, %eax
    mov     %eax, mode_result + 12
    ret

    .globl mode_pae
mode_pae:
    mov     $mode_pae_pdpt, %eax
    mov     %eax, %cr3
    mov     %cr0, %eax
    or      $CR0_PG, %eax
    mov     %eax, %cr0
    call    mode_exits
    // A change of CR0.CD in this mode loads the page-directory pointers from memory again.
    mov     mode_pae_pdpt, %eax
    mov     %eax, mode_pae_pdpt + 8
    mov     %cr0, %eax
    xor     $CR0_CD, %eax
    mov     %eax, %cr0
    xor     $CR0_CD, %eax
    mov     %eax, %cr0
    mov     mode_word + GIGABYTE, %eax
    mov     %eax, mode_result + 8
    mov     %cr0, %eax
    and     $~CR0_PG, %eax
    mov     %eax, %cr0
    ret

    .globl mode_pse
mode_pse:
    mov     %cr4, %eax
    and     $~CR4_PAE, %eax
    or      $CR4_PSE, %eax
    mov     %eax, %cr4
    mov     $mode_pse_directory, %eax
    mov     %eax, %cr3
    mov     %cr0, %eax
    or      $CR0_PG, %eax
    mov     %eax, %cr0
    call    mode_exits
    // Entry 256 maps 1 GB; make it like entry 0.
    mov     mode_pse_directory, %eax
    mov     %eax, mode_pse_directory + 4 * 256
    invlpg  GIGABYTE
    mov     mode_word + GIGABYTE, %eax
    mov     %eax, mode_result + 8
    mov     %cr0, %eax
    and     $~CR0_PG, %eax
    mov     %eax, %cr0
    ret

    .globl mode_real
mode_real:
    mov     %esp, mode_esp
    sidt    mode_idtr
    ljmp    $SEL_CODE16, $REAL_BASE
real_back:
    mov     $SEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     mode_esp, %esp
    lidt    mode_idtr
    ret

    // Copied to REAL_BASE. It begins in 16-bit protected mode.
    .section .rodata
    .code16
    .globl real_start, real_end
real_start:
    mov     $SEL_DATA16, %ax
    mov     %ax, %ds
    mov     %ax, %es
    mov     %ax, %ss
    mov     %cr0, %eax
    and     $~CR0_PE, %eax
    mov     %eax, %cr0
    ljmp    $0, $REAL(1f)
1:  xor     %ax, %ax
    mov     %ax, %ds
    mov     %ax, %ss
    mov     $REAL_STACK, %sp
    lidtl   REAL(real_ivt)

    // A software interrupt through a vector of the real-mode table.
    mov     $(REAL_VECTOR * 4), %di
    pushl   (%di)
    movl    $REAL(real_handler), (%di)
    xor     %ebx, %ebx
    int     $REAL_VECTOR
    popl    (%di)
    mov     %ebx, REAL_RESULT

    xor     %eax, %eax
    cpuid
    mov     %eax, REAL_RESULT + 4
    mov     $PORT_NOBODY, %dx
    out     %eax, %dx
    in      %dx, %eax
    mov     %eax, REAL_RESULT + 8
    mov     %cr0, %eax
    mov     %eax, REAL_RESULT + 12

    // The text screen's memory, through a real-mode segment.
    mov     $0xB800, %ax
    mov     %ax, %es
    movl    $TEXT_MAGIC, %es:160
    mov     %es:160, %eax
    mov     %eax, REAL_RESULT + 16

    mov     %cr0, %eax
    or      $CR0_PE, %eax
    mov     %eax, %cr0
    ljmpl   $SEL_CODE32, $real_back

real_handler:
    mov     $REAL_MAGIC, %ebx
    iret

    .balign 4
real_ivt:
    .word   0x3FF
    .long   0
real_end:

    .section .note.GNU-stack, "", @progbits
