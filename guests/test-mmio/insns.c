// SPDX-License-Identifier: BSD-2-Clause
//
// Instructions on general registers, on device memory as on RAM (trial.h).

#include <stddef.h>
#include <stdint.h>

#include "guests/lib/check.h"
#include "guests/test-mmio/groups.h"
#include "guests/test-mmio/trial.h"

#define CF 1u
#define PF 4u
#define AF 0x10u
#define ZF 0x40u
#define SF 0x80u
#define OF 0x800u
#define ALL     (CF | PF | AF | ZF | SF | OF)
#define LOGIC   (ALL & ~AF)
#define EXTRACT (CF | ZF | SF | OF)

#define ANY    {0, 0, 0}
#define BMI1   {7, 1, 3}
#define BMI2   {7, 1, 8}
#define ADX    {7, 1, 19}
#define POPCNT {1, 2, 23}
#define SSE42  {1, 2, 20}
#define MOVBE  {1, 2, 22}
#define CX16   {1, 2, 13}
#define LZCNT  {0x80000001, 2, 5}

// By their register forms, in which nobody has a hand. Bochs 2.7 gives the signed overflow of the
// sum where ADOX has its carry; QEMU 7.2 forgets CF in BLSI and its kin.
static const char *wrong_adox(void)
{
    uint8_t overflow;
    uint32_t sum = 0xFFFFFFFF;
    __asm__("xorl %%ecx, %%ecx\n decl %%ecx\n adoxl %%ecx, %k1\n seto %0"
            : "=q"(overflow), "+r"(sum) : : "ecx", "cc");
    return overflow ? NULL : "ADOX of this CPU gives no carry";
}

static const char *wrong_bls(void)
{
    uint8_t carry;
    uint32_t bit;
    __asm__("xorl %%ecx, %%ecx\n testl %%ecx, %%ecx\n movl $8, %%ecx\n blsil %%ecx, %k1\n setc %0"
            : "=q"(carry), "=r"(bit) : : "ecx", "cc");
    return carry ? NULL : "BLSI of this CPU gives no carry";
}

