// SPDX-License-Identifier: BSD-2-Clause
// What the kernel has done about the CPU's own faults, in words. (docs/architecture.md)
#include <stddef.h>
#include <stdio.h>
#include "libc/kcall.h"
#include "vmm/manager/manager.h"

static const struct {
    const char *name, *title;
    const char *done;     // by what it is mitigated
    const char *retpoline; // likewise where the kernel has retpolines; NULL: the same
    const char *open;     // what follows when it is not
} rows[FAULT_COUNT] = {
    [FAULT_meltdown] = {"meltdown", "Meltdown", NULL, NULL,
        "a device model may read the kernel's data, but nobody's memory"},
    [FAULT_l1tf] = {"l1tf", "L1 terminal fault", "L1D flush between domains", NULL,
        "no L1D_FLUSH: a guest may read what its core's L1 holds of others"},
#define SAMPLING "VERW between domains", NULL, \
        "no MD_CLEAR: a guest may sample what its core did for others"
    [FAULT_mds] = {"mds", "MDS", SAMPLING},
    [FAULT_taa] = {"taa", "TSX async. abort", SAMPLING},
    [FAULT_rfds] = {"rfds", "register file sampling", SAMPLING},
    [FAULT_v1] = {"v1", "Spectre v1", "indices of calls and handles are masked", NULL, NULL},
    [FAULT_v2] = {"v2", "Spectre v2", "enhanced IBRS; RSB filling and IBPB between domains",
        "retpolines; RSB filling and IBPB between domains",
        "only the kernel has retpolines, no IBPB: domains may steer each other"},
    [FAULT_bhi] = {"bhi", "branch history injection", "BHI_DIS_S", "retpolines", NULL},
    [FAULT_swapgs] = {"swapgs", "Spectre v1 by SWAPGS", "LFENCE behind SWAPGS", NULL, NULL},
    [FAULT_itlb] = {"itlb", "iTLB multihit", "guests execute in 4 KB pages only", NULL, NULL},
    [FAULT_buslock] = {"buslock", "bus locks", "bus-lock exiting; each lock costs the guest 5 us",
        NULL, "no bus-lock exiting: a guest can slow memory down for all"},
    [FAULT_smt] = {"smt", "SMT siblings", NULL, NULL,
        "VMs on siblings share caches and predictors; give one VM both"},
    [FAULT_hle] = {"hle", "HLE hang", "4 MB from 1 GB on are not used", NULL, NULL},
};

static void say(const char *state, const char *text, unsigned i, bool asked)
{
    char line[256];
    int len = snprintf(line, sizeof(line), "boot: %s (%s): %s%s%s\n", rows[i].title, rows[i].name,
                       state, text, asked ? "; asked for" : "");
    report_log(line, (uint32_t)len);
}

void faults_list(const struct cpu_faults *faults)
{
    for (unsigned i = 0; i < FAULT_COUNT; i++) {
        const char *done = faults->retpolines && rows[i].retpoline != NULL ? rows[i].retpoline
                                                                           : rows[i].done;
        bool asked = faults->asked >> i & 1;
        if (!(faults->there >> i & 1)) {
            say("not affected", "", i, asked);
        } else if (faults->open >> i & 1) {
            say("NOT mitigated: ", rows[i].open, i, asked);
        } else {
            say("mitigated: ", done, i, asked);
        }
    }
}

void faults_count(const struct cpu_faults *faults)
{
    char line[128];
    int len = snprintf(line, sizeof(line), "boot: %d faults of this CPU are not mitigated: see the"
                       " log\n", __builtin_popcount(faults->open));
    report_log(line, (uint32_t)len);
}
