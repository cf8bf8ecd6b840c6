// SPDX-License-Identifier: BSD-2-Clause
//
// Clock, interrupts and console of one board, made of kernel calls and a shared ring.
// Runs on any thread of the VMM, under its lock if there is one.
#include "vmm/host.h"

#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"

static uint64_t host_now_ns(void *ctx)
{
    (void)ctx;
    return time_host_ns();
}

static void host_arm(void *ctx, uint64_t deadline_ns)
{
    struct host *host = ctx;
    uint64_t tsc = 0; // disarms

    if (deadline_ns != CLOCK_NEVER) {
        tsc = ns_to_tsc(deadline_ns);
        if (tsc == UINT64_MAX)
            tsc = 0;
        else if (tsc == 0)
            tsc = 1;
    }
    host->arm_tsc = tsc;
    if (host->self == host->event)
        host_arm_timer(host);
    else
        kcall_event_signal(host->event, VMM_BIT_ARM);
}

// A timer is on the core of the thread that arms it.
void host_arm_timer(struct host *host)
{
    kcall_timer_arm(host->timer, host->arm_tsc);
}

static const struct clock_ops host_clock_ops = { .now_ns = host_now_ns, .arm = host_arm };

static bool host_msi(void *ctx, uint64_t addr, uint32_t data, bool level)
{
    const struct host *host = ctx;

    // A message to nobody, or with a vector that cannot be, is refused and lost, as on a bus.
    return kcall_vm_msi(host->vm, addr, data, level) == 1;
}

static const struct ioapic_ops host_msi_ops = { .msi = host_msi };

static void host_intr(void *ctx, unsigned n, bool level)
{
    const struct host *host = ctx;

    (void)n;
    kcall_vcpu_intr(host->vcpu, level);
}

static const struct irq_ops host_intr_ops = { .set = host_intr };

static bool host_put(void *ctx, uint8_t byte)
{
    struct host *host = ctx;

    if (line_write(&host->line, &byte, 1) != 1)
        return false;
    host->in_line = byte != '\n';
    host->message_in_line = false;
    return true;
}

static int host_get(void *ctx)
{
    struct host *host = ctx;
    uint8_t byte;

    return line_read(&host->line, &byte, 1) == 1 ? byte : -1;
}

static const struct stream_ops host_stream_ops = { .put = host_put, .get = host_get };

static void host_signal(void *ctx)
{
    const struct host *host = ctx;

    kcall_event_signal(host->console.event, host->console.bits);
}

void host_init(struct host *host, const struct start_line *console, void *memory)
{
    host->console = *console;
    line_attach_vm(&host->line, memory, host_signal, host);
}

void host_wires(struct host *host, struct machine_host *wires)
{
    wires->clock = &host_clock_ops;
    wires->msi = &host_msi_ops;
    wires->intr = (struct irq_line){ &host_intr_ops, host, 0 };
    wires->console = (struct stream){ &host_stream_ops, host };
    wires->ctx = host;
}

uint64_t host_wait(struct host *host, uint64_t mask)
{
    uint64_t bits = 0;

    kcall_event_wait(host->self, mask, 0, &bits);
    return bits;
}

void host_wants_room(struct host *host)
{
    if (host->self != host->event)
        __atomic_fetch_or(&host->waiting, host->self_bit, __ATOMIC_SEQ_CST);
}

void host_has_room(struct host *host, const handle_t *events)
{
    uint32_t waiting = __atomic_exchange_n(&host->waiting, 0, __ATOMIC_SEQ_CST);

    for (; waiting != 0; waiting &= waiting - 1)
        kcall_event_signal(events[__builtin_ctz(waiting)], VMM_BIT_CONSOLE);
}

// Messages are never dropped: waits for room if need be.
static void host_write(struct host *host, const char *text, uint32_t length)
{
    bool waited = false;

    while (length > 0) {
        host_wants_room(host);
        uint32_t done = line_write(&host->line, text, length);
        text += done;
        length -= done;
        if (length > 0)
            waited |= (host_wait(host, VMM_BIT_CONSOLE) & VMM_BIT_CONSOLE) != 0;
    }
    // The bit may have announced input as well, which the run loop wants to hear of.
    if (waited)
        kcall_event_signal(host->event, VMM_BIT_CONSOLE);
}

void host_print(void *opaque, const char *text, uint32_t length)
{
    static const char marker[] = "[vmm] ", end[] = "\r\n";
    struct host *host = opaque;

    while (length > 0) {
        const char *newline = memchr(text, '\n', length);
        uint32_t part = newline != NULL ? (uint32_t)(newline - text) : length;
        if (host->in_line && !host->message_in_line) {
            host_write(host, end, sizeof(end) - 1);
            host->in_line = false;
        }
        if (!host->in_line)
            host_write(host, marker, sizeof(marker) - 1);
        host_write(host, text, part);
        if (newline != NULL)
            host_write(host, end, sizeof(end) - 1);
        host->in_line = newline == NULL;
        host->message_in_line = host->in_line;
        part += newline != NULL;
        text += part;
        length -= part;
    }
}
