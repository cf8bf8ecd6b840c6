// SPDX-License-Identifier: BSD-2-Clause
//
// Addresses of memory operands, computed from the registers; and what is known of instructions that
// are only asked about.
#include "guest.h"

#include "vmm/cpu/insn.h"

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

// Of an instruction that is only asked about: its length, the register that it names, and where a
// string's operand lies.
static void test_others(void **state)
{
    static const struct {
        uint8_t code[10], size, length, reg, segment, addr_size;
    } cases[] = {
        { { 0x0F, 0xA2 }, 8, 2, 0, SEGMENT_DS, 8 },                   // cpuid
        { { 0x66, 0x0F, 0xA2 }, 8, 3, 0, SEGMENT_DS, 8 },             // with prefixes of no use
        { { 0xF3, 0x2E, 0x67, 0x0F, 0xA2 }, 4, 5, 0, SEGMENT_DS, 2 },
        { { 0xF4 }, 2, 1, 0, SEGMENT_DS, 2 },                         // hlt
        { { 0x0F, 0x32 }, 2, 2, 0, SEGMENT_DS, 2 },                   // rdmsr
        { { 0x0F, 0x01, 0xD9 }, 8, 3, 0, SEGMENT_DS, 8 },             // a hypercall
        { { 0x0F, 0x01, 0xD1 }, 8, 3, 0, SEGMENT_DS, 8 },             // xsetbv
        { { 0x0F, 0x22, 0xC3 }, 8, 3, GPR_RBX, SEGMENT_DS, 8 },       // mov cr0, rbx
        { { 0x41, 0x0F, 0x22, 0xDF }, 8, 4, GPR_R15, SEGMENT_DS, 8 }, // mov cr3, r15
        { { 0x0F, 0x20, 0xE6 }, 4, 3, GPR_RSI, SEGMENT_DS, 4 },       // mov esi, cr4
        { { 0x0F, 0x22, 0x05 }, 4, 3, GPR_RBP, SEGMENT_DS, 4 },       // mod is not looked at
        { { 0x44, 0x0F, 0x20, 0xC4 }, 8, 4, GPR_RSP, SEGMENT_DS, 8 }, // mov rsp, cr8
        { { 0x0F, 0x23, 0xFA }, 8, 3, GPR_RDX, SEGMENT_DS, 8 },       // mov dr7, rdx
        { { 0x0F, 0x01, 0xF7 }, 4, 3, GPR_RDI, SEGMENT_DS, 4 },       // lmsw di
        { { 0x0F, 0xC8 }, 8, 2, 0, SEGMENT_DS, 8 },                   // bswap eax
        { { 0x89, 0xC3 }, 8, 2, GPR_RBX, SEGMENT_DS, 8 },             // mov ebx, eax
        { { 0x0F, 0x01, 0x7C, 0x24, 0x10 }, 8, 5, 0, SEGMENT_SS, 8 }, // invlpg [rsp + 16]
        { { 0xF3, 0x6E }, 4, 2, 0, SEGMENT_DS, 4 },                   // rep outsb
        { { 0x64, 0x67, 0x6F }, 8, 3, 0, SEGMENT_FS, 4 },
        { { 0x26, 0x66, 0x6F }, 2, 3, 0, SEGMENT_ES, 2 },
        { { 0x67, 0x6C }, 2, 2, 0, SEGMENT_DS, 4 },                   // insb
    };
    struct insn_code code;
    struct insn insn;
    (void)state;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        make_code(&code, cases[i].code);
        assert_true(insn_decode(&code, cases[i].size, &insn));
        assert_int_equal(insn.op, INSN_OTHER);
        if (insn.length != cases[i].length || insn.reg != cases[i].reg ||
            insn.segment != cases[i].segment || insn.addr_size != cases[i].addr_size)
            fail_msg("case %u: length %u, register %u, segment %u, address size %u", i,
                     insn.length, insn.reg, insn.segment, insn.addr_size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
