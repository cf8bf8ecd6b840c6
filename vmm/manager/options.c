// SPDX-License-Identifier: BSD-2-Clause
// The words that were handed to the kernel, each of which must be known. The manager's thread only.
#include <stdio.h>
#include <string.h>
#include "vmm/manager/manager.h"

// Beside assume=NAME,...
static const char *const words[] = {
    "without=pcid", "without=x2apic", "without=tsc-deadline", "without=sysenter",
    "apicv=off", "without=posted", "trace", "many-objects", "without=exit-port",
    "panic=off", "panic=reset",
};

static const char *const faults[] = {
    "all",
#define X(name) #name,
    CPU_FAULTS(X)
#undef X
};

static bool is(const char *word, size_t length, const char *known)
{
    return strlen(known) == length && memcmp(word, known, length) == 0;
}

bool option_given(const struct boot_info *boot, const char *known)
{
    for (const char *at = boot->options; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (is(at, length, known)) {
            return true;
        }
        at += length + strspn(at + length, " ");
    }
    return false;
}

static void check_faults(struct manager *manager, const char *names, size_t length)
{
    for (const char *at = names, *end = names + length; at <= end;) {
        size_t part = strcspn(at, ", ");
        bool known = false;
        for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
            known |= is(at, part, faults[i]);
        }
        if (!known) {
            char list[160] = "";
            size_t used = 0;
            for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
                used += (size_t)snprintf(list + used, sizeof(list) - used, " %s", faults[i]);
            }
            report(manager, "kernel option assume=: there is no '%.*s'; there are%s\n", (int)part,
                   at, list);
        }
        at += part + 1;
    }
}

static void check_word(struct manager *manager, const char *word, size_t length)
{
    char list[256] = "assume=NAME,...";
    size_t used = strlen(list);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (is(word, length, words[i])) {
            return;
        }
        used += (size_t)snprintf(list + used, sizeof(list) - used, ", %s", words[i]);
    }
    report(manager, "kernel option '%.*s' is not known, and does nothing; known are %s\n",
           (int)length, word, list);
}

void options_check(struct manager *manager)
{
    static const char assume[] = "assume=";
    const size_t head = sizeof(assume) - 1;
    for (const char *at = manager->boot->options; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (length > head && memcmp(at, assume, head) == 0) {
            check_faults(manager, at + head, length - head);
        } else if (length != 0) {
            check_word(manager, at, length);
        }
        at += length + strspn(at + length, " ");
    }
}
