// SPDX-License-Identifier: BSD-2-Clause
//
// From the loader into Linux: the processor state of load_state, RSI and RIP. Runs once, last.

#include "guests/bare/bare.h"

#include <stddef.h>
#include "guests/lib/cpu.h"
#include "guests/lib/uart.h"

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

_Noreturn void bare_enter(const struct load_state *state)
{
    const struct vcpu_sregs *s = &state->sregs;
    const struct table_pointer gdtr = { (uint16_t)s->gdtr_limit, s->gdtr_base };
    const struct table_pointer idtr = { (uint16_t)s->idtr_limit, s->idtr_base };
    const char *digits = "0123456789abcdef";

    uart_puts("bare: entry tsc=0x");
    uart_drain();
    uint64_t tsc = rdtsc();
    for (int shift = 60; shift >= 0; shift -= 4)
        uart_putc((uint8_t)digits[tsc >> shift & 0xF]);
    // Both sets of tables map the code and the stack one to one.
    __asm__ volatile("lgdt %0\n\t"
                     "lidt %1\n\t"
                     "mov %2, %%cr3\n\t"
                     "mov %3, %%cr4\n\t"
                     "mov %4, %%cr0\n\t"
                     "mov %w5, %%ds\n\t"
                     "mov %w5, %%es\n\t"
                     "mov %w5, %%fs\n\t"
                     "mov %w5, %%gs\n\t"
                     "mov %w5, %%ss\n\t"
                     "mov %6, %%rsp\n\t"
                     "push %7\n\t"
                     "push %8\n\t"
                     "lretq"
                     :: "m"(gdtr), "m"(idtr), "r"(s->cr3), "r"(s->cr4), "r"(s->cr0),
                        "r"((uint64_t)s->ds.selector), "r"(s->rsp),
                        "r"((uint64_t)s->cs.selector), "r"(s->rip),
                        "S"(state->gpr[GPR_RSI])
                     : "memory");
    __builtin_unreachable();
}
