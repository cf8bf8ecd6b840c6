// SPDX-License-Identifier: BSD-2-Clause
// The real page tables of x86 on host memory: what stands in the entries, that walks find what was
// mapped and nothing else, that work comes in pieces, and that every table comes back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "kernel/arch/x86/x86.h"
static char *ram; // hpa 0
#undef DIRECT_MAP
#define DIRECT_MAP ((uint64_t)ram)
#include "kernel/arch/x86/paging.c" // NOLINT(bugprone-suspicious-include)

#define RAM_BYTES (64ull << 20)
#define GPA_FAR   (1ull << 39)
#define HPA_FAR   (1ull << 40) // of leaves, which are not looked at
#define MB        (1ull << 20)

static struct hvm_ops ops;
const struct hvm_ops *hvm = &ops;
uint8_t idt[4096];
char kernel_start[1], kernel_rodata[1], kernel_data[1], kernel_end[1];
bool page_1g;
struct mitigations mitigations;
struct features features;
uint64_t cr3_kernel;
static struct space space;
static struct process payer;
static uint64_t free_before;

enum status cr3_make(struct space *s)
{
    s->arch.cr3 = s->arch.root.v;
    return OK;
}
void cr3_unmake(struct space *s) { s->arch.cr3 = 0; }
void cr3_flush(struct space *s) { (void)s; }
void window_init(uint64_t *first) { (void)first; }
bool process_charge(struct process *p, uint64_t bytes)
{
    if (p->used + bytes > p->quota)
        return false;
    p->used += bytes;
    return true;
}
void process_uncharge(struct process *p, uint64_t bytes) { p->used -= bytes; }
void panic(const char *format, ...)
{
    print_error("%s\n", format);
    abort();
}

static struct hpa shared; // the kernel's root, of which a process's has the upper half

static void begin(bool is_vm)
{
    space = (struct space){ .owner_id = 7, .is_vm = is_vm, .payer = &payer };
    kernel_space.arch.root = shared;
    assert_int_equal(arch_space_init(&space), OK);
    kernel_space.arch.root = HPA(0); // the kernel's map is not made here
}

static void start(bool is_vm)
{
    ram = aligned_alloc(PAGE_2M, RAM_BYTES);
    memset(ram, 0x5a, RAM_BYTES);
    frames_init(HPA(MB), RAM_BYTES / PAGE_SIZE);
    frames_add(HPA(2 * MB), 62 * MB / PAGE_SIZE);
    free_before = frames_count_free();
    page_1g = true;
    mitigations.itlb_multihit = false;
    payer = (struct process){ .quota = RAM_BYTES };
    assert_int_equal(table_new(&kernel_space, &shared), OK);
    free_before = frames_count_free();
    begin(is_vm);
}
static int start_vm(void **state)
{
    (void)state;
    start(true);
    return 0;
}
static int start_process(void **state)
{
    (void)state;
    start(false);
    return 0;
}
static int stop(void **state)
{
    (void)state;
    while (!arch_space_free(&space))
        continue;
    assert_int_equal(payer.used, 0);
    assert_int_equal(frames_count_free(), free_before);
    free(ram);
    return 0;
}
#define VM(test)      cmocka_unit_test_setup_teardown(test, start_vm, stop)
#define PROCESS(test) cmocka_unit_test_setup_teardown(test, start_process, stop)

static unsigned map_all(uint64_t address, uint64_t hpa, uint64_t bytes, uint8_t prot)
{
    unsigned pieces = 0;
    for (uint64_t done = 0; done < bytes; pieces++) {
        uint64_t before = done;
        assert_int_equal(arch_map(&space, address, HPA(hpa), bytes, prot, &done), OK);
        assert_true(done > before);
    }
    return pieces;
}

static unsigned unmap_all(uint64_t address, uint64_t bytes)
{
    unsigned pieces = 1;
    for (uint64_t at = address; !arch_unmap(&space, &at, address + bytes); pieces++)
        assert_in_range(at, address, address + bytes - 1);
    return pieces;
}

static uint64_t entry_of(uint64_t address, unsigned *level)
{
    return *entry_find(&space, address, 0, level);
}

