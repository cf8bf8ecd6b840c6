// SPDX-License-Identifier: BSD-2-Clause
//
// Makes a guest image one of multiboot 1: the header, which guest.ld puts in front. Read by the
// loader only.

#define HEADER_MAGIC  0x1BADB002
#define HEADER_FLAGS  0x00000003  // modules on page boundaries, memory size wanted

    .section .multiboot, "a"
    .balign 4
    .long HEADER_MAGIC
    .long HEADER_FLAGS
    .long -(HEADER_MAGIC + HEADER_FLAGS)

    .section .note.GNU-stack, "", @progbits
