// SPDX-License-Identifier: BSD-2-Clause
//
// Where the guest's RAM comes from: memory objects, each of them one run of the host's frames. Of
// one, where the host has a run for all of it, else of as few as large ones give.
// Made once, by the VMM's only thread; the objects are the process's, and go with it.
#pragma once

#include <stdint.h>
#include "kernel/abi/syscall.h"
#include "vmm/board/memory.h"

#define RAM_BLOCK_MAX   192u // objects of one VM
#define RAM_BLOCK_SPARE 32u  // beside one for each 2 MB of its RAM

struct ram_source {
    handle_t vm;
    handle_t first;  // the object behind gpa 0 and at least 2 MB from there, offsets as addresses
    unsigned blocks; // how many there are
};

// How many objects the RAM may be made of: what they cost is in the VM's quota.
unsigned ram_blocks_max(uint64_t bytes);

// Takes the RAM that `ram` describes, and maps it: into this process at ram->base, and all but what
// is on demand into source->vm. -> enum status; ERR_FULL: the host's memory is there, but in too
// many runs. What was taken by then goes with the process.
int64_t ram_create(struct ram_source *source, const struct guest_ram *ram);
