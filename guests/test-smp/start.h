// SPDX-License-Identifier: BSD-2-Clause
//
// What start.c and start.S share: a page of code that a start-up IPI leads to, which writes down
// the state that it finds and then, in real mode or from there in protected mode, counts.

#pragma once

#define PROBE_PAGE  0x9000 // start.S is copied to here
#define PROBE_MARK  0x7F00 // what lies here is read by each data segment
#define PROBE_XSAVE 0x10   // or-ed to how it goes on: there is an XCR0

#define PROBE_HALT 0 // how it goes on
#define PROBE_REAL 1
#define PROBE_16   2
#define PROBE_32   3

#ifndef __ASSEMBLER__
#include <stdint.h>

// In start.S, in this order.
struct probe {
    uint32_t how;
    volatile uint32_t done, count;
    uint32_t eax, ebx, ecx, edx, esi, edi, ebp, esp;
    uint32_t flags, cs, ds, es, ss, fs, gs;
    uint32_t mark[5]; // through DS, ES, SS, FS, GS
    uint32_t cr0, cr2, cr3, cr4, dr[4], dr6, dr7;
    uint32_t efer[2], fs_base[2], gs_base[2], apic_base[2], xcr0;
    uint16_t gdtr[4], idtr[4]; // limit, base
    uint32_t pad[2];           // what follows is at a multiple of 16
    uint8_t fpu[512];          // FXSAVE
};

extern const uint8_t probe_start[], probe_data[], probe_end[];
#endif
