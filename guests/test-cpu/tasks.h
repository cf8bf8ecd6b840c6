// SPDX-License-Identifier: BSD-2-Clause
//
// Task switches by hardware, each in an excursion of its own: tasks.c describes the tasks in the
// tables that tasks.S loads, and judges what that has seen.

#pragma once

// Selectors behind those of layout.h, which mean the same in this table.
#define TASKS_MAIN   0x58 // TSS of the task that begins
#define TASKS_NEW    0x60
#define TASKS_THIRD  0x68
#define TASKS_END    0x70 // of none: loaded before 64-bit mode, which wants one of 32 bits
#define TASKS_GATE   0x78 // task gate to TASKS_NEW
#define TASKS_LDT    0x80
#define TASKS_ODD    0x88 // what a test likes
#define TASKS_ODD2   0x90
#define TASKS_USER   0x98 // code of ring 3
#define TASKS_ENTRIES 20

#define TASKS_VECTOR   0x40 // of software and external interrupts
#define TASKS_GIGABYTE 0x40000000
#define TASKS_SEEN     4    // places for struct tasks_seen
#define TASKS_SEEN_SIZE 112
#define TASKS_NONE     0xFFFF // vector: no exception
#define TASKS_EIP      32   // in a TSS

#ifndef __ASSEMBLER__
#include <stdint.h>

struct tss {
    uint32_t link;
    struct {
        uint32_t esp, ss;
    } inner[3];
    uint32_t cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
};
_Static_assert(sizeof(struct tss) == 104, "TSS of 32 bits");

// What tasks_look saw of the registers, or an exception's handler of what had come (`vector`; then
// `eip`, `cs` and `eflags` are those on its stack, and the general registers are 0).
struct tasks_seen {
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax; // esp: 16 below what it was
    uint32_t es, ds, eflags, eip, top;               // top: the word at esp
    uint32_t vector, error;
    uint32_t cs, ss, fs, gs, tr, ldtr;
    uint32_t cr0, cr2, cr3, dr6, dr7;
    uint32_t unused[2];
};
_Static_assert(sizeof(struct tasks_seen) == TASKS_SEEN_SIZE, "tasks.S has the size too");

extern struct tasks_seen tasks_seen[TASKS_SEEN];
extern uint32_t tasks_count;                 // of them
extern uint64_t tasks_gdt[TASKS_ENTRIES], tasks_idt[256];
extern uint32_t tasks_cr0, tasks_cr3, tasks_cr4; // CR0: bits to be set beside; CR4: all
extern uint32_t tasks_x2apic;
extern const void *tasks_action;
extern uint32_t tasks_word;                  // read by task_word by way of TASKS_GIGABYTE
extern uint32_t tasks_regs16[4];             // EAX, ESP, FS, EFLAGS of a task of 16 bits
extern struct tss tasks_main;                // the main task's

// For mode_excursion(): loads the tables and jumps to tasks_action in the main task.
extern const uint8_t tasks_run[];
// Actions of the main task. After a switch and back they look at the registers, and end.
extern const uint8_t tasks_call[], tasks_jmp[], tasks_gate[], tasks_int[], tasks_ud[], tasks_gp[],
    tasks_irq[], tasks_nmi[], tasks_iret[], tasks_debug[], tasks_user[], tasks_user_int[];
extern const uint8_t tasks_call_back[], tasks_int_back[], tasks_gp_at[], tasks_irq_end[],
    tasks_iret_at[];
// What another task does: looks and goes back; the same behind an error code; looks and ends; has
// the main task go on behind UD2; calls TASKS_THIRD in between; sends the first time another NMI,
// to itself; reads tasks_word first.
extern const uint8_t task_back[], task_error[], task_end[], task_ud[], task_nested[], task_nmi[],
    task_word[];
extern const uint8_t task_16[];
extern const uint8_t tasks_stubs[]; // exceptions, 16 bytes each
#endif
