// SPDX-License-Identifier: BSD-2-Clause
//
// Guest memory and page walks: the layout with its holes, and each paging mode with its faults.
#include "guest.h"

#include "vmm/cpu/walk.h"

#define CR0_PG_WP 0x80010001ull
#define CR4_PAE   0x20ull
#define EFER_LONG 0x500ull
#define EFER_NXE  0x800ull
#define NX        (1ull << 63)

static void test_layout(void **state)
{
    struct guest_ram ram;
    (void)state;

    ram_init(&ram, NULL, (64ull << 20) + 123);
    assert_int_equal(ram.low_end, 64 << 20);
    assert_int_equal(ram.high_end, RAM_HIGH);
    ram_init(&ram, NULL, 4ull << 30);
    assert_int_equal(ram.low_end, RAM_LOW_MAX);
    assert_int_equal(ram.high_end, RAM_HIGH + (1ull << 30));
}

static void test_pieces_cover_what_is_accessible(void **state)
{
    struct ram_piece piece[RAM_PIECE_MAX];
    struct guest_ram ram;
    uint64_t end = 0;
    (void)state;

    ram_init(&ram, (uint8_t *)0x1000, 5ull << 30);
    unsigned count = ram_pieces(&ram, piece);
    assert_int_equal(count, 5);
    for (unsigned i = 0; i < count; i++) {
        assert_true(piece[i].gpa >= end && piece[i].bytes > 0);
        assert_non_null(ram_at(&ram, piece[i].gpa, piece[i].bytes));
        assert_null(ram_at(&ram, piece[i].gpa + piece[i].bytes - 1,
                           i == 2 ? ~0ull : 2)); // pieces 2 and 3 touch each other
        assert_int_equal(piece[i].on_demand, piece[i].gpa == RAM_TEXT);
        end = piece[i].gpa + piece[i].bytes;
    }
    assert_int_equal(piece[3].gpa % PAGE_2M, 0);
    assert_int_equal(piece[4].offset % PAGE_1G, 0);
    assert_int_equal(piece[4].offset + piece[4].bytes, 5ull << 30);
}

static void test_bounds(void **state)
{
    struct guest_ram ram;
    (void)state;

    ram_init(&ram, (uint8_t *)0x1000, 16 << 20);
    assert_non_null(ram_at(&ram, 0, RAM_BASE_END));
    assert_null(ram_at(&ram, 0, RAM_BASE_END + 1));
    assert_null(ram_at(&ram, RAM_BASE_END, 1));
    assert_non_null(ram_at(&ram, RAM_TEXT, 0x8000));
    assert_null(ram_at(&ram, RAM_TEXT_END, 1));
    assert_null(ram_at(&ram, RAM_TABLES - 1, 2));
    assert_non_null(ram_at(&ram, RAM_TABLES, 1 << 20));
    assert_non_null(ram_at(&ram, (16 << 20) - 1, 1));
    assert_null(ram_at(&ram, (16 << 20) - 1, 2));
    assert_null(ram_at(&ram, (16 << 20) - 1, ~0ull));
    assert_null(ram_at(&ram, RAM_HIGH, 1));
    assert_null(ram_at(&ram, ~0ull, 1));
    assert_null(ram_at(&ram, ~0ull, ~0ull));
}

static void test_e820_has_no_overlap(void **state)
{
    struct e820_entry entry[E820_MAX];
    struct guest_ram ram;
    uint64_t usable = 0;
    (void)state;

    ram_init(&ram, NULL, 4ull << 30);
    unsigned count = ram_e820(&ram, entry);
    for (unsigned i = 0; i < count; i++) {
        if (entry[i].type == E820_RAM)
            usable += entry[i].bytes;
        if (i > 0)
            assert_true(entry[i].base >= entry[i - 1].base + entry[i - 1].bytes);
    }
    assert_int_equal(usable, (4ull << 30) - 0x100000 + RAM_EBDA);
}

struct fixture {
    struct guest_ram ram;
    struct vm_exit exit;
    struct guest_fault fault;
    uint64_t gpa;
};

static void begin(struct fixture *f, uint64_t cr4, uint64_t efer)
{
    memset(f, 0, sizeof(*f));
    guest_ram_new(&f->ram, 16 << 20);
    f->exit.cpu = (struct vm_exit_cpu){ .cr0 = CR0_PG_WP, .cr3 = 0x200000, .cr4 = cr4,
                                        .efer = efer, .code_size = 8 };
}

