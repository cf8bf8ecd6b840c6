// SPDX-License-Identifier: BSD-2-Clause
// Task switches on SVM: what the exit tells the VMM, and what becomes of that which was being
// delivered, of a step for an NMI's sake, and of NMIs, when it is done or has ended in a fault.
#include "svm_cpu.h"

#define INTERRUPT (EVENT_VALID | 0x20)
#define EXCEPTION(vector) (EVENT_VALID | EVENT_EXCEPTION << 8 | (vector))

static void exits_for(uint16_t selector, uint64_t info2, uint64_t event)
{
    vmcb.exit_info1 = selector;
    vmcb.exit_info2 = info2;
    vmcb.exit_event = event;
    assert_int_equal(exits(SVM_EXIT_TASK_SWITCH), TO_VMM);
    assert_int_equal(kind, VM_EXIT_TASK);
    assert_int_equal(page.exit.task.selector, selector);
    assert_int_equal(page.exit.task.length, 0);
    assert_int_equal(page.exit.task.event, event);
}

static void fault(uint8_t vector, uint32_t flags)
{
    page.entry.fault.vector = vector;
    page.entry.fault.has_error = 1;
    page.entry.fault.error = 0x60;
    page.entry.flags = flags | VM_ENTRY_FAULT;
    assert_int_equal(resume(VM_RUN_PAGE), ENTERED);
}

static void done(void)
{
    page.sregs.rip = 0x5000;
    assert_int_equal(arch_vcpu_sregs(&vcpu, true), OK);
    page.entry.flags = VM_ENTRY_TASK;
    assert_int_equal(resume(VM_RUN_PAGE), ENTERED);
    assert_int_equal(vmcb.rip, 0x5000);
}

static void sources(void **state)
{
    static const struct { uint64_t info2, event; uint8_t source; } cases[] = {
        { 0, 0, VM_TASK_CALL },
        { 1ull << 36, 0, VM_TASK_IRET },
        { 1ull << 38, 0, VM_TASK_JMP },
        { 0, INTERRUPT, VM_TASK_GATE },
        { 0, EVENT_VALID | EVENT_SOFT_INT << 8 | 0x40, VM_TASK_GATE },
        { 1ull << 44 | 0x18, EXCEPTION(13) | EVENT_ERROR | 0x18ull << 32, VM_TASK_GATE },
    };
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
            setup(state);
            vmcb.rflags |= RFLAGS_RF;
            vmcb.interrupt_shadow = SVM_SHADOW;
            exits_for(0x60, cases[i].info2, cases[i].event);
            assert_int_equal(page.exit.task.source, cases[i].source);
            assert_int_equal(page.exit.rip, 0x1000);
            assert_int_equal(page.exit.rflags & RFLAGS_RF, 0); // the CPU says what is to be saved
            vcpu.work = VCPU_WORK_NMI; // the shadow is over: it comes before the first instruction
            done();
            assert_int_equal(EVENT_TYPE(vmcb.event), EVENT_NMI);
            setup(state);
            exits_for(0x60, cases[i].info2 | 1ull << 48, cases[i].event);
            assert_int_equal(page.exit.rflags & RFLAGS_RF, RFLAGS_RF);
        }
    }
}

// What was being delivered has been, once, when the switch is done.
static void deliveries(void **state)
{
    combination(3);
    setup(state);
    exits_for(0x60, 0, INTERRUPT);
    assert_int_equal(vmcb.event, INTERRUPT);
    done();
    assert_int_equal(vmcb.event, 0);
    exits_for(0x60, 0, INTERRUPT); // a fault takes its place, in the old task and in the new one
    fault(10, 0);
    assert_int_equal(vmcb.event, EXCEPTION(10) | EVENT_ERROR | 0x60ull << 32);
    exits_for(0x60, 0, INTERRUPT);
    fault(10, VM_ENTRY_TASK);
    assert_int_equal(vmcb.event, EXCEPTION(10) | EVENT_ERROR | 0x60ull << 32);
    exits_for(0x60, 0, EXCEPTION(13) | EVENT_ERROR); // and of two exceptions one is made
    fault(10, VM_ENTRY_TASK);
    assert_int_equal(vmcb.event, EXCEPTION(8) | EVENT_ERROR);
    exits_for(0x60, 0, EXCEPTION(6));
    fault(10, 0);
    assert_int_equal(vmcb.event & 0xff, 10);
}

// An NMI's handler is a task: others are blocked until it goes back by IRET.
static void nmis(void **state)
{
    for (unsigned own = 0; own < 2; own++) {
        combination(3);
        setup(state);
        vcpu.work = VCPU_WORK_NMI;
        assert_int_equal(exits(SVM_EXIT_INTR), ENTERED);
        uint64_t nmi = vmcb.event;
        assert_int_equal(EVENT_TYPE(nmi), EVENT_NMI);
        exits_for(0x60, 0, nmi);
        vcpu.work = VCPU_WORK_NMI;
        done();
        assert_int_equal(vmcb.event, 0);
        vmcb.rflags |= own ? 0 : RFLAGS_TF;
        assert_int_equal(exits(SVM_EXIT_IRET), ENTERED); // is stepped
        assert_true(vmcb.rflags & RFLAGS_TF);
        exits_for(0x60, 1ull << 36, 0);
        assert_int_equal(page.exit.rflags & RFLAGS_TF, own ? 0 : RFLAGS_TF); // to be saved
        done();
        assert_int_equal(EVENT_TYPE(vmcb.event), EVENT_NMI);
    }
}

// DR6 comes and goes with the rest.
static void registers(void **state)
{
    combination(3);
    setup(state);
    page.sregs.dr6 = 0xffff8ff0;
    assert_int_equal(arch_vcpu_sregs(&vcpu, true), OK);
    page.sregs.dr6 = 0;
    assert_int_equal(arch_vcpu_sregs(&vcpu, false), OK);
    assert_int_equal(page.sregs.dr6, 0xffff8ff0);
    page.sregs.dr6 = ~0ull; // with bits that must not be set
    assert_int_equal(arch_vcpu_sregs(&vcpu, true), OK);
    assert_int_equal(resume(0), ENTERED);
    assert_int_equal(vmcb.dr6, 0xffffeffful);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources), cmocka_unit_test(deliveries), cmocka_unit_test(nmis),
        cmocka_unit_test(registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
