// SPDX-License-Identifier: BSD-2-Clause
// A VMM that asks the kernel for as much as it may, in every way that was ever without a bound, if
// its VM is called "bad"; else the VMM that it is. It first takes all that it then keeps (events,
// handles), then a thousand threads do their mischief by turns, for good.
#include <string.h>
#include "libc/kcall.h"
#include "libc/process.h"
#include "libc/time.h"

#define THREADS   1000u
#define OBJECTS   100000u // events that are kept, beside all else
#define HANDLES   400u    // so many are in use, so that a free one is far
#define TIMERS    4u      // of each thread, in the queue all the time
#define DUE_MS    3600000u
#define STACK     1024u
#define PART      (4ull << 20) // of memory, mapped page by page for it lies at an odd one
#define VA        0x100000000ull
#define VA_STRIDE (2 * PART)

int vmm_main(void);

static char stacks[THREADS][STACK] __attribute__((aligned(16)));
static handle_t event, memory, console;
static uint64_t due;

static void close_later(int64_t handle)
{
    if (handle > 0) {
        kcall_handle_close((handle_t)handle);
    }
}

static void end(int64_t handle)
{
    if (handle > 0) {
        kcall_object_destroy((handle_t)handle);
    }
}

static void spin(uint64_t index)
{
    (void)index;
    for (volatile unsigned i = 0; i < 10000; i++) {
    }
}

static void make_event(uint64_t index)
{
    (void)index;
    end(kcall_event_create());
}

static void map(uint64_t index)
{
    uint64_t va = VA + index * VA_STRIDE;
    kcall_mem_map(HANDLE_SELF, memory, 0, PART, va + PAGE_SIZE, PROT_READ | PROT_WRITE);
    kcall_mem_unmap(HANDLE_SELF, va + PAGE_SIZE, PART);
}

static void fill_log(uint64_t index)
{
    static const char text[] = "\x01 of a log that has little room";
    (void)index;
    kcall_log_write(text, sizeof(text));
}

static void wake_console(uint64_t index)
{
    (void)index;
    kcall_event_signal(console, start_block()->vmm.console.bits);
}

// All of them are due at the same moments.
static void arm(uint64_t index)
{
    uint64_t period = ns_to_tsc(10000000), now = tsc_read();
    int64_t timer = kcall_timer_create(event, 2);
    (void)index;
    if (timer > 0) {
        kcall_timer_arm((handle_t)timer, now - now % period + period);
    }
    spin(0);
    end(timer);
}

static void copy_handle(uint64_t index)
{
    (void)index;
    close_later(kcall_handle_copy(HANDLE_SELF, event, RIGHT_USE, 0));
}

static void make_memory(uint64_t index)
{
    (void)index;
    end(kcall_mem_create(1 << 20, PAGE_SIZE, 0));
}

static void make_process(uint64_t index)
{
    static const struct process_counts counts = {.threads = 8};
    int64_t process = kcall_process_create(1 << 20, 0, 0, &counts);
    (void)index;
    if (process > 0) {
        for (unsigned i = 0; i < 8; i++) {
            int64_t thread = kcall_thread_create((handle_t)process, 0, 0x400000, 0x500000, 0);
            close_later(thread);
        }
    }
    end(process);
}

static void (*const mischief[])(uint64_t index) = {
    spin, make_event, map, fill_log, wake_console, arm, copy_handle, make_memory, make_process,
};
#define WAYS (sizeof(mischief) / sizeof(mischief[0]))

static __attribute__((noreturn)) void thread_main(uint64_t index)
{
    for (unsigned made = 0; made < TIMERS;) { // the table of handles may be full for a while
        int64_t timer = kcall_timer_create(event, 1);
        if (timer > 0) {
            kcall_timer_arm((handle_t)timer, due);
            made++;
        }
        close_later(timer);
    }
    for (;;) {
        mischief[index % WAYS](index);
    }
}

static void start_threads(void)
{
    for (uint64_t i = 0; i < THREADS; i++) {
        int64_t thread = kcall_thread_create(HANDLE_SELF, 0, (uint64_t)(uintptr_t)thread_main,
                                             (uint64_t)(uintptr_t)&stacks[i][STACK] - 8, i);
        close_later(thread);
    }
}

static void mutiny(void)
{
    event = (handle_t)kcall_event_create();
    memory = (handle_t)kcall_mem_create(PART, PAGE_2M, 0);
    console = start_block()->vmm.console.event;
    for (unsigned i = 0; i < OBJECTS; i++) {
        close_later(kcall_event_create());
    }
    for (unsigned i = 0; i < HANDLES; i++) {
        kcall_handle_copy(HANDLE_SELF, event, RIGHT_USE, 0);
    }
    due = tsc_read() + ns_to_tsc(DUE_MS * 1000000ull);
    start_threads();
    thread_main(0);
}

int main(void)
{
    const struct start_block *start = start_block();
    if (start != NULL && strcmp(start->vmm.name, "bad") == 0) {
        mutiny();
    }
    return vmm_main();
}
