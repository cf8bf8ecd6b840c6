// SPDX-License-Identifier: BSD-2-Clause
//
// Processors that halt: an IPI wakes them whenever it comes, right behind the look that found none
// too; with interrupts off only an NMI does.

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/test-smp/groups.h"

#define VEC_WAKE    0x51
#define VEC_UNHEARD 0x52
#define PLACES      24 // between the look and HLT, and behind
#define LAST_TRIES  100

// What processor 1 is about to wait for; what has come to all of the crew.
static volatile unsigned int waits_for, finished, woken;

static bool takes(unsigned int id, uint8_t vector, unsigned int count)
{
    return wait_word(&taken[id][vector], count);
}

static void halt_for_ipis(void *argument)
{
    (void)argument;
    unsigned int id = smp_id();
    while (taken[id][VEC_WAKE] < rounds) {
        if (id == 1)
            waits_for = taken[id][VEC_WAKE] + 1;
        cpu_wait_for_irq();
    }
}

static void pause_times(unsigned int times)
{
    while (times-- > 0)
        cpu_pause();
}

// The IPI comes at other places around STI; HLT each time.
static void test_wake(void)
{
    unsigned int round = 0;
    bool ok = true;
    taken_reset();
    waits_for = 0;
    smp_post(1, halt_for_ipis, NULL);
    while (ok && round++ < rounds) {
        ok = wait_word(&waits_for, round);
        pause_times(round % PLACES);
        apic_send(APIC_ICR_ASSERT | VEC_WAKE, 1);
        ok = takes(1, VEC_WAKE, round) && ok;
    }
    bool back = smp_wait(1);
    check(ok && back && taken[1][VEC_WAKE] == rounds, named("wake"), "%u of %u, back %d",
          taken[1][VEC_WAKE], rounds, back);
}

static void test_wake_all(void)
{
    bool ok = true;
    taken_reset();
    crew_post(halt_for_ipis, NULL);
    for (unsigned int round = 1; ok && round <= rounds; round++) {
        apic_send(APIC_ICR_ASSERT | APIC_ICR_ALL_BUT_SELF | VEC_WAKE, 0);
        for (unsigned int id = 1; id < cpus; id++)
            ok = takes(id, VEC_WAKE, round) && ok;
    }
    check(ok && crew_wait(), named("wake-all"), "not all came");
}

// Sends back what it gets, and halts in between; this one too.
static void halt_and_answer(void *argument)
{
    (void)argument;
    for (unsigned int count = 1; count <= rounds; count++) {
        while (taken[1][VEC_WAKE] < count)
            cpu_wait_for_irq();
        apic_send(APIC_ICR_ASSERT | VEC_WAKE, 0);
    }
}

static void test_ping_pong(void)
{
    taken_reset();
    smp_post(1, halt_and_answer, NULL);
    for (unsigned int count = 1; count <= rounds; count++) {
        apic_send(APIC_ICR_ASSERT | VEC_WAKE, 1);
        while (taken[0][VEC_WAKE] < count)
            cpu_wait_for_irq();
    }
    bool back = smp_wait(1);
    check(back && taken[0][VEC_WAKE] == rounds && taken[1][VEC_WAKE] == rounds, named("ping-pong"),
          "back %d: %u and %u", back, taken[0][VEC_WAKE], taken[1][VEC_WAKE]);
}

static void halt_for_nmis(void *argument)
{
    (void)argument;
    unsigned int id = smp_id();
    while (taken[id][VEC_NMI] < rounds) {
        waits_for = taken[id][VEC_NMI] + 1;
        __asm__ volatile("hlt" ::: "memory");
    }
    finished = 1;
}

// An NMI that comes before HLT does not wake it; the next one does, so each still counts.
static void test_nmi(void)
{
    bool ok = true;
    taken_reset();
    finished = waits_for = 0;
    smp_post(1, halt_for_nmis, NULL);
    wait_word(&waits_for, 1);
    apic_send(APIC_ICR_ASSERT | VEC_UNHEARD, 1);
    settle();
    check(taken[1][VEC_UNHEARD] == 0 && waits_for == 1, named("interrupts-off"),
          "%u came, it waits for %u", taken[1][VEC_UNHEARD], waits_for);
    for (unsigned int round = 1; ok && round <= rounds; round++) {
        pause_times(round % PLACES);
        apic_send(APIC_ICR_ASSERT | APIC_ICR_NMI, 1);
        ok = takes(1, VEC_NMI, round);
    }
    check(ok, named("nmi-wakes"), "%u of %u", taken[1][VEC_NMI], rounds);
    for (unsigned int i = 0; !finished && i < LAST_TRIES; i++) {
        clock_spin_ns(NS_PER_MS / 4);
        if (!finished)
            apic_send(APIC_ICR_ASSERT | APIC_ICR_NMI, 1);
    }
    check(smp_wait(1), named("nmi-end"), "it did not come back");
}

static void halt_for_one_nmi(void *argument)
{
    (void)argument;
    unsigned int id = smp_id();
    __atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
    while (taken[id][VEC_NMI] == 0)
        __asm__ volatile("hlt" ::: "memory");
    __atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
}

static void test_nmi_all(void)
{
    unsigned int others = cpus - 1;
    taken_reset();
    woken = 0;
    crew_post(halt_for_one_nmi, NULL);
    bool ready = wait_word(&woken, others);
    settle(); // until they have halted
    apic_send(APIC_ICR_ASSERT | APIC_ICR_NMI | APIC_ICR_ALL_BUT_SELF, 0);
    bool back = wait_word(&woken, 2 * others);
    check(ready && back && takers(VEC_NMI) == crew_mask(), named("nmi-wakes-all"),
          "ready %d, back %d, got by %x", ready, back, (unsigned int)takers(VEC_NMI));
    crew_wait();
}

void test_halt(void)
{
    trap_set_handler(VEC_WAKE, on_ipi);
    trap_set_handler(VEC_UNHEARD, on_ipi);
    trap_set_handler(VEC_NMI, on_ipi);
    test_wake();
    test_wake_all();
    test_ping_pong();
    if (nmis) {
        test_nmi();
        test_nmi_all();
    } else {
        check_skip(named("nmi-wakes"), NO_NMIS);
    }
    trap_set_handler(VEC_NMI, NULL);
}
