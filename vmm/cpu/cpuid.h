// SPDX-License-Identifier: BSD-2-Clause
//
// What a guest's CPUID says: the host's answers, narrowed to what Bulkhead really gives, and the
// leaves that are made here. Made once, at the VM's creation.
#pragma once

#include <stdbool.h>
#include "kernel/abi/cpuid.h"

struct cpuid_facts {
    uint64_t tsc_hz;        // as measured
    unsigned vcpus;         // cores of the package, each with one thread
    uint64_t xcr0;          // state components that the kernel switches
    uint32_t xsave_size[2]; // of an area of these, standard and compacted, as leaf 0DH says
    void (*read)(uint32_t leaf, uint32_t sub, uint32_t out[4]); // the host's: EAX, EBX, ECX, EDX
};

// It is AMD's, or Hygon's, which is of the same make.
bool cpuid_amd(const struct cpuid_table *table);

void cpuid_make(struct cpuid_table *table, const struct cpuid_facts *facts);

// The same of this host. Before a vCPU of the process runs, whose XCR0 might be loaded.
void cpuid_make_here(struct cpuid_table *table, uint64_t tsc_hz, unsigned vcpus);
