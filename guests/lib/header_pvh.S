// SPDX-License-Identifier: BSD-2-Clause
//
// Makes a guest image one of PVH: Xen's note with the 32-bit entry point. Read by the loader only.

#define XEN_ELFNOTE_PHYS32_ENTRY 18

    .section .note.Xen, "a", @note
    .balign 4
    .long 2f - 1f
    .long 4f - 3f
    .long XEN_ELFNOTE_PHYS32_ENTRY
1:  .asciz "Xen"
2:  .balign 4
3:  .long entry
4:

    .section .note.GNU-stack, "", @progbits
