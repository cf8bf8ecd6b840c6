// SPDX-License-Identifier: BSD-2-Clause
//
// Instructions on device memory: those with one operand besides, against the CPU; the decoder and
// its cache.
#include "insn_oracle.h"

enum { ROTATE = ALL & ~OF, SHIFT = ALL & ~(AF | OF) };

static const struct oracle_insn insns[] = {
    I("mov al, [rsi]", ALL, 0x8A, 0x06), I("mov bh, [rsi]", ALL, 0x8A, 0x3E),
    I("mov cx, [rsi]", ALL, 0x66, 0x8B, 0x0E), I("mov edx, [rsi]", ALL, 0x8B, 0x16),
    I("mov rbx, [rsi]", ALL, 0x48, 0x8B, 0x1E), I("mov [rsi], al", ALL, 0x88, 0x06),
    I("mov [rsi], ah", ALL, 0x88, 0x26), I("mov [rsi], cx", ALL, 0x66, 0x89, 0x0E),
    I("mov [rsi], edx", ALL, 0x89, 0x16), I("mov [rsi], rbx", ALL, 0x48, 0x89, 0x1E),
    I("mov byte [rsi], 0x81", ALL, 0xC6, 0x06, 0x81),
    I("mov dword [rsi], imm", ALL, 0xC7, 0x06, 0x78, 0x56, 0x34, 0x92),
    I("mov qword [rsi], imm", ALL, 0x48, 0xC7, 0x06, 0x78, 0x56, 0x34, 0x92),
    I("movzx eax, byte [rsi]", ALL, 0x0F, 0xB6, 0x06),
    I("movzx ax, byte [rsi]", ALL, 0x66, 0x0F, 0xB6, 0x06),
    I("movzx rcx, word [rsi]", ALL, 0x48, 0x0F, 0xB7, 0x0E),
    I("movsx eax, byte [rsi]", ALL, 0x0F, 0xBE, 0x06),
    I("movsx rdx, word [rsi]", ALL, 0x48, 0x0F, 0xBF, 0x16),
    I("movsxd rbx, dword [rsi]", ALL, 0x48, 0x63, 0x1E),
    I("movnti [rsi], ecx", ALL, 0x0F, 0xC3, 0x0E),
    N(MOVBE, "movbe eax, [rsi]", ALL, 0x0F, 0x38, 0xF0, 0x06),
    N(MOVBE, "movbe [rsi], cx", ALL, 0x66, 0x0F, 0x38, 0xF1, 0x0E),
    I("add [rsi], eax", ALL, 0x01, 0x06), I("add al, [rsi]", ALL, 0x02, 0x06),
    I("add qword [rsi], imm8", ALL, 0x48, 0x83, 0x06, 0xF0),
    I("or [rsi], cl", LOGIC, 0x08, 0x0E), I("or rdx, [rsi]", LOGIC, 0x48, 0x0B, 0x16),
    I("adc [rsi], rbx", ALL, 0x48, 0x11, 0x1E), I("adc bx, [rsi]", ALL, 0x66, 0x13, 0x1E),
    I("sbb [rsi], ax", ALL, 0x66, 0x19, 0x06), I("sbb ecx, [rsi]", ALL, 0x1B, 0x0E),
    I("and [rsi], rcx", LOGIC, 0x48, 0x21, 0x0E), I("and dword [rsi], 15", LOGIC, 0x83, 0x26, 15),
    I("sub [rsi], bl", ALL, 0x28, 0x1E), I("sub rax, [rsi]", ALL, 0x48, 0x2B, 0x06),
    I("xor [rsi], edx", LOGIC, 0x31, 0x16), I("xor ch, [rsi]", LOGIC, 0x32, 0x2E),
    I("cmp [rsi], rdx", ALL, 0x48, 0x39, 0x16), I("cmp al, [rsi]", ALL, 0x3A, 0x06),
    I("cmp word [rsi], imm", ALL, 0x66, 0x81, 0x3E, 0x34, 0x92),
    I("test [rsi], ebx", LOGIC, 0x85, 0x1E), I("test byte [rsi], 0x80", LOGIC, 0xF6, 0x06, 0x80),
    I("inc byte [rsi]", ALL, 0xFE, 0x06), I("inc qword [rsi]", ALL, 0x48, 0xFF, 0x06),
    I("dec dword [rsi]", ALL, 0xFF, 0x0E), I("dec word [rsi]", ALL, 0x66, 0xFF, 0x0E),
    I("not dword [rsi]", ALL, 0xF7, 0x16), I("neg byte [rsi]", ALL, 0xF6, 0x1E),
    I("neg qword [rsi]", ALL, 0x48, 0xF7, 0x1E), I("xchg [rsi], eax", ALL, 0x87, 0x06),
    I("xchg [rsi], bh", ALL, 0x86, 0x3E), I("lock xadd [rsi], ecx", ALL, 0xF0, 0x0F, 0xC1, 0x0E),
    I("xadd [rsi], al", ALL, 0x0F, 0xC0, 0x06),
    I("lock cmpxchg [rsi], rcx", ALL, 0xF0, 0x48, 0x0F, 0xB1, 0x0E),
    I("cmpxchg [rsi], bl", ALL, 0x0F, 0xB0, 0x1E),
    I("cmpxchg [rsi], edx", ALL, 0x0F, 0xB1, 0x16),
    I("bt dword [rsi], 17", CF, 0x0F, 0xBA, 0x26, 17),
    I("lock bts qword [rsi], 63", CF, 0xF0, 0x48, 0x0F, 0xBA, 0x2E, 63),
    I("btr dword [rsi], 0", CF, 0x0F, 0xBA, 0x36, 0),
    I("btc word [rsi], 9", CF, 0x66, 0x0F, 0xBA, 0x3E, 9),
    I("rol byte [rsi], 1", ALL, 0xD0, 0x06), I("rol qword [rsi], 1", ALL, 0x48, 0xD1, 0x06),
    I("ror word [rsi], 1", ALL, 0x66, 0xD1, 0x0E), I("ror dword [rsi], 5", ROTATE, 0xC1, 0x0E, 5),
    I("rcl byte [rsi], 1", ALL, 0xD0, 0x16), I("rcl byte [rsi], cl", ROTATE, 0xD2, 0x16),
    I("rcl qword [rsi], cl", ROTATE, 0x48, 0xD3, 0x16), I("rcr dword [rsi], 1", ALL, 0xD1, 0x1E),
    I("rcr word [rsi], cl", ROTATE, 0x66, 0xD3, 0x1E), I("shl byte [rsi], 1", LOGIC, 0xD0, 0x26),
    I("shl dword [rsi], 31", SHIFT, 0xC1, 0x26, 31),
    I("shl qword [rsi], 1", LOGIC, 0x48, 0xD1, 0x26),
    I("shr word [rsi], 1", LOGIC, 0x66, 0xD1, 0x2E),
    I("shr qword [rsi], 63", SHIFT, 0x48, 0xC1, 0x2E, 63),
    I("sar dword [rsi], 1", LOGIC, 0xD1, 0x3E), I("sar byte [rsi], 7", SHIFT, 0xC0, 0x3E, 7),
    I("shl dword [rsi], 32", ALL, 0xC1, 0x26, 32), // by none
#define CC(n) I("setcc byte [rsi]", ALL, 0x0F, 0x90 + (n), 0x06),                                  \
              I("cmovcc ax, [rsi]", ALL, 0x66, 0x0F, 0x40 + (n), 0x06),                            \
              I("cmovcc ecx, [rsi]", ALL, 0x0F, 0x40 + (n), 0x0E),                                 \
              I("cmovcc rdx, [rsi]", ALL, 0x48, 0x0F, 0x40 + (n), 0x16)
    CC(0), CC(1), CC(2), CC(3), CC(4), CC(5), CC(6), CC(7), CC(8), CC(9), CC(10), CC(11), CC(12),
    CC(13), CC(14), CC(15),
    I("imul ax, [rsi]", CF | OF, 0x66, 0x0F, 0xAF, 0x06),
    I("imul ecx, [rsi]", CF | OF, 0x0F, 0xAF, 0x0E),
    I("imul rdx, [rsi]", CF | OF, 0x48, 0x0F, 0xAF, 0x16),
    I("imul rbx, [rsi], -3", CF | OF, 0x48, 0x6B, 0x1E, 0xFD),
    I("imul eax, [rsi], imm", CF | OF, 0x69, 0x06, 0x78, 0x56, 0x34, 0x12),
    I("imul cx, [rsi], imm", CF | OF, 0x66, 0x69, 0x0E, 0x34, 0x92),
};

