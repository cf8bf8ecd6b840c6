// SPDX-License-Identifier: BSD-2-Clause
//
// The two halves of the multiboot 2 loader: multiboot2.c puts the image into memory,
// multiboot2_info.c tells it what there is. Keeps no state; runs on the VMM's only thread.
#pragma once

#include "vmm/load/load.h"

// Whether an image may require information of that type. It may still be missing: where a type is
// about something that the virtual PC does not have, such as EFI, there is nothing to tell.
bool multiboot2_info_known(uint64_t type);

// Writes the information, and copies the modules behind `end`. base: where a relocatable image
// begins, else NULL. -> *gpa
bool multiboot2_info(struct load *load, uint64_t end, const uint64_t *base, uint64_t *gpa);
