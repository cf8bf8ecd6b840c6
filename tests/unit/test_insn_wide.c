// SPDX-License-Identifier: BSD-2-Clause
//
// CMPXCHG8B and CMPXCHG16B on device memory, and near jumps and calls through it, by the manual's
// operation sections.
#include "insn_code.h"

#include <stdlib.h>

struct scene {
    struct guest_ram ram;
    struct bus bus;
    struct vcpu_page page;
    struct guest_fault fault;
    uint8_t device[4096];
    unsigned reads;
};

static struct scene *s;

static uint64_t counted_read(void *dev, uint64_t offset, unsigned size)
{
    s->reads++;
    return device_read(dev, offset, size);
}

static const struct device_ops counted_ops = { "memory", 8, counted_read, device_write };

static int setup(void **state)
{
    (void)state;
    s = calloc(1, sizeof(*s));
    guest_ram_new(&s->ram, 8 << 20);
    bus_init(&s->bus);
    s->page.exit = (struct vm_exit){ .rip = 0x401000, .rsp = 0x300000,
                                     .rflags = 2 | ALL, .cpu = { .code_size = 8 } };
    s->page.sregs.cs.limit = s->page.sregs.ss.limit = 0xFFFFFFFF;
    return bus_add_mmio(&s->bus, &counted_ops, s->device, DEVICE, sizeof(s->device)) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    guest_ram_free(&s->ram);
    free(s);
    return 0;
}

static enum insn_run run(const uint8_t *bytes, unsigned length)
{
    struct insn_code code;
    struct insn insn;

    make_code(&code, bytes, length);
    assert_true(insn_decode(&code, s->page.exit.cpu.code_size, &insn));
    s->page.entry.flags = 0;
    if (insn.op == INSN_CMPXCHG_PAIR)
        return insn_run_pair(&insn, &s->ram, &s->bus, &s->page, &s->fault);
    assert_in_range(insn.op, INSN_JMP, INSN_CALL);
    return insn_run_jump(&insn, &s->ram, &s->bus, &s->page, &s->fault);
}
#define RUN(...) run((uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))
#define CMPXCHG8B(at)  0xF0, 0x0F, 0xC7, 0x4E, (at)
#define CMPXCHG16B(at) 0xF0, 0x48, 0x0F, 0xC7, 0x4E, (at)

static void set_registers(uint64_t rdx, uint64_t rax, uint64_t rcx, uint64_t rbx)
{
    s->page.gpr[GPR_RDX] = rdx;
    s->page.gpr[GPR_RAX] = rax;
    s->page.gpr[GPR_RCX] = rcx;
    s->page.gpr[GPR_RBX] = rbx;
    s->page.gpr[GPR_RSI] = DEVICE;
}

static uint64_t device(unsigned at)
{
    uint64_t value;

    memcpy(&value, s->device + at, 8);
    return value;
}

static void set_device(unsigned at, uint64_t value)
{
    memcpy(s->device + at, &value, 8);
}

static void test_cmpxchg8b(void **state)
{
    (void)state;
    set_device(8, 0x1111111122222222);
    set_registers(0xFFFFFFFF11111111, 0xFFFFFFFF22222222, 0xEEEEEEEE33333333, 0xEEEEEEEE44444444);
    assert_int_equal(RUN(CMPXCHG8B(8)), INSN_RUN_DONE);
    assert_int_equal(device(8), 0x3333333344444444);
    assert_int_equal(s->page.gpr[GPR_RAX], 0xFFFFFFFF22222222);
    assert_int_equal(s->page.entry.flags, VM_ENTRY_RFLAGS);
    assert_int_equal(s->page.entry.rflags & ALL, ALL); // ZF is set, the others stay
    assert_int_equal(RUN(CMPXCHG8B(8)), INSN_RUN_DONE); // not equal now
    assert_int_equal(device(8), 0x3333333344444444);
    assert_int_equal(s->page.gpr[GPR_RDX], 0x33333333);
    assert_int_equal(s->page.gpr[GPR_RAX], 0x44444444);
    assert_int_equal(s->page.gpr[GPR_RBX], 0xEEEEEEEE44444444);
    assert_int_equal(s->page.entry.rflags & ALL, ALL & ~ZF);
    set_device(3, 0x3333333344444444); // no alignment is asked for
    s->page.gpr[GPR_RBX] = 0x55;
    assert_int_equal(RUN(CMPXCHG8B(3)), INSN_RUN_DONE);
    assert_int_equal(device(3), 0x3333333300000055);
    assert_int_equal(s->page.entry.rflags & ALL, ALL);
}

static void test_cmpxchg16b(void **state)
{
    (void)state;
    set_device(16, 1);
    set_device(24, 2);
    set_registers(2, 1, 4, 3);
    assert_int_equal(RUN(CMPXCHG16B(16)), INSN_RUN_DONE);
    assert_int_equal(device(16), 3);
    assert_int_equal(device(24), 4);
    assert_int_equal(s->page.entry.rflags & ALL, ALL);
    set_registers(5, 3, 8, 9); // one half differs
    assert_int_equal(RUN(CMPXCHG16B(16)), INSN_RUN_DONE);
    assert_int_equal(device(16), 3);
    assert_int_equal(s->page.gpr[GPR_RAX], 3);
    assert_int_equal(s->page.gpr[GPR_RDX], 4);
    assert_int_equal(s->page.entry.rflags & ALL, ALL & ~ZF);
    assert_int_equal(RUN(CMPXCHG16B(8)), INSN_RUN_FAULT);
    assert_int_equal(s->fault.vector, VECTOR_GP);
    assert_true(s->fault.has_error);
}

