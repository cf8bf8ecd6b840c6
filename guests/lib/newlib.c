// SPDX-License-Identifier: BSD-2-Clause
//
// The calls that newlib makes: a console on COM1, a heap, a clock, an exit. There are no files.
// State: the break of the heap. Runs on the guest's only processor; handlers do not call libc's
// allocating functions, so there is nothing to lock.

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include "guests/lib/clock.h"
#include "guests/lib/power.h"
#include "guests/lib/start.h"
#include "guests/lib/timer.h"
#include "guests/lib/uart.h"

#define READ_POLL_NS (5 * NS_PER_MS)

static uintptr_t heap_break, heap_end;

// newlib declares these three nowhere, or without a prototype that fits.
int open(const char *path, int flags, ...);
int kill(pid_t pid, int signal);
void _init(void);
void _fini(void);

void newlib_heap_init(uintptr_t start, uintptr_t end)
{
    heap_break = start;
    heap_end = end;
}

void *sbrk(ptrdiff_t increment)
{
    uintptr_t old = heap_break;
    if (increment > 0 && (uintptr_t)increment > heap_end - heap_break) {
        errno = ENOMEM;
        return (void *)-1;
    }
    heap_break += (uintptr_t)increment;
    return (void *)old;
}

static bool is_console(int fd)
{
    if (fd >= STDIN_FILENO && fd <= STDERR_FILENO)
        return true;
    errno = EBADF;
    return false;
}

_READ_WRITE_RETURN_TYPE write(int fd, const void *buffer, size_t length)
{
    if (!is_console(fd))
        return -1;
    const char *text = buffer;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            uart_putc('\r');
        uart_putc((uint8_t)text[i]);
    }
    return (_READ_WRITE_RETURN_TYPE)length;
}

// Waits for the first byte, asleep in between, and takes what is there.
_READ_WRITE_RETURN_TYPE read(int fd, void *buffer, size_t length)
{
    if (!is_console(fd))
        return -1;
    if (length == 0)
        return 0;
    uint8_t *bytes = buffer;
    size_t count = 0;
    while (count == 0) {
        while (count < length && uart_getc(&bytes[count]))
            count++;
        if (count == 0)
            sleep_ns(READ_POLL_NS);
    }
    return (_READ_WRITE_RETURN_TYPE)count;
}

int open(const char *path, int flags, ...)
{
    (void)path;
    (void)flags;
    errno = ENOENT;
    return -1;
}

int close(int fd)
{
    return is_console(fd) ? 0 : -1;
}

off_t lseek(int fd, off_t offset, int whence)
{
    (void)offset;
    (void)whence;
    if (is_console(fd))
        errno = ESPIPE;
    return -1;
}

int fstat(int fd, struct stat *status)
{
    if (!is_console(fd))
        return -1;
    *status = (struct stat){.st_mode = S_IFCHR};
    return 0;
}

int isatty(int fd)
{
    return is_console(fd) ? 1 : 0;
}

pid_t getpid(void)
{
    return 1;
}

// raise() and abort() end here: there is one process, and a signal is its end.
int kill(pid_t pid, int signal)
{
    (void)pid;
    char message[32];
    snprintf(message, sizeof(message), "signal %d", signal);
    guest_die(message);
}

// Time since the guest's first instruction: the board's RTC is nobody's business here.
int gettimeofday(struct timeval *time, void *zone)
{
    (void)zone;
    uint64_t ns = clock_uptime_ns();
    time->tv_sec = (time_t)(ns / NS_PER_SECOND);
    time->tv_usec = (suseconds_t)(ns % NS_PER_SECOND / 1000);
    return 0;
}

// clock() is made of this one; the guest is all user time.
clock_t times(struct tms *times)
{
    clock_t ticks = (clock_t)(clock_uptime_ns() / (NS_PER_SECOND / CLOCKS_PER_SEC));
    *times = (struct tms){.tms_utime = ticks};
    return ticks;
}

_Noreturn void _exit(int status)
{
    if (status != 0) {
        char message[32];
        snprintf(message, sizeof(message), "exit status %d", status);
        guest_die(message);
    }
    guest_poweroff(0);
}

void _init(void)
{
}

void _fini(void)
{
}
