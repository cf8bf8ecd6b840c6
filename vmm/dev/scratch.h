// SPDX-License-Identifier: BSD-2-Clause
//
// A register without a function: it reads back what was written last. The POST code port is one;
// others are on the test board, as the port and the MMIO page that an access is measured with.
// Owned by the VMM's only thread; no lock.
#pragma once

#include "vmm/board/bus.h"

enum {
    POST_PORT = 0x80,
    BENCH_PORT = 0xB0F,
};
#define BENCH_MMIO_BASE 0xFED40000ULL
#define BENCH_MMIO_SIZE 0x1000ULL

struct scratch {
    uint32_t value;
};

// Claims one port; four ports, for a byte each; or a range of memory whose every doubleword is the
// register.
bool scratch_register_port(struct scratch *scratch, struct bus *bus, uint16_t port);
bool scratch_register_ports(struct scratch *scratch, struct bus *bus, uint16_t port);
bool scratch_register_mmio(struct scratch *scratch, struct bus *bus, uint64_t base, uint64_t size);
