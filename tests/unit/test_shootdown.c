// SPDX-License-Identifier: BSD-2-Clause
// The shoot-down protocol: no frame and no address is used again while any core's TLB may still
// hold the old translation. The fake TLBs keep what they hold until they are told, so a missing
// flush shows: test_lost_flush_is_seen proves that it does.
#include "kernel.h"

#define VA 0x20000000ull

struct scene {
    struct fake_process a;  // on core 1
    int64_t second;         // its second thread, on core 2
    int64_t mem;            // the manager's memory, mapped into a
    struct memory *m;
    struct space *space;
};

// A process whose threads run on cores 1 and 2, both with the page in their TLBs.
static struct scene make_scene(void)
{
    struct scene s = { .a = fake_spawn(1, 2 * MB, PRIO_BEST_EFFORT, 0) };
    struct hpa where;
    s.second = CALL(0, thread_create, s.a.handle, 2, 0x400000, 0, 0);
    CALL(0, thread_start, s.second);
    fake_interrupts(2);
    s.mem = CALL(0, mem_create, 4 * PAGE_SIZE, PAGE_SIZE, 0);
    s.m = object_to(fake_object(fake_manager, s.mem), memory);
    s.space = &s.a.process->space;
    assert_int_equal(CALL(0, mem_map, s.a.handle, s.mem, 0, 4 * PAGE_SIZE, VA,
                          PROT_READ | PROT_WRITE), OK);
    for (uint32_t core = 1; core <= 2; core++) {
        assert_true(fake_access(core, s.space, VA, PROT_WRITE, &where));
        assert_int_equal(where.v, s.m->base.v);
    }
    return s;
}

static void test_unmap_waits_for_all(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa where;
    fake.hold[2] = true;
    assert_true(CALL(0, mem_unmap, s.a.handle, VA, 4 * PAGE_SIZE) == FAKE_BLOCKED);
    for (unsigned i = 0; i < 50; i++)
        fake_advance(100000);
    assert_false(fake_access(1, s.space, VA, PROT_READ, &where)); // core 1 has flushed
    assert_true(fake_access(2, s.space, VA, PROT_READ, &where));  // core 2 not yet
    assert_int_equal(fake_thread->op, OP_UNMAP);                  // so the call does not return
    assert_int_equal(CALL(1, mem_map, HANDLE_SELF, s.mem, 0, PAGE_SIZE, VA, PROT_READ),
                     ERR_HANDLE);
    assert_non_null(space_find(s.space, VA, 4 * PAGE_SIZE));      // and the address is taken
    fake.hold[2] = false;
    assert_true(fake_settle());
    assert_int_equal(fake_thread->op, OP_NONE);
    assert_int_equal(fake_thread->arch.status, OK);
    assert_false(fake_access(2, s.space, VA, PROT_READ, &where));
    assert_null(space_find(s.space, VA, 4 * PAGE_SIZE));
}

// The same for the frames: they keep their owner and their place until the last core has answered.
static void test_destroy_keeps_frames(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa where, base = s.m->base;
    uint32_t id = s.m->object.id;
    fake.hold[2] = true;
    assert_true(CALL(0, object_destroy, s.mem) == FAKE_BLOCKED);
    for (unsigned i = 0; i < 50; i++)
        fake_advance(100000);
    assert_int_equal(frames_owner(base), id);
    assert_true(fake_access(2, s.space, VA, PROT_READ, &where));
    fake.hold[2] = false;
    assert_true(fake_settle());
    assert_int_equal(frames_owner(base), FRAME_FREE);
    assert_false(fake_access(1, s.space, VA, PROT_READ, &where));
    assert_false(fake_access(2, s.space, VA, PROT_READ, &where));
}

// What the two tests above would see if a core acknowledged without flushing.
static void test_lost_flush_is_seen(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa where, base = s.m->base;
    fake.no_flush = true;
    assert_int_equal(FINISH(0, object_destroy, s.mem), OK);
    assert_int_equal(frames_owner(base), FRAME_FREE);
    assert_true(fake_access(1, s.space, VA, PROT_WRITE, &where)); // a freed frame: the disaster
    assert_int_equal(where.v, base.v);
}

// A core that is not in the space at the time is not asked, but flushes when it comes back.
static void test_absent_core(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa where;
    struct fake_process other = fake_spawn(2, 1 * MB, PRIO_SYSTEM, 0);
    assert_ptr_equal(cpus[2]->current, other.thread);
    assert_int_equal(space_cores(s.space), 1u << 1);
    fake.hold[2] = true; // it could not answer
    assert_true(CALL(0, mem_unmap, s.a.handle, VA, 4 * PAGE_SIZE) == FAKE_BLOCKED);
    for (unsigned i = 0; i < 10; i++)
        fake_advance(100000);
    assert_int_equal(fake_thread->op, OP_NONE);
    fake.hold[2] = false;
    CALL(2, thread_exit, 0);
    assert_ptr_equal(cpus[2]->space, s.space); // its second thread runs again
    assert_false(fake_access(2, s.space, VA, PROT_READ, &where));
}

