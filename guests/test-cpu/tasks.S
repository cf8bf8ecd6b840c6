// SPDX-License-Identifier: BSD-2-Clause
//
// The 32-bit side of the task switches: the excursion, what the tasks do, and handlers of their
// exceptions, which end it. What is seen goes to tasks_seen[].

#include "guests/lib/layout.h"
#include "guests/test-cpu/tasks.h"

#define CR0_TS     0x8
#define CR0_PG     0x80000000
#define EFLAGS_NT  0x4000
#define DR7_ALL    0x7FF // G0-3, L0-3, GE, LE: with DR0-3 as they are, nothing is there
#define CR2_VALUE  0x12345678
#define ICR        0xFEE00300
#define ICR_SELF   0x44000
#define ICR_NMI_SELF 0x44400
#define X2APIC_ICR 0x830
#define X2APIC_SELF_IPI 0x83F
#define ERROR_CODES 0x60227D00

// QEMU looks behind jumps only.
.macro look_for_irqs
    .rept   32
    jmp     9f
9:
    .endr
.endm

    .section .bss
    .balign 8
tasks_esp:      .skip 8
tasks_old_idtr: .skip 16

    .data
    .balign 8
tasks_gdtr: .word TASKS_ENTRIES * 8 - 1
    .long   tasks_gdt
    .balign 8
tasks_idtr: .word 256 * 8 - 1
    .long   tasks_idt

    .text
    .code32
    .globl tasks_run
tasks_run:
    mov     %esp, tasks_esp
    sidt    tasks_old_idtr
    lgdt    tasks_gdtr
    lidt    tasks_idtr
    mov     tasks_cr4, %eax
    mov     %eax, %cr4
    mov     tasks_cr3, %eax
    mov     %eax, %cr3
    mov     %cr0, %eax
    and     $~CR0_TS, %eax
    or      tasks_cr0, %eax
    mov     %eax, %cr0
    mov     $TASKS_MAIN, %eax
    ltr     %ax
    mov     $SEL_DATA, %eax
    mov     %eax, %fs
    mov     %eax, %gs
    mov     $0xA0A0A0A0, %eax
    mov     $0xC1C1C1C1, %ecx
    mov     $0xD2D2D2D2, %edx
    mov     $0xB3B3B3B3, %ebx
    mov     $0xB5B5B5B5, %ebp
    mov     $0x56565656, %esi
    mov     $0xD7D7D7D7, %edi
    jmp     *tasks_action

    // From ring 0, whatever the task is and has left.
tasks_end:
    mov     $SEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     tasks_esp, %esp
    pushl   $2
    popf
    mov     %cr0, %eax
    and     $~CR0_PG, %eax
    mov     %eax, %cr0
    clts
    mov     $0x400, %eax
    mov     %eax, %dr7
    mov     $0xFFFF0FF0, %eax
    mov     %eax, %dr6
    xor     %eax, %eax
    lldt    %ax
    mov     %eax, %fs
    mov     %eax, %gs
    mov     $TASKS_END, %eax
    ltr     %ax
    lidt    tasks_old_idtr
    lgdt    boot_gdt_pointer
    ret

    // Keeps all registers. The stack is flat.
tasks_look:
    pushf
    push    %ds
    push    %es
    pusha
    cld
    mov     $SEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    call    next_place
    mov     %esp, %esi
    mov     $13, %ecx
    rep movsl
    movl    $TASKS_NONE, (%edi)
    mov     %cs, 8(%edi)
    call    look_at_rest
    popa
    pop     %es
    pop     %ds
    popf
    ret

    // EDI: where the next struct tasks_seen is.
next_place:
    mov     tasks_count, %edi
    incl    tasks_count
    and     $TASKS_SEEN - 1, %edi
    imul    $TASKS_SEEN_SIZE, %edi
    add     $tasks_seen, %edi
    ret

    // EDI: its field `vector`.
look_at_rest:
    mov     %ss, 12(%edi)
    mov     %fs, 16(%edi)
    mov     %gs, 20(%edi)
    str     24(%edi)
    sldt    28(%edi)
    mov     %cr0, %eax
    mov     %eax, 32(%edi)
    mov     %cr2, %eax
    mov     %eax, 36(%edi)
    mov     %cr3, %eax
    mov     %eax, 40(%edi)
    mov     %dr6, %eax
    mov     %eax, 44(%edi)
    mov     %dr7, %eax
    mov     %eax, 48(%edi)
    ret

    .balign 16
    .globl tasks_stubs
tasks_stubs:
    .set vector, 0
    .rept 32
    .balign 16
    .if ((ERROR_CODES >> vector) & 1) == 0
    pushl   $0
    .endif
    pushl   $vector
    jmp     tasks_trap
    .set vector, vector + 1
    .endr

