// SPDX-License-Identifier: BSD-2-Clause
// Memory objects, address spaces (of processes and VMs), mappings, processes and their quotas.
//
// State is guarded by kernel_lock. A space's page tables are written under kernel_lock on any core
// and walked by hardware on the cores of its `running` mask.
#pragma once
#include "kernel/core/cpu.h"
#include "kernel/core/object.h"
#include "arch_inline.h"

// Shoot-down: a core says which spaces it is in by cpu->space and cpu->guest_space. Whoever removes
// an entry raises `generation`, kicks the cores that are in the space and waits until each has left
// it or has seen[core] == generation. A core that comes in publishes it first and then (full
// barrier) compares generations before it uses the tables.
struct space {
    uint64_t seen[CPU_MAX];   // generations, each written by its core; first, for short ways
    struct arch_space arch;
    uint32_t owner_id;        // object id: owner of the page-table frames
    uint8_t is_vm;            // guest-physical, else a process
    uint8_t dead;             // atomic: whoever is in it must leave it at CPU_IPI_FLUSH
    uint32_t changes;         // maps and unmaps, for the audit
    uint8_t still;            // the audit gets on only if those wait
    uint64_t generation;      // atomic
    struct list mappings;     // struct mapping.in_space, by address
    struct list *near;        // one of these or the list itself: where the last search ended
    uint32_t records;         // how many; at most SPACE_RECORDS_MAX
    struct process *payer;    // page tables are charged to it
};

struct memory {
    struct object object;
    struct hpa base;
    uint64_t bytes;        // multiple of PAGE_SIZE
    uint8_t flags;         // MEM_*
    struct list mappings;  // struct mapping.in_memory
    uint32_t records;      // how many; at most SPACE_RECORDS_MAX
    uint64_t zeroed;       // bytes done, while it is made or destroyed
    uint32_t pins;         // the kernel itself uses the frames (a vCPU's page)
};
#define MEM_MODULE 0x80 // a boot module: read-only for ever; the others are in syscall.h
#define MEM_DEVICE 0x40 // beside that: no RAM, and writable; it has no owner in the frame table
#define PROT_DEVICE 8   // of its mappings, beside PROT_*: not cached, but writes may be combined

struct mapping { // from the slab, charged to the space's payer
    struct object object; // type OBJ_NONE: has no handle; dying: it is being taken away
    struct memory *memory;
    struct space *space;
    uint64_t address;      // va or gpa
    uint64_t offset, bytes;
    uint64_t mapped;       // bytes from the start that have their entries
    uint8_t prot;
    uint64_t clear;        // while it is being taken away: the next address to be cleared
    struct list in_space, in_memory;
};

struct process {
    uint64_t handles[HANDLE_MAX]; // first: an entry's address takes no sum
    uint64_t withheld[HANDLE_MAX]; // where HANDLE_NARROW is set: bits of the event not to signal
    struct object object;
    struct space space;
    uint64_t taken[HANDLE_MAX / 64]; // a bit for each slot of handles[], and that of 0
    struct list objects;     // struct object.owned
    struct list threads;     // struct thread.in_process
    uint32_t threads_alive;
    uint64_t quota, used;    // bytes: frames of memory objects, page tables and kernel objects
    uint32_t may[OBJ_TYPE_COUNT], have[OBJ_TYPE_COUNT]; // objects; have: also what children may
    uint64_t wakes_paid;     // atomic, TSC: see event_signal
    struct process *parent;  // quota and counts were taken from there and return there
    uint8_t depth;           // how many are above it; at most PROCESS_LEVELS_MAX
    struct notice end;
    struct process_status status;
    uint16_t port_first, port_count; // I/O ports that it may use
    uint8_t has_log;         // it shows the log, and not the kernel
};
#define PROCESS_LEVELS_MAX 8u // bounds the ways upwards of those that are destroyed

// Looks up a handle of any type; NULL: out of range, empty or stale. No lock, as below.
static inline struct object *handle_any(const struct process *process, uint64_t h, uint8_t *rights)
{
    if (unlikely(h >= HANDLE_MAX))
        return NULL;
    // Nor does a CPU read behind the table that takes the branch wrongly: so wherever ring 3 names
    // the entry.
    h = arch_index(h, HANDLE_MAX);
    uint64_t entry = __atomic_load_n(&process->handles[h], __ATOMIC_RELAXED);
    *rights = (uint8_t)(entry >> 24);
    return handle_object(entry);
}

