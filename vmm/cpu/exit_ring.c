// SPDX-License-Identifier: BSD-2-Clause
//
// The last exits in words. Keeps no state of its own; runs on the vCPU's thread, or on a copy.
#include "vmm/cpu/exit_ring.h"

#include <inttypes.h>
#include <stdio.h>
#include "libc/start.h"
#include "libc/time.h"

#define NOT_KNOWN UINT64_MAX

void exit_ring_tell(struct exit_ring *ring, const struct vcpu_page *page)
{
    const uint8_t last = exit_ring_last(ring);
    const struct vm_exit *exit = &page->exit;
    struct exit_more more = { 0, 0 };

    switch (exit_ring_record(ring, last)->kind) {
    case VM_EXIT_EVENT:
        more.a = exit->event.bits;
        break;
    case VM_EXIT_MMIO:
        more.a = exit->mmio.gpa;
        more.b = exit->rip;
        break;
    case VM_EXIT_INTR_ACK:
        more.a = page->entry.flags & VM_ENTRY_INTR ? page->entry.intr_vector : NOT_KNOWN;
        break;
    case VM_EXIT_EOI:
        more.a = exit->eoi.vector;
        break;
    case VM_EXIT_SIPI:
        more.a = exit->sipi.vector;
        break;
    case VM_EXIT_LAPIC_READ:
        more.a = exit->lapic.value;
        break;
    case VM_EXIT_RDMSR:
    case VM_EXIT_WRMSR:
        more.a = (uint32_t)page->gpr[GPR_RCX];
        more.b = (uint32_t)page->gpr[GPR_RAX] | page->gpr[GPR_RDX] << 32;
        break;
    case VM_EXIT_DECODE:
        more.a = exit->rip;
        break;
    case VM_EXIT_TASK:
        more.a = exit->task.selector;
        more.b = exit->rip;
        break;
    case VM_EXIT_KILLED:
        more.a = exit->killed.code;
        more.b = exit->killed.reason;
        break;
    default:
        break;
    }
    *exit_ring_more(ring, last) = more;
}

// As AT&T's assembler names the instructions: the last letter is their size.
static void pio_words(uint32_t word, char *text, size_t size)
{
    static const char letter[8] = { 'b', 'w', '?', 'l', '?', '?', '?', '?' };
    const char *name = word & VM_PIO_STRING ? (word & VM_PIO_IN ? "ins" : "outs")
                                            : (word & VM_PIO_IN ? "in" : "out");

    snprintf(text, size, "%s%s%c %x", word & VM_PIO_REP ? "rep " : "", name, letter[word & 7],
             (unsigned)VM_PIO_PORT(word));
}

static void event_words(uint64_t bits, char *text, size_t size)
{
    static const struct { uint64_t bit; const char *name; } events[] = {
        { VMM_BIT_TIMER, " timer" }, { VMM_BIT_CONSOLE, " console" }, { VMM_BIT_STOP, " stop" },
        { VMM_BITS_DUMP | VMM_BIT_ASK, " dump" },
    };
    int used = snprintf(text, size, "event");

    for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if ((bits & events[i].bit) != 0 && used < (int)size)
            used += snprintf(text + used, size - (size_t)used, "%s", events[i].name);
    }
}

// A name with so many numbers behind it. Half a number is none: what is too long goes as a whole.
static void number_words(const char *name, unsigned numbers, const struct exit_more *more,
                         char *text, size_t size)
{
    int used = snprintf(text, size, "%s", name);

    if (numbers >= 1 && more->a != NOT_KNOWN)
        used = snprintf(text, size, "%s %" PRIx64, name, more->a);
    if (numbers == 2 && used < (int)size &&
        snprintf(text + used, size - (size_t)used, " %" PRIx64, more->b) >= (int)size - used)
        text[used] = '\0';
}

static void other_words(uint32_t kind, const struct exit_more *more, char *text, size_t size)
{
    static const struct { const char *name; unsigned numbers; } kinds[] = {
        [VM_EXIT_INTR_ACK] = { "vector of the PIC", 1 },
        [VM_EXIT_EOI] = { "EOI of vector", 1 },
        [VM_EXIT_LAPIC_READ] = { "local APIC reads", 1 },
        [VM_EXIT_SHUTDOWN] = { "triple fault", 0 },
        [VM_EXIT_INIT] = { "INIT", 0 },
        [VM_EXIT_SIPI] = { "start-up IPI", 1 },
        [VM_EXIT_HALTED] = { "HLT, interrupts off", 0 },
        [VM_EXIT_RDMSR] = { "rdmsr", 1 },
        [VM_EXIT_WRMSR] = { "wrmsr", 2 },
        [VM_EXIT_DECODE] = { "decode", 1 },
        [VM_EXIT_TASK] = { "task switch", 2 },
        [VM_EXIT_KILLED] = { "killed", 2 },
    };
    char unknown[32];

    if (kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[kind].name != NULL) {
        number_words(kinds[kind].name, kinds[kind].numbers, more, text, size);
    } else {
        if ((int32_t)kind < 0) // vcpu_run()'s status
            snprintf(unknown, sizeof(unknown), "refused: %" PRId32, (int32_t)kind);
        else
            snprintf(unknown, sizeof(unknown), "kind %" PRIu32, kind);
        number_words(unknown, 0, more, text, size);
    }
}

void exit_ring_age(uint64_t ns, char text[8])
{
    static const struct { uint64_t below, unit, tenth; const char *name; } units[] = {
        { 100000ull, 1000, 0, "us" },           { 1000000ull, 0, 100000, "ms" },
        { 100000000ull, 1000000, 0, "ms" },     { 1000000000ull, 0, 100000000, "s" },
        { 1000000000000ull, 1000000000, 0, "s" }, { 6000000000000ull, 60000000000ull, 0, "m" },
        { 3600000000000000ull, 3600000000000ull, 0, "h" },
    };

    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (ns >= units[i].below)
            continue;
        if (units[i].tenth != 0)
            snprintf(text, 8, ".%u%s", (unsigned)(ns / units[i].tenth) % 10, units[i].name);
        else
            snprintf(text, 8, "%u%s", (unsigned)(ns / units[i].unit) % 1000, units[i].name);
        return;
    }
    snprintf(text, 8, "old");
}

bool exit_ring_words(const struct exit_ring *ring, unsigned i, uint64_t now,
                     char text[EXIT_WORDS + 1])
{
    const size_t next = ring->next / sizeof(struct exit_record);
    const struct exit_record *record = &ring->record[(next + i) % EXIT_RING];
    const struct exit_more *more = &ring->more[record - ring->record];
    const uint64_t tsc = (uint64_t)record->tsc_high << 32 | record->tsc_low;
    const size_t used = 5, size = EXIT_WORDS + 1 - used;
    char age[8];

    if (record->kind == 0)
        return false;
    exit_ring_age(tsc_to_ns(now > tsc ? now - tsc : 0), age);
    snprintf(text, EXIT_WORDS + 1, "%4.4s ", age);
    if (record->kind == VM_EXIT_PIO)
        pio_words(record->word, text + used, size);
    else if (record->kind == VM_EXIT_MMIO)
        number_words(record->word & VM_MMIO_EXEC ? "fetch"
                     : record->word & VM_MMIO_WRITE ? "write" : "read", 2, more, text + used, size);
    else if (record->kind == VM_EXIT_EVENT)
        event_words(more->a, text + used, size);
    else
        other_words(record->kind, more, text + used, size);
    return true;
}
