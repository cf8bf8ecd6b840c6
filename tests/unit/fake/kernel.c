// SPDX-License-Identifier: BSD-2-Clause
// The kernel of host tests; see kernel.h. One thread; state is `fake`.
#define _GNU_SOURCE
// The ABI first: it and the host's mman.h give the same values to PROT_*.
#include "libc/trap.h"
#include "tests/unit/fake/kernel.h"
#include "kernel/abi/boot.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct fake_kernel fake;

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))

static void object_free(struct fake_object *object)
{
    if (object->type == FAKE_MEMORY) {
        munmap(object->view, object->bytes);
        close(object->fd);
        fake.memory_left += object->bytes;
    }
    memset(object, 0, sizeof(*object));
}

// What the code under test has mapped: object 1 is its process.
static void unmap_self(struct fake_object *self, uint32_t index)
{
    munmap((void *)(uintptr_t)self->mapping[index].va, self->mapping[index].bytes);
    self->mapping[index] = self->mapping[--self->mappings];
}

void fake_reset(void)
{
    struct fake_object *self = &fake.object[1];
    while (self->mappings > 0) {
        unmap_self(self, 0);
    }
    for (size_t i = 1; i < FAKE_OBJECTS; i++) {
        if (fake.object[i].type != FAKE_FREE) {
            object_free(&fake.object[i]);
        }
    }
    memset(&fake, 0, sizeof(fake));
    fake.memory_left = 1ull << 30;
    fake.off = -1;
    fake.kernel_log = "";
    struct fake_object *process = fake_object_at(HANDLE_SELF, FAKE_PROCESS, RIGHT_ALL);
    process->status.quota = 1ull << 30;
    assert(process == self);
}

static int object_new(enum fake_type type)
{
    for (int i = 1; i < FAKE_OBJECTS; i++) {
        if (fake.object[i].type == FAKE_FREE) {
            fake.object[i] = (struct fake_object){.type = type};
            fake.object[i].status.id = (uint32_t)i;
            return i;
        }
    }
    abort();
}

struct fake_object *fake_object_at(handle_t h, enum fake_type type, uint32_t rights)
{
    fake.handle[h].object = object_new(type);
    fake.handle[h].rights = rights;
    return &fake.object[fake.handle[h].object];
}

static void memory_init(struct fake_object *memory, uint64_t bytes)
{
    memory->fd = memfd_create("memory", 0);
    memory->bytes = bytes;
    assert(memory->fd >= 0 && ftruncate(memory->fd, (off_t)bytes) == 0);
    memory->view = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
    assert(memory->view != MAP_FAILED);
    fake.memory_left -= bytes;
}

void fake_module(handle_t h, const void *bytes, uint64_t len)
{
    struct fake_object *memory = fake_object_at(h, FAKE_MEMORY, RIGHT_READ | RIGHT_COPY);
    memory_init(memory, (len + PAGE_SIZE) & ~(PAGE_SIZE - 1));
    memcpy(memory->view, bytes, len);
}

static int64_t handle_new(int object)
{
    for (int64_t h = 100; h < FAKE_SLOTS; h++) {
        if (fake.handle[h].object == 0) {
            fake.handle[h].object = object;
            fake.handle[h].rights = RIGHT_ALL;
            return h;
        }
    }
    return ERR_FULL;
}

// type FAKE_FREE: any. NULL with *status.
static struct fake_object *get(uint64_t h, enum fake_type type, uint32_t rights, int64_t *status)
{
    *status = ERR_HANDLE;
    if (h >= FAKE_SLOTS || fake.handle[h].object == 0) {
        return NULL;
    }
    struct fake_object *object = &fake.object[fake.handle[h].object];
    if (object->type == FAKE_FREE || (type != FAKE_FREE && object->type != type)) {
        return NULL;
    }
    *status = ERR_RIGHTS;
    if ((fake.handle[h].rights & rights) != rights) {
        return NULL;
    }
    *status = OK;
    return object;
}

struct fake_object *fake_handle(handle_t h)
{
    int64_t status;
    return get(h, FAKE_FREE, 0, &status);
}

struct fake_object *fake_slot(struct fake_object *process, handle_t slot, uint32_t *rights)
{
    if (slot < 2 || slot - 2 >= process->slots)
        return NULL;
    *rights = process->slot[slot - 2].rights;
    return &fake.object[process->slot[slot - 2].object];
}

uint32_t fake_count(enum fake_type type)
{
    uint32_t count = 0;
    for (size_t i = 1; i < FAKE_OBJECTS; i++) {
        count += fake.object[i].type == type;
    }
    return count;
}

