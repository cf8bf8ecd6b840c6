// SPDX-License-Identifier: BSD-2-Clause
// Exits on SVM: what each does, by how much it moves RIP, and whose word it takes for that; each
// entry is judged by svm_cpu.h.
#include "svm_cpu.h"

enum answer { KILLS, SKIPS, SLEEPS, RESUMES, FAULTS, BOARD };

static enum answer answer_to(uint64_t code)
{
    switch (code) {
    case 0x04: case 0x14: case 0x18: // CR4, CR8
    case 0x72: case 0x76: case 0x77: case 0x7c: case 0x81: case 0x89: case 0x8d:
        return SKIPS;
    case 0x78: // HLT
        return SLEEPS;
    case 0x20 ... 0x3f: // debug registers
    case 0x52: // #MC
    case 0x60 ... 0x64: case 0x6c: case 0x6d: case 0x74:
        return RESUMES;
    case 0x40 ... 0x51: case 0x53 ... 0x5f: // exceptions
    case 0x6f: case 0x7a: case 0x80: case 0x82 ... 0x88: case 0x8a ... 0x8c: case 0x8e:
    case 0xa0 ... 0xa4:
        return FAULTS;
    case 0x7b: case 0x7d: case 0x7f: case 0x400:
        return BOARD;
    default:
        return KILLS;
    }
}

// Exceptions do where that is asked for.
static bool can_exit(uint64_t code)
{
    return code < 0x40 || code > 0x5f || vmcb.exceptions >> (code - 0x40) & 1;
}

// One exit of a guest that has just been entered. RIP moves where the instruction is done, and by
// its length.
static void check_exit(uint64_t code)
{
    uint64_t rip = vmcb.rip, end = rip + length_of(rip, vmcb.cr3, code);
    enum answer answer = answer_to(code);
    if (!can_exit(code))
        return;
    enum left left = exits(code);
    if (answer == KILLS) {
        assert_int_equal(left, TO_VMM);
        assert_int_equal(kind, VM_EXIT_KILLED);
        assert_int_equal(page.exit.killed.reason, (uint32_t)code);
        assert_int_equal(page.exit.killed.code, (int32_t)code < 0 ? VM_KILLED_ENTRY
                                                                  : VM_KILLED_UNKNOWN);
    } else if (answer == BOARD) {
        assert_int_equal(left, TO_VMM);
    } else {
        assert_int_equal(left, answer == SLEEPS ? HALTED : ENTERED);
        assert_int_equal(!!(vmcb.event & EVENT_VALID), answer == FAULTS);
        // A host interrupt is never kept out, if not by an exit that costs next to nothing.
        assert_true(windows || code == SVM_EXIT_CPUID || code == SVM_EXIT_VMMCALL || decodes);
    }
    assert_int_equal(vmcb.rip, answer == SKIPS || answer == SLEEPS ? end : rip);
}

static void each_has_an_answer(void **state)
{
    static const uint64_t far[] = { 0x400, 0x401, 0x402, 0x403, 0xffffffff, UINT64_MAX,
                                    (uint64_t)-2, (uint64_t)-4, 1ull << 32, 0x172 };
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        for (uint64_t code = 0; code < 256 + ARRAY_SIZE(far); code++) {
            setup(state);
            decodes = 0;
            page.gpr[GPR_RCX] = 0x10; // IA32_TIME_STAMP_COUNTER
            page.gpr[GPR_RAX] = 7;    // an unknown hypercall
            gpr = GPR_RDX;
            vmcb.exit_info1 = code == SVM_EXIT_MSR ? 0 : code == SVM_EXIT_IOIO ? 0x10 : gpr;
            if (code == SVM_EXIT_XSETBV)
                page.gpr[GPR_RCX] = 0;
            if (code == SVM_EXIT_CR4_WRITE)
                page.gpr[gpr] = CR4_PAE;
            check_exit(code < 256 ? code : far[code - 256]);
        }
    }
}

