// SPDX-License-Identifier: BSD-2-Clause
// Memory objects and processes: zeroing in pieces, quotas, mapping, and that destroying
// gives back all that there was.
#include "kernel.h"

#define VA 0x20000000ull

static struct memory *memory_at(struct process *p, int64_t h)
{
    return object_to(fake_object(p, h), memory);
}

static bool is_zero(struct hpa base, uint64_t bytes)
{
    const uint64_t *p = fake_ptr(base);
    for (uint64_t i = 0; i < bytes / 8; i++)
        if (p[i])
            return false;
    return true;
}

static void test_create(void **state)
{
    (void)state;
    uint64_t used = fake_manager->used;
    int64_t h = CALL(0, mem_create, 3 * PAGE_SIZE, PAGE_SIZE, 0); // within one piece: at once
    assert_true(h > 0);
    struct memory *m = memory_at(fake_manager, h);
    assert_true(is_zero(m->base, m->bytes));
    assert_true(fake_manager->used >= used + 3 * PAGE_SIZE);
    h = FINISH(0, mem_create, 8 * MB, PAGE_2M, 0);
    assert_true(h > 0);
    m = memory_at(fake_manager, h);
    assert_true(is_aligned(m->base.v, PAGE_2M));
    assert_true(is_zero(m->base, m->bytes));
    assert_int_equal(frames_run(m->base, 1 << 20), 8 * MB / PAGE_SIZE);
    assert_int_equal(frames_owner(m->base), m->object.id);
}

static void test_create_refused(void **state)
{
    (void)state;
    CALL(0, mem_create, PAGE_SIZE, PAGE_SIZE, 0); // the slab has its frame now
    uint64_t free = frames_count_free();
    uint32_t objects = object_count();
    assert_int_equal(CALL(0, mem_create, 0, PAGE_SIZE, 0), ERR_RANGE);
    assert_int_equal(CALL(0, mem_create, 100, PAGE_SIZE, 0), ERR_RANGE);
    assert_int_equal(CALL(0, mem_create, PAGE_SIZE, 8192, 0), ERR_RANGE);
    assert_int_equal(CALL(0, mem_create, PAGE_SIZE, PAGE_SIZE, 2), ERR_RANGE);
    assert_int_equal(CALL(0, mem_create, 2 * PAGE_SIZE, PAGE_SIZE, MEM_KERNEL), ERR_RANGE);
    assert_int_equal(CALL(0, mem_create, PAGE_SIZE, PAGE_2M, MEM_KERNEL), ERR_RANGE);
    assert_int_equal(CALL(0, mem_create, ~0ull << 12, PAGE_SIZE, 0), ERR_RANGE);
    assert_int_equal(CALL(0, mem_create, 1ull << 40, PAGE_SIZE, 0), ERR_QUOTA);
    assert_int_equal(CALL(0, mem_create, PAGE_SIZE, PAGE_1G, 0), ERR_MEMORY);
    assert_int_equal(object_count(), objects);
    assert_int_equal(frames_count_free(), free);
}

// The handle appears when all is zero; between pieces the timer and other threads get in.
static void test_create_is_preemptible(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 32 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    struct fake_process high = fake_spawn(1, 1 * MB, fake_sc(1, 1000, 1000));
    CALL(0, handle_copy, high.handle, e, RIGHT_WAIT, 40);
    assert_true(CALL(1, event_wait, 40, 1, fake.now + 3 * 140000) == FAKE_BLOCKED);
    assert_ptr_equal(cpus[1]->current, p.thread);
    // 24 pieces of 131,072 ticks each: the deadline comes after the third or fourth.
    assert_true(CALL(1, mem_create, 24 * MB, PAGE_SIZE, 0) == FAKE_BLOCKED);
    assert_ptr_equal(cpus[1]->current, high.thread);
    assert_int_equal(high.thread->arch.status, ERR_TIMEOUT);
    struct memory *m = object_to(p.thread->op_state.object, memory);
    assert_in_range(m->zeroed, 3 * MB, 5 * MB);
    uint64_t slot = p.thread->op_state.w[0];
    fake_kill(high.thread_h);
    fake_interrupts(1);
    assert_true(fake_settle());
    assert_int_equal(p.thread->arch.status, slot);
    assert_ptr_equal(fake_object(p.process, (int64_t)slot), &m->object);
    assert_true(is_zero(m->base, m->bytes));
}

