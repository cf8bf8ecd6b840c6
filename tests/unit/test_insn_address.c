// SPDX-License-Identifier: BSD-2-Clause
//
// Addresses of memory operands, computed from the registers.
#include "guest.h"

#include "vmm/insn.h"

static void make_code(struct insn_code *code, const uint8_t bytes[10])
{
    uint8_t padded[16] = { 0 };

    memcpy(padded, bytes, 10);
    memcpy(&code->low, padded, 8);
    memcpy(&code->high, padded + 8, 8);
    code->count = INSN_BYTES;
}

// Where an operand lies, by all forms of address.
static void test_address(void **state)
{
    static const struct {
        uint8_t code[10], length, code_size;
        uint64_t address;
    } forms[] = {
        { { 0x8B, 0x84, 0x98, 0x10, 0, 0, 0 }, 7, 8, 0xABCD00001090 }, // [rax + rbx * 4 + 16]
        { { 0x8B, 0x05, 0xF0, 0xFF, 0xFF, 0xFF }, 6, 8, 0x4FF6 },      // [rip - 16]
        { { 0x8B, 0x44, 0x24, 0x08 }, 4, 8, 0x300008 },                // [rsp + 8]
        { { 0x8F, 0x44, 0x24, 0x08 }, 4, 8, 0x300010 },                // pop [rsp + 8]
        { { 0x64, 0x8B, 0x00 }, 3, 8, 0xABCD00101000 },                // fs:[rax]
        { { 0x67, 0x8B, 0x00 }, 3, 8, 0x1000 },                        // [eax]
        { { 0xA1, 8, 7, 6, 5, 4, 3, 2, 1 }, 9, 8, 0x0102030405060708 },
        { { 0x0F, 0xAB, 0x0E }, 3, 8, 0x3000 - 8 },                    // bts [rsi], ecx = -33
        { { 0x0F, 0xBA, 0x2E, 0x21 }, 4, 8, 0x3000 },                  // bts dword [rsi], 33
        { { 0x8B, 0x00 }, 2, 4, 0x11000 },                             // ds:[eax]
        { { 0x8B, 0x45, 0x04 }, 3, 4, 0x27004 },                       // ss:[ebp + 4]
        { { 0x8B, 0x00 }, 2, 2, 0x13020 },                             // ds:[bx + si]
        { { 0x8B, 0x87, 0xF0, 0xFF }, 4, 2, 0x10010 },                 // ds:[bx - 16]
    };
    struct vcpu_page page = { .exit = { .rip = 0x5000, .rsp = 0x300000 } };
    struct insn_code code;
    struct insn insn;
    (void)state;

    page.gpr[GPR_RAX] = 0xABCD00001000;
    page.gpr[GPR_RBX] = 0x20;
    page.gpr[GPR_RCX] = (uint64_t)-33;
    page.gpr[GPR_RSI] = 0x3000;
    page.gpr[GPR_RBP] = 0x7000;
    page.sregs.fs.base = 0x100000;
    page.sregs.ds.base = 0x10000;
    page.sregs.ss.base = 0x20000;
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        page.exit.cpu.code_size = forms[i].code_size;
        make_code(&code, forms[i].code);
        assert_true(insn_decode(&code, forms[i].code_size, &insn));
        assert_int_equal(insn.length, forms[i].length);
        assert_int_equal(insn_address(&insn, &page), forms[i].address);
    }
}

// Only an access that begins at most its size before the page's start begins elsewhere.
static void test_start(void **state)
{
    const struct { uint64_t rsi, gva, start; } cases[] = {
        { 0x2FFC, 0x3000, 0x2FFC }, { 0x2FF9, 0x3000, 0x2FF9 }, { 0x2FF8, 0x3000, 0x3000 },
        { 0x3000, 0x3000, 0x3000 }, { 0x5000, 0x3000, 0x3000 }, { 0x2FFC, 0x2FFC, 0x2FFC },
    };
    static const uint8_t mov[10] = { 0x48, 0x8B, 0x06 }; // mov rax, [rsi]
    struct vcpu_page page = { .exit.cpu.code_size = 8 };
    struct insn_code code;
    struct insn insn;
    (void)state;

    make_code(&code, mov);
    assert_true(insn_decode(&code, 8, &insn));
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        page.gpr[GPR_RSI] = cases[i].rsi;
        page.exit.mmio.gva = cases[i].gva;
        assert_int_equal(insn_start(&insn, &page), cases[i].start);
        assert_int_equal(insn_starts_page(&insn, &page), (cases[i].rsi & (PAGE_SIZE - 1)) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
