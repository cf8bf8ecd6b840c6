// SPDX-License-Identifier: BSD-2-Clause
// Handles: rights, copying, revocation by destroy, and full tables.
#include "kernel.h"

static void test_rights(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    int64_t weak = CALL(0, handle_copy, HANDLE_SELF, e, RIGHT_USE, 0);
    assert_true(weak > 0 && weak != e);
    assert_int_equal(CALL(0, event_signal, weak, 1), OK);
    assert_int_equal(CALL(0, event_wait, weak, 1, 0), ERR_RIGHTS);
    assert_int_equal(CALL(0, object_destroy, weak), ERR_RIGHTS);
    // It lacks RIGHT_COPY, and no copy has more than its source.
    assert_int_equal(CALL(0, handle_copy, HANDLE_SELF, weak, RIGHT_USE, 0), ERR_RIGHTS);
    int64_t copyable = CALL(0, handle_copy, HANDLE_SELF, e, RIGHT_COPY | RIGHT_USE, 0);
    assert_int_equal(CALL(0, handle_copy, HANDLE_SELF, copyable, RIGHT_WAIT, 0), ERR_RIGHTS);
    assert_int_equal(CALL(0, handle_copy, HANDLE_SELF, e, 0x80, 0), ERR_RANGE);
    assert_int_equal(CALL(0, event_wait, e, 1, 0), OK);
}

static void test_wrong_handles(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    assert_int_equal(CALL(0, timer_arm, e, 0), ERR_HANDLE);
    assert_int_equal(CALL(0, event_signal, 0, 1), ERR_HANDLE);
    assert_int_equal(CALL(0, event_signal, HANDLE_MAX, 1), ERR_HANDLE);
    assert_int_equal(CALL(0, event_signal, 1ull << 32 | (uint64_t)e, 1), ERR_HANDLE);
    assert_int_equal(CALL(0, event_signal, ~0ull, 1), ERR_HANDLE);
    assert_int_equal(CALL(0, event_signal, 400, 1), ERR_HANDLE);
    assert_int_equal(CALL(0, handle_close, 400), ERR_HANDLE);
}

// What a CPU does behind a branch that it takes wrongly leaves traces in its caches only.
// Here: whoever looks into the table keeps the index inside of it, once for each time.
static void test_speculation(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    uint64_t before = fake_indexed;
    assert_int_equal(CALL(0, handle_close, e), OK);
    assert_int_equal(fake_indexed, before + 1);
    e = CALL(0, event_create, 0);
    before = fake_indexed;
    assert_int_equal(CALL(0, event_signal, e, 1), OK);
    assert_int_equal(fake_indexed, before + 1); // once: the next look could find another's rights
    before = fake_indexed;
    assert_int_equal(CALL(0, handle_copy, HANDLE_SELF, e, RIGHT_USE, 300), 300);
    assert_int_equal(fake_indexed, before + 4); // the process, the event, what it withholds, 300
}

static void test_close(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    int64_t other = CALL(0, handle_copy, HANDLE_SELF, e, RIGHT_ALL, 0);
    assert_int_equal(CALL(0, handle_close, e), OK);
    assert_int_equal(CALL(0, event_signal, e, 1), ERR_HANDLE);
    assert_int_equal(CALL(0, event_signal, other, 1), OK);
    assert_int_equal(CALL(0, event_create, 0), e); // the lowest free slot
}

static void test_slots(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    assert_int_equal(CALL(0, handle_copy, HANDLE_SELF, e, RIGHT_USE, 300), 300);
    assert_int_equal(CALL(0, handle_copy, HANDLE_SELF, e, RIGHT_USE, 300), ERR_BUSY);
    assert_int_equal(CALL(0, handle_copy, HANDLE_SELF, e, RIGHT_USE, HANDLE_MAX), ERR_RANGE);
}

// Destroying ends every handle at once, in other processes too, and empties the slot that it used.
static void test_revocation(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    int64_t there = CALL(0, handle_copy, p.handle, e, RIGHT_USE, 50);
    assert_int_equal(there, 50);
    assert_int_equal(CALL(1, event_signal, there, 1), OK);
    assert_int_equal(FINISH(0, object_destroy, e), OK);
    assert_int_equal(CALL(0, event_signal, e, 1), ERR_HANDLE);
    assert_int_equal(CALL(1, event_signal, there, 1), ERR_HANDLE);
    // The memory is used again, by another event: the old handle must not come back to life.
    int64_t next = CALL(0, event_create, 0);
    assert_int_equal(next, e);
    assert_int_equal(CALL(1, event_signal, there, 1), ERR_HANDLE);
    assert_int_equal(CALL(0, handle_copy, p.handle, next, RIGHT_USE, 50), ERR_BUSY);
    assert_int_equal(CALL(1, handle_close, there), OK);
    assert_int_equal(CALL(1, handle_close, there), ERR_HANDLE);
    assert_int_equal(CALL(0, handle_copy, p.handle, next, RIGHT_USE, 50), 50);
}

