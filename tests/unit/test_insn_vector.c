// SPDX-License-Identifier: BSD-2-Clause
//
// Vector and x87 instructions on device memory. The judge is the CPU that the test runs on: each is
// executed by it on a buffer with a random state loaded by XRSTOR, and by the emulation on that
// state; memory and state must agree.
#include "insn_code.h"

#include <cpuid.h>
#include <stddef.h>
#include <stdlib.h>

#include "vmm/cpu/fpu.h"

// Loads x87, SSE and AVX from *rdi, executes 16 bytes of instruction on [rsi], stores them again.
__asm__(".text\n"
        "vector_start:\n"
        "mov $7, %eax\n xor %edx, %edx\n xrstor64 (%rdi)\n"
        "vector_insn:\n .fill 16, 1, 0x90\n"
        "mov $7, %eax\n xor %edx, %edx\n xsave64 (%rdi)\n"
        "fninit\n movl $0x1f80, -8(%rsp)\n ldmxcsr -8(%rsp)\n ret\n"
        "vector_end:\n");
extern const uint8_t vector_start[], vector_insn[], vector_end[];

enum { AREA_XMM = 160, AREA_HEADER = 512, AREA_AVX = 576 };

struct scene {
    uint8_t cpu[VCPU_FPU_SIZE] __attribute__((aligned(64))); // state
    uint8_t memory[64] __attribute__((aligned(64)));         // the CPU's
    uint8_t device[4096] __attribute__((aligned(64)));
    struct guest_ram ram;
    struct bus bus;
    struct vcpu_page page;
    struct guest_fault fault;
};
static struct scene s;
static uint8_t *executable;

static bool cpu_has_avx(void)
{
    unsigned a, b, c = 0, d;

    __get_cpuid(1, &a, &b, &c, &d);
    return (c & bit_AVX) && (c & bit_OSXSAVE);
}

static int setup(void **state)
{
    (void)state;
    executable = executable_copy(vector_start, vector_end);
    if (executable == NULL)
        return -1;
    guest_ram_new(&s.ram, 4 << 20);
    bus_init(&s.bus);
    srandom(1);
    return bus_add_mmio(&s.bus, &device_ops, s.device, DEVICE, sizeof(s.device)) ? 0 : -1;
}

static void fill(uint8_t *at, size_t size)
{
    while (size-- > 0)
        *at++ = (uint8_t)random();
}

// Small numbers, and such as are no numbers, come more often than by chance.
static void fill_operand(uint8_t *at)
{
    static const uint64_t special[] = {
        0, 1, 0x3FF0000000000000, 0x7FF0000000000000, 0x7FF4000000000001, 0x8000000000000000,
        0x43E0000000000000, 0x0000000000000001, 0x7F8000003F800000, 0x7FA00000FF800001,
    };

    fill(at, 32);
    if (random() % 2)
        memcpy(at, &special[(unsigned)random() % 10], 8);
    if (random() % 2) { // an exponent near 1, of an 80-bit number
        at[9] = 0x3F | (at[9] & 0x80);
        at[8] = 0xF0 | (at[8] & 0x0F);
        at[7] |= 0x80;
    }
}

// A register of the x87 with a number that fits the formats in memory, or not.
static void fill_registers(uint8_t *area)
{
    fill(area + 32, AREA_HEADER - 32);
    for (unsigned i = 0; i < 8; i++) {
        uint8_t *st = area + 32 + 16 * i;
        memset(st + 10, 0, 6);
        if (random() % 4) {
            st[7] |= 0x80;
            st[9] = (st[9] & 0x80) | 0x3F;
            st[8] |= 0xF8;
        }
    }
}

