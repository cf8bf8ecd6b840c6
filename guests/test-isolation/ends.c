// SPDX-License-Identifier: BSD-2-Clause
//
// Ways in which a guest can make itself impossible to run. On a PC most of them end in a shutdown;
// here each ends this VM, with a message, and nothing else. None of them comes back.

#include <string.h>

#include "guests/lib/cpu.h"
#include "guests/test-isolation/groups.h"
#include "guests/test-isolation/probe.h"

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static const struct table_pointer in_nowhere = {0xFFF, NOWHERE};

static void end_idt(void)
{
    __asm__ volatile("lidt %0\n ud2" : : "m"(in_nowhere) : "memory");
}

static void end_gdt(void)
{
    __asm__ volatile("lgdt %0\n mov %1, %%ds" : : "m"(in_nowhere), "r"(0x10) : "memory");
}

static void end_cr3(void)
{
    write_cr3(NOWHERE);
}

static const struct {
    const char *name;
    void (*run)(void);
} ends[] = {
    {"idt", end_idt}, {"gdt", end_gdt}, {"cr3", end_cr3},
};

void hostile_end(const char *name)
{
    for (unsigned int i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (strcmp(ends[i].name, name) == 0)
            ends[i].run();
    }
}
