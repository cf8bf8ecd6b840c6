// SPDX-License-Identifier: BSD-2-Clause
//
// Ticks of a periodic source that its guest has not got, because it did not run, or had interrupts
// off: `ticks = catch-up` of the config delivers them later, those of a second at most. Each comes
// when the one before was taken, and a sixteenth of a period behind it, or 50 us if that is more.
// With `ticks = coalesce` late ones become one, and nothing is ever owed.
//
// Part of a device's state; owned by the VMM's only thread; no lock.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TICKS_PAUSE_MIN_NS 50000ULL

struct ticks {
    bool catch_up;
    uint64_t owed;
    uint64_t again_ns; // not before this, while some are owed
};

// `count` periods have ended; `hz`: how many there are in a second, 0 for less than one.
static inline void ticks_due(struct ticks *ticks, uint64_t count, uint64_t hz)
{
    uint64_t most = hz != 0 ? hz : 1;

    if (!ticks->catch_up)
        return;
    ticks->owed = ticks->owed + count < most ? ticks->owed + count : most;
}

// What was asked for at `now_ns` was taken, or not.
static inline void ticks_asked(struct ticks *ticks, bool taken, uint64_t now_ns, uint64_t period_ns)
{
    uint64_t pause = period_ns / 16;

    if (taken && ticks->owed > 0)
        ticks->owed--;
    ticks->again_ns = now_ns + (pause > TICKS_PAUSE_MIN_NS ? pause : TICKS_PAUSE_MIN_NS);
}

static inline void ticks_forget(struct ticks *ticks)
{
    ticks->owed = 0;
}
