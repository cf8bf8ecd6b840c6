// SPDX-License-Identifier: BSD-2-Clause
// The CPU's own faults: which of them this one has, and what is done about each. Decided once at
// boot, by the boot core, from what CPUID and IA32_ARCH_CAPABILITIES say. Pure, tested on the host
// (tests/unit/test_vuln.c); what is decided is carried out elsewhere: by barrier.c at a change of
// the protection domain, by cpu.c on each core, in paging.c, and in the code itself.
#pragma once
#include "kernel/abi/boot.h"
#include "kernel/lib/types.h"

// Facts about the host's CPUs; every other core must have the same. Words of CPUID by their leaf; 0
// where there is no such leaf.
struct features {
    uint32_t leaf1_eax;     // family and model
    uint32_t leaf1_ecx, leaf1_edx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_2_edx;
    uint32_t ext1_ecx, ext1_edx, ext8_ebx, ext21_eax, xsave1_eax;
    uint64_t xcr0;          // components the host enables
    uint64_t arch_caps;     // MSR 0x10a
    bool pcid, x2apic, tsc_deadline;
    bool sysenter;          // in 64-bit mode: else ring 3 calls by a gate
    bool amd;               // or of that family's line
};

struct mitigations {
    // At a change of the protection domain. A register is written only if the CPU has it; what is
    // asked for by `assume` and is not there leaves `any`, and with it the way there.
    bool ibpb, verw, l1d_flush, any;
    bool retpolines;       // of the kernel's indirect branches; else they are plain
    bool itlb_multihit;    // guests execute in 4 KB pages only
    bool hle_hole;         // 4 MB from 1 GB on are not used
    uint64_t spec_ctrl;    // IA32_SPEC_CTRL of each core, for good; 0: not written
};
extern struct mitigations mitigations;

// siblings: logical CPUs of a physical core; bus_lock_exits: the CPU can exit behind a guest's bus
// lock; assume: names with commas between them, or "all", up to a NUL or a blank; NULL: none.
void vuln_decide(const struct features *cpu, uint32_t siblings, bool bus_lock_exits,
                 const char *assume, struct mitigations *m, struct cpu_faults *faults);
