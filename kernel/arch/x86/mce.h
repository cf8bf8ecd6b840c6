// SPDX-License-Identifier: BSD-2-Clause
// Machine checks, and what of one the banks say. (SDM, "Machine-Check Architecture", "Recovery of
// Uncorrected Recoverable Errors".) The judgement is pure: tests/unit/test_mce.c.
#pragma once
#include "kernel/lib/types.h"

#define MCG_CAP_CTL_P  (1ull << 8)
#define MCG_CAP_SER_P  (1ull << 24) // S and AR are there
#define MCG_CAP_LMCE_P (1ull << 27)
#define MCG_RIPV (1ull << 0) // the interrupted code could go on at its RIP
#define MCG_EIPV (1ull << 1) // that RIP has to do with the error
#define MCI_VALID (1ull << 63)
#define MCI_OVER  (1ull << 62)
#define MCI_UC    (1ull << 61)
#define MCI_EN    (1ull << 60)
#define MCI_ADDRV (1ull << 58)
#define MCI_PCC   (1ull << 57) // the core's state is corrupt
#define MCI_S     (1ull << 56)
#define MCI_AR    (1ull << 55) // what ran may not go on
#define MCE_BANKS 32

enum mce_verdict {
    MCE_GO_ON, // corrected, can wait, or another core's
    MCE_LOST,  // what was interrupted is lost, and nothing else
    MCE_FATAL,
};

static inline enum mce_verdict mce_judge(uint64_t cap, uint64_t mcg_status, const uint64_t *bank,
                                         unsigned banks)
{
    bool action = false;
    for (unsigned i = 0; i < banks; i++) {
        if (!(bank[i] & MCI_VALID) || !(bank[i] & MCI_UC) || !(bank[i] & MCI_EN))
            continue;
        if (!(cap & MCG_CAP_SER_P) || (bank[i] & (MCI_PCC | MCI_OVER)))
            return MCE_FATAL;
        action |= (bank[i] & MCI_S) && (bank[i] & MCI_AR);
    }
    if (action && (mcg_status & MCG_EIPV))
        return MCE_LOST;
    return mcg_status & MCG_RIPV ? MCE_GO_ON : MCE_FATAL;
}

// Each core, once: all banks report, and what an earlier run left in them is told and cleared.
void mce_init_cpu(void);
// After a machine check on this core, by whatever way it came: false: go on as if nothing had been;
// true: what was interrupted must end. Where the machine cannot go on it does not return.
bool mce_handled(void);