const struct fake_mapping *fake_mapped(const struct fake_object *process, uint64_t va)
{
    for (uint32_t i = 0; i < process->mappings; i++) {
        if (va - process->mapping[i].va < process->mapping[i].bytes) {
            return &process->mapping[i];
        }
    }
    return NULL;
}

void fake_signal(struct fake_object *event, uint64_t bits)
{
    event->bits |= bits;
}

void fake_process_end(struct fake_object *process, enum process_end end, int32_t status)
{
    process->status.end = end;
    process->status.status = status;
    if (process->event != 0) {
        fake_signal(&fake.object[process->event], process->bits);
    }
}

static int64_t call_handle_copy(const uint64_t a[6])
{
    int64_t status;
    struct fake_object *process = get(a[0], FAKE_PROCESS, RIGHT_USE, &status);
    struct fake_object *object = process ? get(a[1], FAKE_FREE, RIGHT_COPY, &status) : NULL;
    if (object == NULL) {
        return status;
    }
    if ((fake.handle[a[1]].rights & a[2]) != a[2]) {
        return ERR_RIGHTS;
    }
    if (process->slots == ARRAY(process->slot)) {
        return ERR_FULL;
    }
    assert(a[4] == 0 || object->type == FAKE_EVENT);
    process->slot[process->slots].object = (int)(object - fake.object);
    process->slot[process->slots].rights = (uint32_t)a[2];
    process->slot[process->slots].withheld = a[4];
    return process->slots++ + 2;
}

static int64_t call_destroy(uint64_t h)
{
    int64_t status;
    struct fake_object *object = get(h, FAKE_FREE, RIGHT_CONTROL, &status);
    if (object == NULL || (object->type == FAKE_SC && object->users != 0)) {
        return object == NULL ? status : ERR_BUSY;
    }
    int index = (int)(object - fake.object);
    for (size_t i = 2; i < FAKE_OBJECTS; i++) {
        struct fake_object *other = &fake.object[i];
        if (other->type == FAKE_THREAD && other->process == index) {
            fake.object[other->sc].users--;
            object_free(other);
        }
        for (uint32_t m = 0; other->type == FAKE_PROCESS && m < other->mappings; m++) {
            // Freeing what a living process still has mapped is a mistake of the manager's.
            assert(other == object || other->mapping[m].memory != index ||
                   other->status.end != PROCESS_ALIVE);
        }
    }
    object_free(object);
    fake.handle[h].object = 0;
    return OK;
}

static int64_t call_mem_create(const uint64_t a[6])
{
    if (a[0] == 0 || a[0] % PAGE_SIZE != 0 || a[1] != PAGE_SIZE || a[2] != 0) {
        return ERR_RANGE;
    }
    if (a[0] > fake.memory_left) {
        return ERR_QUOTA;
    }
    int index = object_new(FAKE_MEMORY);
    memory_init(&fake.object[index], a[0]);
    return handle_new(index);
}

static int host_prot(uint64_t prot)
{
    return (prot & PROT_READ ? 1 : 0) | (prot & PROT_WRITE ? 2 : 0);
}

static int64_t call_mem_map(const uint64_t a[6])
{
    int64_t status;
    uint64_t offset = a[2], bytes = a[3], va = a[4], prot = a[5];
    struct fake_object *process = get(a[0], FAKE_PROCESS, RIGHT_USE, &status);
    struct fake_object *memory = process ? get(a[1], FAKE_MEMORY, (uint32_t)prot, &status) : NULL;
    if (memory == NULL) {
        return status;
    }
    if ((offset | bytes | va) % PAGE_SIZE != 0 || bytes == 0 || offset > memory->bytes ||
        bytes > memory->bytes - offset || va < USER_START || va >= USER_END ||
        !(prot & PROT_READ) || ((prot & PROT_WRITE) && (prot & PROT_EXEC))) {
        return ERR_RANGE;
    }
    for (uint32_t i = 0; i < process->mappings; i++) {
        if (va < process->mapping[i].va + process->mapping[i].bytes &&
            process->mapping[i].va < va + bytes) {
            return ERR_BUSY;
        }
    }
    assert(process->mappings < FAKE_MAPPINGS);
    process->mapping[process->mappings++] = (struct fake_mapping){
        va, bytes, offset, (uint32_t)prot, (int)(memory - fake.object)};
    if (process == &fake.object[1]) {
        void *at = mmap((void *)(uintptr_t)va, bytes, host_prot(prot),
                        MAP_SHARED | MAP_FIXED_NOREPLACE, memory->fd, (off_t)offset);
        assert(at == (void *)(uintptr_t)va);
    }
    return OK;
}

