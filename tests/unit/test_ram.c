// SPDX-License-Identifier: BSD-2-Clause
//
// A guest's RAM out of a fragmented host: the kernel's own allocator of frames with maps such as
// firmware gives, and behind it the VMM's calls. What must come out: every byte of the guest's RAM
// leads to a frame of its own, the same one for the VM and for the VMM; and memory that is free can
// be had.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/core/arch.h"
#include "vmm/ram.h"

#define KB      1024ull
#define MB      (1024 * KB)
#define GB      (1024 * MB)
#define TOP     (20 * GB)
#define BASE    0x100000000000ull
#define VM      5
#define HANDLES 1024
#define RECORDS SPACE_RECORDS_MAX

struct object_of_test {
    struct hpa base;
    uint64_t bytes;
    unsigned vm; // as `owner` was
};
struct record {
    uint64_t address, bytes, hpa;
    uint32_t prot;
};
enum { OF_VMM, OF_VM, SPACES };

static struct frame *table;
static struct object_of_test objects[HANDLES]; // the handle is the index; 0 bytes: none
static struct record records[SPACES][RECORDS];
static unsigned record_count[SPACES];
static uint64_t quota;
static unsigned creates, owner;

// What frames.c asks of its surroundings.
void *arch_ptr(struct hpa a)
{
    (void)a;
    return table;
}

void arch_own(struct hpa base, uint64_t frames)
{
    (void)base;
    (void)frames;
    abort(); // nobody here asks for the kernel's own frames
}

void panic(const char *format, ...)
{
    print_error("%s\n", format);
    abort();
}

static bool taken(uint64_t bytes, uint64_t align, struct hpa *base)
{
    return frames_alloc(bytes / PAGE_SIZE, align, 7, base);
}

// As kernel/core/memory.c does it.
static int64_t call_mem_create(uint64_t bytes, uint64_t align)
{
    struct hpa base;

    creates++;
    if (bytes == 0 || bytes % PAGE_SIZE != 0 ||
        (align != PAGE_SIZE && align != PAGE_2M && align != PAGE_1G))
        return ERR_RANGE;
    if (bytes > quota)
        return ERR_QUOTA;
    uint64_t fit = bytes >= PAGE_2M && align < PAGE_2M ? PAGE_2M : align;
    if (!taken(bytes, fit, &base) && (fit == align || !taken(bytes, align, &base)))
        return ERR_MEMORY;
    for (int64_t h = 10; h < HANDLES; h++) {
        if (objects[h].bytes == 0) {
            objects[h] = (struct object_of_test){ base, bytes, owner };
            quota -= bytes;
            return h;
        }
    }
    abort();
}

static int64_t call_map(unsigned space, uint64_t h, uint64_t offset, uint64_t bytes,
                        uint64_t address, uint32_t prot)
{
    if (h >= HANDLES || objects[h].bytes == 0)
        return ERR_HANDLE;
    if (bytes == 0 || (offset | bytes | address) % PAGE_SIZE != 0 ||
        offset >= objects[h].bytes || bytes > objects[h].bytes - offset)
        return ERR_RANGE;
    for (unsigned i = 0; i < record_count[space]; i++) {
        const struct record *r = &records[space][i];
        if (address < r->address + r->bytes && r->address < address + bytes)
            return ERR_BUSY;
    }
    if (record_count[space] == RECORDS)
        return ERR_FULL;
    records[space][record_count[space]++] =
        (struct record){ address, bytes, objects[h].base.v + offset, prot };
    return OK;
}

int64_t fake_trap(uint64_t number, const uint64_t a[6], uint64_t *second);
int64_t fake_trap(uint64_t number, const uint64_t a[6], uint64_t *second)
{
    (void)second;
    switch (number) {
    case SYS_mem_create:
        assert_int_equal(a[2], 0);
        return call_mem_create(a[0], a[1]);
    case SYS_mem_map:
        assert_int_equal(a[0], HANDLE_SELF);
        return call_map(OF_VMM, a[1], a[2], a[3], a[4], (uint32_t)a[5]);
    case SYS_vm_map:
        assert_int_equal(a[0], VM);
        return call_map(OF_VM, a[1], a[2], a[3], a[4], (uint32_t)a[5]);
    default:
        return ERR_CALL;
    }
}

