// SPDX-License-Identifier: BSD-2-Clause
// Each core has its own banks, or shares them with others that take the same machine check; whoever
// comes first clears them. It can come while this core holds any lock, so nothing here takes one
// but at boot: what is to be told waits in `trouble` (trap.c).
#include "kernel/arch/x86/x86.h"

#define MSR_MCG_CAP     0x179
#define MSR_MCG_STATUS  0x17a
#define MSR_MCG_CTL     0x17b
#define MSR_MCG_EXT_CTL 0x4d0
#define MSR_MCI(bank)   (0x400 + 4 * (bank)) // CTL, STATUS, ADDR, MISC

// Bochs claims to have it, and has none of its MSRs.
static bool present(void) { return (features.leaf1_edx & (1u << 14)) && !is_bochs(); }
static unsigned banks_of(uint64_t cap) { return (unsigned)min_u64(cap & 0xff, MCE_BANKS); }

void mce_init_cpu(void)
{
    if (!present())
        return;
    uint64_t cap = rdmsr(MSR_MCG_CAP);
    if (cap & MCG_CAP_CTL_P)
        wrmsr(MSR_MCG_CTL, ~0ull);
    // A recoverable error then comes to the core that it hits only, if the firmware allows that.
    if ((cap & MCG_CAP_LMCE_P) && (rdmsr(MSR_FEATURE_CONTROL) & (1u << 20)))
        wrmsr(MSR_MCG_EXT_CTL, 1);
    for (unsigned i = 0; i < banks_of(cap); i++) {
        uint64_t status = rdmsr(MSR_MCI(i) + 1);
        if (status & MCI_VALID)
            log_print("core %u: the hardware's bank %u holds an error of before: %lx\n",
                      this_cpu()->id, i, status);
        wrmsr(MSR_MCI(i), ~0ull);
        wrmsr(MSR_MCI(i) + 1, 0);
    }
    wrmsr(MSR_MCG_STATUS, 0);
}

NORETURN static void stop(uint64_t mcg_status, const uint64_t *bank, unsigned banks)
{
    arch_stop_others();
    log_raw("\ncore %u: MCG_STATUS %lx\n", this_cpu()->id, mcg_status);
    for (unsigned i = 0; i < banks; i++)
        if (bank[i] & MCI_VALID)
            log_raw("bank %u: status %lx address %lx\n", i, bank[i],
                    bank[i] & MCI_ADDRV ? rdmsr(MSR_MCI(i) + 2) : 0);
    panic("machine check: the hardware's state is lost");
}

bool mce_handled(void)
{
    struct trouble *t = &this_cpu()->arch.trouble;
    uint64_t bank[MCE_BANKS], cap = present() ? rdmsr(MSR_MCG_CAP) : 0;
    uint64_t mcg_status = present() ? rdmsr(MSR_MCG_STATUS) : 0;
    unsigned banks = banks_of(cap);
    for (unsigned i = 0; i < banks; i++)
        bank[i] = rdmsr(MSR_MCI(i) + 1);
    enum mce_verdict verdict = mce_judge(cap, mcg_status, bank, banks);
    if (verdict == MCE_FATAL)
        stop(mcg_status, bank, banks);
    for (unsigned i = 0; i < banks; i++) {
        if (!(bank[i] & MCI_VALID))
            continue;
        t->bank = i;
        t->status = bank[i];
        t->address = bank[i] & MCI_ADDRV ? rdmsr(MSR_MCI(i) + 2) : 0;
        wrmsr(MSR_MCI(i) + 1, 0);
    }
    wrmsr(MSR_MCG_STATUS, 0); // with MCIP set, the next one is a shutdown
    t->checks++;
    trap_tell_later();
    return verdict == MCE_LOST;
}