static int64_t call_mem_unmap(const uint64_t a[6])
{
    struct fake_object *self = &fake.object[1];
    for (uint32_t i = 0; a[0] == HANDLE_SELF && i < self->mappings; i++) {
        if (self->mapping[i].va == a[1] && self->mapping[i].bytes == a[2]) {
            unmap_self(self, i);
            return OK;
        }
    }
    return ERR_RANGE;
}

static int64_t call_process_create(const uint64_t a[6])
{
    int64_t status;
    struct fake_object *event = get(a[1], FAKE_EVENT, RIGHT_USE, &status);
    if (event == NULL) {
        return status;
    }
    if (a[0] % PAGE_SIZE != 0 || a[0] > fake.memory_left) {
        return ERR_QUOTA;
    }
    int index = object_new(FAKE_PROCESS);
    struct fake_object *process = &fake.object[index];
    process->event = (int)(event - fake.object);
    process->bits = a[2];
    process->status.quota = a[0];
    memcpy(&process->counts, (const void *)(uintptr_t)a[3], sizeof(process->counts));
    return handle_new(index);
}

static int64_t call_process_status(const uint64_t a[6])
{
    int64_t status;
    struct fake_object *process = get(a[0], FAKE_PROCESS, RIGHT_READ, &status);
    if (process != NULL) {
        memcpy((void *)(uintptr_t)a[1], &process->status, sizeof(process->status));
    }
    return status;
}

static int64_t call_thread_create(const uint64_t a[6])
{
    int64_t status;
    struct fake_object *process = get(a[0], FAKE_PROCESS, RIGHT_USE, &status);
    if (process == NULL) {
        return status;
    }
    struct fake_object *sc = get(a[1], FAKE_SC, RIGHT_USE, &status);
    assert(sc != NULL);
    int index = object_new(FAKE_THREAD);
    struct fake_object *thread = &fake.object[index];
    thread->process = (int)(process - fake.object);
    thread->sc = (int)(sc - fake.object);
    sc->users++;
    thread->entry = a[2];
    thread->stack = a[3];
    thread->argument = a[4];
    process->status.threads++;
    return handle_new(index);
}

static int64_t call_sc_move(const uint64_t a[6])
{
    int64_t status;
    struct fake_object *from = get(a[0], FAKE_SC, RIGHT_CONTROL, &status);
    struct fake_object *to = from != NULL ? get(a[1], FAKE_SC, RIGHT_USE, &status) : NULL;
    if (to == NULL) {
        return status;
    }
    if (a[2] != 0) { // one of its threads
        struct fake_object *thread = get(a[2], FAKE_THREAD, RIGHT_CONTROL, &status);
        bool here = thread != NULL && thread->sc == (int)(from - fake.object);
        if (here && !fake.moves_wait) {
            thread->sc = (int)(to - fake.object);
            from->users--;
            to->users++;
        }
        return thread != NULL ? here : status;
    }
    uint32_t left = from->users;
    if (a[0] == BOOT_HANDLE_SC) { // the manager itself
        to->users += from->users;
        from->users = 0;
    }
    for (int i = 0; i < FAKE_OBJECTS && !fake.moves_wait; i++) {
        struct fake_object *thread = &fake.object[i];
        if (thread->type == FAKE_THREAD && thread->sc == (int)(from - fake.object)) {
            thread->sc = (int)(to - fake.object);
            from->users--;
            to->users++;
        }
    }
    return left;
}

static int64_t call_sc_create(const uint64_t a[6])
{
    bool period = a[3] == 1000 || a[3] == 2000 || a[3] == 10000;
    assert(a[2] <= 1000 && (a[2] ? period : a[3] == 0) && a[4] <= SC_SOFT);
    int index = object_new(FAKE_SC);
    fake.object[index].core = (uint32_t)a[1];
    fake.object[index].share = (uint32_t)a[2];
    fake.object[index].period = (uint32_t)a[3];
    fake.object[index].soft = a[4] != 0;
    return handle_new(index);
}

static int64_t call_event_signal(const uint64_t a[6])
{
    int64_t status;
    struct fake_object *event = get(a[0], FAKE_EVENT, RIGHT_USE, &status);
    if (event != NULL)
        fake_signal(event, a[1]);
    return status;
}

