// SPDX-License-Identifier: BSD-2-Clause
// What a process may do is what it was given: counts of objects, the bits of events, wakes of the
// system's threads, and a log in its own name only.
#include <stdio.h>
#include "kernel.h"

static struct process *process_at(struct process *in, int64_t h)
{
    return object_to(fake_object(in, h), process);
}

// The manager makes a process with these counts; the page of counts is its own.
static int64_t create(const struct process_counts *counts)
{
    struct process_counts *page = cpus[0]->current->process == fake_manager ? user_page(0) : NULL;
    *page = *counts;
    int64_t h = CALL(0, process_create, 1 * MB, 0, 0, USER_PAGE);
    assert_int_equal(CALL(0, mem_unmap, HANDLE_SELF, USER_PAGE, PAGE_SIZE), OK);
    return h;
}

static void start(int64_t process)
{
    int64_t t = CALL(0, thread_create, process, fake_sc(1, 0, 0), 0x400000, 0, 0);
    assert_true(t > 0);
    fake_interrupts(1);
    assert_ptr_equal(cpus[1]->current->process, process_at(fake_manager, process));
}

static void test_counts(void **state)
{
    (void)state;
    const struct process_counts counts = { .threads = 1, .events = 2, .timers = 1, .memories = 1 };
    uint32_t had = fake_manager->have[OBJ_EVENT];
    int64_t p = create(&counts);
    assert_true(p > 0);
    assert_int_equal(fake_manager->have[OBJ_EVENT], had + 2);
    start(p);
    int64_t e = CALL(1, event_create, 0);
    assert_true(e > 0 && CALL(1, event_create, 0) > 0);
    assert_int_equal(CALL(1, event_create, 0), ERR_QUOTA);
    assert_true(CALL(1, timer_create, e, 1) > 0);
    assert_int_equal(CALL(1, timer_create, e, 1), ERR_QUOTA);
    int64_t m = FINISH(1, mem_create, PAGE_SIZE, PAGE_SIZE, 0);
    assert_true(m > 0);
    assert_int_equal(CALL(1, mem_create, PAGE_SIZE, PAGE_SIZE, 0), ERR_QUOTA);
    assert_int_equal(CALL(1, mem_map, HANDLE_SELF, m, 0, PAGE_SIZE, USER_PAGE, PROT_READ),
                     ERR_QUOTA);
    assert_int_equal(CALL(1, thread_create, HANDLE_SELF, 0, 0x400000, 0, 0), ERR_QUOTA);
    assert_int_equal(CALL(1, process_create, 128 << 10, 0, 0), ERR_QUOTA);
    assert_int_equal(CALL(1, vm_create, 0), ERR_QUOTA);
    assert_int_equal(FINISH(1, object_destroy, e), OK); // what goes can be made again
    assert_true(CALL(1, event_create, 0) > 0);
    assert_int_equal(FINISH(0, object_destroy, p), OK);
    assert_int_equal(fake_manager->have[OBJ_EVENT], had);
}

// Nobody gives more than he has, and a child's share is not his to use.
static void test_counts_are_taken(void **state)
{
    (void)state;
    const struct process_counts counts = { .threads = 2, .events = 5, .processes = 2,
                                           .memories = 2, .mappings = 2 };
    struct process_counts *page;
    int64_t p = create(&counts);
    start(p);
    page = user_page(1);
    *page = (struct process_counts){ .events = 6 };
    assert_int_equal(CALL(1, process_create, 128 << 10, 0, 0, USER_PAGE), ERR_QUOTA);
    *page = (struct process_counts){ .events = 3, .timers = 1 };
    assert_int_equal(CALL(1, process_create, 128 << 10, 0, 0, USER_PAGE), ERR_QUOTA);
    *page = (struct process_counts){ .events = 3 };
    uint64_t used = process_at(fake_manager, p)->used;
    int64_t child = CALL(1, process_create, 128 << 10, 0, 0, USER_PAGE);
    assert_true(child > 0);
    assert_true(CALL(1, event_create, 0) > 0 && CALL(1, event_create, 0) > 0);
    assert_int_equal(CALL(1, event_create, 0), ERR_QUOTA);
    assert_int_equal(FINISH(1, object_destroy, child), OK);
    assert_true(CALL(1, event_create, 0) > 0);
    assert_int_equal(CALL(1, process_create, 128 << 10, 0, 0, 0x5000), ERR_RANGE);
    assert_in_range(process_at(fake_manager, p)->used, used, used + 3 * 256);
}

