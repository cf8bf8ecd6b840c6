// SPDX-License-Identifier: BSD-2-Clause
//
// Task switches, what surrounds them: events that come through task gates, their error codes and
// the trap of the T flag; page tables, old and new, and faults in the middle.
#include "task_world.h"

static void idt_gate(uint8_t vector, unsigned dpl)
{
    put(IDT + 8u * vector, 8, (uint64_t)NEW_TSS << 16 | (0x85ull | dpl << 5) << 40);
}

static void gate(uint64_t event)
{
    exit_of(VM_TASK_GATE, event);
}

// Which events' RIP is that of the next instruction, and which have RF set in what is saved.
static void test_event_kinds(void **state)
{
    static const struct {
        uint8_t type, vector;
        bool next, rf;
    } cases[] = {
        { 0, 0x20, false, false }, { 2, 2, false, false },  { 3, 0, false, true },
        { 3, 1, false, false },    { 3, 6, false, true },   { 3, 8, false, false },
        { 3, 16, false, true },    { 3, 18, false, false }, { 4, 0x30, true, false },
        { 5, 1, true, false },     { 6, 3, true, false },   { 6, 4, true, false },
        { 3, 3, true, false },     { 3, 4, true, false },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        old_task();
        new_tss();
        idt_gate(cases[i].vector, 0);
        gate(EVENT(cases[i].type, cases[i].vector));
        expect_entry(VM_ENTRY_TASK);
        assert_int_equal(get(OLD + 0x20, 4), cases[i].next ? 0x6007 : 0x6000);
        assert_int_equal(get(OLD + 0x24, 4), cases[i].rf ? 0x14246 : 0x4246);
        assert_int_equal(get(NEW, 2), OLD_TSS);
        assert_int_equal(world->page.sregs.rflags, 0x4202);
    }
}

// A CPU that does not say how long the instruction is.
static void test_length(void **state)
{
    (void)state;
    put(0x6000, 8, 0x000030EA); // JMP FAR, 7 bytes
    exit_of(VM_TASK_JMP, 0);
    world->page.exit.task.length = 0;
    expect_switch();
    assert_int_equal(get(OLD + 0x20, 4), 0x6007);
    old_task();
    put(0x6000, 2, 0x30CD); // INT 30H
    idt_gate(0x30, 0);
    gate(EVENT(4, 0x30));
    world->page.exit.task.length = 0;
    expect_entry(VM_ENTRY_TASK);
    assert_int_equal(get(OLD + 0x20, 4), 0x6002);
    old_task();
    put(0x6000, 8, 0xFFFFFFFFFFFFFFFF); // written over since
    exit_of(VM_TASK_JMP, 0);
    world->page.exit.task.length = 0;
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_UD);
}

static void test_gate_privilege(void **state)
{
    (void)state;
    world->page.sregs.ss.access = 0xC0F3;
    idt_gate(0x30, 2);
    gate(EVENT(4, 0x30));
    expect_old_fault(VECTOR_GP, 0x30 * 8 + 2);
    idt_gate(0x30, 3);
    gate(EVENT(4, 0x30));
    expect_switch();
    old_task();
    world->page.sregs.ss.access = 0xC0F3;
    idt_gate(1, 0);
    gate(EVENT(3, 1)); // no program's doing
    expect_entry(VM_ENTRY_TASK);
}

// The stack's and the TSS' sizes are each other's strangers.
static void test_error_code(void **state)
{
    const uint64_t event = EVENT(3, 13) | EVENT_ERROR | 0x12345678ull << 32;
    struct vcpu_sregs *s = &world->page.sregs;
    (void)state;

    gate(event);
    expect_switch();
    assert_int_equal(s->rsp, STACK - 4);
    assert_int_equal(get(STACK - 4, 4), 0x12345678);
    assert_int_equal(get(OLD + 0x24, 4), 0x14246);

    old_task(); // in a segment of 16 bits
    new_tss();
    gdt(ODD, descriptor(0x20000, 0xFFFF, 0x93));
    put(NEW + 0x50, 2, ODD);
    put(NEW + 0x38, 4, 0xABCD0000);
    gate(event);
    expect_entry(VM_ENTRY_TASK);
    assert_int_equal(s->rsp, 0xABCDFFFC);
    assert_int_equal(get(0x2FFFC, 4), 0x12345678);

    old_task(); // no room
    new_tss();
    put(NEW + 0x50, 2, ODD);
    put(NEW + 0x38, 4, 2);
    gate(event);
    world->sregs_writes = 0;
    expect_new_fault(VECTOR_SS, 1);
    assert_int_equal(s->rsp, 2);
    assert_int_equal(s->ss.selector, ODD);
}

