// SPDX-License-Identifier: BSD-2-Clause
//
// The MC146818's registers. No state.

#pragma once

#include <stdint.h>

#include "guests/lib/cpu.h"

#define RTC_SECONDS       0x00
#define RTC_SECONDS_ALARM 0x01
#define RTC_MINUTES       0x02
#define RTC_MINUTES_ALARM 0x03
#define RTC_HOURS         0x04
#define RTC_HOURS_ALARM   0x05
#define RTC_WEEKDAY       0x06
#define RTC_DAY           0x07
#define RTC_MONTH         0x08
#define RTC_YEAR          0x09
#define RTC_A             0x0A
#define RTC_B             0x0B
#define RTC_C             0x0C
#define RTC_CENTURY       0x32
#define RTC_24H           0x02 // register B
#define RTC_BINARY        0x04
#define RTC_UIE           0x10
#define RTC_AIE           0x20
#define RTC_PIE           0x40
#define RTC_SET           0x80
#define RTC_IRQF          0x80 // register C
#define RTC_ANY           0xC0 // an alarm's field that always matches

static inline uint8_t rtc_read(uint8_t index)
{
    outb(0x70, index);
    return inb(0x71);
}

static inline void rtc_write(uint8_t index, uint8_t value)
{
    outb(0x70, index);
    outb(0x71, value);
}