static void test_killed_in_create(void **state)
{
    (void)state;
    uint64_t free = frames_count_free();
    struct fake_process p = fake_spawn(1, 32 * MB, 0);
    struct fake_process high = fake_spawn(1, 1 * MB, fake_sc(1, 1000, 1000));
    int64_t e = CALL(0, event_create, 0);
    CALL(0, handle_copy, high.handle, e, RIGHT_WAIT, 40);
    CALL(1, event_wait, 40, 1, fake.now + 3 * 140000);
    assert_true(CALL(1, mem_create, 24 * MB, PAGE_SIZE, 0) == FAKE_BLOCKED);
    assert_int_equal(p.thread->op, OP_MEM_CREATE);
    assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
    assert_int_equal(FINISH(0, object_destroy, high.handle), OK);
    assert_int_equal(FINISH(0, object_destroy, e), OK);
    // Slabs stay; frames of memory do not.
    assert_in_range(free - frames_count_free(), 0, 8);
}

static void test_quota(void **state)
{
    (void)state;
    uint64_t used = fake_manager->used;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    assert_int_equal(p.process->quota, 1 * MB);
    assert_true(fake_manager->used >= used + 1 * MB);
    assert_int_equal(CALL(1, mem_create, 1 * MB, PAGE_SIZE, 0), ERR_QUOTA);
    int64_t h = CALL(1, mem_create, 900 << 10, PAGE_SIZE, 0);
    assert_true(h > 0);
    assert_int_equal(CALL(1, mem_create, 200 << 10, PAGE_SIZE, 0), ERR_QUOTA);
    uint64_t before = p.process->used;
    // Page tables cost too: mappings far apart need tables of their own.
    enum status status = OK;
    for (unsigned i = 0; status == OK && i < 64; i++)
        status = (enum status)CALL(1, mem_map, HANDLE_SELF, h, 0, PAGE_SIZE,
                                   VA + ((uint64_t)i << 30), PROT_READ);
    assert_true(status == ERR_MEMORY || status == ERR_QUOTA);
    assert_true(p.process->used <= p.process->quota && p.process->used > before);
    // A child's quota comes out of its parent's.
    assert_int_equal(CALL(1, process_create, 256 << 10, 0, 0), ERR_QUOTA);
    assert_int_equal(CALL(1, process_create, 1, 0, 0), ERR_RANGE);
    assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
    assert_int_equal(FINISH(0, object_destroy, p.sc), OK);
    assert_int_equal(fake_manager->used, used);
}

static void test_map(void **state)
{
    (void)state;
    struct process *p = fake_manager;
    struct hpa where;
    uint8_t prot;
    uint64_t left;
    int64_t h = FINISH(0, mem_create, 4 * MB, PAGE_2M, 0);
    struct memory *m = memory_at(p, h);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, 0, 4 * MB, VA, PROT_READ), OK);
    assert_true(arch_walk(&p->space, VA + 3 * MB, &where, &prot, &left));
    assert_int_equal(where.v, m->base.v + 3 * MB);
    assert_int_equal(left, 1 * MB); // a large page
    assert_int_equal(prot, PROT_READ);
    // Overlaps, in both directions, and one that only touches.
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, 0, PAGE_SIZE, VA + PAGE_SIZE, PROT_READ),
                     ERR_BUSY);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, 0, 2 * MB, VA - MB, PROT_READ), ERR_BUSY);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, MB, PAGE_SIZE, VA - PAGE_SIZE, PROT_READ),
                     OK);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, 0, PAGE_SIZE, VA + 4 * MB, PROT_READ), OK);
    // Exactly one earlier mapping, nothing else.
    assert_int_equal(CALL(0, mem_unmap, HANDLE_SELF, VA, 2 * MB), ERR_RANGE);
    assert_int_equal(CALL(0, mem_unmap, HANDLE_SELF, VA, 4 * MB), OK);
    assert_false(arch_walk(&p->space, VA, &where, &prot, &left));
    assert_true(arch_walk(&p->space, VA - PAGE_SIZE, &where, &prot, &left));
    assert_int_equal(where.v, m->base.v + MB);
}