static void random_state(bool avx)
{
    uint16_t fcw = 0x37F, fsw, ftw = (uint8_t)random();
    uint32_t mxcsr = 0x1F80 | ((uint32_t)random() & 0x6000);
    uint64_t bits = 3 | (avx ? 4 : 0);

    memset(s.cpu, 0, sizeof(s.cpu));
    fill_registers(s.cpu);
    if (avx)
        fill(s.cpu + AREA_AVX, 256);
    fcw = (uint16_t)((fcw & ~0xC00) | (random() & 0xC00)); // rounding
    if (random() % 2)
        fcw = (uint16_t)(fcw & ~(random() & 0x3F)); // exceptions that are not masked
    fsw = (uint16_t)((random() & 0x3800) | 0x4100); // top of stack, conditions
    memcpy(s.cpu, &fcw, 2);
    memcpy(s.cpu + 2, &fsw, 2);
    memcpy(s.cpu + 4, &ftw, 2);
    memcpy(s.cpu + 24, &mxcsr, 4);
    if (random() % 4 == 0)
        bits &= (uint64_t)random() | 3; // a component at its initial value
    if (random() % 8 == 0)
        bits &= ~2ull;
    memcpy(s.cpu + AREA_HEADER, &bits, 8);
}

// XSAVE leaves alone what is at its initial value.
static void normalise(uint8_t *area)
{
    static const uint8_t initial[16] = { 0x7F, 3 };
    uint64_t bits;

    memcpy(&bits, area + AREA_HEADER, 8);
    if (!(bits & 1)) {
        memset(area, 0, 24);
        memcpy(area, initial, 2);
        memset(area + 32, 0, 128);
    }
    if (!(bits & 2))
        memset(area + AREA_XMM, 0, 256);
    if (!(bits & 4))
        memset(area + AREA_AVX, 0, 256);
    memset(area + 6, 0, 18);  // FOP, FIP, FDP
    memset(area + 28, 0, 4);  // MXCSR_MASK
    memset(area + AREA_HEADER, 0, 64);
}

#define V(...) { { __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }) }
struct vector_insn { uint8_t bytes[10], length; };

static void by_cpu(const struct vector_insn *i)
{
    executable_insn(executable + (vector_insn - vector_start), i->bytes, i->length);
    ((void (*)(void *, void *))(void *)executable)(s.cpu, s.memory);
}

static enum insn_run by_us(const struct vector_insn *i)
{
    struct insn_code code;
    struct insn insn;

    make_code(&code, i->bytes, i->length);
    if (!insn_decode(&code, 8, &insn) || insn.op < INSN_VECTOR_LOAD || insn.op > INSN_X87)
        fail_msg("%02x %02x %02x %02x: not decoded", i->bytes[0], i->bytes[1], i->bytes[2],
                 i->bytes[3]);
    assert_int_equal(insn.length, i->length);
    s.page.exit = (struct vm_exit){ .rip = 0x1234, .cpu = { .code_size = 8, .cr4 = 1 << 10 } };
    s.page.gpr[GPR_RSI] = DEVICE;
    return insn_run_vector(&insn, &s.ram, &s.bus, &s.page, &s.fault);
}

static void compare_once(const struct vector_insn *i, bool avx)
{
    random_state(avx);
    memcpy(s.page.fpu, s.cpu, sizeof(s.cpu));
    fill_operand(s.memory);
    memcpy(s.device, s.memory, sizeof(s.memory));
    by_cpu(i);
    assert_int_equal(by_us(i), INSN_RUN_DONE);
    if (memcmp(s.memory, s.device, sizeof(s.memory)) != 0)
        fail_msg("%02x %02x %02x %02x: memory", i->bytes[0], i->bytes[1], i->bytes[2], i->bytes[3]);
    normalise(s.cpu);
    normalise(s.page.fpu);
    for (unsigned k = 0; k < AREA_AVX + 256; k++) {
        if (s.cpu[k] != s.page.fpu[k])
            fail_msg("%02x %02x %02x %02x: byte %u of the state is %x, should be %x", i->bytes[0],
                     i->bytes[1], i->bytes[2], i->bytes[3], k, s.page.fpu[k], s.cpu[k]);
    }
}

enum { XMM1 = 0x0E, XMM3 = 0x1E }; // ModRM with [rsi]

