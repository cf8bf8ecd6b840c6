// SPDX-License-Identifier: BSD-2-Clause
// Byte rings and console lines; the protocol is described in ring.h. State is owned by the thread
// that uses the end; there are no locks.
#include <string.h>
#include "drivers/lib/ring.h"

void ring_attach_producer(struct ring_end *end, struct ring *ring, uint32_t size)
{
    *end = (struct ring_end){
        .ring = ring, .size = size,
        .mine = atomic_load_explicit(&ring->head, memory_order_relaxed)};
}

void ring_attach_consumer(struct ring_end *end, struct ring *ring, uint32_t size)
{
    *end = (struct ring_end){
        .ring = ring, .size = size,
        .mine = atomic_load_explicit(&ring->tail, memory_order_relaxed)};
}

uint32_t ring_room(const struct ring_end *end)
{
    uint32_t tail = atomic_load_explicit(&end->ring->tail, memory_order_acquire);
    uint32_t used = end->mine - tail;
    return used <= end->size ? end->size - used : 0;
}

uint32_t ring_used(const struct ring_end *end)
{
    uint32_t head = atomic_load_explicit(&end->ring->head, memory_order_acquire);
    uint32_t used = head - end->mine;
    return used <= end->size ? used : 0;
}

uint32_t ring_write(struct ring_end *end, const void *bytes, uint32_t len)
{
    uint32_t room = ring_room(end);
    if (len > room) {
        len = room;
    }
    if (len == 0) {
        return 0;
    }
    uint32_t start = end->mine & (end->size - 1);
    uint32_t first = end->size - start < len ? end->size - start : len;
    memcpy(end->ring->data + start, bytes, first);
    memcpy(end->ring->data, (const uint8_t *)bytes + first, len - first);
    end->mine += len;
    atomic_store_explicit(&end->ring->head, end->mine, memory_order_release);
    return len;
}

uint32_t ring_read(struct ring_end *end, void *bytes, uint32_t len)
{
    uint32_t used = ring_used(end);
    if (len > used) {
        len = used;
    }
    if (len == 0) {
        return 0;
    }
    uint32_t start = end->mine & (end->size - 1);
    uint32_t first = end->size - start < len ? end->size - start : len;
    memcpy(bytes, end->ring->data + start, first);
    memcpy((uint8_t *)bytes + first, end->ring->data, len - first);
    end->mine += len;
    // Release: the bytes must have been copied out before the producer may overwrite them.
    atomic_store_explicit(&end->ring->tail, end->mine, memory_order_release);
    return len;
}

bool ring_drained(const struct ring *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_acquire) ==
           atomic_load_explicit(&ring->tail, memory_order_acquire);
}

bool ring_want_room(struct ring_end *end)
{
    atomic_store_explicit(&end->ring->room_wanted, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return ring_room(end) == 0;
}

bool ring_want_data(struct ring_end *end)
{
    atomic_store_explicit(&end->ring->data_wanted, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return ring_used(end) == 0;
}

bool ring_peer_wants_data(struct ring_end *end)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&end->ring->data_wanted, memory_order_relaxed)) {
        return false;
    }
    return atomic_exchange_explicit(&end->ring->data_wanted, 0, memory_order_relaxed) != 0;
}

bool ring_peer_wants_room(struct ring_end *end)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&end->ring->room_wanted, memory_order_relaxed) ||
        ring_used(end) > end->size / 2) {
        return false;
    }
    return atomic_exchange_explicit(&end->ring->room_wanted, 0, memory_order_relaxed) != 0;
}

static void line_attach(struct line *line, void (*signal)(void *opaque), void *opaque)
{
    line->signal = signal;
    line->opaque = opaque;
}

void line_attach_vm(struct line *line, void *memory, void (*signal)(void *opaque), void *opaque)
{
    struct ring *output = memory;
    struct ring *input = (struct ring *)((uint8_t *)memory + CONSOLE_INPUT_OFFSET);
    ring_attach_producer(&line->tx, output, CONSOLE_OUTPUT_SIZE);
    ring_attach_consumer(&line->rx, input, CONSOLE_INPUT_SIZE);
    line_attach(line, signal, opaque);
    // So that the first byte of input is signalled.
    ring_want_data(&line->rx);
}

void line_attach_console(struct line *line, void *memory, void (*signal)(void *opaque),
                         void *opaque)
{
    struct ring *output = memory;
    struct ring *input = (struct ring *)((uint8_t *)memory + CONSOLE_INPUT_OFFSET);
    ring_attach_consumer(&line->rx, output, CONSOLE_OUTPUT_SIZE);
    ring_attach_producer(&line->tx, input, CONSOLE_INPUT_SIZE);
    line_attach(line, signal, opaque);
}

uint32_t line_write(struct line *line, const void *bytes, uint32_t len)
{
    uint32_t done = 0;
    for (bool again = false;; again = true) {
        uint32_t taken = ring_write(&line->tx, (const uint8_t *)bytes + done, len - done);
        done += taken;
        if (taken > 0 && ring_peer_wants_data(&line->tx)) {
            line->signal(line->opaque);
        }
        // No progress after room was seen: the peer plays with its index, and gets no more time.
        if (done == len || (again && taken == 0) || ring_want_room(&line->tx)) {
            return done;
        }
    }
}

uint32_t line_room(const struct line *line)
{
    return ring_room(&line->tx);
}

uint32_t line_take(struct line *line, void *bytes, uint32_t len)
{
    uint32_t taken = ring_read(&line->rx, bytes, len);
    if (taken > 0 && ring_peer_wants_room(&line->rx)) {
        line->signal(line->opaque);
    }
    return taken;
}

uint32_t line_read(struct line *line, void *bytes, uint32_t len)
{
    uint32_t done = 0;
    for (bool again = false;; again = true) {
        uint32_t taken = line_take(line, (uint8_t *)bytes + done, len - done);
        done += taken;
        if (done == len || (again && taken == 0) || ring_want_data(&line->rx)) {
            return done;
        }
    }
}

uint32_t line_used(const struct line *line)
{
    return ring_used(&line->rx);
}