static void test_against_cpu(void **state)
{
    (void)state;
    for (unsigned n = 0; n < sizeof(insns) / sizeof(insns[0]); n++)
        oracle_compare(&insns[n], 300);
}

static void test_refused(void **state)
{
    static const uint8_t bytes[][8] = {
        { 0x0F, 0x58, 0x06 },       // addps xmm0, [rsi]
        { 0x0F, 0x6F, 0x06 },       // movq mm0, [rsi]
        { 0xD9, 0x26 },             // fldenv
        { 0xDD, 0x36 },             // fnsave
        { 0x0F, 0xAE, 0x06 },       // fxsave
        { 0x8E, 0x1E },             // mov ds, [rsi]
        { 0xFF, 0x2E },             // jmp far [rsi]
        { 0x66, 0xFF, 0x1E },       // call far word:word [rsi]
        { 0x8B, 0xC0 },             // mov eax, eax: no memory
        { 0x8D, 0x06 },             // lea
        { 0x0F, 0xFF, 0xFF },       // ud0
    };
    static const uint8_t none[][8] = {
        { 0xFF, 0xFF },
        { 0x62, 0xF1, 0x7C, 0x08, 0x10, 0x06 }, // EVEX's vmovups xmm0, [rsi]
        { 0xF0, 0x0F, 0xA2 },       // lock cpuid
    };
    struct insn_code code;
    struct insn insn;
    (void)state;

    for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        make_code(&code, bytes[i], sizeof(bytes[i]));
        if (!insn_decode(&code, 8, &insn))
            fail_msg("case %u", i);
        assert_int_equal(insn.op, INSN_OTHER);
        assert_false(insn_is_simple(&insn));
    }
    for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        make_code(&code, none[i], sizeof(none[i]));
        assert_false(insn_decode(&code, 8, &insn));
    }
}