static int begin(void **state)
{
    (void)state;
    table = calloc(TOP / PAGE_SIZE, sizeof(struct frame));
    assert_non_null(table);
    frames_init(HPA(0), TOP / PAGE_SIZE);
    memset(objects, 0, sizeof(objects));
    memset(record_count, 0, sizeof(record_count));
    quota = UINT64_MAX;
    creates = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(table);
    return 0;
}

static void host_has(uint64_t from, uint64_t to)
{
    frames_add(HPA(from), (to - from) / PAGE_SIZE);
}

static const struct record *record_at(unsigned space, uint64_t address)
{
    for (unsigned i = 0; i < record_count[space]; i++) {
        if (address - records[space][i].address < records[space][i].bytes)
            return &records[space][i];
    }
    return NULL;
}

static uint64_t leads_to(const struct record *r, uint64_t address)
{
    return r->hpa + (address - r->address);
}

// How far a piece of the VM's map reaches in one record, for the VM and for the VMM.
static uint64_t check_piece_at(const struct ram_piece *piece, uint64_t gpa)
{
    const struct record *own = record_at(OF_VMM, BASE + gpa), *vm = record_at(OF_VM, gpa);
    uint64_t left;

    assert_non_null(own);
    assert_int_equal(own->prot, PROT_READ | PROT_WRITE);
    left = own->address + own->bytes - BASE - gpa;
    if (piece->on_demand) {
        assert_null(vm);
        return left;
    }
    assert_non_null(vm);
    assert_int_equal(vm->prot, PROT_READ | PROT_WRITE | PROT_EXEC);
    assert_int_equal(leads_to(vm, gpa), leads_to(own, BASE + gpa));
    return left < vm->address + vm->bytes - gpa ? left : vm->address + vm->bytes - gpa;
}

static int by_hpa(const void *a, const void *b)
{
    const struct record *x = a, *y = b;

    return (x->hpa > y->hpa) - (x->hpa < y->hpa);
}

// All RAM is there, nothing else is, and no frame is there twice.
static void check_ram(const struct guest_ram *ram)
{
    struct ram_piece piece[RAM_PIECE_MAX];
    unsigned count = ram_pieces(ram, piece);
    uint64_t bytes = 0, mapped = 0;

    for (unsigned i = 0; i < count; i++) {
        for (uint64_t at = 0; at < piece[i].bytes;)
            at += check_piece_at(&piece[i], piece[i].gpa + at);
        bytes += piece[i].bytes;
    }
    for (unsigned i = 0; i < record_count[OF_VMM]; i++)
        mapped += records[OF_VMM][i].bytes;
    assert_int_equal(mapped, bytes);
    qsort(records[OF_VMM], record_count[OF_VMM], sizeof(struct record), by_hpa);
    for (unsigned i = 1; i < record_count[OF_VMM]; i++) {
        const struct record *r = &records[OF_VMM][i - 1];
        assert_true(r->hpa + r->bytes <= records[OF_VMM][i].hpa);
    }
}

// Makes a VM's RAM; its records are the last's.
static int64_t make(uint64_t bytes, struct ram_source *source)
{
    struct guest_ram ram;

    memset(record_count, 0, sizeof(record_count));
    *source = (struct ram_source){ .vm = VM };
    ram_init(&ram, (uint8_t *)BASE, bytes);
    int64_t status = ram_create(source, &ram);
    if (status == OK) {
        check_ram(&ram);
        assert_true(source->blocks <= ram_blocks_max(bytes));
    }
    return status;
}

static void destroy(handle_t h)
{
    quota += objects[h].bytes;
    frames_free(objects[h].base, objects[h].bytes / PAGE_SIZE);
    objects[h].bytes = 0;
}

static void destroy_all(void)
{
    for (handle_t h = 0; h < HANDLES; h++) {
        if (objects[h].bytes != 0)
            destroy(h);
    }
}

// Bytes of the VM's map in pages of that size or larger.
static uint64_t in_pages(uint64_t page)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < record_count[OF_VM]; i++) {
        const struct record *r = &records[OF_VM][i];
        uint64_t start = align_up(r->address, page), last = align_down(r->address + r->bytes, page);
        if (r->hpa % page == r->address % page && start < last)
            sum += last - start;
    }
    return sum;
}

