// SPDX-License-Identifier: BSD-2-Clause
//
// A neighbour that notices when anything of its own changes. It fills all its free memory, its
// vector and debug registers and those MSRs that hold what is written with a pattern
// (lib/pattern.h) under a key of its own, computes the checksum of the memory a few times a second,
// compares the registers, and prints a heartbeat once a second, on the second:
//   beat N, P passes of W words, sum X
// or FAIL and what changed. Options: key=N (1), passes=N in each second (4).
// State: the areas and the checksum that they must have, computed from the key, not from memory.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/options.h"
#include "guests/lib/pattern.h"
#include "guests/lib/start.h"
#include "guests/lib/timer.h"

#define CPUID_1_ECX_AVX 0x18000000u // AVX and OSXSAVE
#define HEAP_KEPT       0x20000u    // for libc, which has printed by then
#define VECTOR_BYTES    (16 * 32ul)

uint64_t sentry_pass(const uint64_t *words, uint64_t count, uint64_t sum, const void *before,
                     void *behind);
uint64_t sentry_pass_avx(const uint64_t *words, uint64_t count, uint64_t sum, const void *before,
                         void *behind);

// Free memory: below the extended BIOS data area, the text screen, and from the heap to the end.
static struct area {
    uintptr_t start, end;
} areas[] = {
    {0x1000, 0x9F000},
    {0xB8000, 0xC0000},
    {0, 0},
};
#define AREAS (sizeof(areas) / sizeof(areas[0]))

// MSRs that keep any canonical address; of the last two one keeps 32 bits, the other a selector.
static const uint32_t msrs[] = {
    0x175, 0x176, 0xC0000082, 0xC0000083, 0xC0000100, 0xC0000101, 0xC0000102, 0xC0000084, 0x174,
};
#define MSRS       (sizeof(msrs) / sizeof(msrs[0]))
#define MSRS_WIDE  7
#define DEBUG_REGS 4

static uint32_t key;
static bool avx;
static uint8_t before[VECTOR_BYTES], behind[VECTOR_BYTES];

static uint64_t rotate(uint64_t value)
{
    return value << 1 | value >> 63;
}

// Writes the pattern; returns the checksum that it has, and by pointer the number of words.
static uint64_t fill(uint64_t *words)
{
    uint64_t sum = 0, index = 0;
    for (unsigned int i = 0; i < AREAS; i++) {
        for (uintptr_t at = areas[i].start; at < areas[i].end; at += sizeof(uint64_t)) {
            uint64_t word = pattern_word(key, index++);
            *(volatile uint64_t *)at = word;
            sum = rotate(sum) + word;
        }
    }
    *words = index;
    return sum;
}

static uint64_t msr_value(unsigned int i)
{
    uint64_t narrow = (pattern_magic() ^ i) & (msrs[i] == 0x174 ? 0xFFFF : ~0u);
    return i < MSRS_WIDE ? pattern_register(key, i) : narrow;
}

static uint64_t read_debug(unsigned int i)
{
    uint64_t value[DEBUG_REGS];
    __asm__ volatile("mov %%db0, %0\n mov %%db1, %1\n mov %%db2, %2\n mov %%db3, %3"
                     : "=r"(value[0]), "=r"(value[1]), "=r"(value[2]), "=r"(value[3]));
    return value[i];
}

static void fill_registers(void)
{
    for (unsigned int i = 0; i < MSRS; i++)
        wrmsr(msrs[i], msr_value(i));
    __asm__ volatile("mov %0, %%db0\n mov %1, %%db1\n mov %2, %%db2\n mov %3, %%db3\n"
                     "mov %4, %%cr2"
                     :
                     : "r"(pattern_register(key, 100)), "r"(pattern_register(key, 101)),
                       "r"(pattern_register(key, 102)), "r"(pattern_register(key, 103)),
                       "r"(pattern_register(key, 110))
                     : "memory");
    for (unsigned int i = 0; i < VECTOR_BYTES / sizeof(uint64_t); i++) {
        uint64_t word = pattern_word(~key, i);
        memcpy(before + i * sizeof(word), &word, sizeof(word));
    }
}

static bool registers_are(void)
{
    for (unsigned int i = 0; i < MSRS; i++) {
        if (rdmsr(msrs[i]) != msr_value(i)) {
            printf("FAIL MSR %x is %llx\n", (unsigned int)msrs[i],
                   (unsigned long long)rdmsr(msrs[i]));
            return false;
        }
    }
    for (unsigned int i = 0; i < DEBUG_REGS; i++) {
        if (read_debug(i) != pattern_register(key, 100 + i)) {
            printf("FAIL DR%u is %llx\n", i, (unsigned long long)read_debug(i));
            return false;
        }
    }
    if (read_cr2() != pattern_register(key, 110)) {
        printf("FAIL CR2 is %llx\n", (unsigned long long)read_cr2());
        return false;
    }
    return true;
}

// One pass over all that must not change.
static bool check_all(uint64_t expected)
{
    uint64_t sum = 0;
    bool ok = registers_are();
    for (unsigned int i = 0; i < AREAS; i++) {
        const uint64_t *words = (const uint64_t *)areas[i].start;
        uint64_t count = (areas[i].end - areas[i].start) / sizeof(uint64_t);
        sum = (avx ? sentry_pass_avx : sentry_pass)(words, count, sum, before, behind);
        if (memcmp(before, behind, avx ? VECTOR_BYTES : VECTOR_BYTES / 2) != 0) {
            printf("FAIL a vector register changed\n");
            ok = false;
        }
    }
    if (sum == expected)
        return ok;
    printf("FAIL the checksum of memory is %016llx, not %016llx\n", (unsigned long long)sum,
           (unsigned long long)expected);
    return false;
}

int main(void)
{
    key = (uint32_t)option_number("key", 1, 1, 0x7F);
    uint64_t often = option_number("passes", 4, 1, 100);
    avx = (cpuid(1, 0).ecx & CPUID_1_ECX_AVX) == CPUID_1_ECX_AVX;
    printf("sentry: key %u\n", (unsigned int)key); // libc takes its buffer now
    areas[AREAS - 1].start = ((uintptr_t)sbrk(0) + HEAP_KEPT) & ~4095ul;
    areas[AREAS - 1].end = guest_ram_end();
    uint64_t words, expected = fill(&words), passes = 0;
    fill_registers();

    uint64_t second = clock_tsc_hz(), start = rdtsc();
    bool ok = true;
    for (uint64_t beat = 1; ok; beat++, start += second) {
        for (uint64_t i = 1; i <= often; i++, passes++) {
            ok = check_all(expected) && ok;
            sleep_until_tsc(start + second * i / often);
        }
        printf("beat %llu, %llu passes of %llu words, sum %016llx\n", (unsigned long long)beat,
               (unsigned long long)passes, (unsigned long long)words,
               (unsigned long long)expected);
    }
    return 1;
}