static void test_error_code_16bit(void **state)
{
    (void)state;
    gdt(NEW_TSS, descriptor(NEW, 0x2B, 0x81));
    put(NEW + 0x0E, 4, 0x02025000);
    put(NEW + 0x1A, 2, 0x9000);
    put(NEW + 0x22, 8, DATA | CODE << 16 | (uint64_t)DATA << 32);
    put(NEW + 0x2A, 2, 0);
    gdt(ODD, descriptor(0, 0xFFFF, 0x93));
    put(NEW + 0x26, 2, ODD);
    put(0x8FFC, 4, 0xEEEEEEEE);
    gate(EVENT(3, 13) | EVENT_ERROR | 0x30ull << 32);
    expect_switch();
    assert_int_equal(world->page.sregs.rsp, 0xFFFF8FFE);
    assert_int_equal(get(0x8FFC, 4), 0x0030EEEE);
}

static void test_trap_flag(void **state)
{
    const struct vcpu_sregs *s = &world->page.sregs;
    (void)state;

    put(NEW + 0x64, 2, 1);
    gate(EVENT(3, 13) | EVENT_ERROR);
    expect_entry(VM_ENTRY_TASK | VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_DB);
    assert_false(world->page.entry.fault.has_error);
    assert_int_equal(s->dr6, 0xFFFF8FF0); // BT
    assert_int_equal(s->rip, 0x5000);
    assert_int_equal(s->rsp, STACK - 4); // behind the error code
    old_task();
    new_tss();
    put(NEW + 0x64, 2, 1);
    put(NEW + 0x54, 2, CODE3 | 4); // a fault comes instead
    exit_of(VM_TASK_CALL, 0);
    world->sregs_writes = 0;
    expect_new_fault(VECTOR_TS, CODE3 | 4);
    assert_int_equal(s->dr6, 0xFFFF0FF0);
}

enum { OLD_PAGES = PAGES + 0x4000, TABLE = PAGES + 0x1000, OLD_TABLE = OLD_PAGES + 0x1000 };
enum { P = 1, W = 2, U = 4 };

// The first 4 MB as they are, by tables of 32-bit paging; the new task's and the old one's.
static void paging_on(void)
{
    struct vcpu_sregs *s = &world->page.sregs;

    put(PAGES, 4, TABLE | P | W | U);
    put(OLD_PAGES, 4, OLD_TABLE | P | W | U);
    for (uint32_t i = 0; i < 1024; i++) {
        put(TABLE + 4 * i, 4, i << 12 | P | W);
        put(OLD_TABLE + 4 * i, 4, i << 12 | P | W);
    }
    s->cr0 = 0x80010011;
    s->cr3 = OLD_PAGES;
}

static void map(uint32_t table, uint32_t gva, uint32_t entry)
{
    put(table + (gva >> 12) * 4, 4, entry);
}

static void expect_page_fault(uint32_t flags, uint32_t error, uint32_t address)
{
    expect_entry(flags);
    expect_vector(VECTOR_PF, error);
    assert_int_equal(world->page.entry.fault.address, address);
    assert_int_equal(world->sregs_writes, flags & VM_ENTRY_TASK ? 1 : 0);
    if (!(flags & VM_ENTRY_TASK)) {
        assert_int_equal(get(OLD + 0x20, 4), 0);
        assert_int_equal(tss_type(OLD_TSS), 11);
        assert_int_equal(tss_type(NEW_TSS), 9);
    }
}