static const struct vector_insn sse[] = {
    V(0x0F, 0x10, XMM1), V(0x0F, 0x11, XMM1),             // movups
    V(0x44, 0x0F, 0x10, XMM1), V(0x44, 0x0F, 0x11, XMM3), // xmm9, xmm11
    V(0x66, 0x0F, 0x10, XMM1), V(0x66, 0x0F, 0x11, XMM1), // movupd
    V(0xF3, 0x0F, 0x10, XMM1), V(0xF3, 0x0F, 0x11, XMM1), // movss
    V(0xF2, 0x0F, 0x10, XMM1), V(0xF2, 0x0F, 0x11, XMM1), // movsd
    V(0x0F, 0x28, XMM3), V(0x0F, 0x29, XMM3),             // movaps
    V(0x66, 0x0F, 0x28, XMM3), V(0x66, 0x0F, 0x29, XMM3), // movapd
    V(0x66, 0x0F, 0x6F, XMM3), V(0x66, 0x0F, 0x7F, XMM3), // movdqa
    V(0xF3, 0x0F, 0x6F, XMM3), V(0xF3, 0x0F, 0x7F, XMM3), // movdqu
    V(0xF2, 0x0F, 0xF0, XMM1),                            // lddqu
    V(0x66, 0x0F, 0x38, 0x2A, XMM1),                      // movntdqa
    V(0x66, 0x0F, 0xE7, XMM1),                            // movntdq
    V(0x0F, 0x2B, XMM1), V(0x66, 0x0F, 0x2B, XMM1),       // movntps, movntpd
    V(0x66, 0x0F, 0x6E, XMM1), V(0x66, 0x0F, 0x7E, XMM1), // movd
    V(0x66, 0x48, 0x0F, 0x6E, XMM1), V(0x66, 0x48, 0x0F, 0x7E, XMM1), // movq by movd
    V(0xF3, 0x0F, 0x7E, XMM1), V(0x66, 0x0F, 0xD6, XMM1), // movq
    V(0x0F, 0x12, XMM1), V(0x0F, 0x13, XMM1),             // movlps
    V(0x66, 0x0F, 0x12, XMM1), V(0x66, 0x0F, 0x13, XMM1), // movlpd
    V(0x0F, 0x16, XMM1), V(0x0F, 0x17, XMM1),             // movhps
    V(0x66, 0x0F, 0x16, XMM1), V(0x66, 0x0F, 0x17, XMM1), // movhpd
    V(0xF3, 0x0F, 0x2A, XMM1), V(0xF3, 0x48, 0x0F, 0x2A, XMM1), // cvtsi2ss
    V(0xF2, 0x0F, 0x2A, XMM1), V(0xF2, 0x48, 0x0F, 0x2A, XMM1), // cvtsi2sd
    V(0x0F, 0xAE, XMM3),                                  // stmxcsr
};

static const struct vector_insn avx[] = {
    V(0xC5, 0xF8, 0x10, XMM1), V(0xC5, 0xF8, 0x11, XMM1), // vmovups xmm
    V(0xC5, 0xFC, 0x10, XMM1), V(0xC5, 0xFC, 0x11, XMM1), // ymm
    V(0xC5, 0x7C, 0x10, XMM1), V(0xC5, 0x7C, 0x11, XMM3), // ymm9, ymm11
    V(0xC5, 0xFD, 0x6F, XMM1), V(0xC5, 0xFD, 0x7F, XMM1), // vmovdqa ymm
    V(0xC5, 0xFE, 0x6F, XMM1), V(0xC5, 0xFE, 0x7F, XMM1), // vmovdqu ymm
    V(0xC5, 0xFC, 0x28, XMM1), V(0xC5, 0xFC, 0x29, XMM1), // vmovaps ymm
    V(0xC5, 0xFD, 0xE7, XMM1),                            // vmovntdq ymm
    V(0xC5, 0xFA, 0x10, XMM1), V(0xC5, 0xFA, 0x11, XMM1), // vmovss
    V(0xC5, 0xFB, 0x10, XMM1), V(0xC5, 0xFB, 0x11, XMM1), // vmovsd
    V(0xC5, 0xF9, 0x6E, XMM1), V(0xC5, 0xF9, 0x7E, XMM1), // vmovd
    V(0xC5, 0xFA, 0x7E, XMM1), V(0xC5, 0xF9, 0xD6, XMM1), // vmovq
    V(0xC5, 0xE0, 0x12, XMM1), V(0xC5, 0xF8, 0x13, XMM1), // vmovlps xmm1, xmm3
    V(0xC5, 0xE0, 0x16, XMM1), V(0xC5, 0xF8, 0x17, XMM1), // vmovhps xmm1, xmm3
    V(0xC5, 0xE2, 0x2A, XMM1), V(0xC4, 0xE1, 0xE3, 0x2A, XMM1), // vcvtsi2ss, vcvtsi2sd
    V(0xC5, 0xF8, 0xAE, XMM3),                            // vstmxcsr
};

