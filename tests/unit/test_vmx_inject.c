// SPDX-License-Identifier: BSD-2-Clause
// What a guest is to receive, on a VMCS that is an array: what is injected, in which order, what is
// asked to be told of later; and that a CPU would accept each entry (SDM, "Checks on VM-Entry
// Control Fields", "Checks on Guest Non-Register State"). No emulator at hand checks pending debug
// exceptions.
#include "kernel/arch/x86/vmx/vmx.h"
#include "inject_world.h"

#define INTR_PRIVILEGED 5u // INT1
#define DR7_GD (1u << 13)

uint64_t fake_vmcs[FAKE_FIELDS], fake_dr6;
static struct vm vm;

// What the kernel's other files do here.
void vmx_vlapic_actions(struct vcpu *v)
{
    v->arch.nmi_pending |= !!(v->arch.vlapic.actions & VLAPIC_ACT_NMI);
    v->arch.vlapic.actions = 0;
}
void context_load_dr(const struct vcpu *v) { (void)v; }
bool mce_handled(void) { return false; }
uint64_t vmx_guest_cr0(void) { return fake_vmcs[GUEST_CR0]; }
bool vmx_guest_sets_cr0(uint64_t value) { (void)value; return true; }
bool vmx_guest_sets_cr4(struct vcpu *v, uint64_t value) { (void)v; (void)value; return true; }

void vmx_kill(struct vcpu *v, enum vm_killed code, uint32_t reason)
{
    (void)v;
    fail_msg("killed: %u %u", code, reason);
    abort();
}

void vmcs_access_failed(const char *insn, enum vmcs_field field, const char *name,
                        const char *caller)
{
    panic("%s of %s (%x) in %s", insn, name, field, caller);
}

void vmx_set_primary(struct vcpu *v, uint32_t which, uint32_t to)
{
    v->arch.primary = (v->arch.primary & ~which) | to;
}

// A CPU's judgement of this entry.
static void check_entry(void)
{
    uint64_t info = fake_vmcs[ENTRY_INTR_INFO], flags = fake_vmcs[GUEST_RFLAGS];
    uint64_t block = fake_vmcs[GUEST_INTERRUPTIBILITY];
    assert_int_not_equal(block & 3, BLOCK_STI | BLOCK_SS);
    assert_true(!(block & BLOCK_STI) || (flags & RFLAGS_IF));
    if (info & EVENT_VALID) {
        uint64_t type = EVENT_TYPE(info);
        assert_true(type != EVENT_INTR || ((flags & RFLAGS_IF) && !(block & 3)));
        assert_true(type != EVENT_NMI || !(block & (3 | BLOCK_NMI)));
    }
    if (block & (BLOCK_STI | BLOCK_SS))
        assert_int_equal(!!(fake_vmcs[GUEST_PENDING_DEBUG] & PENDING_STEP), !!(flags & RFLAGS_TF));
}

// The slow half of an entry.
static enum left enter(void)
{
    enum left left = setjmp(out);
    if (left == ENTERED) {
        vmx_inject_pending(&vcpu);
        check_entry();
    }
    return left;
}

static bool window(uint32_t which) { return vcpu.arch.primary & which; }

static int setup(void **state)
{
    (void)state;
    memset(fake_vmcs, 0, sizeof(fake_vmcs));
    make_vcpu();
    vcpu.arch.skip_flags = RFLAGS_TF;
    vcpu.vm = &vm;
    vcpu.arch.special |= SPECIAL_DR;
    fake_dr6 = 0xffff0ff0;
    fake_vmcs[GUEST_CR0] = CR0_PE;
    fake_vmcs[GUEST_RFLAGS] = 2 | RFLAGS_IF;
    return 0;
}

// An exit for #DB: what the CPU leaves of it.
static void debug_exit(uint32_t type, uint64_t qualification, uint64_t block, uint64_t flags)
{
    fake_vmcs[EXIT_INTR_INFO] = EVENT(type, VECTOR_DB);
    fake_vmcs[EXIT_QUALIFICATION] = qualification;
    fake_vmcs[EXIT_INSN_LEN] = 1;
    fake_vmcs[GUEST_INTERRUPTIBILITY] = block;
    fake_vmcs[GUEST_PENDING_DEBUG] = 0;
    fake_vmcs[GUEST_RFLAGS] = flags;
    assert_int_equal(vmx_exit_exception(&vcpu), EXIT_RESUME);
}

