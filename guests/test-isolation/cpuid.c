// SPDX-License-Identifier: BSD-2-Clause
//
// All of CPUID: leaves that docs/virtual-pc.md does not name are zeros, or the highest basic leaf
// again, and none says anything of the host's other cores or of its other users.

#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/test-isolation/groups.h"
#include "guests/test-isolation/probe.h"

#define SUBLEAVES     64
#define LAST_BASIC    0x16u
#define LAST_EXTENDED 0x80000008u

static const uint32_t named[] = {
    0,          1,          2,          4,          6,          7,          0xB,
    0xD,        0x15,       0x16,       0x40000000, 0x40000001, 0x80000000, 0x80000001,
    0x80000002, 0x80000003, 0x80000004, 0x80000005, 0x80000006, 0x80000007, 0x80000008,
};

// Where hypervisors and other vendors have leaves, and the ends of the ranges.
static const struct {
    uint32_t first, last, step, subleaves;
} ranges[] = {
    {0, 0xFF, 1, SUBLEAVES},
    {0x40000000, 0x400000FF, 1, 4},
    {0x40000100, 0x40010000, 0x100, 2},
    {0x80000000, 0x800000FF, 1, 8},
    {0x100, 0x3FFFFF00, 0x7FFF0, 1},
    {0x50000000, 0x7FFF0000, 0x7FFF0, 1},
    {0x80860000, 0x8086000F, 1, 1},
    {0xC0000000, 0xC000000F, 1, 1},
    {0x8FFFFFF0, 0x8FFFFFFF, 1, 1},
    {0xFFFFFFF0, 0xFFFFFFFE, 1, 1},
};

static bool is_named(uint32_t leaf)
{
    for (unsigned int i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        if (named[i] == leaf)
            return true;
    }
    return false;
}

// Beyond the last basic and the last extended leaf, Intel's CPUs give the data of the highest basic
// leaf. The hypervisors' range has zeros there.
static bool is_beyond(uint32_t leaf)
{
    return leaf >> 28 != 4 && leaf > (leaf >> 28 == 8 ? LAST_EXTENDED : LAST_BASIC);
}

static void try_leaf(struct tally *tally, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_result r = cpuid(leaf, subleaf), last = cpuid(LAST_BASIC, subleaf);
    look((uint64_t)r.ebx << 32 | r.eax);
    look((uint64_t)r.edx << 32 | r.ecx);
    bool ok = is_named(leaf) || (r.eax | r.ebx | r.ecx | r.edx) == 0;
    if (is_beyond(leaf))
        ok = memcmp(&r, &last, sizeof(r)) == 0;
    tally_add(tally, ok, "leaf %x.%x: %x %x %x %x", (unsigned int)leaf, (unsigned int)subleaf,
              (unsigned int)r.eax, (unsigned int)r.ebx, (unsigned int)r.ecx, (unsigned int)r.edx);
}

void test_cpuid(void)
{
    static struct tally tally;
    for (unsigned int i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        for (uint64_t leaf = ranges[i].first; leaf <= ranges[i].last; leaf += ranges[i].step) {
            for (uint32_t subleaf = 0; subleaf < ranges[i].subleaves; subleaf++)
                try_leaf(&tally, (uint32_t)leaf, subleaf);
            try_leaf(&tally, (uint32_t)leaf, 0xFFFFFFFF);
        }
    }
    tally_check(&tally, "cpuid.leaves");
    // Which core of the host this is, and how many there are, is not the guest's business.
    check(cpuid(1, 0).ebx >> 24 == 0 && (cpuid(1, 0).ebx >> 16 & 0xFF) == 1, "cpuid.apic-id", "%x",
          (unsigned int)cpuid(1, 0).ebx);
    check(cpuid(0xB, 0).edx == 0 && cpuid(0xB, 1).edx == 0 && cpuid(0xB, 0).ebx == 1,
          "cpuid.topology", "%x %x", (unsigned int)cpuid(0xB, 0).edx,
          (unsigned int)cpuid(0xB, 0).ebx);
    static struct tally caches;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t eax = cpuid(4, i).eax;
        tally_add(&caches, eax >> 14 == 0, "leaf 4.%u: %x", (unsigned int)i, (unsigned int)eax);
    }
    tally_check(&caches, "cpuid.caches");
    look_check("cpuid.foreign");
}