static bool go(struct fixture *f, uint64_t gva, enum walk_access access)
{
    f->gpa = 0;
    return walk(&f->ram, &f->exit, gva, access, &f->gpa, &f->fault);
}

static void expect_fault(struct fixture *f, uint64_t gva, enum walk_access access, uint32_t error)
{
    assert_false(go(f, gva, access));
    assert_int_equal(f->fault.vector, VECTOR_PF);
    assert_int_equal(f->fault.error, error);
    assert_int_equal(f->fault.address, gva);
}

// 4 levels: 0x200000 -> 0x201000 -> 0x202000 -> 0x203000; index 1 at each level.
static const uint64_t gva4 = (1ull << 39) | (1ull << 30) | (1ull << 21) | (1ull << 12) | 0x123;

static void map4(struct fixture *f, uint64_t rights, uint64_t leaf)
{
    for (uint64_t i = 0; i < 3; i++)
        guest_put(&f->ram, 0x200008 + i * 0x1000, 8, (0x201000 + i * 0x1000) | rights);
    guest_put(&f->ram, 0x203008, 8, leaf);
}

static void test_four_levels(void **state)
{
    struct fixture f;
    (void)state;

    begin(&f, CR4_PAE, EFER_LONG);
    map4(&f, 7, 0x345000 | 7);
    assert_true(go(&f, gva4, WALK_FETCH));
    assert_int_equal(f.gpa, 0x345123);
    assert_int_equal(guest_get(&f.ram, 0x203008, 8), 0x345007); // a fetch leaves no marks
    assert_true(go(&f, gva4, WALK_READ));
    assert_int_equal(guest_get(&f.ram, 0x203008, 8), 0x345027);
    assert_true(go(&f, gva4, WALK_WRITE));
    assert_int_equal(guest_get(&f.ram, 0x203008, 8), 0x345067);
    assert_int_equal(guest_get(&f.ram, 0x200008, 8), 0x201027);
    expect_fault(&f, gva4 + 0x1000, WALK_WRITE, 2);
    // Large pages.
    guest_put(&f.ram, 0x202008, 8, 0x800000 | 0x87);
    assert_true(go(&f, gva4, WALK_READ));
    assert_int_equal(f.gpa, 0x801123);
    guest_put(&f.ram, 0x201008, 8, 0x40000000 | 0x87);
    assert_true(go(&f, gva4, WALK_READ));
    assert_int_equal(f.gpa, 0x40201123);
    guest_ram_free(&f.ram);
}

static void test_rights(void **state)
{
    struct fixture f;
    (void)state;

    begin(&f, CR4_PAE, EFER_LONG | EFER_NXE);
    map4(&f, 7, 0x345000 | 5 | NX);
    assert_true(go(&f, gva4, WALK_READ));
    expect_fault(&f, gva4, WALK_WRITE, 3);
    expect_fault(&f, gva4, WALK_FETCH, 0x11);
    f.exit.cpu.cr0 &= ~0x10000ull; // WP off: the kernel may write anywhere
    assert_true(go(&f, gva4, WALK_WRITE));
    f.exit.cpu.cpl = 3;
    expect_fault(&f, gva4, WALK_WRITE, 7);
    map4(&f, 3, 0x345000 | 7);
    expect_fault(&f, gva4, WALK_READ, 5);
    // SMEP and SMAP.
    map4(&f, 7, 0x345000 | 7);
    f.exit.cpu.cpl = 0;
    f.exit.cpu.cr4 |= 3ull << 20;
    expect_fault(&f, gva4, WALK_FETCH, 0x11);
    expect_fault(&f, gva4, WALK_READ, 1);
    f.exit.rflags |= 1ull << 18;
    assert_true(go(&f, gva4, WALK_READ));
    guest_ram_free(&f.ram);
}

static void test_reserved(void **state)
{
    struct fixture f;
    (void)state;

    begin(&f, CR4_PAE, EFER_LONG);
    map4(&f, 7, 0x345000 | 7 | NX);
    expect_fault(&f, gva4, WALK_READ, 9);      // NX without NXE
    guest_put(&f.ram, 0x200008, 8, 0x201087);  // PS at the top
    expect_fault(&f, gva4, WALK_READ, 9);
    f.exit.cpu.cr3 = 0x7FFFF000;               // tables where no memory is
    expect_fault(&f, gva4, WALK_READ, 9);
    assert_false(go(&f, 1ull << 47, WALK_READ)); // not canonical
    assert_int_equal(f.fault.vector, VECTOR_GP);
    assert_false(go(&f, 0xFFFEull << 48, WALK_READ));
    guest_ram_free(&f.ram);
}

