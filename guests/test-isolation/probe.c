// SPDX-License-Identifier: BSD-2-Clause
//
// Accesses that may fault. State: whether a neighbour's pattern was seen, and where a jump into
// nowhere comes back to; written on the guest's only processor, the latter also by the trap
// handler.

#include "guests/test-isolation/probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/pattern.h"
#include "guests/lib/power.h"
#include "guests/lib/start.h"

#define XMM_WORDS 32
#define FOUR_GB   (1ul << 32)

static uint64_t looked, foreign, foreign_value;
static uint64_t resume; // 0: no jump is under way

void tally_add(struct tally *tally, bool ok, const char *format, ...)
{
    tally->done++;
    if (ok || tally->wrong++ != 0)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tally->first, sizeof(tally->first), format, arguments);
    va_end(arguments);
}

void tally_check(const struct tally *tally, const char *name)
{
    check(tally->wrong == 0 && tally->done != 0, name, "%llu of %llu; the first: %s",
          (unsigned long long)tally->wrong, (unsigned long long)tally->done, tally->first);
}

uint64_t look(uint64_t value)
{
    looked++;
    if (pattern_in(value) && foreign++ == 0)
        foreign_value = value;
    return value;
}

static void look_at_registers(void)
{
    uint64_t value[4], xmm[XMM_WORDS];
    __asm__ volatile("mov %%db0, %0\n mov %%db1, %1\n mov %%db2, %2\n mov %%db3, %3"
                     : "=r"(value[0]), "=r"(value[1]), "=r"(value[2]), "=r"(value[3]));
    for (unsigned int i = 0; i < 4; i++)
        look(value[i]);
    look(read_cr2());
    __asm__ volatile("movups %%xmm0, 0(%0)\n movups %%xmm1, 16(%0)\n movups %%xmm2, 32(%0)\n"
                     "movups %%xmm3, 48(%0)\n movups %%xmm4, 64(%0)\n movups %%xmm5, 80(%0)\n"
                     "movups %%xmm6, 96(%0)\n movups %%xmm7, 112(%0)\n movups %%xmm8, 128(%0)\n"
                     "movups %%xmm9, 144(%0)\n movups %%xmm10, 160(%0)\n"
                     "movups %%xmm11, 176(%0)\n movups %%xmm12, 192(%0)\n"
                     "movups %%xmm13, 208(%0)\n movups %%xmm14, 224(%0)\n"
                     "movups %%xmm15, 240(%0)"
                     :
                     : "r"(xmm)
                     : "memory");
    for (unsigned int i = 0; i < XMM_WORDS; i++)
        look(xmm[i]);
}

void look_check(const char *name)
{
    look_at_registers();
    check(foreign == 0, name, "%llu of %llu values are a neighbour's, such as %llx",
          (unsigned long long)foreign, (unsigned long long)looked,
          (unsigned long long)foreign_value);
}

void board_holes(struct hole holes[HOLES])
{
    const struct hole all[HOLES] = {
        {0xA0000, 0xB8000},
        {0xC0000, 0xE0000},
        {guest_ram_end(), IOAPIC_PAGE},
        {IOAPIC_PAGE + PAGE_SIZE, HPET_PAGE},
        {HPET_PAGE + PAGE_SIZE, LAPIC_PAGE},
        {LAPIC_PAGE + PAGE_SIZE, FOUR_GB},
    };
    memcpy(holes, all, sizeof(all));
}

int probe_read(uintptr_t address, uint64_t *value)
{
    uint64_t read = 0;
    trap_expect();
    __asm__ volatile(TRY("movq (%1), %0") : "+r"(read) : "r"(address) : "memory");
    *value = look(read);
    return trap_caught.vector;
}

int probe_write(uintptr_t address, uint64_t value)
{
    trap_expect();
    __asm__ volatile(TRY("movq %0, (%1)") : : "r"(value), "r"(address) : "memory");
    return trap_caught.vector;
}

// A fault in nowhere: TRY() knows its instructions by their addresses, and these are no
// instructions of ours.
static void come_back(struct trap_frame *frame)
{
    if (resume == 0) {
        if (!trap_fix_up(frame))
            guest_die_by_trap(frame, read_cr2());
        return;
    }
    trap_caught.vector = (int)frame->vector;
    trap_caught.error = frame->error;
    trap_caught.rip = frame->rip;
    trap_caught.cr2 = frame->vector == VEC_PF ? read_cr2() : 0;
    frame->rip = resume;
    resume = 0;
}

int probe_execute(uintptr_t address)
{
    static bool ready;
    if (!ready) {
        trap_set_handler(VEC_UD, come_back);
        trap_set_handler(VEC_GP, come_back);
        trap_set_handler(VEC_PF, come_back);
        ready = true;
    }
    trap_expect();
    __asm__ volatile("lea 1f(%%rip), %%rax\n mov %%rax, %0\n jmp *%1\n 1:"
                     : "=m"(resume)
                     : "r"(address)
                     : "rax", "memory", "cc");
    return trap_caught.vector;
}

uint64_t random_of(uint64_t index)
{
    uint64_t mixed = (index + 1) * 0xD1B54A32D192ED03u;
    mixed = (mixed ^ mixed >> 31) * 0x9E3779B97F4A7C15u;
    return mixed ^ mixed >> 29;
}
