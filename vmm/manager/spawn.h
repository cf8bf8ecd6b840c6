// SPDX-License-Identifier: BSD-2-Clause
// Makes ring-3 processes out of static ELF files. The manager's thread only.
//
// A program's read-only segments are copied from its boot module once and shared by all processes
// that run it; writable ones, stack and start block belong to one process, and are one memory
// object: the manager's handles are few. All of that memory is the manager's (charged to its
// quota), hence spawn_destroy().
#pragma once
#include <stdint.h>
#include "kernel/abi/syscall.h"
#include "libc/start.h"
#include "vmm/manager/elf.h"

struct program {
    struct elf_image image;
    const uint8_t *file;               // stays mapped
    handle_t shared[ELF_SEGMENTS_MAX]; // memory of segment i if it is read-only, else 0
};

struct spawned {
    handle_t process;
    uint32_t threads;                       // those beside the first
    handle_t thread[1 + START_THREADS_MAX]; // [0] runs main(), [i] process_thread(i)
    handle_t memory;  // writable segments by rising address, then the stack, then the start block
    uint64_t mapped;  // bytes of it so far
};

// `call_insn`: see struct boot_info. Returns NULL, or what is wrong. Called once per program.
const char *program_load(struct program *program, const void *file, uint64_t len,
                         uint16_t call_insn);

struct spawn_limits {
    uint64_t quota; // bytes
    struct process_counts counts;
    uint32_t threads; // beside its first, at most START_THREADS_MAX
};

// Makes the process with its segments and its stack; its end signals `bits` to `event`. On failure
// nothing is left behind. Returns OK or a negative status.
int64_t spawn_create(struct spawned *spawned, const struct program *program,
                     const struct spawn_limits *limits, handle_t event, uint64_t bits);

// Gives the process its start block, and starts it on a scheduling context. Returns OK or a
// negative status; then the caller calls spawn_destroy(). Thread i, of so many as spawn_create()
// has made stacks for and one more, is started on sc[i].
int64_t spawn_start(struct spawned *spawned, const struct program *program,
                    const struct start_block *block, const handle_t *sc);

// Ends the process if it still runs and frees everything that spawn_create() and spawn_start()
// made.
void spawn_destroy(struct spawned *spawned);
