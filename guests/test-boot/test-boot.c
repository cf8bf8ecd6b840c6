// SPDX-License-Identifier: BSD-2-Clause
//
// Prints what the boot loader has told and where it has put things, and checks that it fits
// together. The same guest is built in each image format that Bulkhead loads.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/loader.h"
#include "guests/lib/pic.h"

#define PAGE_SIZE   4096u
#define RSDP_BYTES  36u

extern uint8_t image_end[];

// FNV-1a, 32 bits.
static uint32_t hash(const uint8_t *bytes, uint64_t length)
{
    uint32_t sum = 0x811C9DC5u;
    for (uint64_t i = 0; i < length; i++)
        sum = (sum ^ bytes[i]) * 0x01000193u;
    return sum;
}

static bool rsdp_is_good(uint64_t gpa)
{
    const uint8_t *rsdp = (const uint8_t *)(uintptr_t)gpa;
    uint8_t sum = 0;
    for (unsigned int i = 0; i < RSDP_BYTES; i++)
        sum = (uint8_t)(sum + rsdp[i]);
    return sum == 0 && memcmp(rsdp, "RSD PTR ", 8) == 0;
}

// The bss is not in a flat binary's file: whoever loads one must have zeroed the memory behind it.
static volatile uint8_t zeroes[65536];

static bool bss_is_zero(void)
{
    for (unsigned int i = 0; i < sizeof(zeroes); i++) {
        if (zeroes[i] != 0)
            return false;
    }
    return true;
}

static void show_modules(const struct loader_info *info)
{
    uint64_t last = (uintptr_t)image_end;
    bool aligned = true, apart = true;
    for (unsigned int i = 0; i < info->modules; i++) {
        const struct loader_module *module = &info->module[i];
        printf("module %u: %llu bytes, hash %08lx, text '%s'\n", i,
               (unsigned long long)module->bytes,
               (unsigned long)hash((const uint8_t *)(uintptr_t)module->start, module->bytes),
               module->text);
        aligned = aligned && module->start % PAGE_SIZE == 0;
        apart = apart && module->start >= last && module->start + module->bytes <= info->memory_end;
        last = module->start + module->bytes;
    }
    check(aligned, "modules begin on pages", "one of them does not");
    check(apart, "modules lie apart, behind the image and in RAM", "the last ends at 0x%llx",
          (unsigned long long)last);
}

int main(void)
{
    const struct loader_info *info = loader_info();
    bool bss = bss_is_zero();

    printf("protocol: %s, loader '%s'\n", info->protocol, info->name);
    printf("command line: '%s'\n", info->command_line);
    printf("memory: %llu KB from 1 MB, %llu KB in the map\n",
           (unsigned long long)(info->memory_end - 0x100000) >> 10,
           (unsigned long long)info->usable >> 10);
    printf("PIC masks: %04x\n", pic_found());
    show_modules(info);
    check(bss, "the bss is zero", "a byte of it is not");
    if (info->rsdp != 0)
        check(rsdp_is_good(info->rsdp), "the RSDP is one", "at 0x%llx",
              (unsigned long long)info->rsdp);
    return check_done();
}
