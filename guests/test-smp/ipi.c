// SPDX-License-Identifier: BSD-2-Clause
//
// IPIs by every kind of destination: who gets them. ("Issuing Interprocessor Interrupts",
// "Determining IPI Destination".)

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/test-smp/groups.h"

#define VEC_IPI     0x51
#define VEC_BUSY    0x81
#define FIXED       (APIC_ICR_ASSERT | VEC_IPI)
#define LOGICAL     (FIXED | APIC_ICR_LOGICAL)
#define LOWEST      (LOGICAL | APIC_ICR_LOWEST)
#define NMI         (APIC_ICR_ASSERT | APIC_ICR_NMI)
#define DFR_FLAT    0xFFFFFFFFu
#define DFR_CLUSTER 0x0FFFFFFFu
#define TPR_LOW     0x10u
#define TPR_HIGH    0x40u
#define NOBODY      0xEEu

static volatile unsigned int stage;
static uint32_t logical_format = DFR_FLAT;

static void expect_takers(const char *name, uint8_t vector, uint32_t low, uint32_t destination,
                          uint32_t expected)
{
    taken_reset();
    apic_send(low, destination);
    uint32_t got = takers_when(vector, expected);
    check(got == expected, named(name), "got by %x, not %x", (unsigned int)got,
          (unsigned int)expected);
}

// Flat: a bit for each; cluster: four in each.
static void set_logical(void *argument)
{
    (void)argument;
    unsigned int id = smp_id();
    uint32_t ldr = logical_format == DFR_FLAT ? (id < 8 ? 1u << id : 0)
                                              : id / 4 << 4 | 1u << id % 4;
    apic_write(APIC_DFR, logical_format);
    apic_write(APIC_LDR, ldr << 24);
}

static void set_logical_all(uint32_t format)
{
    logical_format = format;
    crew_call(set_logical, NULL);
    set_logical(NULL);
}

static void test_physical(void)
{
    bool x2 = apic_mode() == APIC_MODE_X2APIC;
    expect_takers("physical-1", VEC_IPI, FIXED, 1, 2);
    expect_takers("physical-last", VEC_IPI, FIXED, cpus - 1, 1u << (cpus - 1));
    expect_takers("physical-own", VEC_IPI, FIXED, 0, 1);
    expect_takers("physical-nobody", VEC_IPI, FIXED, NOBODY, 0);
    expect_takers("physical-broadcast", VEC_IPI, FIXED, x2 ? UINT32_MAX : 0xFF, all_mask());
    if (x2)
        expect_takers("physical-255", VEC_IPI, FIXED, 0xFF, 0);
    expect_takers("self", VEC_IPI, FIXED | APIC_ICR_SELF, 1, 1);
    expect_takers("all", VEC_IPI, FIXED | APIC_ICR_ALL, 1, all_mask());
    expect_takers("all-but-self", VEC_IPI, FIXED | APIC_ICR_ALL_BUT_SELF, 1, crew_mask());
    check(!(apic_read(APIC_ICR) & APIC_ICR_PENDING), named("idle"), "ICR says %x",
          (unsigned int)apic_read(APIC_ICR));
}

static void test_flat(void)
{
    uint32_t flat = all_mask() & 0xFF;
    expect_takers("flat-1", VEC_IPI, LOGICAL, 0x02, 2);
    expect_takers("flat-some", VEC_IPI, LOGICAL, 0x06, 6 & all_mask());
    expect_takers("flat-own", VEC_IPI, LOGICAL, 0x03, 3);
    expect_takers("flat-nobody", VEC_IPI, LOGICAL, cpus < 8 ? 0x80 : 0, 0);
    expect_takers("flat-all-bits", VEC_IPI, LOGICAL, 0x7F, flat & 0x7F);
    expect_takers("flat-broadcast", VEC_IPI, LOGICAL, 0xFF, all_mask());
}

