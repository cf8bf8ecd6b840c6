// SPDX-License-Identifier: BSD-2-Clause
// In front of kernel/arch/x86/x86.h where cr3.c is compiled for the fake architecture: CR3 is the
// simulated core's.
#pragma once
#include "kernel/core/arch.h"
#include "tests/unit/arch/hardware.h"

#define features ((struct { bool pcid; }){ hw_options.pcids })
#define CR3_NO_FLUSH HW_CR3_KEEP

void out8(uint16_t port, uint8_t v);
void screen_init(const struct boot_screen *s);
void screen_at(char *where);
void screen_put(const char *text, size_t bytes);

enum status cr3_make(struct space *s);
void cr3_unmake(struct space *s);
void cr3_use(struct cpu *cpu, struct space *s);
void cr3_flush(struct space *s);
extern uint64_t cr3_kernel;

// Whoever flushes must find who walks the tables: by then the core says that it is in the space.
static inline void write_cr3(uint64_t value)
{
    const uint64_t frame = 0x000ffffffffff000;
    const struct cpu *cpu = this_cpu();
    if (((value ^ cr3_kernel) & frame) &&
        (!cpu->space || ((value ^ cpu->space->arch.root.v) & frame)))
        panic("core %u loads tables of a space that it is not in", cpu->id);
    hw_mov_cr3(cpu->id, value);
}

static inline void cr3_leave(void) { write_cr3(cr3_kernel); }
