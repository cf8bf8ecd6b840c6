// SPDX-License-Identifier: BSD-2-Clause
// Entries on SVM: what a vCPU brings with it when its core, its tables or its registers have
// changed, and when the CPU refuses; each is judged by svm_cpu.h.
#include "svm_cpu.h"

// A VMM whose guest has what no CPU takes. The flush that was due when address spaces began anew
// was not done: nobody may come to translations of others by that.
static void a_refused_entry(void **state)
{
    for (unsigned before = 0; before < 2 * ARRAY_SIZE(translations); before++) {
        combination(3);
        setup(state);
        for (unsigned n = 0; n < before; n++) {
            epoch++; // others use what there is
            svm_new_asid(&vcpu);
            assert_int_equal(resume(0), ENTERED);
        }
        for (unsigned n = 0; n < 3; n++) {
            epoch++;
            svm_new_asid(&vcpu);
            refuses = true;
            assert_int_equal(resume(0), ENTERED);
            assert_int_equal(exits(UINT64_MAX), TO_VMM);
            assert_int_equal(page.exit.killed.code, VM_KILLED_ENTRY);
        }
        refuses = has_cached = false;
        for (unsigned n = 0; n < ARRAY_SIZE(translations); n++) {
            epoch++;
            assert_int_equal(resume(0), ENTERED);
            svm_new_asid(&vcpu);
        }
    }
}

// What a VMM gives is no fault of the kernel's own: WRGSBASE wants an address that is canonical.
static void bases_of_a_vmm(void **state)
{
    static const uint64_t rows[] = { 0, 0x7fffffffffff, 0x800000000000, 1ull << 63, ~0ull,
                                     0xffff7fffffffffff, 0x123456789abcdef0 };
    combination(3);
    setup(state);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        page.sregs = (struct vcpu_sregs){ .rip = 0x1000, .cr0 = CR0_PE, .gs.base = rows[i] };
        gif = true;
        assert_int_equal(arch_vcpu_sregs(&vcpu, true), OK);
        epoch++;
        assert_int_equal(resume(0), ENTERED);
        assert_int_equal(arch_vcpu_sregs(&vcpu, false), OK);
        assert_int_equal(page.sregs.gs.base << 16, rows[i] << 16);
    }
}

// Another core, other tables, and back, between exits that are answered at once or are not.
static void moves_and_flushes(void **state)
{
    combination(3);
    setup(state);
    for (unsigned n = 0; n < 20000; n++) {
        switch (rand() % 8) {
        case 0: // a core that has seen it before, or not
            arch_vcpu_leave(&vcpu);
            has_cached = false;
            core.arch.asid += (uint32_t)rand() % 2;
            epoch++;
            break;
        case 1:
            svm_flush(&vm.space);
            epoch++;
            break;
        }
        assert_int_equal(resume(0), ENTERED);
        vmcb.rip = 0x1000;
        page.gpr[GPR_RAX] = 0;
        assert_int_equal(exits(rand() % 2 ? SVM_EXIT_CPUID : SVM_EXIT_INTR), ENTERED);
        gif = true;
    }
}

// TPR by MOV CR8, which no exit tells, and by its register in memory, in turns.
static void task_priority(void **state)
{
    uint32_t tpr = 0;
    combination(3);
    setup(state);
    for (unsigned n = 0; n < 20000; n++) {
        if (rand() % 2) {
            tpr = (uint32_t)rand() % 16 << 4;
            vmcb.vintr = (vmcb.vintr & ~VINTR_TPR) | tpr >> 4;
        }
        page.gpr[GPR_RAX] = 0;
        vmcb.rip = 0x1000;
        if (rand() % 2)
            assert_int_equal(exits(rand() % 2 ? SVM_EXIT_CPUID : SVM_EXIT_INTR), ENTERED);
        assert_int_equal(exits(SVM_EXIT_NPF), TO_VMM);
        bool write = rand() % 2;
        page.entry.flags = VM_ENTRY_LAPIC;
        page.entry.lapic.offset = APIC_TPR;
        page.entry.lapic.write = write;
        page.entry.lapic.value = write ? tpr = (uint32_t)rand() % 16 << 4 : 0;
        assert_int_equal(resume(VM_RUN_PAGE), write ? ENTERED : TO_VMM);
        if (!write) {
            assert_int_equal(kind, VM_EXIT_LAPIC_READ);
            assert_int_equal(page.exit.lapic.value, tpr);
            assert_int_equal(resume(2), ENTERED);
        }
        assert_int_equal(vmcb.vintr & VINTR_TPR, tpr >> 4);
        if (rand() % 4 == 0)
            vlapic_accept(&vcpu.arch.vlapic, (uint8_t)(rand() % 256), false);
        vmcb.rflags ^= rand() % 2 ? RFLAGS_IF : 0;
    }
}

// Whatever is in neither list exits: an MSR that VMLOAD does not move is the host's.
static void permission_maps(void **state)
{
    static const uint32_t passed[] = { 0x174, 0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083,
                                       0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102 };
    static const uint32_t ranges[] = { 0, 0xc0000000, 0xc0010000 };
    (void)state;
    make_maps();
    const uint8_t *ports = arch_ptr(svm_io_map), *map = arch_ptr(svm_msr_map);
    for (unsigned i = 0; i < 3 * PAGE_SIZE; i++)
        assert_int_equal(ports[i], 0xff);
    for (unsigned i = 0; i < 3 * 0x2000; i++) {
        uint32_t msr = ranges[i / 0x2000] + i % 0x2000, exits = 3;
        for (unsigned n = 0; n < ARRAY_SIZE(passed); n++)
            exits &= passed[n] == msr ? 0 : 3;
        assert_int_equal(map[i / 4] >> i % 4 * 2 & 3, exits);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(permission_maps), TEST(a_refused_entry), TEST(bases_of_a_vmm),
        TEST(moves_and_flushes), TEST(task_priority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