// VMMCALL and CPUID are answered without a look at anything else.
static void the_fast_path(void **state)
{
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        setup(state);
        for (unsigned n = 0; n < 4; n++) {
            decodes = 0;
            vmcb.rip = 0x1000;
            page.gpr[GPR_RAX] = HYPERCALL_NULL;
            uint64_t end = vmcb.rip + length_of(vmcb.rip, vmcb.cr3, SVM_EXIT_VMMCALL);
            assert_int_equal(exits(SVM_EXIT_VMMCALL), ENTERED);
            assert_int_equal(page.gpr[GPR_RAX], 0);
            assert_int_equal(vmcb.rip, end);
            // Asked for once, if at all.
            assert_int_equal(decodes, !(svm.features & SVM_NRIP) && n == 0);
            assert_int_equal(windows, 0);
        }
        vcpu.work = VCPU_WORK_NMI; // what waits is not passed by
        page.gpr[GPR_RAX] = page.gpr[GPR_RCX] = 0;
        assert_int_equal(exits(SVM_EXIT_CPUID), ENTERED);
        assert_int_equal(EVENT_TYPE(vmcb.event), EVENT_NMI);
        assert_int_equal(vcpu.work, 0);
        core.work = 1;
        assert_int_equal(exits(SVM_EXIT_CPUID), SWITCHED);
        core.work = 0;
        page.gpr[GPR_RAX] = HYPERCALL_YIELD;
        yields = 0;
        assert_int_equal(exits(SVM_EXIT_VMMCALL), ENTERED);
        assert_int_equal(page.gpr[GPR_RAX], 0);
        assert_int_equal(yields, 1);
        vmcb.cpl = 3; // time is the guest's kernel's to give
        page.gpr[GPR_RAX] = HYPERCALL_YIELD;
        assert_int_equal(exits(SVM_EXIT_VMMCALL), ENTERED);
        assert_int_equal(page.gpr[GPR_RAX], ~0ull);
        assert_int_equal(yields, 1);
    }
}

// The register is the one that the instruction names: by the CPU's word or the VMM's, never by
// what another instruction named.
static void control_registers(void **state)
{
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        setup(state);
        for (unsigned n = 0; n < 2000; n++) {
            static const uint64_t codes[] = { 0x04, 0x14, 0x18 };
            uint64_t code = codes[rand() % 3], rip = vmcb.rip, old = vcpu.arch.svm.cr4;
            bool good = rand() % 4, wide = rand() % 4;
            uint64_t value = code == 0x18 ? (uint64_t)rand() % 16 : CR4_PAE | (rand() & 0x80);
            if (!good)
                value |= rand() % 2 ? 1ull << 40 : code == 0x18 ? 1u << 7 : CR4_VMXE;
            vmcb.cs.access = wide ? 0x29b : 0x49b;
            gpr = (unsigned)rand() % 16;
            vmcb.exit_info1 = svm.features & SVM_DECODE ? 1ull << 63 | gpr : 0;
            vmcb.rsp = page.gpr[gpr] = value;
            if (code == 0x14)
                epoch += good || !(value >> 32 ? wide : true);
            assert_int_equal(exits(code), ENTERED);
            bool faults = (code != 4) && !good && (wide || !(value >> 32));
            assert_int_equal(vmcb.event, faults ? EVENT_VALID | EVENT_ERROR | 0x30d : 0);
            assert_int_equal(vmcb.rip == rip, faults);
            if (code == 0x04)
                assert_int_equal(gpr == GPR_RSP ? vmcb.rsp : page.gpr[gpr], old);
            else if (code == 0x18 && !faults)
                assert_int_equal(apic_regs[APIC_TPR / 4], (uint32_t)value << 4);
            else if (code == 0x14)
                assert_int_equal(vcpu.arch.svm.cr4, faults ? old : (uint32_t)value);
            assert_int_equal(vmcb.cr4, vcpu.arch.svm.cr4 | CR4_MCE);
            assert_int_equal(vmcb.vintr & VINTR_TPR, apic_regs[APIC_TPR / 4] >> 4);
        }
    }
}

