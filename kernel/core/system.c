// SPDX-License-Identifier: BSD-2-Clause
// The calls about the machine as a whole, for the holder of the system object.
#include "kernel/core/syscall.h"
#include "kernel/lib/string.h"

#define LOG_PIECE 256

static enum status decode(uint64_t h, uint8_t rights)
{
    enum status status;
    struct object *o = handle_get(caller_process(), h, OBJ_SYSTEM, rights, &status);
    return o ? OK : status;
}

SYSCALL(null) { return result(OK); }

// The text is taken as it is; at most LOG_PIECE bytes a call.
SYSCALL(log_write)
{
    char text[LOG_PIECE];
    size_t bytes = min_u64(a1, sizeof(text));
    if (!copy_from_user(caller_process(), text, a0, bytes))
        return result(ERR_RANGE);
    log_text(text, bytes);
    return result((int64_t)bytes);
}

SYSCALL(system_audit)
{
    struct thread *t = this_cpu()->current;
    enum status status = decode(a0, RIGHT_USE);
    if (status != OK)
        return result(status);
    memset(t->op_state.w, 0, sizeof(t->op_state.w));
    t->op_state.ref = (struct ref){ NULL, 0 };
    op_begin(t, OP_AUDIT);
}

static struct vcpu *vcpu_at(uint64_t index)
{
    for (uint32_t id = 1; id < object_id_end(); id++) {
        struct object *o = object_by_id(id);
        if (o && o->type == OBJ_VCPU && o->dying == OBJECT_ALIVE && index-- == 0)
            return object_to(o, vcpu);
    }
    return NULL;
}

SYSCALL(system_stats)
{
    struct vcpu_stats s = { 0 };
    enum status status = decode(a0, RIGHT_READ);
    if (status != OK)
        return result(status);
    spin_lock(&kernel_lock);
    struct vcpu *v = vcpu_at(a1);
    if (!v)
        return unlock_result(0);
    arch_vcpu_stats(v, &s);
    s.process = v->object.owner->object.id;
    s.core = v->core;
    s.injected = v->injected;
    s.run_tsc = v->runner ? v->runner->run_tsc : 0;
    s.halt_tsc = v->halt_tsc;
    s.zeroing_tsc = v->zeroing;
    spin_unlock(&kernel_lock);
    return result(copy_to_user(caller_process(), a2, &s, sizeof(s)) ? 1 : ERR_RANGE);
}

SYSCALL(system_log)
{
    char text[LOG_PIECE] = { 0 };
    enum status status = decode(a0, RIGHT_READ);
    if (status != OK)
        return result(status);
    size_t most = min_u64(a2, sizeof(text));
    if (!copy_to_user(caller_process(), a1, text, most)) // before the ring gives anything away
        return result(ERR_RANGE);
    size_t got = log_read(text, most);
    return result(copy_to_user(caller_process(), a1, text, got) ? (int64_t)got : ERR_RANGE);
}

SYSCALL(system_info)
{
    struct system_info info = { 0 };
    enum status status = decode(a0, RIGHT_READ);
    if (status != OK)
        return result(status);
    info.frames_total = frames_count_total();
    info.frames_free = frames_count_free();
    info.objects = object_count();
    info.cores = cpu_count;
    for (uint32_t i = 0; i < cpu_count && i < ARRAY_SIZE(info.idle_tsc); i++)
        info.idle_tsc[i] = cpus[i]->idle_tsc;
    return result(copy_to_user(caller_process(), a1, &info, sizeof(info)) ? OK : ERR_RANGE);
}

SYSCALL(system_off)
{
    enum status status = decode(a0, RIGHT_CONTROL);
    if (status != OK)
        return result(status);
    if (a1 > 2)
        return result(ERR_RANGE);
    arch_off((int)a1);
}