// Records stay sorted by address, whatever the order of the calls; what is between two of them is
// still free, and what they cost comes back.
static void test_map_in_any_order(void **state)
{
    (void)state;
    static const uint8_t order[] = { 4, 0, 8, 2, 6, 10, 1, 9, 5, 3, 7 };
    struct process *p = fake_manager;
    int64_t h = CALL(0, mem_create, 16 * PAGE_SIZE, PAGE_SIZE, 0);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, 0, PAGE_SIZE, VA, PROT_READ), OK);
    uint64_t used = p->used, above = VA + PAGE_SIZE;
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
        uint64_t page = order[i] * PAGE_SIZE;
        assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, page, PAGE_SIZE, above + page,
                              PROT_READ), OK);
        for (unsigned k = 0; k <= i; k++)
            assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, 0, PAGE_SIZE,
                                  above + order[k] * PAGE_SIZE, PROT_READ), ERR_BUSY);
        uint64_t end = 0;
        list_for_each(l, &p->space.mappings) {
            const struct mapping *m = list_entry(l, struct mapping, in_space);
            assert_true(m->address >= end);
            end = m->address + m->bytes;
        }
    }
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, 0, 16 * PAGE_SIZE, VA, PROT_READ), ERR_BUSY);
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
        uint64_t va = above + order[ARRAY_SIZE(order) - 1 - i] * PAGE_SIZE;
        assert_non_null(find_mapping(&p->space, va, PAGE_SIZE));
        assert_null(find_mapping(&p->space, va, 2 * PAGE_SIZE));
        assert_int_equal(CALL(0, mem_unmap, HANDLE_SELF, va, PAGE_SIZE), OK);
        assert_int_equal(CALL(0, mem_unmap, HANDLE_SELF, va, PAGE_SIZE), ERR_RANGE);
    }
    assert_int_equal(p->used, used);
}

static void test_map_refused(void **state)
{
    (void)state;
    int64_t h = CALL(0, mem_create, 4 * PAGE_SIZE, PAGE_SIZE, 0);
    struct { uint64_t offset, bytes, va, prot; int64_t want; } bad[] = {
        { 0, PAGE_SIZE, VA, 0, ERR_RANGE },
        { 0, PAGE_SIZE, VA, PROT_WRITE, ERR_RANGE },
        { 0, PAGE_SIZE, VA, 8 | PROT_READ, ERR_RANGE },
        { 0, PAGE_SIZE, VA, PROT_READ | PROT_WRITE | PROT_EXEC, ERR_RANGE },
        { 0, 0, VA, PROT_READ, ERR_RANGE },
        { 0, 5 * PAGE_SIZE, VA, PROT_READ, ERR_RANGE },
        { 4 * PAGE_SIZE, PAGE_SIZE, VA, PROT_READ, ERR_RANGE },
        { PAGE_SIZE, ~0ull << 12, VA, PROT_READ, ERR_RANGE },
        { 1, PAGE_SIZE, VA, PROT_READ, ERR_RANGE },
        { 0, PAGE_SIZE, VA + 1, PROT_READ, ERR_RANGE },
        { 0, PAGE_SIZE, 0, PROT_READ, ERR_RANGE },
        { 0, 2 * PAGE_SIZE, USER_END - PAGE_SIZE, PROT_READ, ERR_RANGE },
        { 0, PAGE_SIZE, USER_END, PROT_READ, ERR_RANGE },
        { 0, PAGE_SIZE, 0xffff800000000000, PROT_READ, ERR_RANGE },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(CALL(0, mem_map, HANDLE_SELF, h, bad[i].offset, bad[i].bytes, bad[i].va,
                              bad[i].prot), bad[i].want);
    int64_t read_only = CALL(0, handle_copy, HANDLE_SELF, h, RIGHT_READ | RIGHT_USE, 0);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, read_only, 0, PAGE_SIZE, VA,
                          PROT_READ | PROT_WRITE), ERR_RIGHTS);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, read_only, 0, PAGE_SIZE, VA,
                          PROT_READ | PROT_EXEC), ERR_RIGHTS);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, read_only, 0, PAGE_SIZE, VA, PROT_READ), OK);
}

