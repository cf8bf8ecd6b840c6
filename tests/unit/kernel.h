// SPDX-License-Identifier: BSD-2-Clause
// What the tests of the kernel's portable part share: cmocka, the fake architecture, and short
// names for common steps. The manager's thread runs on core 0.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "tests/unit/arch/fake.h"

#define MB (1ull << 20)
#define MS 1000000ull // ticks

static inline int machine(void **state, uint32_t cores)
{
    (void)state;
    fake_start(cores, 64);
    return 0;
}
static inline int machine1(void **state) { return machine(state, 1); }
static inline int machine2(void **state) { return machine(state, 2); }
static inline int machine4(void **state) { return machine(state, 4); }
static inline int machine_off(void **state)
{
    (void)state;
    fake_stop();
    return 0;
}

#define ON1(test) cmocka_unit_test_setup_teardown(test, machine1, machine_off)
#define ON2(test) cmocka_unit_test_setup_teardown(test, machine2, machine_off)
#define ON4(test) cmocka_unit_test_setup_teardown(test, machine4, machine_off)

// The record of exactly this range, or NULL.
static inline struct mapping *find_mapping(struct space *s, uint64_t address, uint64_t bytes)
{
    list_for_each(l, &s->mappings) {
        struct mapping *m = list_entry(l, struct mapping, in_space);
        if (m->address == address && m->bytes == bytes)
            return m;
    }
    return NULL;
}

// A page of user memory of the current process on that core, at USER_PAGE; the test's view of it.
#define USER_PAGE 0x10000000ull
static inline void *user_page(uint32_t core)
{
    struct process *p = cpus[core]->current->process;
    int64_t h = CALL(core, mem_create, PAGE_SIZE, PAGE_SIZE, 0);
    assert_true(h > 0);
    assert_int_equal(CALL(core, mem_map, HANDLE_SELF, h, 0, PAGE_SIZE, USER_PAGE,
                          PROT_READ | PROT_WRITE), OK);
    return fake_ptr(object_to(fake_object(p, h), memory)->base);
}