static void test_cr3(void **state)
{
    (void)state;
    paging_on();
    map(OLD_TABLE, STACK, 0);
    map(TABLE, STACK, STACK | P | W);
    gate(EVENT(3, 13) | EVENT_ERROR | 0x77ull << 32); // onto the new task's stack, by its tables
    expect_switch();
    assert_int_equal(world->page.sregs.cr3, PAGES);
    assert_int_equal(get(STACK - 4, 4), 0x77);
    old_task(); // without paging, CR3 stays
    world->page.sregs.cr3 = 0x1234000;
    exit_of(VM_TASK_JMP, 0);
    expect_entry(VM_ENTRY_TASK);
    assert_int_equal(world->page.sregs.cr3, 0x1234000);
}

static void test_old_page_faults(void **state)
{
    static const struct {
        uint8_t source;
        uint32_t gva, entry, error, address; // as supervisor, whatever the task is
    } cases[] = {
        { VM_TASK_CALL, GDT, 0, 0, GDT + NEW_TSS },
        { VM_TASK_CALL, NEW, 0, 0, NEW },
        { VM_TASK_CALL, NEW, NEW | P, 3, NEW },   // the back link
        { VM_TASK_JMP, OLD, OLD | P, 3, OLD + 0x20 },
        { VM_TASK_JMP, OLD, 0, 2, OLD + 0x20 },
        { VM_TASK_JMP, GDT, GDT | P, 3, GDT + NEW_TSS + 5 }, // the busy bit
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        old_task();
        new_tss();
        paging_on();
        world->page.sregs.ss.access = 0xC0F3; // ring 3
        map(OLD_TABLE, cases[i].gva, cases[i].entry);
        exit_of(cases[i].source, 0);
        expect_page_fault(VM_ENTRY_FAULT, cases[i].error, cases[i].address);
    }
    old_task();
    paging_on();
    put(NEW + 0x1C, 4, OLD_PAGES);
    map(OLD_TABLE, NEW, NEW | P); // is only read by JMP
    exit_of(VM_TASK_JMP, 0);
    expect_entry(VM_ENTRY_TASK);
}

// The descriptors are read by the new task's tables, and so are their faults its own.
static void test_new_page_faults(void **state)
{
    (void)state;
    paging_on();
    map(TABLE, GDT, 0);
    exit_of(VM_TASK_CALL, 0);
    expect_page_fault(VM_ENTRY_TASK | VM_ENTRY_FAULT, 0, GDT + DATA);
    assert_int_equal(world->page.sregs.cr3, PAGES);
    old_task();
    new_tss();
    paging_on();
    world->sregs_writes = 0;
    map(TABLE, GDT, GDT | P); // nothing is to be marked there: read-only is enough
    map(TABLE, STACK - 4096, 0);
    gate(EVENT(3, 13) | EVENT_ERROR);
    expect_page_fault(VM_ENTRY_TASK | VM_ENTRY_FAULT, 2, STACK - 4);
    old_task();
    new_tss();
    paging_on();
    world->sregs_writes = 0;
    map(TABLE, GDT, GDT | P);
    gdt(DATA, FLAT_DATA & ~(1ull << 40)); // not accessed yet
    exit_of(VM_TASK_CALL, 0);
    expect_page_fault(VM_ENTRY_TASK | VM_ENTRY_FAULT, 3, GDT + DATA + 5);
}

// Accesses of the CPU itself: AC does not open the user's pages.
static void test_smap(void **state)
{
    (void)state;
    paging_on();
    world->page.sregs.cr4 = 1 << 21;
    world->page.sregs.rflags |= TASK_RFLAGS_AC;
    map(OLD_TABLE, NEW, NEW | P | W | U);
    exit_of(VM_TASK_CALL, 0);
    expect_page_fault(VM_ENTRY_FAULT, 1, NEW);
}

