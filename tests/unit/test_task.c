// SPDX-License-Identifier: BSD-2-Clause
//
// Task switches, by the SDM's chapter "Task Management": what is saved and loaded, and each
// exception condition with its vector, its error code, and the task that it is raised in.
#include "task_world.h"

static void test_call(void **state)
{
    const struct vcpu_sregs *s = &world->page.sregs;
    (void)state;

    exit_of(VM_TASK_CALL, 0);
    expect_switch();
    assert_int_equal(get(OLD + 0x20, 4), 0x6007);
    assert_int_equal(get(OLD + 0x24, 4), 0x4246);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(get(OLD + 0x28 + 4 * i, 4), i == GPR_RSP ? 0x7000 : 0x2000 + i);
    assert_int_equal(get(OLD + 0x4C, 2), CODE);
    assert_int_equal(get(OLD + 0x58, 4), DATA);
    assert_int_equal(get(NEW, 2), OLD_TSS);
    assert_int_equal(tss_type(OLD_TSS), 11);
    assert_int_equal(tss_type(NEW_TSS), 11);
    assert_int_equal(s->tr.selector, NEW_TSS);
    assert_int_equal(s->tr.base, NEW);
    assert_int_equal(s->tr.access, 0x8B);
    assert_int_equal(s->rip, 0x5000);
    assert_int_equal(s->rflags, 0x4202); // NT
    assert_int_equal(s->rsp, STACK);
    assert_int_equal(world->page.gpr[GPR_RDI], 0x1007);
    assert_int_equal(s->cr0, 0x19); // TS
    assert_int_equal(s->dr7, 0x7FF & ~0x155);
    assert_int_equal(s->cs.access, 0xC09B);
    assert_int_equal(s->ss.limit, UINT32_MAX);
    assert_int_equal(s->gs.access, ACCESS_UNUSABLE);
}

static void test_jmp(void **state)
{
    (void)state;
    exit_of(VM_TASK_JMP, 0);
    expect_switch();
    assert_int_equal(get(OLD + 0x24, 4), 0x4246); // with its NT
    assert_int_equal(tss_type(OLD_TSS), 9);
    assert_int_equal(tss_type(NEW_TSS), 11);
    assert_int_equal(get(NEW, 2), 0);
    assert_int_equal(world->page.sregs.rflags, 0x202);
}

static void test_iret(void **state)
{
    (void)state;
    gdt(NEW_TSS, descriptor(NEW, 0x67, 0x8B));
    exit_of(VM_TASK_IRET, 0);
    expect_switch();
    assert_int_equal(get(OLD + 0x24, 4), 0x246);
    assert_int_equal(tss_type(OLD_TSS), 9);
    assert_int_equal(tss_type(NEW_TSS), 11);
    assert_int_equal(get(NEW, 2), 0);
}

// A task that returns to itself goes on from where it was, not from where it began.
static void test_iret_to_itself(void **state)
{
    (void)state;
    world->page.sregs.tr = (struct vm_segment){ NEW, 0x67, NEW_TSS, 0x8B };
    gdt(NEW_TSS, descriptor(NEW, 0x67, 0x8B));
    exit_of(VM_TASK_IRET, 0);
    expect_switch();
    assert_int_equal(world->page.sregs.rip, 0x6007);
    assert_int_equal(world->page.gpr[GPR_RAX], 0x2000);
}