static void test_guest_entries(void **state)
{
    (void)state;
    unsigned level;
    map_all(0, HPA_FAR, 3 * PAGE_1G, 7);
    assert_int_equal(entry_of(PAGE_1G, &level), (HPA_FAR + PAGE_1G) | 7 | 6 << 3 | 1 << 6 | 1 << 7);
    assert_int_equal(level, 2);
    map_all(GPA_FAR, HPA_FAR + 4096, 8192, PROT_READ);
    assert_int_equal(entry_of(GPA_FAR + 4096, &level), (HPA_FAR + 8192) | 1 | 6 << 3 | 1 << 6);
    assert_int_equal(level, 0);
}

// With large pages that may not be fetched from, the first fetch makes small ones that may, of
// those that may be executed at all, and no others.
static void test_split(void **state)
{
    (void)state;
    unsigned level;
    struct hpa where;
    uint8_t prot;
    uint64_t left;
    mitigations.itlb_multihit = true;
    map_all(0, HPA_FAR, 2 * PAGE_1G, 7);
    map_all(4 * PAGE_1G, HPA_FAR + PAGE_2M, PAGE_2M, PROT_READ | PROT_WRITE);
    uint64_t used = payer.used;
    assert_true(arch_walk(&space, 5 * PAGE_2M + 4097, &where, &prot, &left));
    assert_int_equal(prot, PROT_READ | PROT_WRITE);
    assert_int_equal(paging_split(&space, 5 * PAGE_2M + 4097), OK);
    assert_int_equal(payer.used, used + 2 * PAGE_SIZE);
    for (uint64_t a = 0; a < PAGE_1G; a += 4096) {
        uint64_t e = entry_of(a, &level);
        bool small = a / PAGE_2M == 5;
        assert_int_equal(level, small ? 0 : 1);
        assert_int_equal(!!(e & 4), small);
        assert_true(arch_walk(&space, a, &where, &prot, &left));
        assert_int_equal(where.v, HPA_FAR + a);
        assert_int_equal(prot & ~PROT_EXEC, PROT_READ | PROT_WRITE);
    }
    assert_int_equal(paging_split(&space, 5 * PAGE_2M), OK); // again: there is nothing to do
    assert_int_equal(payer.used, used + 2 * PAGE_SIZE);
    assert_int_equal(paging_split(&space, 4 * PAGE_1G), ERR_RANGE); // never executable
    assert_int_equal(paging_split(&space, 3 * PAGE_1G), ERR_RANGE); // nothing there
    payer.quota = payer.used;
    assert_int_equal(paging_split(&space, PAGE_1G), ERR_QUOTA);
    unmap_all(0, 2 * PAGE_1G);
    assert_false(arch_walk(&space, 5 * PAGE_2M, &where, &prot, &left));
}

// What is not aligned takes small pages, 8 GB of it: many pieces. The tables stay and serve again.
static void test_pieces(void **state)
{
    (void)state;
    unsigned pieces = map_all(4096, HPA_FAR, 8 * PAGE_1G, 3);
    assert_true(pieces >= 8 * PAGE_1G / PAGE_SIZE * COST_ENTRY / (PIECE + 512 * COST_ENTRY));
    assert_in_range(payer.used / PAGE_SIZE, 4096 + 8, 4096 + 16);
    pieces = unmap_all(4096, 8 * PAGE_1G);
    assert_true(pieces >= 8 * PAGE_1G / PAGE_SIZE * COST_ENTRY / (PIECE + 512 * COST_ENTRY));
    uint64_t used = payer.used;
    map_all(4096, HPA_FAR, 8 * PAGE_1G, 3);
    assert_int_equal(payer.used, used);
    unmap_all(4096, 8 * PAGE_1G);
}

// Where the quota ends a map says so.
static void test_failed_map(void **state)
{
    (void)state;
    uint64_t done = 0;
    enum status status = OK;
    payer.quota = payer.used + 5 * PAGE_SIZE;
    while (status == OK)
        status = arch_map(&space, 4096, HPA(HPA_FAR), 64 * MB, 3, &done);
    assert_int_equal(status, ERR_QUOTA);
    assert_in_range(done, 4 * MB, 7 * MB);
    unmap_all(4096, done);
    // Not even one table fits behind the two upper ones.
    payer.quota = payer.used + 2 * PAGE_SIZE;
    done = 0;
    assert_int_equal(arch_map(&space, 1ull << 40, HPA(HPA_FAR), PAGE_SIZE, 3, &done), ERR_QUOTA);
    assert_int_equal(done, 0);
}

