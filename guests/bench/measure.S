// SPDX-License-Identifier: BSD-2-Clause
//
// The measured loops. Registers: R12 samples, R13 rounds left, R8D the first stamp. Only EAX of
// each stamp is used, because paths are shorter than 2^32 ticks. RDTSC destroys EAX and EDX, so
// what the operation wants there is loaded between the stamps and is part of the figure.

#include "guests/bench/measure.h"
#include "guests/lib/hypercall.h"

#define X2APIC_TPR      0x808
#define X2APIC_EOI      0x80B
#define X2APIC_ICR      0x830
#define X2APIC_SELF_IPI 0x83F
#define TSC_DEADLINE    0x6E0
#define XAPIC           0xFEE00000
#define XAPIC_EOI       0x0B0
#define XAPIC_ICR       0x300
#define ICR_ASSERT      0x4000
#define ICR_SELF        0x44000 // asserted, to itself
#define ICR_OTHERS      0xC4000
#define HALT_TICKS      20000 // for another processor to get into HLT

    .macro  measure name
    .globl  measure_\name
    .balign 64
measure_\name:
    push    %rbx
    push    %r12
    push    %r13
    push    %r15
    mov     %rdi, %r12
    mov     %rsi, %r13
    xor     %r15d, %r15d
1:  prepare_\name
    rdtsc
    mov     %eax, %r8d
    operate_\name
    rdtsc
    sub     %r8d, %eax
    mov     %eax, (%r12)
    add     $4, %r12
    dec     %r13
    jnz     1b
    pop     %r15
    pop     %r13
    pop     %r12
    pop     %rbx
    ret
    .endm

    .macro  prepare_hypercall
    .endm
    .macro  operate_hypercall
    mov     $HYPERCALL_NULL, %eax
    HYPERCALL
    .endm

    .macro  prepare_cpuid_1
    xor     %ecx, %ecx
    .endm
    .macro  operate_cpuid_1
    mov     $1, %eax
    cpuid
    .endm

    .macro  prepare_cpuid_7
    xor     %ecx, %ecx
    .endm
    .macro  operate_cpuid_7
    mov     $7, %eax
    cpuid
    .endm

    .macro  prepare_cpuid_d_1
    mov     $1, %ecx
    .endm
    .macro  operate_cpuid_d_1
    mov     $0xD, %eax
    cpuid
    .endm

    .macro  prepare_out
    .endm
    .macro  operate_out
    mov     $BENCH_PORT, %edx
    out     %al, %dx
    .endm

    .macro  prepare_mmio
    mov     $BENCH_MMIO, %ebx
    .endm
    .macro  operate_mmio
    mov     (%rbx), %eax
    .endm

    .macro  prepare_tpr
    mov     $X2APIC_TPR, %ecx
    .endm
    .macro  operate_tpr
    xor     %eax, %eax
    xor     %edx, %edx
    wrmsr
    .endm

    .macro  prepare_eoi
    mov     $X2APIC_EOI, %ecx
    .endm
    .macro  operate_eoi
    xor     %eax, %eax
    xor     %edx, %edx
    wrmsr
    .endm

    // The handler counts R15 up; the operation ends when its interrupt has been handled.
    .macro  prepare_self_ipi
    mov     $X2APIC_SELF_IPI, %ecx
    lea     1(%r15), %rbx
    .endm
    .macro  operate_self_ipi
    mov     $VEC_SELF_IPI, %eax
    xor     %edx, %edx
    wrmsr
2:  cmp     %rbx, %r15
    jne     2b
    .endm

    .macro  prepare_vm_switch
    paddq   %xmm1, %xmm0
    .endm
    .macro  operate_vm_switch
    mov     $HYPERCALL_YIELD, %eax
    HYPERCALL
    .endm

    // The INTR line of an ISA interrupt goes up; its handler takes it down and ends it.
    .macro  prepare_level_irq
    lea     1(%r15), %rbx
    .endm
    .macro  operate_level_irq
    mov     $(BENCH_LINES + BENCH_IRQ), %edx
    mov     $1, %eax
    out     %al, %dx