static void test_moves(void **state)
{
    (void)state;
    for (unsigned n = 0; n < sizeof(sse) / sizeof(sse[0]); n++)
        for (unsigned round = 0; round < 200; round++)
            compare_once(&sse[n], cpu_has_avx());
    if (!cpu_has_avx())
        return;
    for (unsigned n = 0; n < sizeof(avx) / sizeof(avx[0]); n++)
        for (unsigned round = 0; round < 200; round++)
            compare_once(&avx[n], true);
}

// All that have a memory operand of one number.
static void test_x87(void **state)
{
    (void)state;
    for (unsigned opcode = 0; opcode < 8; opcode++) {
        for (unsigned number = 0; number < 8; number++) {
            struct vector_insn i = V((uint8_t)(0xD8 + opcode), (uint8_t)(number << 3 | 6));
            if (((opcode == 1 || opcode == 5) && (number == 4 || number == 6)) ||
                (opcode == 1 && number == 1) || (opcode == 3 && (number == 4 || number == 6)) ||
                (opcode == 5 && number == 5))
                continue; // the environment; not instructions
            for (unsigned round = 0; round < 500; round++)
                compare_once(&i, cpu_has_avx());
        }
    }
}

static void test_x87_pointers(void **state)
{
    static const struct vector_insn fld = V(0xDD, 0x06), fnstcw = V(0xD9, 0x3E);
    struct fpu_image image;
    (void)state;

    memset(s.page.fpu, 0, sizeof(s.page.fpu));
    assert_int_equal(by_us(&fld), INSN_RUN_DONE);
    memcpy(&image, s.page.fpu, sizeof(image));
    assert_int_equal(image.fop, 0x506);
    assert_int_equal(image.fip, 0x1234);
    assert_int_equal(image.fdp, DEVICE);
    image.fop = 0x123;
    memcpy(s.page.fpu, &image, sizeof(image));
    assert_int_equal(by_us(&fnstcw), INSN_RUN_DONE);
    assert_int_equal(s.device[0] | s.device[1] << 8, 0x37F);
    memcpy(&image, s.page.fpu, sizeof(image));
    assert_int_equal(image.fop, 0x123);
}

// An exception of an earlier instruction that is not masked.
static void test_x87_pending(void **state)
{
    static const struct vector_insn fld = V(0xD9, 0x06), fnstsw = V(0xDD, 0x3E);
    struct fpu_image image = { .fcw = 0x37E, .fsw = 0x8081, .mxcsr = 0x1F80 };
    uint64_t bits = 1;
    (void)state;

    memset(s.page.fpu, 0, sizeof(s.page.fpu));
    memcpy(s.page.fpu, &image, sizeof(image));
    memcpy(s.page.fpu + AREA_HEADER, &bits, 8);
    assert_int_equal(by_us(&fld), INSN_RUN_FAULT);
    assert_int_equal(s.fault.vector, VECTOR_MF);
    assert_false(s.fault.has_error);
    assert_int_equal(by_us(&fnstsw), INSN_RUN_DONE);
    assert_int_equal(s.device[0] | s.device[1] << 8, 0x8081);
}

