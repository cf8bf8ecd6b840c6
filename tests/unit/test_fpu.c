// SPDX-License-Identifier: BSD-2-Clause
// Whose vector registers a core holds: two VMMs with a guest each, and a thread without one, in any
// order, with guests that are entered and exit, and some that are not entered after all. The CPU is
// a word of registers, CR0.TS and XCR0.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
// What follows has these in place of the CPU's.
#define clts        cpu_clts
#define read_cr0    cpu_read_cr0
#define write_cr0   cpu_write_cr0
#define xsetbv      cpu_xsetbv
#define fpu_save    cpu_fpu_save
#define fpu_restore cpu_fpu_restore
#define fninit      cpu_fninit
#include "kernel/arch/x86/x86.h"
#undef clts
#undef read_cr0
#undef write_cr0
#undef xsetbv
#undef fpu_save
#undef fpu_restore
#undef fninit

#define ARCH_PRCTL  158
#define ARCH_SET_GS 0x1001
#define ALL         7ull

struct features features = { .xcr0 = ALL };
static uint64_t registers, cr0, xcr0;
static uint32_t pointers; // of the last x87 instruction: one more than whose; 0: cleared

static inline void clts(void) { cr0 &= ~CR0_TS; }
static inline uint64_t read_cr0(void) { return cr0; }
static inline void write_cr0(uint64_t v) { cr0 = v; }
static inline void xsetbv(uint64_t v) { xcr0 = v; }

// #NM with TS; and what XCR0 does not name, neither saves nor restores.
static void check_access(void)
{
    assert_false(cr0 & CR0_TS);
    assert_true(xcr0 == ALL);
}

static void fpu_save(void *area)
{
    check_access();
    memcpy(area, &registers, sizeof(registers));
}

static void fpu_restore(const void *area)
{
    check_access();
    memcpy(&registers, area, sizeof(registers));
}

static void fninit(void)
{
    check_access();
    registers = ~registers;
    pointers = 0;
}

// Where XSAVE and XRSTOR leave them alone.
static void use_x87(uint32_t i)
{
    assert_true(pointers == 0 || pointers == i + 1 || !features.amd);
    pointers = i + 1;
}

#include "kernel/arch/x86/fpu.c"

void panic(const char *format, ...) { fail_msg("%s", format); abort(); }

static struct cpu cpu;
static struct process process[3];
static struct thread thread[3];
static struct vcpu vcpu[2]; // of the first two
static struct fpu area[2];
static struct vcpu_page pages[2];
static uint64_t expected[3], guest_expected[2]; // what is to be in the registers when it goes on
static uint64_t initial;

static int setup(void **state)
{
    (void)state;
    memset(&cpu, 0, sizeof(cpu));
    memset(thread, 0, sizeof(thread));
    memset(vcpu, 0, sizeof(vcpu));
    cpu.arch.self = &cpu;
    memcpy(&initial, &fpu_initial, sizeof(initial));
    cr0 = 0;
    registers = pointers = 0;
    features.amd = false;
    for (uint32_t i = 0; i < 3; i++) {
        thread[i].process = &process[i];
        thread[i].arch.regs.vector = REGS_SYSCALL;
        expected[i] = initial;
    }
    for (uint32_t i = 0; i < 2; i++) {
        vcpu[i].object.owner = &process[i];
        vcpu[i].arch.fpu = &area[i];
        vcpu[i].page = &pages[i];
        vcpu[i].arch.xcr0 = i ? 3 : ALL;
        area[i] = fpu_initial;
        guest_expected[i] = initial;
    }
    int status = (int)syscall(ARCH_PRCTL, ARCH_SET_GS, &cpu);
    xcr0 = cpu.arch.fpu_xcr0 = ALL;
    return status;
}

