// SPDX-License-Identifier: BSD-2-Clause
//
// Arithmetic that the CPU's own x87 and SSE units do for an instruction of the guest: with the
// guest's state in them for that one instruction, and afterwards with the state of a fresh process.
// The VMM has no other use of them, see docs/architecture.md, "What stays loaded".
// Keeps no state (fpu.S).
#pragma once

#include <stdint.h>

// As FXSAVE64 lays it out; the first 32 bytes are not vector registers.
struct fpu_image {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t rest[480];
} __attribute__((aligned(16)));
_Static_assert(sizeof(struct fpu_image) == 512, "FXSAVE's area");

// The instruction with opcode D8H + (which >> 3) and number `which & 7` in ModRM, on the memory
// operand at `memory`, which takes up to 10 bytes. No exception may be pending in the image.
void fpu_x87(struct fpu_image *image, void *memory, unsigned which);

// CVTSI2SS (`which` is 0 from 32 bits, 1 from 64) and CVTSI2SD (2, 3); all exceptions must be
// masked in *mxcsr.
uint64_t fpu_convert(uint64_t value, unsigned which, uint32_t *mxcsr);