// Page by page: some in the table that was used last, and some not; with all rights.
static void test_single_pages(void **state)
{
    (void)state;
    struct hpa where;
    uint64_t left;
    uint8_t prot;
    for (unsigned i = 0; i < 64; i++) {
        uint64_t at = (i / 5 % 3) * PAGE_2M + i * PAGE_SIZE;
        uint8_t want = (uint8_t)(PROT_READ | (i & 6));
        assert_int_equal(map_all(at, HPA_FAR + i * PAGE_2M, PAGE_SIZE, want), 1);
        assert_true(arch_walk(&space, at, &where, &prot, &left));
        assert_int_equal(where.v, HPA_FAR + i * PAGE_2M);
        assert_int_equal(prot, want);
    }
    assert_int_equal(payer.used, (1 + 2 + 3) * PAGE_SIZE);
    // Nothing of a space that has ended is used for the next one.
    while (!arch_space_free(&space))
        continue;
    begin(space.is_vm);
    map_all(0, HPA_FAR, PAGE_SIZE, PROT_READ);
    assert_int_equal(payer.used, 4 * PAGE_SIZE);
}

// Against a model: regions of 4 MB, each mapped somehow or not at all.
#define REGIONS 300u
static void test_random(void **state)
{
    (void)state;
    static struct { uint64_t at, bytes, hpa; } r[REGIONS];
    memset(r, 0, sizeof(r));
    srand(3);
    for (unsigned turn = 0; turn < 4000; turn++) {
        unsigned i = (unsigned)rand() % REGIONS, level;
        uint64_t base = PAGE_2M + i * 4 * MB + (i % 7) * (1ull << 40);
        struct hpa where;
        uint8_t prot;
        uint64_t left;
        if (r[i].bytes) {
            uint64_t a = r[i].at + (uint64_t)rand() % r[i].bytes;
            assert_true(arch_walk(&space, a, &where, &prot, &left));
            assert_int_equal(where.v, r[i].hpa + (a - r[i].at));
            assert_int_equal(prot, PROT_READ | PROT_WRITE);
            if (r[i].at > base)
                assert_false(arch_walk(&space, r[i].at - 1, &where, &prot, &left));
            unmap_all(r[i].at, r[i].bytes);
            assert_int_equal(entry_of(a, &level), 0);
            r[i].bytes = 0;
        } else {
            uint64_t skip = rand() % 2 ? 0 : (uint64_t)rand() % 512 * PAGE_SIZE;
            r[i].at = base + skip;
            r[i].bytes = rand() % 2 ? PAGE_SIZE * (1 + (uint64_t)rand() % 8) : 4 * MB - skip;
            r[i].hpa = HPA_FAR + (rand() % 2 ? base + skip : (uint64_t)rand() % 512 * PAGE_SIZE);
            map_all(r[i].at, r[i].hpa, r[i].bytes, PROT_READ | PROT_WRITE);
        }
    }
    uint64_t leaves = 0, want = 0, cursor = 0, entries = 0, tables = 0;
    struct audit_item item;
    for (unsigned i = 0; i < REGIONS; i++)
        want += r[i].bytes;
    while (arch_space_next(&space, &cursor, &item)) {
        leaves += item.table ? 0 : item.bytes;
        tables += item.table;
        entries += item.bytes ? 1 : item.empty;
    }
    assert_int_equal(leaves, want);
    // None is passed over without being told, so who asks can bound what it costs.
    assert_int_equal(entries, (tables + 1) * 512);
    for (unsigned i = 0; i < REGIONS && (rand() & 1); i++) // the rest is left to stop()
        if (r[i].bytes)
            unmap_all(r[i].at, r[i].bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VM(test_guest_entries), VM(test_split), VM(test_pieces), VM(test_failed_map),
        VM(test_single_pages), VM(test_random), PROCESS(test_single_pages), PROCESS(test_pieces),
        PROCESS(test_failed_map), PROCESS(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
