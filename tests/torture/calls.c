// SPDX-License-Identifier: BSD-2-Clause
// What the processes of the torture run ask of the kernel: any call, mostly with arguments that
// make sense, taken from the caller's own handles, and sometimes with any at all.
#include "tests/torture/torture.h"
#include "kernel/core/syscall.h"

#define HOSTILE   24 // one argument in so many is any number,
#define CARELESS  6  // and one in so many any handle of its type
#define PEACEFUL  3  // one call in so many has nothing to do with who stands still
#define DEADLY    8  // and of the others one in so many may end him
#define USER_AREA 0x10000000ull
#define AREA      (4ull << 20)

// A letter per argument:
//   P process or oneself, M memory, E event, e event or 0, B context or 0, t timer, V vm,
//   v vcpu, S system, h any handle; U address and bytes of a mapping that the space before it has;
//   c core, s bytes, l alignment, q quota, o offset, a user address, g guest-physical address,
//   p protection, r rights, b bits, w bits or none, d deadline, x small number, f flag, 0 zero,
//   m share, k period, A MSI address, y flags of memory
// And mostly one that serves: K memory for a vCPU's page, n event without a vCPU or 0, i event with
// one, O vm of its own, r vcpu that can be run here.
static const struct {
    const char *arguments;
    uint8_t vmm, manager; // how often
} calls[SYSCALL_COUNT] = {
    [SYS_null] = { "", 1, 1 },
    [SYS_handle_copy] = { "Phr0w", 6, 16 },
    [SYS_handle_close] = { "h", 1, 0 },
    [SYS_object_destroy] = { "h", 5, 6 },
    [SYS_mem_create] = { "sly", 8, 4 },
    [SYS_mem_map] = { "PMosap", 10, 6 },
    [SYS_mem_unmap] = { "PU", 8, 4 },
    [SYS_process_create] = { "qeb", 2, 8 },
    [SYS_process_status] = { "Pa", 1, 1 },
    [SYS_thread_create] = { "PBaax", 4, 14 },
    [SYS_sc_create] = { "Scmkf", 1, 8 },
    [SYS_thread_exit] = { "x", 1, 0 },
    [SYS_sc_move] = { "BB", 1, 16 },
    [SYS_event_create] = { "", 4, 6 },
    [SYS_event_signal] = { "ib", 16, 12 },
    [SYS_event_wait] = { "Ebd", 12, 16 },
    [SYS_timer_create] = { "Eb", 4, 1 },
    [SYS_timer_arm] = { "td", 8, 2 },
    [SYS_vm_create] = { "0", 4, 1 },
    [SYS_vm_map] = { "VMosgp", 10, 2 },
    [SYS_vm_unmap] = { "VU", 5, 1 },
    [SYS_vm_msi] = { "VAxf", 6, 4 },
    [SYS_vcpu_create] = { "OxKn", 12, 0 },
    [SYS_vcpu_run] = { "r", 40, 0 },
    [SYS_vcpu_intr] = { "vf", 3, 1 },
    [SYS_vcpu_sregs] = { "vf", 4, 0 },
    [SYS_system_audit] = { "S", 0, 2 },
    [SYS_system_stats] = { "Sxa", 0, 1 },
    [SYS_system_info] = { "Sa", 0, 1 },
};

static const char *const names[SYSCALL_COUNT] = {
#define X(name, number) [number] = #name,
    SYSCALLS(X)
#undef X
};

const char *call_name(uint64_t number) { return number < SYSCALL_COUNT ? names[number] : "?"; }

// Whether it is what a call with that letter wants.
static bool serves(char letter, struct object *o, const struct thread *t)
{
    const struct vcpu *v;
    switch (letter) {
    case 'O':
        return o->owner == t->process;
    case 'K':
        return o->owner == t->process && object_as(o, memory)->flags == MEM_KERNEL;
    case 'n':
        return !ref_get(object_as(o, event)->vcpu);
    case 'i':
        return ref_get(object_as(o, event)->vcpu);
    case 'r':
        v = object_as(o, vcpu);
        return o->owner == t->process && v->core == t->core &&
               !(v->thread && v->thread->mode == THREAD_GUEST);
    default:
        return true;
    }
}

// A handle of that type, or 0. -1: of any. choosy: one that serves, if there is one.
static uint64_t any_handle(const struct thread *t, int type, char letter, bool choosy,
                           struct random *r)
{
    const struct process *p = t->process;
    uint64_t found = 0, good = 0;
    uint8_t rights;
    unsigned seen = 0, serving = 0;
    for (uint64_t h = 1; h < HANDLE_MAX; h++) {
        struct object *o = p->handles[h] ? handle_any(p, h, &rights) : NULL;
        if (!o || (type >= 0 && o->type != type))
            continue;
        if (chance(r, ++seen))
            found = h;
        if (choosy && serves(letter, o, t) && chance(r, ++serving))
            good = h;
    }
    return good ? good : found;
}

