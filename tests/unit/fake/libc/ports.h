// SPDX-License-Identifier: BSD-2-Clause
// In place of libc/ports.h in host tests: the test plays what is behind the ports.
#pragma once
#include <stdint.h>

uint32_t fake_port_in(uint16_t port);
void fake_port_out(uint16_t port, uint32_t value);

static inline uint32_t port_in32(uint16_t port)
{
    return fake_port_in(port);
}

static inline void port_out32(uint16_t port, uint32_t value)
{
    fake_port_out(port, value);
}

static inline uint8_t port_in8(uint16_t port)
{
    return (uint8_t)fake_port_in(port);
}

static inline void port_out8(uint16_t port, uint8_t value)
{
    fake_port_out(port, value);
}
