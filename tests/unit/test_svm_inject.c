// SPDX-License-Identifier: BSD-2-Clause
// What a guest is to receive on SVM, where the VMCB is plain memory: what is injected, in which
// order, what is asked to be told of later; and that a CPU would take each entry for what is meant
// (APM volume 2, "Event Injection", "Virtual Interrupts", "EXITINTINFO").
#include "kernel/arch/x86/svm/svm.h"
#include "inject_world.h"

struct svm_caps svm; // as QEMU has it
static struct vmcb vmcb;

// What the kernel's other files do here.
void svm_vlapic_actions(struct vcpu *v) { v->arch.vlapic.actions = 0; }

static bool window(void) { return vmcb.intercept & INTERCEPT_VINTR; }

// Virtual interrupts of which no exit is asked are QEMU's way of injection.
static bool is_virtual_now(void) { return (vmcb.vintr & VINTR_IRQ) && !window(); }

static uint64_t injected(void)
{
    uint8_t vector = (uint8_t)(vmcb.vintr >> VINTR_VECTOR);
    return is_virtual_now() ? EVENT(EVENT_INTR, vector) : vmcb.event;
}

// Injection is not checked by the CPU: it delivers in a shadow, with IF clear, and in an NMI's
// handler. So it must not be asked to.
static void check_entry(void)
{
    uint64_t event = injected(), flags = vmcb.rflags;
    bool shadow = vmcb.interrupt_shadow & SVM_SHADOW;
    assert_true(vmcb.vintr & VINTR_MASKING);
    assert_int_equal(vmcb.vintr & VINTR_TPR, apic_regs[APIC_TPR / 4] >> 4);
    assert_true((vmcb.vintr & VINTR_IRQ) || !window());
    if (is_virtual_now())
        assert_true(!(vmcb.event & EVENT_VALID) && (vmcb.vintr & VINTR_IGNORE_TPR));
    else
        assert_true(EVENT_TYPE(event) != EVENT_INTR || !(event & EVENT_VALID) || window() ||
                    (svm.features & SVM_NRIP));
    if (event & EVENT_VALID) {
        assert_true(EVENT_TYPE(event) != EVENT_INTR || ((flags & RFLAGS_IF) && !shadow));
        assert_true(EVENT_TYPE(event) != EVENT_NMI || !shadow);
    }
    // Whoever waits is told of by something.
    if (vcpu.arch.nmi_pending)
        assert_true((vmcb.intercept & INTERCEPT_IRET) || (flags & RFLAGS_TF));
}

static enum left enter(void)
{
    enum left left = setjmp(out);
    if (left == ENTERED) {
        svm_inject_pending(&vcpu);
        check_entry();
    }
    return left;
}

// The guest has taken what was injected.
static void taken(void)
{
    uint64_t event = injected();
    if ((event & EVENT_VALID) && EVENT_TYPE(event) == EVENT_INTR)
        vmcb.rflags &= ~(uint64_t)RFLAGS_IF;
    if (is_virtual_now())
        vmcb.vintr &= ~VINTR_IRQ;
    vmcb.event = 0;
}

static int setup(void **state)
{
    (void)state;
    make_vcpu();
    memset(&vmcb, 0, sizeof(vmcb));
    vcpu.arch.svm.vmcb = &vmcb;
    vmcb.cr0 = CR0_PE;
    vmcb.rflags = RFLAGS_FIXED | RFLAGS_IF;
    vmcb.dr6 = 0xffff0ff0;
    return 0;
}

static void interrupts_by_priority(void **state)
{
    (void)state;
    vlapic_accept(&vcpu.arch.vlapic, 0x41, false);
    vlapic_accept(&vcpu.arch.vlapic, 0x63, false);
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), EVENT(EVENT_INTR, 0x63));
    assert_false(window()); // 0x41 waits for the EOI, which the kernel sees
    taken();
    vlapic_eoi(&vcpu.arch.vlapic);
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), 0);
    assert_true(window()); // for IF
    assert_int_equal(vmcb.vintr >> VINTR_PRIORITY & 15, 4);
    assert_false(vmcb.vintr & VINTR_IGNORE_TPR);
    vmcb.rflags |= RFLAGS_IF;
    vmcb.interrupt_shadow = SVM_SHADOW; // of STI
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), 0);
    assert_true(window());
    vmcb.interrupt_shadow = 0;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), EVENT(EVENT_INTR, 0x41));
    assert_false(window());
}