static void test_tss_checks(void **state)
{
    static const struct {
        uint8_t source;
        uint16_t selector;
        uint32_t limit;
        uint8_t access, vector;
        uint16_t error;
    } cases[] = {
        { VM_TASK_JMP, NEW_TSS | 4, 0x67, 0x89, VECTOR_GP, NEW_TSS | 4 }, // in the LDT
        { VM_TASK_IRET, NEW_TSS | 4, 0x67, 0x8B, VECTOR_TS, NEW_TSS | 4 },
        { VM_TASK_CALL, GDT_SIZE, 0x67, 0x89, VECTOR_GP, GDT_SIZE }, // behind the GDT
        { VM_TASK_IRET, GDT_SIZE, 0x67, 0x8B, VECTOR_TS, GDT_SIZE },
        { VM_TASK_CALL, NEW_TSS | 3, 0x67, 0x82, VECTOR_GP, NEW_TSS }, // no TSS
        { VM_TASK_CALL, NEW_TSS, 0x67, 0x99, VECTOR_GP, NEW_TSS },
        { VM_TASK_IRET, NEW_TSS, 0x67, 0x9B, VECTOR_TS, NEW_TSS },
        { VM_TASK_CALL, NEW_TSS, 0x67, 0x0B, VECTOR_NP, NEW_TSS }, // not present, and busy
        { VM_TASK_IRET, NEW_TSS, 0x67, 0x09, VECTOR_NP, NEW_TSS },
        { VM_TASK_CALL, NEW_TSS, 0x67, 0x8B, VECTOR_GP, NEW_TSS }, // busy
        { VM_TASK_JMP, NEW_TSS, 0x66, 0x8B, VECTOR_GP, NEW_TSS },
        { VM_TASK_IRET, NEW_TSS, 0x67, 0x89, VECTOR_TS, NEW_TSS }, // not busy
        { VM_TASK_CALL, NEW_TSS, 0x66, 0x89, VECTOR_TS, NEW_TSS }, // short
        { VM_TASK_JMP, NEW_TSS, 0x2A, 0x81, VECTOR_TS, NEW_TSS },
        { VM_TASK_IRET, NEW_TSS, 0x66, 0x8B, VECTOR_TS, NEW_TSS },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        old_task();
        gdt(NEW_TSS, descriptor(NEW, cases[i].limit, cases[i].access));
        exit_of(cases[i].source, 0);
        world->page.exit.task.selector = cases[i].selector;
        expect_old_fault(cases[i].vector, cases[i].error);
        // The delivery of an event from outside of the program says so in the error code.
        if (cases[i].source == VM_TASK_CALL) {
            exit_of(VM_TASK_GATE, EVENT(0, 0x20));
            world->page.exit.task.selector = cases[i].selector;
            expect_old_fault(cases[i].vector, cases[i].error | 1);
        }
    }
    old_task();
    world->page.sregs.tr.limit = 0x5D; // the old one's: GS has no place
    exit_of(VM_TASK_CALL, 0);
    expect_old_fault(VECTOR_TS, OLD_TSS);
}

static void test_segment_checks(void **state)
{
    enum { LINK = 0x60, ES = 0x48, CS = 0x4C, SS = 0x50, GS = 0x5C };
    static const struct {
        uint8_t field;
        uint16_t selector;
        uint64_t odd; // the descriptor of ODD
        uint8_t vector;
        uint16_t error;
    } cases[] = {
        { LINK, LDT_AT | 4, 0, VECTOR_TS, LDT_AT | 4 },
        { LINK, GDT_SIZE, 0, VECTOR_TS, GDT_SIZE },
        { LINK, DATA, 0, VECTOR_TS, DATA },
        { LINK, ODD, 0x000002000000FFFF, VECTOR_TS, ODD }, // not present
        { SS, 0, 0, VECTOR_TS, 0 },
        { SS, 4, 0, VECTOR_TS, 4 }, // there is no LDT
        { SS, GDT_SIZE, 0, VECTOR_TS, GDT_SIZE },
        { SS, LDT_AT, 0, VECTOR_TS, LDT_AT },
        { SS, CODE, 0, VECTOR_TS, CODE },
        { SS, ODD, 0x00CF91000000FFFF, VECTOR_TS, ODD }, // read-only
        { SS, ODD, 0x00CF13000000FFFF, VECTOR_SS, ODD },
        { SS, DATA3 | 3, 0, VECTOR_TS, DATA3 },
        { SS, DATA | 1, 0, VECTOR_TS, DATA },
        { CS, 0, 0, VECTOR_TS, 0 },
        { CS, DATA, 0, VECTOR_TS, DATA },
        { CS, CODE3, 0, VECTOR_TS, CODE3 },
        { CS, ODD, 0x00CFFF000000FFFF, VECTOR_TS, ODD }, // conforming, of ring 3
        { CS, ODD, 0x00CF1B000000FFFF, VECTOR_NP, ODD },
        { ES, GDT_SIZE, 0, VECTOR_TS, GDT_SIZE },
        { ES, OLD_TSS, 0, VECTOR_TS, OLD_TSS },
        { ES, ODD, 0x00CF99000000FFFF, VECTOR_TS, ODD }, // code that may not be read
        { ES, ODD, 0x00CF13000000FFFF, VECTOR_NP, ODD },
        { GS, DATA | 2, 0, VECTOR_TS, DATA },
    };
    const struct vcpu_sregs *s = &world->page.sregs;
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool stack = cases[i].field != LINK && cases[i].field != SS; // is loaded before
        old_task();
        new_tss();
        world->sregs_writes = 0;
        gdt(ODD, cases[i].odd);
        put(NEW + cases[i].field, 2, cases[i].selector);
        exit_of(VM_TASK_CALL, 0);
        expect_new_fault(cases[i].vector, cases[i].error);
        // What VM entry wants, and a handler's stack: the TSS' one as long as there is no other.
        assert_int_equal(s->ss.access >> 5 & 3, stack ? 0 : 3);
        assert_int_equal(s->ss.access & ACCESS_UNUSABLE, stack ? 0 : ACCESS_UNUSABLE);
        if (cases[i].field != ES && cases[i].field != GS)
            assert_int_equal(s->cs.access, 0xC09F); // conforming: at no odds with SS or selector
        assert_int_equal(s->cs.selector, get(NEW + CS, 2));
        assert_int_equal(tss_type(NEW_TSS), 11);
    }
}

