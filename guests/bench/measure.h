// SPDX-License-Identifier: BSD-2-Clause
//
// The measured loops of the benchmark guest, in assembly so that nothing stands between the two
// RDTSCs but the operation and what it needs in registers.

#pragma once

#define BENCH_PORT   0xB0F      // byte-wide, claimed by the VMM's bench device
#define BENCH_MMIO   0xFED40000 // 32-bit register of the same device
#define BENCH_WINDOW 0xFED41000 // writing N takes page N of the text window from the VM's map
#define BENCH_ECHO   0xE0       // the test board's: a register,
#define BENCH_LINES  0x2000     // interrupt lines
#define BENCH_IRQ    10
#define TEXT_WINDOW  0xB8000
#define TEXT_PAGES   8
#define VEC_SELF_IPI 0xD0
#define VEC_XAPIC    0xD1
#define VEC_DEADLINE 0xD2
#define VEC_LEVEL     0xD3
#define VEC_IPI       0xD4
#define VEC_SHOOTDOWN 0xD5
#define SHOOTDOWN_VCPUS 4 // the one that asks, too
#define TIMER_AHEAD  8000 // ticks from the stamp before a timer is set to its deadline

#ifndef __ASSEMBLER__
#include <stdint.h>

// Runs `rounds` (at least 1) times; samples[i] gets bits 31:0 of the difference of the two stamps.
typedef void measure_loop(uint32_t *samples, uint64_t rounds);

measure_loop measure_hypercall, measure_cpuid_1, measure_cpuid_7, measure_cpuid_d_1;
measure_loop measure_out, measure_mmio, measure_tpr, measure_eoi, measure_self_ipi;
measure_loop measure_vm_switch;

// Samples are ticks from the deadline to the first instruction of measure_timer_handler. The guest
// halts until then, or spins. The timer's vector must be VEC_DEADLINE.
measure_loop measure_hlt_timer, measure_timer_irq;

// The APIC must be in xAPIC mode. A round is an IPI of VEC_XAPIC to itself, a sample the write of
// EOI in its handler.
measure_loop measure_xapic_eoi;

// The read of a page of the text window, which was taken from the map just before.
measure_loop measure_ept_map;

// BENCH_IRQ's line goes up, its handler takes it down and ends the interrupt, at the I/O APIC too.
measure_loop measure_level_irq;

// Processor 1 must be at measure_target_running, or (measure_ipi_halted) measure_target_halted: a
// sample ends when its handler has counted, as the sender sees it. measure_shootdown: likewise with
// all others, each of which invalidates a page.
measure_loop measure_ipi_running, measure_ipi_halted, measure_shootdown;
// Processor 1, at measure_target_answering, spins with PAUSE, as this one does: until its answer.
measure_loop measure_spin_wait;
void measure_target_running(unsigned int id);
void measure_target_halted(unsigned int id);
void measure_target_answering(unsigned int id);

// One round between two magic breakpoints of Bochs (XCHG BX,BX).
void measure_traced(measure_loop *loop, uint32_t *sample);

// Yields `rounds` (at least 1) times, using the FPU in between.
void measure_yield(uint64_t rounds);

// What measure_vm_switch and measure_yield do to XMM0: they add XMM1 in each round.
void measure_fpu_load(uint64_t start, uint64_t step);
uint64_t measure_fpu_sum(void);

// Handler of VEC_SELF_IPI: counts in R15 and ends the interrupt. To be set raw.
extern const uint8_t measure_self_ipi_handler[];

// Handlers of VEC_DEADLINE and VEC_XAPIC: count in R14 and end the interrupt. To be set raw.
extern const uint8_t measure_timer_handler[], measure_xapic_handler[];

// Handler of VEC_LEVEL: counts in R15. Of VEC_IPI and VEC_SHOOTDOWN, on other processors.
extern const uint8_t measure_level_handler[];
extern const uint8_t measure_ipi_handler[], measure_shootdown_handler[];
#endif
