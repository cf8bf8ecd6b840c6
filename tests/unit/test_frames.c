// SPDX-License-Identifier: BSD-2-Clause
// The frame allocator: a random run against a simple model, alignment, and that 2 MB runs last.
#include <stdlib.h>
#include "kernel.h"

#define RUNS 512

static void test_counts(void **state)
{
    (void)state;
    uint64_t before = frames_count_free();
    struct hpa a, b;
    assert_true(frames_alloc(3, PAGE_SIZE, 77, &a));
    assert_true(frames_alloc(1, 1, 78, &b));
    assert_int_equal(frames_count_free(), before - 4);
    assert_int_equal(frames_owner(a), 77);
    assert_int_equal(frames_owner(HPA(a.v + 2 * PAGE_SIZE)), 77);
    assert_int_equal(frames_owner(b), 78);
    assert_int_equal(frames_run(a, 100), 3);
    frames_free(a, 3);
    frames_free(b, 1);
    assert_int_equal(frames_owner(a), FRAME_FREE);
    assert_int_equal(frames_count_free(), before);
}

static void test_outside(void **state)
{
    (void)state;
    assert_int_equal(frames_owner(HPA(1ull << 40)), FRAME_RESERVED);
    assert_int_equal(frames_owner(HPA(0)), FRAME_RESERVED);
    struct hpa a;
    assert_false(frames_alloc(frames_count_free() + 1, PAGE_SIZE, 1, &a));
    assert_false(frames_alloc(1, 1ull << 40, 1, &a));
}

static void test_alignment(void **state)
{
    (void)state;
    struct hpa small, big;
    assert_true(frames_alloc(1, PAGE_SIZE, 5, &small));
    for (unsigned i = 0; i < 8; i++) {
        assert_true(frames_alloc(512, PAGE_2M, 5, &big));
        assert_true(is_aligned(big.v, PAGE_2M));
        assert_true(big.v > small.v);
    }
}

// Single frames come from the low end and refill holes: every second one freed and taken again does
// not break a further big run.
static void test_big_runs_last(void **state)
{
    (void)state;
    static struct hpa f[2000];
    struct hpa big[64];
    unsigned many = 0, again = 0;
    for (unsigned i = 0; i < 2000; i++)
        assert_true(frames_alloc(1, PAGE_SIZE, 9, &f[i]));
    for (unsigned i = 0; i < 2000; i += 2)
        frames_free(f[i], 1);
    while (many < 64 && frames_alloc(512, PAGE_2M, 9, &big[many]))
        many++;
    for (unsigned i = 0; i < many; i++)
        frames_free(big[i], 512);
    for (unsigned i = 0; i < 2000; i += 2)
        assert_true(frames_alloc(1, PAGE_SIZE, 9, &f[i]));
    while (again < 64 && frames_alloc(512, PAGE_2M, 9, &big[again]))
        again++;
    assert_true(many > 20);
    assert_int_equal(again, many);
}

static void check_model(const struct hpa *base, const uint64_t *frames)
{
    for (unsigned i = 0; i < RUNS; i++)
        if (frames[i])
            assert_int_equal(frames_run(base[i], frames[i]), frames[i]);
}

static void test_random(void **state)
{
    (void)state;
    static struct hpa base[RUNS];
    static uint64_t frames[RUNS];
    uint64_t before = frames_count_free(), used = 0;
    srand(1);
    memset(frames, 0, sizeof(frames));
    for (unsigned turn = 0; turn < 20000; turn++) {
        unsigned i = (unsigned)rand() % RUNS;
        if (frames[i]) {
            for (uint64_t k = 0; k < frames[i]; k++)
                assert_int_equal(frames_owner(HPA(base[i].v + k * PAGE_SIZE)), i + 1);
            frames_free(base[i], frames[i]);
            used -= frames[i];
            frames[i] = 0;
            continue;
        }
        uint64_t want = rand() % 8 ? 1 + (uint64_t)rand() % 16 : 1 + (uint64_t)rand() % 900;
        uint64_t align = PAGE_SIZE << (rand() % 10);
        if (frames_alloc(want, align, i + 1, &base[i])) {
            assert_true(is_aligned(base[i].v, align));
            if (want > FRAMES_MARKED)
                frames_set_owner(base[i], want, i + 1);
            frames[i] = want;
            used += want;
        }
        assert_int_equal(frames_count_free(), before - used);
    }
    check_model(base, frames);
    for (unsigned i = 0; i < RUNS; i++)
        if (frames[i])
            frames_free(base[i], frames[i]);
    // All is one again: the largest request that was possible first is possible now.
    struct hpa all;
    assert_int_equal(frames_count_free(), before);
    assert_true(frames_alloc(before - 64, PAGE_SIZE, 1, &all));
}

// A long run costs the allocator the same as a short one: it writes its ends only.
static void test_long_runs_are_cheap(void **state)
{
    (void)state;
    struct hpa a;
    uint64_t frames = 32 * MB / PAGE_SIZE, before = frames_count_free();
    assert_true(frames_alloc(frames, PAGE_SIZE, 77, &a));
    assert_int_equal(frames_owner(a), 77);
    assert_int_equal(frames_owner(HPA(a.v + 32 * MB - PAGE_SIZE)), 77);
    for (uint64_t i = 1; i < frames - 1; i++)
        assert_int_equal(frames_owner(HPA(a.v + i * PAGE_SIZE)), FRAME_RESERVED); // as at boot
    frames_free(a, frames);
    assert_int_equal(frames_owner(HPA(a.v + MB)), FRAME_RESERVED);
    assert_int_equal(frames_count_free(), before);
    // Neighbours are found whatever stands in the middle.
    assert_true(frames_alloc(frames, PAGE_SIZE, 78, &a));
    frames_set_owner(HPA(a.v + PAGE_SIZE), frames - 2, FRAME_KERNEL);
    frames_free(a, frames);
    assert_int_equal(frames_count_free(), before);
}

// The kernel's frames come from a pool that is mapped; what was in it never goes to others.
static void test_pool(void **state)
{
    (void)state;
    static struct hpa pool[1000];
    static bool is_pool[66 * MB / PAGE_SIZE];
    struct hpa f;
    uint64_t before = frames_count_free(), others = 0;
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(frames_alloc_kernel(1 + i % 3, 88, &pool[i]));
        memset(arch_ptr(pool[i]), 0x77, (1 + i % 3) * PAGE_SIZE); // faults if it is not mapped
        for (unsigned k = 0; k <= i % 3; k++)
            is_pool[pool[i].v / PAGE_SIZE + k] = true;
    }
    for (unsigned i = 0; i < 1000; i++)
        frames_free_kernel(pool[i], 1 + i % 3);
    assert_int_equal(frames_count_free(), before); // free all the same
    while (frames_alloc(1, 1, 99, &f)) {
        assert_false(is_pool[f.v / PAGE_SIZE]);
        others++;
    }
    assert_true(others <= before - 2000);
    // Now the pool cannot grow; what it has it gives, but for the tables of its next chunk.
    unsigned many = 0;
    while (many < 10000 && frames_alloc_kernel(1, 88, &f)) {
        assert_int_equal(frames_owner(f), 88);
        many++;
    }
    assert_in_range(many, 1990, before - others);
    assert_in_range(frames_count_free(), 1, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON1(test_counts), ON1(test_outside), ON1(test_alignment), ON1(test_big_runs_last),
        ON1(test_random), ON1(test_long_runs_are_cheap), ON1(test_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
