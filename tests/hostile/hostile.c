// SPDX-License-Identifier: BSD-2-Clause
// Ring 3 that enters the kernel as nobody would: with flags set that SYSENTER does not clear, with
// addresses that SYSEXIT would fault on, by SYSCALL. The VM's name says how. It ends as a VM that
// powered off, if it comes to its end. One thread. "sleep" is not hostile: it waits for deadlines.
#include <stdbool.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/process.h"
#include "libc/start.h"
#include "kernel/abi/syscall.h"
#include "vmm/vmm.h"

#define ROUNDS 1000
#define TF "0x100"
#define DF "0x400"
#define NT "0x4000"
#define AC "0x40000"

#define WITH_FLAG(name, flag)                                                                      \
    static void with_##name(void)                                                                  \
    {                                                                                              \
        uint64_t result;                                                                           \
        __asm__ volatile("mov %%rsp, %%r12; lea 1f(%%rip), %%rbx; pushf; orq $" flag               \
                         ", (%%rsp); popf; " TRAP_INSN "1:"                                        \
                         : "=a"(result)                                                            \
                         : "0"((uint64_t)SYS_null)                                                 \
                         : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",     \
                           "r13", "r14", "r15", "cc", "memory");                                   \
    }
WITH_FLAG(df, DF)
WITH_FLAG(nt, NT)
WITH_FLAG(ac, AC)

// The trap of the POPF itself comes behind the next instruction: that is the SYSENTER.
WITH_FLAG(tf, TF)

static void with_rip(void)
{
    __asm__ volatile("mov %%rsp, %%r12; mov $1, %%ebx; shl $47, %%rbx; " TRAP_INSN
                     : : "a"((uint64_t)SYS_null) : "rbx", "r12", "memory");
}

static void with_rsp(void)
{
    __asm__ volatile("mov $-16, %%r12; lea 1f(%%rip), %%rbx; " TRAP_INSN "1: push %%rax"
                     : : "a"((uint64_t)SYS_null) : "rbx", "r12", "memory");
}

static void by_syscall(void)
{
    __asm__ volatile("syscall" : : "a"((uint64_t)SYS_null) : "rcx", "r11", "memory");
}

// Not in the table of calls, so as it is on every CPU.
#define BY(name, insn)                                                                             \
    static void by_##name(void)                                                                    \
    {                                                                                              \
        uint64_t result;                                                                           \
        __asm__ volatile("mov %%rsp, %%r12; lea 1f(%%rip), %%rbx; " insn "; 1:"                    \
                         : "=a"(result)                                                            \
                         : "0"((uint64_t)SYS_null)                                                 \
                         : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",     \
                           "r13", "r14", "r15", "cc", "memory");                                   \
    }
BY(sysenter, "sysenter")
BY(gate, "pushf; orq $0x44500, (%%rsp); popf; int $9") // with TF, DF, NT, AC

static void by_int1(void) { __asm__ volatile(".byte 0xf1"); }

// Each wait ends behind its deadline, and soon. 5 s are more than 32 bits hold of an APIC timer's
// counts at 1 GHz.
static bool sleeps(uint64_t tsc_hz)
{
    static const uint32_t us[] = { 0, 1, 100, 20000, 5000000 };
    handle_t event = (handle_t)kcall_event_create();
    for (unsigned i = 0; i < sizeof(us) / sizeof(us[0]); i++) {
        uint64_t bits, deadline = __builtin_ia32_rdtsc() + us[i] * tsc_hz / 1000000;
        int64_t status = kcall_event_wait(event, 1, deadline, &bits);
        uint64_t now = __builtin_ia32_rdtsc();
        if (status != ERR_TIMEOUT || now < deadline || now - deadline > tsc_hz)
            return false;
    }
    return true;
}

static const struct { const char *name; void (*does)(void); } ways[] = {
    { "df", with_df },   { "nt", with_nt },   { "ac", with_ac },           { "tf", with_tf },
    { "rip", with_rip }, { "rsp", with_rsp }, { "syscall", by_syscall }, { "int1", by_int1 },
    { "sysenter", by_sysenter }, { "gate", by_gate },
};

int main(void)
{
    const char *name = start_block()->vmm.name;
    if (strcmp(name, "sleep") == 0 && !sleeps(start_block()->tsc_hz))
        return VMM_END_KILLED;
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        for (unsigned n = 0; n < ROUNDS && strcmp(name, ways[i].name) == 0; n++)
            ways[i].does();
    return VMM_END_POWEROFF;
}
