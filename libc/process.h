// SPDX-License-Identifier: BSD-2-Clause
// What the port gives to main() of a ring-3 process beyond the C library.
#pragma once
#include <stdint.h>
#include "kernel/abi/boot.h"
#include "libc/start.h"

// The block the process was started with, checked. The manager has boot_block(), all others
// start_block(); the other one is NULL.
const struct start_block *start_block(void);
const struct boot_info *boot_block(void);

// A further thread of the process, which the manager has made with it: begins at once, beside
// main(), so the C library may not be there yet. Its end is the thread's. A program that has such
// threads has this function. index: 1 to START_THREADS_MAX
void process_thread(unsigned index);

// Where standard output and error go: `sink` gets whole lines if there are any, and the rest when
// stdio flushes. Without one (NULL) they go to the kernel's log. It must take everything.
void process_output(void (*sink)(void *opaque, const char *text, uint32_t len), void *opaque);

// Maps fresh zeroed pages of this process at `va`. -> handle of the memory, or a negative status.
int64_t process_map_pages(uint64_t va, uint64_t bytes, uint64_t flags); // of mem_create

// The heap lies at HEAP_START and grows to at most HEAP_END. Other mappings belong elsewhere.
#define HEAP_START 0x10000000ull
#define HEAP_END   0x50000000ull