// The same place has other lengths in other address spaces, and other instructions.
static void lengths(void **state)
{
    static const uint64_t codes[] = { SVM_EXIT_CPUID, SVM_EXIT_VMMCALL, SVM_EXIT_INVD,
                                      SVM_EXIT_WBINVD, SVM_EXIT_MSR, SVM_EXIT_HLT };
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        setup(state);
        decodes = 0;
        for (unsigned n = 0; n < 20000; n++) {
            vmcb.rip = 0x1000 + (unsigned)rand() % 24;
            vmcb.cr3 = (uint64_t)(rand() % 3) << 12;
            page.gpr[GPR_RCX] = MSR_TSC_DEADLINE;
            page.gpr[GPR_RAX] = 0;
            vmcb.exit_info1 = 0;
            check_exit(codes[rand() % 6]);
            vcpu.arch.halted = 0;
        }
        assert_int_equal(svm.features & SVM_NRIP ? 0 : 1, decodes != 0 && decodes < 20000);
    }
}

static void words_for_the_board(void **state)
{
    static const struct { uint32_t info; uint64_t word; uint8_t addr_size; } ports[] = {
        { 0x00600010, 0x00600000, 0 },                                    // OUT 60H, AL
        { 0x03f80011, 0x03f80000 | VM_PIO_IN, 0 },
        { 0x0cf80240, 0x0cf80003, 0 },                                    // EAX
        { 0xffff0221, 0xffff0001 | VM_PIO_IN, 0 },                        // AX
        { 0x01f0009d | 8, 0x01f00000 | VM_PIO_IN | VM_PIO_STRING | VM_PIO_REP, 2 }, // A16
        { 0x01f00124, 0x01f00001 | VM_PIO_STRING, 4 },
        { 0x01f00e45, 0x01f00003 | VM_PIO_IN | VM_PIO_STRING, 8 },        // and a segment's number
    };
    static const struct { uint64_t info, event, word; } faults[] = {
        { NPF_FINAL, 0, VM_MMIO_READ | VM_MMIO_GVA | VM_MMIO_FIND | VM_MMIO_OPERAND },
        { NPF_FINAL | 6, 0, VM_MMIO_WRITE | VM_MMIO_GVA | VM_MMIO_FIND | VM_MMIO_OPERAND },
        { NPF_FINAL | 0x14, 0, VM_MMIO_EXEC | VM_MMIO_GVA | VM_MMIO_FIND | VM_MMIO_OPERAND },
        { 2ull << 32 | 6, 0, VM_MMIO_WRITE | VM_MMIO_GVA | VM_MMIO_FIND }, // the guest's tables
        { NPF_FINAL | 6, EVENT_VALID | 0x30, VM_MMIO_WRITE }, // while that was delivered
    };
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
            setup(state);
            vmcb.exit_info1 = ports[i].info;
            vmcb.exit_info2 = 0x1003;
            assert_int_equal(exits(SVM_EXIT_IOIO), TO_VMM);
            assert_int_equal(kind, VM_EXIT_PIO);
            assert_int_equal(word, ports[i].word);
            if (word & VM_PIO_STRING)
                assert_int_equal(page.exit.pio.addr_size, ports[i].addr_size);
            assert_int_equal(resume(VM_RUN_NEXT), ENTERED);
            assert_int_equal(vmcb.rip, 0x1003);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
            setup(state);
            vmcb.exit_info1 = faults[i].info;
            vmcb.exit_info2 = 0xfee00080;
            vmcb.exit_event = faults[i].event;
            assert_int_equal(exits(SVM_EXIT_NPF), TO_VMM);
            assert_int_equal(kind, VM_EXIT_MMIO);
            assert_int_equal(word, faults[i].word);
            assert_int_equal(page.exit.mmio.gpa, 0xfee00080);
            assert_int_equal(page.exit.cpu.code_size, 8);
            assert_int_equal(resume(faults[i].event ? 0 : 4), ENTERED);
            bool is_virtual = vmcb.vintr & VINTR_IRQ; // see check_event()
            uint64_t vector = is_virtual ? EVENT_VALID | (uint8_t)(vmcb.vintr >> VINTR_VECTOR) : 0;
            assert_int_equal(vmcb.event | vector, faults[i].event); // not lost on the way
            assert_int_equal(vmcb.rip, faults[i].event ? 0x1000 : 0x1004);
        }
    }
}

