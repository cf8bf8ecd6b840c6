// SPDX-License-Identifier: BSD-2-Clause
// The fake architecture's parts of the portable kernel's structures (see fake.h).
#pragma once
#include <stdint.h>
#include "kernel/lib/types.h"

struct arch_cpu { uint32_t ipis; }; // sent to it and not yet taken
struct arch_thread {
    uint64_t entry, sp, argument;
    int64_t status;                 // result registers
    uint64_t value;
    uint8_t gone;                   // arch_thread_gone() came
};
struct arch_space { struct hpa root; };
struct arch_vm { uint8_t initialised; uint32_t mask[4]; };
struct arch_vcpu { uint32_t apic_id; uint8_t live, loaded; uint32_t entries, left; };
