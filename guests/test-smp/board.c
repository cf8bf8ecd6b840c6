// SPDX-License-Identifier: BSD-2-Clause
//
// From the I/O APIC's pins to several processors, by lines of the test board (`testdev = yes`, or
// QEMU's pc-testdev).

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/test-smp/groups.h"

#define TESTDEV_ECHO  0xE0
#define TESTDEV_LINES 0x2000
#define PIN           5 // of ISA's, so of the PIC's, too, where it is masked
#define VEC_PIN       0x71
#define LOGICAL       (1u << 11)
#define LOWEST        (1u << 8)
#define NMI           (4u << 8)
#define TIMES         3 // that a level is served

static volatile unsigned int stage, served[SMP_MAX];

static bool has_lines(void)
{
    outl(TESTDEV_ECHO, 0x5EA1F1A9);
    return inl(TESTDEV_ECHO) == 0x5EA1F1A9;
}

static void drive(bool high)
{
    outb(TESTDEV_LINES + PIN, high);
}

static uint32_t redirection(void)
{
    return ioapic_read(IOAPIC_REG_REDIR(PIN));
}

static void expect_edge(const char *name, uint8_t vector, uint8_t destination, uint32_t flags,
                        uint32_t expected)
{
    ioapic_route(PIN, VEC_PIN, destination, flags);
    taken_reset();
    drive(true);
    uint32_t got = takers_when(vector, expected);
    drive(false);
    check(got == expected, named(name), "got by %x, not %x", (unsigned int)got,
          (unsigned int)expected);
}

static void flat_id(void *argument)
{
    (void)argument;
    unsigned int id = smp_id();
    apic_write(APIC_DFR, 0xFFFFFFFF);
    apic_write(APIC_LDR, (id < 8 ? 1u << id : 0) << 24);
}

static void set_tpr(void *argument)
{
    apic_write(APIC_TPR, *(const uint32_t *)argument);
}

static void test_edges(void)
{
    listen_all();
    expect_edge("pin", VEC_PIN, 1, 0, 2);
    expect_edge("pin-last", VEC_PIN, (uint8_t)(cpus - 1), 0, 1u << (cpus - 1));
    expect_edge("pin-broadcast", VEC_PIN, 0xFF, 0, all_mask());
    expect_edge("pin-logical", VEC_PIN, 0x06, LOGICAL, 6 & all_mask());
    expect_edge("pin-logical-all", VEC_PIN, 0x0F, LOGICAL, 0xF & all_mask());
    if (nmis)
        expect_edge("pin-nmi", VEC_NMI, 1, NMI, 2);
    else
        check_skip(named("pin-nmi"), NO_NMIS);
    mute_all();
}

static void test_lowest(void)
{
    if (!cpu_on_bulkhead()) {
        check_skip(named("pin-lowest"), "the emulators' APICs do not compare priorities");
        return;
    }
    for (unsigned int winner = 0; winner < cpus && winner < 2; winner++) {
        uint32_t low = 0x10, high = 0x40;
        crew_call(set_tpr, &high);
        set_tpr(winner == 0 ? &low : &high);
        if (winner != 0)
            smp_call(winner, set_tpr, &low);
        listen_all();
        expect_edge(winner == 0 ? "pin-lowest-0" : "pin-lowest-1", VEC_PIN, 0x0F, LOGICAL | LOWEST,
                    1u << winner);
        mute_all();
    }
    uint32_t none = 0;
    crew_call(set_tpr, &none);
    set_tpr(&none);
}

// The first one waits until the pin has been looked at. The line falls when it was served TIMES.
static void on_level(struct trap_frame *frame)
{
    (void)frame;
    unsigned int id = smp_id();
    if (stage == 0) {
        stage = 1;
        wait_word(&stage, 2);
    }
    if (++served[id] == TIMES)
        drive(false);
    apic_eoi();
}

static void test_level(const char *name, uint8_t destination, uint32_t flags, unsigned int id)
{
    listen_all();
    ioapic_route(PIN, VEC_PIN, destination, flags | IOAPIC_LEVEL);
    stage = served[id] = 0;
    drive(true);
    bool came = wait_word(&stage, 1);
    bool during = redirection() & IOAPIC_REMOTE_IRR;
    stage = 2;
    bool all = wait_word(&served[id], TIMES);
    settle();
    bool after = redirection() & IOAPIC_REMOTE_IRR;
    mute_all();
    drive(false);
    ioapic_mask(PIN);
    check(came && during && all && served[id] == TIMES && !after, named(name),
          "came %d, remote IRR %d, served %u, then %d", came, during, served[id], after);
}

void test_board(void)
{
    if (!has_lines()) {
        check_skip(named("pin"), "no test board");
        return;
    }
    trap_set_handler(VEC_PIN, on_ipi);
    trap_set_handler(VEC_NMI, on_ipi);
    if (apic_mode() == APIC_MODE_XAPIC) {
        crew_call(flat_id, NULL);
        flat_id(NULL);
    }
    test_edges();
    test_lowest();
    trap_set_handler(VEC_PIN, on_level);
    test_level("pin-level", (uint8_t)(cpus - 1), 0, cpus - 1);
    test_level("pin-level-lowest", 0x02, LOGICAL | LOWEST, 1);
    trap_set_handler(VEC_NMI, NULL);
}