// Data and conforming code of other levels that may be loaded; what was not accessed is marked.
static void test_ring3(void **state)
{
    const struct vcpu_sregs *s = &world->page.sregs;
    (void)state;

    gdt(ODD, 0x00CF9E000000FFFF);
    put(NEW + 0x4C, 2, CODE3 | 3);
    put(NEW + 0x50, 2, DATA3 | 3);
    put(NEW + 0x48, 2, ODD | 3);
    put(NEW + 0x54, 2, DATA3);
    put(NEW + 0x58, 2, 3); // null
    exit_of(VM_TASK_JMP, 0);
    expect_switch();
    assert_int_equal(s->ss.access, 0xC0F3);
    assert_int_equal(s->cs.access, 0xC0FB);
    assert_int_equal(s->es.access, 0xC09F);
    assert_int_equal(get(GDT + ODD + 5, 1), 0x9F);
    assert_int_equal(s->ds.selector, DATA3);
    assert_int_equal(s->fs.selector, 3);
    assert_int_equal(s->fs.access, ACCESS_UNUSABLE);
}

static void test_ldt(void **state)
{
    const struct vcpu_sregs *s = &world->page.sregs;
    (void)state;

    put(NEW + 0x60, 2, LDT_AT);
    put(NEW + 0x50, 2, 4); // SS: the first of the LDT
    put(NEW + 0x54, 2, 4);
    exit_of(VM_TASK_CALL, 0);
    expect_switch();
    assert_int_equal(s->ldtr.selector, LDT_AT);
    assert_int_equal(s->ldtr.base, LDT);
    assert_int_equal(s->ldtr.limit, 7);
    assert_int_equal(s->ldtr.access, 0x82);
    assert_int_equal(s->ss.selector, 4);
    assert_int_equal(s->ss.access, 0xC093);
    world->sregs_writes = 0;
    old_task();
    put(NEW + 0x54, 2, 12); // behind its end
    exit_of(VM_TASK_CALL, 0);
    expect_new_fault(VECTOR_TS, 12);
}