// Address and bytes of one of the mappings in the space that a handle stands for.
static bool any_mapping(const struct process *p, uint64_t h, struct random *r, uint64_t a[2])
{
    uint8_t rights;
    struct object *o = handle_any(p, h, &rights);
    unsigned seen = 0;
    if (!o || (o->type != OBJ_PROCESS && o->type != OBJ_VM))
        return false;
    struct space *s = o->type == OBJ_VM ? &object_as(o, vm)->space : &object_as(o, process)->space;
    list_for_each(l, &s->mappings) {
        const struct mapping *m = list_entry(l, struct mapping, in_space);
        if (!chance(r, ++seen))
            continue;
        a[0] = m->address;
        a[1] = m->bytes;
    }
    return seen;
}

static uint64_t any_bytes(struct random *r)
{
    if (chance(r, 12))
        return PAGE_2M << random_below(r, 2);
    return (1 + random_below(r, 1u << random_below(r, 6))) * PAGE_SIZE;
}

static uint64_t hostile(struct random *r)
{
    static const uint64_t edges[] = { 0, 1, UINT64_MAX, 1ull << 63, USER_END, HANDLE_MAX,
                                      UINT32_MAX, PAGE_SIZE, HANDLE_SELF };
    if (chance(r, 2))
        return edges[random_below(r, ARRAY_SIZE(edges))];
    return random_next(r) >> random_below(r, 64);
}

static uint64_t number_for(char letter, struct random *r)
{
    switch (letter) {
    case 'c': return random_below(r, cpu_count);
    case 's': return any_bytes(r);
    case 'l': return chance(r, 8) ? PAGE_2M : PAGE_SIZE;
    case 'q': return (256ull << 10) << random_below(r, 4);
    case 'o': return chance(r, 2) ? 0 : random_below(r, 8) * PAGE_SIZE;
    case 'a': return USER_AREA + number_for('g', r);
    case 'g': return align_down(random_below(r, AREA), chance(r, 4) ? PAGE_2M : PAGE_SIZE);
    case 'p': return PROT_READ | (random_next(r) & PROT_WRITE);
    case 'r': return chance(r, 4) ? random_next(r) & RIGHT_ALL : RIGHT_ALL;
    case 'b': return 1ull << random_below(r, 4);
    case 'd': return chance(r, 4) ? 0 : fake.now + random_below(r, 3000000);
    case 'w': return chance(r, 8) ? 1ull << random_below(r, 4) : 0;
    case 'x': return random_below(r, 4);
    case 'f': return random_below(r, 2);
    case 'm': return 50 * (1 + random_below(r, 8));
    case 'k': return chance(r, 2) ? 10000 : 1000 << random_below(r, 2);
    case 'A': return 0xfee00000;
    case 'y': return chance(r, 3) ? MEM_KERNEL : 0;
    default: return 0;
    }
}

