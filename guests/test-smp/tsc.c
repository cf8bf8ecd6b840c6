// SPDX-License-Identifier: BSD-2-Clause
//
// The time stamp counters: in step across a handshake, and each one's own to write.

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/test-smp/groups.h"

#define DELTA 0x123456789000ull

static volatile unsigned int turn;
static volatile uint64_t stamp;
static volatile unsigned int backwards;

// The other loads and stores of the handshake do not pass it.
static uint64_t stamp_now(void)
{
    __asm__ volatile("mfence; lfence" ::: "memory");
    uint64_t now = rdtsc();
    __asm__ volatile("lfence" ::: "memory");
    return now;
}

// Takes each turn of a parity: what is read now is not before what the other one has read.
static void take_turns(unsigned int parity)
{
    for (unsigned int i = parity; i < 2 * rounds && wait_word(&turn, i); i += 2) {
        uint64_t before = stamp, now = stamp_now();
        backwards += now < before;
        stamp = now;
        turn = i + 1;
    }
}

static void take_odd_turns(void *argument)
{
    (void)argument;
    take_turns(1);
}

static void test_in_step(void)
{
    uint32_t wrong = 0;
    for (unsigned int id = 1; id < cpus; id++) {
        turn = backwards = 0;
        stamp = 0;
        smp_post(id, take_odd_turns, NULL);
        take_turns(0);
        bool done = smp_wait(id) && turn == 2 * rounds;
        wrong |= !done || backwards != 0 ? 1u << id : 0;
    }
    check(wrong == 0, "tsc.in-step", "not with %x", (unsigned int)wrong);
}

struct tsc_state {
    uint64_t tsc, adjust;
    uint32_t msr; // to write first, if it is not 0
    uint64_t value;
};

static void tsc_step(void *argument)
{
    struct tsc_state *state = argument;
    if (state->msr != 0)
        wrmsr(state->msr, state->value);
    state->tsc = stamp_now();
    state->adjust = rdmsr(MSR_TSC_ADJUST);
}

// Whether a processor's TSC is that far ahead of this one's.
static bool is_ahead(unsigned int id, struct tsc_state *state, uint64_t delta)
{
    uint64_t before = stamp_now();
    smp_call(id, tsc_step, state);
    uint64_t after = stamp_now();
    return state->tsc - delta >= before && state->tsc - delta <= after;
}

static bool others_as_they_were(void)
{
    bool ok = rdmsr(MSR_TSC_ADJUST) == 0;
    for (unsigned int id = 2; id < cpus; id++) {
        struct tsc_state state = {0};
        ok = is_ahead(id, &state, 0) && state.adjust == 0 && ok;
    }
    return ok;
}

static void test_writes(void)
{
    struct tsc_state state = {.msr = MSR_TSC_ADJUST, .value = DELTA};
    bool ahead = is_ahead(1, &state, DELTA);
    check(ahead && state.adjust == DELTA, "tsc.adjust", "ahead %d, TSC_ADJUST %llx", ahead,
          (unsigned long long)state.adjust);
    check(others_as_they_were(), "tsc.adjust-of-one", "another one's moved");

    // The TSC itself, to what this one's was a moment ago: so that is what TSC_ADJUST is below 0.
    uint64_t start = stamp_now();
    state = (struct tsc_state){.msr = MSR_TSC, .value = start};
    smp_call(1, tsc_step, &state);
    uint64_t passed = stamp_now() - start;
    check(state.tsc - start <= passed && 0 - state.adjust <= passed, "tsc.write",
          "TSC %llx behind what was written, TSC_ADJUST %llx",
          (unsigned long long)(state.tsc - start), (unsigned long long)state.adjust);
    check(others_as_they_were(), "tsc.write-of-one", "another one's moved");

    // This one's does not move that one's.
    wrmsr(MSR_TSC_ADJUST, DELTA);
    struct tsc_state after = {0};
    bool behind = is_ahead(1, &after, state.adjust - DELTA);
    wrmsr(MSR_TSC_ADJUST, 0);
    check(behind && after.adjust == state.adjust, "tsc.boot-adjust", "TSC_ADJUST %llx",
          (unsigned long long)after.adjust);
    state = (struct tsc_state){.msr = MSR_TSC_ADJUST, .value = 0};
    check(is_ahead(1, &state, 0) && state.adjust == 0, "tsc.back", "not in step again");
}

void test_tsc(void)
{
    test_in_step();
    if (cpuid(7, 0).ebx & 2)
        test_writes();
    else
        check_skip("tsc.adjust", "no TSC_ADJUST");
}