// A TSS of 16 bits, there and back: what it has no place for.
static void test_16bit(void **state)
{
    struct vcpu_sregs *s = &world->page.sregs;
    static const uint16_t words[] = { 0x5000, 0x202, 0x1000, 0x1001, 0x1002, 0x1003, 0x8000, 0x1005,
                                      0x1006, 0x1007, DATA, CODE, DATA, DATA, 0 };
    (void)state;

    gdt(NEW_TSS, descriptor(NEW, 0x2B, 0x81));
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        put(NEW + 0x0E + 2 * i, 2, words[i]);
    exit_of(VM_TASK_CALL, 0);
    expect_switch();
    assert_int_equal(get(NEW, 2), OLD_TSS);
    assert_int_equal(s->tr.access, 0x83);
    assert_int_equal(s->rip, 0x5000);
    assert_int_equal(s->rflags, 0x4202);
    assert_int_equal(s->rsp, 0xFFFF8000);
    assert_int_equal(world->page.gpr[GPR_RBX], 0xFFFF1003);
    assert_int_equal(s->ds.selector, DATA);
    assert_int_equal(s->fs.selector, 0);
    assert_int_equal(s->cr3, 0);

    s->rsp = 0x12345678;
    s->rip = 0x5100;
    exit_of(VM_TASK_IRET, 0);
    world->page.exit.task.selector = OLD_TSS;
    world->page.exit.task.length = 1;
    expect_entry(VM_ENTRY_TASK);
    assert_int_equal(get(NEW + 0x0E, 2), 0x5101);
    assert_int_equal(get(NEW + 0x10, 2), 0x202);
    assert_int_equal(get(NEW + 0x1A, 2), 0x5678);
    assert_int_equal(get(NEW + 0x28, 2), DATA);
    assert_int_equal(get(NEW + 0x2A, 2), 0); // static: the LDT
    assert_int_equal(s->rip, 0x6007);
    assert_int_equal(s->fs.selector, DATA);
    assert_int_equal(tss_type(NEW_TSS), 1);
}

static void test_vm86(void **state)
{
    struct vcpu_sregs *s = &world->page.sregs;
    (void)state;

    put(NEW + 0x24, 4, 0x20202);
    put(NEW + 0x4C, 2, 0xF000);
    put(NEW + 0x50, 2, 0x1234);
    put(NEW + 0x5C, 2, 0xB800);
    exit_of(VM_TASK_JMP, 0);
    expect_switch();
    assert_int_equal(s->cs.base, 0xF0000);
    assert_int_equal(s->cs.limit, 0xFFFF);
    assert_int_equal(s->cs.access, 0xF3);
    assert_int_equal(s->ss.base, 0x12340);
    assert_int_equal(s->gs.base, 0xB8000);
    assert_int_equal(s->gs.access, 0xF3);
    // Back by an interrupt; its own fault has the state of the mode, too.
    exit_of(VM_TASK_GATE, EVENT(0, 0x20));
    world->page.exit.task.selector = OLD_TSS;
    gdt(OLD_TSS, descriptor(OLD, 0x67, 0x89));
    for (unsigned i = 0; i < 6; i++) // as CALL would have saved them
        put(OLD + 0x48 + 4 * i, 4, get(OLD + 0x48 + 4 * i, 2));
    expect_entry(VM_ENTRY_TASK);
    assert_int_equal(get(NEW + 0x24, 4), 0x20202);
    assert_int_equal(get(NEW + 0x4C, 2), 0xF000);
    assert_int_equal(s->cs.access, 0xC09B);
    old_task();
    world->sregs_writes = 0;
    gdt(NEW_TSS, descriptor(NEW, 0x67, 0x89));
    put(NEW + 0x60, 2, DATA); // no LDT
    exit_of(VM_TASK_JMP, 0);
    expect_new_fault(VECTOR_TS, DATA);
    assert_int_equal(s->ss.base, 0x12340);
    assert_int_equal(s->ss.access, 0xF3);
}

static void test_code_limit(void **state)
{
    (void)state;
    gdt(ODD, descriptor(0, 0x4FFF, 0x9B));
    put(NEW + 0x4C, 2, ODD);
    exit_of(VM_TASK_JMP, 0);
    expect_new_fault(VECTOR_GP, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TASK_TEST(test_call),       TASK_TEST(test_jmp),
        TASK_TEST(test_iret),       TASK_TEST(test_iret_to_itself),
        TASK_TEST(test_tss_checks), TASK_TEST(test_segment_checks),
        TASK_TEST(test_ring3),      TASK_TEST(test_ldt),
        TASK_TEST(test_16bit),      TASK_TEST(test_vm86),
        TASK_TEST(test_code_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