static void extended_state(void **state)
{
    static const struct { uint64_t value, index; uint8_t cpl; bool good; } rows[] = {
        { 7, 0, 0, true }, { 3, 0, 0, true }, { 1, 0, 0, true }, { 0, 0, 0, false },
        { 5, 0, 0, false }, { 15, 0, 0, false }, { 1ull << 63 | 1, 0, 0, false },
        { 7, 1, 0, false }, { 7, 1ull << 32, 0, true }, { 3, 0, 3, false },
    };
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
            setup(state);
            page.gpr[GPR_RAX] = (uint32_t)rows[i].value | 1ull << 40; // the upper half is ignored
            page.gpr[GPR_RDX] = rows[i].value >> 32;
            page.gpr[GPR_RCX] = rows[i].index;
            vmcb.cpl = rows[i].cpl;
            assert_int_equal(exits(SVM_EXIT_XSETBV), ENTERED);
            assert_int_equal(xcr0, rows[i].good ? rows[i].value : 7);
            assert_int_equal(xcr0, core.arch.fpu_xcr0 ? core.arch.fpu_xcr0 : 7);
            assert_int_equal(vmcb.rip == 0x1000, !rows[i].good);
        }
    }
}

// What a CPU checks before an intercept, and QEMU 10 behind it.
static void checked_late(void **state)
{
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        setup(state);
        vmcb.cpl = 3;
        assert_int_equal(exits(SVM_EXIT_WBINVD), ENTERED);
        assert_int_equal(vmcb.event, EVENT_VALID | EVENT_ERROR | EVENT_EXCEPTION << 8 | VECTOR_GP);
        setup(state);
        page.gpr[GPR_RAX] = 3;
        assert_true(svm_guest_sets_cr4(&vcpu, CR4_PAE));
        assert_int_equal(exits(SVM_EXIT_XSETBV), ENTERED);
        assert_int_equal(vmcb.event, EVENT_VALID | EVENT_EXCEPTION << 8 | VECTOR_UD);
        assert_int_equal(xcr0, 7);
        assert_int_equal(vmcb.rip, 0x1000);
    }
}

// Written and read, and which ones are the VMM's, which #GP.
static void model_specific(void **state)
{
    static const struct { uint32_t index; uint64_t value; enum { GOOD, GP, VMM } is; } rows[] = {
        { MSR_EFER, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE, GOOD },
        { MSR_EFER, EFER_LME | EFER_SVME, GP }, { MSR_EFER, EFER_SCE, GP }, // LME, with paging
        { MSR_PAT, 0x0007010600070106, GOOD }, { MSR_PAT, 2, GP },
        { MSR_TSC_AUX, 0x1234, GOOD }, { MSR_TSC_AUX, 1ull << 32, GP },
        { 0x10, 0x123456789a, GOOD }, { 0xc0010015, 1, VMM }, { 0xc0010114, 0, VMM },
        { 0xc0010117, 0x1000, VMM }, { 0x1d9, 1, VMM },
    };
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
            setup(state);
            page.gpr[GPR_RCX] = rows[i].index | 1ull << 60;
            page.gpr[GPR_RAX] = (uint32_t)rows[i].value | 1ull << 50;
            page.gpr[GPR_RDX] = rows[i].value >> 32;
            vmcb.exit_info1 = 1;
            epoch += rows[i].index == MSR_EFER && rows[i].is == GOOD;
            enum left left = exits(SVM_EXIT_MSR);
            assert_int_equal(left, rows[i].is == VMM ? TO_VMM : ENTERED);
            assert_int_equal(vmcb.rip == 0x1000, rows[i].is != GOOD);
            assert_true(vmcb.efer & EFER_SVME);
            if (rows[i].is == VMM) {
                assert_int_equal(kind, VM_EXIT_WRMSR);
                assert_int_equal(resume(VM_RUN_NEXT), ENTERED);
                assert_int_not_equal(vmcb.rip, 0x1000);
            }
            if (rows[i].is != GOOD || rows[i].index == 0x10)
                continue;
            vmcb.exit_info1 = 0;
            assert_int_equal(exits(SVM_EXIT_MSR), ENTERED);
            assert_int_equal(page.gpr[GPR_RAX] | page.gpr[GPR_RDX] << 32, rows[i].value);
        }
        assert_int_equal(vmcb.pat, vcpu.arch.msrs.pat);
    }
}