// Both TSSs in two pages each, which lie apart.
static void test_crossing(void **state)
{
    enum { OLD_AT = 0x30000 - 0x28, NEW_AT = 0x32000 - 0x24, APART = 0x40000 };
    uint8_t image[0x68];
    (void)state;

    paging_on();
    for (unsigned i = 0; i < sizeof(image); i++)
        image[i] = (uint8_t)get(NEW + i, 1);
    world->page.sregs.tr.base = OLD_AT;
    gdt(NEW_TSS, descriptor(NEW_AT, 0x67, 0x89));
    map(OLD_TABLE, 0x30000, APART | P | W);
    map(OLD_TABLE, 0x32000, (APART + 0x1000) | P | W);
    ram_write(&world->vmm.ram, NEW_AT, image, 0x24);
    ram_write(&world->vmm.ram, APART + 0x1000, image + 0x24, sizeof(image) - 0x24);
    exit_of(VM_TASK_CALL, 0);
    expect_switch();
    assert_int_equal(get(OLD_AT + 0x20, 4), 0x6007);
    assert_int_equal(get(APART, 4), 0x2000); // EAX, at 28H
    assert_int_equal(get(NEW_AT, 2), OLD_TSS);
    assert_int_equal(world->page.sregs.rip, 0x5000);
    assert_int_equal(world->page.gpr[GPR_RDI], 0x1007);
    world->sregs_writes = 0;
    old_task();
    paging_on();
    world->page.sregs.tr.base = OLD_AT;
    gdt(NEW_TSS, descriptor(NEW_AT, 0x67, 0x89));
    map(OLD_TABLE, 0x30000, 0);
    exit_of(VM_TASK_CALL, 0);
    expect_entry(VM_ENTRY_FAULT); // nothing of what could be written is
    assert_int_equal(world->page.entry.fault.address, 0x30000);
    assert_int_equal(world->sregs_writes, 0);
}

static void test_pae(void **state)
{
    struct vcpu_sregs *s = &world->page.sregs;
    enum { PDPT = PAGES + 0x20, DIRECTORY = PAGES + 0x1000, OLD_PDPT = PAGES + 0x40 };
    (void)state;

    put(DIRECTORY, 8, 0x83); // 2 MB
    put(PDPT, 8, DIRECTORY | P);
    put(PDPT + 8, 8, DIRECTORY | P | 0x18);
    put(OLD_PDPT, 8, DIRECTORY | P);
    put(NEW + 0x1C, 4, PDPT);
    s->cr0 = 0x80000011;
    s->cr4 = 0x20;
    s->cr3 = OLD_PDPT;
    s->pdpte[3] = 77;
    exit_of(VM_TASK_JMP, 0);
    expect_switch();
    assert_int_equal(s->cr3, PDPT);
    assert_int_equal(s->pdpte[0], DIRECTORY | P);
    assert_int_equal(s->pdpte[1], DIRECTORY | P | 0x18);
    assert_int_equal(s->pdpte[3], 0);

    // Bits that must be 0, of an entry that is present: a fault of the new task, by the old tables.
    static const uint64_t reserved[] = { 2, 4, 0x20, 0x100, 1ull << 39, 1ull << 63 };
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        old_task();
        s->cr0 = 0x80000011;
        s->cr4 = 0x20;
        s->cr3 = OLD_PDPT;
        put(PDPT + 16, 8, reserved[i]);
        exit_of(VM_TASK_JMP, 0);
        expect_entry(VM_ENTRY_TASK);
        old_task();
        s->cr0 = 0x80000011;
        s->cr4 = 0x20;
        s->cr3 = OLD_PDPT;
        put(PDPT + 16, 8, reserved[i] | P);
        world->sregs_writes = 0;
        exit_of(VM_TASK_JMP, 0);
        expect_new_fault(VECTOR_GP, 0);
        assert_int_equal(s->cr3, OLD_PDPT);
        assert_int_equal(s->ss.access, ACCESS_UNUSABLE | 0x60);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TASK_TEST(test_event_kinds),     TASK_TEST(test_length),
        TASK_TEST(test_gate_privilege),  TASK_TEST(test_error_code),
        TASK_TEST(test_error_code_16bit), TASK_TEST(test_trap_flag),
        TASK_TEST(test_cr3),             TASK_TEST(test_old_page_faults),
        TASK_TEST(test_new_page_faults), TASK_TEST(test_smap),
        TASK_TEST(test_crossing),        TASK_TEST(test_pae),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