#define TRIALS(X)                                                                                  \
    X(mul8, "", "mulb (%%rsi)", "", CF | OF, ANY, NULL)                                            \
    X(mul16, "", "mulw (%%rsi)", "", CF | OF, ANY, NULL)                                           \
    X(mul32, "", "mull (%%rsi)", "", CF | OF, ANY, NULL)                                           \
    X(mul64, "", "mulq (%%rsi)", "", CF | OF, ANY, NULL)                                           \
    X(imul8, "", "imulb (%%rsi)", "", CF | OF, ANY, NULL)                                          \
    X(imul16, "", "imulw (%%rsi)", "", CF | OF, ANY, NULL)                                         \
    X(imul32, "", "imull (%%rsi)", "", CF | OF, ANY, NULL)                                         \
    X(imul64, "", "imulq (%%rsi)", "", CF | OF, ANY, NULL)                                         \
    X(div8, "", "divb (%%rsi)", "", 0, ANY, NULL)                                                  \
    X(div16, "", "divw (%%rsi)", "", 0, ANY, NULL)                                                 \
    X(div32, "", "divl (%%rsi)", "", 0, ANY, NULL)                                                 \
    X(div64, "", "divq (%%rsi)", "", 0, ANY, NULL)                                                 \
    X(idiv8, "", "idivb (%%rsi)", "", 0, ANY, NULL)                                                \
    X(idiv16, "", "idivw (%%rsi)", "", 0, ANY, NULL)                                               \
    X(idiv32, "", "idivl (%%rsi)", "", 0, ANY, NULL)                                               \
    X(idiv64, "", "idivq (%%rsi)", "", 0, ANY, NULL)                                               \
    X(bsf16, "", "bsfw (%%rsi), %%ax", "", ZF, ANY, NULL)                                          \
    X(bsf64, "", "bsfq (%%rsi), %%rax", "", ZF, ANY, NULL)                                         \
    X(bsr32, "", "bsrl (%%rsi), %%edx", "", ZF, ANY, NULL)                                         \
    X(bsr64, "", "bsrq (%%rsi), %%rdx", "", ZF, ANY, NULL)                                         \
    X(tzcnt16, "", "tzcntw (%%rsi), %%cx", "", CF | ZF, BMI1, NULL)                                \
    X(tzcnt64, "", "tzcntq (%%rsi), %%rcx", "", CF | ZF, BMI1, NULL)                               \
    X(lzcnt32, "", "lzcntl (%%rsi), %%ecx", "", CF | ZF, LZCNT, NULL)                              \
    X(lzcnt64, "", "lzcntq (%%rsi), %%rcx", "", CF | ZF, LZCNT, NULL)                              \
    X(popcnt16, "", "popcntw (%%rsi), %%bx", "", ALL, POPCNT, NULL)                                \
    X(popcnt64, "", "popcntq (%%rsi), %%rbx", "", ALL, POPCNT, NULL)                               \
    X(bt32, "movl $45, %%ecx", "btl %%ecx, (%%rsi)", "", CF, ANY, NULL)                            \
    X(bts_far, "movl $77, %%ecx", "lock btsl %%ecx, (%%rsi)", "", CF, ANY, NULL)                   \
    X(btc_far, "movl $60, %%ecx", "btcw %%cx, (%%rsi)", "", CF, ANY, NULL)                         \
    X(btr64, "", "btrq $33, (%%rsi)", "", CF, ANY, NULL)                                           \
    X(shld16, "", "shldw $5, %%bx, (%%rsi)", "", CF | PF | ZF | SF, ANY, NULL)                     \
    X(shld32, "", "shldl $1, %%ebx, (%%rsi)", "", LOGIC, ANY, NULL)                                \
    X(shld64, "", "shldq %%cl, %%rbx, (%%rsi)", "", CF | PF | ZF | SF, ANY, NULL)                  \
    X(shrd16, "", "shrdw $1, %%bx, (%%rsi)", "", LOGIC, ANY, NULL)                                 \
    X(shrd32, "", "shrdl %%cl, %%eax, (%%rsi)", "", CF | PF | ZF | SF, ANY, NULL)                  \
    X(shrd64, "", "shrdq $1, %%rbx, (%%rsi)", "", LOGIC, ANY, NULL)                                \
    X(adcx, "", "adcxq (%%rsi), %%rax", "", ALL, ADX, NULL)                                        \
    X(adox, "", "adoxl (%%rsi), %%eax", "", ALL, ADX, wrong_adox)                                  \
    X(crc32_8, "", "crc32b (%%rsi), %%eax", "", ALL, SSE42, NULL)                                  \
    X(crc32_16, "", "crc32w (%%rsi), %%eax", "", ALL, SSE42, NULL)                                 \
    X(crc32_64, "", "crc32q (%%rsi), %%rax", "", ALL, SSE42, NULL)                                 \
    X(andn, "", "andnq (%%rsi), %%rbx, %%rax", "", EXTRACT, BMI1, NULL)                            \
    X(bextr, "", "bextrl %%ecx, (%%rsi), %%eax", "", CF | ZF | OF, BMI1, NULL)                     \
    X(blsi, "", "blsiq (%%rsi), %%rax", "", EXTRACT, BMI1, wrong_bls)                              \
    X(blsmsk, "", "blsmskl (%%rsi), %%eax", "", EXTRACT, BMI1, wrong_bls)                          \
    X(blsr, "", "blsrq (%%rsi), %%rax", "", EXTRACT, BMI1, wrong_bls)                              \
    X(bzhi, "", "bzhiq %%rcx, (%%rsi), %%rax", "", EXTRACT, BMI2, NULL)                            \
    X(pdep, "", "pdepq (%%rsi), %%rbx, %%rax", "", ALL, BMI2, NULL)                                \
    X(pext, "", "pextl (%%rsi), %%ebx, %%eax", "", ALL, BMI2, NULL)                                \
    X(mulx, "", "mulxq (%%rsi), %%rax, %%rbx", "", ALL, BMI2, NULL)                                \
    X(rorx, "", "rorxl $13, (%%rsi), %%eax", "", ALL, BMI2, NULL)                                  \
    X(sarx, "", "sarxq %%rcx, (%%rsi), %%rax", "", ALL, BMI2, NULL)                                \
    X(shlx, "", "shlxl %%ecx, (%%rsi), %%eax", "", ALL, BMI2, NULL)                                \
    X(shrx, "", "shrxq %%rcx, (%%rsi), %%rax", "", ALL, BMI2, NULL)                                \
    X(xadd, "", "lock xaddq %%rax, (%%rsi)", "", ALL, ANY, NULL)                                   \
    X(cmpxchg, "", "lock cmpxchgq %%rcx, (%%rsi)", "", ALL, ANY, NULL)                             \
    X(cmpxchg8b, "", "lock cmpxchg8b (%%rsi)", "", ALL, ANY, NULL)                                 \
    X(cmpxchg16b, "", "lock cmpxchg16b (%%rsi)", "", ALL, CX16, NULL)                              \
    X(movbe_load, "", "movbeq (%%rsi), %%rax", "", ALL, MOVBE, NULL)                               \
    X(movbe_store, "", "movbew %%cx, (%%rsi)", "", ALL, MOVBE, NULL)                               \
    X(xlat, "pushq %%rbx\n movq %%rsi, %%rbx\n andl $15, %%eax", "xlatb", "popq %%rbx", ALL, ANY,  \
      NULL)

