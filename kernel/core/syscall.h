// SPDX-License-Identifier: BSD-2-Clause
// How the files of kernel/core define system calls. Each is one function in the file of its object.
// It checks everything before it changes anything; what can still fail then is only the taking of
// memory, which is undone as a whole.
#pragma once
#include "kernel/core/arch.h"

#define ARGUMENTS                                                                                  \
    UNUSED uint64_t a0, UNUSED uint64_t a1, UNUSED uint64_t a2, UNUSED uint64_t a3,                \
        UNUSED uint64_t a4, UNUSED uint64_t a5
#define SYSCALL(name) struct syscall_result sys_##name(ARGUMENTS)

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
#define HANDLE(process, h, noun, rights, status)                                                   \
    object_to(handle_get(process, h, OBJ_OF_##noun, rights, status), noun)

// A call whose body has the status as its value and runs with kernel_lock held.
#define SYSCALL_LOCKED(name)                                                                       \
    static int64_t name##_locked(ARGUMENTS);                                                       \
    SYSCALL(name)                                                                                  \
    {                                                                                              \
        uint64_t start = arch_now();                                                               \
        spin_lock(&kernel_lock);                                                                   \
        struct syscall_result r = unlock_result(name##_locked(a0, a1, a2, a3, a4, a5));            \
        irqs_off(this_cpu(), start);                                                               \
        irqs_on(this_cpu(), arch_now());                                                           \
        return r;                                                                                  \
    }                                                                                              \
    static int64_t name##_locked(ARGUMENTS)

// A call whose first argument is a handle with these rights: the body finds the object as `noun`.
// What a call changes under kernel_lock, it must look up under kernel_lock: then LOCKED.
#define SYSCALL_ON(name, noun, rights) CALL_ON(SYSCALL, result, name, noun, rights)
#define SYSCALL_LOCKED_ON(name, noun, rights) CALL_ON(SYSCALL_LOCKED, , name, noun, rights)
#define CALL_ON(kind, result_of, name, noun, rights)                                               \
    static int64_t name##_on(UNUSED struct noun *noun, ARGUMENTS);                                 \
    kind(name)                                                                                     \
    {                                                                                              \
        enum status status;                                                                        \
        struct noun *noun = HANDLE(caller_process(), a0, noun, rights, &status);                   \
        return result_of(noun ? name##_on(noun, a0, a1, a2, a3, a4, a5) : status);                 \
    }                                                                                              \
    static int64_t name##_on(UNUSED struct noun *noun, ARGUMENTS)

// A new object's handle for the caller; ends the object again if the table is full: where that is
// not so easily done, handle_find() comes before the object is made. kernel_lock held.
int handle_give(struct object *object);
