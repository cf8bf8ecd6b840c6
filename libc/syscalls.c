// SPDX-License-Identifier: BSD-2-Clause
// What newlib asks of the system below it. A ring-3 process has a console-like output, a heap and a
// clock; it has no files, and every other call fails with the errno that says so. Single-threaded.
#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/times.h>
#include <unistd.h>
#include "libc/kcall.h"
#include "libc/process.h"
#include "libc/time.h"

#define HEAP_CHUNK 0x10000ull

static void (*output_sink)(void *opaque, const char *text, uint32_t len);
static void *output_opaque;

// The names newlib links against.
int open(const char *path, int flags, ...);
int kill(pid_t process, int signal);

void process_output(void (*sink)(void *opaque, const char *text, uint32_t len), void *opaque)
{
    output_sink = sink;
    output_opaque = opaque;
}

int64_t process_map_pages(uint64_t va, uint64_t bytes, uint64_t flags)
{
    int64_t mem = kcall_mem_create(bytes, PAGE_SIZE, flags);
    if (mem < 0) {
        return mem;
    }
    int64_t status = kcall_mem_map(HANDLE_SELF, (handle_t)mem, 0, bytes, va,
                                   PROT_READ | PROT_WRITE);
    if (status < 0) {
        kcall_object_destroy((handle_t)mem);
        return status;
    }
    return mem;
}

int write(int file, const void *text, size_t len)
{
    if (file != STDOUT_FILENO && file != STDERR_FILENO) {
        errno = EBADF;
        return -1;
    }
    size_t done = 0;
    while (done < len) {
        const char *next = (const char *)text + done;
        int64_t taken = (int64_t)(len - done);
        if (output_sink != NULL) {
            output_sink(output_opaque, next, (uint32_t)taken);
        } else {
            taken = kcall_log_write(next, (uint64_t)taken);
        }
        if (taken <= 0) {
            break; // the log is full: what it does not take is dropped
        }
        done += (size_t)taken;
    }
    return (int)len;
}

void *sbrk(ptrdiff_t delta)
{
    static uint64_t heap_break = HEAP_START, heap_mapped = HEAP_START;
    uint64_t old = heap_break, next = old + (uint64_t)delta;
    if (next < HEAP_START || next > HEAP_END) {
        errno = ENOMEM;
        return (void *)-1;
    }
    if (next > heap_mapped) {
        uint64_t bytes = (next - heap_mapped + HEAP_CHUNK - 1) & ~(HEAP_CHUNK - 1);
        if (process_map_pages(heap_mapped, bytes, 0) < 0) {
            errno = ENOMEM;
            return (void *)-1;
        }
        heap_mapped += bytes;
    }
    heap_break = next;
    return (void *)(uintptr_t)old;
}

// UTC, as the host's RTC gave it at boot, moved on by the TSC. The manager has none for itself.
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    const struct start_block *start = start_block();
    uint64_t seconds = start != NULL ? start->wall_seconds : 0;
    uint64_t us = start != NULL ? tsc_to_ns(tsc_read() - start->wall_tsc) / 1000 : 0;
    now->tv_sec = (time_t)(seconds + us / 1000000);
    now->tv_usec = (suseconds_t)(us % 1000000);
    return 0;
}

clock_t times(struct tms *usage)
{
    clock_t now = (clock_t)(time_host_ns() / (1000000000 / CLOCKS_PER_SEC));
    *usage = (struct tms){.tms_utime = now};
    return now;
}

__attribute__((noreturn)) void _exit(int status)
{
    kcall_process_exit(status);
}

int fstat(int file, struct stat *status)
{
    if (file < STDIN_FILENO || file > STDERR_FILENO) {
        errno = EBADF;
        return -1;
    }
    *status = (struct stat){.st_mode = S_IFCHR};
    return 0;
}

// A terminal, so that stdio buffers by line.
int isatty(int file)
{
    return file >= STDIN_FILENO && file <= STDERR_FILENO;
}

int read(int file, void *buffer, size_t len)
{
    (void)buffer;
    (void)len;
    if (file != STDIN_FILENO) {
        errno = EBADF;
        return -1;
    }
    return 0; // end of file
}

int open(const char *path, int flags, ...)
{
    (void)path;
    (void)flags;
    errno = ENOENT;
    return -1;
}

int close(int file)
{
    (void)file;
    errno = EBADF;
    return -1;
}

off_t lseek(int file, off_t offset, int whence)
{
    (void)file;
    (void)offset;
    (void)whence;
    errno = ESPIPE;
    return -1;
}

pid_t getpid(void)
{
    return 1;
}

// abort() and assert() end here.
int kill(pid_t process, int signal)
{
    if (process != getpid()) {
        errno = ESRCH;
        return -1;
    }
    _exit(128 + signal);
}
