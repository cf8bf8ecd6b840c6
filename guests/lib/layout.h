// SPDX-License-Identifier: BSD-2-Clause
//
// Selectors, vectors and sizes that the assembly and the C of a guest share. Constants only: this
// header is read by the assembler too.

#pragma once

// Selectors of the guest's GDT. SYSCALL wants data behind code, SYSRET wants 32-bit code, data,
// 64-bit code in this order ("SYSCALL and SYSRET" in the instruction set reference).
#define SEL_CODE64      0x08
#define SEL_DATA        0x10
#define SEL_USER_CODE32 0x18
#define SEL_USER_DATA   0x20
#define SEL_USER_CODE64 0x28
#define SEL_CODE32      0x30
#define SEL_CODE16      0x38
#define SEL_TSS         0x40 // as Linux's
#define SEL_DATA16      0x50
#define GDT_ENTRIES     11

// Stack sizes in bytes.
#define BOOT_STACK_SIZE 0x10000
#define TRAP_STACK_SIZE 0x4000
#define AP_STACK_SIZE   0x1000

// Processors that smp.c can start; their APIC ids are below this.
#define SMP_MAX 16

// struct trap_frame: its size, and the offset of the interrupted code segment and stack pointer.
#define TRAP_FRAME_SIZE 176
#define TRAP_FRAME_CS   144
#define TRAP_FRAME_RSP  160

// Vectors that the library uses. The two PICs take 0x20 to 0x2F.
#define VEC_PIC      0x20
#define VEC_TIMER    0xE0
#define VEC_SPURIOUS 0xFF
