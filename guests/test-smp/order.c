// SPDX-License-Identifier: BSD-2-Clause
//
// Several interrupts from others at once: by priority, one for several of a vector, and none before
// TPR lets it.

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/test-smp/groups.h"

#define VEC_LOW    0x51
#define VEC_MIDDLE 0x61
#define VEC_HIGH   0x81
#define LOG_MAX    8

static volatile unsigned int stage;
static volatile uint8_t order[LOG_MAX]; // of processor 1
static volatile unsigned int logged;

static void on_logged(struct trap_frame *frame)
{
    if (smp_id() == 1 && logged < LOG_MAX)
        order[logged++] = (uint8_t)frame->vector;
    apic_eoi();
}

static void windows(void)
{
    for (unsigned int i = 0; i < 4; i++)
        cpu_irq_window();
}

// What is in `order` at stage 3 has come by TPR's leave, as far as TPR held it at all.
static void open_late(void *argument)
{
    uint64_t hold = *(const uint64_t *)argument;
    write_cr8(hold);
    stage = 1;
    wait_word(&stage, 2);
    if (hold != 0) {
        cpu_irq_enable();
        write_cr8(VEC_MIDDLE >> 4);
    }
    windows();
    stage = 3;
    wait_word(&stage, 4);
    if (hold != 0) {
        cpu_irq_enable();
        write_cr8(0);
    }
    windows();
}

static uint64_t hold;

// Of each two, and the lowest first.
static void send_several(void)
{
    static const uint8_t vectors[] = {VEC_LOW, VEC_HIGH, VEC_MIDDLE};
    logged = 0;
    stage = 0;
    smp_post(1, open_late, &hold);
    wait_word(&stage, 1);
    for (unsigned int i = 0; i < 2 * sizeof(vectors); i++)
        apic_send(APIC_ICR_ASSERT | vectors[i % sizeof(vectors)], 1);
    settle();
    stage = 2;
    wait_word(&stage, 3);
}

static void finish(void)
{
    stage = 4;
    if (!smp_wait(1))
        check(false, named("order-end"), "processor 1 did not come back");
}

static void several_whole(void)
{
    send_several();
    finish();
}

void test_order(void)
{
    trap_set_handler(VEC_LOW, on_logged);
    trap_set_handler(VEC_MIDDLE, on_logged);
    trap_set_handler(VEC_HIGH, on_logged);

    hold = 0;
    if (!trap_undisturbed(several_whole))
        check_skip(named("order"), "Bochs delivers them while interrupts are off");
    else
        check(logged == 3 && order[0] == VEC_HIGH && order[1] == VEC_MIDDLE && order[2] == VEC_LOW,
              named("order"), "%u: %x %x %x", logged, order[0], order[1], order[2]);

    hold = 15;
    send_several();
    bool held = logged == 1 && order[0] == VEC_HIGH;
    unsigned int early = logged;
    finish();
    check(held, named("tpr-holds"), "%u came, first %x", early, order[0]);
    check(logged == 3 && order[1] == VEC_MIDDLE && order[2] == VEC_LOW, named("tpr-lets"),
          "%u: %x %x %x", logged, order[0], order[1], order[2]);
}
