// SPDX-License-Identifier: BSD-2-Clause
//
// Test guest: several processors. Options: only=GROUP,GROUP…; vcpus=N, how many there must be;
// rounds=N; shared, if they share a core of the host's; tcg, as cpu.h has it; bochs, if that is the
// host.

#include "guests/test-smp/groups.h"

#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/options.h"
#include "guests/lib/timer.h"

#define SETTLE_NS (40 * NS_PER_US)
#define ROUNDS    20

unsigned int cpus, rounds;
bool shared, nmis;
volatile unsigned int taken[SMP_MAX][256];

static const char *mode_name = "";
static volatile bool listening;

static const struct {
    const char *name;
    void (*run)(void);
    bool both_modes;
} groups[] = {
    {"start", test_start, true}, {"modes", test_modes, false}, {"ipi", test_ipi, true},
    {"order", test_order, true}, {"storm", test_storm, true},  {"halt", test_halt, true},
    {"board", test_board, true}, {"tsc", test_tsc, false},     {"tlb", test_tlb, false},
    {"spin", test_spin, false},  {"local", test_local, false}, {"timers", test_timers, true},
};

const char *named(const char *name)
{
    static char text[64];
    snprintf(text, sizeof(text), "%s.%s", mode_name, name);
    return text;
}

uint32_t all_mask(void)
{
    return (1u << cpus) - 1;
}

uint32_t crew_mask(void)
{
    return all_mask() & ~1u;
}

bool crew_start(void)
{
    unsigned int came = smp_start_all(smp_serve);
    return check(came == cpus - 1, named("crew"), "%u of %u came", came, cpus - 1);
}

void crew_post(smp_function *function, void *argument)
{
    for (unsigned int id = 1; id < cpus; id++)
        smp_post(id, function, argument);
}

bool crew_wait(void)
{
    bool done = true;
    for (unsigned int id = 1; id < cpus; id++)
        done = smp_wait(id) && done;
    return done;
}

void crew_call(smp_function *function, void *argument)
{
    for (unsigned int id = 1; id < cpus; id++)
        smp_call(id, function, argument);
}

void taken_reset(void)
{
    memset((void *)(uintptr_t)taken, 0, sizeof(taken));
}

void on_ipi(struct trap_frame *frame)
{
    taken[smp_id()][frame->vector]++;
    if (frame->vector != VEC_NMI)
        apic_eoi();
}

uint32_t takers(uint8_t vector)
{
    uint32_t mask = 0;
    for (unsigned int id = 0; id < cpus; id++) {
        mask |= taken[id][vector] != 0 ? 1u << id : 0;
        mask |= taken[id][vector] > 1 ? 1u << 31 : 0;
    }
    return mask;
}

static void listen(void *argument)
{
    (void)argument;
    cpu_irq_enable();
    while (listening)
        cpu_pause();
}

void listen_all(void)
{
    listening = true;
    crew_post(listen, NULL);
}

void mute_all(void)
{
    listening = false;
    if (!crew_wait())
        check(false, named("mute"), "not all of the crew came back");
}

uint32_t takers_when(uint8_t vector, uint32_t expected)
{
    uint64_t start = rdtsc(), limit = clock_ticks_of_ns(NS_PER_SECOND);
    cpu_irq_enable();
    while ((takers(vector) & expected) != expected && rdtsc() - start < limit)
        cpu_pause();
    clock_spin_ns(shared ? NS_PER_MS : SETTLE_NS); // those that share a core get a turn
    cpu_irq_disable();
    return takers(vector);
}

void settle(void)
{
    clock_spin_ns(2 * NS_PER_MS);
}

bool reaches(const volatile unsigned int *count, unsigned int wanted)
{
    uint64_t start = rdtsc(), limit = clock_ticks_of_ns(NS_PER_SECOND);
    while (*count < wanted) {
        if (rdtsc() - start > limit)
            return false;
        cpu_pause();
    }
    return true;
}

bool meet(volatile unsigned int *count, unsigned int members, unsigned int times)
{
    __atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
    return reaches(count, members * times);
}

bool wait_word(const volatile unsigned int *word, unsigned int value)
{
    uint64_t start = rdtsc(), limit = clock_ticks_of_ns(NS_PER_SECOND);
    while (*word != value) {
        if (rdtsc() - start > limit)
            return false;
        cpu_pause();
    }
    return true;
}

static bool is_wanted(const char *group)
{
    const char *only = option("only"), *at = only;
    size_t length = strlen(group);
    while (at != NULL && (strncmp(at, group, length) != 0 || (at[length] && at[length] != ','))) {
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
    return only == NULL || at != NULL;
}

static void run_groups(bool second)
{
    for (unsigned int i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (is_wanted(groups[i].name) && (groups[i].both_modes || !second) && crew_start())
            groups[i].run();
    }
}

int main(void)
{
    timer_hz(); // measured once, in the mode that the library likes best
    cpus = smp_count();
    rounds = (unsigned int)option_number("rounds", ROUNDS, 1, 100000);
    shared = option_flag("shared");
    nmis = !(shared && option_flag("bochs"));
    check(cpus == option_number("vcpus", cpus, 1, SMP_MAX), "count", "%u", cpus);
    if (cpus < 2) {
        check_skip("all", "one processor");
        return check_done();
    }
    bool both_ways = cpu_on_bulkhead();
    if (both_ways || !apic_has_x2apic()) {
        mode_name = "xapic";
        apic_enable(APIC_MODE_XAPIC);
        run_groups(false);
    }
    if (!apic_has_x2apic()) {
        check_skip("x2apic", "not in CPUID");
        return check_done();
    }
    mode_name = "x2apic";
    apic_enable(APIC_MODE_X2APIC); // the crew follows when it is started next
    run_groups(both_ways);
    return check_done();
}