static void test_one_run(void **state)
{
    struct ram_source source;
    (void)state;

    host_has(0x123000, 3 * GB);
    host_has(4 * GB, 20 * GB);
    assert_int_equal(make(256 * MB, &source), OK);
    assert_int_equal(source.blocks, 1);
    assert_int_equal(creates, 1);
    assert_int_equal(in_pages(PAGE_2M), 254 * MB);
    assert_int_equal(make(5 * GB, &source), OK);
    assert_int_equal(source.blocks, 1);
    assert_int_equal(in_pages(PAGE_1G), 4 * GB);
}

// What a PC with 4 GB has: 3 GB below the hole for devices, of which kernel and modules take some,
// and 1 GB above. Its largest run is less than 3 GB.
static void four_gb(void)
{
    host_has(0x180000, 23 * MB + 12 * KB);
    host_has(41 * MB, 3 * GB - 160 * KB);
    host_has(4 * GB, 5 * GB);
}

static void test_three_of_four(void **state)
{
    struct ram_source source;
    (void)state;

    four_gb();
    assert_int_equal(make(3 * GB, &source), OK);
    assert_in_range(source.blocks, 2, 4);
    assert_int_equal(in_pages(PAGE_2M), 3 * GB - 2 * MB);
    assert_true(in_pages(PAGE_1G) >= GB);
}

// With RAM on both sides of the guest's own hole, one block may be on both.
static void test_across_the_hole(void **state)
{
    struct ram_source source;
    (void)state;

    four_gb();
    assert_int_equal(make(3 * GB + 512 * MB, &source), OK);
    assert_non_null(record_at(OF_VM, RAM_LOW_MAX - PAGE_SIZE));
    assert_null(record_at(OF_VM, RAM_LOW_MAX));
    assert_null(record_at(OF_VM, RAM_HIGH - PAGE_SIZE));
    assert_non_null(record_at(OF_VM, RAM_HIGH));
    assert_null(record_at(OF_VM, RAM_HIGH + 512 * MB));
    destroy_all();
    host_has(6 * GB, 11 * GB);
    assert_int_equal(make(5 * GB, &source), OK);
    assert_int_equal(source.blocks, 1);
}

// Free memory is there for a VM to the last frame.
static void test_every_frame(void **state)
{
    struct ram_source source;
    (void)state;

    four_gb();
    uint64_t all = frames_count_free() * PAGE_SIZE;
    assert_int_equal(make(all + PAGE_SIZE, &source), ERR_MEMORY);
    destroy_all();
    assert_int_equal(frames_count_free() * PAGE_SIZE, all);
    assert_int_equal(make(all, &source), OK);
    assert_int_equal(frames_count_free(), 0);
    assert_true(in_pages(PAGE_2M) >= all - 8 * MB);
    assert_in_range(creates, 1, 200);
}

// A firmware's map with hundreds of ranges, most of them small, and the rest in tens of MB.
static void test_hundreds_of_ranges(void **state)
{
    struct ram_source source;
    uint64_t at = MB, large = 0;
    (void)state;

    for (unsigned i = 0; i < 500; i++) {
        uint64_t bytes = i % 5 == 0 ? 21 * MB + i * 4 * KB : 48 * KB + i * 4 * KB % (128 * KB);
        host_has(at, at + bytes);
        at += bytes + 4 * KB;
        large += bytes > 2 * MB ? bytes : 0;
    }
    assert_true(large > 2 * GB);
    assert_int_equal(make(large * 3 / 4 & ~(PAGE_SIZE - 1), &source), OK);
    assert_true(source.blocks > 50);
}

