// SPDX-License-Identifier: BSD-2-Clause
//
// A vCPU's registers after an INIT, and where a start-up IPI has it begin (SDM, "Processor State
// After Reset", "Typical BSP Initialization Sequence"). They are written into the page, for
// vcpu_sregs(). Keeps no state; runs on the vCPU's thread.
#pragma once

#include <stdint.h>
#include "kernel/abi/vcpu.h"

#define RESET_CR0 0x60000010ull // behind power-up

// signature: family, model and stepping, as CPUID leaf 1 EAX. cr0: what it was; CD and NW stay
void reset_state(struct vcpu_page *page, uint32_t signature, uint64_t cr0);
// What reset_state() has left goes on in real mode, CS:IP at vector * 4 KB. vector: of the start-up
// IPI
void reset_start(struct vcpu_page *page, uint8_t vector);
