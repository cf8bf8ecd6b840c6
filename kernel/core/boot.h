// SPDX-License-Identifier: BSD-2-Clause
// What the architecture's boot code found and tells the portable kernel. Read once by core_start().
#pragma once
#include "kernel/abi/boot.h"
#include "kernel/lib/types.h"

// The portable kernel adds what it knows itself: magic, frequency, cores and the modules' handles.
struct boot_facts {
    struct boot_info info;
    struct hpa module[BOOT_MODULE_MAX]; // page-aligned; frames up to its end are FRAME_RESERVED
    uint32_t com_gsi[2]; // the interrupts of COM1 and COM3, and of COM2 and COM4
};
