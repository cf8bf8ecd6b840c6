// SPDX-License-Identifier: BSD-2-Clause
//
// The i8254. No state but the chip's.

#include "guests/lib/pit.h"

#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"

#define PIT_DATA(channel) (uint16_t)(0x40 + (channel))
#define PIT_CONTROL       0x43
#define CONTROL_LOW_HIGH  0x30
#define PORT_B            0x61
#define PORT_B_GATE2      0x01
#define PORT_B_SPEAKER    0x02
#define PORT_B_OUT2       0x20

void pit_set(unsigned int channel, unsigned int mode, uint16_t count)
{
    outb(PIT_CONTROL, (uint8_t)(channel << 6 | CONTROL_LOW_HIGH | mode << 1));
    outb(PIT_DATA(channel), (uint8_t)count);
    outb(PIT_DATA(channel), (uint8_t)(count >> 8));
}

uint16_t pit_read(unsigned int channel)
{
    outb(PIT_CONTROL, (uint8_t)(channel << 6));
    uint8_t low = inb(PIT_DATA(channel));
    return (uint16_t)(inb(PIT_DATA(channel)) << 8 | low);
}

void pit_wait_ns(uint64_t ns)
{
    outb(PORT_B, (uint8_t)((inb(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE2));
    pit_set(2, PIT_ONE_SHOT, (uint16_t)(ns * PIT_HZ / NS_PER_SECOND));
    while (!(inb(PORT_B) & PORT_B_OUT2))
        cpu_pause();
}
