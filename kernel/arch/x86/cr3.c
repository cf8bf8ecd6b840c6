// SPDX-License-Identifier: BSD-2-Clause
// Which process's tables a core's CR3 names, and under which tag.
//
// The invariant: cpu->space is the process space that CR3 names, in ring 3 and in the kernel; NULL:
// the kernel's own tables. While a guest runs it is its VMM's, which HOST_CR3 brings back, so an
// exit changes nothing. One way in: cr3_use(),
// and switch_guest() of vmx/ in line; one way out: arch_space_none(). Each core on its own.
//
// Where the CPU has PCIDs, each process has one for its life, and none shares it: what a core
// caches of a process stays while others are loaded. seen[] of the space says how old it can be;
// only that core writes it. A tag that was another process's is new to seen[], so it is flushed
// when it is first loaded. Without PCIDs all have tag 0, and each load drops what was there. The
// kernel's half is global and the same in all. (SDM, "Process-Context Identifiers (PCIDs)",
// "Operations that Invalidate TLBs and Paging-Structure Caches".)
#include "kernel/arch/x86/x86.h"

#define PCID_COUNT 4096u

static uint64_t pcids[PCID_COUNT / 64] = { 1 }; // taken ones; kernel_lock. 0 is the kernel's

enum status pcid_take(struct space *s)
{
    if (!features.pcid)
        return OK;
    for (unsigned i = 0; i < ARRAY_SIZE(pcids); i++) {
        if (!~pcids[i])
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(~pcids[i]);
        pcids[i] |= 1ull << bit;
        s->arch.pcid = (uint16_t)(i * 64 + bit);
        return OK;
    }
    return ERR_FULL;
}

// No core is in the space any more.
void pcid_give_back(struct space *s)
{
    if (s->arch.pcid)
        pcids[s->arch.pcid / 64] &= ~(1ull << s->arch.pcid % 64);
    s->arch.pcid = 0;
}

// The old space is left only when the new one is loaded, for its tables must stay as long as CR3
// names them; if the new one has changed in between, it is flushed after all.
void cr3_use(struct cpu *cpu, struct space *s)
{
    uint64_t generation = space_generation(s);
    if (features.pcid && s->seen[cpu->id] == generation) {
        write_cr3(cr3_of(s) | CR3_NO_FLUSH);
    } else {
        write_cr3(cr3_of(s));
        space_synced(s, cpu->id, generation);
    }
    if (unlikely(space_enter(&cpu->space, s, cpu->id)))
        space_sync(s, cpu->id);
}

// What the core has cached of the process goes; it is the one that is loaded.
void cr3_flush(struct space *s) { write_cr3(cr3_of(s)); }
