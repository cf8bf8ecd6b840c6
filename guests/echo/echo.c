// SPDX-License-Identifier: BSD-2-Clause
//
// A guest on newlib and lwIP: a TCP echo server and its client over the loopback interface. Once a
// second it prints the rate and how much has come back right. It works for a part of each slice of
// 10 ms and halts for the rest, so that it is a good neighbour.
// Options: name=NAME (echo), count=N lines and then power-off (never), duty=PERCENT (20).

#include <stdio.h>

#include "guests/echo/stream.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/options.h"
#include "guests/lib/power.h"
#include "guests/lib/timer.h"
#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"

#define ECHO_PORT     7
#define SLICE_NS      (10 * NS_PER_MS)
#define STALL_SECONDS 10 // so long without a byte is an error
#define MEGA          1e6

// lwIP's clock in milliseconds; it may wrap.
u32_t sys_now(void)
{
    return (u32_t)(clock_uptime_ns() / NS_PER_MS);
}

// Both ends and the stack make progress until `end` (TSC).
static void work_until(struct echo_client *client, uint64_t end)
{
    do {
        netif_poll_all();
        echo_client_pump(client);
        sys_check_timeouts();
    } while (rdtsc() < end && client->error == NULL);
}

// Works in slices for one second and prints what came of it.
static void run_second(struct echo_client *client, const char *name, uint64_t busy_ticks)
{
    uint64_t slice = clock_ticks_of_ns(SLICE_NS);
    uint64_t start = rdtsc();
    uint64_t verified = client->verified;

    while (rdtsc() - start < clock_tsc_hz() && client->error == NULL) {
        uint64_t now = rdtsc();
        work_until(client, now + busy_ticks);
        sleep_until_tsc(now + slice);
    }
    double seconds = (double)(rdtsc() - start) / (double)clock_tsc_hz();
    printf("%s: %.1f MB/s, %.1f MB verified\n", name,
           (double)(client->verified - verified) / MEGA / seconds, (double)client->verified / MEGA);
}

static _Noreturn void fail(const char *name, const char *reason)
{
    char message[128];
    snprintf(message, sizeof(message), "%.40s: %s", name, reason);
    guest_die(message);
}

int main(void)
{
    const char *name = option("name");
    if (name == NULL)
        name = "echo";
    uint64_t count = option_number("count", 0, 0, UINT64_MAX);
    uint64_t busy = clock_ticks_of_ns(SLICE_NS * option_number("duty", 20, 1, 100) / 100);

    static struct echo_server server;
    static struct echo_client client;
    lwip_init();
    if (!echo_server_start(&server, ECHO_PORT) || !echo_client_start(&client, ECHO_PORT))
        fail(name, "lwIP has no memory for a connection");
    printf("%s: lwIP %s, 127.0.0.1 port %d\n", name, LWIP_VERSION_STRING, ECHO_PORT);

    unsigned int stalled = 0;
    for (uint64_t line = 0; count == 0 || line < count; line++) {
        uint64_t before = client.verified;
        run_second(&client, name, busy);
        if (client.error != NULL)
            fail(name, client.error);
        stalled = client.verified == before ? stalled + 1 : 0;
        if (stalled == STALL_SECONDS)
            fail(name, "nothing has come back for 10 seconds");
    }
    return 0;
}