static void test_faults(void **state)
{
    static const struct vector_insn movaps = V(0x0F, 0x28, 0x4E, 8),
                                    movups = V(0x0F, 0x10, 0x4E, 8),
                                    cvt = V(0xF3, 0x0F, 0x2A, XMM1),
                                    ldmxcsr = V(0x0F, 0xAE, 0x16);
    uint32_t mxcsr = 0x0F80, bad = 0x10000, odd = 0x01000001;
    uint64_t bits = 3;
    (void)state;

    memset(s.page.fpu, 0x55, sizeof(s.page.fpu));
    memcpy(s.page.fpu + AREA_HEADER, &bits, 8);
    assert_int_equal(by_us(&movaps), INSN_RUN_FAULT);
    assert_int_equal(s.fault.vector, VECTOR_GP);
    assert_true(s.fault.has_error);
    assert_int_equal(by_us(&movups), INSN_RUN_DONE);
    // Inexact, and not masked: the flag alone.
    memcpy(s.page.fpu + 24, &mxcsr, 4);
    memset(s.page.fpu + AREA_XMM, 0x55, 256);
    memcpy(s.device, &odd, 4);
    assert_int_equal(by_us(&cvt), INSN_RUN_FAULT);
    assert_int_equal(s.fault.vector, VECTOR_XM);
    assert_int_equal(s.page.fpu[AREA_XMM + 16], 0x55);
    memcpy(&mxcsr, s.page.fpu + 24, 4);
    assert_int_equal(mxcsr, 0x0FA0);
    memcpy(s.device, &bad, 4);
    assert_int_equal(by_us(&ldmxcsr), INSN_RUN_FAULT);
    assert_int_equal(s.fault.vector, VECTOR_GP);
    memcpy(s.device, &odd, 2);
    memset(s.device + 2, 0, 2);
    assert_int_equal(by_us(&ldmxcsr), INSN_RUN_DONE);
    assert_int_equal(s.page.fpu[24], 1);
}

// 32 bytes from RAM into nowhere, and of a page that may not be written nothing is.
static void test_crossing(void **state)
{
    static const uint8_t store[] = { 0xC5, 0xFC, 0x11, XMM1 }, load[] = { 0xC5, 0xFC, 0x10, XMM1 };
    struct vm_exit *exit = &s.page.exit;
    uint64_t bits = 7, before;
    struct insn_code code;
    struct insn insn;
    (void)state;

    if (!cpu_has_avx())
        return;
    *exit = (struct vm_exit){ .cpu = { .cr0 = 0x80010001, .cr3 = 0x200000, .cr4 = 0x20,
                                       .efer = 0x500, .code_size = 8 } };
    guest_put(&s.ram, 0x200000, 8, 0x201003);
    guest_put(&s.ram, 0x201000, 8, 0x202003);
    guest_put(&s.ram, 0x202010, 8, 0x203003);
    guest_put(&s.ram, 0x203008, 8, 0x300003);           // 0x401000
    guest_put(&s.ram, 0x203010, 8, DEVICE | 1);         // 0x402000, to be read
    memset(s.page.fpu, 0xA5, sizeof(s.page.fpu));
    memcpy(s.page.fpu + AREA_HEADER, &bits, 8);
    memset(s.device, 0x11, 64);
    guest_put(&s.ram, 0x300FF8, 8, 0x2222222222222222);
    s.page.gpr[GPR_RSI] = 0x401FF8;
    make_code(&code, store, sizeof(store));
    assert_true(insn_decode(&code, 8, &insn));
    assert_int_equal(insn_run_vector(&insn, &s.ram, &s.bus, &s.page, &s.fault), INSN_RUN_FAULT);
    assert_int_equal(s.fault.address, 0x402000);
    assert_int_equal(s.fault.error, 3);
    assert_int_equal(guest_get(&s.ram, 0x300FF8, 8), 0x2222222222222222);
    make_code(&code, load, sizeof(load));
    assert_true(insn_decode(&code, 8, &insn));
    assert_int_equal(insn_run_vector(&insn, &s.ram, &s.bus, &s.page, &s.fault), INSN_RUN_DONE);
    memcpy(&before, s.page.fpu + AREA_XMM + 16, 8);
    assert_int_equal(before, 0x2222222222222222);
    assert_int_equal(s.page.fpu[AREA_AVX + 16], 0x11);
    guest_put(&s.ram, 0x203010, 8, DEVICE | 3);
    memset(s.page.fpu + AREA_AVX + 16, 0x33, 16);
    make_code(&code, store, sizeof(store));
    assert_true(insn_decode(&code, 8, &insn));
    assert_int_equal(insn_run_vector(&insn, &s.ram, &s.bus, &s.page, &s.fault), INSN_RUN_DONE);
    assert_int_equal(s.device[7], 0x11);
    assert_int_equal(s.device[8], 0x33);
    assert_int_equal(s.device[23], 0x33);
    assert_int_equal(s.device[24], 0x11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),        cmocka_unit_test(test_x87),
        cmocka_unit_test(test_x87_pointers), cmocka_unit_test(test_x87_pending),
        cmocka_unit_test(test_faults),       cmocka_unit_test(test_crossing),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
