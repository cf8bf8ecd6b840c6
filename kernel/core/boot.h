// SPDX-License-Identifier: BSD-2-Clause
// What the architecture's boot code found and tells the portable kernel. Read once by core_start().
#pragma once
#include "kernel/abi/boot.h"
#include "kernel/lib/types.h"

struct boot_module_fact {
    char name[BOOT_NAME_MAX]; // module string: "bin:manager", "config:demo.conf"; ends in NUL
    struct hpa hpa;   // page-aligned; its frames up to the page's end are FRAME_RESERVED
    uint64_t bytes;
};

struct boot_facts {
    uint64_t entry_tsc;    // TSC at the kernel's entry
    uint8_t rtc[RTC_BYTES]; // the date at wall_tsc, as in struct boot_info
    uint64_t wall_tsc;
    uint16_t log_port;     // the log's serial port: first of eight ports; and its interrupt
    uint32_t log_gsi;
    uint32_t modules;
    struct boot_module_fact module[BOOT_MODULE_MAX];
};
