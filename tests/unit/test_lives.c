// SPDX-License-Identifier: BSD-2-Clause
// A VM's process lives and dies again and again, as a VM that crashes does: with memory of changing
// size, mapped for itself and for its guest, and an end at any moment. Each time all that it had is
// free again, its shares of the core included.
#include "kernel.h"
#include <stdlib.h>

#define LIVES     300 // BULKHEAD_LIVES: another number
#define KB        1024ull
#define QUOTA     (4 * MB)
#define RAM_MAX   (256 * KB)
#define RAM_VA    0x40000000ull
#define STEPS_MAX 6

struct life {
    struct fake_process p; // on core 1
    int64_t vm, event, h;
    struct vcpu *v;
};

static uint32_t pick(uint32_t n)
{
    static uint64_t seed = 1;

    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(seed >> 33) % n;
}

// The life before may have used the share up.
static void wait_its_turn(void)
{
    while (fake.state[1] != FAKE_USER)
        fake_advance(MS);
}

// For the process and for its guest, in pieces.
static void give_memory(struct life *l, uint64_t bytes, bool in_pages)
{
    for (uint64_t at = 0; at < bytes;) {
        uint32_t most = (uint32_t)((bytes - at) / PAGE_SIZE);
        uint64_t part = PAGE_SIZE * (in_pages ? 1 : 1 + pick(most));
        int64_t h = FINISH(1, mem_create, part, PAGE_SIZE, 0);

        assert_true(h > 0);
        wait_its_turn();
        assert_int_equal(CALL(1, mem_map, HANDLE_SELF, h, 0, part, RAM_VA + at,
                              PROT_READ | PROT_WRITE), OK);
        assert_int_equal(CALL(1, vm_map, l->vm, h, 0, part, at,
                              PROT_READ | PROT_WRITE | PROT_EXEC), OK);
        at += part;
    }
}

// The first has more pieces than any other: the kernel keeps the pages in which objects lie.
static struct life be_born(int64_t sc, bool first)
{
    struct life l = { .p = fake_spawn(1, QUOTA, sc) };

    wait_its_turn();
    l.vm = CALL(1, vm_create, 0);
    int64_t page = CALL(1, mem_create, PAGE_SIZE, PAGE_SIZE, MEM_KERNEL);
    l.event = CALL(1, event_create, 0);
    int64_t timer = CALL(1, timer_create, l.event, 1);
    l.h = CALL(1, vcpu_create, l.vm, 0, page, l.event);
    assert_true(l.h > 0);
    assert_int_equal(CALL(1, timer_arm, timer, fake.now + 1 + pick(2 * MS)), OK);
    l.v = object_to(fake_object(l.p.process, l.h), vcpu);
    if (first)
        give_memory(&l, RAM_MAX + STEPS_MAX * PAGE_SIZE, true);
    else
        give_memory(&l, PAGE_SIZE * (1 + pick(RAM_MAX / PAGE_SIZE)), false);
    return l;
}

static void to_vmm(struct vcpu *v) { vcpu_return(v, VM_EXIT_EOI, 0); }

// Until it is in its VMM, in its guest, or waits.
static void live(const struct life *l)
{
    static void (*const exits[])(struct vcpu *v) = { to_vmm, vcpu_halt, fake_exit_yield };

    for (uint32_t steps = pick(STEPS_MAX); steps != 0; steps--) {
        if (fake.state[1] == FAKE_USER && pick(4) == 0)
            (void)CALL(1, mem_create, MB, PAGE_SIZE, 0); // and may be in the middle of it
        else if (fake.state[1] == FAKE_USER)
            (void)CALL(1, vcpu_run, l->h);
        else if (fake.state[1] == FAKE_GUEST)
            fake_exit(1, exits[pick(3)]);
        else
            fake_advance(MS);
        if (pick(2) == 0)
            vcpu_post(l->v, (uint8_t)(32 + pick(200)), false);
    }
}

// By the manager, which may be told to while it works at it; by a fault; by its own will.
static void die(const struct life *l)
{
    if (fake.state[1] == FAKE_USER && pick(2) == 0)
        fake_fault(1, 14);
    else if (fake.state[1] == FAKE_USER)
        (void)CALL(1, thread_exit, 0);
    else if (pick(2) == 0)
        fake_kill(l->p.thread_h);
    assert_int_equal(FINISH(0, object_destroy, l->p.handle), OK);
    assert_int_equal(CALL(0, handle_close, l->p.thread_h), OK);
    assert_true(fake_settle());
    assert_int_equal(fake.state[1], FAKE_IDLE);
}

static void test_lives(void **state)
{
    const char *wanted = getenv("BULKHEAD_LIVES");
    const uint32_t lives = wanted ? (uint32_t)strtoul(wanted, NULL, 10) : LIVES;
    int64_t sc = fake_sc(1, 400, 10000);
    uint64_t frames = 0, used = 0, objects = 0;

    (void)state;
    for (uint32_t i = 0; i < lives; i++) {
        struct life l = be_born(sc, i == 0);
        live(&l);
        die(&l);
        if (i == 0) {
            frames = frames_count_free();
            used = fake_manager->used;
            objects = object_count();
        }
        assert_int_equal(frames_count_free(), frames);
        assert_int_equal(fake_manager->used, used);
        assert_int_equal(object_count(), objects);
    }
    assert_int_equal(FINISH(0, object_destroy, sc), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = { ON2(test_lives) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