// MOV CR8 does not exit: the CPU compares the priority of what waits with it. QEMU, which lets one
// of the same class through, must not be asked for it; there MOV CR8 exits.
static void behind_tpr(void **state)
{
    (void)state;
    for (uint32_t tpr = 0x60; tpr <= 0x70; tpr += 0x10) {
        for (svm.features = 0; svm.features <= SVM_DECODE; svm.features += SVM_DECODE) {
            setup(state);
            vmcb.cr_writes = 1u << 4;
            apic_regs[APIC_TPR / 4] = tpr;
            vlapic_accept(&vcpu.arch.vlapic, 0x6f, false);
            assert_int_equal(enter(), ENTERED);
            assert_int_equal(injected(), 0);
            assert_int_equal(window(), svm.features == SVM_DECODE);
            assert_int_equal(vmcb.cr_writes, 1u << 4 | (window() ? 0 : 1u << 8));
            assert_true(!window() || (vmcb.vintr >> VINTR_PRIORITY & 15) == 6);
        }
    }
    svm.features = 0;
    apic_regs[APIC_TPR / 4] = 0x50;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), EVENT(EVENT_INTR, 0x6f));
}

// The PIC's comes before the local APIC's, whatever TPR says, and needs an acknowledge cycle.
static void from_the_pic(void **state)
{
    (void)state;
    vcpu.intr_line = INTR_HIGH;
    apic_regs[APIC_TPR / 4] = 0xf0;
    vmcb.rflags = RFLAGS_FIXED;
    vlapic_accept(&vcpu.arch.vlapic, 0x6f, false);
    assert_int_equal(enter(), ENTERED);
    assert_true(window());
    assert_true(vmcb.vintr & VINTR_IGNORE_TPR);
    vmcb.rflags |= RFLAGS_IF;
    assert_int_equal(enter(), TO_VMM);
    assert_int_equal(kind, VM_EXIT_INTR_ACK);
    assert_true(vcpu.arch.extint_wait && vcpu.arch.inject);
}

static void double_faults(void **state)
{
    static const struct { uint8_t first, second, gives; } rows[] = {
        { 0, 13, 8 }, { 11, 10, 8 }, { 14, 14, 8 }, { 14, 13, 8 }, { 13, 14, 14 }, { 1, 13, 13 },
        { 6, 0, 0 }, { 3, 14, 14 },
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        vmcb.event = EVENT(EVENT_EXCEPTION, rows[i].first);
        svm_inject_fault(&vcpu, rows[i].second, rows[i].second >= 10, 0x1234);
        assert_int_equal(vmcb.event & 0xff, rows[i].gives);
        if (rows[i].gives == 8)
            assert_int_equal(injected(), EVENT(EVENT_EXCEPTION, 8) | EVENT_ERROR);
    }
    vmcb.event = EVENT(EVENT_EXCEPTION, 8);
    enum left left = setjmp(out);
    if (left == ENTERED)
        svm_inject_fault(&vcpu, 13, true, 0);
    assert_int_equal(left, TO_VMM);
    assert_int_equal(kind, VM_EXIT_SHUTDOWN);
    vmcb.event = 0;
    vmcb.cr0 = 0; // real mode has no error codes
    svm_inject_fault(&vcpu, 13, true, 7);
    assert_int_equal(injected(), EVENT(EVENT_EXCEPTION, 13));
}

static void what_an_exit_interrupted(void **state)
{
    static const struct { uint64_t event, again; } rows[] = {
        { EVENT(EVENT_INTR, 0x30), EVENT(EVENT_INTR, 0x30) },
        { EVENT(EVENT_NMI, 2), EVENT(EVENT_NMI, 2) },
        { EVENT(EVENT_EXCEPTION, 14) | EVENT_ERROR | 6ull << 32,
          EVENT(EVENT_EXCEPTION, 14) | EVENT_ERROR | 6ull << 32 },
        { EVENT(EVENT_SOFT_INT, 0x80), 0 }, // the instruction runs again
        { EVENT(EVENT_EXCEPTION, 3), 0 },
        { EVENT(EVENT_EXCEPTION, 4), 0 },
        { EVENT(EVENT_EXCEPTION, 0x30), EVENT(EVENT_INTR, 0x30) }, // QEMU's word for it
    };
    (void)state;
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
        setup(state);
        svm.features = i % 2 ? SVM_NRIP : 0;
        vmcb.exit_event = rows[i / 2].event;
        svm_replay(&vcpu);
        assert_int_equal(vmcb.event, rows[i / 2].again);
        assert_int_equal(enter(), ENTERED); // nothing comes on top of it
        assert_int_equal(injected(), rows[i / 2].again);
    }
    svm.features = 0;
}

// QEMU's: another exit may come before it is taken, or in the middle of that. Then it comes again,
// once; and where an exit must be asked for, too, EVENTINJ has to do.
static void virtual_not_taken(void **state)
{
    (void)state;
    vlapic_accept(&vcpu.arch.vlapic, 0x63, false);
    assert_int_equal(enter(), ENTERED);
    assert_true(is_virtual_now());
    for (unsigned i = 0; i < 2; i++) {
        vcpu.arch.inject = 0;
        vmcb.exit_event = i ? EVENT(EVENT_EXCEPTION, 0x63) : 0;
        svm_replay(&vcpu);
        assert_true(vcpu.arch.inject);
        assert_int_equal(enter(), ENTERED);
        assert_int_equal(injected(), EVENT(EVENT_INTR, 0x63));
        assert_true(is_virtual_now());
    }
    vcpu.intr_line = INTR_HIGH;
    svm_replay(&vcpu);
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(vmcb.event, EVENT(EVENT_INTR, 0x63));
    assert_true(window() && vcpu.injected == 1);
    taken();
    vmcb.exit_event = 0;
    svm_replay(&vcpu); // the window is none's event
    assert_int_equal(vmcb.event, 0);
}