2:  cmp     %rbx, %r15
    jne     2b
    .endm

    // What the others have counted, or answered, is EBX at the end.
    .macro  prepare_ipi_running
    mov     $X2APIC_ICR, %ecx
    mov     measure_count(%rip), %ebx
    inc     %ebx
    .endm
    .macro  operate_ipi_running
    mov     $(ICR_ASSERT | VEC_IPI), %eax
    mov     $1, %edx
    wrmsr
2:  cmp     %ebx, measure_count(%rip)
    jne     2b
    .endm

    .macro  prepare_ipi_halted
    prepare_ipi_running
    rdtsc
    mov     %eax, %r9d
3:  rdtsc
    sub     %r9d, %eax
    cmp     $HALT_TICKS, %eax
    jb      3b
    .endm
    .macro  operate_ipi_halted
    operate_ipi_running
    .endm

    .macro  prepare_shootdown
    mov     $X2APIC_ICR, %ecx
    mov     measure_count(%rip), %ebx
    add     $(SHOOTDOWN_VCPUS - 1), %ebx
    .endm
    .macro  operate_shootdown
    mov     $(ICR_OTHERS | VEC_SHOOTDOWN), %eax
    xor     %edx, %edx
    wrmsr
    invlpg  measure_count(%rip)
2:  cmp     %ebx, measure_count(%rip)
    jne     2b
    .endm

    .macro  prepare_spin_wait
    mov     measure_count(%rip), %ebx
    inc     %ebx
    .endm
    .macro  operate_spin_wait
    mov     %ebx, measure_asked(%rip)
2:  pause
    cmp     %ebx, measure_count(%rip)
    jne     2b
    .endm

    .text
    measure hypercall
    measure cpuid_1
    measure cpuid_7
    measure cpuid_d_1
    measure out
    measure mmio
    measure tpr
    measure eoi
    measure self_ipi
    measure vm_switch
    measure level_irq
    measure ipi_running
    measure ipi_halted
    measure shootdown
    measure spin_wait

    // It may clobber EAX, ECX and EDX: it only ever interrupts measure_self_ipi at its wait.
    .globl measure_self_ipi_handler
    .balign 64
measure_self_ipi_handler:
    mov     $X2APIC_EOI, %ecx
    xor     %eax, %eax
    xor     %edx, %edx
    wrmsr
    inc     %r15
    iretq

    // Likewise, of measure_level_irq.
    .globl measure_level_handler
    .balign 64
measure_level_handler:
    mov     $(BENCH_LINES + BENCH_IRQ), %edx
    xor     %eax, %eax
    out     %al, %dx
    mov     $X2APIC_EOI, %ecx
    xor     %edx, %edx
    wrmsr
    inc     %r15
    iretq

    // What other processors do. They keep nothing in registers.
    .globl measure_target_running
    .balign 64
measure_target_running:
    sti
1:  jmp     1b

    .globl measure_target_halted
    .balign 64
measure_target_halted:
1:  sti
    hlt
    jmp     1b

    .globl measure_target_answering
    .balign 64
measure_target_answering:
1:  pause
    mov     measure_asked(%rip), %eax
    mov     %eax, measure_count(%rip)
    jmp     1b

    .globl measure_shootdown_handler
    .balign 64
measure_shootdown_handler:
    invlpg  measure_count(%rip)
    .globl measure_ipi_handler
measure_ipi_handler:
    lock incl measure_count(%rip)
    mov     $X2APIC_EOI, %ecx
    xor     %eax, %eax
    xor     %edx, %edx
    wrmsr
    iretq

    .bss
    .balign 64
measure_count:
    .long   0
    .balign 64