static void test_destroy_zeroes(void **state)
{
    (void)state;
    int64_t h = FINISH(0, mem_create, 4 * MB, PAGE_SIZE, 0);
    struct memory *m = memory_at(fake_manager, h);
    struct hpa base = m->base;
    memset(fake_ptr(base), 0x5a, 4 * MB);
    assert_int_equal(FINISH(0, object_destroy, h), OK);
    // But for the allocator's own words in the first and last frame.
    assert_true(is_zero(HPA(base.v + PAGE_SIZE), 4 * MB - 2 * PAGE_SIZE));
}

// A whole tree: a process with a child, threads on other cores, a VM with a vCPU, memory shared
// both ways. When it is gone, all is as before.
static void test_destroy_process(void **state)
{
    (void)state;
    // Once to fill the slabs, then to compare.
    uint64_t free[2] = { 0 }, used[2] = { 0 };
    uint32_t objects[2] = { 0 };
    for (unsigned turn = 0; turn < 2; turn++) {
        int64_t ring = CALL(0, mem_create, PAGE_SIZE, PAGE_SIZE, 0);
        struct fake_process p = fake_spawn(1, 8 * MB, 0);
        assert_int_equal(CALL(0, mem_map, p.handle, ring, 0, PAGE_SIZE, VA, PROT_READ), OK);
        int64_t child = CALL(1, process_create, 2 * MB, 0, 0);
        fake_grant(object_to(fake_object(p.process, child), process));
        int64_t own = FINISH(1, mem_create, 3 * MB, PAGE_2M, 0);
        assert_int_equal(CALL(1, mem_map, child, own, 0, 3 * MB, VA, PROT_READ), OK);
        assert_int_equal(CALL(0, handle_copy, p.handle, HANDLE_SELF, RIGHT_USE, 200), ERR_RIGHTS);
        p.process->handles[200] = fake_manager->handles[HANDLE_SELF];
        assert_int_equal(CALL(1, mem_map, 200, own, 0, PAGE_SIZE, VA, PROT_READ), OK);
        int64_t vm = CALL(1, vm_create, 0);
        int64_t page = CALL(1, mem_create, PAGE_SIZE, PAGE_SIZE, MEM_KERNEL);
        int64_t e = CALL(1, event_create, 0), timer = CALL(1, timer_create, e, 1);
        CALL(1, timer_arm, timer, fake.now + 1000 * MS);
        assert_int_equal(CALL(1, vm_map, vm, own, 0, 3 * MB, 0, 7), OK);
        int64_t v = CALL(1, vcpu_create, vm, 0, page, e);
        assert_true(v > 0);
        assert_int_equal(CALL(1, object_destroy, page), ERR_BUSY);
        CALL(1, thread_create, child, 0, 0x400000, 0, 0); // waits in the queue
        assert_true(CALL(1, vcpu_run, v) == FAKE_BLOCKED);
        assert_int_equal(fake.state[1], FAKE_GUEST);
        assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
        assert_int_equal(fake.state[1], FAKE_IDLE);
        assert_null(cpus[1]->alarms);
        assert_int_equal(FINISH(0, object_destroy, ring), OK);
        assert_int_equal(FINISH(0, object_destroy, p.sc), OK);
        free[turn] = frames_count_free();
        used[turn] = fake_manager->used;
        objects[turn] = object_count();
    }
    assert_int_equal(free[1], free[0]);
    assert_int_equal(used[1], used[0]);
    assert_int_equal(objects[1], objects[0]);
}

