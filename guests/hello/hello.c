// SPDX-License-Identifier: BSD-2-Clause
//
// The smallest useful guest: a heartbeat once a second with its uptime, a round of malloc and a
// float. Options: name=NAME (hello), count=N heartbeats and then power-off (never).

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/options.h"
#include "guests/lib/timer.h"

#define BLOCKS     8
#define BLOCK_STEP 301ul

// Takes blocks of several sizes, fills them, checks that no two of them overlap, and frees them.
static bool malloc_works(uint64_t beat)
{
    uint8_t *blocks[BLOCKS];
    bool ok = true;
    for (unsigned int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc((i + 1) * BLOCK_STEP);
        if (blocks[i] == NULL)
            ok = false;
        else
            memset(blocks[i], (int)(beat + i), (i + 1) * BLOCK_STEP);
    }
    for (unsigned int i = 0; i < BLOCKS; i++) {
        for (unsigned int at = 0; blocks[i] != NULL && at < (i + 1) * BLOCK_STEP; at++)
            ok = ok && blocks[i][at] == (uint8_t)(beat + i);
        free(blocks[i]);
    }
    return ok;
}

int main(void)
{
    printf("entry tsc=%llu\n", (unsigned long long)clock_entry_tsc());
    const char *name = option("name");
    if (name == NULL)
        name = "hello";
    uint64_t count = option_number("count", 0, 0, UINT64_MAX);
    uint64_t second = clock_tsc_hz();
    uint64_t next = clock_entry_tsc();

    for (uint64_t beat = 1; count == 0 || beat <= count; beat++) {
        // Beats that were slept over are left out; the others stay on the second.
        do
            next += second;
        while (next <= rdtsc());
        sleep_until_tsc(next);
        double uptime = (double)clock_uptime_ns() / 1e9;
        printf("%s: up %.3f s, malloc %s, pi=%.5f\n", name, uptime,
               malloc_works(beat) ? "ok" : "broken", 4 * atan(1.0));
    }
    return 0;
}
