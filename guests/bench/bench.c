// SPDX-License-Identifier: BSD-2-Clause
//
// The benchmark guest: ticks of each path as the guest sees them by RDTSC, nothing subtracted.
// Prints nothing until all is measured, then "path=NAME rounds=N min=N median=N max=N" for each
// and "bench done"; then it powers off.
//
// Options: rounds=N (10000); only=NAME measures one path; trace runs one round of each path
// between magic breakpoints of Bochs, after "trace NAME", or "trace NAME ahead=N" if the path
// begins N ticks after the round's first RDTSC; wait=MS before measuring (100);
// peer=a measures vm-switch against a second VM that runs this image with peer=b, which yields
// forever, or for seconds=N, or count=N times.
//
// With more than one processor, only what needs just as many is measured.

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/bench/measure.h"
#include "guests/lib/apic.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/options.h"
#include "guests/lib/power.h"
#include "guests/lib/smp.h"
#include "guests/lib/timer.h"
#include "guests/lib/trap.h"

#define WARM_UP        200
#define TRACE_WARM_UP  (25 * WARM_UP) // long enough for a spent budget to be filled again
#define TRACE_QUIET_NS (50 * NS_PER_MS)
#define YIELD_BATCH    1000
#define PEER_WAIT_MS   1000 // for the other VM to get there
#define A_STEP         1
#define B_STEP         3

enum need { NEED_NOTHING, NEED_BULKHEAD, NEED_X2APIC, NEED_TESTDEV };

struct path {
    const char *name;
    measure_loop *loop;
    enum need need;
    void (*before)(void); // what the loop needs, and how it was again; NULL: nothing
    void (*after)(void);
    unsigned int ahead;   // ticks from the first stamp to where the path begins
    unsigned int vcpus;   // of the VM in which it is measured; 0: one
};

static void use_deadline_vector(void)
{
    apic_write(APIC_LVT_TIMER, APIC_TIMER_DEADLINE | VEC_DEADLINE);
}

static void use_xapic(void)
{
    cpu_irq_disable();
    apic_enable(APIC_MODE_XAPIC);
    cpu_irq_enable();
}

// Back to x2APIC mode if need be, and to the timer's own vector.
static void use_timer(void)
{
    cpu_irq_disable();
    timer_init();
    cpu_irq_enable();
}

static volatile uint32_t *text_page(unsigned int page)
{
    return (volatile uint32_t *)(uintptr_t)(TEXT_WINDOW + (page << 12));
}

static void fill_text(void)
{
    for (unsigned int page = 0; page < TEXT_PAGES; page++)
        *text_page(page) = ~page;
}

static void check_text(void)
{
    for (unsigned int page = 0; page < TEXT_PAGES; page++) {
        if (*text_page(page) != ~page)
            guest_die("ept-map: the text window does not keep what was written");
    }
}

#define EFER_SCE 1u

// The registers that a guest like Linux has set: SYSCALL is on, with an entry of its own. XCR0 has
// been that of AVX from the start (cpu_fpu_init()).
static void use_syscall(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    wrmsr(MSR_STAR, 0x0023001000000000u);
    wrmsr(MSR_LSTAR, (uintptr_t)use_syscall);
    wrmsr(MSR_SFMASK, 0x257FD5);
}

static void leave_syscall(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_SCE);
}

static void route_level(void)
{
    ioapic_route(BENCH_IRQ, VEC_LEVEL, 0, IOAPIC_LEVEL);
}

static void mask_level(void)
{
    ioapic_mask(BENCH_IRQ);
}

static void start_others(smp_entry *entry)
{
    if (smp_start_all(entry) != smp_count() - 1)
        guest_die("another processor did not start");
}

static void start_running(void)
{
    start_others(measure_target_running);
}

static void start_halted(void)
{
    start_others(measure_target_halted);
}

static void start_answering(void)
{
    start_others(measure_target_answering);
}

