// SPDX-License-Identifier: BSD-2-Clause
//
// Makes a guest image one of multiboot 2: the header, which guest.ld puts in front. What the guest
// cannot do without is required, what it would only look at is optional. Read by the loader only.

#define HEADER_MAGIC   0xE85250D6
#define HEADER_I386    0
#define TAG_OPTIONAL   1

    .section .multiboot, "a"
    .balign 8
header:
    .long HEADER_MAGIC
    .long HEADER_I386
    .long header_end - header
    .long -(HEADER_MAGIC + HEADER_I386 + (header_end - header))
1:  .short 1, 0                     // information: command line, modules, sizes, map
    .long 2f - 1b
    .long 1, 3, 4, 6
2:  .balign 8
1:  .short 1, TAG_OPTIONAL          // the same: loader name, both RSDPs, and one of no meaning
    .long 2f - 1b
    .long 2, 14, 15, 0x1234
2:  .balign 8
1:  .short 5, TAG_OPTIONAL          // framebuffer: any size
    .long 2f - 1b
    .long 0, 0, 0
2:  .balign 8
1:  .short 6, 0                     // modules on page boundaries
    .long 2f - 1b
2:  .balign 8
1:  .short 0, 0
    .long 2f - 1b
2:
header_end:

    .section .note.GNU-stack, "", @progbits
