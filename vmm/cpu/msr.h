// SPDX-License-Identifier: BSD-2-Clause
//
// The MSRs that only keep a value, or a constant: nothing that the CPU does depends on them, so the
// kernel does not hold them ("Model-Specific Registers"). What is not here either is #GP.
// Owned by the VMM's only thread; no lock.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MSRS_MTRR_VARIABLE 8
#define MSRS_MTRR_FIXED    11

struct msrs {
    bool amd;
    uint64_t platform_info;    // a constant, of this machine
    uint64_t misc_enable;
    uint64_t address_bits;     // of a physical address that an MTRR may have
    uint64_t mtrr_def_type;
    uint64_t mtrr_fixed[MSRS_MTRR_FIXED];
    uint64_t mtrr_variable[2 * MSRS_MTRR_VARIABLE]; // base and mask in turn
};

// As a PC's BIOS leaves them. fast_strings: the host's REP MOVS and STOS are, by which an operating
// system picks its loops for copying. address_width: of the guest's physical addresses, in bits.
// amd: the CPU is AMD's, as CPUID says.
void msrs_init(struct msrs *m, uint64_t tsc_hz, bool fast_strings, unsigned address_width,
               bool amd);

// RDMSR, WRMSR. False: #GP, nothing has changed.
bool msrs_read(struct msrs *m, uint32_t index, uint64_t *value);
bool msrs_write(struct msrs *m, uint32_t index, uint64_t value);
