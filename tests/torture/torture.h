// SPDX-License-Identifier: BSD-2-Clause
// The torture run: the real kernel/core on simulated cores that take turns at every basic block,
// driven by a seed. cores.c lets them take turns, calls.c and steps.c say what ring 3 and guests
// do, invariants.c looks at everything, main.c runs episodes and shrinks one that fails.
//
// One host thread. A core's way through the kernel is a coroutine; it is either inside (and may be
// stopped anywhere) or outside: in ring 3, in a guest, idle.
#pragma once
#include "tests/unit/arch/fake.h"
#include "tests/unit/arch/hardware.h"

// A stream of random numbers; each action has its own, so that leaving out others changes little.
struct random { uint64_t state; };
struct random random_of(uint64_t seed, uint64_t index);
uint64_t random_next(struct random *r);
static inline uint64_t random_below(struct random *r, uint64_t n) { return random_next(r) % n; }
static inline bool chance(struct random *r, unsigned one_in)
{
    return random_below(r, one_in) == 0;
}

// cores.c
void cores_reset(uint64_t seed);
bool core_inside(uint32_t core);
bool cores_quiet(void); // all are outside
bool core_has_interrupts(uint32_t core); // or its timer is due
void core_take_interrupts(uint32_t core, void *unused); // for core_enter()
bool core_stalls(uint32_t core); // it stands still this time, inside
bool cores_stall(void); // one does
struct thread *core_stalled_thread(void); // whose thread that is; NULL: there is none
void core_enter(uint32_t core, const char *what, void (*code)(uint32_t core, void *argument),
                void *argument);
void core_resume(uint32_t core);
// In two steps, and for so many points, unless it comes out or waits for a lock before.
void core_begin(uint32_t core, const char *what, void (*code)(uint32_t core, void *argument),
                void *argument);
void core_resume_for(uint32_t core, uint64_t points);

struct figures {
    uint64_t episodes, steps, actions, entries;
    uint64_t points;   // where another core could have come in
    uint64_t switches; // where one did
    uint64_t checks;
    uint64_t longest;  // basic blocks between two windows for interrupts
    char longest_in[64];
    uint64_t calls[SYSCALL_COUNT], good[SYSCALL_COUNT]; // and those that succeeded
};
extern struct figures *figures; // shared with the parent process

// calls.c: a system call as this thread might make it. False: none comes to mind.
struct call { uint64_t number, a[6]; };
bool call_choose(struct call *c, struct thread *t, struct random *r);
bool call_destroy_something(struct call *c); // the manager at the end
const char *call_name(uint64_t number);

// steps.c
struct episode {
    uint32_t cores;
    uint64_t seed;
    uint64_t actions;             // how many
    const uint8_t *dropped;       // of each action: left out
    bool trace;                   // print what is done
};
void episode_run(const struct episode *e); // panics if anything is wrong

// pairs.c: one thing on core 1 and another on core 0 meet. Panics if anything is wrong.
unsigned pairs_count(void);
// Core 1 stops behind so many points, and core 0 behind so many of its own. False: the one was over
// before.
bool pair_run(unsigned index, uint64_t points, uint64_t others);

// invariants.c
void invariants_check(void);       // at any time
void invariants_check_quiet(void); // all cores are outside of the kernel