static int64_t call_event_wait(const uint64_t a[6], uint64_t *second)
{
    int64_t status;
    struct fake_object *event = get(a[0], FAKE_EVENT, RIGHT_WAIT, &status);
    if (event == NULL) {
        return status;
    }
    while ((event->bits & a[1]) == 0) {
        if (a[2] == 1) // long past: a look, and no wait
            return ERR_TIMEOUT;
        bool more = fake.idle != NULL && fake.idle(&fake);
        if (!more && (event->bits & a[1]) == 0) {
            assert(a[2] != 0); // it would sleep for ever
            return ERR_TIMEOUT;
        }
    }
    *second = event->bits & a[1];
    event->bits &= ~a[1];
    return OK;
}

static int64_t call_irq_bind(const uint64_t a[6])
{
    int64_t status;
    struct fake_object *irq = get(a[0], FAKE_IRQ, RIGHT_USE, &status);
    struct fake_object *event = irq ? get(a[1], FAKE_EVENT, RIGHT_USE, &status) : NULL;
    if (event != NULL) {
        irq->event = (int)(event - fake.object);
        irq->bits = a[2];
    }
    return status;
}

static int64_t call_ioports_grant(const uint64_t a[6])
{
    int64_t status;
    struct fake_object *process = get(a[0], FAKE_PROCESS, RIGHT_USE, &status);
    if (process != NULL && get(a[1], FAKE_PORTS, RIGHT_USE, &status) != NULL) {
        process->port_first = (uint32_t)a[2];
        process->port_count = (uint32_t)a[3];
    }
    return status;
}

static int64_t call_system(uint64_t number, const uint64_t a[6], uint64_t *second)
{
    int64_t status;
    void *to = (void *)(uintptr_t)a[1];
    if (get(a[0], FAKE_SYSTEM, RIGHT_USE, &status) == NULL) {
        return status;
    }
    if (number == SYS_system_audit) {
        *second = 12345;
        return fake.audit;
    }
    if (number == SYS_system_off) {
        fake.off = (int)a[1];
        return OK;
    }
    if (number == SYS_system_log) {
        uint64_t len = strlen(fake.kernel_log);
        len = len < a[2] ? len : a[2];
        memcpy(to, fake.kernel_log, len);
        fake.kernel_log += len; // each byte is given once
        return (int64_t)len;
    }
    if (number == SYS_system_info) {
        struct system_info info = {.frames_total = 1 << 18, .frames_free = fake.memory_left >> 12,
                                   .cores = 2, .time_apart = fake.time_apart};
        memcpy(to, &info, sizeof(info));
        return OK;
    }
    if (a[1] >= fake.stats_count)
        return 0;
    memcpy((void *)(uintptr_t)a[2], &fake.stats[a[1]], sizeof(fake.stats[0]));
    fake.stats[a[1]].exits[0] += fake.stats_move;
    return 1;
}

static int64_t call_log_write(const uint64_t a[6])
{
    uint64_t room = sizeof(fake.log) - 1 - fake.log_len;
    uint64_t len = a[1] < room ? a[1] : room;
    memcpy(fake.log + fake.log_len, (const void *)(uintptr_t)a[0], len);
    fake.log_len += (uint32_t)len;
    return (int64_t)len;
}

int64_t fake_trap(uint64_t number, const uint64_t a[6], uint64_t *second)
{
    switch (number) {
    case SYS_log_write: return call_log_write(a);
    case SYS_handle_copy: return call_handle_copy(a);
    case SYS_handle_close: // stale or not; slot 0 is always empty
        assert(a[0] < FAKE_SLOTS && fake.handle[a[0]].object != 0);
        fake.handle[a[0]].object = 0;
        return OK;
    case SYS_object_destroy: return call_destroy(a[0]);
    case SYS_mem_create: return call_mem_create(a);
    case SYS_mem_map: return call_mem_map(a);
    case SYS_mem_unmap: return call_mem_unmap(a);
    case SYS_process_create: return call_process_create(a);
    case SYS_process_status: return call_process_status(a);
    case SYS_thread_create: return call_thread_create(a);
    case SYS_sc_create: return call_sc_create(a);
    case SYS_sc_move: return call_sc_move(a);
    case SYS_event_create: return handle_new(object_new(FAKE_EVENT));
    case SYS_event_signal: return call_event_signal(a);
    case SYS_event_wait: return call_event_wait(a, second);
    case SYS_irq_bind: return call_irq_bind(a);
    case SYS_ioports_grant: return call_ioports_grant(a);
    case SYS_system_audit:
    case SYS_system_stats:
    case SYS_system_log:
    case SYS_system_info:
    case SYS_system_off:
        return call_system(number, a, second);
    default: return ERR_CALL;
    }
}
