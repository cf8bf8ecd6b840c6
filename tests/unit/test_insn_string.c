// SPDX-License-Identifier: BSD-2-Clause
//
// Instructions with two memory operands, one of them a device's: strings with their repetitions,
// PUSH and POP.
#include "insn_code.h"

#include <stdlib.h>

static void test_chunks(void **state)
{
    (void)state;
    assert_int_equal(string_chunk(0, 8, 1, 0), 0);
    assert_int_equal(string_chunk(0, 8, 1, 10), 10);
    assert_int_equal(string_chunk(0, 8, 1, ~0ull), STRING_CHUNK);
    assert_int_equal(string_chunk(0xFFFC, 2, 1, 100), 4);   // to the wrap
    assert_int_equal(string_chunk(0xFFFD, 2, 2, 100), 2);
    assert_int_equal(string_chunk(3, 4, -1, 100), 4);
    assert_int_equal(string_chunk(1, 4, -4, 100), 1);
    assert_int_equal(string_chunk(0xABCD0003, 2, -1, 100), 4);
}

struct strings {
    struct guest_ram ram;
    struct bus bus;
    struct vcpu_page page;
    struct guest_fault fault;
    uint8_t device[4096];
};

static struct strings *strings_new(void)
{
    struct strings *s = calloc(1, sizeof(*s));

    guest_ram_new(&s->ram, 4 << 20);
    bus_init(&s->bus);
    assert_true(bus_add_mmio(&s->bus, &device_ops, s->device, DEVICE, sizeof(s->device)));
    s->page.exit.cpu.code_size = 4;
    return s;
}

static void strings_free(struct strings *s)
{
    guest_ram_free(&s->ram);
    free(s);
}

static enum insn_run run_string(struct strings *s, const uint8_t *bytes, unsigned length)
{
    struct insn_code code;
    struct insn insn;

    make_code(&code, bytes, length);
    assert_true(insn_decode(&code, s->page.exit.cpu.code_size, &insn));
    return insn_run_string(&insn, &s->ram, &s->bus, &s->page, &s->fault);
}

static void test_rep_movs(void **state)
{
    static const uint8_t rep_movsd[] = { 0xF3, 0xA5 };
    struct strings *s = strings_new();
    (void)state;

    for (unsigned i = 0; i < 4096; i++)
        s->device[i] = (uint8_t)(i * 7);
    s->page.sregs.ds.base = 0xFEB00000 - 0x1000;
    s->page.sregs.es.base = 0x200000;
    s->page.gpr[GPR_RSI] = 0x1000;
    s->page.gpr[GPR_RDI] = 0x10;
    s->page.gpr[GPR_RCX] = 1024;
    assert_int_equal(run_string(s, rep_movsd, 2), INSN_RUN_AGAIN);
    assert_int_equal(s->page.gpr[GPR_RCX], 1024 - STRING_CHUNK);
    assert_int_equal(run_string(s, rep_movsd, 2), INSN_RUN_DONE);
    assert_int_equal(s->page.gpr[GPR_RCX], 0);
    assert_int_equal(s->page.gpr[GPR_RSI], 0x2000);
    assert_int_equal(s->page.gpr[GPR_RDI], 0x1010);
    assert_memory_equal(ram_at(&s->ram, 0x200010, 4096), s->device, 4096);
    strings_free(s);
}

static void test_stos_lods(void **state)
{
    static const uint8_t rep_stosb[] = { 0xF3, 0xAA }, lodsw[] = { 0x66, 0xAD };
    struct strings *s = strings_new();
    (void)state;

    s->page.sregs.es.base = 0xFEB00000;
    s->page.gpr[GPR_RAX] = 0x11223344;
    s->page.gpr[GPR_RDI] = 0x0F;
    s->page.gpr[GPR_RCX] = 16;
    s->page.exit.rflags = 1 << 10; // downwards
    assert_int_equal(run_string(s, rep_stosb, 2), INSN_RUN_DONE);
    assert_int_equal(s->device[0], 0x44);
    assert_int_equal(s->device[15], 0x44);
    assert_int_equal(s->device[16], 0);
    assert_int_equal((uint32_t)s->page.gpr[GPR_RDI], 0xFFFFFFFF);
    s->page.sregs.ds.base = 0xFEB00000;
    s->page.gpr[GPR_RSI] = 15;
    assert_int_equal(run_string(s, lodsw, 2), INSN_RUN_DONE);
    assert_int_equal(s->page.gpr[GPR_RAX], 0x11220044);
    assert_int_equal(s->page.gpr[GPR_RSI], 13);
    strings_free(s);
}

