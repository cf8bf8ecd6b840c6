// SPDX-License-Identifier: BSD-2-Clause
//
// /init of an initramfs for stock Linux: several processes that keep their vector registers full
// of a pattern while they preempt each other, and count what is wrong in them. Prints one line and
// powers off. `rounds=N` on the kernel's command line makes it longer. A Linux program without
// libc, one thread a process; the counts are in memory that all of them share.

#include <stdbool.h>
#include <stdint.h>

// Linux' system calls (arch/x86/entry/syscalls/syscall_64.tbl) and what goes with them.
enum { SYS_WRITE = 1, SYS_MMAP = 9, SYS_IOCTL = 16, SYS_FORK = 57, SYS_EXIT = 60, SYS_WAIT4 = 61,
       SYS_REBOOT = 169 };
#define REBOOT_MAGIC1    0xfee1dead
#define REBOOT_MAGIC2    672274793
#define REBOOT_POWER_OFF 0x4321fedc
#define TCSBRK           0x5409 // with 1: waits until all is sent
#define READ_WRITE       3
#define SHARED_ANONYMOUS 0x21

#define PROCESSES   6
#define ROUNDS      40
#define PATTERN_MAX 2048
#define XCR0_AVX    4u
#define XCR0_AVX512 0xE0u
// Of a round: turns, and how long each is. Some end by the yield, some by the timer in between.
#define TURNS      8u
#define SPIN_SHORT 5000u
#define SPIN_LONG  120000u

typedef void hold_code(const void *in, void *out, uint64_t turns, uint64_t spin);
hold_code hold_sse, hold_avx, hold_avx512;

struct counts {
    uint64_t rounds, wrong;
};

void init(const uint64_t *stack);

static uint8_t in[PATTERN_MAX] __attribute__((aligned(64)));
static uint8_t out[PATTERN_MAX] __attribute__((aligned(64)));
static char line[256];
static unsigned line_length;

static long call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = ~0ul;
    register uint64_t r9 __asm__("r9") = 0;
    long result;

    __asm__ volatile("syscall" : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static void put_text(const char *text)
{
    while (*text != 0 && line_length < sizeof(line))
        line[line_length++] = *text++;
}

static void put_number(uint64_t value)
{
    char digits[24];
    unsigned at = sizeof(digits) - 1;

    digits[at] = 0;
    do
        digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    put_text(digits + at);
}

// The number behind `rounds=` in the environment, where Linux puts what it does not know itself.
static uint64_t rounds_wanted(const uint64_t *stack)
{
    static const char name[] = "rounds=";
    for (const uint64_t *p = stack + 1 + stack[0] + 1; *p != 0; p++) {
        const char *text = (const char *)(uintptr_t)*p; // NOLINT(performance-no-int-to-ptr)
        unsigned i = 0;
        uint64_t value = 0;
        while (name[i] != 0 && text[i] == name[i])
            i++;
        if (name[i] != 0)
            continue;
        while (text[i] >= '0' && text[i] <= '9')
            value = value * 10 + (uint64_t)(text[i++] - '0');
        return value;
    }
    return ROUNDS;
}

// What the system has enabled of XCR0: nothing if it does without XSAVE.
static uint32_t components(void)
{
    uint32_t eax = 1, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (!(ecx >> 27 & 1))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

static void run(unsigned id, hold_code *hold, unsigned bytes, uint64_t rounds,
                volatile struct counts *counts)
{
    for (uint64_t round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < bytes; i++) {
            in[i] = (uint8_t)(i * 7 + id * 59 + round * 13 + 1);
            out[i] = 0;
        }
        hold(in, out, TURNS, round & 1 ? SPIN_LONG : SPIN_SHORT);
        bool same = true;
        for (unsigned i = 0; i < bytes; i++)
            same = same && in[i] == out[i];
        counts->rounds++;
        counts->wrong += !same;
    }
}

__attribute__((used)) void init(const uint64_t *stack)
{
    uint32_t have = components();
    hold_code *widest = hold_sse;
    unsigned bytes = 256;
    if (have & XCR0_AVX) {
        widest = hold_avx;
        bytes = 512;
    }
    if ((have & XCR0_AVX512) == XCR0_AVX512) {
        widest = hold_avx512;
        bytes = PATTERN_MAX;
    }
    struct counts *counts = (struct counts *)call(SYS_MMAP, 0, 4096, READ_WRITE, SHARED_ANONYMOUS);
    uint64_t rounds = rounds_wanted(stack), done = 0, wrong = 0, failed = 0;
    for (unsigned id = 0; id < PROCESSES; id++) {
        if (call(SYS_FORK, 0, 0, 0, 0) != 0)
            continue;
        if (id == 1)
            run(id, hold_sse, 256, rounds, &counts[id]);
        else if (id == 2 && (have & XCR0_AVX))
            run(id, hold_avx, 512, rounds, &counts[id]);
        else
            run(id, widest, bytes, rounds, &counts[id]);
        call(SYS_EXIT, 0, 0, 0, 0);
    }
    for (unsigned id = 0; id < PROCESSES; id++) {
        int status = -1;
        call(SYS_WAIT4, ~0ul, (uintptr_t)&status, 0, 0);
        failed += status != 0;
    }
    for (unsigned id = 0; id < PROCESSES; id++) {
        done += counts[id].rounds;
        wrong += counts[id].wrong;
    }
    put_text("vectors: registers of ");
    put_number(bytes);
    put_text(" bytes, rounds ");
    put_number(done);
    put_text(", wrong ");
    put_number(wrong);
    put_text(", processes failed ");
    put_number(failed);
    put_text("\n");
    call(SYS_WRITE, 1, (uintptr_t)line, line_length, 0);
    call(SYS_IOCTL, 1, TCSBRK, 1, 0);
    call(SYS_REBOOT, REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_POWER_OFF, 0);
    for (;;)
        ;
}