static void debug_trap_in_a_shadow(void **state)
{
    static const struct { uint32_t type; uint64_t block, flags; } cases[] = {
        { EVENT_EXCEPTION, BLOCK_STI, RFLAGS_TF | RFLAGS_IF }, // STI was stepped
        { INTR_PRIVILEGED, BLOCK_SS, RFLAGS_TF },             // MOV SS; INT1
        { INTR_PRIVILEGED, BLOCK_SS, RFLAGS_TF | RFLAGS_IF },
        { INTR_PRIVILEGED, BLOCK_SS, 0 },
        { INTR_PRIVILEGED, BLOCK_STI, RFLAGS_IF },
        { EVENT_EXCEPTION, 0, RFLAGS_TF | RFLAGS_IF },
        { EVENT_EXCEPTION, 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        debug_exit(cases[i].type, PENDING_STEP, cases[i].block, cases[i].flags);
        check_entry();
        assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], EVENT(cases[i].type, VECTOR_DB));
        assert_int_equal(fake_vmcs[ENTRY_INSN_LEN], cases[i].type == INTR_PRIVILEGED ? 1 : 0);
        fake_vmcs[ENTRY_INSN_LEN] = 0;
        // The same from the VMM.
        fake_vmcs[GUEST_PENDING_DEBUG] = fake_vmcs[ENTRY_INTR_INFO] = 0;
        assert_int_equal(vmx_inject_fault(&vcpu, VECTOR_DB, false, 0), EXIT_RESUME);
        check_entry();
    }
}

static void debug_exit_updates_what_delivery_would(void **state)
{
    (void)state;
    fake_dr6 = 0xffff0ff0 | 3;
    fake_vmcs[GUEST_DR7] = 0x400 | DR7_GD;
    debug_exit(EVENT_EXCEPTION, 0x2004, 0, 2);
    assert_int_equal(fake_dr6, 0xffff0ff0 | 0x2004);
    assert_int_equal(fake_vmcs[GUEST_DR7], 0x400);
    // IRET had unblocked NMIs; not so while an event was being delivered: the bit says nothing.
    fake_vmcs[IDT_INFO] = 0;
    debug_exit(EVENT_EXCEPTION | 1u << 4, 0, 0, 2);
    assert_int_equal(fake_vmcs[GUEST_INTERRUPTIBILITY], BLOCK_NMI);
    fake_vmcs[IDT_INFO] = EVENT(EVENT_INTR, 0x40);
    debug_exit(EVENT_EXCEPTION | 1u << 4, 0, 0, 2);
    assert_int_equal(fake_vmcs[GUEST_INTERRUPTIBILITY], 0);
}

static void a_pending_trap_comes_first(void **state)
{
    static const uint32_t pending[] = { PENDING_STEP, PENDING_BREAKPOINT | 1 };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pending); i++) {
        setup(NULL);
        fake_vmcs[GUEST_PENDING_DEBUG] = pending[i];
        vcpu.work = VCPU_WORK_NMI | VCPU_WORK_POSTED;
        vcpu.pending_edge[1] = 1;
        vcpu.arch.halted = 1; // HLT was stepped
        assert_int_equal(enter(), ENTERED);
        assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], 0);
        assert_true(window(PRI_NMI_WINDOW) && window(PRI_INTR_WINDOW));
        assert_int_equal(vcpu.arch.halted, 0);
        fake_vmcs[GUEST_PENDING_DEBUG] = 0; // it was delivered
        assert_int_equal(enter(), ENTERED);
        assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], EVENT(EVENT_NMI, VECTOR_NMI));
        assert_true(window(PRI_INTR_WINDOW) && !window(PRI_NMI_WINDOW));
        fake_vmcs[ENTRY_INTR_INFO] = 0;
        fake_vmcs[GUEST_INTERRUPTIBILITY] = BLOCK_NMI;
        assert_int_equal(enter(), ENTERED);
        assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], EVENT(EVENT_INTR, 0x40));
        assert_false(window(PRI_INTR_WINDOW));
    }
    // The PIC's interrupt waits for it, too.
    setup(NULL);
    fake_vmcs[GUEST_PENDING_DEBUG] = PENDING_STEP;
    vcpu.intr_line = INTR_HIGH;
    assert_int_equal(enter(), ENTERED);
    assert_true(window(PRI_INTR_WINDOW));
    fake_vmcs[GUEST_PENDING_DEBUG] = 0;
    assert_int_equal(enter(), TO_VMM);
    assert_int_equal(kind, VM_EXIT_INTR_ACK);
}

