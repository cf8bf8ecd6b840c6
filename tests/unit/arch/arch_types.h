// SPDX-License-Identifier: BSD-2-Clause
// The fake architecture's parts of the portable kernel's structures (see fake.h).
#pragma once
#include <stdint.h>
#include "kernel/lib/types.h"

struct thread;
struct arch_cpu {
    uint32_t ipis;       // sent to it and not yet taken
    uint32_t kicks;      // likewise, by arch_kick()
    struct thread *user; // cr3.c clears it
    struct thread *ready; // its vCPU can be entered as it is
};
struct arch_thread {
    uint64_t entry, sp, argument;
    int64_t status;                 // result registers
    uint64_t value;
    uint8_t gone;                   // arch_thread_gone() came
};
struct arch_space { struct hpa root; uint64_t cr3; };
struct arch_vcpu {
    uint32_t apic_id;
    uint8_t live;
    uint8_t fresh;                  // new on its core
    uint32_t entries, left;
    struct hpa vmcs;                // its frame, and what the hardware knows of it: hardware.h
    uint32_t vmcs_owner;
    uint8_t active, active_on, launched;
    uint32_t host_core;             // fields of the VMCS
    uint64_t host_cr3;
    uint16_t vpid;
};
