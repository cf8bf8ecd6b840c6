// SPDX-License-Identifier: BSD-2-Clause
//
// Every processor sends to every other one, all at once, a vector of its own: each message is there
// before the next one of its kind is sent, so each counts exactly once.

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/test-smp/groups.h"

#define VEC_STORM 0x60 // and the sender's id

static volatile unsigned int begun, ended;
static volatile unsigned int lost[SMP_MAX]; // by the sender: one more than to whom

static bool send_to_each(unsigned int me, unsigned int round)
{
    uint8_t vector = (uint8_t)(VEC_STORM + me);
    for (unsigned int step = 1; step < cpus; step++) {
        unsigned int to = (me + step) % cpus;
        apic_send(APIC_ICR_ASSERT | vector, to);
        if (!reaches(&taken[to][vector], round)) {
            lost[me] = to + 1;
            return false;
        }
    }
    return true;
}

static bool send_to_all(unsigned int me, unsigned int round)
{
    uint8_t vector = (uint8_t)(VEC_STORM + me);
    apic_send(APIC_ICR_ASSERT | APIC_ICR_ALL_BUT_SELF | vector, 0);
    for (unsigned int to = 0; to < cpus; to++) {
        if (to != me && !reaches(&taken[to][vector], round)) {
            lost[me] = to + 1;
            return false;
        }
    }
    return true;
}

static bool (*send)(unsigned int me, unsigned int round);

static void storm(void *argument)
{
    (void)argument;
    unsigned int me = smp_id();
    cpu_irq_enable();
    meet(&begun, cpus, 1);
    for (unsigned int round = 1; round <= rounds; round++) {
        if (!send(me, round))
            break;
    }
    meet(&ended, cpus, 1);
    cpu_irq_disable();
}

static void run_storm(const char *name, bool (*how)(unsigned int, unsigned int))
{
    send = how;
    begun = ended = 0;
    taken_reset();
    for (unsigned int id = 0; id < cpus; id++)
        lost[id] = 0;
    crew_post(storm, NULL);
    storm(NULL);
    bool back = crew_wait();
    unsigned int wrong = 0, from = 0, to = 0;
    for (unsigned int i = 0; i < cpus * cpus; i++) {
        unsigned int expected = i / cpus == i % cpus ? 0 : rounds;
        if (taken[i / cpus][VEC_STORM + i % cpus] != expected) {
            wrong++;
            to = i / cpus;
            from = i % cpus;
        }
    }
    check(back && wrong == 0, named(name),
          "back %d; %u of %u counts are wrong: from %u to %u %u, not %u; it gave up on %u", back,
          wrong, cpus * cpus, from, to, taken[to][VEC_STORM + from], rounds, lost[from]);
}

void test_storm(void)
{
    for (unsigned int id = 0; id < cpus; id++)
        trap_set_handler((uint8_t)(VEC_STORM + id), on_ipi);
    run_storm("storm", send_to_each);
    run_storm("storm-broadcast", send_to_all);
}
