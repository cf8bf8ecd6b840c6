// SPDX-License-Identifier: BSD-2-Clause
//
// A vCPU's registers after an INIT, and where a start-up IPI has it begin (SDM, "Processor State
// After Reset", "Typical BSP Initialization Sequence"). They are written into the page, for
// vcpu_sregs(). Keeps no state; runs on the vCPU's thread.
#pragma once

#include <stdint.h>
#include "kernel/abi/vcpu.h"

// signature: family, model and stepping, as CPUID leaf 1 EAX
void reset_state(struct vcpu_page *page, uint32_t signature);
// After reset_state(): real mode, CS:IP at vector * 4 KB. vector: of the start-up IPI
void reset_start(struct vcpu_page *page, uint32_t signature, uint8_t vector);