static void test_destroy_refused(void **state)
{
    (void)state;
    struct fake_process a = fake_spawn(1, 1 * MB, 0);
    struct fake_process b = fake_spawn(1, 1 * MB, 0);
    CALL(0, handle_copy, a.handle, b.handle, RIGHT_ALL, 40);
    CALL(0, handle_copy, a.handle, a.handle, RIGHT_ALL, 41);
    CALL(0, handle_copy, a.handle, a.thread_h, RIGHT_ALL, 42);
    assert_ptr_equal(cpus[1]->current, a.thread);
    assert_int_equal(CALL(1, object_destroy, 40), ERR_STATE); // its sibling
    assert_int_equal(CALL(1, object_destroy, 41), ERR_STATE); // itself
    assert_int_equal(CALL(1, object_destroy, 42), ERR_STATE);
    assert_int_equal(CALL(1, object_destroy, HANDLE_SELF), ERR_RIGHTS);
    assert_int_equal(CALL(0, object_destroy, BOOT_HANDLE_SYSTEM), ERR_STATE);
}

// Two threads of one process destroy each other: the manager still gets rid of both.
static void test_mutual_destroyers(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t h = CALL(0, thread_create, p.handle, fake_sc(2, 0, 0), 0x400000, 0, 0);
    fake_interrupts(2);
    CALL(0, handle_copy, p.handle, p.thread_h, RIGHT_ALL, 40);
    CALL(0, handle_copy, p.handle, h, RIGHT_ALL, 41);
    fake.hold[1] = true;
    fake.hold[2] = true;
    assert_true(CALL(1, object_destroy, 41) == FAKE_BLOCKED);
    assert_true(CALL(2, object_destroy, 40) == FAKE_BLOCKED);
    fake.hold[1] = false;
    fake.hold[2] = false;
    assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
    assert_int_equal(fake.state[1], FAKE_IDLE);
    assert_int_equal(fake.state[2], FAKE_IDLE);
}

// A destroyer that is killed half-way leaves the rest to its process's end.
static void test_abandoned(void **state)
{
    (void)state;
    fake_spawn(2, 1 * MB, 0);
    uint64_t used = fake_manager->used;
    struct fake_process p = fake_spawn(1, 8 * MB, 0);
    int64_t own = FINISH(1, mem_create, 4 * MB, PAGE_2M, 0);
    struct memory *m = memory_at(p.process, own);
    fake.hold[2] = true; // the grace period does not end
    assert_true(CALL(1, object_destroy, own) == FAKE_BLOCKED);
    assert_int_equal(m->object.dying, OBJECT_DYING);
    fake_kill(p.thread_h);
    fake_interrupts(1);
    assert_int_equal(m->object.dying, OBJECT_ABANDONED);
    fake.hold[2] = false;
    assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
    assert_int_equal(FINISH(0, object_destroy, p.sc), OK);
    assert_int_equal(fake_manager->used, used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON1(test_create), ON1(test_create_refused), ON2(test_create_is_preemptible),
        ON2(test_killed_in_create), ON2(test_quota), ON1(test_map), ON1(test_map_refused),
        ON1(test_map_in_any_order),
        ON1(test_destroy_zeroes), ON2(test_destroy_process),
        ON2(test_destroy_refused), ON4(test_mutual_destroyers), ON4(test_abandoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
