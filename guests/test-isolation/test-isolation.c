// SPDX-License-Identifier: BSD-2-Clause
//
// Test guest: tries all that a hostile guest could reach for, and gets all ones, a fault, or what
// is its own. Its neighbours are `sentry` guests, whose pattern it would recognise. Options:
//   only=GROUP  one group: ram, cpuid, instructions, ports, borders, tables, memory, msrs
//   sample=N    one page of N below 4 GB (16), and three in each GB above
//   all         in place of that each page below 4 GB, and one in each 2 MB above
//   end=NAME    does nothing but to end this VM: idt, gdt, cr3

#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/options.h"
#include "guests/lib/power.h"
#include "guests/test-isolation/groups.h"
#include "guests/test-isolation/probe.h"

static const struct {
    const char *name;
    void (*run)(void);
} groups[] = {
    {"ram", test_ram},                   {"cpuid", test_cpuid},
    {"instructions", test_instructions}, {"instructions", test_hypercalls},
    {"ports", test_ports},               {"ports", test_config_space},
    {"borders", test_borders},           {"tables", test_tables},
    {"tables", test_apic_page},          {"memory", test_low_holes},
    {"memory", test_high_holes},         {"msrs", test_msrs},
};

int main(void)
{
    const char *only = option("only"), *end = option("end");
    if (end != NULL) {
        printf("end %s\n", end);
        hostile_end(end);
        guest_die("this VM lives on, or option end= is not one of the names");
    }
    if (!cpu_on_bulkhead())
        guest_die("this guest tests Bulkhead's board");
    for (unsigned int i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (only != NULL && strcmp(only, groups[i].name) != 0)
            continue;
        uint64_t start = rdtsc();
        groups[i].run();
        printf("%s: %llu ms\n", groups[i].name,
               (unsigned long long)(clock_ns_of_ticks(rdtsc() - start) / NS_PER_MS));
    }
    look_check("foreign");
    return check_done();
}
