// SPDX-License-Identifier: BSD-2-Clause
// The monitor's `sample`: what VMs have run, looked at every few milliseconds and told afterwards,
// so that the console is quiet meanwhile. State: manager->sample; the manager's thread only.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

#define PAIRS_PER_LINE 8u

// Cuts the word at *rest off, which is followed by `end`, and moves *rest behind it.
static char *cut(char **rest, char end)
{
    char *word = *rest, *at = strchr(word, end);
    if (at != NULL) {
        *at++ = '\0';
    }
    *rest = at != NULL ? at : word + strlen(word);
    return word;
}

// -> 1..most, or 0
static uint32_t number(const char *word, uint32_t most)
{
    char *end;
    unsigned long value = strtoul(word, &end, 10);
    return word[0] >= '0' && word[0] <= '9' && *end == '\0' && value <= most ? (uint32_t)value : 0;
}

// A point of the series. A VM that has ended runs no more.
static void take_point(struct manager *manager)
{
    struct manager_sample *sample = &manager->sample;
    uint32_t at = sample->taken++;
    struct vcpu_stats stats;
    if (at > 0) {
        sample->point[at] = sample->point[at - 1];
    } else {
        memset(&sample->point[0], 0, sizeof(sample->point[0]));
    }
    for (uint32_t k = 0; k < sample->vms; k++) {
        sample->point[at].tsc[k] = tsc_read();
        if (list_counters(&manager->vm[sample->vm[k]], &stats) != 0) {
            sample->point[at].tsc[k] = stats.now;
            sample->point[at].run[k] = stats.run_tsc;
        }
    }
}

static void tell_vm(struct manager *manager, uint32_t index)
{
    const struct manager_sample *sample = &manager->sample;
    const char *name = manager->vm[sample->vm[index]].config->name;
    char text[PAIRS_PER_LINE * 44] = "";
    uint32_t len = 0;
    for (uint32_t i = 1; i < sample->taken; i++) {
        len += (uint32_t)snprintf(
            text + len, sizeof(text) - len, " %llu:%llu",
            (unsigned long long)(sample->point[i].tsc[index] - sample->point[i - 1].tsc[index]),
            (unsigned long long)(sample->point[i].run[index] - sample->point[i - 1].run[index]));
        if (i % PAIRS_PER_LINE == 0 || i + 1 == sample->taken) {
            report(manager, "sample %s:%s\n", name, text);
            len = 0;
        }
    }
}

static uint64_t when(const struct manager_sample *sample)
{
    return sample->start_tsc + sample->taken * sample->period_tsc;
}

void sample_start(struct manager *manager, const char *argument)
{
    struct manager_sample *sample = &manager->sample;
    char text[sizeof(manager->monitor.text)], *rest = text;
    snprintf(text, sizeof(text), "%s", argument);
    char *names = cut(&rest, ' ');
    uint32_t ms = number(cut(&rest, ' '), SAMPLE_MS_MAX), count = number(rest, SAMPLE_COUNT_MAX);
    if (ms == 0 || count == 0) {
        report(manager,
               "usage: sample NAME[,NAME...] MS COUNT: MS from 1 to %u, COUNT from 1 to %u\n",
               SAMPLE_MS_MAX, SAMPLE_COUNT_MAX);
        return;
    }
    sample->vms = 0;
    while (*names != '\0') {
        int index = list_find_running(manager, cut(&names, ','));
        if (index < 0 || sample->vms == SAMPLE_VMS_MAX) {
            if (index >= 0) {
                report(manager, "at most %u VMs are sampled at a time\n", SAMPLE_VMS_MAX);
            }
            sample->vms = 0;
            return;
        }
        sample->vm[sample->vms++] = (uint32_t)index;
    }
    sample->count = count;
    sample->taken = 0;
    sample->period_tsc = ns_to_tsc(ms * 1000000ull);
    sample->start_tsc = tsc_read();
    take_point(manager);
    report(manager, "sampling %u times, every %u ms\n", (unsigned)count, (unsigned)ms);
}

uint64_t sample_run(struct manager *manager)
{
    struct manager_sample *sample = &manager->sample;
    if (sample->vms == 0) {
        return 0;
    }
    if (tsc_read() >= when(sample)) {
        take_point(manager);
    }
    if (sample->taken <= sample->count) {
        return when(sample);
    }
    report(manager, "sampled, in ticks as passed:run\n");
    for (uint32_t i = 0; i < sample->vms; i++) {
        tell_vm(manager, i);
    }
    report(manager, "sample: done\n");
    sample->vms = 0;
    return 0;
}