static void test_bits(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    assert_int_equal(CALL(0, handle_copy, p.handle, e, RIGHT_USE | RIGHT_COPY | RIGHT_WAIT, 60,
                          ~6ull), 60);
    assert_int_equal(CALL(1, event_signal, 60, 2), OK);
    assert_int_equal(CALL(1, event_signal, 60, 1), ERR_RIGHTS);
    assert_int_equal(CALL(1, event_signal, 60, 3), ERR_RIGHTS);
    assert_int_equal(CALL(1, event_signal, 60, 1ull << 63), ERR_RIGHTS);
    assert_int_equal(CALL(1, event_signal, 60, 6), OK);
    assert_int_equal(object_to(fake_object(fake_manager, e), event)->bits, 6);
    // Nor by what signals for him.
    assert_int_equal(CALL(1, timer_create, 60, 8), ERR_RIGHTS);
    assert_true(CALL(1, timer_create, 60, 4) > 0);
    assert_int_equal(CALL(1, process_create, 128 << 10, 60, 8), ERR_RIGHTS);
    // A copy has no more; it may have less.
    assert_int_equal(CALL(1, handle_copy, HANDLE_SELF, 60, RIGHT_USE, 61), 61);
    assert_int_equal(CALL(1, event_signal, 61, 1), ERR_RIGHTS);
    assert_int_equal(CALL(1, event_signal, 61, 2), OK);
    assert_int_equal(CALL(1, handle_copy, HANDLE_SELF, 60, RIGHT_USE, 62, 2), 62);
    assert_int_equal(CALL(1, event_signal, 62, 2), ERR_RIGHTS);
    assert_int_equal(CALL(1, event_signal, 62, 4), OK);
    // The slot's next entry is another's, and whole.
    CALL(1, handle_close, 62);
    int64_t own = CALL(1, event_create, 0);
    assert_int_equal(CALL(1, handle_copy, HANDLE_SELF, own, RIGHT_USE, 62), 62);
    assert_int_equal(CALL(1, event_signal, 62, 2), OK);
    int64_t m = CALL(1, mem_create, PAGE_SIZE, PAGE_SIZE, 0);
    assert_int_equal(CALL(1, handle_copy, HANDLE_SELF, m, RIGHT_READ, 0, 2), ERR_RANGE);
}

// Whoever wakes a thread of the system again and again does so at his own expense, and others are
// not held up by it.
static void test_wakes_are_paid(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    struct fake_process q = fake_spawn(2, 1 * MB, 0);
    int64_t e = CALL(0, event_create, 0);
    for (uint64_t i = 0; i < 2; i++)
        CALL(0, handle_copy, i ? q.handle : p.handle, e, RIGHT_USE, 60);
    unsigned woken = 0;
    uint64_t start = fake.now;
    assert_true(CALL(0, event_wait, e, 3, 0) == FAKE_BLOCKED);
    while (fake.now - start < 20 * MS) {
        if (cpus[1]->current == p.thread)
            CALL(1, event_signal, 60, 1);
        fake_advance(1000);
        if (cpus[0]->current == fake_thread) {
            woken++;
            assert_true(CALL(0, event_wait, e, 3, 0) == FAKE_BLOCKED);
        }
    }
    assert_in_range(woken, 150, 20 * 10 + 32 + 1);
    CALL(2, event_signal, 60, 2); // he has not woken anybody yet
    assert_ptr_equal(cpus[2]->current, q.thread);
    assert_int_equal(q.thread->op, OP_NONE);
    // What nobody waits for costs nothing.
    fake_advance(10 * MS);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(CALL(2, event_signal, 60, 2), OK);
}

static void test_log(void **state)
{
    (void)state;
    char text[32768], expect[80];
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    char *page = user_page(1);
    const char *forged = "kernel: all is well\r\nprocess 1: \x1b[2Jme\\\n";
    memcpy(page, forged, strlen(forged));
    while (log_read(text, sizeof(text)))
        continue;
    log_print("what the kernel says\n");
    size_t port = fake.log_bytes;
    assert_int_equal(CALL(1, log_write, USER_PAGE, strlen(forged)), strlen(forged));
    assert_int_equal(fake.log_bytes, port); // not a byte on the serial line
    memset(page, 'A', LOG_PIECE);
    unsigned taken = 0;
    int64_t status = OK;
    for (unsigned i = 0; i < 1000; i++) {
        status = CALL(1, log_write, USER_PAGE, LOG_PIECE);
        taken += status > 0;
    }
    assert_int_equal(status, ERR_FULL);
    assert_in_range(taken, 20, 80);
    log_print("and once more\n");
    size_t got = log_read(text, sizeof(text));
    text[got] = 0;
    assert_true(got <= 17000);
    assert_ptr_equal(strstr(text, "what the kernel says\n"), text);
    snprintf(expect, sizeof(expect), "process %u: kernel: all is well??process 1: ?[2Jme\\\n",
             p.process->object.id);
    assert_non_null(strstr(text, expect));
    assert_non_null(strstr(text, "\nand once more\n"));
    assert_int_equal(CALL(1, log_write, USER_PAGE, 10), 10); // it has been read: there is room
}

// However long a chain of makers is, ways up along it are short.
static void test_depth(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    fake_grant(p.process);
    assert_int_equal(p.process->depth, 1);
    p.process->depth = PROCESS_LEVELS_MAX - 1;
    int64_t h = CALL(1, process_create, 64 << 10, 0, 0, 0);
    assert_int_equal(object_to(fake_object(p.process, h), process)->depth, PROCESS_LEVELS_MAX);
    p.process->depth = PROCESS_LEVELS_MAX;
    assert_int_equal(CALL(1, process_create, 64 << 10, 0, 0, 0), ERR_STATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON2(test_counts), ON2(test_counts_are_taken), ON2(test_bits), ON4(test_wakes_are_paid),
        ON2(test_log), ON2(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