#define X(name, before, instruction, after, flags, ...) TRIAL(name, before, instruction, after)
TRIALS(X)
#undef X

static const struct trial trials[] = {
#define X(name, before, instruction, after, flags, ...) {"insn." #name, name, flags, __VA_ARGS__},
    TRIALS(X)
#undef X
};

// ---- through device memory to another place ----

static uintptr_t seen; // what a call has pushed

__attribute__((naked)) static void target(void)
{
    __asm__("movq (%%rsp), %%rax\n movq %%rax, %0\n movl $0x77, %%eax\n ret" : "=m"(seen));
}

static void test_jumps(void)
{
    uint64_t result = 0, behind = 0;
    volatile uint64_t *device = (volatile uint64_t *)TRIAL_DEVICE;
    *device = (uintptr_t)target;
    __asm__ volatile("call *(%%rsi)\n 1: leaq 1b(%%rip), %%rcx"
                     : "=a"(result), "=c"(behind) : "S"(device) : "memory");
    check(result == 0x77 && seen == behind, "insn.call", "RAX %lx, pushed %lx, not %lx",
          (unsigned long)result, (unsigned long)seen, (unsigned long)behind);
    __asm__ volatile("leaq 1f(%%rip), %%rax\n movq %%rax, (%%rsi)\n xorl %%ecx, %%ecx\n"
                     "jmp *(%%rsi)\n movl $1, %%ecx\n 1:"
                     : "=a"(result), "=c"(behind) : "S"(device) : "memory");
    check(behind == 0, "insn.jmp", "it was not done");
    *device = 1ul << 63;
    trap_expect();
    __asm__ volatile(TRY("jmp *(%%rsi)") : : "S"(device) : "memory");
    check(trap_caught.vector == VEC_GP && trap_caught.error == 0, "insn.jmp-canonical",
          "vector %d, error %lx", trap_caught.vector, (unsigned long)trap_caught.error);
}

void test_insns(void)
{
    if (!trial_ready()) {
        check_skip("insn", "no test board");
        return;
    }
    trial_run(trials, sizeof(trials) / sizeof(trials[0]));
    test_jumps();
}
