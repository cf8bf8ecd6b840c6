// SPDX-License-Identifier: BSD-2-Clause
// The privileged instructions, one wrapper each.
#pragma once
#include "kernel/lib/types.h"

static inline uint64_t rdtsc(void)
{
    uint64_t v; // put together here: the compiler would clear upper halves that are clear already
    __asm__ volatile("rdtsc; shl $32, %%rdx; or %%rdx, %0" : "=a"(v) : : "rdx", "cc");
    return v;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint64_t v;
    __asm__ volatile("rdmsr; shl $32, %%rdx; or %%rdx, %0" : "=a"(v) : "c"(msr) : "rdx", "cc");
    return v;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
                     : "a"(leaf), "c"(sub));
}

// One of EAX, EBX, ECX, EDX; 0: there is no such leaf.
static inline uint32_t cpuid_word(uint32_t leaf, uint32_t sub, unsigned word)
{
    uint32_t max[4], r[4];
    cpuid(leaf & 0x80000000, 0, max);
    cpuid(leaf, sub, r);
    return leaf <= max[0] ? r[word] : 0;
}

#define PORT_ACCESSORS(bits, letter)                                                               \
    static inline void out##bits(uint16_t port, uint##bits##_t v)                                  \
    {                                                                                              \
        __asm__ volatile("out" #letter " %0, %1" : : "a"(v), "Nd"(port) : "memory");               \
    }                                                                                              \
    static inline uint##bits##_t in##bits(uint16_t port)                                           \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        __asm__ volatile("in" #letter " %1, %0" : "=a"(v) : "Nd"(port) : "memory");                \
        return v;                                                                                  \
    }
PORT_ACCESSORS(8, b)
PORT_ACCESSORS(16, w)
PORT_ACCESSORS(32, l)

static inline void invlpg(uint64_t va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }

#define REGISTER_ACCESSORS(name)                                                                   \
    static inline uint64_t read_##name(void)                                                       \
    {                                                                                              \
        uint64_t v;                                                                                \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(v));                                         \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_##name(uint64_t v)                                                    \
    {                                                                                              \
        __asm__ volatile("mov %0, %%" #name : : "r"(v) : "memory");                                \
    }
REGISTER_ACCESSORS(cr0)
REGISTER_ACCESSORS(cr2)
REGISTER_ACCESSORS(cr3)
REGISTER_ACCESSORS(cr4)
REGISTER_ACCESSORS(dr0)
REGISTER_ACCESSORS(dr1)
REGISTER_ACCESSORS(dr2)
REGISTER_ACCESSORS(dr3)
REGISTER_ACCESSORS(dr6)
REGISTER_ACCESSORS(dr7)

static inline void clts(void) { __asm__ volatile("clts" : : : "memory"); }

static inline void xsetbv(uint64_t v)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

static inline uint64_t xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low | (uint64_t)high << 32;
}

struct table_register { uint16_t limit; uint64_t base; } __attribute__((packed));

NORETURN static inline void halt_for_good(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

// One instruction in which pending host interrupts are taken; STI's shadow covers the NOP.
static inline void irq_window(void) { __asm__ volatile("sti; nop; cli" : : : "memory"); }