static const struct path paths[] = {
    {"hypercall", measure_hypercall, .need = NEED_BULKHEAD},
    {"cpuid.1", measure_cpuid_1, .need = NEED_NOTHING},
    {"cpuid.7", measure_cpuid_7, .need = NEED_NOTHING},
    {"cpuid.d.1", measure_cpuid_d_1, .need = NEED_NOTHING},
    {"out.vmm", measure_out, .need = NEED_NOTHING},
    {"out.vmm.linux", measure_out, .need = NEED_NOTHING, .before = use_syscall,
     .after = leave_syscall},
    {"mmio.vmm", measure_mmio, .need = NEED_NOTHING},
    {"tpr", measure_tpr, .need = NEED_X2APIC},
    {"eoi", measure_eoi, .need = NEED_X2APIC},
    {"self-ipi", measure_self_ipi, .need = NEED_X2APIC},
    {"hlt-timer", measure_hlt_timer, .need = NEED_X2APIC, .before = use_deadline_vector,
     .after = use_timer, .ahead = TIMER_AHEAD},
    {"timer-irq", measure_timer_irq, .need = NEED_X2APIC, .before = use_deadline_vector,
     .after = use_timer, .ahead = TIMER_AHEAD},
    {"lapic.xapic", measure_xapic_eoi, .need = NEED_NOTHING, .before = use_xapic,
     .after = use_timer},
    {"ept-map", measure_ept_map, .need = NEED_BULKHEAD, .before = fill_text,
     .after = check_text},
    {"level-irq", measure_level_irq, .need = NEED_TESTDEV, .before = route_level,
     .after = mask_level},
    {"ipi.running", measure_ipi_running, .need = NEED_X2APIC, .before = start_running,
     .vcpus = SHOOTDOWN_VCPUS},
    {"ipi.halted", measure_ipi_halted, .need = NEED_X2APIC, .before = start_halted,
     .vcpus = SHOOTDOWN_VCPUS},
    {"shootdown", measure_shootdown, .need = NEED_X2APIC, .before = start_running,
     .vcpus = SHOOTDOWN_VCPUS},
    {"spin-wait", measure_spin_wait, .need = NEED_NOTHING, .before = start_answering, .vcpus = 2},
};
static const struct path vm_switch = {"vm-switch", measure_vm_switch, .need = NEED_BULKHEAD};

#define NR_PATHS (sizeof(paths) / sizeof(paths[0]))

// What main() has set up for the loops: the paths of this run and a row of samples for each.
struct run {
    const struct path *paths[NR_PATHS];
    uint32_t *samples[NR_PATHS];
    unsigned int count;
    uint64_t rounds;
};

static bool has_testdev(void)
{
    outb(BENCH_ECHO, BENCH_ECHO);
    return inb(BENCH_ECHO) == BENCH_ECHO;
}

static bool possible(const struct path *path)
{
    if (path->need == NEED_BULKHEAD)
        return cpu_on_bulkhead();
    if (path->need == NEED_X2APIC)
        return apic_has_x2apic();
    return path->need != NEED_TESTDEV || has_testdev();
}

static void run_add(struct run *run, const struct path *path)
{
    if (!possible(path)) {
        static const char *const lacks[] = {
            [NEED_BULKHEAD] = "hypercalls", [NEED_X2APIC] = "x2APIC", [NEED_TESTDEV] = "testdev",
        };
        printf("skip=%s: this machine lacks %s\n", path->name, lacks[path->need]);
        return;
    }
    uint32_t *samples = malloc((run->rounds + WARM_UP) * sizeof(samples[0]));
    if (samples == NULL)
        guest_die("rounds= wants more memory than this VM has");
    // Written once before the clock starts, so that no page of it is touched for the first time.
    memset(samples, 0, (run->rounds + WARM_UP) * sizeof(samples[0]));
    run->paths[run->count] = path;
    run->samples[run->count++] = samples;
}

