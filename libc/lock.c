// SPDX-License-Identifier: BSD-2-Clause
// newlib's locks. Every ring-3 process of Bulkhead has one thread that calls the C library, so
// taking a lock is free; trying always succeeds.
#include <stddef.h>
#include <sys/lock.h>

struct __lock {
    char unused;
};

struct __lock __lock___sinit_recursive_mutex, __lock___sfp_recursive_mutex;
struct __lock __lock___atexit_recursive_mutex, __lock___at_quick_exit_mutex;
struct __lock __lock___malloc_recursive_mutex, __lock___env_recursive_mutex;
struct __lock __lock___tz_mutex, __lock___dd_hash_mutex, __lock___arc4random_mutex;

// A lock made at run time needs no state of its own.
static struct __lock made;

void __retarget_lock_init(_LOCK_T *lock)
{
    *lock = &made;
}

void __retarget_lock_init_recursive(_LOCK_T *lock)
{
    *lock = &made;
}

void __retarget_lock_close(_LOCK_T lock)
{
    (void)lock;
}

void __retarget_lock_close_recursive(_LOCK_T lock)
{
    (void)lock;
}

void __retarget_lock_acquire(_LOCK_T lock)
{
    (void)lock;
}

void __retarget_lock_acquire_recursive(_LOCK_T lock)
{
    (void)lock;
}

int __retarget_lock_try_acquire(_LOCK_T lock)
{
    (void)lock;
    return 1;
}

int __retarget_lock_try_acquire_recursive(_LOCK_T lock)
{
    (void)lock;
    return 1;
}

void __retarget_lock_release(_LOCK_T lock)
{
    (void)lock;
}

void __retarget_lock_release_recursive(_LOCK_T lock)
{
    (void)lock;
}