// o, which handle_any() has found, if it is one of these; NULL and *status otherwise.
static inline struct object *handle_check(struct object *o, uint8_t have, enum object_type type,
                                          uint8_t rights, enum status *status)
{
    *status = ERR_HANDLE;
    if (unlikely(!o || o->type != type))
        return NULL;
    *status = ERR_RIGHTS;
    return unlikely(~have & rights) ? NULL : o;
}

// Looks up a handle of `process`; on failure NULL and *status (ERR_HANDLE, ERR_RIGHTS). No lock,
// but what a call changes under kernel_lock it must look up under kernel_lock.
static inline struct object *handle_get(const struct process *process, uint64_t h,
                                        enum object_type type, uint8_t rights,
                                        enum status *status)
{
    uint8_t have = 0;
    struct object *o = handle_any(process, h, &have);
    return handle_check(o, have, type, rights, status);
}

// Quota and counts. kernel_lock held.
void process_give_back(struct process *p); // it ends: its parent has them again
bool process_charge(struct process *p, uint64_t bytes) MUST_CHECK;
void process_uncharge(struct process *p, uint64_t bytes);
// Makes a process: parent NULL only for the first, which gets all counts. kernel_lock held. NULL
// and *status on failure.
struct process *process_make(struct process *parent, uint64_t quota,
                             const struct process_counts *counts, enum status *status);
// Tells all its threads to die. kernel_lock held.
void process_kill(struct process *p);
struct thread;
void process_kill_one(struct thread *t); // one of them. kernel_lock held
// Its last thread has ended. kernel_lock held; what it returns is told after unlocking.
struct notice process_ended(struct process *p);
// Copies between the kernel and a process without ever faulting: walks its tables; false where the
// range is not mapped (or not writable). At most a few pages; kernel_lock not needed by callers on
// the process's own thread.
bool copy_from_user(struct process *p, void *to, uint64_t va, size_t bytes) MUST_CHECK;
bool copy_to_user(struct process *p, uint64_t va, const void *from, size_t bytes) MUST_CHECK;

// memory.c. Frames that the caller found; not zeroed, not charged. kernel_lock held.
struct memory *memory_wrap(struct process *owner, struct hpa base, uint64_t bytes, uint8_t flags,
                           enum status *status);
// Takes frames from the allocator and charges them; not zeroed. kernel_lock held.
struct memory *memory_make(struct process *owner, uint64_t bytes, uint64_t align, uint8_t flags,
                           enum status *status);
void memory_free(struct memory *m); // its frames, all zero and mapped nowhere; kernel_lock held
// True: it is all zeros. Else at most MEM_PIECE bytes more are zeroed, but of a module, and
// kernel_lock, which was held, is released: nobody else can reach the frames.
bool memory_zero_piece(struct memory *m);
extern uint64_t memory_zeroing; // ticks spent in it, all cores
#define MEM_PIECE (1ull << 15)

// space.c. Mappings and the shoot-down protocol. kernel_lock held for all but what is inline.
enum status space_init(struct space *s, uint32_t owner_id, bool is_vm,
                       struct process *payer) MUST_CHECK;
// Makes the record, which takes the range; nothing is mapped yet. NULL and *status on failure.
struct mapping *space_map(struct space *s, struct memory *m, uint64_t offset, uint64_t bytes,
                          uint64_t address, uint8_t prot, enum status *status);
// Maps a piece of the rest; all is mapped when mapped == bytes.
enum status mapping_map(struct mapping *map);
#define SPACE_RECORDS_MAX 512u // bounds the walks along them
void mapping_free(struct mapping *map); // the record: nothing of it is in any TLB
// This core compares generations and flushes if it must.
void space_sync(struct space *s, uint32_t core);
void cpu_leave_dead(void); // this core leaves spaces that are marked dead
// Makes every core leave the space; true: all have. Then nothing of it is in any TLB.
bool space_drop(struct space *s);

bool space_has_core(const struct space *s, uint32_t core); // it is in there

static inline uint64_t space_generation(const struct space *s)
{
    return __atomic_load_n(&s->generation, __ATOMIC_SEQ_CST);
}

// What this core's TLB holds of the space must be flushed before it is used.
static inline bool space_stale(const struct space *s, uint32_t core)
{
    return s->seen[core] != space_generation(s);
}

// The core's side: comes into a space, and with that leaves the one that it was in. True: it is
// stale.
static inline bool space_enter(struct space **in, struct space *s, uint32_t core)
{
    (void)__atomic_exchange_n(in, s, __ATOMIC_SEQ_CST); // not a store: it is the barrier
    return space_stale(s, core);
}

