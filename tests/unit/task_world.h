// SPDX-License-Identifier: BSD-2-Clause
//
// What the tests of task switches share: an old task that runs, a new TSS in which all is well, and
// the descriptors of both.
#pragma once

#include "exit_world.h"

#include "vmm/cpu/task.h"

enum {
    GDT = 0x1000, IDT = 0x1800, LDT = 0x2000, OLD = 0x3000, NEW = 0x4000, PAGES = 0x10000,
    STACK = 0x8000, EVENT_ERROR = 1 << 11,
    // Selectors.
    CODE = 0x08, DATA = 0x10, OLD_TSS = 0x18, NEW_TSS = 0x20, LDT_AT = 0x28, ODD = 0x30,
    CODE3 = 0x38, DATA3 = 0x40, GDT_SIZE = 0x48,
};

#define EVENT(type, vector) ((uint64_t)(type) << 8 | (vector))
#define FLAT_CODE  0x00CF9B000000FFFFull
#define FLAT_DATA  0x00CF93000000FFFFull
#define DPL3       (3ull << 45)

static inline uint64_t descriptor(uint32_t base, uint32_t limit, uint8_t access)
{
    return (limit & 0xFFFF) | (uint64_t)(base & 0xFFFFFF) << 16 | (uint64_t)access << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(base >> 24) << 56;
}

static inline void put(uint64_t gpa, unsigned size, uint64_t value)
{
    guest_put(&world->vmm.ram, gpa, size, value);
}

static inline uint64_t get(uint64_t gpa, unsigned size)
{
    return guest_get(&world->vmm.ram, gpa, size);
}

static inline void gdt(unsigned selector, uint64_t value)
{
    put(GDT + (selector & ~7u), 8, value);
}

static inline struct vm_segment flat(uint16_t selector, uint16_t access)
{
    return (struct vm_segment){ 0, UINT32_MAX, selector, access };
}

// A new TSS in which all is well: EAX is 0x1000, ECX 0x1001 and so on.
static inline void new_tss(void)
{
    static const uint16_t selectors[6] = { DATA, CODE, DATA, DATA, DATA, 0 };

    put(NEW + 0x1C, 4, PAGES);
    put(NEW + 0x20, 4, 0x5000);
    put(NEW + 0x24, 4, 0x202);
    for (unsigned i = 0; i < 8; i++)
        put(NEW + 0x28 + 4 * i, 4, i == GPR_RSP ? STACK : 0x1000 + i);
    for (unsigned i = 0; i < 6; i++)
        put(NEW + 0x48 + 4 * i, 4, selectors[i]);
    put(NEW + 0x60, 4, 0);
    put(NEW + 0x64, 4, 0);
}

static inline void old_task(void)
{
    struct vcpu_sregs *s = &world->page.sregs;

    *s = (struct vcpu_sregs){
        .rip = 0x6000, .rflags = 0x4246, .rsp = 0x7000, .cr0 = 0x11, .dr6 = 0xFFFF0FF0,
        .dr7 = 0x7FF, .cs = flat(CODE, 0xC09B), .ss = flat(DATA, 0xC093), .ds = flat(DATA, 0xC093),
        .es = flat(DATA, 0xC093), .fs = flat(DATA, 0xC093), .gs = flat(0, ACCESS_UNUSABLE),
        .ldtr = { .access = ACCESS_UNUSABLE }, .tr = { OLD, 0x67, OLD_TSS, 0x8B },
        .gdtr_base = GDT, .gdtr_limit = GDT_SIZE - 1, .idtr_base = IDT, .idtr_limit = 0x7FF,
    };
    for (unsigned i = 0; i < 16; i++)
        world->page.gpr[i] = 0xFFFFFFFF00002000u + i;
    put(LDT, 8, FLAT_DATA);
    gdt(CODE, FLAT_CODE);
    gdt(DATA, FLAT_DATA);
    gdt(OLD_TSS, descriptor(OLD, 0x67, 0x8B));
    gdt(NEW_TSS, descriptor(NEW, 0x67, 0x89));
    gdt(LDT_AT, descriptor(LDT, 7, 0x82));
    gdt(CODE3, FLAT_CODE | DPL3);
    gdt(DATA3, FLAT_DATA | DPL3);
}

static inline int setup(void **state)
{
    world_setup(state);
    msrs_init(&world->vmm.vcpu[0].msrs, 2400000000, true, 39, false);
    old_task();
    new_tss();
    return 0;
}

static inline void exit_of(uint8_t source, uint64_t event)
{
    const struct vcpu_sregs *s = &world->page.sregs;

    world->kind = VM_EXIT_TASK;
    world->page.exit = (struct vm_exit){
        .rip = s->rip, .rflags = s->rflags, .rsp = s->rsp,
        .task = { .selector = NEW_TSS, .source = source, .length = 7, .event = event },
        .cpu = { .cr0 = s->cr0, .cr3 = s->cr3, .cr4 = s->cr4, .efer = s->efer, .code_size = 4,
                 .cpl = s->rflags & TASK_RFLAGS_VM ? 3 : s->ss.access >> 5 & 3 },
    };
}

static inline void expect_vector(uint8_t vector, uint32_t error)
{
    assert_int_equal(world->page.entry.fault.vector, vector);
    assert_true(world->page.entry.fault.has_error);
    assert_int_equal(world->page.entry.fault.error, error);
}

static inline void expect_switch(void)
{
    expect_entry(VM_ENTRY_TASK);
    assert_int_equal(world->sregs_writes, 1);
}

// Nothing is changed, and the old task has the fault.
static inline void expect_old_fault(uint8_t vector, uint32_t error)
{
    expect_entry(VM_ENTRY_FAULT);
    expect_vector(vector, error);
    assert_int_equal(world->sregs_writes, 0);
    assert_int_equal(get(OLD + 0x20, 4), 0);
    assert_int_equal(get(NEW, 2), 0);
}

// The new task has.
static inline void expect_new_fault(uint8_t vector, uint32_t error)
{
    expect_entry(VM_ENTRY_TASK | VM_ENTRY_FAULT);
    expect_vector(vector, error);
    assert_int_equal(world->sregs_writes, 1);
    assert_int_equal(world->page.sregs.tr.selector, NEW_TSS);
    assert_int_equal(world->page.sregs.rip, get(NEW + 0x20, 4));
}

static inline uint8_t tss_type(unsigned selector)
{
    return get(GDT + selector + 5, 1) & 15;
}

#define TASK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
