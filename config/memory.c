// SPDX-License-Identifier: BSD-2-Clause
//
// How much of a machine's memory VMs may have. Keeps no state.
#include "config/config.h"

#define KB UINT64_C(1024)
#define MB (1024 * KB)
#define GB (1024 * MB)

#define PAGE (4 * KB)
// The first MB, the firmware's tables, the kernel's image and first objects, the programs.
#define SYSTEM_BYTES (5 * MB)
// A core's stacks and tables.
#define CORE_BYTES (64 * KB)
// A record of 16 bytes for each page, up to the highest. A PC's hole for devices is 2 GB at most,
// and what of its RAM would lie there lies above.
#define FRAME_RECORDS 256
#define HOLE (2 * GB)

uint64_t config_file_bytes(uint64_t bytes)
{
    return bytes < UINT64_MAX - PAGE ? (bytes + PAGE - 1) / PAGE * PAGE : bytes;
}

uint64_t config_memory_for_vms(const struct config_machine *machine)
{
    uint64_t ram = (machine->ram + MB - 1) / MB * MB;
    uint64_t top = ram > HOLE ? ram + HOLE : ram;
    uint64_t cores = machine->cores != 0 ? machine->cores : 1;
    uint64_t taken = SYSTEM_BYTES + CONFIG_RESERVE + cores * CORE_BYTES + top / FRAME_RECORDS;

    if (taken > ram || machine->files > ram - taken)
        return PAGE; // 0 would be: not known
    taken += machine->files;
    return ram - taken > PAGE ? ram - taken : PAGE;
}
