// SPDX-License-Identifier: BSD-2-Clause
//
// Processors that wait for each other in PAUSE loops: a lock that keeps what it guards whole, and
// how long a hand-over takes, which matters where they share a core of the host's.

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/test-smp/groups.h"

// Two that take turns of 1 ms each would need 2 ms to hand over and back, were the host not to see
// that they only wait. It sees it behind a PAUSE loop of 4,096 ticks (docs/virtual-pc.md), which
// are 82 us in Bochs, and then it switches: some 2,000 instructions, 40 us there. Twice that is
// 250 us; twice as much is still a quarter of two turns.
#define ROUND_TRIP_NS (500 * NS_PER_US)
#define TRIPS         41

static volatile unsigned int turn;
static uint64_t trips[TRIPS];

static void hand_back(void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < TRIPS; i++) {
        while (turn != 2 * i + 1)
            cpu_pause();
        turn = 2 * i + 2;
    }
}

static int by_length(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return first < second ? -1 : first > second;
}

static void test_hand_over(void)
{
    turn = 0;
    smp_post(1, hand_back, NULL);
    for (unsigned int i = 0; i < TRIPS; i++) {
        uint64_t start = rdtsc();
        turn = 2 * i + 1;
        while (turn != 2 * i + 2)
            cpu_pause();
        trips[i] = rdtsc() - start;
    }
    bool back = smp_wait(1);
    qsort(trips, TRIPS, sizeof(trips[0]), by_length);
    unsigned long long median = clock_ns_of_ticks(trips[TRIPS / 2]);
    printf("spin: there and back in %llu ns, %llu to %llu\n", median,
           (unsigned long long)clock_ns_of_ticks(trips[0]),
           (unsigned long long)clock_ns_of_ticks(trips[TRIPS - 1]));
    if (cpu_by_tcg() && !shared)
        check_skip("spin.hand-over", "QEMU's cores take turns");
    else
        check(back && median <= ROUND_TRIP_NS, "spin.hand-over", "%llu ns there and back", median);
}

// A ticket lock, and two words that only its holder may touch.
static volatile unsigned int next_ticket, serving, first, second, torn;

static void count_under_lock(void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < rounds; i++) {
        unsigned int ticket = __atomic_fetch_add(&next_ticket, 1, __ATOMIC_ACQ_REL);
        while (__atomic_load_n(&serving, __ATOMIC_ACQUIRE) != ticket)
            cpu_pause();
        torn += first != second;
        first = first + 1;
        second = second + 1;
        __atomic_store_n(&serving, ticket + 1, __ATOMIC_RELEASE);
    }
}

static void test_lock(void)
{
    next_ticket = serving = first = second = torn = 0;
    crew_post(count_under_lock, NULL);
    count_under_lock(NULL);
    bool back = crew_wait();
    check(back && first == cpus * rounds && second == first && torn == 0, "spin.lock",
          "back %d; %u and %u of %u, torn %u", back, first, second, cpus * rounds, torn);
}

void test_spin(void)
{
    // The others would take turns, too.
    if (cpus == 2 || !shared)
        test_hand_over();
    else
        check_skip("spin.hand-over", "more than two share a core");
    test_lock();
}
