// SPDX-License-Identifier: BSD-2-Clause
//
// Ring 3: IRET, SYSCALL and SYSRET, and the faults that ring 3 must get.

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/hypercall.h"
#include "guests/test-cpu/groups.h"

#define EFER_SCE       (1ul << 0)
#define INT_DPL0_ERROR (0x61 * 8 + 2)
#define CR4_UMIP       (1ul << 11)
#define CODE_PAGE      3
#define STACK_PAGE     4

extern uint8_t user_code[], user_code_end[], user_hypercall[], user_faults[];
extern const uint8_t user_syscall[], user_leave[];
uint64_t user_enter(uintptr_t code, uintptr_t stack, uint64_t argument);

static struct trap_frame caught;
static uint64_t caught_cr2;

// Ends the excursion: the frame goes back to ring 0, behind user_enter().
static void on_user_trap(struct trap_frame *frame)
{
    caught = *frame;
    caught_cr2 = read_cr2();
    frame->rip = (uintptr_t)user_leave;
    frame->cs = SEL_CODE64;
    frame->ss = SEL_DATA;
    frame->rflags = 2;
    frame->rsp = (uintptr_t)trap_stack + sizeof(trap_stack);
}

// In the order of user_faults.
static const struct {
    const char *name;
    uint64_t vector, error, cr2;
    uint64_t cr4; // bits without which it is no fault
} faults[] = {
    {"user.hlt", VEC_GP, 0, 0, 0},
    {"user.cli", VEC_GP, 0, 0, 0},
    {"user.mov-cr0", VEC_GP, 0, 0, 0},
    {"user.rdmsr", VEC_GP, 0, 0, 0},
    {"user.in", VEC_GP, 0, 0, 0},
    {"user.out", VEC_GP, 0, 0, 0},
    {"user.read-kernel", VEC_PF, 5, 0x100000, 0},
    {"user.write-kernel", VEC_PF, 7, 0x100000, 0},
    {"user.wbinvd", VEC_GP, 0, 0, 0},
    {"user.int-dpl0", VEC_GP, INT_DPL0_ERROR, 0, 0},
    {"user.xsetbv", VEC_GP, 0, 0, CR4_OSXSAVE},
    {"user.sgdt", VEC_GP, 0, 0, CR4_UMIP},
    {"user.sidt", VEC_GP, 0, 0, CR4_UMIP},
    {"user.smsw", VEC_GP, 0, 0, CR4_UMIP},
    {"user.invd", VEC_GP, 0, 0, 0},
};

static void test_user_faults(uintptr_t code, uintptr_t stack)
{
    trap_set_handler(VEC_PF, on_user_trap);
    for (unsigned int i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        // QEMU pushes another error code for a forbidden INT n.
        if (faults[i].error == INT_DPL0_ERROR && cpu_by_tcg()) {
            check_skip(faults[i].name, "QEMU has another error code");
            continue;
        }
        uint64_t cr4 = read_cr4();
        if (try_cr4(cr4 | faults[i].cr4) != TRAP_NONE) {
            check_skip(faults[i].name, "not on this CPU");
            continue;
        }
        memset(&caught, 0, sizeof(caught));
        trap_set_handler(VEC_GP, on_user_trap);
        user_enter(code + (uintptr_t)(user_faults - user_code), stack, i);
        trap_set_handler(VEC_GP, NULL);
        write_cr4(cr4);
        bool ok = caught.vector == faults[i].vector && caught.error == faults[i].error &&
                  (faults[i].cr2 == 0 || caught_cr2 == faults[i].cr2) && (caught.cs & 3) == 3;
        check(ok, faults[i].name, "vector %lu, error %lx, cs %lx, CR2 %lx", caught.vector,
              caught.error, caught.cs, caught_cr2);
    }
    trap_set_handler(VEC_PF, NULL);
}

void test_user(void)
{
    static uint8_t code_page[4096] __attribute__((aligned(4096)));
    static uint8_t stack_page[4096] __attribute__((aligned(4096)));
    memcpy(code_page, user_code, (size_t)(user_code_end - user_code));
    uintptr_t code = window_map(CODE_PAGE, window_entry(code_page, PTE_U));
    uintptr_t stack = window_map(STACK_PAGE, window_entry(stack_page, PTE_U | PTE_W)) + 4096;

    uint64_t efer = rdmsr(MSR_EFER);
    wrmsr(MSR_EFER, efer | EFER_SCE);
    wrmsr(MSR_STAR, (uint64_t)SEL_USER_CODE32 << 48 | (uint64_t)SEL_CODE64 << 32 | 3ul << 48);
    wrmsr(MSR_LSTAR, (uintptr_t)user_syscall);
    wrmsr(MSR_SFMASK, RFLAGS_IF | RFLAGS_TF);
    outb(PORT_NOBODY, 0);
    uint64_t result = user_enter(code, stack, 40);
    check(result == 42, "user.syscall", "%lu, expected 42", result);
    if (cpu_on_bulkhead()) {
        uintptr_t call = code + (uintptr_t)(user_hypercall - user_code);
        check(user_enter(call, stack, HYPERCALL_NULL) == 0, "user.hypercall", "not 0");
        // The time of its VM is not a process's to give away.
        check(user_enter(call, stack, HYPERCALL_YIELD) == ~0ul, "user.hypercall-yield", "not -1");
    } else {
        check_skip("user.hypercall", "not on Bulkhead");
    }
    test_user_faults(code, stack);
    wrmsr(MSR_EFER, efer);
    trap_expect();
    __asm__ volatile(TRY("syscall")::: "rcx", "r11", "memory");
    expect_vector("user.syscall-off", VEC_UD);
    window_map(CODE_PAGE, 0);
    window_map(STACK_PAGE, 0);
}
