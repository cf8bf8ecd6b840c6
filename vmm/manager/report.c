// SPDX-License-Identifier: BSD-2-Clause
// What the manager says, on console line 0; before there is a console, and without one, the ring
// keeps it, and what must not get lost goes to the kernel's log. The manager's thread only.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

#define MONITOR_PROMPT "bulkhead> "

#define LINE0_VA        0x60000000ull
#define REPORT_WAIT_NS  1000000000ull
#define REPORT_FLUSH_NS 10000000000ull // per line: its ring and history take 6.4 s at 115200 baud

static void report_signal(void *opaque)
{
    const struct manager *manager = opaque;
    kcall_event_signal(manager->console_event, 1);
}

int64_t report_init(struct manager *manager)
{
    int64_t status = kcall_mem_create(CONSOLE_LINE_BYTES, PAGE_SIZE, 0);
    if (status < 0) {
        return status;
    }
    manager->line_memory = (handle_t)status;
    status = kcall_mem_map(HANDLE_SELF, manager->line_memory, 0, CONSOLE_LINE_BYTES, LINE0_VA,
                           PROT_READ | PROT_WRITE);
    if (status >= 0) {
        line_attach_vm(&manager->line, (void *)(uintptr_t)LINE0_VA, report_signal, manager);
    }
    return status;
}

// All of it, waiting for room as long as the console makes any.
static void report_bytes(struct manager *manager, const char *bytes, uint32_t len)
{
    bool waited = false;
    for (;;) {
        uint32_t taken = line_write(&manager->line, bytes, len);
        bytes += taken;
        len -= taken;
        if (len == 0) {
            break;
        }
        uint64_t bits;
        if (!manager->console_runs ||
            kcall_event_wait(manager->event, MANAGER_BIT_LINE,
                             ns_to_tsc(time_host_ns() + REPORT_WAIT_NS), &bits) != OK) {
            report_log(bytes, len);
            break;
        }
        waited = true;
    }
    if (waited) {
        // The bit that was taken here may have meant input as well.
        kcall_event_signal(manager->event, MANAGER_BIT_LINE);
    }
}

// The kernel takes what the serial line takes at once. One that takes nothing for long is none.
void report_log(const char *bytes, uint32_t len)
{
    uint64_t until = time_host_ns() + REPORT_WAIT_NS;
    while (len > 0) {
        int64_t taken = kcall_log_write(bytes, len);
        if (taken < 0 || (taken == 0 && time_host_ns() > until)) {
            break;
        }
        until = taken > 0 ? time_host_ns() + REPORT_WAIT_NS : until;
        bytes += taken;
        len -= (uint32_t)taken;
    }
}

void report_text(struct manager *manager, const char *text, uint32_t len)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        uint32_t part = end != NULL ? (uint32_t)(end - text) : len;
        report_bytes(manager, text, part);
        if (end == NULL) {
            return;
        }
        report_bytes(manager, "\r\n", 2);
        text += part + 1;
        len -= part + 1;
    }
}

void report_prompt_hide(struct manager *manager)
{
    if (manager->monitor.prompted) {
        report_text(manager, "\r\033[K", 4);
    }
}

void report_prompt_show(struct manager *manager)
{
    if (manager->monitor.prompted) {
        report_text(manager, MONITOR_PROMPT, sizeof(MONITOR_PROMPT) - 1);
        report_text(manager, manager->monitor.text, manager->monitor.len);
    }
}

void report(struct manager *manager, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len >= (int)sizeof(text)) {
        len = sizeof(text) - 1;
        text[len - 1] = '\n';
    }
    report_prompt_hide(manager);
    report_text(manager, text, len > 0 ? (uint32_t)len : 0);
    report_prompt_show(manager);
}

void report_flush(struct manager *manager)
{
    uint64_t deadline = ns_to_tsc(time_host_ns() + (manager->vms + 1) * REPORT_FLUSH_NS);
    manager->flushed = false;
    if (manager->console_runs) {
        kcall_event_signal(manager->console_event, CONSOLE_BIT_FLUSH);
    }
    while (manager->console_runs && !manager->flushed) {
        uint64_t bits;
        if (kcall_event_wait(manager->event, CONSOLE_BIT_FLUSHED | MANAGER_BIT_CONSOLE, deadline,
                             &bits) != OK) {
            return;
        }
        manager->flushed = (bits & CONSOLE_BIT_FLUSHED) != 0;
        manager->console_runs = (bits & MANAGER_BIT_CONSOLE) == 0;
    }
}

const char *report_status(int64_t status)
{
    static const char *const words[] = {
        "no error", "the kernel does not know the call", "a handle is stale", "a right is missing",
        "a number is out of range", "there is not enough memory", "the quota is used up",
        "it is in use", "it took too long", "a table is full", "it is in the wrong state",
        "the object was destroyed meanwhile",
    };
    size_t index = status <= 0 ? (size_t)-status : 0;
    return index < sizeof(words) / sizeof(words[0]) ? words[index] : "unknown error";
}

// Takes what is new; the kernel gives each byte once. -> where in the copy it begins
static uint32_t kernel_log_fetch(struct manager_log *log)
{
    uint32_t start = log->len;
    for (;;) {
        if (log->len > sizeof(log->text) / 2) {
            // The older half goes.
            uint32_t gone = log->len / 2;
            memmove(log->text, log->text + gone, log->len - gone);
            log->len -= gone;
            start = start > gone ? start - gone : 0;
        }
        int64_t got = kcall_system_log(BOOT_HANDLE_SYSTEM, log->text + log->len,
                                       sizeof(log->text) / 2 - 1);
        if (got <= 0) {
            return start;
        }
        log->len += (uint32_t)got;
    }
}

void report_kernel_log(struct manager *manager, bool all)
{
    const struct manager_log *log = &manager->kernel_log;
    uint32_t at = kernel_log_fetch(&manager->kernel_log);
    if (all) {
        at = 0;
    }
    while (at < log->len) {
        const char *end = memchr(log->text + at, '\n', log->len - at);
        uint32_t part = end != NULL ? (uint32_t)(end - (log->text + at)) : log->len - at;
        report(manager, "kernel: %.*s\n", (int)part, log->text + at);
        at += part + 1;
    }
}

void report_kernel_log_skip(struct manager *manager)
{
    kernel_log_fetch(&manager->kernel_log);
}

bool report_kernel_log_again(const struct manager *manager)
{
    const struct config *config = &manager->config;
    return config->log == CONFIG_LOG_DEBUG || config->console.kind == CONFIG_CONSOLE_PCI ||
           (config->console.kind == CONFIG_CONSOLE_PORT && config->console.port != CONFIG_COM1);
}

void report_free_memory(struct manager *manager, const char *prefix)
{
    struct system_info info;
    if (kcall_system_info(BOOT_HANDLE_SYSTEM, &info) == OK) {
        report(manager, "%s%u MB of %u MB free\n", prefix, (unsigned)(info.frames_free >> 8),
               (unsigned)(info.frames_total >> 8));
    }
}

void report_audit(struct manager *manager)
{
    uint64_t frames = 0;
    int64_t status = kcall_system_audit(BOOT_HANDLE_SYSTEM, &frames);
    if (status == OK) {
        report(manager, "isolation audit: %llu frames, no frame reachable from two VMs\n",
               (unsigned long long)frames);
    } else {
        report(manager, "ISOLATION AUDIT FAILED: %s (%lld) after %llu frames\n",
               report_status(status), (long long)status, (unsigned long long)frames);
    }
}
