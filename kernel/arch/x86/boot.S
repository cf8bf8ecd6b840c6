// SPDX-License-Identifier: BSD-2-Clause
// From GRUB (32-bit protected mode, paging off) to C in the high half; and the way up for the other
// cores. Boot page tables: identity for the first 4 GB, the same again at the direct map and, for
// the first 1 GB, at the kernel's address; paging.c replaces them.
#include "kernel/arch/x86/regs.h"

#define VMA 0xffffffff80000000
#define SEL_BOOT_CODE 0x08
#define PHYS(x) ((x) - VMA)

.section .multiboot2, "a"
.align 8
header:
    .long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + (header_end - header))
    .word 6, 0                  // modules on page boundaries
    .long 8
    .word 5, 1                  // a screen, if there is one: without this, UEFI's GRUB leaves none
    .long 20, 0, 0, 0, 0        // of any size; the last aligns the next tag
    .word 0, 0                  // end
    .long 8
header_end:

.section .text.boot, "ax"
.code32
.global boot_entry
boot_entry:
    cld
    mov %eax, %edi              // boot_main's arguments: nothing up to there needs them
    mov %ebx, %esi
    rdtsc
    mov %eax, PHYS(boot_tsc)
    mov %edx, PHYS(boot_tsc) + 4
    jmp enter_long_mode         // it is there: grub.cfg has asked

// The other cores come here from the trampoline.
ap_32:
    mov $SEL_KERNEL_DATA, %eax
    mov %eax, %ds
    // Only the core that is waited for goes on, and takes its id away: one that comes too late
    // would come up as another, on its stack. Its id it reads as apic_init_cpu() will.
    mov $MSR_APIC_BASE, %ecx
    rdmsr
    or PHYS(ap_apic_base), %eax
    wrmsr
    test $0x400, %eax           // x2APIC mode
    jz 1f
    mov $(MSR_X2APIC + 2), %ecx
    rdmsr
    jmp 2f
1:  and $0xfffff000, %eax
    mov 0x20(%eax), %eax
    shr $24, %eax
2:  mov $-1, %edx
    lock cmpxchg %edx, PHYS(ap_apic_id)
    je enter_long_mode
1:  cli
    hlt
    jmp 1b
enter_long_mode:
    mov $PHYS(boot_pml4), %eax
    mov %eax, %cr3
    mov $CR4_PAE, %eax
    mov %eax, %cr4
    mov $MSR_EFER, %ecx
    rdmsr
    or $(EFER_LME | EFER_NXE), %eax
    wrmsr
    mov $(CR0_PG | CR0_WP | CR0_PE | CR0_NE | CR0_ET | CR0_MP), %eax
    mov %eax, %cr0
    lgdt PHYS(boot_gdtr)
    ljmp $SEL_KERNEL_CODE, $PHYS(boot_long)

.code64
boot_long:
    mov $boot_high, %rax
    jmp *%rax
.text
boot_high:
    mov $SEL_KERNEL_DATA, %eax
    mov %eax, %ss
    xor %eax, %eax
    .irp reg, ds, es, fs, gs
    mov %eax, %\reg
    .endr
    mov boot_stack(%rip), %rsp
    xor %ebp, %ebp
    call *boot_next(%rip)       // does not return

// Copied to a page below 1 MB; CS:IP = page:0 after SIPI. The GDT stays where it is: at 1 MB and
// above, where real mode does not reach, but descriptor loads do.
.section .rodata
.global ap_trampoline, ap_trampoline_end
.align 16
.code16
ap_trampoline:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl boot_gdtr - ap_trampoline
    mov $CR0_PE, %eax
    mov %eax, %cr0
    ljmpl $SEL_BOOT_CODE, $PHYS(ap_32)
boot_gdtr:
    .word boot_gdt_end - boot_gdt - 1
    .long PHYS(boot_gdt)
ap_trampoline_end:

.align 8
boot_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    // SEL_BOOT_CODE: 32 bits
    .quad 0x00af9b000000ffff    // SEL_KERNEL_CODE
    .quad 0x00cf93000000ffff    // SEL_KERNEL_DATA
boot_gdt_end:

.data
.global boot_tsc, boot_stack, boot_next, ap_apic_id, ap_apic_base
boot_tsc: .quad 0
boot_stack: .quad boot_stack_top // smp.c sets both for each of the other cores
boot_next: .quad boot_main
ap_apic_id: .long -1         // of the core that is waited for
ap_apic_base: .long 0        // what IA32_APIC_BASE is to have set

.align 4096
.global boot_pml4
boot_pml4:
    .quad PHYS(boot_pdpt) + 3
    .skip 255 * 8
    .quad PHYS(boot_pdpt) + 3
    .skip 254 * 8
    .quad PHYS(boot_pdpt_high) + 3
boot_pdpt:
    .quad PHYS(boot_pd) + 3, PHYS(boot_pd) + 0x1003, PHYS(boot_pd) + 0x2003, PHYS(boot_pd) + 0x3003
    .skip 508 * 8
boot_pdpt_high:
    .skip 510 * 8
    .quad PHYS(boot_pd) + 3, 0
boot_pd: // four directories of 2 MB pages
address = 0
.rept 2048
    .quad address + 0x83
    address = address + 0x200000
.endr

.bss
.align 16
.skip 16384
boot_stack_top:

.section .note.GNU-stack, "", @progbits
