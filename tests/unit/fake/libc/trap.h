// SPDX-License-Identifier: BSD-2-Clause
// In place of libc/trap.h in host tests (compile with -iquote tests/unit/fake): system calls go to
// fake_trap(), which the test defines.
#pragma once
#include <stddef.h>
#include <stdint.h>

// a: the six arguments (unused ones are 0); *second: RDX. Returns RAX.
int64_t fake_trap(uint64_t number, const uint64_t a[6], uint64_t *second);

static inline int64_t trap6(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                            uint64_t e, uint64_t f)
{
    uint64_t arguments[6] = {a, b, c, d, e, f};
    uint64_t second = 0;
    return fake_trap(number, arguments, &second);
}

static inline int64_t trap3(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t *second)
{
    uint64_t arguments[6] = {a, b, c};
    *second = 0;
    return fake_trap(number, arguments, second);
}

static inline int64_t trap2(uint64_t number, uint64_t a, uint64_t b, uint64_t *second)
{
    return trap3(number, a, b, 0, second);
}

static inline int64_t trap1(uint64_t number, uint64_t a)
{
    return trap6(number, a, 0, 0, 0, 0, 0);
}

static inline int64_t trap0(uint64_t number)
{
    return trap6(number, 0, 0, 0, 0, 0, 0);
}