static void test_other_modes(void **state)
{
    struct fixture f;
    (void)state;

    // Five levels: one more table in front.
    begin(&f, CR4_PAE | 1 << 12, EFER_LONG);
    map4(&f, 7, 0x345000 | 7);
    f.exit.cpu.cr3 = 0x210000;
    guest_put(&f.ram, 0x210000, 8, 0x200007);
    assert_true(go(&f, gva4, WALK_READ));
    assert_int_equal(f.gpa, 0x345123);

    // PAE: directory pointers at a 32-byte boundary, without rights.
    f.exit.cpu = (struct vm_exit_cpu){ .cr0 = CR0_PG_WP, .cr3 = 0x220020, .cr4 = CR4_PAE,
                                       .code_size = 4 };
    guest_put(&f.ram, 0x220028, 8, 0x202001);
    assert_true(go(&f, (1u << 30) | (1u << 21) | 0x1123, WALK_WRITE));
    assert_int_equal(f.gpa, 0x345123);
    expect_fault(&f, 1u << 31, WALK_READ, 0);

    // Two levels, small and large with PSE-36.
    f.exit.cpu.cr3 = 0x230000;
    f.exit.cpu.cr4 = 0x10;
    guest_put(&f.ram, 0x230004, 4, 0x231007);
    guest_put(&f.ram, 0x231008, 4, 0x456007);
    assert_true(go(&f, (1u << 22) | 0x2ABC, WALK_WRITE));
    assert_int_equal(f.gpa, 0x456ABC);
    assert_int_equal(guest_get(&f.ram, 0x231008, 4), 0x456067);
    guest_put(&f.ram, 0x230008, 4, 0x00C02087);
    assert_true(go(&f, (2u << 22) | 0x12345, WALK_READ));
    assert_int_equal(f.gpa, 0x100C12345);
    expect_fault(&f, 5u << 22, WALK_READ, 0);

    f.exit.cpu.cr0 = 1; // no paging
    assert_true(go(&f, 0xFFFFF123, WALK_WRITE));
    assert_int_equal(f.gpa, 0xFFFFF123);
    guest_ram_free(&f.ram);
}

static void test_access_across_pages(void **state)
{
    struct fixture f;
    static struct bus bus;
    uint64_t value = 0;
    (void)state;

    bus_init(&bus);
    begin(&f, CR4_PAE, EFER_LONG);
    map4(&f, 7, 0x345000 | 7);
    uint64_t gva = (gva4 & ~0xFFFull) + 0xFFD;
    assert_int_equal(gmem_read(&f.ram, &bus, &f.exit, gva, 8, &value, &f.fault), GMEM_FAULT);
    assert_int_equal(f.fault.address, (gva4 & ~0xFFFull) + 0x1000);
    assert_int_equal(gmem_write(&f.ram, &bus, &f.exit, gva, 8, 1, &f.fault), GMEM_FAULT);
    guest_put(&f.ram, 0x203010, 8, 0x567000 | 7);
    assert_int_equal(gmem_write(&f.ram, &bus, &f.exit, gva, 8, 0x8877665544332211, &f.fault),
                     GMEM_OK);
    assert_int_equal(guest_get(&f.ram, 0x345FFD, 2), 0x2211);
    assert_int_equal(guest_get(&f.ram, 0x567000, 4), 0x77665544);
    assert_int_equal(gmem_read(&f.ram, &bus, &f.exit, gva, 8, &value, &f.fault), GMEM_OK);
    assert_int_equal(value, 0x8877665544332211);
    guest_put(&f.ram, 0x203010, 8, 0xD0000000 | 7); // the second half is nothing
    assert_int_equal(gmem_read(&f.ram, &bus, &f.exit, gva, 4, &value, &f.fault), GMEM_OK);
    assert_int_equal(value, 0xFF332211);
    guest_ram_free(&f.ram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_pieces_cover_what_is_accessible),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_e820_has_no_overlap),
        cmocka_unit_test(test_four_levels),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_other_modes),
        cmocka_unit_test(test_access_across_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
