// SPDX-License-Identifier: BSD-2-Clause
//
// See trial.h. The places are: a buffer, device memory, and two pages that are neighbours by linear
// address only, RAM and then the device's; then the second of them must not be written, and is
// absent.

#include "guests/test-mmio/trial.h"

#include <stddef.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/window.h"

#define DEVICE      TRIAL_DEVICE
#define DEVICE_PAGE (DEVICE + 4096)
#define PAGE        6 // of the window, and the next
#define PCD_PWT     0x18ul
#define STATUS      0x8D5ul
#define FLAGS_FIXED 2ul

enum { ROUNDS = 4, FROM_RAM = 5 };

struct outcome {
    struct trial_state state;
    uint8_t memory[TRIAL_BYTES];
    int vector;
    uint64_t error, cr2;
};

static uint8_t ram[3][4096] __attribute__((aligned(4096)));

bool trial_ready(void)
{
    mmio_write32(DEVICE, 0x5A5A1234);
    return mmio_read32(DEVICE) == 0x5A5A1234;
}

// What the trials begin with, by round.
static void begin(unsigned int round, struct outcome *o)
{
    static const uint64_t words[ROUNDS][5] = {
        // RAX, RCX, RDX, RBX, and in memory
        {0x0000000000000055, 0x0000000000000903, 0, 0x8877665544332211, 0x0123456789ABCDEF},
        {0x8000000000000000, 0xFFFFFFFFFFFFFFFF, 1, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF},
        {0x0000000000001234, 0x0000000000000044, 0x12, 0x00000000FFFF0000, 0},
        {0xFEDCBA9876543210, 0x0000000000000107, ~0ul, 0x0F0F0F0F0F0F0F0F, 0x3FF0000041200003},
    };
    const uint64_t *w = words[round];
    memset(o, 0, sizeof(*o));
    o->state.rax = w[0];
    o->state.rcx = w[1];
    o->state.rdx = w[2];
    o->state.rbx = w[3];
    o->state.rflags = FLAGS_FIXED | (round & 1 ? STATUS : 0);
    for (unsigned int i = 0; i < TRIAL_BYTES; i++)
        o->memory[i] = (uint8_t)((w[4] >> 8 * (i % 8)) + (i >= 8 ? i : 0));
    for (unsigned int i = 0; i < 64; i++)
        o->state.vector[i / 32][i % 32] = (uint8_t)(0x91 + 7 * i);
}

static void put(uintptr_t at, const uint8_t *bytes)
{
    for (unsigned int i = 0; i < TRIAL_BYTES; i++)
        ((volatile uint8_t *)at)[i] = bytes[i];
}

static void get(uintptr_t at, uint8_t *bytes)
{
    for (unsigned int i = 0; i < TRIAL_BYTES; i++)
        bytes[i] = ((volatile uint8_t *)at)[i];
}

// At `at`, with the bytes that can be written `through` there.
static struct outcome try(const struct trial *t, unsigned int round, uintptr_t at,
                          uintptr_t through)
{
    struct outcome o;
    begin(round, &o);
    put(through, o.memory);
    trap_expect();
    t->code(&o.state, at);
    o.vector = trap_caught.vector;
    o.error = o.vector == TRAP_NONE ? 0 : trap_caught.error;
    o.cr2 = o.vector == VEC_PF ? trap_caught.cr2 : 0;
    get(through, o.memory);
    o.state.rflags &= t->flags;
    return o;
}

static const char *difference(const struct outcome *a, const struct outcome *b)
{
    if (a->vector != b->vector || a->error != b->error || a->cr2 != b->cr2)
        return "fault";
    if (memcmp(a->memory, b->memory, TRIAL_BYTES) != 0)
        return "memory";
    if (a->state.rflags != b->state.rflags)
        return "RFLAGS";
    return memcmp(&a->state, &b->state, sizeof(a->state)) != 0 ? "registers" : NULL;
}

