// SPDX-License-Identifier: BSD-2-Clause
//
// Entry of every guest image, whatever format it has (header_*.S): from 32-bit protected mode
// without paging to 64-bit mode with the first 4 GB identity mapped by 2 MB pages, then
// guest_start(). In a flat binary these are the first bytes.
// Runs once, on the boot processor, with interrupts off. Owns the GDT, the TSS, the page tables
// and the boot stack.

#include "guests/lib/layout.h"

#define PTE_TABLE   0x003                   // present, writable
#define PTE_RAM     0x083                   // present, writable, 2 MB page
#define PTE_DEVICE  0x09B                   // the same, write-through and cache disabled
#define DEVICE_BASE 0xC0000000              // above this only devices are expected

#define CR0_BITS    0x80010023              // PG, WP, NE, MP, PE
#define CR4_BITS    0x00000620              // PAE, OSFXSR, OSXMMEXCPT
#define MSR_EFER    0xC0000080
#define EFER_LME    0x00000100

    .section .text.entry, "ax"
    .code32
    .globl entry
    .type entry, @function
entry:
    // The time stamp of the first instruction is what the boot figure is made of. EAX holds the
    // loader's magic and must survive the RDTSC.
    mov     %eax, %esi
    rdtsc
    mov     %eax, %edi
    mov     %edx, %ebp
    cld
    mov     $boot_stack_top, %esp

    // PML4[0] -> PDPT, PDPT[0..3] -> four page directories in one run of 16 KB.
    movl    $(boot_pdpt + PTE_TABLE), boot_pml4
    mov     $(boot_pd + PTE_TABLE), %eax
    mov     $boot_pdpt, %ecx
1:  mov     %eax, (%ecx)
    add     $0x1000, %eax
    add     $8, %ecx
    cmp     $(boot_pdpt + 4 * 8), %ecx
    jne     1b

    mov     $boot_pd, %ecx
    mov     $PTE_RAM, %eax
2:  mov     %eax, (%ecx)
    add     $8, %ecx
    add     $0x200000, %eax
    cmp     $(DEVICE_BASE + PTE_RAM), %eax
    jne     2b
    mov     $(DEVICE_BASE + PTE_DEVICE), %eax
3:  mov     %eax, (%ecx)
    add     $8, %ecx
    add     $0x200000, %eax
    jnc     3b

    mov     $CR4_BITS, %eax
    mov     %eax, %cr4
    mov     $boot_pml4, %eax
    mov     %eax, %cr3
    mov     $MSR_EFER, %ecx
    rdmsr
    or      $EFER_LME, %eax
    wrmsr
    mov     $CR0_BITS, %eax
    mov     %eax, %cr0
    lgdt    boot_gdt_pointer
    ljmp    $SEL_CODE64, $entry64

    .code64
entry64:
    mov     $SEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    xor     %eax, %eax
    mov     %eax, %fs
    mov     %eax, %gs
    mov     $boot_stack_top, %esp

    // guest_start(EAX, EBX, time stamp of the first instruction)
    mov     %ebp, %edx
    shl     $32, %rdx
    mov     %edi, %eax
    or      %rax, %rdx
    mov     %esi, %edi
    mov     %ebx, %esi
    xor     %ebp, %ebp
    call    guest_start
4:  cli
    hlt
    jmp     4b
    .size entry, . - entry

    // The accessed bits are set so that no descriptor load writes to the table.
    .section .data
    .balign 16
    .globl boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF                // SEL_CODE64
    .quad 0x00CF93000000FFFF                // SEL_DATA
    .quad 0x00CFFB000000FFFF                // SEL_USER_CODE32, the base of SYSRET's selectors
    .quad 0x00CFF3000000FFFF                // SEL_USER_DATA
    .quad 0x00AFFB000000FFFF                // SEL_USER_CODE64
    .quad 0x00CF9B000000FFFF                // SEL_CODE32
    .quad 0x00009B000000FFFF                // SEL_CODE16
    .quad 0, 0                              // SEL_TSS, made by trap_init
    .quad 0x000093000000FFFF                // SEL_DATA16
boot_gdt_end:
    .if (boot_gdt_end - boot_gdt) != GDT_ENTRIES * 8
    .error "GDT_ENTRIES"
    .endif

    .globl boot_gdt_pointer
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .section .bss
    .balign 4096
    .globl boot_pml4
boot_pml4:
    .skip 4096
boot_pdpt:
    .skip 4096
boot_pd:
    .skip 4 * 4096
boot_stack:
    .skip BOOT_STACK_SIZE
    .globl boot_stack_top
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