static void test_code_sizes(void **state)
{
    static const uint8_t mov[] = { 0x8B, 0x06, 0x34, 0x12 };
    static const uint8_t moffs[] = { 0xA1, 0x00, 0x00, 0xE0, 0xFE };
    struct insn_code code;
    struct insn insn;
    (void)state;

    make_code(&code, mov, sizeof(mov));
    assert_true(insn_decode(&code, 2, &insn)); // mov ax, [0x1234]
    assert_int_equal(insn.length, 4);
    assert_int_equal(insn.size, 2);
    assert_true(insn_decode(&code, 4, &insn)); // mov eax, [esi]
    assert_int_equal(insn.length, 2);
    assert_int_equal(insn.size, 4);
    make_code(&code, moffs, sizeof(moffs));
    assert_true(insn_decode(&code, 4, &insn));
    assert_int_equal(insn.length, 5);
    assert_int_equal(insn.op, INSN_LOAD);
    assert_int_equal(insn.reg, GPR_RAX);
}

static void test_stack_pointer_as_operand(void **state)
{
    struct insn insn = { .op = INSN_LOAD, .size = 4, .reg_size = 4, .reg = GPR_RSP };
    struct vcpu_page page = { .exit.rsp = 0x123456789ull };
    struct insn_result result;
    (void)state;

    insn_compute(&insn, &page, 0xCAFE0000, &result);
    insn_commit(&insn, &page, &result);
    assert_int_equal(page.entry.flags, VM_ENTRY_RSP);
    assert_int_equal(page.entry.rsp, 0xCAFE0000);
    insn.op = INSN_STORE;
    insn_compute(&insn, &page, 0, &result);
    assert_int_equal(result.value, 0x23456789);
}

