// SPDX-License-Identifier: BSD-2-Clause
//
// Vector and x87 instructions, on device memory as on RAM (trial.h): the registers are the guest's
// own, and its VMM has to be let at them.

#include <stddef.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/test-mmio/groups.h"
#include "guests/test-mmio/trial.h"

#define ANY  {0, 0, 0}
#define SSE3 {1, 2, 0}
#define SSE4 {1, 2, 19}
#define AVX  {1, 2, 28}

static const uint32_t mxcsr_initial = 0x1F80, mxcsr_inexact = 0x0F80;

// XMM1 and XMM3, or YMM1 and YMM3.
#define VECTOR(name, move, prefix, before, instruction)                                    \
    static void name(struct trial_state *s, uintptr_t at)                                  \
    {                                                                                      \
        __asm__ volatile("ldmxcsr %[initial]\n" move " %[v1], %%" prefix "mm1\n"           \
                         move " %[v3], %%" prefix "mm3\n" before "\n" TRY(instruction)     \
                         "stmxcsr %[mxcsr]\n ldmxcsr %[initial]\n"                         \
                         move " %%" prefix "mm1, %[v1]\n" move " %%" prefix "mm3, %[v3]"   \
                         : [v1] "+m"(s->vector[0]), [v3] "+m"(s->vector[1]),               \
                           [mxcsr] "=m"(s->mxcsr)                                          \
                         : "S"(at), [initial] "m"(mxcsr_initial),                          \
                           [inexact] "m"(mxcsr_inexact)                                    \
                         : "memory", "xmm1", "xmm3");                                      \
    }

static const char *wrong_mxcsr(void)
{
    return cpu_by_tcg() ? "QEMU has no reserved bits in MXCSR, and raises no #XM" : NULL;
}

#define SSE_TRIALS(X)                                                                     \
    X(movups_load, "", "movups (%%rsi), %%xmm1", ANY, NULL)                               \
    X(movups_store, "", "movups %%xmm3, (%%rsi)", ANY, NULL)                              \
    X(movaps_load, "", "movaps (%%rsi), %%xmm1", ANY, NULL)                               \
    X(movaps_store, "", "movaps %%xmm3, (%%rsi)", ANY, NULL)                              \
    X(movdqu_load, "", "movdqu (%%rsi), %%xmm1", ANY, NULL)                               \
    X(movdqa_store, "", "movdqa %%xmm3, (%%rsi)", ANY, NULL)                              \
    X(movntdq, "", "movntdq %%xmm3, (%%rsi)", ANY, NULL)                                  \
    X(movntps, "", "movntps %%xmm3, (%%rsi)", ANY, NULL)                                  \
    X(movntdqa, "", "movntdqa (%%rsi), %%xmm1", SSE4, NULL)                               \
    X(lddqu, "", "lddqu (%%rsi), %%xmm1", SSE3, NULL)                                     \
    X(movss_load, "", "movss (%%rsi), %%xmm1", ANY, NULL)                                 \
    X(movss_store, "", "movss %%xmm3, (%%rsi)", ANY, NULL)                                \
    X(movsd_load, "", "movsd (%%rsi), %%xmm1", ANY, NULL)                                 \
    X(movsd_store, "", "movsd %%xmm3, (%%rsi)", ANY, NULL)                                \
    X(movd_load, "", "movd (%%rsi), %%xmm1", ANY, NULL)                                   \
    X(movd_store, "", "movd %%xmm3, (%%rsi)", ANY, NULL)                                  \
    X(movq_load, "", "movq (%%rsi), %%xmm1", ANY, NULL)                                   \
    X(movq_store, "", "movq %%xmm3, (%%rsi)", ANY, NULL)                                  \
    X(movlps_load, "", "movlps (%%rsi), %%xmm1", ANY, NULL)                               \
    X(movhpd_load, "", "movhpd (%%rsi), %%xmm1", ANY, NULL)                               \
    X(movhps_store, "", "movhps %%xmm3, (%%rsi)", ANY, NULL)                              \
    X(cvtsi2ss32, "", "cvtsi2ssl (%%rsi), %%xmm1", ANY, NULL)                             \
    X(cvtsi2ss64, "", "cvtsi2ssq (%%rsi), %%xmm1", ANY, NULL)                             \
    X(cvtsi2sd32, "", "cvtsi2sdl (%%rsi), %%xmm1", ANY, NULL)                             \
    X(cvtsi2sd64, "", "cvtsi2sdq (%%rsi), %%xmm1", ANY, NULL)                             \
    X(ldmxcsr, "", "ldmxcsr (%%rsi)", ANY, wrong_mxcsr)                                   \
    X(stmxcsr, "", "stmxcsr (%%rsi)", ANY, NULL)                                          \
    X(cvt_inexact, "ldmxcsr %[inexact]", "cvtsi2ssq (%%rsi), %%xmm1", ANY, wrong_mxcsr)

