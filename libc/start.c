// SPDX-License-Identifier: BSD-2-Clause
// From the entry point to main(). Runs once, on the process's first thread.
#include <stdlib.h>
#include "libc/kcall.h"
#include "libc/process.h"
#include "libc/time.h"

extern void __libc_init_array(void);
extern int main(int argc, char **argv);

__attribute__((noreturn)) void process_start(const void *block);
__attribute__((noreturn)) void thread_start(unsigned index);

static const struct start_block *start;
static const struct boot_info *boot;

const struct start_block *start_block(void)
{
    return start;
}

const struct boot_info *boot_block(void)
{
    return boot;
}

void process_start(const void *block)
{
    static char *argv[] = {NULL};
    // Both kinds of block begin with their magic and the TSC's frequency.
    const struct start_block *head = block;
    if (head->magic == START_MAGIC) {
        start = head;
    } else if (head->magic == BOOT_MAGIC) {
        boot = block;
    } else {
        static const char text[] = "process: started with a block of unknown kind\n";
        kcall_log_write(text, sizeof(text) - 1);
        kcall_process_exit(127);
    }
    time_init(head->tsc_hz < 1000000 ? 1000000 : head->tsc_hz);
    __libc_init_array();
    exit(main(0, argv));
}

__attribute__((weak)) void process_thread(unsigned index)
{
    (void)index;
}

void thread_start(unsigned index)
{
    process_thread(index);
    kcall_thread_exit(0);
}

// Called by __libc_init_array() and exit(); the compiler's start files, which are not linked, would
// have them.
void _init(void);
void _fini(void);

void _init(void)
{
}

void _fini(void)
{
}
