// SPDX-License-Identifier: BSD-2-Clause
//
// The i8254: channel 0 (IRQ 0) and channel 2 (gate and output in port 0x61). Section "Programming
// the 8254" of its data sheet.

#pragma once

#include <stdint.h>

#define PIT_HZ       1193182u
#define PIT_ONE_SHOT 0 // mode 0: interrupt on terminal count
#define PIT_RATE     2 // mode 2: rate generator
#define PIT_SQUARE   3 // mode 3: square wave

// Programs a channel (0 or 2). A count of 0 means 65536.
void pit_set(unsigned int channel, unsigned int mode, uint16_t count);

// Latches and reads the present count of a channel.
uint16_t pit_read(unsigned int channel);

// Waits on channel 2, polled; at most 54 ms.
void pit_wait_ns(uint64_t ns);
