// SPDX-License-Identifier: BSD-2-Clause
// The kernel's log: a ring that the manager reads, and the polled serial line as long as no process
// owns it. Any core, under log_lock. A panic goes around both.
//
// What processes write is marked as theirs, goes to the ring only, and only as long as less than
// half of it is unread: so no process can pass for the kernel, wipe what the kernel said, or have a
// core wait for the serial line.
#include <stdarg.h>
#include "kernel/core/arch.h"
#include "kernel/lib/printf.h"

#define LOG_BYTES 32768u
#define LINE_MAX  (LOG_PIECE + 32)

static struct spinlock log_lock;
static char ring[LOG_BYTES];
static uint64_t written, taken; // bytes ever; what is older than LOG_BYTES is gone
static bool detached;

// log_lock held.
static void put(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ring[written++ % LOG_BYTES] = text[i];
}

bool log_line(enum log_from from, const char *format, ...)
{
    char line[LINE_MAX];
    va_list args;
    va_start(args, format);
    size_t bytes = format_text(line, sizeof(line), format, args);
    va_end(args);
    if (from == LOG_END) {
        arch_log(line, bytes);
        return true;
    }
    spin_lock(&log_lock);
    bool room = from == LOG_KERNEL || written - taken + bytes <= LOG_BYTES / 2;
    if (room)
        put(line, bytes);
    if (from == LOG_KERNEL && !detached)
        arch_log(line, bytes);
    spin_unlock(&log_lock);
    return room;
}

bool log_record(uint32_t process, const char *text, size_t bytes)
{
    char clean[LOG_PIECE + 1];
    while (bytes && (text[bytes - 1] == '\n' || text[bytes - 1] == '\r'))
        bytes--; // the record's own end stands for it
    for (size_t i = 0; i < bytes; i++)
        clean[i] = (char)(text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?');
    clean[bytes] = 0;
    return log_line(LOG_PROCESS, "process %u: %s\n", process, clean);
}

size_t log_text(const char *text, size_t bytes)
{
    spin_lock(&log_lock);
    size_t done = detached ? bytes : arch_log_some(text, bytes);
    put(text, done);
    spin_unlock(&log_lock);
    return done;
}

size_t log_read(char *to, size_t bytes)
{
    size_t got = 0;
    spin_lock(&log_lock);
    if (written - taken > LOG_BYTES)
        taken = written - LOG_BYTES;
    while (got < bytes && taken != written)
        to[got++] = ring[taken++ % LOG_BYTES];
    spin_unlock(&log_lock);
    return got;
}

void log_detach(bool off) { __atomic_store_n(&detached, off, __ATOMIC_RELAXED); }

void log_taken(struct process *p)
{
    p->has_log = 1;
    log_detach(true);
}

// Takes no lock: whoever panics may hold any of them.
void panic(const char *format, ...)
{
    char line[LINE_MAX];
    va_list args;
    va_start(args, format);
    (void)format_text(line, sizeof(line), format, args);
    va_end(args);
    arch_stop_others(); // guests must not run on under a kernel that is broken
    log_raw("\nKERNEL PANIC: %s\n", line);
    arch_panic_halt();
}