static void test_refs(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    struct object *o = fake_object(fake_manager, e);
    struct ref r = ref_to(o), none = ref_to(NULL);
    assert_ptr_equal(ref_get(r), o);
    assert_null(ref_get(none));
    assert_int_equal(FINISH(0, object_destroy, e), OK);
    assert_null(ref_get(r));
    e = CALL(0, event_create, 0);
    assert_ptr_equal(fake_object(fake_manager, e), o); // same slot of the slab
    assert_null(ref_get(r));
}

// An object is new, whatever the one before it in the same memory had come to.
static void test_used_again(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0), t = CALL(0, timer_create, e, 1);
    struct timer_object *o = object_as(fake_object(fake_manager, t), timer_object);
    assert_int_equal(CALL(0, timer_arm, t, 1ull << 62), OK);
    assert_int_equal(FINISH(0, object_destroy, t), OK); // its core was asked to stop it
    uint32_t generation = o->object.generation;
    t = CALL(0, timer_create, e, 2);
    assert_ptr_equal(fake_object(fake_manager, t), &o->object);
    assert_int_equal(o->object.generation, generation);
    assert_int_equal(o->object.stop, STOP_NOT);
    assert_int_equal(o->object.dying, OBJECT_ALIVE);
    assert_null(o->object.up);
    assert_int_equal(o->timer.deadline, 0);
    assert_ptr_equal(o->object.owner, fake_manager);
}

static void test_full_table(void **state)
{
    (void)state;
    uint32_t objects = object_count();
    uint64_t used = fake_manager->used;
    unsigned made = 0;
    int64_t e = 0;
    for (int64_t h; (h = CALL(0, event_create, 0)) > 0; e = h)
        made++;
    assert_true(made > 400 && made < HANDLE_MAX);
    assert_int_equal(CALL(0, event_create, 0), ERR_FULL);
    assert_int_equal(CALL(0, mem_create, PAGE_SIZE, PAGE_SIZE, 0), ERR_FULL);
    assert_int_equal(CALL(0, process_create, 1 * MB, 0, 0), ERR_FULL);
    assert_int_equal(CALL(0, vm_create, 0), ERR_FULL);
    assert_int_equal(CALL(0, timer_create, e, 1), ERR_FULL);
    assert_true(list_empty(&fake_thread->timers));
    assert_int_equal(object_count(), objects + made); // what failed left nothing behind
    assert_int_equal(fake_manager->used, used + made * 128);
}

static void test_quota_of_objects(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 64 << 10, 0);
    int64_t h = 0;
    unsigned made = 0;
    while ((h = CALL(1, event_create, 0)) > 0) {
        CALL(1, handle_close, h);
        made++;
    }
    assert_int_equal(h, ERR_QUOTA);
    assert_true(made > 100 && made <= (64 << 10) / 128);
    assert_true(p.process->used <= p.process->quota);
}

// Numbers that have run out make a slot rest: its next object would answer to handles of long ago.
static void test_generations_end(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    struct object *o = fake_object(fake_manager, e);
    CALL(0, handle_close, e);
    o->generation = UINT32_MAX - 2;
    fake_manager->handles[60] = o->id | (uint64_t)RIGHT_ALL << 24 | (uint64_t)o->generation << 32;
    assert_int_equal(FINISH(0, object_destroy, 60), OK);
    assert_int_equal(o->dying, OBJECT_FREE);
    for (unsigned i = 0; i < 100; i++) {
        e = CALL(0, event_create, 0);
        assert_true(e > 0);
        assert_ptr_not_equal(fake_object(fake_manager, e), o);
    }
}

// Ids and slots are used again, and a process pays for the whole of the frames that they take.
static void test_slots_are_paid(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        struct fake_process p = fake_spawn(1, 8 * MB, 0);
        uint64_t frames = frames_count_free(), used = p.process->used;
        uint32_t ids = object_id_end();
        for (unsigned i = 0; i < 40; i++)
            assert_true(CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0) > 0);
        uint64_t taken = (frames - frames_count_free()) * PAGE_SIZE;
        assert_true(taken <= p.process->used - used + PAGE_SIZE);
        if (round) {
            assert_int_equal(frames, frames_count_free());
            assert_int_equal(ids, object_id_end());
        }
        assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON1(test_generations_end), ON2(test_slots_are_paid),
        ON1(test_rights), ON1(test_wrong_handles), ON1(test_close), ON1(test_slots),
        ON1(test_speculation), ON2(test_revocation), ON2(test_refs), ON1(test_used_again),
        ON1(test_full_table), ON2(test_quota_of_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
