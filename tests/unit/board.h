// SPDX-License-Identifier: BSD-2-Clause
//
// What the device tests share: the world around a device, and accesses that must succeed.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_host.h"

static inline uint8_t in8(struct fake_host *host, uint16_t port)
{
    return (uint8_t)bus_port_read(&host->bus, port, 1);
}

static inline void out8(struct fake_host *host, uint16_t port, uint8_t value)
{
    assert_int_equal(bus_port_write(&host->bus, port, 1, value), BUS_OK);
}
