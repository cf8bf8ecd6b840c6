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
    struct scene s = { .a = fake_spawn(1, 2 * MB, 0) };
    struct hpa where;
    s.second = CALL(0, thread_create, s.a.handle, fake_sc(2, 0, 0), 0x400000, 0, 0);
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
    assert_non_null(find_mapping(s.space, VA, 4 * PAGE_SIZE));      // and the address is taken
    fake.hold[2] = false;
    assert_true(fake_settle());
    assert_int_equal(fake_thread->op, OP_NONE);
    assert_int_equal(fake_thread->arch.status, OK);
    assert_false(fake_access(2, s.space, VA, PROT_READ, &where));
    assert_null(find_mapping(s.space, VA, 4 * PAGE_SIZE));
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
    struct fake_process other = fake_spawn(2, 1 * MB, fake_sc(2, 1000, 1000));
    assert_ptr_equal(cpus[2]->current, other.thread);
    for (uint32_t core = 0; core < cpu_count; core++)
        assert_int_equal(space_has_core(s.space, core), core == 1);
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
    struct fake_process other = fake_spawn(3, 1 * MB, 0);
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

// A process's tables are not freed while a core may be in them: one that only idles since its last
// thread of it ended must be told.
static void test_process_end_leaves_tables(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa root = s.space->arch.root;
    fake.core = 0;
    fake_kill(s.a.thread_h);
    fake_kill(s.second);
    fake_interrupts(1);
    assert_ptr_equal(cpus[2]->space, s.space);
    fake_interrupts(2);
    assert_int_equal(fake.state[2], FAKE_IDLE);
    assert_ptr_equal(cpus[2]->space, s.space);
    fake.hold[2] = true;
    assert_true(CALL(0, object_destroy, s.a.handle) == FAKE_BLOCKED);
    for (unsigned i = 0; i < 50; i++)
        fake_advance(100000);
    assert_int_equal(frames_owner(root), s.space->owner_id);
    fake.hold[2] = false;
    assert_true(fake_settle());
    assert_null(cpus[1]->space);
    assert_null(cpus[2]->space);
    assert_int_equal(frames_owner(root), FRAME_POOL);
    // The manager's memory lives on, unmapped.
    assert_true(list_empty(&s.m->mappings));
    assert_int_equal(frames_owner(s.m->base), s.m->object.id);
}

// Core 2 touches the first page as soon as it is mapped.
static bool touched;
static void touch_first(struct space *s, uint64_t address)
{
    struct hpa where;
    if (address == VA + 64 * MB + PAGE_SIZE)
        touched |= fake_access(2, s, VA + 64 * MB, PROT_READ, &where);
}

// A map that fails half-way takes back what it did by the same protocol: no core keeps a
// translation, and the frames stay whose they are until then. The one table that it made stays.
static void test_failed_map(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa where;
    int64_t big = FINISH(0, mem_create, 6 * MB, PAGE_SIZE, 0);
    struct memory *m = object_to(fake_object(fake_manager, big), memory);
    struct process *p = s.a.process;
    uint64_t used = p->used;
    // The record and one table, not the second, which this odd address needs.
    p->quota = used + 2 * PAGE_SIZE - 1;
    fake.map_hook = touch_first;
    fake.hold[2] = true;
    touched = false;
    assert_true(CALL(0, mem_map, s.a.handle, big, PAGE_SIZE, 5 * MB, VA + 64 * MB, PROT_READ) ==
                FAKE_BLOCKED);
    assert_true(touched);
    for (unsigned i = 0; i < 50; i++)
        fake_advance(100000);
    assert_int_equal(fake_thread->op, OP_MAP);
    assert_true(fake_access(2, s.space, VA + 64 * MB, PROT_READ, &where));
    assert_int_equal(frames_owner(where), m->object.id);
    assert_int_equal(CALL(1, mem_unmap, HANDLE_SELF, VA + 64 * MB, 5 * MB), ERR_BUSY);
    fake.hold[2] = false;
    assert_true(fake_settle());
    assert_int_equal(fake_thread->arch.status, ERR_QUOTA);
    assert_false(fake_access(2, s.space, VA + 64 * MB, PROT_READ, &where));
    assert_int_equal(p->used, used + PAGE_SIZE);
    uint64_t free = frames_count_free();
    assert_int_equal(FINISH(0, object_destroy, big), OK);
    assert_int_equal(frames_count_free(), free + 6 * MB / PAGE_SIZE);
}

// Another thread of core 3 wakes when that much is mapped.
static struct event *alarm_event;
static void ring(struct space *s, uint64_t address)
{
    touch_first(s, address);
    if (address == VA + 64 * MB + 3 * MB)
        event_signal(alarm_event, 1);
}