// LINT0 as NMI or Fixed: what the line brings comes without the VMM, and ends HLT.
static void intr_without_an_acknowledge_cycle(void **state)
{
    (void)state;
    vcpu.arch.halted = 1;
    fake_vmcs[GUEST_RFLAGS] = 2;
    apic_regs[APIC_LVT_LINT0 / 4] = 0x400;
    assert_int_equal(enter(), HALTED); // not for good: the VMM is not told
    vcpu.work = VCPU_WORK_INTR;
    vcpu.intr_line = INTR_ROSE; // and fallen since
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], EVENT(EVENT_NMI, VECTOR_NMI));
    assert_int_equal(vcpu.intr_line, 0);
    setup(NULL);
    apic_regs[APIC_LVT_LINT0 / 4] = 0x41;
    vcpu.work = VCPU_WORK_INTR;
    vcpu.intr_line = INTR_HIGH | INTR_ROSE;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], EVENT(EVENT_INTR, 0x41));
    assert_int_equal(vcpu.intr_line, INTR_HIGH);
    fake_vmcs[ENTRY_INTR_INFO] = 0;
    vlapic_eoi(&vcpu.arch.vlapic);
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], 0); // it was an edge
}

// In the shadow of STI a CPU may open the NMI window at once, and would do so again and again.
static void nmi_in_a_shadow(void **state)
{
    static const struct { uint64_t block; uint32_t asked; } cases[] = {
        { BLOCK_STI, PRI_INTR_WINDOW }, { BLOCK_SS, PRI_NMI_WINDOW }, { BLOCK_NMI, PRI_NMI_WINDOW },
        { BLOCK_STI | BLOCK_NMI, PRI_INTR_WINDOW },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        setup(NULL);
        vcpu.work = VCPU_WORK_NMI;
        fake_vmcs[GUEST_INTERRUPTIBILITY] = cases[i].block;
        assert_int_equal(enter(), ENTERED);
        assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], 0);
        assert_int_equal(vcpu.arch.primary, cases[i].asked);
        fake_vmcs[GUEST_INTERRUPTIBILITY] = 0;
        assert_int_equal(enter(), ENTERED);
        assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], EVENT(EVENT_NMI, VECTOR_NMI));
        assert_int_equal(vcpu.arch.primary, 0);
    }
}

static void halt_until_something_can_be_taken(void **state)
{
    (void)state;
    vcpu.arch.halted = 1;
    assert_int_equal(enter(), HALTED);
    // With interrupts off, the VMM hears of it once.
    vcpu.work = VCPU_WORK_POSTED;
    vcpu.pending_edge[1] = 1;
    fake_vmcs[GUEST_RFLAGS] = 2;
    assert_int_equal(enter(), TO_VMM);
    assert_int_equal(kind, VM_EXIT_HALTED);
    assert_int_equal(enter(), HALTED);
    assert_true(window(PRI_INTR_WINDOW));
    vcpu.work = VCPU_WORK_NMI;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], EVENT(EVENT_NMI, VECTOR_NMI));
    fake_vmcs[ENTRY_INTR_INFO] = 0;
    vcpu.arch.halted = 1; // and of the next one
    assert_int_equal(enter(), TO_VMM);
    fake_vmcs[GUEST_RFLAGS] = 2 | RFLAGS_IF;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(fake_vmcs[ENTRY_INTR_INFO], EVENT(EVENT_INTR, 0x40));
}

static void each_vector_keeps_its_trigger(void **state)
{
    (void)state;
    vcpu.work = VCPU_WORK_POSTED; // or the other, or both
    vcpu.posted = 1;
    vcpu.pending_edge[1] = 3;
    vcpu.pending_level[1] = 6; // 0x41 in both ways: its EOI is waited for
    fake_vmcs[GUEST_RFLAGS] = 2;
    assert_int_equal(enter(), ENTERED);
    assert_int_equal(apic_regs[(APIC_IRR + 0x20) / 4], 7);
    assert_int_equal(apic_regs[(APIC_TMR + 0x20) / 4], 6);
    assert_int_equal(vcpu.pending_edge[1] | vcpu.pending_level[1] | vcpu.posted, 0);
}

