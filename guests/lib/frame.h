// SPDX-License-Identifier: BSD-2-Clause
//
// For assembly files: what a function called from C keeps for its caller, on the stack. No state.

#pragma once

.macro frame_save
    push    %rbx
    push    %rbp
    push    %r12
    push    %r13
    push    %r14
    push    %r15
.endm

// And back to the caller, with the stack pointer as frame_save left it.
.macro frame_return
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %rbp
    pop     %rbx
    ret
.endm