// Repeated comparisons end where they find something, or with the count.
static void test_cmps_scas(void **state)
{
    static const uint8_t repe_cmpsb[] = { 0xF3, 0xA6 }, repne_scasw[] = { 0x66, 0xF2, 0xAF };
    static const uint8_t cmpsd[] = { 0xA7 };
    struct strings *s = strings_new();
    uint8_t *ram = ram_at(&s->ram, 0x200000, 64);
    (void)state;

    memset(s->device, 0x33, 64);
    memset(ram, 0x33, 64);
    ram[20] = 0x34;
    s->page.sregs.ds.base = 0xFEB00000;
    s->page.sregs.es.base = 0x200000;
    s->page.gpr[GPR_RCX] = 64;
    assert_int_equal(run_string(s, repe_cmpsb, 2), INSN_RUN_DONE);
    assert_int_equal(s->page.gpr[GPR_RSI], 21);
    assert_int_equal(s->page.gpr[GPR_RDI], 21);
    assert_int_equal(s->page.gpr[GPR_RCX], 64 - 21);
    assert_int_equal(s->page.entry.flags, VM_ENTRY_RFLAGS);
    assert_int_equal(s->page.entry.rflags & ALL, CF | PF | AF | SF); // 33H - 34H
    assert_int_equal(run_string(s, repe_cmpsb, 2), INSN_RUN_DONE);
    assert_int_equal(s->page.gpr[GPR_RCX], 0);
    assert_int_equal(s->page.entry.rflags & ALL, PF | ZF);

    s->page.sregs.es.base = 0xFEB00000;
    s->device[30] = s->device[31] = 0x77;
    s->page.gpr[GPR_RAX] = 0xFFFF7777;
    s->page.gpr[GPR_RDI] = 0;
    s->page.gpr[GPR_RCX] = 0x10000 + 40;
    assert_int_equal(run_string(s, repne_scasw, 3), INSN_RUN_DONE);
    assert_int_equal(s->page.gpr[GPR_RDI], 32);
    assert_int_equal(s->page.gpr[GPR_RCX], 0x10000 + 40 - 16);
    assert_int_equal(s->page.entry.rflags & ALL, PF | ZF);
    s->page.gpr[GPR_RCX] = 0; // changes nothing
    s->page.entry.flags = 0;
    assert_int_equal(run_string(s, repne_scasw, 3), INSN_RUN_DONE);
    assert_int_equal(s->page.entry.flags, 0);
    s->page.gpr[GPR_RSI] = 28;
    s->page.gpr[GPR_RDI] = 28;
    assert_int_equal(run_string(s, cmpsd, 1), INSN_RUN_DONE);
    assert_int_equal(s->page.gpr[GPR_RSI], 32);
    assert_int_equal(s->page.gpr[GPR_RCX], 0);
    strings_free(s);
}

static void test_push_pop(void **state)
{
    static const uint8_t push[] = { 0xFF, 0x36 }, pop[] = { 0x8F, 0x06 };
    struct strings *s = strings_new();
    struct insn_code code;
    struct insn insn;
    (void)state;

    s->page.exit.cpu.code_size = 8;
    s->page.exit.rsp = 0x300000;
    s->page.gpr[GPR_RSI] = 0xFEB00008;
    memset(s->device, 0x5A, 16);
    make_code(&code, push, 2);
    assert_true(insn_decode(&code, 8, &insn));
    assert_int_equal(insn_run_stack(&insn, &s->ram, &s->bus, &s->page, &s->fault), INSN_RUN_DONE);
    assert_int_equal(s->page.entry.rsp, 0x2FFFF8);
    assert_int_equal(guest_get(&s->ram, 0x2FFFF8, 8), 0x5A5A5A5A5A5A5A5A);
    guest_put(&s->ram, 0x300000, 8, 0x77);
    make_code(&code, pop, 2);
    assert_true(insn_decode(&code, 8, &insn));
    assert_int_equal(insn_run_stack(&insn, &s->ram, &s->bus, &s->page, &s->fault), INSN_RUN_DONE);
    assert_int_equal(s->page.entry.rsp, 0x300008);
    assert_int_equal(s->device[8], 0x77);
    strings_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),    cmocka_unit_test(test_rep_movs),
        cmocka_unit_test(test_stos_lods), cmocka_unit_test(test_cmps_scas),
        cmocka_unit_test(test_push_pop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