tasks_trap:
    mov     $SEL_DATA, %eax
    mov     %eax, %ds
    mov     %eax, %es
    call    next_place
    add     $52, %edi
    pop     (%edi)              // vector
    pop     4(%edi)             // error code
    pop     -8(%edi)            // EIP
    pop     8(%edi)             // CS
    pop     -12(%edi)           // EFLAGS
    call    look_at_rest
    jmp     tasks_end

    // ---- what the main task does ----
    .globl tasks_call, tasks_call_back
tasks_call:
    lcall   $TASKS_NEW, $0
tasks_call_back:
    call    tasks_look
    jmp     tasks_end

    .globl tasks_jmp
tasks_jmp:
    ljmp    $TASKS_NEW, $0
    call    tasks_look
    jmp     tasks_end

    .globl tasks_gate
tasks_gate:
    lcall   $TASKS_GATE, $0
    call    tasks_look
    jmp     tasks_end

    .globl tasks_int, tasks_int_back
tasks_int:
    int     $TASKS_VECTOR
tasks_int_back:
    call    tasks_look
    jmp     tasks_end

    .globl tasks_ud
tasks_ud:
    ud2
    call    tasks_look
    jmp     tasks_end

    .globl tasks_gp, tasks_gp_at
tasks_gp:
    mov     $0xFFF8, %eax
tasks_gp_at:
    mov     %eax, %es

    .globl tasks_irq, tasks_irq_end
tasks_irq:
    sti
    mov     $TASKS_VECTOR, %eax
    xor     %edx, %edx
    cmpl    $0, tasks_x2apic
    je      1f
    mov     $X2APIC_SELF_IPI, %ecx
    wrmsr
    jmp     2f
1:  or      $ICR_SELF, %eax
    mov     %eax, ICR
2:  look_for_irqs
tasks_irq_end:
    cli
    call    tasks_look
    jmp     tasks_end

    .globl tasks_nmi
tasks_nmi:
    call    send_nmi
    call    tasks_look
    jmp     tasks_end

send_nmi:
    mov     $ICR_NMI_SELF, %eax
    cmpl    $0, tasks_x2apic
    je      1f
    xor     %edx, %edx
    mov     $X2APIC_ICR, %ecx
    wrmsr
    jmp     2f
1:  mov     %eax, ICR
2:  look_for_irqs
    ret

    .globl tasks_iret, tasks_iret_at
tasks_iret:
    pushf
    orl     $EFLAGS_NT, (%esp)
    popf
tasks_iret_at:
    iret
    call    tasks_look
    jmp     tasks_end

    .globl tasks_debug
tasks_debug:
    mov     $DR7_ALL, %eax
    mov     %eax, %dr7
    mov     $CR2_VALUE, %eax
    mov     %eax, %cr2
    lcall   $TASKS_NEW, $0
    call    tasks_look
    jmp     tasks_end

    // In ring 3, with the stack as it is.
    .globl tasks_user, tasks_user_int
tasks_user:
    mov     %esp, %eax
    pushl   $SEL_USER_DATA | 3
    push    %eax
    pushl   $2
    pushl   $TASKS_USER | 3
    pushl   $tasks_user_int
    iret
tasks_user_int:
    int     $TASKS_VECTOR

    // ---- what others do ----
    .globl task_back
task_back:
    call    tasks_look
    iret
    jmp     task_back

    .globl task_error
task_error:
    call    tasks_look
    add     $4, %esp
    jmp     tasks_end

    .globl task_end
task_end:
    call    tasks_look
    jmp     tasks_end

    .globl task_ud
task_ud:
    call    tasks_look
    addl    $2, tasks_main + TASKS_EIP
    iret
    jmp     task_ud

    .globl task_nested
task_nested:
    lcall   $TASKS_THIRD, $0
    call    tasks_look
    iret

    .globl task_nmi
task_nmi:
    call    tasks_look
    cmpl    $1, tasks_count
    jne     1f
    call    send_nmi            // not now: when this one is over
1:  iret
    jmp     task_nmi

    .globl task_word
task_word:
    mov     tasks_word + TASKS_GIGABYTE, %eax
    call    tasks_look
    iret
    jmp     task_word

    // In a segment that begins here, with a stack that is not flat.
    .globl task_16
task_16:
    mov     %eax, tasks_regs16
    mov     %esp, tasks_regs16 + 4
    mov     %fs, tasks_regs16 + 8
    pushf
    pop     tasks_regs16 + 12
    iret

    .section .note.GNU-stack, "", @progbits
