// SPDX-License-Identifier: BSD-2-Clause
// A kernel for host tests of ring-3 code: objects, handles, memory that is really mapped, events.
// It refuses what the real one refuses (alignment, W^X, rights, overlap). The code under test is
// its one process and thread; the processes that it makes do not run: the test plays them, from
// `idle`.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "kernel/abi/stats.h"
#include "kernel/abi/syscall.h"

#define FAKE_OBJECTS  512
#define FAKE_MAPPINGS 80
#define FAKE_SLOTS    512

enum fake_type {
    FAKE_FREE, FAKE_MEMORY, FAKE_PROCESS, FAKE_THREAD, FAKE_SC, FAKE_EVENT, FAKE_IRQ,
    FAKE_PORTS, FAKE_SYSTEM,
};

struct fake_mapping {
    uint64_t va, bytes, offset;
    uint32_t prot;
    int memory; // index of the object
};

struct fake_object {
    enum fake_type type;
    // memory
    int fd;
    uint64_t bytes;
    uint8_t *view; // how the test sees it
    // process
    struct process_status status;
    int event;
    uint64_t bits; // of a process: signalled at its end; of an event: those that are set
    uint32_t slots;
    struct { int object; uint32_t rights; uint64_t withheld; } slot[64];
    struct process_counts counts;
    uint32_t mappings;
    struct fake_mapping mapping[FAKE_MAPPINGS];
    uint32_t port_first, port_count;
    // thread
    int process;
    uint64_t entry, stack, argument;
    int sc;
    // scheduling context
    uint32_t core, share, period, users;
    bool soft;
};

struct fake_kernel {
    struct fake_object object[FAKE_OBJECTS];
    struct { int object; uint32_t rights; } handle[FAKE_SLOTS]; // object 0: free
    uint64_t memory_left;
    char log[1 << 16]; // what log_write was given
    uint32_t log_len;
    const char *kernel_log;
    uint64_t time_apart; // of system_info
    struct vcpu_stats stats[4];
    uint32_t stats_count;
    bool stats_move;   // each look at them finds one exit more
    int64_t audit;
    bool moves_wait;   // threads that sc_move() was asked for stay
    int off;           // status of system_off, -1 before
    // Called when the code under test would sleep. False: time is up (the wait times out).
    bool (*idle)(struct fake_kernel *kernel);
};

extern struct fake_kernel fake;

void fake_reset(void);
// Puts a new object in slot `h` of the code under test.
struct fake_object *fake_object_at(handle_t h, enum fake_type type, uint32_t rights);
// Makes a memory object hold `len` bytes, as a boot module does.
void fake_module(handle_t h, const void *bytes, uint64_t len);
struct fake_object *fake_handle(handle_t h);
struct fake_object *fake_slot(struct fake_object *process, handle_t slot, uint32_t *rights);
uint32_t fake_count(enum fake_type type);
// The mapping of a process that covers `va`, or NULL.
const struct fake_mapping *fake_mapped(const struct fake_object *process, uint64_t va);
void fake_process_end(struct fake_object *process, enum process_end end, int32_t status);
void fake_signal(struct fake_object *event, uint64_t bits);
