// SPDX-License-Identifier: BSD-2-Clause
//
// Vector registers of several contexts, kept by the guest itself over the ticks of its timer: with
// XSAVEC where CPUID shows it, else with XSAVEOPT or XSAVE. Each context fills the registers of its
// width, SSE to AVX-512, again and again, and judges what is left of them after some ticks.

#include "guests/test-cpu/contexts.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/timer.h"
#include "guests/test-cpu/groups.h"

#define CONTEXTS    5
#define ROUNDS      24
#define TURNS       40
#define TICK_NS     (60 * NS_PER_US)
#define AREA_SIZE   4096
#define STACK_SIZE  8192
#define XCR0_AVX    4u
#define XCR0_AVX512 0xE0u
#define MASKS       2048 // of an AVX-512 pattern: the mask registers, two bytes each
#define PATTERN     (MASKS + 16)

typedef void hold_code(const void *in, void *out, uint64_t turns);
hold_code contexts_hold_sse, contexts_hold_avx, contexts_hold_avx512;

void contexts_interrupt(void);
uint64_t contexts_next(uint64_t sp);

struct context {
    uint64_t area[AREA_SIZE / 8] __attribute__((aligned(64)));
    uint8_t in[PATTERN] __attribute__((aligned(64)));
    uint8_t out[PATTERN] __attribute__((aligned(64)));
    uint8_t stack[STACK_SIZE] __attribute__((aligned(64)));
    uint64_t sp;
    hold_code *hold;
    unsigned int bytes; // of the pattern
    unsigned int rounds, wrong, ticks;
};

// Context 0 is that of the test itself, which waits for the others.
static struct context contexts[CONTEXTS];
static unsigned int current;
static uint64_t switches;
int contexts_save;
void *contexts_area;

// The next context in turn, and the next tick. No register of the old one counts any more.
uint64_t contexts_next(uint64_t sp)
{
    contexts[current].sp = sp;
    contexts[current].ticks++;
    current = (current + 1) % CONTEXTS;
    switches++;
    contexts_area = contexts[current].area;
    apic_eoi();
    timer_arm(rdtsc() + clock_ticks_of_ns(TICK_NS));
    return contexts[current].sp;
}

static void run_context(struct context *c)
{
    for (;; c->rounds++) {
        for (unsigned int i = 0; i < c->bytes; i++)
            c->in[i] = (uint8_t)(i * 7 + (unsigned int)(c - contexts) * 59 + c->rounds * 13 + 1);
        memset(c->out, 0, c->bytes);
        c->hold(c->in, c->out, TURNS);
        if (c->bytes > MASKS)
            memcpy(c->out + MASKS, c->in + MASKS, 2); // K0 is not held
        c->wrong += memcmp(c->in, c->out, c->bytes) != 0;
    }
}

static void context_init(struct context *c, hold_code *hold, unsigned int bytes)
{
    memset(c, 0, sizeof(*c));
    c->hold = hold;
    c->bytes = bytes;
    ((uint32_t *)c->area)[6] = 0x1F80; // MXCSR; an image of no component
    // The frame that contexts_interrupt() returns to: 15 registers, then what IRETQ takes.
    uint64_t *frame = (uint64_t *)(c->stack + STACK_SIZE) - 22;
    frame[9] = (uintptr_t)c; // RDI
    frame[15] = (uintptr_t)run_context;
    frame[16] = SEL_CODE64;
    frame[17] = 2;
    frame[18] = (uintptr_t)(c->stack + STACK_SIZE) - 8;
    frame[19] = SEL_DATA;
    c->sp = (uintptr_t)frame;
}

static bool all_done(void)
{
    for (unsigned int i = 1; i < CONTEXTS; i++)
        if (contexts[i].rounds < ROUNDS)
            return false;
    return true;
}

static void run(const char *save, uint32_t components)
{
    hold_code *widest = components & XCR0_AVX512 ? contexts_hold_avx512
                        : components & XCR0_AVX  ? contexts_hold_avx
                                                 : contexts_hold_sse;
    unsigned int bytes = components & XCR0_AVX512 ? PATTERN : components & XCR0_AVX ? 512 : 256;
    hold_code *avx = components & XCR0_AVX ? contexts_hold_avx : contexts_hold_sse;
    context_init(&contexts[0], NULL, 0);
    context_init(&contexts[1], widest, bytes);
    context_init(&contexts[2], contexts_hold_sse, 256);
    context_init(&contexts[3], avx, components & XCR0_AVX ? 512 : 256);
    context_init(&contexts[4], widest, bytes);
    current = 0;
    switches = 0;
    contexts_area = contexts[0].area;
    trap_set_raw(VEC_TIMER, contexts_interrupt);
    timer_arm(rdtsc() + clock_ticks_of_ns(TICK_NS));
    while (!all_done())
        cpu_wait_for_irq();
    timer_init(); // with its own handler again
    timer_disarm();
    cpu_irq_window();

    for (unsigned int i = 1; i < CONTEXTS; i++) {
        char name[48];
        snprintf(name, sizeof(name), "contexts.%s-%u", save, i);
        check(contexts[i].wrong == 0 && contexts[i].ticks >= ROUNDS, name,
              "%u of %u rounds of %u bytes wrong, %u ticks", contexts[i].wrong, contexts[i].rounds,
              contexts[i].bytes, contexts[i].ticks);
    }
}

void test_contexts(void)
{
    static const char *const names[] = {"xsave", "xsaveopt", "xsavec"};
    if (!(cpuid(1, 0).ecx & 1u << 26)) {
        check_skip("contexts", "no XSAVE");
        return;
    }
    uint32_t components = cpuid(0xD, 0).eax & (XCR0_AVX512 | XCR0_AVX | 3);
    uint32_t offered = cpuid(0xD, 1).eax;
    uint64_t before = read_xcr0();
    timer_init();
    __asm__ volatile("xsetbv" : : "c"(0), "a"(components), "d"(0) : "memory");
    for (contexts_save = CONTEXTS_XSAVE; contexts_save <= CONTEXTS_XSAVEC; contexts_save++)
        if (contexts_save == CONTEXTS_XSAVE || (offered >> (contexts_save - 1) & 1))
            run(names[contexts_save], components);
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)before), "d"(0) : "memory");
    check(components & XCR0_AVX, "contexts.avx", "components 0x%x", components);
}