measure_asked:
    .long   0
    .text

    // Loops that are measured in another place than from RDTSC to RDTSC. R12 and R13 as above.
    .macro  enter_loop
    push    %rbx
    push    %r12
    push    %r13
    push    %r14
    mov     %rdi, %r12
    mov     %rsi, %r13
    xor     %r14d, %r14d
    .endm
    .macro  leave_loop
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %rbx
    ret
    .endm

    // R8D: low half of the deadline; R9D: that of the handler's stamp. Interrupts are off until the
    // guest waits, so that none comes before it does.
    .macro  measure_timer name, wait:vararg
    .globl  measure_\name
    .balign 64
measure_\name:
    enter_loop
1:  lea     1(%r14), %rbx
    cli
    rdtsc
    shl     $32, %rdx
    or      %rdx, %rax
    add     $TIMER_AHEAD, %rax
    mov     %eax, %r8d
    mov     %rax, %rdx
    shr     $32, %rdx
    mov     $TSC_DEADLINE, %ecx
    wrmsr
    sti
2:  \wait
    cmp     %rbx, %r14
    jne     2b
    sub     %r8d, %r9d
    mov     %r9d, (%r12)
    add     $4, %r12
    dec     %r13
    jnz     1b
    leave_loop
    .endm

    measure_timer hlt_timer, hlt
    measure_timer timer_irq, nop

    .globl measure_timer_handler
    .balign 64
measure_timer_handler:
    rdtsc
    mov     %eax, %r9d
    mov     $X2APIC_EOI, %ecx
    xor     %eax, %eax
    xor     %edx, %edx
    wrmsr
    inc     %r14
    iretq

    .globl measure_xapic_eoi
    .balign 64
measure_xapic_eoi:
    enter_loop
    mov     $XAPIC, %ebx
1:  lea     1(%r14), %rcx
    movl    $(ICR_SELF | VEC_XAPIC), XAPIC_ICR(%rbx)
2:  cmp     %rcx, %r14
    jne     2b
    mov     %r9d, (%r12)
    add     $4, %r12
    dec     %r13
    jnz     1b
    leave_loop

    .globl measure_xapic_handler
    .balign 64
measure_xapic_handler:
    rdtsc
    mov     %eax, %r8d
    movl    $0, XAPIC_EOI(%rbx)
    rdtsc
    sub     %r8d, %eax
    mov     %eax, %r9d
    inc     %r14
    iretq

    // The pages in turn; first (and in a traced round only) one in the middle, for what is mapped
    // above it is looked at too.
    .globl measure_ept_map
    .balign 64
measure_ept_map:
    enter_loop
    mov     $(TEXT_PAGES / 2 - 1), %r14d
    mov     $BENCH_WINDOW, %r10d
1:  mov     %r14d, (%r10)
    mov     %r14d, %ebx
    shl     $12, %ebx
    add     $TEXT_WINDOW, %ebx
    rdtsc
    mov     %eax, %r8d
    mov     (%rbx), %ecx
    rdtsc
    sub     %r8d, %eax
    mov     %eax, (%r12)
    add     $4, %r12
    inc     %r14d
    and     $(TEXT_PAGES - 1), %r14d
    dec     %r13
    jnz     1b
    leave_loop

    .globl measure_traced
measure_traced:
    push    %rbx
    mov     %rdi, %rax
    mov     %rsi, %rdi
    mov     $1, %esi
    xchg    %bx, %bx
    call    *%rax
    xchg    %bx, %bx
    pop     %rbx
    ret

    .globl measure_yield
    .balign 64
measure_yield:
1:  paddq   %xmm1, %xmm0
    mov     $HYPERCALL_YIELD, %eax
    HYPERCALL
    dec     %rdi
    jnz     1b
    ret

    .globl measure_fpu_load
measure_fpu_load:
    movq    %rdi, %xmm0
    movq    %rsi, %xmm1
    ret

    .globl measure_fpu_sum
measure_fpu_sum:
    movq    %xmm0, %rax
    ret

    .section .note.GNU-stack, "", @progbits
