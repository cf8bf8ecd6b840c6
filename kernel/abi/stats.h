// SPDX-License-Identifier: BSD-2-Clause
// Counters that the kernel keeps, as system_stats() and system_info() give them.
#pragma once
#include <stdint.h>

// Exits of one vCPU by kind, always counted. name, text
#define EXIT_CLASSES(X)                                                                            \
    X(EXTINT, "host interrupt") X(TIMER, "safety timer") X(CPUID, "cpuid") X(RDMSR, "rdmsr")       \
    X(WRMSR, "wrmsr") X(CR, "control register") X(XSETBV, "xsetbv") X(HLT, "hlt")                  \
    X(WINDOW, "interrupt window") X(APIC, "local apic") X(EOI, "eoi")                              \
    X(PIO, "port i/o") X(MMIO, "mmio") X(HYPERCALL, "hypercall") X(EXCEPTION, "exception")         \
    X(DR, "debug register") X(OTHER, "other")

enum exit_class {
#define X(name, text) EXIT_##name,
    EXIT_CLASSES(X)
#undef X
    EXIT_CLASS_COUNT
};

struct vcpu_stats {
    uint32_t process;  // id of the VMM's process object
    uint32_t core;
    uint64_t now;      // TSC, as of which run_tsc is
    uint64_t exits[EXIT_CLASS_COUNT];
    uint64_t injected; // interrupts and exceptions given to the guest
    uint64_t run_tsc;  // TSC ticks of its scheduling contexts: guest, VMM and kernel for them
    uint64_t halt_tsc; // TSC ticks it was blocked in HLT
    uint64_t halted;   // 1: it is in HLT with interrupts off
};

struct system_info {
    uint64_t frames_total; // usable 4 KB frames at boot
    uint64_t frames_free;
    uint64_t objects;
    uint32_t cores;
    uint32_t reserved;
    uint64_t zeroing_tsc;  // TSC ticks that all zeroing of memory has taken
    uint64_t time_apart;   // mask of cores whose TSC is not core 0's: no VM moves to or from one
    uint64_t idle_tsc[64]; // per core
    uint64_t irqs_off[64]; // likewise: the longest time without interrupts, TSC ticks
};