// Guest without paging whose code lies at 0x1000.
static void test_cache(void **state)
{
    static const uint8_t first[] = { 0x8B, 0x06, 0x90 }, second[] = { 0x89, 0x06, 0x90 };
    struct vm_exit exit = { .rip = 0x1000, .cpu = { .code_size = 4 } };
    static struct insn_cache cache;
    const struct insn *insn;
    struct guest_fault fault;
    struct guest_ram ram;
    (void)state;

    guest_ram_new(&ram, 4 << 20);
    insn_cache_init(&cache);
    ram_write(&ram, 0x1000, first, sizeof(first));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(insn_fetch(&cache, &ram, &exit, &insn, &fault), INSN_OK);
        assert_int_equal(insn->op, INSN_LOAD);
    }
    ram_write(&ram, 0x1000, second, sizeof(second)); // the guest writes new code
    assert_int_equal(insn_fetch(&cache, &ram, &exit, &insn, &fault), INSN_OK);
    assert_int_equal(insn->op, INSN_STORE);
    exit.cpu.code_size = 2;
    assert_int_equal(insn_fetch(&cache, &ram, &exit, &insn, &fault), INSN_OK);
    assert_int_equal(insn->size, 2);
    exit.rip = 0xD0000000; // no memory there: all ones
    assert_int_equal(insn_fetch(&cache, &ram, &exit, &insn, &fault), INSN_INVALID);
    guest_ram_free(&ram);
}

static void test_code_at_the_end_of_a_page(void **state)
{
    static const uint8_t mov[] = { 0xC7, 0x06, 0x78, 0x56, 0x34, 0x12 };
    struct vm_exit exit = { .rip = 0x401FFD };
    static struct insn_cache cache;
    const struct insn *insn;
    struct guest_fault fault = { 0 };
    struct guest_ram ram;
    (void)state;

    guest_ram_new(&ram, 16 << 20);
    insn_cache_init(&cache);
    exit.cpu = (struct vm_exit_cpu){ .cr0 = 0x80000001, .cr3 = 0x200000, .cr4 = 0x20,
                                     .efer = 0x500, .code_size = 8 };
    guest_put(&ram, 0x200000, 8, 0x201003);
    guest_put(&ram, 0x201000, 8, 0x202003);
    guest_put(&ram, 0x202010, 8, 0x203003);
    guest_put(&ram, 0x203008, 8, 0x300003); // 0x401000
    ram_write(&ram, 0x300FFD, mov, 3);
    assert_int_equal(insn_fetch(&cache, &ram, &exit, &insn, &fault), INSN_FAULT);
    assert_int_equal(fault.address, 0x402000);
    guest_put(&ram, 0x203010, 8, 0x700003); // 0x402000, far away
    ram_write(&ram, 0x700000, mov + 3, 3);
    assert_int_equal(insn_fetch(&cache, &ram, &exit, &insn, &fault), INSN_OK);
    assert_int_equal(insn->length, 6);
    assert_int_equal(insn->imm, 0x12345678);
    guest_put(&ram, 0x700000, 8, 0);
    assert_int_equal(insn_fetch(&cache, &ram, &exit, &insn, &fault), INSN_OK);
    guest_put(&ram, 0x203010, 8, 0); // gone: the cached line of zeros must not be used
    assert_int_equal(insn_fetch(&cache, &ram, &exit, &insn, &fault), INSN_FAULT);
    guest_ram_free(&ram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_cpu),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_code_sizes),
        cmocka_unit_test(test_stack_pointer_as_operand),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_code_at_the_end_of_a_page),
    };

    return cmocka_run_group_tests(tests, oracle_setup, NULL);
}
