// SPDX-License-Identifier: BSD-2-Clause
// From GRUB (32-bit protected mode, paging off) to C in the high half; and the way up for the other
// cores. Boot page tables: identity for the first 4 GB, the same again at the direct map and, for the
// first 1 GB, at the kernel's address; paging.c replaces them.
#include "kernel/arch/x86/regs.h"

#define VMA 0xffffffff80000000
#define PHYS(x) ((x) - VMA)

.section .multiboot2, "a"
.align 8
header:
    .long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + (header_end - header))
    .word 6, 0                  // modules on page boundaries
    .long 8
    .word 0, 0                  // end
    .long 8
header_end:

.section .text.boot, "ax"
.code32
.global boot_entry
boot_entry:
    cld
    mov %eax, PHYS(boot_magic)
    mov %ebx, PHYS(boot_info_pointer)
    rdtsc
    mov %eax, PHYS(boot_tsc)
    mov %edx, PHYS(boot_tsc) + 4
    mov $PHYS(boot_stack_top), %esp
    mov $0x80000000, %eax       // long mode there?
    cpuid
    cmp $0x80000001, %eax
    jb no_long_mode
    mov $0x80000001, %eax
    cpuid
    bt $29, %edx
    jnc no_long_mode
    // Four page directories of 2 MB pages: 0-4 GB.
    mov $PHYS(boot_pd), %edi
    mov $0x83, %eax
    mov $2048, %ecx
1:  mov %eax, (%edi)
    movl $0, 4(%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 1b
    mov $PHYS(boot_pd) + 3, %eax
    mov $PHYS(boot_pdpt), %edi
    mov $4, %ecx
1:  mov %eax, (%edi)
    add $4096, %eax
    add $8, %edi
    loop 1b
    movl $PHYS(boot_pd) + 3, PHYS(boot_pdpt_high) + 510 * 8
    movl $PHYS(boot_pdpt) + 3, PHYS(boot_pml4)
    movl $PHYS(boot_pdpt) + 3, PHYS(boot_pml4) + 256 * 8
    movl $PHYS(boot_pdpt_high) + 3, PHYS(boot_pml4) + 511 * 8
    mov $PHYS(boot_pml4), %eax
    call enter_long_mode
    ljmp $0x08, $PHYS(boot_long)

// EAX: page tables. Turns on long mode with the boot GDT; the caller jumps far.
enter_long_mode:
    mov %eax, %cr3
    mov $(CR4_PAE), %eax
    mov %eax, %cr4
    mov $MSR_EFER, %ecx
    rdmsr
    or $(EFER_LME | EFER_NXE | EFER_SCE), %eax
    wrmsr
    mov $(CR0_PG | CR0_WP | CR0_PE | CR0_NE | CR0_ET | CR0_MP), %eax
    mov %eax, %cr0
    lgdt PHYS(boot_gdtr)
    ret

no_long_mode:
    mov $PHYS(no_long_mode_text), %esi
1:  lodsb
    test %al, %al
    jz 2f
    mov %al, %ah
    mov $0x3fd, %dx
3:  in %dx, %al
    test $0x20, %al
    jz 3b
    mov %ah, %al
    mov $0x3f8, %dx
    out %al, %dx
    jmp 1b
2:  hlt
    jmp 2b

.code64
boot_long:
    mov $boot_high, %rax
    jmp *%rax
.text
boot_high:
    mov $SEL_KERNEL_DATA, %eax
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    lea boot_stack_top(%rip), %rsp
    xor %ebp, %ebp
    mov boot_magic(%rip), %edi
    mov boot_info_pointer(%rip), %esi
    call boot_main
1:  hlt
    jmp 1b

// Copied to a page below 1 MB; CS:IP = page:0 after SIPI. ESI is free. The two words behind
// `ap_params` are filled in by smp.c: page tables, and the address of the high entry point's struct.
.section .rodata
.global ap_trampoline, ap_trampoline_end, ap_params
.align 16
.code16
ap_trampoline:
    cli
    mov %cs, %ax
    mov %ax, %ds
    movzwl %ax, %ebx
    shl $4, %ebx                // linear address of this page
    lea (ap_gdt - ap_trampoline)(%ebx), %eax
    mov %eax, ap_gdtr - ap_trampoline + 2
    lgdtl ap_gdtr - ap_trampoline
    mov $1, %eax
    mov %eax, %cr0
    lea (ap_32 - ap_trampoline)(%ebx), %eax
    mov %eax, ap_far - ap_trampoline
    movw $0x08, ap_far - ap_trampoline + 4 // the core before has left 0x10 there
    ljmpl *(ap_far - ap_trampoline)
.code32
ap_32:
    mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %ss
    mov $CR4_PAE, %eax
    mov %eax, %cr4
    mov (ap_params - ap_trampoline)(%ebx), %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $(EFER_LME | EFER_NXE | EFER_SCE), %eax
    wrmsr
    mov $(CR0_PG | CR0_WP | CR0_PE | CR0_NE | CR0_ET | CR0_MP), %eax
    mov %eax, %cr0
    lea (ap_64 - ap_trampoline)(%ebx), %eax
    mov %eax, (ap_far - ap_trampoline)(%ebx)
    movw $0x10, (ap_far - ap_trampoline + 4)(%ebx)
    ljmp *(ap_far - ap_trampoline)(%ebx)
.code64
ap_64:
    mov (ap_params - ap_trampoline + 8)(%rbx), %rax
    jmp *%rax
.align 8
ap_far:
    .long 0
    .word 0
    .word 0
ap_gdtr:
    .word ap_gdt_end - ap_gdt - 1
    .long 0
.align 8
ap_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    // 0x08: 32-bit code
    .quad 0x00af9b000000ffff    // 0x10: 64-bit code
    .quad 0x00cf93000000ffff    // 0x18: data
ap_gdt_end:
.align 8
ap_params:
    .quad 0                     // page tables
    .quad 0                     // ap_high
ap_trampoline_end:

.text
.global ap_high
ap_high:
    mov $SEL_KERNEL_DATA, %eax
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov ap_stack(%rip), %rsp
    xor %ebp, %ebp
    call ap_main
1:  hlt
    jmp 1b

.section .rodata
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    // 0x08: 64-bit code, for the jump
    .quad 0x00af9b000000ffff    // 0x10: kernel code
    .quad 0x00cf93000000ffff    // 0x18: kernel data
boot_gdt_end:
boot_gdtr:
    .word boot_gdt_end - boot_gdt - 1
    .long PHYS(boot_gdt)
no_long_mode_text:
    .asciz "bulkhead: this CPU has no 64-bit mode; Bulkhead needs one with VT-x\r\n"

.data
.global boot_tsc
boot_tsc: .quad 0
boot_magic: .long 0
boot_info_pointer: .long 0
.global ap_stack
.align 8
ap_stack: .quad 0

.bss
.align 4096
.global boot_pml4, boot_pdpt
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pdpt_high: .skip 4096
boot_pd: .skip 4 * 4096
.skip 16384
boot_stack_top:

.section .note.GNU-stack, "", @progbits