// Two pages, of which the second is at 0x402000.
static void map(uint64_t first, uint64_t second)
{
    s->page.exit.cpu = (struct vm_exit_cpu){ .cr0 = 0x80010001, .cr3 = 0x200000, .cr4 = 0x20,
                                             .efer = 0x500, .code_size = 8 };
    guest_put(&s->ram, 0x200000, 8, 0x201003);
    guest_put(&s->ram, 0x201000, 8, 0x202003);
    guest_put(&s->ram, 0x202010, 8, 0x203003);
    guest_put(&s->ram, 0x203008, 8, first);
    guest_put(&s->ram, 0x203010, 8, second);
}

// It writes in any case: a page that may not be written faults before anything is read.
static void test_pair_faults(void **state)
{
    (void)state;
    map(DEVICE | 3, 0x300001);
    set_registers(0, 0, 0, 0);
    s->page.gpr[GPR_RSI] = 0x401000;
    assert_int_equal(RUN(0x0F, 0xC7, 0x8E, 0xFC, 0x0F, 0, 0), INSN_RUN_FAULT); // [rsi + 0xffc]
    assert_int_equal(s->fault.vector, VECTOR_PF);
    assert_int_equal(s->fault.address, 0x402000);
    assert_int_equal(s->fault.error, 3);
    assert_int_equal(s->reads, 0);
    assert_int_equal(s->page.entry.flags, 0);
}

static void test_jumps(void **state)
{
    (void)state;
    s->page.gpr[GPR_RSI] = DEVICE;
    set_device(0, 0x123456789A);
    assert_int_equal(RUN(0xFF, 0x26), INSN_RUN_DONE); // jmp [rsi]
    assert_int_equal(s->page.sregs.rip + 2, 0x123456789A);
    assert_int_equal(s->page.entry.flags, 0);
    set_device(0, 1); // wraps until the length is added
    assert_int_equal(RUN(0xFF, 0x26), INSN_RUN_DONE);
    assert_int_equal(s->page.sregs.rip + 2, 1);
    set_device(0, 0x800000000000);
    assert_int_equal(RUN(0xFF, 0x16), INSN_RUN_FAULT); // call [rsi]
    assert_int_equal(s->fault.vector, VECTOR_GP);
    assert_int_equal(s->fault.error, 0);
    assert_int_equal(s->page.entry.flags, 0);
    set_device(0, 0xFFFF800000000000);
    assert_int_equal(RUN(0xFF, 0x16), INSN_RUN_DONE);
    assert_int_equal(s->page.sregs.rip + 2, 0xFFFF800000000000);
    assert_int_equal(s->page.entry.flags, VM_ENTRY_RSP);
    assert_int_equal(s->page.entry.rsp, 0x2FFFF8);
    assert_int_equal(guest_get(&s->ram, 0x2FFFF8, 8), 0x401002);
}

static void test_jumps_of_other_sizes(void **state)
{
    (void)state;
    s->page.gpr[GPR_RSI] = DEVICE;
    set_device(0, 0xFFFFFFFF00400123);
    s->page.exit.cpu.code_size = 4;
    s->page.sregs.ss = (struct vm_segment){ .base = 0x1000, .access = 0x4093 };
    assert_int_equal(RUN(0xFF, 0x16), INSN_RUN_DONE); // call dword
    assert_int_equal(s->page.sregs.rip + 2, 0x400123);
    assert_int_equal(s->page.entry.rsp, 0x2FFFFC);
    assert_int_equal(guest_get(&s->ram, 0x300FFC, 4), 0x401002);
    assert_int_equal(RUN(0x66, 0xFF, 0x16), INSN_RUN_DONE); // call word
    assert_int_equal(s->page.sregs.rip + 3, 0x123);
    assert_int_equal(guest_get(&s->ram, 0x300FFE, 2), 0x1003);
    s->page.sregs.cs.limit = 0x400122;
    assert_int_equal(RUN(0xFF, 0x26), INSN_RUN_FAULT);
    assert_int_equal(s->fault.vector, VECTOR_GP);
    // 16-bit code and stack, which wraps
    s->page.exit.cpu.code_size = 2;
    s->page.sregs.ss = (struct vm_segment){ .base = 0x20000, .access = 0x93 };
    s->page.sregs.ds.base = DEVICE - 0x1000;
    s->page.gpr[GPR_RSI] = 0x1000;
    s->page.exit.rsp = 0xABCD0000;
    assert_int_equal(RUN(0xFF, 0x14), INSN_RUN_DONE); // call word [si]
    assert_int_equal(s->page.sregs.rip + 2, 0x123);
    assert_int_equal(s->page.entry.rsp, 0xABCDFFFE);
    assert_int_equal(guest_get(&s->ram, 0x2FFFE, 2), 0x1002);
}

// The push comes behind the read, and its fault leaves RIP and RSP.
static void test_call_without_stack(void **state)
{
    (void)state;
    map(DEVICE | 3, 0);
    s->page.gpr[GPR_RSI] = 0x401000;
    s->page.exit.rsp = 0x402008;
    s->page.sregs.rip = 0x777;
    set_device(0, 0x401000);
    assert_int_equal(RUN(0xFF, 0x16), INSN_RUN_FAULT);
    assert_int_equal(s->fault.address, 0x402000);
    assert_int_equal(s->fault.error, 2);
    assert_int_equal(s->page.sregs.rip, 0x777);
    assert_int_equal(s->page.entry.flags, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cmpxchg8b), TEST(test_cmpxchg16b),           TEST(test_pair_faults),
        TEST(test_jumps),     TEST(test_jumps_of_other_sizes), TEST(test_call_without_stack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
