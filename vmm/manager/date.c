// SPDX-License-Identifier: BSD-2-Clause
// The date, from the host's MC146818 clock. Read once, before the first process is made: from then
// on the TSC tells it. The manager has the clock's two ports only meanwhile.
#include <string.h>
#include "libc/kcall.h"
#include "libc/ports.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

enum {
    RTC_INDEX = 0x70, RTC_DATA = 0x71, RTC_PORTS = 2,
    STATUS_A = 0x0a, UPDATING = 0x80, // of status A; all of its bits: there is no clock
    NO_CLOCK = 0xff,
    TRIES_MAX = 1000000,
};

static uint8_t rtc_read(uint8_t index)
{
    port_out8(RTC_INDEX, index);
    return port_in8(RTC_DATA);
}

// False: nobody answers.
static bool rtc_read_date(uint8_t rtc[TIME_RTC_BYTES])
{
    static const uint8_t index[TIME_RTC_BYTES] = {0, 2, 4, 7, 8, 9, 0x0b};
    uint8_t status = rtc_read(STATUS_A);
    for (unsigned tries = 0; status != NO_CLOCK && (status & UPDATING) && tries < TRIES_MAX;
         tries++) {
        status = port_in8(RTC_DATA);
    }
    for (unsigned i = 0; i < TIME_RTC_BYTES; i++) {
        rtc[i] = rtc_read(index[i]);
    }
    return status != NO_CLOCK;
}

void date_read(struct manager *manager)
{
    static const uint8_t unknown[TIME_RTC_BYTES] = {0, 0, 0, 1, 1, 0, 6};
    uint8_t rtc[TIME_RTC_BYTES];
    bool known = !manager->boot->no_rtc &&
                 kcall_ioports_grant(HANDLE_SELF, BOOT_HANDLE_PORTS, RTC_INDEX, RTC_PORTS) == OK;
    if (known) {
        known = rtc_read_date(rtc);
        kcall_ioports_grant(HANDLE_SELF, BOOT_HANDLE_PORTS, 0, 0);
    }
    if (!known) {
        memcpy(rtc, unknown, sizeof(rtc));
        report(manager,
               "no clock of this machine tells the date: it is taken to be 2000-01-01\n");
    }
    manager->wall_tsc = tsc_read();
    manager->wall_seconds = time_wall_seconds(rtc);
}