// While a long map is under way its memory is destroyed: the map ends, and nothing stays mapped.
static void test_map_meets_destroy(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa where;
    uint64_t used = s.a.process->used;
    int64_t big = FINISH(0, mem_create, 8 * MB, PAGE_SIZE, 0);
    struct fake_process high = fake_spawn(3, 1 * MB, fake_sc(3, 1000, 1000));
    int64_t e = CALL(3, event_create, 0);
    alarm_event = object_to(fake_object(high.process, e), event);
    assert_true(CALL(3, event_wait, e, 1, 0) == FAKE_BLOCKED);
    struct fake_process other = fake_spawn(3, 1 * MB, 0);
    s.a.process->quota = 8 * MB;
    CALL(0, handle_copy, other.handle, s.a.handle, RIGHT_USE, 40);
    CALL(0, handle_copy, other.handle, big, RIGHT_READ, 41);
    fake.map_hook = ring;
    touched = false;
    assert_true(CALL(3, mem_map, 40, 41, PAGE_SIZE, 7 * MB, VA + 64 * MB, PROT_READ) ==
                FAKE_BLOCKED);
    assert_ptr_equal(cpus[3]->current, high.thread);
    assert_int_equal(other.thread->op, OP_MAP);
    assert_true(touched);
    fake.map_hook = NULL;
    CALL(0, object_destroy, big);
    for (unsigned i = 0; i < 100 && fake_thread->op; i++)
        fake_advance(100000);
    assert_int_equal(fake_thread->op, OP_NONE);
    assert_int_equal(fake_thread->arch.status, OK);
    assert_false(fake_access(2, s.space, VA + 64 * MB, PROT_READ, &where));
    CALL(3, thread_exit, 0);
    assert_ptr_equal(cpus[3]->current, other.thread);
    assert_int_equal(other.thread->arch.status, ERR_DEAD);
    assert_false(fake_access(2, s.space, VA + 64 * MB, PROT_READ, &where));
    assert_int_equal(s.a.process->used, used + 2 * PAGE_SIZE); // its tables
}

// Large mappings are made and cleared in pieces.
static void test_pieces(void **state)
{
    (void)state;
    int64_t mem = FINISH(0, mem_create, 16 * MB, PAGE_2M, 0);
    int64_t vm = CALL(0, vm_create, 0);
    struct vm *v = object_to(fake_object(fake_manager, vm), vm);
    struct hpa where;
    uint8_t prot;
    uint64_t left, used = 0;
    assert_true(mem > 0 && vm > 0);
    uint32_t windows = fake.windows;
    assert_int_equal(FINISH(0, vm_map, vm, mem, 0, 16 * MB, PAGE_SIZE, PROT_READ), OK);
    assert_true(fake.windows > windows + 1);
    assert_int_equal(CALL(0, vm_map, vm, mem, 0, 16 * MB, 64 * MB, PROT_READ), OK);
    assert_int_equal(CALL(0, vm_map, vm, mem, 0, PAGE_SIZE, 16 * MB, PROT_READ), ERR_BUSY);
    for (uint64_t at = 0; at < 16 * MB; at += PAGE_SIZE)
        assert_true(arch_walk(&v->space, at + PAGE_SIZE, &where, &prot, &left));
    assert_int_equal(FINISH(0, vm_unmap, vm, PAGE_SIZE, 16 * MB), OK);
    assert_int_equal(FINISH(0, vm_unmap, vm, 64 * MB, 16 * MB), OK);
    used = fake_manager->used; // the tables stay, and serve again
    assert_int_equal(FINISH(0, vm_map, vm, mem, 0, 16 * MB, PAGE_SIZE, PROT_READ), OK);
    assert_true(fake_manager->used < used + PAGE_SIZE);
    assert_int_equal(FINISH(0, object_destroy, mem), OK);
    assert_true(list_empty(&v->space.mappings));
    assert_false(arch_walk(&v->space, PAGE_SIZE, &where, &prot, &left));
    assert_false(arch_walk(&v->space, 16 * MB, &where, &prot, &left));
}

// Where a core looks for an address among a space's records it looks at a bounded number.
static void test_records_bounded(void **state)
{
    (void)state;
    int64_t mem = CALL(0, mem_create, PAGE_SIZE, PAGE_SIZE, 0);
    int64_t vm = CALL(0, vm_create, 0), other = CALL(0, vm_create, 0);
    for (uint64_t i = 0; i < SPACE_RECORDS_MAX; i++)
        assert_int_equal(CALL(0, vm_map, vm, mem, 0, PAGE_SIZE, i * PAGE_SIZE, PROT_READ), OK);
    assert_int_equal(CALL(0, vm_map, vm, mem, 0, PAGE_SIZE, 64 * MB, PROT_READ), ERR_FULL);
    assert_int_equal(CALL(0, vm_map, other, mem, 0, PAGE_SIZE, 0, PROT_READ), ERR_FULL);
    assert_int_equal(CALL(0, vm_unmap, vm, 0, PAGE_SIZE), OK);
    assert_int_equal(CALL(0, vm_map, vm, mem, 0, PAGE_SIZE, 64 * MB, PROT_READ), OK);
    assert_int_equal(FINISH(0, object_destroy, vm), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON4(test_unmap_waits_for_all), ON4(test_destroy_keeps_frames),
        ON4(test_lost_flush_is_seen), ON4(test_absent_core), ON1(test_own_core_flushes_at_once),
        ON4(test_unmap_meets_destroy), ON4(test_process_end_leaves_tables), ON4(test_failed_map),
        ON4(test_map_meets_destroy), ON1(test_pieces), ON1(test_records_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
