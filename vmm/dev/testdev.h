// SPDX-License-Identifier: BSD-2-Clause
//
// The test board: what kernels under test use to end the machine, to raise interrupt lines and to
// have their accesses looked at. Only a VM with `testdev = yes` has it.
//
//   0x0E0-0E3   echo: a doubleword that keeps what is written, its bytes at their ports
//   0x0E4-0E7   a write has no effect; reads 0
//   0x0F4-0F7   exit: a write of V ends the VM, with the status (V << 1 | 1) & 0xFF; reads 0
//   0x2000+N    a write of a byte sets line N, 0 to 23: high if it is not 0; reads all ones
//   0x8900      the bytes of "Shutdown" in a row power the VM off; reads all ones
//   0xFF000000  64 KB that keep what is written, by accesses that exit
//   BENCH_PORT, BENCH_MMIO_BASE: registers for measurements (scratch.h); so is the text window's
//   (vmm/board/demand.h), which is there whenever this board is
//
// Ports and effects are those of QEMU's devices pc-testdev and isa-debug-exit; 0x8900 is
// the shutdown port of Bochs, and was QEMU's.
// Owned by the VMM's only thread, on whichever core that runs; no lock.
#pragma once

#include "vmm/board/bus.h"
#include "vmm/board/irq.h"
#include "vmm/dev/power.h"
#include "vmm/dev/scratch.h"

enum {
    TESTDEV_ECHO = 0xE0,
    TESTDEV_FLUSH = 0xE4,
    TESTDEV_EXIT = 0xF4,
    TESTDEV_LINE = 0x2000,
    TESTDEV_SHUTDOWN = 0x8900,
    TESTDEV_LINES = 24,
};
#define TESTDEV_RAM_BASE 0xFF000000ULL
#define TESTDEV_RAM_SIZE 0x10000ULL

struct testdev {
    struct scratch echo, bench_port, bench_mmio;
    struct irq_line line[TESTDEV_LINES];
    uint32_t high;         // which of them are
    unsigned letters;      // of "Shutdown" that have come in a row
    bool exited;           // something has been written to the exit port
    uint32_t exit_value;   // the first of it
    uint8_t *ram;          // TESTDEV_RAM_SIZE bytes of the board's maker
    struct power_sink power;
};

void testdev_init(struct testdev *test, uint8_t *ram, const struct irq_line line[TESTDEV_LINES],
                  struct power_sink power);

// All lines low, no letter come, registers 0. What is in the memory stays.
void testdev_reset(struct testdev *test);

// Claims all of the above but the text window's register, BENCH_PORT last.
bool testdev_register(struct testdev *test, struct bus *bus);

// What a QEMU that was ended so would leave to who started it.
static inline uint8_t testdev_status(const struct testdev *test)
{
    return (uint8_t)(test->exit_value << 1 | 1);
}
