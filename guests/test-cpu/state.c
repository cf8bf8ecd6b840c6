// SPDX-License-Identifier: BSD-2-Clause
//
// Register state across exits: general registers, and x87, SSE and AVX by XSAVE, over operations
// that the kernel handles, that the VMM handles, and that put the vCPU to sleep.

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/timer.h"
#include "guests/test-cpu/groups.h"

#define SLEEP_NS     (2 * NS_PER_MS)
#define NR_REGISTERS 15
#define R(n)         (1u << (n))
#define LEGACY_END   416 // of an XSAVE image: x87 and XMM0-15
#define HEADER       512
#define AVX_START    576
#define IMAGE_SIZE   832

// Order of the registers in state_run()'s block.
enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8 };

typedef void state_code(void);
void state_run(state_code *code, uint64_t *registers);
state_code state_cpuid, state_out, state_in, state_hlt, state_mmio, state_rdmsr, state_vmcall;

struct operation {
    const char *name;
    state_code *code;
    uint64_t rax, rbx, rcx, rdx;
    unsigned int changed; // registers that the operation writes
    bool only_bulkhead;
};

static const struct operation operations[] = {
    {"cpuid", state_cpuid, 1, 2, 0, 4, R(RAX) | R(RBX) | R(RCX) | R(RDX), false},
    {"out", state_out, 1, 2, 3, PORT_NOBODY, 0, false},
    {"in", state_in, 1, 2, 3, PORT_NOBODY, R(RAX), false},
    {"hlt", state_hlt, 1, 2, 3, 4, 0, false},
    {"mmio", state_mmio, 1, IOAPIC_SELECT, 3, 4, R(RAX), false},
    {"rdmsr", state_rdmsr, 1, 2, MSR_APIC_BASE, 4, R(RAX) | R(RDX), false},
    {"vmcall", state_vmcall, 0, 2, 3, 4, R(RAX), true},
};

static void run(const struct operation *op, uint64_t *registers)
{
    if (op->code == state_hlt)
        timer_arm(rdtsc() + clock_ticks_of_ns(SLEEP_NS));
    state_run(op->code, registers);
}

static void test_general(const struct operation *op)
{
    uint64_t registers[NR_REGISTERS], before[NR_REGISTERS];
    for (unsigned int i = 0; i < NR_REGISTERS; i++)
        registers[i] = 0x0101010101010101ul * (i + 1) ^ 0xA5A5A5A500000000ul;
    registers[RAX] = op->rax;
    registers[RBX] = op->rbx;
    registers[RCX] = op->rcx;
    registers[RDX] = op->rdx;
    memcpy(before, registers, sizeof(before));
    run(op, registers);

    unsigned int wrong = 0;
    for (unsigned int i = 0; i < NR_REGISTERS; i++) {
        if (registers[i] != before[i] && !(op->changed & R(i)))
            wrong |= R(i);
    }
    char name[32];
    snprintf(name, sizeof(name), "state.general-%s", op->name);
    check(wrong == 0, name, "registers 0x%x changed", wrong);
}

static void fill(uint8_t *image, bool avx)
{
    memset(image, 0, IMAGE_SIZE);
    uint16_t control = 0x027F;        // x87: double precision, all masked
    uint32_t mxcsr = 0x1F80 | 0x6000; // all masked, round towards zero
    memcpy(image + 0, &control, 2);
    image[4] = 0xFF; // abridged tag word: all registers in use
    memcpy(image + 24, &mxcsr, 4);
    for (unsigned int reg = 0; reg < 8; reg++) {
        for (unsigned int i = 0; i < 10; i++)
            image[32 + reg * 16 + i] = (uint8_t)(0x31 * reg + i + 1);
    }
    for (unsigned int i = 160; i < LEGACY_END; i++)
        image[i] = (uint8_t)(i * 7 + 3);
    for (unsigned int i = AVX_START; avx && i < IMAGE_SIZE; i++)
        image[i] = (uint8_t)(i * 5 + 1);
    image[HEADER] = avx ? 7 : 3; // XSTATE_BV
}

static void test_fpu(const struct operation *op, bool avx)
{
    static uint8_t in[IMAGE_SIZE] __attribute__((aligned(64)));
    static uint8_t out[IMAGE_SIZE] __attribute__((aligned(64)));
    uint64_t registers[NR_REGISTERS] = {op->rax, op->rbx, op->rcx, op->rdx};
    uint32_t mask = avx ? 7 : 3;

    fill(in, avx);
    memset(out, 0, sizeof(out));
    uint64_t deadline = rdtsc() + clock_ticks_of_ns(SLEEP_NS);
    if (op->code == state_hlt)
        timer_arm(deadline);
    __asm__ volatile("xrstor64 (%0)" : : "r"(in), "a"(mask), "d"(0) : "memory");
    state_run(op->code, registers);
    __asm__ volatile("xsave64 (%0)" : : "r"(out), "a"(mask), "d"(0) : "memory");
    __asm__ volatile("fninit" ::: "memory");
    uint32_t mxcsr = 0x1F80;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr) : "memory");

    // The last-instruction pointers (bytes 6 to 23) need not be kept by all CPUs.
    bool x87 = memcmp(in, out, 6) == 0 && memcmp(in + 32, out + 32, 128) == 0;
    bool sse = memcmp(in + 24, out + 24, 4) == 0 && memcmp(in + 160, out + 160, 256) == 0;
    bool upper = !avx || memcmp(in + AVX_START, out + AVX_START, 256) == 0;
    char name[32];
    snprintf(name, sizeof(name), "state.fpu-%s", op->name);
    check(x87 && sse && upper, name, "x87 %d, SSE %d, AVX %d", x87, sse, upper);
}

void test_state(void)
{
    bool xsave = cpuid(1, 0).ecx & 1u << 26;
    bool avx = xsave && (read_xcr0() & 4);
    timer_init();
    for (unsigned int i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        const struct operation *op = &operations[i];
        if (op->only_bulkhead && !cpu_on_bulkhead()) {
            check_skip("state.vmcall", "not on Bulkhead");
            continue;
        }
        test_general(op);
        if (xsave)
            test_fpu(op, avx);
        else
            check_skip("state.fpu", "no XSAVE");
    }
    check(avx, "state.avx", "XCR0 is %x", xsave ? (unsigned int)read_xcr0() : 0);
}
