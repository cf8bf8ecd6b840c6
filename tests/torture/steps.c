// SPDX-License-Identifier: BSD-2-Clause
// An episode: a machine is started, cores take turns, what is outside of the kernel does something,
// and at the end the manager destroys all there is; nothing may be left.
#include "tests/torture/torture.h"
#include <stdio.h>
#include <stdlib.h>

#define CORE_MB      16
#define QUIET_EVERY  16      // turns between two looks at everything
#define STEPS_ACTION 40      // turns for one action, before it hangs
#define END_STEPS    3000000 // turns for the end
#define HOG_ENDS     20000   // turns until somebody in ring 3 ends by himself, then

static const struct episode *episode;
static struct random steps;  // whose turn it is
static uint64_t action;      // how many have been begun
static bool ending;

struct act {
    struct random r;
    struct call call;
    bool yields;
};
static struct act acts[CPU_MAX]; // what each core is about

static void trace(uint32_t core, const char *what, int64_t result)
{
    const struct thread *t = cpus[core]->current;
    if (episode->trace)
        printf("%6lu core %u process %u: %s: %ld\n", action, core,
               t ? t->process->object.id : 0, what, result);
}

static void trace_call(uint32_t core, const struct call *c, int64_t result)
{
    const struct thread *t = cpus[core]->current;
    if (episode->trace)
        printf("%6lu core %u thread %u: %s(0x%lx, 0x%lx, 0x%lx, 0x%lx, 0x%lx, 0x%lx) %ld\n", action,
               core, t ? t->object.id : 0, call_name(c->number), c->a[0], c->a[1], c->a[2],
               c->a[3], c->a[4], c->a[5], result);
}

// What happens on a core; each begins outside of the kernel and ends there.
static void do_call(uint32_t core, void *argument)
{
    const struct call *c = &((struct act *)argument)->call;
    trace_call(core, c, 0);
    figures->calls[c->number]++;
    struct process *p = cpus[core]->current->process;
    const struct vcpu *v = cpus[core]->current->vcpu;
    uint64_t number = c->number;
    if (number == SYS_vcpu_run && v && fake_object(p, (int64_t)c->a[0]) == &v->object)
        number |= SYSCALL_RUN_ON;
    int64_t result = fake_call(core, number, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
    figures->good[c->number] += result >= 0;
    struct object *made = c->number == SYS_process_create ? fake_object(p, result) : NULL;
    if (made && made->type == OBJ_PROCESS) // or another thread has destroyed it already
        fake_grant(object_to(made, process));
}

static void do_fault(uint32_t core, void *unused)
{
    (void)unused;
    trace(core, "fault", 0);
    fake_fault(core, 14);
}

// Guests
static void exit_nothing(struct vcpu *v) { (void)v; }

static void exit_to_vmm(struct vcpu *v) { vcpu_return(v, VM_EXIT_EOI, 0); }

static void do_exit(uint32_t core, void *argument)
{
    static void (*const handlers[])(struct vcpu *v) = {
        exit_nothing, exit_to_vmm, fake_return_fast, vcpu_halt, fake_exit_yield,
    };
    struct act *a = argument;
    uint64_t which = ending ? 1 : random_below(&a->r, ARRAY_SIZE(handlers));
    trace(core, "exit", (int64_t)which);
    fake_exit(core, handlers[which]);
}

// A thread in ring 3 does what it likes. False: nothing.
static bool user_acts(uint32_t core, struct act *a)
{
    struct thread *t = cpus[core]->current;
    bool manager = t->process == fake_manager;
    if (ending && manager) {
        if (!call_destroy_something(&a->call))
            return false;
    } else if (ending) {
        // The manager is best effort here: beside shares of a whole core it comes to nothing.
        if (!chance(&a->r, HOG_ENDS))
            return false;
        a->call = (struct call){ SYS_thread_exit, { 0 } };
    } else if (!manager && chance(&a->r, 200)) {
        core_enter(core, "fault", do_fault, a);
        return true;
    } else if (!call_choose(&a->call, t, &a->r)) {
        return false;
    }
    core_enter(core, call_name(a->call.number), do_call, a);
    return true;
}

static bool core_acts(uint32_t core, struct act *a)
{
    if (core_has_interrupts(core) && (ending || chance(&steps, 2))) {
        core_enter(core, "interrupts", core_take_interrupts, a);
        return true;
    }
    if (fake.state[core] != FAKE_USER && fake.state[core] != FAKE_GUEST)
        return false;
    uint64_t index = action++;
    if (!ending && episode->dropped && index < episode->actions && episode->dropped[index])
        return false;
    a->r = random_of(episode->seed, index);
    figures->actions++;
    if (fake.state[core] == FAKE_USER)
        return user_acts(core, a);
    core_enter(core, "exit", do_exit, a);
    return true;
}

// The clock goes to the next deadline when nobody has anything to do, and now and then anyway.
static void time_passes(bool idle)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < cpu_count; i++)
        next = min_u64(next, fake.deadline[i]);
    if (idle && next != UINT64_MAX && next > fake.now)
        fake.now = next;
    else if (chance(&steps, 64))
        fake.now += random_below(&steps, 400000);
}