static bool report(const struct trial *t, const char *place, unsigned int round,
                   const struct outcome *by_cpu, const struct outcome *emulated)
{
    const char *what = difference(by_cpu, emulated);
    if (!what)
        return true;
    check(false, t->name,
          "%s, round %u: %s; vector %d/%d, error %lx/%lx, RFLAGS %lx/%lx, RAX %lx/%lx, "
          "RCX %lx/%lx, RDX %lx/%lx, RBX %lx/%lx", place, round, what, by_cpu->vector,
          emulated->vector, by_cpu->error, emulated->error, by_cpu->state.rflags,
          emulated->state.rflags, by_cpu->state.rax, emulated->state.rax, by_cpu->state.rcx,
          emulated->state.rcx, by_cpu->state.rdx, emulated->state.rdx, by_cpu->state.rbx,
          emulated->state.rbx);
    return false;
}

// The two pages of the window at `second`: RAM or the device's.
static uintptr_t neighbours(bool device, uint64_t flags)
{
    uintptr_t base = window_map(PAGE, window_entry(ram[0], PTE_W));
    uint64_t entry = device ? DEVICE_PAGE | PTE_P | PCD_PWT : window_entry(ram[2], 0);
    window_map(PAGE + 1, flags ? entry | flags : 0);
    return base + 4096 - FROM_RAM;
}

// A trial of which the first FROM_RAM bytes are RAM. What of it is in the second page is seen
// where that page can be written.
static struct outcome try_across(const struct trial *t, unsigned int round, bool device,
                                 uint64_t flags)
{
    struct outcome o, start;
    begin(round, &start);
    put(neighbours(device, PTE_W), start.memory);
    uintptr_t at = neighbours(device, flags);
    o = start;
    trap_expect();
    t->code(&o.state, at);
    o.vector = trap_caught.vector;
    o.error = o.vector == TRAP_NONE ? 0 : trap_caught.error;
    o.cr2 = o.vector == VEC_PF ? trap_caught.cr2 : 0;
    get(neighbours(device, PTE_W), o.memory);
    o.state.rflags &= t->flags;
    return o;
}

// False: what it is has been said.
static bool try_all(const struct trial *t)
{
    bool alike = true;
    for (unsigned int round = 0; round < ROUNDS && alike; round++) {
        struct outcome cpu = try(t, round, (uintptr_t)ram[1], (uintptr_t)ram[1]);
        struct outcome emulated = try(t, round, DEVICE, DEVICE);
        alike = report(t, "device", round, &cpu, &emulated);
        struct outcome whole = cpu;
        cpu = try_across(t, round, false, PTE_W);
        if (alike && cpu_by_tcg() && cpu.vector == whole.vector && difference(&whole, &cpu)) {
            check_skip(t->name, "across pages: QEMU 10 goes on behind the first one's frame");
            alike = false;
            break;
        }
        emulated = try_across(t, round, true, PTE_W);
        alike = alike && report(t, "across", round, &cpu, &emulated);
        cpu = try_across(t, round, false, PTE_P);
        emulated = try_across(t, round, true, PTE_P);
        alike = alike && report(t, "read-only", round, &cpu, &emulated);
        cpu = try_across(t, round, false, 0);
        emulated = try_across(t, round, true, 0);
        alike = alike && report(t, "absent", round, &cpu, &emulated);
    }
    window_map(PAGE, 0);
    window_map(PAGE + 1, 0);
    return alike;
}

static bool has(const struct trial_need *need)
{
    if (!need->leaf || need->leaf > cpuid(need->leaf & 0x80000000, 0).eax)
        return !need->leaf;
    struct cpuid_result r = cpuid(need->leaf, 0);
    const uint32_t regs[] = {r.eax, r.ebx, r.ecx, r.edx};
    return regs[need->reg] >> need->bit & 1;
}

void trial_run(const struct trial *trials, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        const char *wrong = NULL;
        if (!has(&trials[i].need))
            wrong = "not on this CPU";
        else if (trials[i].wrong)
            wrong = trials[i].wrong();
        if (wrong)
            check_skip(trials[i].name, wrong);
        else if (try_all(&trials[i]))
            check(true, trials[i].name, "-");
    }
}