static int type_of(char letter)
{
    static const struct { char letter; uint8_t type; } types[] = {
        { 'P', OBJ_PROCESS }, { 'M', OBJ_MEMORY }, { 'K', OBJ_MEMORY }, { 'E', OBJ_EVENT },
        { 'e', OBJ_EVENT }, { 'n', OBJ_EVENT }, { 'i', OBJ_EVENT }, { 'B', OBJ_SC },
        { 't', OBJ_TIMER }, { 'V', OBJ_VM }, { 'O', OBJ_VM }, { 'v', OBJ_VCPU }, { 'r', OBJ_VCPU },
        { 'S', OBJ_SYSTEM },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
        if (types[i].letter == letter)
            return types[i].type;
    return letter == 'h' ? -1 : OBJ_TYPE_COUNT;
}

// The manager shares its own time with nobody: it is to come to the end.
static bool may_be_none(char letter, const struct process *p)
{
    return letter == 'e' || letter == 'n' || (letter == 'B' && p != fake_manager);
}

// False: it has no such handle, so the call would be refused at once.
static bool fill(struct call *c, const struct thread *t, const char *arguments, struct random *r)
{
    const struct process *p = t->process;
    for (unsigned n = 0; *arguments; n++, arguments++) {
        int type = type_of(*arguments);
        if (chance(r, HOSTILE)) {
            c->a[n] = hostile(r);
        } else if (*arguments == 'U') {
            if (!any_mapping(p, c->a[n - 1], r, &c->a[n]))
                return false;
        } else if (type == OBJ_TYPE_COUNT) {
            c->a[n] = number_for(*arguments, r);
        } else if (*arguments == 'P' && p != fake_manager && chance(r, 2)) {
            c->a[n] = HANDLE_SELF;
        } else if (!(may_be_none(*arguments, p) && chance(r, 3))) {
            c->a[n] = any_handle(t, type, *arguments, !chance(r, CARELESS), r);
            if (!c->a[n] && !may_be_none(*arguments, p))
                return false;
        }
    }
    return true;
}

// What would end the episode is not for the manager: it must be there to clear up.
static void spare_manager(struct call *c)
{
    if (c->number == SYS_event_wait && (!c->a[2] || c->a[2] > fake.now + 5000000))
        c->a[2] = fake.now + 500000;
    if (c->number == SYS_thread_create && c->a[0] == HANDLE_SELF)
        c->a[0] = 0;
}

static uint64_t handle_of(const struct process *p, const struct object *wanted)
{
    uint8_t rights;
    for (uint64_t h = 1; wanted && h < HANDLE_MAX; h++)
        if (p->handles[h] && handle_any(p, h, &rights) == wanted)
            return h;
    return 0;
}

// Where a thread stands still in the middle of something, another one does what concerns it: there
// the gaps are. False: he cannot.
static bool interfere(struct call *c, const struct thread *t, struct thread *victim,
                      struct random *r)
{
    struct vcpu *v = victim->vcpu;
    struct event *e = v ? object_to(ref_get(v->event), event) : victim->waiting;
    struct object *objects[] = { e ? &e->object : NULL, v ? &v->object : NULL,
                                 &victim->sc->object, &victim->object, &victim->process->object };
    bool deadly = chance(r, DEADLY);
    uint64_t which = random_below(r, deadly ? ARRAY_SIZE(objects) : 3);
    uint64_t h = handle_of(t->process, objects[which]);
    if (!h)
        return false;
    *c = (struct call){ SYS_object_destroy, { h } };
    if (!deadly && which == 0)
        *c = (struct call){ SYS_event_signal, { h, 1ull << random_below(r, 4) } };
    else if (!deadly && which == 1)
        *c = (struct call){ SYS_vcpu_intr, { h, random_below(r, 2) } };
    else if (!deadly)
        *c = (struct call){ SYS_sc_move, { h, any_handle(t, OBJ_SC, 0, false, r) } };
    return true;
}

bool call_choose(struct call *c, struct thread *t, struct random *r)
{
    struct thread *victim = core_stalled_thread();
    if (victim && victim != t && !chance(r, PEACEFUL) && interfere(c, t, victim, r))
        return true;
    bool manager = t->process == fake_manager;
    uint64_t sum = 0;
    for (unsigned i = 0; i < SYSCALL_COUNT; i++)
        sum += manager ? calls[i].manager : calls[i].vmm;
    uint64_t at = random_below(r, sum);
    *c = (struct call){ 0 };
    for (;; c->number++) {
        uint64_t weight = manager ? calls[c->number].manager : calls[c->number].vmm;
        if (at < weight)
            break;
        at -= weight;
    }
    // What a VM's vCPU and its manager both know of is how they meet.
    bool shares = manager && c->number == SYS_handle_copy && chance(r, 2);
    if (!fill(c, t, shares ? "PEr0w" : calls[c->number].arguments, r))
        return false;
    if (c->number == SYS_sc_create && chance(r, 2))
        c->a[2] = c->a[3] = 0; // best effort
    if (c->number == SYS_mem_create && c->a[2] == MEM_KERNEL && chance(r, 2))
        c->a[0] = c->a[1] = PAGE_SIZE; // as for a vCPU
    if (manager)
        spare_manager(c);
    return true;
}

// Processes first, and with them all that is theirs.
bool call_destroy_something(struct call *c)
{
    static const uint8_t order[] = { OBJ_PROCESS, OBJ_THREAD, OBJ_VCPU, OBJ_VM, OBJ_TIMER,
                                     OBJ_SC, OBJ_MEMORY, OBJ_EVENT };
    uint8_t rights;
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        for (uint64_t h = HANDLE_SELF + 1; h < HANDLE_MAX; h++) {
            struct object *o = handle_any(fake_manager, h, &rights);
            if (o && o->type == order[i] && (rights & RIGHT_CONTROL)) {
                *c = (struct call){ SYS_object_destroy, { h } };
                return true;
            }
        }
    return false;
}
