// SPDX-License-Identifier: BSD-2-Clause
//
// The bytes at a vCPU's RIP, through the guest's page tables as they are. Keeps no state; runs on
// the vCPU's thread.
#include "vmm/cpu/view.h"

#include "vmm/cpu/walk.h"

#define CR4_SMEP   (1ull << 20)
#define EFER_LMA   (1ull << 10)
#define RFLAGS_IF  (1ull << 9)
#define CS_LONG    (1u << 13)
#define CS_BIG     (1u << 14)
#define PF_P       1u
#define PF_RSVD    8u
#define INSN_HLT   0xF4

// The facts that a walk wants, for who may fetch from wherever something is mapped.
static struct vm_exit facts_of(const struct vcpu_sregs *s)
{
    const bool long_code = (s->efer & EFER_LMA) != 0 && (s->cs.access & CS_LONG) != 0;

    return (struct vm_exit){
        .rip = s->rip, .rflags = s->rflags, .rsp = s->rsp,
        .cpu = {
            .cr0 = s->cr0, .cr3 = s->cr3, .cr4 = s->cr4 & ~CR4_SMEP, .efer = s->efer,
            .cs_base = s->cs.base, .code_size = long_code ? 8 : s->cs.access & CS_BIG ? 4 : 2,
        },
    };
}

static const char *no_code(const struct guest_fault *fault)
{
    if (fault->vector != VECTOR_PF)
        return "not canonical";
    if ((fault->error & PF_P) == 0)
        return "not mapped";
    return fault->error & PF_RSVD ? "not mapped: reserved bits, or tables outside of RAM"
                                  : "not executable";
}

// -> the byte, or -1 and *why
static int16_t code_byte(const struct guest_ram *ram, const struct vm_exit *exit, uint64_t offset,
                         const char **why)
{
    const uint64_t base = exit->cpu.code_size == 8 ? 0 : exit->cpu.cs_base;
    const uint64_t gva = linear_address(exit, base, offset);
    struct guest_fault fault = { 0 };
    uint64_t gpa;

    if (!walk(ram, exit, gva, WALK_FETCH, &gpa, &fault)) {
        *why = no_code(&fault);
        return -1;
    }
    const uint8_t *byte = ram_at(ram, gpa, 1);
    if (byte == NULL) {
        *why = "no RAM"; // a device is not read: that may change it
        return -1;
    }
    return __atomic_load_n(byte, __ATOMIC_RELAXED);
}

void view_code(struct view *view, const struct guest_ram *ram)
{
    const struct vm_exit exit = facts_of(&view->sregs);
    const char *why = NULL;

    view->no_code = NULL;
    for (unsigned i = 0; i < VIEW_CODE; i++) {
        view->code[i] = code_byte(ram, &exit, exit.rip - VIEW_CODE_BEFORE + i, &why);
        if (i == VIEW_CODE_BEFORE && view->code[i] < 0)
            view->no_code = why;
    }
}

enum view_state view_activity(const struct view *view)
{
    if (view->code[VIEW_CODE_BEFORE - 1] != INSN_HLT)
        return VIEW_RUNNING;
    return view->sregs.rflags & RFLAGS_IF ? VIEW_HLT : VIEW_HALTED;
}
