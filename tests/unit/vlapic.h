// SPDX-License-Identifier: BSD-2-Clause
//
// What the tests of the virtual local APIC share: one APIC, fresh for each test, on a page that was
// full of noise. Each test program has its own.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "kernel/arch/x86/vlapic.h"
#include "tests/unit/vlapic_map.h"

#define MSR_BASE 0x1bu
#define MASKED   0x10000u

static uint32_t page[1024] __attribute__((aligned(4096)));
static struct vlapic v;

static void start(uint32_t id, uint32_t ratio, uint64_t tsc_offset)
{
    memset(page, 0xa5, sizeof(page));
    memset(&v, 0xa5, sizeof(v));
    vlapic_init(&v, page, id, id == 0, ratio, tsc_offset);
    v.actions = 0;
}

static int setup(void **state)
{
    (void)state;
    start(0, 1, 0);
    return 0;
}

static uint32_t taken(void)
{
    uint32_t actions = v.actions;
    v.actions = 0;
    return actions;
}

static uint64_t rdmsr(uint32_t index)
{
    uint64_t value = 0;
    assert_true(vlapic_rdmsr(&v, index, 0, &value));
    return value;
}
