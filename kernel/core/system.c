// SPDX-License-Identifier: BSD-2-Clause
// The calls about the machine as a whole, for the holder of the system object.
#include "kernel/core/syscall.h"
#include "kernel/lib/string.h"

SYSCALL(null) { return result(OK); }

// A record of at most LOG_PIECE bytes. The first process's text is taken as it is, and goes to the
// serial line too as long as that is the kernel's, which does not wait for the line.
SYSCALL(log_write)
{
    struct process *p = caller_process();
    char text[LOG_PIECE];
    size_t bytes = min_u64(a1, sizeof(text));
    if (!copy_from_user(p, text, a0, bytes))
        return result(ERR_RANGE);
    if (p->parent)
        return result(log_record(p->object.id, text, bytes) ? (int64_t)bytes : ERR_FULL);
    return result((int64_t)log_text(text, bytes));
}

SYSCALL_ON(system_audit, system, RIGHT_USE)
{
    struct thread *t = this_cpu()->current;
    memset(t->op_state.w, 0, sizeof(t->op_state.w));
    t->op_state.ref = (struct ref){ NULL, 0 };
    op_begin(t, OP_AUDIT);
}

// Walks what are given out one to a VM.
static struct vcpu *vcpu_at(uint64_t index)
{
    list_for_each(l, &vcpus) {
        struct vcpu *v = list_entry(l, struct vcpu, all);
        if (v->object.dying == OBJECT_ALIVE && index-- == 0)
            return v;
    }
    return NULL;
}

SYSCALL_LOCKED_ON(system_stats, system, RIGHT_READ)
{
    struct vcpu_stats s = { 0 };
    struct vcpu *v = vcpu_at(a1);
    if (!v)
        return 0;
    arch_vcpu_stats(v, &s);
    s.process = v->object.owner->object.id;
    s.core = v->core;
    s.injected = v->injected;
    s.now = arch_now();
    s.run_tsc = v->run_before + (v->home ? sc_run_tsc(v->home->sc, s.now) : 0);
    s.halt_tsc = v->halt_tsc;
    return copy_to_user(caller_process(), a2, &s, sizeof(s)) ? 1 : ERR_RANGE;
}

SYSCALL_ON(system_log, system, RIGHT_READ)
{
    char text[LOG_PIECE] = { 0 };
    size_t most = min_u64(a2, sizeof(text));
    if (!copy_to_user(caller_process(), a1, text, most)) // before the ring gives anything away
        return ERR_RANGE;
    size_t got = log_read(text, most);
    return copy_to_user(caller_process(), a1, text, got) ? (int64_t)got : ERR_RANGE;
}

SYSCALL_ON(system_info, system, RIGHT_READ)
{
    struct system_info info = {
        .frames_total = frames_count_total(), .frames_free = frames_count_free(),
        .objects = object_count(), .cores = cpu_count, .zeroing_tsc = memory_zeroing,
    };
    _Static_assert(CPU_MAX <= ARRAY_SIZE(info.idle_tsc), "one for each core");
    for (uint32_t i = 0; i < cpu_count; i++) {
        info.idle_tsc[i] = cpus[i]->idle_tsc;
        info.irqs_off[i] = cpus[i]->irqs_off_longest;
        info.time_apart |= (uint64_t)cpus[i]->time_apart << i;
    }
    return copy_to_user(caller_process(), a1, &info, sizeof(info)) ? OK : ERR_RANGE;
}

SYSCALL_ON(system_off, system, RIGHT_CONTROL)
{
    if (a1 > SYSTEM_RESET)
        return ERR_RANGE;
    arch_off((int)a1);
}