static void test_clusters(void)
{
    bool x2 = apic_mode() == APIC_MODE_X2APIC;
    uint32_t first = all_mask() & 0xF;
    if (x2) {
        expect_takers("cluster-1", VEC_IPI, LOGICAL, 0x02, 2);
        expect_takers("cluster-some", VEC_IPI, LOGICAL, 0x0B, 0xB & all_mask());
        expect_takers("cluster-all", VEC_IPI, LOGICAL, 0xFFFF, all_mask());
        expect_takers("cluster-other", VEC_IPI, LOGICAL, 0x1FFFF, 0);
        expect_takers("cluster-broadcast", VEC_IPI, LOGICAL, UINT32_MAX, all_mask());
        return;
    }
    expect_takers("cluster-1", VEC_IPI, LOGICAL, 0x02, 2);
    expect_takers("cluster-some", VEC_IPI, LOGICAL, 0x0B, 0xB & all_mask());
    expect_takers("cluster-all", VEC_IPI, LOGICAL, 0x0F, first);
    expect_takers("cluster-second", VEC_IPI, LOGICAL, 0x16, 0x60 & all_mask());
    expect_takers("cluster-other", VEC_IPI, LOGICAL, 0x5F, 0);
    if (cpu_on_tcg())
        check_skip(named("cluster-broadcast"), "to QEMU it is a cluster's number");
    else
        expect_takers("cluster-broadcast", VEC_IPI, LOGICAL, 0xFF, all_mask());
}

// --- Lowest priority ---

static void set_tpr(void *argument)
{
    uint32_t tpr = *(const uint32_t *)argument;
    if (tpr & 1) // by the other way
        write_cr8(tpr >> 4);
    else
        apic_write(APIC_TPR, tpr);
}

// All others have a priority above the winner's, and below the vector's. `way` is 0 for the
// register and 1 for CR8.
static void expect_winner(unsigned int winner, uint32_t way)
{
    static const char *const names[2][4] = {
        {"lowest-tpr-0", "lowest-tpr-1", "lowest-tpr-2", "lowest-tpr-3"},
        {"lowest-cr8-0", "lowest-cr8-1", "lowest-cr8-2", "lowest-cr8-3"},
    };
    for (unsigned int id = 0; id < cpus; id++) {
        uint32_t tpr = (id == winner ? TPR_LOW : TPR_HIGH) | way;
        if (id == 0)
            set_tpr(&tpr);
        else
            smp_call(id, set_tpr, &tpr);
    }
    listen_all();
    expect_takers(names[way][winner], VEC_IPI, LOWEST, 0xF & all_mask(), 1u << winner);
    mute_all();
}

static void stay(struct trap_frame *frame)
{
    (void)frame;
    stage = 1;
    wait_word(&stage, 2);
    apic_eoi();
}

static void set_tpr_all(uint32_t tpr)
{
    crew_call(set_tpr, &tpr);
    set_tpr(&tpr);
}

// One that is in a handler has its priority, though its TPR is lower.
static void test_lowest_busy(void)
{
    set_tpr_all(TPR_HIGH);
    uint32_t low = 0;
    smp_call(1, set_tpr, &low);
    stage = 0;
    trap_set_handler(VEC_BUSY, stay);
    listen_all();
    apic_send(APIC_ICR_ASSERT | VEC_BUSY, 1);
    bool there = wait_word(&stage, 1);
    taken_reset();
    apic_send(LOWEST, 3);
    uint32_t got = takers_when(VEC_IPI, 1);
    stage = 2;
    mute_all();
    check(there && got == 1, named("lowest-busy"), "there %d, got by %x", there, (unsigned int)got);
}

static void test_lowest(void)
{
    set_tpr_all(0);
    listen_all();
    taken_reset();
    apic_send(LOWEST, 0xF & all_mask());
    uint32_t got = takers_when(VEC_IPI, 0);
    mute_all();
    check(got != 0 && (got & (got - 1)) == 0, named("lowest-one"), "got by %x", (unsigned int)got);
    if (!cpu_on_bulkhead()) {
        check_skip(named("lowest-tpr"), "the emulators' APICs do not compare priorities");
        return;
    }
    for (uint32_t way = 0; way < 2; way++) {
        for (unsigned int winner = 0; winner < cpus && winner < 4; winner++)
            expect_winner(winner, way);
    }
    test_lowest_busy();
    set_tpr_all(0);
}

// --- NMI, and an APIC that is off ---

static void test_nmi(void)
{
    if (!nmis) {
        check_skip(named("nmi"), NO_NMIS);
        return;
    }
    expect_takers("nmi", VEC_NMI, NMI, 1, 2);
    expect_takers("nmi-logical", VEC_NMI, NMI | APIC_ICR_LOGICAL, 0x02, 2);
    expect_takers("nmi-others", VEC_NMI, NMI | APIC_ICR_ALL_BUT_SELF, 0, crew_mask());
    // Its vector says nothing.
    expect_takers("nmi-vector", VEC_NMI, NMI | 0x77, cpus - 1, 1u << (cpus - 1));
}

