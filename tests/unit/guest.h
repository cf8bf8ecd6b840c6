// SPDX-License-Identifier: BSD-2-Clause
//
// Guest memory for the tests of the VMM: address space without cost until it is touched, laid out
// as the board lays it out.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/board/memory.h"

// guest.c: zeroed pages that take no memory until they are touched.
void *guest_map(size_t bytes, int executable);
void guest_unmap(void *base, size_t bytes);
// Its pages are as when they were mapped.
void guest_clear(void *base, size_t bytes);

static inline uint64_t guest_span(uint64_t bytes)
{
    return bytes > RAM_LOW_MAX ? RAM_HIGH + bytes - RAM_LOW_MAX : bytes;
}

static inline void guest_ram_new(struct guest_ram *ram, uint64_t bytes)
{
    void *base = guest_map(guest_span(bytes), 0);

    assert_non_null(base);
    ram_init(ram, base, bytes);
}

static inline void guest_ram_free(struct guest_ram *ram)
{
    uint64_t bytes = ram->low_end + (ram->high_end - RAM_HIGH);

    guest_unmap(ram->base, guest_span(bytes));
}

static inline uint64_t guest_get(const struct guest_ram *ram, uint64_t gpa, unsigned size)
{
    const void *at = ram_at(ram, gpa, size);
    uint64_t value = 0;

    assert_non_null(at);
    memcpy(&value, at, size);
    return value;
}

static inline void guest_put(const struct guest_ram *ram, uint64_t gpa, unsigned size,
                             uint64_t value)
{
    assert_true(ram_write(ram, gpa, &value, size));
}
