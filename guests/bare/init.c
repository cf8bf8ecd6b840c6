// SPDX-License-Identifier: BSD-2-Clause
//
// /init of the initramfs that `./bulkhead bench --linux` boots, in a VM and on the bare machine.
// Its first instruction is RDTSC. Then it collects what the kernel has counted until now, prints
// one line, and powers off. A Linux program without libc; one thread.

#include <stdint.h>

// Linux' system calls (arch/x86/entry/syscalls/syscall_64.tbl) and what goes with them.
enum { SYS_READ = 0, SYS_WRITE = 1, SYS_OPEN = 2, SYS_CLOSE = 3, SYS_IOCTL = 16,
       SYS_MOUNT = 165, SYS_REBOOT = 169 };
#define REBOOT_MAGIC1    0xfee1dead
#define REBOOT_MAGIC2    672274793
#define REBOOT_POWER_OFF 0x4321fedc

#define TCSBRK           0x5409 // with 1: waits until all is sent

#define FILE_SIZE 0x20000

__asm__(".globl _start\n"
        "_start:\n"
        "rdtsc\n"
        "shl $32, %rdx\n"
        "lea (%rdx,%rax), %rdi\n"
        "call init\n");

void init(uint64_t first_tsc);

static char file[FILE_SIZE]; // of /proc, one at a time, with a zero behind it
static char line[512];
static unsigned line_length;

static long call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = 0;
    long result;

    __asm__ volatile("syscall" : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

static uint64_t address(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static void read_file(const char *path)
{
    long fd = call(SYS_OPEN, address(path), 0, 0, 0);
    long length = 0, got;

    do {
        got = call(SYS_READ, (uint64_t)fd, address(file + length), FILE_SIZE - 1 - (uint64_t)length,
                   0);
        length += got > 0 ? got : 0;
    } while (got > 0);
    file[length] = 0;
    call(SYS_CLOSE, (uint64_t)fd, 0, 0, 0);
}

// Behind the first place where the file has `word` at or behind `from`, or NULL.
static const char *behind(const char *from, const char *word)
{
    for (; *from != 0; from++) {
        unsigned i = 0;
        while (word[i] != 0 && from[i] == word[i])
            i++;
        if (word[i] == 0)
            return from + i;
    }
    return 0;
}

static void put_text(const char *text)
{
    while (*text != 0 && line_length < sizeof(line))
        line[line_length++] = *text++;
}

static void put(const char *name, uint64_t value)
{
    char digits[24];
    unsigned at = sizeof(digits) - 1;

    digits[at] = 0;
    do
        digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    put_text(" ");
    put_text(name);
    put_text("=");
    put_text(digits + at);
}

// Adds name=N, the first number behind `word` in the file; 0 if the word is not there.
static void put_field(const char *name, const char *word)
{
    const char *text = behind(file, word);
    uint64_t value = 0;

    while (text != 0 && (*text == ' ' || *text == ':'))
        text++;
    while (text != 0 && *text >= '0' && *text <= '9')
        value = value * 10 + (uint64_t)(*text++ - '0');
    put(name, value);
}

__attribute__((used)) void init(uint64_t first_tsc)
{
    call(SYS_MOUNT, address("proc"), address("/proc"), address("proc"), 0);
    put_text("init:");
    put("tsc", first_tsc);
    read_file("/proc/timer_list");
    put_field("clock_ns", "now at");
    put_field("idle_ns", ".idle_sleeptime");
    read_file("/proc/interrupts");
    put_field("local_timer", "LOC:");
    put_field("irq0", "  0:");
    read_file("/proc/meminfo");
    put_field("mem_total_kb", "MemTotal:");
    put_text("\n");
    call(SYS_WRITE, 1, address(line), line_length, 0);
    call(SYS_IOCTL, 1, TCSBRK, 1, 0);
    call(SYS_REBOOT, REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_POWER_OFF, 0);
    for (;;)
        ;
}
