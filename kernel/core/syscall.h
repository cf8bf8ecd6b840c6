// SPDX-License-Identifier: BSD-2-Clause
// How the files of kernel/core define system calls. Each is one function in the file of its object,
// in two halves: decode_…() checks everything and changes nothing, what follows it takes effect.
// What can still fail then is only the taking of memory, which is undone as a whole.
#pragma once
#include "kernel/core/arch.h"

#define ARGUMENT __attribute__((unused)) uint64_t
#define SYSCALL(name)                                                                              \
    struct syscall_result sys_##name(ARGUMENT a0, ARGUMENT a1, ARGUMENT a2, ARGUMENT a3,           \
                                     ARGUMENT a4, ARGUMENT a5)

#define X(name, number) SYSCALL(name);
SYSCALLS(X)
#undef X

static inline struct syscall_result result(int64_t status)
{
    return (struct syscall_result){ status, 0 };
}

// The same, leaving the locked part of a call.
static inline struct syscall_result unlock_result(int64_t status)
{
    spin_unlock(&kernel_lock);
    return result(status);
}

static inline struct process *caller_process(void) { return this_cpu()->current->process; }

// The handle's object as the struct it is part of; NULL and *status on failure.
#define HANDLE(process, h, type, noun, rights, status)                                             \
    object_to(handle_get(process, h, type, rights, status), noun)

// A new object's handle for the caller; ends the object again if the table is full. kernel_lock
// held.
int64_t handle_give(struct process *to, struct object *object, uint8_t rights);

// mem_map and vm_map: what they have in common. kernel_lock held.
struct map_args {
    struct memory *memory;
    uint64_t offset, bytes;
    uint8_t prot;
};
enum status map_decode(struct map_args *m, uint64_t h, uint64_t offset, uint64_t bytes,
                       uint64_t prot);
// mem_unmap and vm_unmap. kernel_lock is held by the caller and released here; may not return.
struct syscall_result space_unmap_call(struct space *s, uint64_t address, uint64_t bytes);