// The thread runs in ring 3, and touches the registers or not; then an interrupt or a call.
static void ring3(uint32_t i, bool touches, bool calls)
{
    struct thread *t = &thread[i];
    cpu.current = t;
    fpu_use_thread(&cpu, t);
    const struct vcpu *v = cpu.arch.fpu_vcpu;
    assert_int_equal(!!(cr0 & CR0_TS), v != NULL);
    assert_true(!v || v->object.owner == t->process);
    t->arch.regs.vector = 0xe0; // as an interrupt, should it trap
    if (touches) {
        if (v)
            assert_true(fpu_trapped(&cpu));
        assert_false(cr0 & CR0_TS);
        assert_true(xcr0 == ALL);
        assert_int_equal(registers, expected[i]);
        registers = expected[i] = (uint64_t)rand() << 8 | i;
        use_x87(i);
    }
    if (calls) { // clobbers all
        t->arch.regs.vector = REGS_SYSCALL;
        t->arch.fpu_saved = 0;
        if (cpu.arch.fpu_thread == t)
            registers = initial;
        expected[i] = initial;
    }
}

// The full way into the guest; which is left again before it is entered, or exits.
static void guest(uint32_t i, bool entered)
{
    ring3(i, false, true);
    fpu_use_vcpu(&cpu, &vcpu[i]);
    if (!entered)
        return;
    assert_int_equal(registers, guest_expected[i]);
    assert_int_equal(xcr0, vcpu[i].arch.xcr0);
    registers = guest_expected[i] = (uint64_t)rand() << 8 | 0x10 | i;
    use_x87(i);
    if (rand() % 2)
        cr0 |= CR0_TS; // HOST_CR0; SVM brings back what there was
    assert_true(cr0 & CR0_TS);
}

static void nobody_meets_anothers(void **state)
{
    for (unsigned n = 0; n < 200000; n++) {
        if (n == 100000) {
            setup(state);
            features.amd = true;
        }
        uint32_t i = (uint32_t)rand() % 3;
        switch (rand() % 4) {
        case 0:
            fpu_leave(&cpu, i < 2 && rand() % 2 ? (const void *)&vcpu[i] : &thread[i]);
            break;
        case 1:
            if (i < 2)
                guest(i, rand() % 4);
            break;
        default:
            ring3(i, rand() % 2, rand() % 2);
            break;
        }
    }
}

// There is work for its VMM before it is entered: that may use the registers, and loses nothing of
// its guest's by it.
static void not_entered_after_all(void **state)
{
    (void)state;
    guest(0, true);
    ring3(1, true, false);
    guest(0, false);
    ring3(0, true, true);
    guest(0, true);
}

// A VMM reads and writes its guest's registers, wherever they are, and has its own afterwards.
static void a_vmm_sees_its_guests(void **state)
{
    uint64_t shared;
    (void)state;
    guest(0, true);
    ring3(0, false, true);
    assert_int_equal(arch_vcpu_fpu(&vcpu[0], false), OK);
    memcpy(&shared, pages[0].fpu, sizeof(shared));
    assert_int_equal(shared, guest_expected[0]);
    ring3(0, true, false);
    shared = guest_expected[0] = 0x4711;
    memcpy(pages[0].fpu, &shared, sizeof(shared));
    thread[0].arch.regs.vector = REGS_SYSCALL;
    expected[0] = initial;
    assert_int_equal(arch_vcpu_fpu(&vcpu[0], true), OK);
    registers = initial; // the call clobbers
    ring3(0, true, true);
    guest(0, true);
}

// What XRSTOR would refuse, and what the guest has not enabled, a VMM cannot put there.
static void a_vmm_writes_what_may_be(void **state)
{
    uint64_t header[8], *own = (uint64_t *)(area[1].area + 512);
    (void)state;
    cpu.current = &thread[1];
    memset(pages[1].fpu, 0xff, sizeof(pages[1].fpu));
    assert_int_equal(arch_vcpu_fpu(&vcpu[1], true), OK);
    memset(header, 0, sizeof(header));
    header[0] = vcpu[1].arch.xcr0;
    assert_memory_equal(own, header, sizeof(header));
    assert_int_equal(area[1].area[25], 0xff);
    assert_int_equal(area[1].area[26] | area[1].area[27], 0);
    assert_int_equal(area[1].area[28], 0);
    assert_int_equal(area[1].area[32], 0xff);
    assert_int_equal(area[1].area[FPU_SIZE - 1], 0xff);
    *own = 7; // what it has used before it turned that off stays its own
    assert_int_equal(arch_vcpu_fpu(&vcpu[1], true), OK);
    assert_int_equal(*own, 7);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(not_entered_after_all), TEST(nobody_meets_anothers), TEST(a_vmm_sees_its_guests),
        TEST(a_vmm_writes_what_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
