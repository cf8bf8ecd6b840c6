// SPDX-License-Identifier: BSD-2-Clause
// Simulated cores as coroutines (see torture.h). What the kernel is compiled to call is here.
#include "tests/torture/torture.h"
#include <stdio.h>
#include <stdlib.h>

#define STACK_BYTES  (256u << 10)
#define SPINS_MAX    2000000u // without a core leaving the kernel: a deadlock
#define TICKS_POINT  2        // what a basic block takes
#define STALLS       4        // one entry in so many has the core stand still at some point of it,
#define STALL_POINTS 80       // of the first so many, for at most
#define STALL_TURNS  80       // while the others do whole calls

struct core {
    char *stack;
    void *sp;
    bool inside;
    void (*code)(uint32_t core, void *argument);
    void *argument;
    const char *what;
    uint64_t blocks;      // since the last window for interrupts
    uint64_t blocks_spin; // the same at its last turn of a spin loop
    uint64_t stall_in;    // points until it stands still; 0: it does not
    uint32_t stalled;     // for so many turns
};

static struct core cores[CPU_MAX];
static struct core *running; // NULL: the test itself
static void *test_sp;
static uint64_t countdown;   // points until the next switch
static struct random schedule;
static uint64_t pace;        // points in a row, about
static uint64_t spins;
static uint32_t windows;

struct random random_of(uint64_t seed, uint64_t index)
{
    return (struct random){ (seed ^ (index + 1) * 0x9e3779b97f4a7c15) + index };
}

// SplitMix64.
uint64_t random_next(struct random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

// Saves the callee's registers and the stack pointer, and goes on from another one.
void core_swap(void **save, void *load);
__asm__(".text\ncore_swap:\n"
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, (%rdi); mov %rsi, %rsp\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret\n");

static void out(void)
{
    struct core *c = running;
    running = NULL;
    core_swap(&c->sp, test_sp);
}

static void longest(struct core *c)
{
    if (c->blocks > figures->longest) {
        const struct thread *t = cpus[c - cores]->current;
        figures->longest = c->blocks;
        snprintf(figures->longest_in, sizeof(figures->longest_in), "%s, op %u", c->what,
                 t ? t->op : 0);
    }
    c->blocks = c->blocks_spin = 0;
}

static void begin(void)
{
    struct core *c = running;
    c->code((uint32_t)(c - cores), c->argument);
    longest(c);
    c->inside = false;
    spins = 0;
    out();
    abort();
}

static void go(struct core *c, uint64_t points)
{
    uint32_t before = fake.core;
    fake.core = (uint32_t)(c - cores);
    windows = fake.windows;
    countdown = points;
    running = c;
    figures->switches++;
    core_swap(&test_sp, c->sp);
    fake.core = before;
}

// A core stands still as one does whose firmware has taken it away: so a gap of an instruction or
// two, too, is met by what takes others a while.
void torture_point(void)
{
    struct core *c = running;
    if (!c || fake.aside)
        return;
    figures->points++;
    if (c->stall_in && --c->stall_in == 0)
        c->stalled = 1 + (uint32_t)random_below(&schedule, STALL_TURNS);
    else if (--countdown)
        return;
    out();
}

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    if (!running || fake.aside)
        return;
    if (windows != fake.windows)
        longest(running);
    windows = fake.windows;
    running->blocks++;
    fake.now += TICKS_POINT;
    torture_point();
}

void torture_spin(void)
{
    struct core *c = running;
    if (!c)
        return;
    if (c->blocks <= c->blocks_spin + 3)
        c->blocks = c->blocks_spin; // waiting is not work
    c->blocks_spin = c->blocks;
    if (++spins > SPINS_MAX)
        panic("deadlock: core %u waits for a lock", (uint32_t)(c - cores));
    out();
}

void cores_reset(uint64_t seed)
{
    static const uint16_t paces[] = { 2, 10, 50, 300 };
    schedule = random_of(seed, UINT64_MAX);
    pace = paces[random_below(&schedule, ARRAY_SIZE(paces))];
    spins = 0;
    for (uint32_t i = 0; i < CPU_MAX; i++) {
        char *stack = cores[i].stack;
        cores[i] = (struct core){ .stack = stack ? stack : malloc(STACK_BYTES) };
    }
}

bool core_inside(uint32_t core) { return cores[core].inside; }

bool core_has_interrupts(uint32_t core)
{
    return cpus[core]->arch.ipis || cpus[core]->arch.kicks || fake.deadline[core] <= fake.now;
}

void core_take_interrupts(uint32_t core, void *unused)
{
    (void)unused;
    fake_interrupts(core);
}

bool core_stalls(uint32_t core) { return cores[core].stalled && cores[core].stalled--; }

bool cores_stall(void)
{
    for (uint32_t i = 0; i < cpu_count; i++)
        if (cores[i].stalled)
            return true;
    return false;
}

bool cores_quiet(void)
{
    for (uint32_t i = 0; i < cpu_count; i++)
        if (cores[i].inside)
            return false;
    return true;
}

struct thread *core_stalled_thread(void)
{
    for (uint32_t i = 0; i < cpu_count; i++)
        if (cores[i].stalled && cpus[i]->current && cpus[i]->current->process != fake_manager)
            return cpus[i]->current;
    return NULL;
}

void core_begin(uint32_t core, const char *what, void (*code)(uint32_t core, void *argument),
                void *argument)
{
    struct core *c = &cores[core];
    void **sp = (void **)(c->stack + STACK_BYTES) - 1; // as a call would leave it
    *--sp = (void *)begin;
    c->sp = sp - 6;
    c->inside = true;
    c->code = code;
    c->argument = argument;
    c->what = what;
    c->blocks = c->blocks_spin = 0;
    c->stall_in = 0;
    figures->entries++;
}

void core_resume_for(uint32_t core, uint64_t points) { go(&cores[core], points); }

void core_resume(uint32_t core) { core_resume_for(core, 1 + random_below(&schedule, 2 * pace)); }

void core_enter(uint32_t core, const char *what, void (*code)(uint32_t core, void *argument),
                void *argument)
{
    core_begin(core, what, code, argument);
    if (chance(&schedule, STALLS))
        cores[core].stall_in = 1 + random_below(&schedule, STALL_POINTS);
    core_resume(core);
}
