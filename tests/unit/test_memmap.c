// SPDX-License-Identifier: BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "kernel/abi/syscall.h"
#include "kernel/arch/x86/memmap.h"

static struct memmap m;

static int setup(void **state)
{
    (void)state;
    memset(&m, 0, sizeof(m));
    return 0;
}

static void is(uint32_t i, uint64_t base, uint64_t end)
{
    assert_true(i < m.count);
    assert_int_equal(m.range[i].base, base);
    assert_int_equal(m.range[i].end, end);
}

static uint64_t total(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m.count; i++) {
        assert_true(m.range[i].base < m.range[i].end);
        assert_true(i == 0 || m.range[i - 1].end < m.range[i].base);
        sum += m.range[i].end - m.range[i].base;
    }
    return sum;
}

static void test_sorts_and_joins(void **state)
{
    (void)state;
    memmap_add(&m, 0x9000, 0xa000);
    memmap_add(&m, 0x1001, 0x4fff); // inwards
    memmap_add(&m, 0x20000, 0x30000);
    assert_int_equal(m.count, 3);
    is(0, 0x2000, 0x4000);
    memmap_add(&m, 0x4000, 0x9000); // touches both
    assert_int_equal(m.count, 2);
    is(0, 0x2000, 0xa000);
    memmap_add(&m, 0x8000, 0x28000); // overlaps both: no frame is in it twice
    assert_int_equal(m.count, 1);
    is(0, 0x2000, 0x30000);
    memmap_add(&m, 0x5000, 0x5fff);
    memmap_add(&m, 0x7000, 0x6000);
    memmap_add(&m, UINT64_MAX - 5, UINT64_MAX);
    assert_int_equal(m.count, 1);
    assert_int_equal(m.top, 0x30000);
}

static void test_cuts(void **state)
{
    (void)state;
    memmap_add(&m, 0x10000, 0x20000);
    memmap_cut(&m, 0x14001, 0x14002); // outwards
    is(0, 0x10000, 0x14000);
    is(1, 0x15000, 0x20000);
    memmap_cut(&m, 0x1f000, UINT64_MAX);
    memmap_cut(&m, 0, 0x11000);
    is(0, 0x11000, 0x14000);
    is(1, 0x15000, 0x1f000);
    memmap_cut(&m, 0x13000, 0x16000);
    is(0, 0x11000, 0x13000);
    is(1, 0x16000, 0x1f000);
    memmap_cut(&m, 0x12000, 0x12000); // nothing
    assert_int_equal(total(), 0xb000);
    memmap_cut(&m, 0, UINT64_MAX);
    assert_int_equal(m.count, 0);
}

// Like an EFI map with every second page reserved, the large range last: it was lost without a
// word when the table was full.
static void test_hundreds_of_ranges(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 400; i++)
        memmap_add(&m, i * 0x4000, i * 0x4000 + 0x1000);
    memmap_add(&m, 1ull << 32, 1ull << 40);
    assert_int_equal(m.count, 401);
    assert_int_equal(m.lost, 0);
    assert_int_equal(total(), 400 * 0x1000 + (1ull << 40) - (1ull << 32));
}

static void test_keeps_the_largest_and_says_what_it_loses(void **state)
{
    (void)state;
    uint64_t given = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t bytes = 0x1000 * (1 + i % 7);
        memmap_add(&m, i << 20, (i << 20) + bytes);
        given += bytes;
    }
    memmap_add(&m, 1ull << 32, 1ull << 36);
    given += (1ull << 36) - (1ull << 32);
    assert_int_equal(m.count, MEMMAP_RANGES);
    is(MEMMAP_RANGES - 1, 1ull << 32, 1ull << 36);
    assert_int_equal(total() + m.lost, given);
    // 1000/7 of each size: what was kept is the upper half of the sizes.
    for (uint32_t i = 0; i < m.count; i++)
        assert_true(m.range[i].end - m.range[i].base >= 0x4000);
}

// Any order of adds and cuts is what a bitmap says.
static void test_against_a_bitmap(void **state)
{
    (void)state;
    static uint8_t page[256];
    memset(page, 0, sizeof(page));
    srand(7);
    for (int step = 0; step < 20000; step++) {
        unsigned from = (unsigned)rand() % 256, n = (unsigned)rand() % 24;
        bool add = rand() % 3 != 0;
        if (from + n > 256)
            n = 256 - from;
        if (add)
            memmap_add(&m, from * 4096ull, (from + n) * 4096ull);
        else
            memmap_cut(&m, from * 4096ull, (from + n) * 4096ull);
        memset(page + from, add, n);
        if (step % 50)
            continue;
        uint64_t pages = 0;
        for (unsigned i = 0; i < 256; i++)
            pages += page[i];
        assert_int_equal(total(), pages * 4096);
        for (uint32_t i = 0; i < m.count; i++)
            for (uint64_t a = m.range[i].base; a < m.range[i].end; a += 4096)
                assert_true(page[a / 4096]);
    }
}

static void test_last_page(void **state)
{
    (void)state;
    assert_int_equal(memmap_last_page(&m, 0x1000, 0x9f000), 0);
    memmap_add(&m, 0, 0x1000);
    assert_int_equal(memmap_last_page(&m, 0x1000, 0x9f000), 0);
    memmap_add(&m, 0x8000, 0x9fc00);
    assert_int_equal(memmap_last_page(&m, 0x1000, 0x9f000), 0x9e000);
}

static void test_table(void **state)
{
    (void)state;
    uint64_t base;
    assert_int_equal(memmap_take_table(&m, 4, 4ull << 30, &base), 0);
    memmap_add(&m, 0x100000, 0x101000);       // too small
    memmap_add(&m, 0x200000, 8ull << 30);     // begins in what is mapped, ends beyond
    uint64_t pages = memmap_take_table(&m, 4, 4ull << 30, &base);
    assert_int_equal(pages, (8ull << 30) / 4096);
    assert_int_equal(base, 0x200000);
    is(1, 0x200000 + pages * 4, 8ull << 30);
}

// With so much RAM that no range below what is mapped can hold all entries: the largest is used as
// far as it goes.
static void test_table_without_room(void **state)
{
    (void)state;
    uint64_t base;
    memmap_add(&m, 1 << 20, 16 << 20);
    memmap_add(&m, 32 << 20, 96 << 20);
    memmap_add(&m, 4ull << 30, 1ull << 40);
    uint64_t pages = memmap_take_table(&m, 4, 4ull << 30, &base);
    assert_int_equal(base, 32 << 20);
    assert_int_equal(pages, (64 << 20) / 4);
    assert_int_equal(m.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sorts_and_joins, setup),
        cmocka_unit_test_setup(test_cuts, setup),
        cmocka_unit_test_setup(test_hundreds_of_ranges, setup),
        cmocka_unit_test_setup(test_keeps_the_largest_and_says_what_it_loses, setup),
        cmocka_unit_test_setup(test_against_a_bitmap, setup),
        cmocka_unit_test_setup(test_last_page, setup),
        cmocka_unit_test_setup(test_table, setup),
        cmocka_unit_test_setup(test_table_without_room, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