static int by_value(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static void print_result(const struct path *path, uint32_t *samples, uint64_t rounds)
{
    qsort(samples, rounds, sizeof(samples[0]), by_value);
    printf("path=%s rounds=%llu min=%u median=%u max=%u\n", path->name, (unsigned long long)rounds,
           (unsigned int)samples[0], (unsigned int)samples[rounds / 2],
           (unsigned int)samples[rounds - 1]);
}

static void prepare(const struct path *path)
{
    if (path->before != NULL)
        path->before();
}

static void restore(const struct path *path)
{
    if (path->after != NULL)
        path->after();
}

static void measure(struct run *run)
{
    for (unsigned int i = 0; i < run->count; i++) {
        prepare(run->paths[i]);
        run->paths[i]->loop(run->samples[i], WARM_UP);
        run->paths[i]->loop(run->samples[i], run->rounds);
        restore(run->paths[i]);
    }
    for (unsigned int i = 0; i < run->count; i++)
        print_result(run->paths[i], run->samples[i], run->rounds);
}

static void trace(struct run *run)
{
    for (unsigned int i = 0; i < run->count; i++) {
        printf("trace %s", run->paths[i]->name);
        if (run->paths[i]->ahead != 0)
            printf(" ahead=%u", run->paths[i]->ahead);
        printf("\n");
        sleep_ns(TRACE_QUIET_NS);
        prepare(run->paths[i]);
        for (unsigned int done = 0; done < TRACE_WARM_UP; done += WARM_UP)
            run->paths[i]->loop(run->samples[i], WARM_UP);
        measure_traced(run->paths[i]->loop, run->samples[i]);
        restore(run->paths[i]);
    }
}

// B: yields, and shows that its FPU registers are its own.
static int yield_to_peer(void)
{
    uint64_t count = option_number("count", 0, 0, UINT64_MAX);
    uint64_t seconds = option_number("seconds", 0, 0, 1000000);
    uint64_t end = rdtsc() + seconds * clock_tsc_hz();
    uint64_t done = 0;
    if (!cpu_on_bulkhead())
        guest_die("peer=b: this machine lacks hypercalls");
    while ((count == 0 || done < count) && (seconds == 0 || rdtsc() < end)) {
        uint64_t batch = count != 0 && count - done < YIELD_BATCH ? count - done : YIELD_BATCH;
        measure_fpu_load(done, B_STEP);
        measure_yield(batch);
        if (measure_fpu_sum() != done + batch * B_STEP)
            guest_die("peer=b: the FPU registers changed across a yield");
        done += batch;
    }
    printf("bench: yielded %llu times\n", (unsigned long long)done);
    return 0;
}

static void measure_peer(struct run *run)
{
    if (run->count == 0)
        guest_die("peer=a: this machine lacks hypercalls");
    measure_fpu_load(0, A_STEP);
    run->paths[0]->loop(run->samples[0], WARM_UP);
    run->paths[0]->loop(run->samples[0], run->rounds);
    if (measure_fpu_sum() != (WARM_UP + run->rounds) * A_STEP)
        guest_die("peer=a: the FPU registers changed across a yield");
    print_result(run->paths[0], run->samples[0], run->rounds);
}

int main(void)
{
    printf("entry tsc=%llu\n", (unsigned long long)clock_entry_tsc());
    const char *peer = option("peer");
    bool is_a = peer != NULL && strcmp(peer, "a") == 0;
    if (peer != NULL && !is_a && strcmp(peer, "b") != 0)
        guest_die("option peer=: want a or b");
    if (peer != NULL && !is_a)
        return yield_to_peer();

    struct run run = {.rounds = option_number("rounds", 10000, 1, 10000000)};
    const char *only = option("only");
    if (is_a)
        run_add(&run, &vm_switch);
    for (unsigned int i = 0; !is_a && i < NR_PATHS; i++) {
        unsigned int vcpus = paths[i].vcpus != 0 ? paths[i].vcpus : 1;
        if (vcpus == smp_count() && (only == NULL || strcmp(only, paths[i].name) == 0))
            run_add(&run, &paths[i]);
    }

    trap_set_raw(VEC_SELF_IPI, measure_self_ipi_handler);
    trap_set_raw(VEC_XAPIC, measure_xapic_handler);
    trap_set_raw(VEC_DEADLINE, measure_timer_handler);
    trap_set_raw(VEC_LEVEL, measure_level_handler);
    trap_set_raw(VEC_IPI, measure_ipi_handler);
    trap_set_raw(VEC_SHOOTDOWN, measure_shootdown_handler);
    cpu_irq_enable();
    sleep_ns(option_number("wait", is_a ? PEER_WAIT_MS : 100, 0, 600000) * NS_PER_MS);
    if (is_a)
        measure_peer(&run);
    else
        measure(&run);
    if (option_flag("trace"))
        trace(&run);
    printf("bench done\n");
    return 0;
}
