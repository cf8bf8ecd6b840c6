// SPDX-License-Identifier: BSD-2-Clause
//
// What the tests of instructions share: bytes for the decoder and for the CPU, a device that is
// memory, and the names of the status flags.
#pragma once

#include "guest.h"

#include "vmm/cpu/insn.h"

enum { DEVICE = 0xFEB00000 };
enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800 };
enum { ALL = CF | PF | AF | ZF | SF | OF, LOGIC = ALL & ~AF };

static inline void make_code(struct insn_code *code, const uint8_t *bytes, unsigned length)
{
    uint8_t padded[16] = { 0 };

    memcpy(padded, bytes, length);
    memcpy(&code->low, padded, 8);
    memcpy(&code->high, padded + 8, 8);
    code->count = INSN_BYTES;
}

// Code that the CPU can execute, with room for an instruction in it; NULL: there is no memory.
static inline uint8_t *executable_copy(const uint8_t *start, const uint8_t *end)
{
    uint8_t *copy = guest_map(4096, 1);

    if (copy != NULL)
        memcpy(copy, start, (size_t)(end - start));
    return copy;
}

// What follows in its 16 bytes are NOPs.
static inline void executable_insn(uint8_t *at, const uint8_t *bytes, unsigned length)
{
    memset(at, 0x90, 16);
    memcpy(at, bytes, length);
}

// `dev` is its bytes.
static inline uint64_t device_read(void *dev, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, (uint8_t *)dev + offset, size);
    return value;
}

static inline enum bus_result device_write(void *dev, uint64_t offset, unsigned size,
                                           uint64_t value)
{
    memcpy((uint8_t *)dev + offset, &value, size);
    return BUS_OK;
}

static const struct device_ops device_ops = {
    .name = "memory", .max_size = 8, .read = device_read, .write = device_write,
};
