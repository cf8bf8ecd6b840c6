// SPDX-License-Identifier: BSD-2-Clause
// The console's process: its start, its end, and the next one. What belongs to a line, or to the
// host, outlives it: the rings, the event, the interrupt. The manager's thread only.
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

// History and pages for each line, and the program itself; and the cells of a screen.
#define CONSOLE_QUOTA(lines) ((512ull << 10) + (lines) * (76ull << 10))
#define CONSOLE_QUOTA_TEXT   (32ull << 10)
#define CONSOLE_QUOTA_PIXELS (384ull << 10)
// One that does not live so long has failed; after so many in a row there is no other.
#define LIVES_NS     10000000000ull
#define FAILURES_MAX 3u

static uint64_t console_quota(const struct manager *manager)
{
    const struct boot_screen *screen = &manager->boot->screen;
    uint64_t cells = screen->width == 0 ? 0 : screen->text ? CONSOLE_QUOTA_TEXT
                                                           : CONSOLE_QUOTA_PIXELS;
    return CONSOLE_QUOTA(manager->vms + 1) + cells;
}

static int64_t console_start(struct manager *manager)
{
    const struct spawn_limits limits = {
        .quota = console_quota(manager),
        .counts = {.mappings = 512, .memories = 64, .threads = 1, .events = 4, .timers = 4},
    };
    int64_t status = spawn_create(&manager->console, &manager->console_program, &limits,
                                  manager->event, MANAGER_BIT_CONSOLE);
    if (status < 0) {
        return status;
    }
    const struct start_block *block;
    status = wire_console(manager, manager->console.process, &block);
    if (status >= 0) {
        status = spawn_start(&manager->console, &manager->console_program, block, &manager->sc);
    }
    if (status < 0) {
        spawn_destroy(&manager->console);
        return status;
    }
    manager->console_runs = true;
    manager->console_start_tsc = tsc_read();
    return OK;
}

// Without a console nobody would see what was said: the ring goes to the kernel's log instead.
static void say_without(struct manager *manager)
{
    static char said[CONSOLE_OUTPUT_SIZE];
    struct ring_end end;
    ring_attach_consumer(&end, manager->line.tx.ring, CONSOLE_OUTPUT_SIZE);
    uint32_t len = ring_read(&end, said, sizeof(said));
    report_log(said, len);
}

void console_begin(struct manager *manager)
{
    port_find(manager, &manager->port);
    if (program_find(manager, &manager->console_program, "console")) {
        int64_t status = console_start(manager);
        if (status < 0) {
            report(manager, "the console cannot be started: %s\n", report_status(status));
        }
    }
    if (!manager->console_runs) {
        say_without(manager);
    }
}

// Its process is gone.
static void console_next(struct manager *manager)
{
    int64_t status = console_start(manager);
    if (status < 0) {
        report(manager, "the console cannot be started again: %s\n", report_status(status));
        say_without(manager);
        return;
    }
    report(manager, "the console was started again: what it remembered is lost\n");
}

void console_ended(struct manager *manager)
{
    static const char ended[] = "manager: the console's process has ended\n";
    static const char off[] = "manager: the console ends again and again: it stays off\n";
    struct process_status status;
    // The bit may be left over from one that the monitor has ended.
    if (!manager->console_runs ||
        kcall_process_status(manager->console.process, &status) != OK ||
        status.end == PROCESS_ALIVE) {
        return;
    }
    uint64_t lived = tsc_to_ns(tsc_read() - manager->console_start_tsc);
    manager->console_failures = lived < LIVES_NS ? manager->console_failures + 1 : 1;
    manager->console_runs = false;
    spawn_destroy(&manager->console);
    report_log(ended, sizeof(ended) - 1);
    if (manager->console_failures > FAILURES_MAX) {
        report_log(off, sizeof(off) - 1);
        say_without(manager);
        return;
    }
    console_next(manager);
}

void console_restart(struct manager *manager)
{
    manager->console_runs = false;
    spawn_destroy(&manager->console);
    console_next(manager);
}
