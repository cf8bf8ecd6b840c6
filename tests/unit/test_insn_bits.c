// SPDX-License-Identifier: BSD-2-Clause
//
// Instructions on device memory with more than one operand besides, all sizes, against the CPU.
#include "insn_oracle.h"

enum { DOUBLE = ALL & ~(AF | OF), COUNT_FLAGS = CF | ZF, EXTRACT = CF | ZF | SF | OF, NONE = ALL };

// ModRM for [rsi] and register AX, CX, DX, BX; VEX's inverted second register.
enum { A = 0x06, C = 0x0E, D = 0x16, B = 0x1E };
enum { V_A = 0xF << 3, V_C = 0xE << 3, V_D = 0xD << 3, V_B = 0xC << 3 };
#define VEX(map, w, second, pp, op) 0xC4, 0xE0 | (map), (w) << 7 | (second) | (pp), op

static const struct oracle_insn insns[] = {
    I("mul byte", CF | OF, 0xF6, 0x26), I("mul word", CF | OF, 0x66, 0xF7, 0x26),
    I("mul dword", CF | OF, 0xF7, 0x26), I("mul qword", CF | OF, 0x48, 0xF7, 0x26),
    I("imul byte", CF | OF, 0xF6, 0x2E), I("imul word", CF | OF, 0x66, 0xF7, 0x2E),
    I("imul dword", CF | OF, 0xF7, 0x2E), I("imul qword", CF | OF, 0x48, 0xF7, 0x2E),
    I("shld word, ax, 1", LOGIC, 0x66, 0x0F, 0xA4, A, 1),
    I("shld word, ax, 16", DOUBLE, 0x66, 0x0F, 0xA4, A, 16),
    I("shld dword, edx, 1", LOGIC, 0x0F, 0xA4, D, 1),
    I("shld dword, edx, 31", DOUBLE, 0x0F, 0xA4, D, 31),
    I("shld dword, edx, 32", NONE, 0x0F, 0xA4, D, 32), // by none
    I("shld dword, ebx, cl", DOUBLE, 0x0F, 0xA5, B),
    I("shld qword, rbx, cl", DOUBLE, 0x48, 0x0F, 0xA5, B),
    I("shld qword, rcx, cl", DOUBLE, 0x48, 0x0F, 0xA5, C),
    I("shld qword, rax, 1", LOGIC, 0x48, 0x0F, 0xA4, A, 1),
    I("shrd word, ax, 1", LOGIC, 0x66, 0x0F, 0xAC, A, 1),
    I("shrd word, cx, 15", DOUBLE, 0x66, 0x0F, 0xAC, C, 15),
    I("shrd dword, edx, 1", LOGIC, 0x0F, 0xAC, D, 1),
    I("shrd dword, ebx, cl", DOUBLE, 0x0F, 0xAD, B),
    I("shrd qword, rbx, cl", DOUBLE, 0x48, 0x0F, 0xAD, B),
    I("shrd qword, rax, 1", LOGIC, 0x48, 0x0F, 0xAC, A, 1),
    N(ADX, "adcx eax", ALL, 0x66, 0x0F, 0x38, 0xF6, A),
    N(ADX, "adcx rcx", ALL, 0x66, 0x48, 0x0F, 0x38, 0xF6, C),
    N(ADX, "adox edx", ALL, 0xF3, 0x0F, 0x38, 0xF6, D),
    N(ADX, "adox rbx", ALL, 0xF3, 0x48, 0x0F, 0x38, 0xF6, B),
    N(SSE42, "crc32 eax, byte", ALL, 0xF2, 0x0F, 0x38, 0xF0, A),
    N(SSE42, "crc32 rax, byte", ALL, 0xF2, 0x48, 0x0F, 0x38, 0xF0, A),
    N(SSE42, "crc32 ecx, word", ALL, 0x66, 0xF2, 0x0F, 0x38, 0xF1, C),
    N(SSE42, "crc32 edx, dword", ALL, 0xF2, 0x0F, 0x38, 0xF1, D),
    N(SSE42, "crc32 rbx, qword", ALL, 0xF2, 0x48, 0x0F, 0x38, 0xF1, B),
    I("bsf ax", ZF, 0x66, 0x0F, 0xBC, A), I("bsf ecx", ZF, 0x0F, 0xBC, C),
    I("bsf rdx", ZF, 0x48, 0x0F, 0xBC, D), I("bsr ax", ZF, 0x66, 0x0F, 0xBD, A),
    I("bsr ecx", ZF, 0x0F, 0xBD, C), I("bsr rdx", ZF, 0x48, 0x0F, 0xBD, D),
    N(BMI1, "tzcnt ax", COUNT_FLAGS, 0x66, 0xF3, 0x0F, 0xBC, A),
    N(BMI1, "tzcnt ecx", COUNT_FLAGS, 0xF3, 0x0F, 0xBC, C),
    N(BMI1, "tzcnt rdx", COUNT_FLAGS, 0xF3, 0x48, 0x0F, 0xBC, D),
    N(LZCNT, "lzcnt ax", COUNT_FLAGS, 0x66, 0xF3, 0x0F, 0xBD, A),
    N(LZCNT, "lzcnt ecx", COUNT_FLAGS, 0xF3, 0x0F, 0xBD, C),
    N(LZCNT, "lzcnt rdx", COUNT_FLAGS, 0xF3, 0x48, 0x0F, 0xBD, D),
    N(POPCNT, "popcnt ax", ALL, 0x66, 0xF3, 0x0F, 0xB8, A),
    N(POPCNT, "popcnt ecx", ALL, 0xF3, 0x0F, 0xB8, C),
    N(POPCNT, "popcnt rdx", ALL, 0xF3, 0x48, 0x0F, 0xB8, D),
    N(BMI1, "andn eax, ecx", EXTRACT, VEX(2, 0, V_C, 0, 0xF2), A),
    N(BMI1, "andn rdx, rbx", EXTRACT, VEX(2, 1, V_B, 0, 0xF2), D),
    N(BMI1, "bextr eax, ecx", CF | ZF | OF, VEX(2, 0, V_C, 0, 0xF7), A),
    N(BMI1, "bextr rdx, rbx", CF | ZF | OF, VEX(2, 1, V_B, 0, 0xF7), D),
    N(BMI1, "blsi ecx", EXTRACT, VEX(2, 0, V_C, 0, 0xF3), B),
    N(BMI1, "blsi rdx", EXTRACT, VEX(2, 1, V_D, 0, 0xF3), B),
    N(BMI1, "blsmsk ecx", EXTRACT, VEX(2, 0, V_C, 0, 0xF3), D),
    N(BMI1, "blsmsk rax", EXTRACT, VEX(2, 1, V_A, 0, 0xF3), D),
    N(BMI1, "blsr ecx", EXTRACT, VEX(2, 0, V_C, 0, 0xF3), C),
    N(BMI1, "blsr rbx", EXTRACT, VEX(2, 1, V_B, 0, 0xF3), C),
    N(BMI2, "bzhi eax, ecx", EXTRACT, VEX(2, 0, V_C, 0, 0xF5), A),
    N(BMI2, "bzhi rdx, rbx", EXTRACT, VEX(2, 1, V_B, 0, 0xF5), D),
    N(BMI2, "pdep eax, ecx", NONE, VEX(2, 0, V_C, 3, 0xF5), A),
    N(BMI2, "pdep rdx, rbx", NONE, VEX(2, 1, V_B, 3, 0xF5), D),
    N(BMI2, "pext eax, ecx", NONE, VEX(2, 0, V_C, 2, 0xF5), A),
    N(BMI2, "pext rdx, rbx", NONE, VEX(2, 1, V_B, 2, 0xF5), D),
    N(BMI2, "mulx eax, ecx", NONE, VEX(2, 0, V_C, 3, 0xF6), A),
    N(BMI2, "mulx rbx, rax", NONE, VEX(2, 1, V_A, 3, 0xF6), B),
    N(BMI2, "mulx rcx, rcx", NONE, VEX(2, 1, V_C, 3, 0xF6), C), // the upper half stays
    N(BMI2, "rorx eax, 7", NONE, VEX(3, 0, V_A, 3, 0xF0), A, 7),
    N(BMI2, "rorx rdx, 32", NONE, VEX(3, 1, V_A, 3, 0xF0), D, 32),
    N(BMI2, "rorx rdx, 64", NONE, VEX(3, 1, V_A, 3, 0xF0), D, 64),
    N(BMI2, "sarx eax, ecx", NONE, VEX(2, 0, V_C, 2, 0xF7), A),
    N(BMI2, "sarx rdx, rbx", NONE, VEX(2, 1, V_B, 2, 0xF7), D),
    N(BMI2, "shlx eax, ecx", NONE, VEX(2, 0, V_C, 1, 0xF7), A),
    N(BMI2, "shlx rdx, rbx", NONE, VEX(2, 1, V_B, 1, 0xF7), D),
    N(BMI2, "shrx eax, ecx", NONE, VEX(2, 0, V_C, 3, 0xF7), A),
    N(BMI2, "shrx rdx, rbx", NONE, VEX(2, 1, V_B, 3, 0xF7), D),
};

