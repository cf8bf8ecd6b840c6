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
#include "kernel/lib/string.h"

#define LOG_BYTES 32768u
#define LINE_MAX  256

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

void log_print(const char *format, ...)
{
    char line[LINE_MAX];
    va_list args;
    va_start(args, format);
    size_t bytes = format_text(line, sizeof(line), format, args);
    va_end(args);
    spin_lock(&log_lock);
    put(line, bytes);
    if (!detached)
        arch_log(line, bytes);
    spin_unlock(&log_lock);
}

static size_t escape(char *to, unsigned char c)
{
    static const char digit[] = "0123456789abcdef";
    const char code[4] = { '\\', 'x', digit[c >> 4], digit[c & 15] };
    if (c >= ' ' && c < 0x7f && c != '\\') {
        *to = (char)c;
        return 1;
    }
    memcpy(to, code, sizeof(code));
    return sizeof(code);
}

__attribute__((format(printf, 3, 4))) static size_t format_into(char *to, size_t size,
                                                                const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t bytes = format_text(to, size, format, args);
    va_end(args);
    return bytes;
}

bool log_record(uint32_t process, const char *text, size_t bytes)
{
    char line[4 * LOG_PIECE + 32];
    size_t n = format_into(line, 32, "process %u: ", process);
    while (bytes && (text[bytes - 1] == '\n' || text[bytes - 1] == '\r'))
        bytes--; // the record's own end stands for it
    for (size_t i = 0; i < bytes; i++)
        n += escape(line + n, (unsigned char)text[i]);
    line[n++] = '\n';
    spin_lock(&log_lock);
    bool room = written - taken + n <= LOG_BYTES / 2;
    if (room)
        put(line, n);
    spin_unlock(&log_lock);
    return room;
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

// Straight to the port, and without a lock: for a core that stops the machine.
void log_raw(const char *format, ...)
{
    char line[LINE_MAX];
    va_list args;
    va_start(args, format);
    arch_log(line, format_text(line, sizeof(line), format, args));
    va_end(args);
}

// Takes no lock: whoever panics may hold any of them.
void panic(const char *format, ...)
{
    static const char head[] = "\nKERNEL PANIC: ";
    char line[LINE_MAX];
    va_list args;
    va_start(args, format);
    size_t bytes = format_text(line, sizeof(line), format, args);
    va_end(args);
    arch_stop_others(); // guests must not run on under a kernel that is broken
    arch_log(head, sizeof(head) - 1);
    arch_log(line, bytes);
    arch_log("\n", 1);
    arch_panic_halt();
}