static void turn(void)
{
    uint32_t core = (uint32_t)random_below(&steps, cpu_count);
    figures->steps++;
    if (core_stalls(core))
        return;
    if (core_inside(core))
        core_resume(core);
    else
        (void)core_acts(core, &acts[core]);
    hw_check();
    invariants_check();
    if (cores_stall() || !chance(&steps, QUIET_EVERY))
        return;
    while (!cores_quiet()) {
        core = (uint32_t)random_below(&steps, cpu_count);
        if (core_inside(core))
            core_resume(core);
    }
    invariants_check_quiet();
    bool idle = true;
    for (uint32_t i = 0; i < cpu_count; i++)
        idle &= !core_has_interrupts(i) && fake.state[i] == FAKE_IDLE;
    time_passes(idle || (ending && cpus[fake_thread->core]->current != fake_thread));
}

static bool at_end(void)
{
    struct call c;
    if (!cores_quiet() || fake_thread->op != OP_NONE || call_destroy_something(&c))
        return false;
    for (uint32_t i = 0; i < cpu_count; i++)
        if (core_has_interrupts(i))
            return false;
    return true;
}

// What a process that was killed had begun to destroy of the manager's waits for the manager's own
// end.
static uint32_t abandoned(void)
{
    uint32_t n = 0;
    list_for_each(l, &fake_manager->objects)
        n += list_entry(l, struct object, owned)->dying == OBJECT_ABANDONED;
    return n;
}

// What the manager uses, without its page tables: those stay as long as it does.
static uint64_t used_but_tables(void)
{
    struct audit_item item;
    uint64_t cursor = 0, tables = 0;
    while (arch_space_next(&fake_manager->space, &cursor, &item))
        tables += item.table;
    return fake_manager->used - tables * PAGE_SIZE;
}

static void check_nothing_left(uint32_t objects, uint64_t used)
{
    if (abandoned())
        return;
    if (object_count() != objects || used_but_tables() != used)
        panic("%u objects and %lu bytes are left, the newest of type %u", object_count() - objects,
              used_but_tables() - used,
              list_entry(fake_manager->objects.prev, struct object, owned)->type);
}

void episode_run(const struct episode *e)
{
    episode = e;
    action = 0;
    ending = false;
    if (e->seed & 1)
        setenv("FAKE_PCIDS", "1", 1);
    else
        unsetenv("FAKE_PCIDS");
    fake_start(e->cores, CORE_MB);
    hw_options.fills = e->seed >> 1 & 1;
    hw_options.seed = e->seed;
    for (uint32_t i = 0; i < cpu_count; i++)
        cpus[i]->quantum >>= e->seed >> 2 & 7; // so short that it ends in the middle of long work
    cores_reset(e->seed);
    steps = random_of(e->seed, UINT64_MAX - 1);
    uint32_t objects = object_count();
    uint64_t used = used_but_tables();
    for (uint64_t n = 0; action < e->actions && n < e->actions * STEPS_ACTION; n++)
        turn();
    ending = true;
    for (uint64_t n = 0; !at_end(); n++) {
        if (n == END_STEPS)
            panic("the end does not come");
        turn();
    }
    check_nothing_left(objects, used);
    figures->episodes++;
}