#define AVX_TRIALS(X)                                                                     \
    X(vmovups_load, "vmovups (%%rsi), %%ymm1")                                            \
    X(vmovups_store, "vmovups %%ymm3, (%%rsi)")                                           \
    X(vmovdqa_load, "vmovdqa (%%rsi), %%ymm1")                                            \
    X(vmovaps_store, "vmovaps %%ymm3, (%%rsi)")                                           \
    X(vmovdqu_load128, "vmovdqu (%%rsi), %%xmm1")                                         \
    X(vmovntdq, "vmovntdq %%ymm3, (%%rsi)")                                               \
    X(vmovss_load, "vmovss (%%rsi), %%xmm1")                                              \
    X(vmovq_load, "vmovq (%%rsi), %%xmm1")                                                \
    X(vmovlps_load, "vmovlps (%%rsi), %%xmm3, %%xmm1")                                    \
    X(vmovhpd_load, "vmovhpd (%%rsi), %%xmm3, %%xmm1")                                    \
    X(vcvtsi2sd64, "vcvtsi2sdq (%%rsi), %%xmm3, %%xmm1")

// ST0 is pi, ST1 1; control and status words are looked at behind it.
#define X87(name, instruction)                                                             \
    static void name(struct trial_state *s, uintptr_t at)                                  \
    {                                                                                      \
        __asm__ volatile("fninit\n fld1\n fldpi\n" TRY(instruction)                        \
                         "fnstsw %[status]\n fnstcw %[control]\n fstpt %[st]\n" \
                         "fninit"                                                          \
                         : [status] "=m"(s->x87_status), [control] "=m"(s->x87_control),   \
                           [st] "=m"(s->vector[0])                                         \
                         : "S"(at) : "memory");                                            \
    }

#define X87_TRIALS(X)                                                                     \
    X(fld32, "flds (%%rsi)")                                                              \
    X(fld64, "fldl (%%rsi)")                                                              \
    X(fld80, "fldt (%%rsi)")                                                              \
    X(fst32, "fsts (%%rsi)")                                                              \
    X(fst64, "fstl (%%rsi)")                                                              \
    X(fstp32, "fstps (%%rsi)")                                                            \
    X(fstp64, "fstpl (%%rsi)")                                                            \
    X(fstp80, "fstpt (%%rsi)")                                                            \
    X(fild16, "filds (%%rsi)")                                                            \
    X(fild32, "fildl (%%rsi)")                                                            \
    X(fild64, "fildll (%%rsi)")                                                           \
    X(fist16, "fists (%%rsi)")                                                            \
    X(fist32, "fistl (%%rsi)")                                                            \
    X(fistp16, "fistps (%%rsi)")                                                          \
    X(fistp32, "fistpl (%%rsi)")                                                          \
    X(fistp64, "fistpll (%%rsi)")                                                         \
    X(fisttp64, "fisttpll (%%rsi)")                                                       \
    X(fbld, "fbld (%%rsi)")                                                               \
    X(fbstp, "fbstp (%%rsi)")                                                             \
    X(fadd32, "fadds (%%rsi)")                                                            \
    X(fdivr64, "fdivrl (%%rsi)")                                                          \
    X(fimul16, "fimuls (%%rsi)")                                                          \
    X(fcom64, "fcoml (%%rsi)")                                                            \
    X(fldcw, "fldcw (%%rsi)")                                                             \
    X(fnstcw, "fnstcw (%%rsi)")                                                           \
    X(fnstsw, "fnstsw (%%rsi)")


#define X(name, before, instruction, ...) VECTOR(name, "movups", "x", before, instruction)
SSE_TRIALS(X)
#undef X
#define X(name, instruction) VECTOR(name, "vmovups", "y", "", instruction)
AVX_TRIALS(X)
#undef X
#define X(name, instruction) X87(name, instruction)
X87_TRIALS(X)
#undef X

static const struct trial trials[] = {
#define X(name, before, instruction, ...) {"vector." #name, name, 0, __VA_ARGS__},
    SSE_TRIALS(X)
#undef X
#define X(name, instruction) {"vector." #name, name, 0, AVX, NULL},
    AVX_TRIALS(X)
#undef X
#define X(name, instruction) {"x87." #name, name, 0, ANY, NULL},
    X87_TRIALS(X)
#undef X
};

void test_vectors(void)
{
    if (!trial_ready()) {
        check_skip("vector", "no test board");
        return;
    }
    trial_run(trials, sizeof(trials) / sizeof(trials[0]));
}