static void be_deaf(void *argument)
{
    (void)argument;
    apic_write(APIC_SVR, VEC_SPURIOUS);
    stage = 1;
    cpu_irq_enable();
    wait_word(&stage, 2);
    cpu_irq_disable();
    apic_write(APIC_SVR, APIC_SVR_ENABLE | VEC_SPURIOUS);
    cpu_irq_window();
}

// ("Local APIC State After It Has Been Software Disabled")
static void test_disabled(void)
{
    if (cpu_on_tcg()) {
        check_skip(named("disabled"), "QEMU's APIC takes interrupts when it is disabled");
        return;
    }
    stage = 0;
    smp_post(1, be_deaf, NULL);
    bool there = wait_word(&stage, 1);
    taken_reset();
    apic_send(FIXED, 1);
    if (nmis)
        apic_send(NMI, 1);
    uint32_t nmi = takers_when(VEC_NMI, nmis ? 2 : 0), fixed = takers(VEC_IPI);
    apic_send(LOWEST, 3);
    uint32_t lowest = takers_when(VEC_IPI, 1);
    stage = 2;
    bool back = smp_wait(1);
    check(there && nmi == (nmis ? 2 : 0) && fixed == 0, named("disabled"),
          "there %d, NMI %x, fixed %x", there, (unsigned int)nmi, (unsigned int)fixed);
    check(lowest == 1, named("disabled-lowest"), "got by %x", (unsigned int)lowest);
    check(back && takers(VEC_IPI) == 1, named("disabled-lost"), "came later: %x",
          (unsigned int)takers(VEC_IPI));
}

// --- Errors ---

static uint32_t esr_now(void)
{
    apic_write(APIC_ESR, 0);
    return apic_read(APIC_ESR);
}

static void read_esr(void *argument)
{
    *(uint32_t *)argument = esr_now();
}

// ("Error Handling": the sender says so. Whether such a message still goes out is the model's.)
static void test_illegal(void)
{
    uint32_t esr[2];
    if (!cpu_on_bulkhead()) {
        check_skip(named("illegal"), "not on Bulkhead");
        return;
    }
    smp_call(1, read_esr, &esr[1]);
    esr_now();
    listen_all();
    taken_reset();
    for (uint32_t vector = 0; vector < 16; vector++)
        apic_send(APIC_ICR_ASSERT | vector, 1);
    takers_when(VEC_IPI, 0);
    mute_all();
    esr[0] = esr_now();
    smp_call(1, read_esr, &esr[1]);
    uint32_t got = 0;
    for (uint32_t vector = 0; vector < 16; vector++)
        got |= takers((uint8_t)vector);
    check(esr[0] == APIC_ESR_ILLEGAL_SEND && (esr[1] & ~APIC_ESR_ILLEGAL_RECEIVE) == 0 && got == 0,
          named("illegal"), "sender's ESR %x, receiver's %x, got by %x", (unsigned int)esr[0],
          (unsigned int)esr[1], (unsigned int)got);
    check(esr_now() == 0, named("illegal-over"), "ESR is not clear");
}

static void send_self(void *argument)
{
    (void)argument;
    apic_self_ipi(VEC_IPI);
    cpu_irq_window();
}

void test_ipi(void)
{
    trap_set_handler(VEC_IPI, on_ipi);
    trap_set_handler(VEC_NMI, on_ipi);
    taken_reset();
    smp_call(1, send_self, NULL);
    check(takers(VEC_IPI) == 2, named("self-of-1"), "got by %x", (unsigned int)takers(VEC_IPI));

    bool x2 = apic_mode() == APIC_MODE_X2APIC;
    if (!x2)
        set_logical_all(DFR_FLAT);
    listen_all();
    test_physical();
    if (!x2)
        test_flat();
    test_nmi();
    mute_all();
    if (!x2)
        set_logical_all(DFR_CLUSTER);
    listen_all();
    test_clusters();
    mute_all();
    if (!x2)
        set_logical_all(DFR_FLAT);
    test_lowest();
    test_disabled();
    test_illegal();
    trap_set_handler(VEC_NMI, NULL);
}