// The trap behind an instruction that was done for the guest; not behind one that faulted.
static void single_step(void **state)
{
    for (unsigned c = 0; c < COMBINATIONS; c++) {
        combination(c);
        setup(state);
        vmcb.rflags |= RFLAGS_TF;
        page.gpr[GPR_RAX] = 0;
        assert_int_equal(exits(SVM_EXIT_CPUID), ENTERED);
        assert_int_equal(vmcb.event, EVENT_VALID | EVENT_EXCEPTION << 8 | VECTOR_DB);
        assert_int_equal(vmcb.dr6, 0xffff0ff0 | DR6_STEP);
        vmcb.dr6 = 0xffff0ff0;
        page.gpr[GPR_RCX] = 1;
        uint64_t rip = vmcb.rip;
        assert_int_equal(exits(SVM_EXIT_XSETBV), ENTERED);
        assert_int_equal(vmcb.event & 0xff, VECTOR_GP);
        assert_int_equal(vmcb.dr6, 0xffff0ff0);
        assert_int_equal(vmcb.rip, rip);
        assert_int_equal(exits(SVM_EXIT_HLT), ENTERED); // which the trap ends
        assert_int_equal(vmcb.event & 0xff, VECTOR_DB);
    }
}

// An NMI waits for one instruction, behind STI, and that one exits: CPUID, HLT, a port. The guest
// gets the NMI, and no trap that it has not asked for.
static void our_own_step(void **state)
{
    for (unsigned c = 0; c < 3 * COMBINATIONS; c++) {
        combination(c / 3);
        setup(state);
        vmcb.interrupt_shadow = SVM_SHADOW;
        vcpu.work = VCPU_WORK_NMI;
        assert_int_equal(exits(SVM_EXIT_INTR), ENTERED);
        assert_true(vmcb.rflags & RFLAGS_TF);
        assert_int_equal(vmcb.event, 0);
        page.gpr[GPR_RAX] = 0;
        vmcb.exit_info2 = 0x1001;
        vmcb.exit_info1 = 0x10;
        enum left left = exits(c % 3 == 0 ? SVM_EXIT_CPUID
                                          : c % 3 == 1 ? SVM_EXIT_HLT : SVM_EXIT_IOIO);
        if (left == TO_VMM)
            left = resume(VM_RUN_NEXT);
        assert_int_equal(left, ENTERED);
        assert_int_equal(vmcb.event, EVENT_VALID | EVENT_NMI << 8 | VECTOR_NMI);
        assert_false(vmcb.rflags & RFLAGS_TF);
        assert_int_equal(vmcb.dr6, 0xffff0ff0);
    }
}

// From the first use on, on the CPU's own.
static void debug_registers(void **state)
{
    combination(3);
    setup(state);
    assert_int_equal(vmcb.dr_reads & vmcb.dr_writes, 0xffff);
    assert_int_equal(exits(SVM_EXIT_DR + 0x17), ENTERED);
    assert_int_equal(vmcb.dr_reads | vmcb.dr_writes, 0);
    assert_true(vcpu.arch.special & SPECIAL_DR);
    assert_int_equal(vmcb.rip, 0x1000);
}

static void machine_check(void **state)
{
    combination(3);
    setup(state);
    machine_checked = true;
    assert_int_equal(exits(SVM_EXIT_EXCEPTION + VECTOR_MC), TO_VMM);
    assert_int_equal(page.exit.killed.code, VM_KILLED_MACHINE_CHECK);
}

static void faults_of_a_vmm(void **state)
{
    combination(3);
    setup(state);
    assert_int_equal(exits(SVM_EXIT_NPF), TO_VMM);
    page.entry.fault.vector = VECTOR_PF;
    page.entry.fault.has_error = 1;
    page.entry.fault.error = 9;
    page.entry.fault.address = 0xabc000;
    page.entry.flags = VM_ENTRY_FAULT;
    assert_int_equal(resume(VM_RUN_PAGE), ENTERED);
    assert_int_equal(vmcb.event, EVENT_VALID | EVENT_ERROR | 0x30e | 9ull << 32);
    assert_int_equal(vmcb.cr2, 0xabc000);
    assert_int_equal(vmcb.rip, 0x1000);
}

