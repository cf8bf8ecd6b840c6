// SPDX-License-Identifier: BSD-2-Clause
// Byte rings in shared memory between two processes, and the console line made of two of them.
//
// A ring has one producer and one consumer, each a single thread. Indices run freely from 0 to
// 2^32-1; the number of bytes inside is head - tail. The other side is NOT trusted: each side keeps
// its own index privately, reads the other's once per call and bounds it, so that a hostile peer
// can garble or stop its own line and nothing else.
//
// Sleeping without losing a wake-up. A side that finds nothing to do sets its `wanted` flag, and
// then looks once more at the other's index; the other side moves its index and then takes the
// flag. Between each store and the following load stands a full fence, so at least one of the two
// sees the other: either the sleeper sees the new index, or the mover sees the flag and signals.
// Signals are event bits that stay set until they are taken, so one sent before the wait is not
// lost either. A producer that waits is woken when the ring has become at least half empty, so that
// a flood costs a signal per 32 KB and not per byte; the consumer owes it to read on until the ring
// is empty.
#pragma once
// newlib's stdatomic.h needs the types of stdint.h but does not include it.
#include <stdint.h>
#include <stdatomic.h>
#include <stdbool.h>

// Lies in shared memory; each side's fields are on a cache line of their own. All zero is an empty
// ring that nobody waits for.
struct ring {
    _Alignas(64) _Atomic uint32_t head; // written by the producer
    _Atomic uint32_t room_wanted;       // set by the producer, taken by the consumer
    _Alignas(64) _Atomic uint32_t tail; // written by the consumer
    _Atomic uint32_t data_wanted;       // set by the consumer, taken by the producer
    _Alignas(64) uint8_t data[];
};

// One side's private view.
struct ring_end {
    struct ring *ring;
    uint32_t size; // bytes of data, a power of two
    uint32_t mine; // this side's index: head of a producer, tail of a consumer
};

// Starts where an earlier process of this side stopped (0 in fresh memory). `size` must be a power
// of two; the memory must hold sizeof(struct ring) + size bytes.
void ring_attach_producer(struct ring_end *end, struct ring *ring, uint32_t size);
void ring_attach_consumer(struct ring_end *end, struct ring *ring, uint32_t size);

// Producer: free bytes; how many of `len` bytes were taken. 0 too when the peer's index is
// nonsense.
uint32_t ring_room(const struct ring_end *end);
uint32_t ring_write(struct ring_end *end, const void *bytes, uint32_t len);

// Consumer: bytes that are there; how many were copied out, at most `len`.
uint32_t ring_used(const struct ring_end *end);
uint32_t ring_read(struct ring_end *end, void *bytes, uint32_t len);

// For an onlooker who maps the ring too: true when the consumer has taken all that was written.
bool ring_drained(const struct ring *ring);

// Asks for a wake-up. True: there is nothing to do now, go to sleep. False: there is; go on.
bool ring_want_room(struct ring_end *end);
bool ring_want_data(struct ring_end *end);

// After moving the own index: true when the peer must be signalled.
bool ring_peer_wants_data(struct ring_end *end);
bool ring_peer_wants_room(struct ring_end *end);

// A console line: the output ring (to the console), then the input ring (to the VM).
#define CONSOLE_OUTPUT_SIZE  65536u
#define CONSOLE_INPUT_SIZE   4096u
#define CONSOLE_INPUT_OFFSET 0x11000u
#define CONSOLE_LINE_BYTES   0x13000ull // whole pages
_Static_assert(sizeof(struct ring) + CONSOLE_OUTPUT_SIZE <= CONSOLE_INPUT_OFFSET, "output fits");
_Static_assert(CONSOLE_INPUT_OFFSET + sizeof(struct ring) + CONSOLE_INPUT_SIZE <=
                   CONSOLE_LINE_BYTES, "input fits");

// The console sends this key (Ctrl-L) to line 0 when the monitor gets the screen: it shows its
// prompt.
#define CONSOLE_REDRAW 0x0c

// The manager, before it powers the machine off, signals CONSOLE_BIT_FLUSH to the console. Once
// everything is on the wire the console signals CONSOLE_BIT_FLUSHED to the event of line 0.
#define CONSOLE_BIT_FLUSH   (1ull << 61)
#define CONSOLE_BIT_FLUSHED (1ull << 61)

// Either side of a console line. `signal` tells the other side (kcall_event_signal on what
// struct start_line names); it is called from within line_write() and line_read().
struct line {
    struct ring_end tx, rx;
    void (*signal)(void *opaque);
    void *opaque;
};

// memory: CONSOLE_LINE_BYTES, mapped readable and writable.
void line_attach_vm(struct line *line, void *memory, void (*signal)(void *opaque), void *opaque);
void line_attach_console(struct line *line, void *memory, void (*signal)(void *opaque),
                         void *opaque);

// Writes what fits and returns how many bytes that were. After a short write the peer will signal
// when there is room again.
uint32_t line_write(struct line *line, const void *bytes, uint32_t len);
// Free bytes of the outgoing ring, without asking for a signal.
uint32_t line_room(const struct line *line);

// Reads up to `len` bytes. When it returns less than `len`, the peer will signal when there is
// more.
uint32_t line_read(struct line *line, void *bytes, uint32_t len);
// The same without asking for a signal: for a reader that will look again by itself.
uint32_t line_take(struct line *line, void *bytes, uint32_t len);
// Bytes that are there to be read, without asking for a signal.
uint32_t line_used(const struct line *line);
