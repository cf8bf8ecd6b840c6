// SPDX-License-Identifier: BSD-2-Clause
// Rings and console lines: order, wrap-around, wake-ups, and peers that lie.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/lib/ring.h"

#define SIZE 64u

struct pair {
    struct ring *ring;
    struct ring_end producer, consumer;
};

static struct pair pair_make(uint32_t start)
{
    struct pair pair;
    pair.ring = aligned_alloc(64, sizeof(struct ring) + SIZE);
    memset(pair.ring, 0, sizeof(struct ring) + SIZE);
    atomic_store(&pair.ring->head, start);
    atomic_store(&pair.ring->tail, start);
    ring_attach_producer(&pair.producer, pair.ring, SIZE);
    ring_attach_consumer(&pair.consumer, pair.ring, SIZE);
    return pair;
}

static void test_order_and_wrap(void **state)
{
    (void)state;
    // Also across the wrap of the 32-bit indices.
    struct pair pair = pair_make(UINT32_MAX - 100);
    uint8_t next_in = 0, next_out = 0, bytes[SIZE + 8];
    for (uint32_t round = 0; round < 1000; round++) {
        uint32_t want = round % (SIZE + 8);
        for (uint32_t i = 0; i < want; i++) {
            bytes[i] = (uint8_t)(next_in + i);
        }
        next_in = (uint8_t)(next_in + ring_write(&pair.producer, bytes, want));
        uint32_t got = ring_read(&pair.consumer, bytes, (round * 7) % SIZE);
        for (uint32_t i = 0; i < got; i++) {
            assert_int_equal(bytes[i], next_out++);
        }
    }
    free(pair.ring);
}

static void test_full_and_empty(void **state)
{
    (void)state;
    struct pair pair = pair_make(5);
    uint8_t bytes[2 * SIZE] = {0};
    assert_int_equal(ring_used(&pair.consumer), 0);
    assert_int_equal(ring_read(&pair.consumer, bytes, 1), 0);
    assert_int_equal(ring_write(&pair.producer, bytes, 2 * SIZE), SIZE);
    assert_int_equal(ring_room(&pair.producer), 0);
    assert_int_equal(ring_write(&pair.producer, bytes, 1), 0);
    assert_int_equal(ring_used(&pair.consumer), SIZE);
    free(pair.ring);
}

static void test_hostile_indices(void **state)
{
    (void)state;
    struct pair pair = pair_make(0);
    uint8_t bytes[SIZE] = {0};
    // Whatever the peer writes, not a byte outside is touched (ASan watches) and nothing loops.
    const uint32_t lies[] = {SIZE + 1, UINT32_MAX, 0x80000000u, 1000};
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        atomic_store(&pair.ring->head, lies[i]);
        assert_int_equal(ring_used(&pair.consumer), 0);
        assert_int_equal(ring_read(&pair.consumer, bytes, SIZE), 0);
        atomic_store(&pair.ring->tail, lies[i]);
        assert_true(ring_room(&pair.producer) <= SIZE);
    }
    // The own index is private: overwriting it in shared memory changes nothing.
    atomic_store(&pair.ring->tail, 0);
    atomic_store(&pair.ring->head, 0);
    assert_int_equal(ring_write(&pair.producer, "abc", 3), 3);
    atomic_store(&pair.ring->tail, 3);
    assert_int_equal(ring_read(&pair.consumer, bytes, SIZE), 3);
    assert_memory_equal(bytes, "abc", 3);
    free(pair.ring);
}

static void test_wanted(void **state)
{
    (void)state;
    struct pair pair = pair_make(0);
    uint8_t bytes[SIZE] = {0};
    assert_false(ring_peer_wants_data(&pair.producer));
    assert_true(ring_want_data(&pair.consumer));
    assert_int_equal(ring_write(&pair.producer, bytes, 1), 1);
    assert_false(ring_want_data(&pair.consumer)); // it came in between
    assert_true(ring_peer_wants_data(&pair.producer));
    assert_false(ring_peer_wants_data(&pair.producer)); // one signal per wish

    assert_int_equal(ring_write(&pair.producer, bytes, SIZE), SIZE - 1);
    assert_true(ring_want_room(&pair.producer));
    assert_int_equal(ring_read(&pair.consumer, bytes, SIZE / 2 - 1), SIZE / 2 - 1);
    assert_false(ring_peer_wants_room(&pair.consumer)); // not half empty yet
    assert_int_equal(ring_read(&pair.consumer, bytes, 1), 1);
    assert_true(ring_peer_wants_room(&pair.consumer));
    assert_false(ring_peer_wants_room(&pair.consumer));
    free(pair.ring);
}

static void count(void *opaque)
{
    ++*(int *)opaque;
}