// However many runs come before the one that is large enough.
static void test_behind_many(void **state)
{
    struct ram_source source;
    (void)state;

    host_has(10 * GB, 14 * GB + 48 * MB);
    for (uint64_t i = 0; i < 900; i++)
        host_has(MB + i * 4 * MB, MB + i * 4 * MB + 3 * MB);
    assert_int_equal(make(4 * GB, &source), OK);
    assert_int_equal(source.blocks, 1);
    assert_int_equal(in_pages(PAGE_1G), 3 * GB);
    assert_int_equal(make(48 * MB, &source), OK);
    assert_int_equal(source.blocks, 1);
    // And a run that begins anywhere, behind many that begin badly.
    host_has(15 * GB + 5 * MB, 15 * GB + 8 * MB);
    assert_int_equal(make(16 * MB, &source), OK);
    assert_int_equal(source.blocks, 8);
}

// Each VM of many small ones gets its share of such a host: as long as there are runs of 2 MB for
// their first ones.
static void test_many_vms(void **state)
{
    struct ram_source source;
    unsigned made = 0;
    (void)state;

    for (uint64_t i = 0; i < 300; i++)
        host_has(MB + i * 4 * MB, MB + i * 4 * MB + 3 * MB);
    while (frames_count_free() * PAGE_SIZE >= 16 * MB && make(16 * MB, &source) == OK)
        made++;
    assert_int_equal(made, 600 / 16 + 1);
}

static void test_too_many_pieces(void **state)
{
    struct ram_source source;
    (void)state;

    for (uint64_t i = 0; i < 400; i++)
        host_has(MB + i * 4 * MB, MB + i * 4 * MB + 3 * MB);
    assert_int_equal(make(GB, &source), ERR_FULL);
    assert_int_equal(source.blocks, RAM_BLOCK_MAX);
    destroy_all();
    assert_int_equal(ram_blocks_max(4 * MB), RAM_BLOCK_SPARE + 2);
    assert_int_equal(make(128 * MB, &source), OK);
}

// Nobody looks for pieces of what he may not have.
static void test_quota(void **state)
{
    struct ram_source source;
    (void)state;

    four_gb();
    quota = 3 * GB - PAGE_SIZE;
    assert_int_equal(make(3 * GB, &source), ERR_QUOTA);
    assert_int_equal(source.blocks, 0);
    assert_in_range(creates, 1, 2);
}

// Below 2 MB addresses are offsets in the first block, wherever that lies.
static void test_first_block(void **state)
{
    struct ram_source source;
    (void)state;

    for (uint64_t i = 1; i < 30; i++)
        host_has(i * 4 * MB + MB, i * 4 * MB + 3 * MB - PAGE_SIZE);
    assert_int_equal(make(8 * MB, &source), ERR_MEMORY);
    assert_int_equal(source.blocks, 0);
    host_has(201 * MB, 203 * MB); // it does not begin on 2 MB
    assert_int_equal(make(8 * MB, &source), OK);
    assert_int_equal(objects[source.first].bytes, 2 * MB);
    assert_int_equal(record_at(OF_VM, 0)->hpa, 201 * MB);
    assert_int_equal(record_at(OF_VMM, BASE + RAM_TEXT)->hpa, 201 * MB + RAM_TEXT);
}

// VMs come and go; what is free is enough again for the next of the same size, whatever the others
// have taken in between.
static void test_again_and_again(void **state)
{
    enum { VMS = 12, ROUNDS = 300 };
    uint64_t size[VMS] = { 0 };
    (void)state;

    four_gb();
    for (uint64_t i = 0; i < 60; i++)
        host_has(6 * GB + i * 16 * MB, 6 * GB + i * 16 * MB + 5 * MB + i * 4 * KB);
    srand(1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned vm = (unsigned)rand() % VMS;
        struct ram_source source;
        for (handle_t h = 0; h < HANDLES; h++) {
            if (objects[h].bytes != 0 && objects[h].vm == vm)
                destroy(h);
        }
        if (size[vm] == 0 || rand() % 4 == 0)
            size[vm] = (4 + (uint64_t)rand() % 330) * MB + (uint64_t)rand() % 16 * PAGE_SIZE;
        owner = vm;
        assert_int_equal(make(size[vm], &source), OK);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_run),       TEST(test_three_of_four),      TEST(test_across_the_hole),
        TEST(test_every_frame),   TEST(test_hundreds_of_ranges), TEST(test_behind_many),
        TEST(test_many_vms),
        TEST(test_too_many_pieces), TEST(test_quota),            TEST(test_first_block),
        TEST(test_again_and_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