static void test_own_core_flushes_at_once(void **state)
{
    (void)state;
    struct hpa where;
    user_page(0);
    assert_true(fake_access(0, &fake_manager->space, USER_PAGE, PROT_WRITE, &where));
    assert_int_equal(CALL(0, mem_unmap, HANDLE_SELF, USER_PAGE, PAGE_SIZE), OK);
    assert_false(fake_access(0, &fake_manager->space, USER_PAGE, PROT_READ, &where));
    assert_int_equal(CALL(0, mem_unmap, HANDLE_SELF, USER_PAGE, PAGE_SIZE), ERR_RANGE);
}

// Two at once: an unmap that waits, and the memory's end. Both must wait, in whatever order.
static void test_unmap_meets_destroy(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa base = s.m->base;
    uint32_t id = s.m->object.id;
    struct fake_process other = fake_spawn(3, 1 * MB, PRIO_BEST_EFFORT, 0);
    CALL(0, handle_copy, other.handle, s.a.handle, RIGHT_USE, 40);
    fake.hold[2] = true;
    assert_true(CALL(3, mem_unmap, 40, VA, 4 * PAGE_SIZE) == FAKE_BLOCKED);
    assert_true(CALL(0, object_destroy, s.mem) == FAKE_BLOCKED);
    for (unsigned i = 0; i < 50; i++)
        fake_advance(100000);
    assert_int_equal(frames_owner(base), id);
    assert_int_equal(other.thread->op, OP_UNMAP);
    fake.hold[2] = false;
    assert_true(fake_settle());
    assert_int_equal(frames_owner(base), FRAME_FREE);
    assert_int_equal(other.thread->arch.status, OK);
    assert_int_equal(fake_thread->arch.status, OK);
    assert_true(list_empty(&s.space->mappings));
}

// A process's tables are not freed while a core has them loaded, even one that only idles.
static void test_process_end_leaves_tables(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa root = s.space->arch.root;
    fake.core = 0;
    CALL(0, thread_kill, s.a.thread_h);
    CALL(0, thread_kill, s.second);
    fake_interrupts(1);
    fake_interrupts(2);
    assert_int_equal(fake.state[2], FAKE_IDLE);
    assert_ptr_equal(cpus[2]->space, s.space); // idle, and still loaded
    fake.hold[2] = true;
    assert_true(CALL(0, object_destroy, s.a.handle) == FAKE_BLOCKED);
    for (unsigned i = 0; i < 50; i++)
        fake_advance(100000);
    assert_int_equal(frames_owner(root), s.space->owner_id);
    fake.hold[2] = false;
    assert_true(fake_settle());
    assert_null(cpus[1]->space);
    assert_null(cpus[2]->space);
    assert_int_equal(frames_owner(root), FRAME_FREE);
    // The manager's memory lives on, unmapped.
    assert_true(list_empty(&s.m->mappings));
    assert_int_equal(frames_owner(s.m->base), s.m->object.id);
}

// Large mappings are cleared in pieces.
static void test_pieces(void **state)
{
    (void)state;
    uint64_t bytes = SPACE_PIECE / 2; // two mappings of it, seen as one space of more
    int64_t mem = FINISH(0, mem_create, 16 * MB, PAGE_2M, 0);
    int64_t vm = CALL(0, vm_create, 0);
    assert_true(mem > 0 && vm > 0);
    for (uint64_t at = 0; at < 2 * bytes; at += 16 * MB)
        assert_int_equal(CALL(0, vm_map, vm, mem, 0, 16 * MB, at, PROT_READ), OK);
    assert_int_equal(CALL(0, vm_map, vm, mem, 0, PAGE_SIZE, 0, PROT_READ), ERR_BUSY);
    assert_int_equal(CALL(0, vm_map, vm, mem, 0, PAGE_SIZE, 2 * bytes, PROT_READ), OK);
    assert_int_equal(FINISH(0, object_destroy, mem), OK);
    struct vm *v = object_to(fake_object(fake_manager, vm), vm);
    assert_true(list_empty(&v->space.mappings));
    struct hpa where;
    uint8_t prot;
    uint64_t left;
    assert_false(arch_walk(&v->space, 0, &where, &prot, &left));
    assert_false(arch_walk(&v->space, 2 * bytes, &where, &prot, &left));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON4(test_unmap_waits_for_all), ON4(test_destroy_keeps_frames),
        ON4(test_lost_flush_is_seen), ON4(test_absent_core), ON1(test_own_core_flushes_at_once),
        ON4(test_unmap_meets_destroy), ON4(test_process_end_leaves_tables), ON1(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