// One NMI is in its handler until IRET is done; a second one waits for that.
static void nmi_in_an_nmi(void **state)
{
    (void)state;
    vcpu.work = VCPU_WORK_NMI;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), EVENT(EVENT_NMI, 2));
    taken();
    vcpu.work = VCPU_WORK_NMI;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), 0);
    svm_exit_iret(&vcpu);
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), 0); // IRET is not done yet
    assert_false(vmcb.intercept & INTERCEPT_IRET);
    vmcb.rflags = RFLAGS_FIXED | RFLAGS_IF; // as IRET has popped them
    vmcb.dr6 |= DR6_STEP;
    assert_true(svm_stepped(&vcpu));
    assert_int_equal(vmcb.dr6, 0xffff0ff0);
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), EVENT(EVENT_NMI, 2));
}

// Behind an STI, or something else that is to be delivered: one instruction is stepped.
static void nmi_has_to_wait(void **state)
{
    (void)state;
    vmcb.interrupt_shadow = SVM_SHADOW;
    vcpu.work = VCPU_WORK_NMI;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), 0);
    assert_true(vmcb.rflags & RFLAGS_TF);
    assert_false(svm_stepped(&vcpu)); // a breakpoint of the guest's own comes first
    vmcb.interrupt_shadow = 0;
    vmcb.dr6 |= DR6_STEP | 1;
    assert_false(svm_stepped(&vcpu)); // and now both at once: the guest hears of its own only
    assert_int_equal(vmcb.dr6, 0xffff0ff0 | 1);
    assert_false(vmcb.rflags & RFLAGS_TF);
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), EVENT(EVENT_NMI, 2));
}

// A guest that steps itself sees its own trap.
static void a_guest_steps(void **state)
{
    (void)state;
    vmcb.rflags |= RFLAGS_TF;
    vmcb.interrupt_shadow = SVM_SHADOW;
    vcpu.work = VCPU_WORK_NMI;
    assert_int_equal(enter(), ENTERED);
    vmcb.dr6 |= DR6_STEP;
    assert_false(svm_stepped(&vcpu));
    assert_true(vmcb.dr6 & DR6_STEP);
    assert_true(vmcb.rflags & RFLAGS_TF);
}

static void halting(void **state)
{
    (void)state;
    vcpu.arch.halted = 1;
    assert_int_equal(enter(), HALTED);
    vlapic_accept(&vcpu.arch.vlapic, 0x41, false);
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(vcpu.arch.halted, 0);
    taken();
    vcpu.arch.halted = 1; // with IF clear now
    assert_int_equal(enter(), TO_VMM);
    assert_int_equal(kind, VM_EXIT_HALTED);
    assert_int_equal(enter(), HALTED);
    vcpu.work = VCPU_WORK_NMI;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(injected(), EVENT(EVENT_NMI, 2));
}

// RF is set in what a fault pushes, not in what a trap does; an instruction that is done has none.
static void resume_flag(void **state)
{
    (void)state;
    vmcb.rflags = RFLAGS_FIXED;
    svm_inject_fault(&vcpu, VECTOR_DB, false, 0);
    assert_int_equal(vmcb.rflags, RFLAGS_FIXED);
    vmcb.event = 0;
    svm_inject_fault(&vcpu, 13, true, 0);
    assert_int_equal(vmcb.rflags, RFLAGS_FIXED | RFLAGS_RF);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t flags = RFLAGS_FIXED | (i & 1 ? RFLAGS_TF : 0);
        vmcb.event = vmcb.dr6 = 0;
        vmcb.rflags = flags | (i & 2 ? RFLAGS_RF : 0);
        svm_skip_to(&vcpu, 0x1003);
        assert_int_equal(vmcb.rip, 0x1003);
        assert_int_equal(vmcb.rflags, flags);
        assert_int_equal(vmcb.event, i & 1 ? EVENT(EVENT_EXCEPTION, VECTOR_DB) : 0);
        assert_int_equal(vmcb.dr6, i & 1 ? DR6_STEP : 0);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(interrupts_by_priority), TEST(behind_tpr), TEST(from_the_pic), TEST(double_faults),
        TEST(what_an_exit_interrupted), TEST(virtual_not_taken), TEST(nmi_in_an_nmi),
        TEST(nmi_has_to_wait), TEST(a_guest_steps), TEST(halting), TEST(resume_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