static void two_faults(void **state)
{
    static const struct { uint8_t first, second, result; } cases[] = {
        { 13, 13, 8 }, { 13, 14, 14 }, { 14, 13, 8 }, { 14, 14, 8 }, { 6, 13, 13 }, { 0, 10, 8 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fake_vmcs[ENTRY_INTR_INFO] = 0;
        vmx_inject_fault(&vcpu, cases[i].first, false, 0);
        vmx_inject_fault(&vcpu, cases[i].second, true, 5);
        assert_int_equal(fake_vmcs[ENTRY_INTR_INFO] & 0xff, cases[i].result);
        assert_int_equal(fake_vmcs[ENTRY_ERROR_CODE], cases[i].result == 8 ? 0 : 5);
    }
    fake_vmcs[ENTRY_INTR_INFO] = EVENT(EVENT_EXCEPTION, 8);
    if (setjmp(out) == ENTERED)
        vmx_inject_fault(&vcpu, 13, true, 0);
    assert_int_equal(kind, VM_EXIT_SHUTDOWN);
}

// An instruction that runs again: in the shadow of MOV SS the single step that waits is that one's;
// elsewhere there is none, whatever Bochs leaves. Its own breakpoint does not come again.
static void runs_again(void **state)
{
    for (unsigned i = 0; i < 8; i++) {
        setup(state);
        fake_vmcs[GUEST_INTERRUPTIBILITY] = i & 1 ? BLOCK_SS : 0;
        fake_vmcs[GUEST_RFLAGS] = 2 | (i & 2 ? RFLAGS_TF : 0);
        fake_vmcs[GUEST_PENDING_DEBUG] = i & 2 ? PENDING_STEP : 0;
        fake_vmcs[EXIT_QUALIFICATION] = 0; // MOV to CR0 from RAX
        assert_int_equal(i & 4 ? vmx_exit_dr(&vcpu) : vmx_exit_cr(&vcpu), EXIT_RESUME);
        check_entry();
        assert_int_equal(fake_vmcs[GUEST_PENDING_DEBUG], (i & 3) == 3 ? PENDING_STEP : 0);
        assert_true(fake_vmcs[GUEST_RFLAGS] & RFLAGS_RF);
    }
}

// RF is set in what a fault pushes, not in what a trap does; an instruction that is done has none.
static void resume_flag(void **state)
{
    setup(state);
    fake_vmcs[GUEST_RFLAGS] = 2;
    vmx_inject_fault(&vcpu, VECTOR_DB, false, 0);
    assert_int_equal(fake_vmcs[GUEST_RFLAGS], 2);
    fake_vmcs[ENTRY_INTR_INFO] = 0;
    vmx_inject_fault(&vcpu, VECTOR_GP, true, 0);
    assert_int_equal(fake_vmcs[GUEST_RFLAGS], 2 | RFLAGS_RF);
    vmx_exit_dr(&vcpu); // it uses debug registers
    for (unsigned i = 0; i < 4; i++) {
        uint64_t flags = 2 | (i & 1 ? RFLAGS_TF : 0);
        fake_vmcs[GUEST_PENDING_DEBUG] = 0;
        fake_vmcs[GUEST_RIP] = 0x1000;
        fake_vmcs[GUEST_RFLAGS] = flags | (i & 2 ? RFLAGS_RF : 0);
        vmx_skip(&vcpu, 3);
        assert_int_equal(fake_vmcs[GUEST_RIP], 0x1003);
        assert_int_equal(fake_vmcs[GUEST_RFLAGS], flags);
        assert_int_equal(fake_vmcs[GUEST_PENDING_DEBUG], i & 1 ? PENDING_STEP : 0);
    }
}

#define TEST(f) cmocka_unit_test_setup(f, setup)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(debug_trap_in_a_shadow), TEST(debug_exit_updates_what_delivery_would),
        TEST(a_pending_trap_comes_first), TEST(nmi_in_a_shadow),
        TEST(intr_without_an_acknowledge_cycle),
        TEST(halt_until_something_can_be_taken), TEST(each_vector_keeps_its_trigger),
        TEST(two_faults), TEST(runs_again), TEST(resume_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
