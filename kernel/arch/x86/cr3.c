// SPDX-License-Identifier: BSD-2-Clause
// Which process's tables a core's CR3 names, and under which tag.
//
// The invariant: what CR3 names is cpu->space, or the kernel's own tables. It is cpu->space in ring
// 3 and in an exit: HOST_CR3 is the VMM's, and a guest is entered with its VMM's space as
// cpu->space. NULL: the kernel's own. So a core walks no tables of a space that it is not in, and
// they may go. One way in: cr3_use(), and switch_guest() of vmx/ with the help of the next exit;
// one way out: arch_space_none(). Each core on its own.
//
// Where the CPU has PCIDs, each process has one for its life, and none shares it: what a core
// caches of a process stays while others are loaded. seen[] of the space says how old it can be;
// only that core writes it. A tag that was another process's is new to seen[], so it is flushed
// when it is first loaded. Without PCIDs all have tag 0, and each load drops what was there. The
// kernel's half is global and the same in all. (SDM, "Process-Context Identifiers (PCIDs)",
// "Operations that Invalidate TLBs and Paging-Structure Caches".)
#include "kernel/arch/x86/x86.h"
#include "kernel/lib/bits.h"

#define PCID_COUNT 4096u

uint64_t cr3_kernel;
static uint64_t pcids[PCID_COUNT / 64] = { 1 }; // taken ones; kernel_lock. 0 is the kernel's

enum status cr3_make(struct space *s)
{
    uint32_t pcid = features.pcid ? bits_take(pcids, ARRAY_SIZE(pcids)) : 0;
    s->arch.cr3 = s->arch.root.v | (pcid ? CR3_NO_FLUSH | pcid : 0);
    return features.pcid && !pcid ? ERR_FULL : OK;
}

// No core is in the space any more.
void cr3_unmake(struct space *s)
{
    uint64_t pcid = s->arch.cr3 & (PCID_COUNT - 1);
    if (pcid)
        bits_give_back(pcids, pcid);
    s->arch.cr3 = 0;
}

// The old space is left when CR3 does not name it any more; the new one is loaded when others can
// see that this core is in it.
void cr3_use(struct cpu *cpu, struct space *s)
{
    cpu->arch.user = NULL;
    cr3_leave();
    if (likely(!space_enter(&cpu->space, s, cpu->id)))
        write_cr3(s->arch.cr3);
    else
        space_sync(s, cpu->id);
}

// It is the one that is loaded, or will be.
void cr3_flush(struct space *s) { write_cr3(s->arch.cr3 & ~CR3_NO_FLUSH); }

void arch_space_none(void)
{
    this_cpu()->arch.user = NULL;
    cr3_leave();
}