static void test_against_cpu(void **state)
{
    (void)state;
    for (unsigned n = 0; n < sizeof(insns) / sizeof(insns[0]); n++)
        assert_int_equal(oracle_compare(&insns[n], 500), 0);
}

static const struct oracle_insn divisions[] = {
    I("div byte", 0, 0xF6, 0x36), I("div word", 0, 0x66, 0xF7, 0x36),
    I("div dword", 0, 0xF7, 0x36), I("div qword", 0, 0x48, 0xF7, 0x36),
    I("idiv byte", 0, 0xF6, 0x3E), I("idiv word", 0, 0x66, 0xF7, 0x3E),
    I("idiv dword", 0, 0xF7, 0x3E), I("idiv qword", 0, 0x48, 0xF7, 0x3E),
};

static void test_divisions(void **state)
{
    (void)state;
    for (unsigned n = 0; n < sizeof(divisions) / sizeof(divisions[0]); n++) {
        unsigned errors = oracle_compare(&divisions[n], 3000);
        assert_in_range(errors, 300, 2700); // some fit, some do not
    }
}

// The quotients at the limits.
static void test_division_limits(void **state)
{
    static const struct {
        uint8_t op, size;
        uint64_t high, low, divisor;
        bool error;
        uint64_t quotient, remainder;
    } rows[] = {
        { INSN_DIV, 4, 0, 7, 0, true, 0, 0 },
        { INSN_DIV, 4, 1, 0, 2, false, 0x80000000, 0 },
        { INSN_DIV, 4, 2, 0, 2, true, 0, 0 },
        { INSN_DIV, 8, 1, 1, 2, false, 1ull << 63, 1 },
        { INSN_DIV, 8, ~0ull, 0, ~0ull, true, 0, 0 },
        { INSN_IDIV, 4, 0xFFFFFFFF, 0x80000000, 1, false, 0x80000000, 0 },  // -2^31
        { INSN_IDIV, 4, 0xFFFFFFFF, 0x80000000, 0xFFFFFFFF, true, 0, 0 },   // 2^31
        { INSN_IDIV, 4, 0, 0x80000000, 1, true, 0, 0 },
        { INSN_IDIV, 4, 0, 0x80000000, 0xFFFFFFFF, false, 0x80000000, 0 },
        { INSN_IDIV, 8, ~0ull, (uint64_t)-7, 2, false, (uint64_t)-3, (uint64_t)-1 },
        { INSN_IDIV, 8, 0, 7, (uint64_t)-2, false, (uint64_t)-3, 1 },
        { INSN_IDIV, 8, 1ull << 63, 0, ~0ull, true, 0, 0 },
    };
    (void)state;

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct insn insn = { .op = rows[i].op, .size = rows[i].size, .reg_size = rows[i].size,
                             .reg = GPR_RAX, .reg2 = GPR_RDX };
        struct vcpu_page page = { .gpr = { [GPR_RAX] = rows[i].low, [GPR_RDX] = rows[i].high } };
        struct insn_result result;
        insn_compute(&insn, &page, rows[i].divisor, &result);
        assert_int_equal(result.divide_error, rows[i].error);
        if (rows[i].error)
            continue;
        insn_commit(&insn, &page, &result);
        assert_int_equal(page.gpr[GPR_RAX], rows[i].quotient);
        assert_int_equal(page.gpr[GPR_RDX], rows[i].remainder);
    }
}

// On a CPU without them F3 is ignored.
static void test_counts_by_the_cpu(void **state)
{
    static const uint8_t tzcnt[] = { 0xF3, 0x0F, 0xBC, 0x06 }, lzcnt[] = { 0xF3, 0x0F, 0xBD, 0x06 };
    struct insn_code code;
    struct insn insn;
    (void)state;

    make_code(&code, tzcnt, sizeof(tzcnt));
    assert_true(insn_decode(&code, 8, &insn));
    assert_int_equal(insn.op, oracle_can(BMI1) ? INSN_TZCNT : INSN_BSF);
    make_code(&code, lzcnt, sizeof(lzcnt));
    assert_true(insn_decode(&code, 8, &insn));
    assert_int_equal(insn.op, oracle_can(LZCNT) ? INSN_LZCNT : INSN_BSR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_cpu),
        cmocka_unit_test(test_divisions),
        cmocka_unit_test(test_division_limits),
        cmocka_unit_test(test_counts_by_the_cpu),
    };

    return cmocka_run_group_tests(tests, oracle_setup, NULL);
}