// Any exit, with anything in the registers, one after the other: the guest goes on behind an
// instruction or at it, or not at all.
static void any_exits(void **state)
{
    for (unsigned n = 0; n < 200000; n++) {
        if (n % 50 == 0) {
            combination((unsigned)rand() % COMBINATIONS);
            setup(state);
        }
        uint64_t code = (uint64_t)(rand() % 16 ? rand() % 0xa8 : rand() % 3 + 0x3ff);
        bool wide = rand() % 2; // else the end of 4 GB is near at times
        vmcb.cs.access = wide ? 0x29b : 0x49b;
        vmcb.rip = rand() % 8 == 0 ? 0xfffffff9 : wide ? vmcb.rip : (uint32_t)vmcb.rip;
        uint64_t rip = vmcb.rip, end = rip + length_of(rip, vmcb.cr3, code);
        end = wide ? end : (uint32_t)end;
        for (unsigned i = 0; i < 16; i++)
            page.gpr[i] = rand() % 2 ? (uint64_t)rand() % 32 : (uint64_t)rand() << (rand() % 34);
        if (rand() % 2)
            page.gpr[GPR_RCX] = (uint32_t[]){ MSR_EFER, MSR_PAT, 0x10, 0x808, 0x1b }[rand() % 5];
        gpr = (unsigned)rand() % 16;
        vmcb.exit_info1 = code == SVM_EXIT_IOIO ? 0x3f80011 : code < 0x20 ? gpr
                                                                          : (uint64_t)rand();
        vmcb.exit_info2 = end;
        vmcb.exit_event = 0;
        vmcb.rflags = RFLAGS_FIXED | (rand() & (RFLAGS_IF | RFLAGS_TF));
        vmcb.cpl = rand() % 4 ? 0 : 3;
        if (rand() % 4 == 0)
            vcpu.work |= VCPU_WORK_NMI;
        if (rand() % 4 == 0)
            vlapic_accept(&vcpu.arch.vlapic, (uint8_t)(rand() % 256), false);
        if (!can_exit(code))
            continue;
        epoch++; // whether it must flush is told by others
        memset(translations, 0, sizeof(translations));
        enum left left = exits(code);
        enum answer answer = answer_to(code);
        assert_true(vmcb.rip == rip || (vmcb.rip == end && (answer == SKIPS || answer == SLEEPS ||
                                                            code == SVM_EXIT_MSR)));
        if (left == ENTERED && vmcb.rip == rip && answer == SKIPS)
            assert_true(EVENT_TYPE(vmcb.event) == EVENT_EXCEPTION && vmcb.event & EVENT_VALID);
        if (answer == KILLS && code != SVM_EXIT_MSR)
            assert_int_equal(kind, VM_EXIT_KILLED);
        assert_true(left != TO_VMM || gif);
        if (left == HALTED)
            vcpu.arch.halted = 0;
        if (left == TO_VMM || left == HALTED)
            setup(state);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

// What CPUID says is copied from the page, and nothing else of it counts behind that.
static void cpuid_is_frozen(void **state)
{
    (void)state;
    page.cpuid = (struct cpuid_table){ .cr4 = CR4_PAE | CR4_VMXE, .efer = EFER_LME | EFER_SVME };
    page.cpuid.slot[1].at = sizeof(struct cpuid_entry);
    page.cpuid.entry[1].regs.eax = 0x12345;
    assert_true(take_cpuid(&vcpu));
    page.cpuid.slot[1].at = UINT16_MAX;
    assert_int_equal(vcpu.arch.table.slot[1].at, sizeof(struct cpuid_entry));
    assert_int_equal(vcpu.arch.table.entry[1].regs.eax, 0x12345);
    assert_int_equal(vcpu.arch.table.cr4, CR4_PAE); // what no guest may set is left out
    assert_int_equal(vcpu.arch.table.efer, EFER_LME);
    assert_false(take_cpuid(&vcpu)); // it leads out of itself
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_has_an_answer), TEST(the_fast_path), TEST(control_registers), TEST(lengths),
        TEST(words_for_the_board), TEST(extended_state), TEST(checked_late),
        TEST(model_specific), TEST(single_step), TEST(our_own_step), TEST(debug_registers),
        TEST(machine_check), TEST(faults_of_a_vmm), TEST(any_exits), TEST(cpuid_is_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