static void test_line(void **state)
{
    (void)state;
    void *memory = aligned_alloc(4096, CONSOLE_LINE_BYTES);
    memset(memory, 0, CONSOLE_LINE_BYTES);
    struct line vm, console;
    int to_vm = 0, to_console = 0;
    char text[16];
    line_attach_console(&console, memory, count, &to_vm);
    line_attach_vm(&vm, memory, count, &to_console);
    assert_int_equal(line_read(&console, text, sizeof(text)), 0);
    assert_int_equal(line_write(&vm, "hello", 5), 5);
    assert_int_equal(to_console, 1);
    assert_int_equal(line_write(&vm, "!", 1), 1);
    assert_int_equal(to_console, 1); // the console knows already
    assert_int_equal(line_read(&console, text, sizeof(text)), 6);
    assert_memory_equal(text, "hello!", 6);
    assert_int_equal(line_write(&console, "k", 1), 1);
    assert_int_equal(to_vm, 1);
    assert_int_equal(line_used(&vm), 1);
    assert_int_equal(line_read(&vm, text, 1), 1);

    // A full line: the short write asks for a signal, which comes at half.
    static char flood[CONSOLE_OUTPUT_SIZE + 10];
    assert_int_equal(line_write(&vm, flood, sizeof(flood)), CONSOLE_OUTPUT_SIZE);
    assert_int_equal(line_room(&vm), 0);
    assert_int_equal(line_read(&console, flood, 16), 16);
    assert_int_equal(to_vm, 1);
    assert_int_equal(line_read(&console, flood, CONSOLE_OUTPUT_SIZE / 2), CONSOLE_OUTPUT_SIZE / 2);
    assert_int_equal(to_vm, 2);

    // A new process on the VM's side goes on where the old one stopped.
    line_attach_vm(&vm, memory, count, &to_console);
    assert_int_equal(line_room(&vm), CONSOLE_OUTPUT_SIZE / 2 + 16);
    free(memory);
}

// Two threads that sleep on a condition variable in place of an event: a lost wake-up hangs, and
// the test's time limit ends it.
struct bell {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int rung;
};

static void bell_ring(void *opaque)
{
    struct bell *bell = opaque;
    pthread_mutex_lock(&bell->mutex);
    bell->rung = 1;
    pthread_cond_signal(&bell->cond);
    pthread_mutex_unlock(&bell->mutex);
}

static void bell_wait(struct bell *bell)
{
    pthread_mutex_lock(&bell->mutex);
    while (!bell->rung) {
        pthread_cond_wait(&bell->cond, &bell->mutex);
    }
    bell->rung = 0;
    pthread_mutex_unlock(&bell->mutex);
}

#define TRAFFIC 3000000u

struct traffic {
    struct line vm, console;
    struct bell to_vm, to_console;
};

static void *traffic_writer(void *opaque)
{
    struct traffic *traffic = opaque;
    uint8_t bytes[4096];
    for (uint32_t sent = 0; sent < TRAFFIC;) {
        uint32_t len = 1 + sent % 4095;
        len = TRAFFIC - sent < len ? TRAFFIC - sent : len;
        for (uint32_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)((sent + i) * 31 >> 3);
        }
        uint32_t taken = line_write(&traffic->vm, bytes, len);
        sent += taken;
        if (taken < len) {
            bell_wait(&traffic->to_vm);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static struct traffic traffic;
    void *memory = aligned_alloc(4096, CONSOLE_LINE_BYTES);
    memset(memory, 0, CONSOLE_LINE_BYTES);
    pthread_mutex_init(&traffic.to_vm.mutex, NULL);
    pthread_cond_init(&traffic.to_vm.cond, NULL);
    pthread_mutex_init(&traffic.to_console.mutex, NULL);
    pthread_cond_init(&traffic.to_console.cond, NULL);
    line_attach_vm(&traffic.vm, memory, bell_ring, &traffic.to_console);
    line_attach_console(&traffic.console, memory, bell_ring, &traffic.to_vm);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, traffic_writer, &traffic), 0);
    uint8_t bytes[3000];
    for (uint32_t seen = 0; seen < TRAFFIC;) {
        uint32_t got = line_read(&traffic.console, bytes, sizeof(bytes));
        for (uint32_t i = 0; i < got; i++) {
            assert_int_equal(bytes[i], (uint8_t)((seen + i) * 31 >> 3));
        }
        seen += got;
        if (got < sizeof(bytes) && seen < TRAFFIC) {
            bell_wait(&traffic.to_console);
        }
    }
    pthread_join(thread, NULL);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_wrap), cmocka_unit_test(test_full_and_empty),
        cmocka_unit_test(test_hostile_indices), cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_line), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
